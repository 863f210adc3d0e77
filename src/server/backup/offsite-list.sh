# The off-site backups, and the file system that they are on. Reads only.
# in: BASE TO ENVIRONMENT
if [ ! -d "$TO" ]; then refuse offsite-missing path="$TO"; fi
if [ ! -w "$TO" ]; then refuse offsite-unwritable path="$TO"; fi
to=$(readlink -f "$TO")
base=$(readlink -f "$BASE")
case $to/ in "$base"/*) refuse offsite-inside-base path="$TO" base="$BASE" ;; esac
backups=$base/backups
[ -e "$backups" ] || backups=$base
if [ "$(stat -c %d "$to")" = "$(stat -L -c %d "$backups")" ]; then
    refuse offsite-same-disk path="$TO" backups="$backups"
fi
put type "$(stat -f -c %T "$to")"
df -Pk "$to" | { read -r _; read -r _ _ _ free _; put free-kib "$free"; }
for path in "$to"/*/; do
    path=${path%/}
    [ -f "$path/copy-of" ] || continue
    [ "$(cat "$path/copy-of")" = "$ENVIRONMENT of $base on $(uname -n)" ] || continue
    # Only what was read back whole counts.
    case $path in
        *.part) put part "${path##*/}" ;;
        *) if [ -f "$path/manifest.json" ] && [ -s "$path/SHA256SUMS" ]; then put copy "${path##*/}"; fi ;;
    esac
done
