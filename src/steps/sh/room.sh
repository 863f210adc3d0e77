# What a release's backup would need, and where it would lie. Reads only.
# in: BASE BACKUPS ENV_FILE PHP DATABASE_PHP (empty: nothing to ask)
place=$BACKUPS
[ -e "$place" ] || place=$BASE
put device "$(stat -L -c %d "$BASE")"
put backups-device "$(stat -L -c %d "$place")"
df -Pk "$place" | { read -r _; read -r _ _ _ free _; put backups-free-kib "$free"; }
if [ -n "$DATABASE_PHP" ]; then
    if described=$(printf '%s' "$DATABASE_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- describe "$ENV_FILE" ''); then put database "$described"; else put database-unknown yes; fi
fi
if command -v mariadb-dump >/dev/null || command -v mysqldump >/dev/null; then put dump yes; fi
for path in "$BACKUPS"/*/; do
    path=${path%/}
    # Only backups that were verified whole count.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then put backup "${path##*/}"; fi
done
