# Looks at the live release, the disk and the health token's digest. Reads only; of .env nothing but that digest is told.
# in: BASE ENV_FILE PHP TOKEN_PHP
if [ -d "$BASE/current/" ]; then
    live=$(readlink -f "$BASE/current")
    # The site itself compiles views there.
    foreign() { find "$live" -path "$live/bootstrap/cache/views" -prune -o ! -user "$(id -un)" -printf "$1" 2>/dev/null; } # for each
    # A name may have a line feed.
    foreign 'foreign=%p\0' | head -z -n 20 >&3
    put foreign-count "$(foreign x | wc -c)"
fi
df -Pk "$BASE" | { read -r _; read -r _ all _ free _; put kib "$free $all"; }
df -Pi "$BASE" | { read -r _; read -r _ all _ free _; put inodes "$free $all"; }
if [ -f "$ENV_FILE" ] && [ -r "$ENV_FILE" ]; then
    said=$(printf '%s' "$TOKEN_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$ENV_FILE" 3>&-) || refuse env-file-parse-failed path="$ENV_FILE" php="$PHP"
    put token "$said"
fi
