# What a release's backup would need, and where it would lie. Reads only.
# in: BASE BACKUPS ENV_FILE PHP DATABASE_PHP (empty: nothing to ask)
place=$BACKUPS
[ -e "$place" ] || place=$BASE
put device "$(stat -L -c %d "$BASE")"
put backups-device "$(stat -L -c %d "$place")"
df -Pk "$place" | { read -r _; read -r _ _ _ free _; put backups-free-kib "$free"; }
if [ -n "$DATABASE_PHP" ]; then
    if described=$(printf '%s' "$DATABASE_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- describe "$ENV_FILE" '' 5>&1 1>&2 3>&-); then
        put database "$(printf '%s\n' "$described" | sed -n -e '/^tables=[0-9][0-9]*$/p' -e '/^kib=[0-9][0-9]*$/p')"
    else
        put database-unknown "$(cleaned "$(printf '%s\n' "$described" | sed -n 's/^problem=//p')")"
    fi
fi
if command -v mariadb-dump >/dev/null || command -v mysqldump >/dev/null; then put dump yes; fi
for path in "$BACKUPS"/*/; do
    path=${path%/}
    # Only backups that were verified whole count.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then put backup "${path##*/}"; fi
done
