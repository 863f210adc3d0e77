# Asks the site's pool of PHP-FPM for pages of releases, with the PHP that is there.
# in: PHP ASK (JSON: what to ask, and where) ASK_PHP
command -v "$PHP" >/dev/null || refuse php-missing php="$PHP"
causes=
if ! causes=$(printf '%s' "$ASK" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r "$ASK_PHP"); then
    put unreachable "the program that asks the pool ended with an error"
fi
if [ -n "$causes" ]; then put causes "$(cleaned "$causes")"; fi
