# Copies a verified backup to another file system, and reads every file back from there. The copy gets its name only when what was
# read is what was backed up.
# in: BASE DIR TO RELEASE ENVIRONMENT
umask 077
if [ ! -s "$DIR/SHA256SUMS" ]; then
    put nothing yes
    exit 0
fi
if [ ! -d "$TO" ]; then refuse "there is no folder $TO" "mount what belongs there, or make the folder and give it to the deploy user"; fi
if [ ! -w "$TO" ]; then refuse "$TO cannot be written to" "give the folder to the deploy user"; fi
to=$(readlink -f "$TO")
base=$(readlink -f "$BASE")
case $to/ in "$base"/*) refuse "$TO lies inside of $BASE" "name a folder on another disk or another machine" ;; esac
if [ "$(stat -c %d "$to")" = "$(stat -L -c %d "$DIR")" ]; then
    refuse "$TO lies on the same file system as $DIR: what takes the one takes the other" "mount another disk or another machine there; if one should be mounted, it is not"
fi
if [ -e "$to/$RELEASE" ]; then refuse "$TO/$RELEASE exists already" "see whose it is; a copy is never written over another"; fi
size=$(du -sk "$DIR")
need_kib=$((${size%%[!0-9]*} + 1024))
free_kib=$(df -Pk "$to" | { read -r _; read -r _ _ _ free _; echo "$free"; })
if [ "$free_kib" -lt "$need_kib" ]; then
    refuse "no room for the copy: about $need_kib KiB needed, $free_kib KiB free on $TO" "free space there, or lower keep-backups"
fi

part=$to/$RELEASE.part
rm -rf "$part"
mkdir "$part"
# Several apps may have their copies in one folder, and each removes only its own, and what is left of its own.
printf '%s\n' "$ENVIRONMENT of $base on $(uname -n)" >"$part/copy-of"
say "copying $DIR to $TO"
copy() {
    cp "$DIR/$1" "$part/$1"
    sync "$part/$1"
    # What is read back shall come from there, and not from this machine's memory; a file system that knows no such wish reads all the same.
    dd if="$part/$1" iflag=nocache count=0 status=none || say "$TO cannot be asked to forget what it has in memory"
}
while read -r _ file; do copy "$file"; done <"$DIR/SHA256SUMS"
copy SHA256SUMS
copy manifest.json
say "reading it back from $TO"
# By the digests of the backup here, not by the copy's own.
cd "$part"
sha256sum -c --quiet "$DIR/SHA256SUMS" || refuse "what was read back from $TO is not what was backed up" "see the lines above; check that disk or that machine"
for file in SHA256SUMS manifest.json; do
    cmp "$DIR/$file" "$part/$file" || refuse "what was read back from $TO is not what was backed up: $file" "check that disk or that machine"
done
flush "$part"
cd "$to"
mv -T "$part" "$to/$RELEASE"
put path "$to/$RELEASE"
put type "$(stat -f -c %T "$to")"
