# Copies a verified backup to another file system, and reads every file back from there. The copy gets its name only when what was
# read is what was backed up.
# in: BASE DIR TO RELEASE ENVIRONMENT
umask 077
if [ ! -s "$DIR/SHA256SUMS" ]; then
    put nothing yes
    exit 0
fi
if [ ! -d "$TO" ]; then refuse offsite-missing path="$TO"; fi
if [ ! -w "$TO" ]; then refuse offsite-unwritable path="$TO"; fi
to=$(readlink -f "$TO")
base=$(readlink -f "$BASE")
case $to/ in "$base"/*) refuse offsite-inside-base path="$TO" base="$BASE" ;; esac
if [ "$(stat -c %d "$to")" = "$(stat -L -c %d "$DIR")" ]; then
    refuse offsite-same-disk path="$TO" backups="$DIR"
fi
if [ -e "$to/$RELEASE" ]; then refuse offsite-exists path="$TO/$RELEASE"; fi
size=$(du -sk "$DIR")
need_kib=$((${size%%[!0-9]*} + 1024))
free_kib=$(df -Pk "$to" | { read -r _; read -r _ _ _ free _; echo "$free"; })
if [ "$free_kib" -lt "$need_kib" ]; then
    refuse offsite-no-room needed_kib="$need_kib" free_kib="$free_kib" path="$TO"
fi

part=$to/$RELEASE.part
rm -rf "$part"
mkdir "$part"
# Several apps may have their off-site backups in one folder, and each removes only its own.
printf '%s\n' "$ENVIRONMENT of $base on $(uname -n)" >"$part/copy-of"
say "copying $DIR to $TO"
copy() {
    cp "$DIR/$1" "$part/$1"
    sync "$part/$1"
    # Read back from the disk, and not from this machine's memory, where the file system supports that.
    dd if="$part/$1" iflag=nocache count=0 status=none || say "the cache of $TO cannot be bypassed: files may be read back from memory"
}
while read -r _ file; do copy "$file"; done <"$DIR/SHA256SUMS"
copy SHA256SUMS
copy manifest.json
say "reading it back from $TO"
# By the digests of the backup here, not by the copy's own.
cd "$part"
while read -r digest file; do
    printf '%s  %s\n' "$digest" "$file" | sha256sum -c --quiet || refuse offsite-corrupt path="$TO" file="$file"
done <"$DIR/SHA256SUMS"
for file in SHA256SUMS manifest.json; do
    cmp "$DIR/$file" "$part/$file" || refuse offsite-corrupt path="$TO" file="$file"
done
flush "$part"
cd "$to"
mv -T "$part" "$to/$RELEASE"
put path "$to/$RELEASE"
put type "$(stat -f -c %T "$to")"
