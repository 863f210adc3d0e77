# Asks the site from its own server, with the PHP that is there.
# in: PHP, ASK (JSON: what to ask, and where), ASK_PHP
command -v "$PHP" >/dev/null || refuse php-missing php="$PHP"
printf '%s' "$ASK" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r "$ASK_PHP"
