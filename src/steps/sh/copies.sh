# What copies of backups there are, and on what. Reads only, and changes nothing.
# in: BASE TO ENVIRONMENT
if [ ! -d "$TO" ]; then refuse "there is no folder $TO" "mount what belongs there, or make the folder and give it to the deploy user"; fi
if [ ! -w "$TO" ]; then refuse "$TO cannot be written to" "give the folder to the deploy user"; fi
to=$(readlink -f "$TO")
base=$(readlink -f "$BASE")
case $to/ in "$base"/*) refuse "$TO lies inside of $BASE" "name a folder on another disk or another machine" ;; esac
backups=$base/backups
[ -e "$backups" ] || backups=$base
if [ "$(stat -c %d "$to")" = "$(stat -L -c %d "$backups")" ]; then
    refuse "$TO lies on the same file system as $backups: what takes the one takes the other" "mount another disk or another machine there; if one should be mounted, it is not"
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
