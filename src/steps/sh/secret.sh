# Answers with the site's address and the health token of a .env file, in two lines. It stands in no argument list and in no file: `put` is of the shell itself.
# in: ENV_FILE PHP SECRET_PHP
[ -f "$ENV_FILE" ] || refuse "there is no $ENV_FILE" "correct env-file"
[ -r "$ENV_FILE" ] || refuse "$ENV_FILE cannot be read" "chmod 640 $ENV_FILE, with a group that the deploy user has"
said=$(printf '%s' "$SECRET_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$ENV_FILE" 3>&-) || refuse "$ENV_FILE could not be read by $PHP" "see the lines above"
put said "$said"
