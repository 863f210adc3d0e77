# Answers with the site's address and the health token of a .env file, in two lines. It stands in no argument list and in no file: `put` is of the shell itself.
# in: ENV_FILE PHP SECRET_PHP
[ -f "$ENV_FILE" ] || refuse env-file-missing path="$ENV_FILE"
[ -r "$ENV_FILE" ] || refuse env-file-unreadable path="$ENV_FILE"
said=$(printf '%s' "$SECRET_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$ENV_FILE" 3>&-) || refuse env-file-parse-failed path="$ENV_FILE" php="$PHP"
put said "$said"
