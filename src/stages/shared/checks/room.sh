# What a release's backup would need, and where it would lie. Reads only.
# in: BASE BACKUPS ENV_FILE PHP DATABASE_PHP (empty: nothing to ask)
place=$BACKUPS
[ -e "$place" ] || place=$BASE
put device "$(stat -L -c %d "$BASE")"
put backups-device "$(stat -L -c %d "$place")"
df -Pk "$place" | { read -r _; read -r _ _ _ free _; put backups-free-kib "$free"; }
by_env() { printf '%s' "$DATABASE_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- describe "$ENV_FILE" '' 5>&1 1>&2 3>&-; }
if [ -n "$DATABASE_PHP" ]; then describe_database by_env; fi
if command -v mariadb-dump >/dev/null || command -v mysqldump >/dev/null; then put dump yes; fi
if command -v pg_dump >/dev/null && command -v pg_restore >/dev/null; then put pg-dump yes; fi
for path in "$BACKUPS"/*/; do
    path=${path%/}
    # Only backups that were verified whole count.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then put backup "${path##*/}"; fi
done
