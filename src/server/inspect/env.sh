# Looks at the environment's .env and at the live release's link to it. Reads only; of the file's values APP_ENV alone is told.
# in: ENV_FILE CURRENT PHP ENV_PHP NAMES (entries that hooks need, one a line; may be empty)
if [ -d "$CURRENT/" ]; then
    if [ -L "$CURRENT/.env" ]; then
        put link "$(readlink "$CURRENT/.env")"
        put link-is "$(readlink -f "$CURRENT/.env")"
    elif [ -e "$CURRENT/.env" ]; then
        put link-not-a-link yes
    else
        put link-missing yes
    fi
fi
if [ -f "$ENV_FILE" ] && [ -r "$ENV_FILE" ]; then
    put env-is "$(readlink -f "$ENV_FILE")"
    put mode "$(stat -L -c %a "$ENV_FILE")"
    said=$(printf '%s' "$ENV_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$ENV_FILE" "$NAMES" 3>&-) || refuse env-file-parse-failed path="$ENV_FILE" php="$PHP"
    put said "$said"
fi
