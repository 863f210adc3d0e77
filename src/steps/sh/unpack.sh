# Unpacks the bundle into a folder of its own, compares it with what the run read in it, and links what all releases share.
# After listing.sh.
# in: BASE RELEASES DIR FILE SHARED ENV_FILE KIB INODES TREE LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
free_kib=$(df -Pk "$BASE" | { read -r _; read -r _ _ _ free _; echo "$free"; })
free_inodes=$(df -Pi "$BASE" | { read -r _; read -r _ _ _ free _; echo "$free"; })
if [ "$free_kib" -lt "$KIB" ]; then
    refuse "no room for the release: $KIB KiB needed, $free_kib KiB free on $BASE" "free space there, or lower keep-releases and keep-backups"
fi
case $free_inodes in
'' | *[!0-9]* | 0) ;; # some file systems do not count inodes
*) if [ "$free_inodes" -lt "$INODES" ]; then refuse "no room for the release: $INODES files, $free_inodes inodes free on $BASE" "remove what is not needed there"; fi ;;
esac
mkdir -p "$RELEASES"
if [ -e "$DIR" ] || [ -L "$DIR" ]; then refuse "$DIR exists already" "releases are named by the second; start the release again"; fi
mkdir "$DIR"
# The entries of a bundle all have one time. Files get the time of their release instead: web servers make ETags of it.
tar -xzf "$FILE" -C "$DIR" --no-same-owner --touch
found=$(listing | sha256sum)
if [ "${found%% *}" != "$TREE" ]; then
    # The run asks which paths differ, and removes the folder.
    put differs "${found%% *}"
    exit 0
fi
found=$(find "$DIR" -type f | wc -l)
checkpoint inside

# No folder above a path of the new release may be a link: what is removed or made there would be somewhere else.
through_no_link() { # path, relative to the release
    at=$DIR
    rest=$1
    while [ "$rest" != "${rest#*/}" ]; do
        at=$at/${rest%%/*}
        rest=${rest#*/}
        [ ! -L "$at" ] || refuse "$at is a link, and the release needs $1 in its own folder" "replace the link by a folder in the build"
    done
}

# Group-writable, so that PHP-FPM's user can write where setgid folders give it the group (nothing is chmod-ed recursively: a link may lead anywhere).
umask 002
mkdir -p "$BASE/shared"
printf '%s\n' "$SHARED" | while read -r path; do
    [ -n "$path" ] || continue
    through_no_link "$path"
    (enter "$BASE/shared" "$path")
    if [ "$path" = storage ]; then
        for folder in app/public framework/cache/data framework/sessions framework/views logs; do (enter "$BASE/shared" "storage/$folder"); done
        # A quota is seen by writing only. `excl`: nothing that lies there is followed or opened.
        (
            enter "$BASE/shared" storage/framework
            probe=./.gated-deploy-$$
            rm -f "$probe"
            if ! dd if=/dev/zero of="$probe" bs=65536 count=1 conv=excl status=none; then
                rm -f "$probe"
                refuse "$BASE/shared/storage cannot be written to: the disk or a quota is full" "free space there: df $BASE/shared/storage; quota"
            fi
            rm -f "$probe"
        )
    fi
    if [ -L "$DIR/$path" ]; then rm -f "$DIR/$path"; else rm -rf "${DIR:?}/$path"; fi
    (umask 022 && mkdir -p "$(dirname "$DIR/$path")")
    ln -sT "$BASE/shared/$path" "$DIR/$path"
    [ -d "$DIR/$path/" ] || refuse "the shared link $path of the new release leads nowhere"
done
# What is made in the release is not writable for a group: PHP in it runs as the deploy user.
umask 022
rm -f "$DIR/.env"
ln -sT "$ENV_FILE" "$DIR/.env"
[ -r "$DIR/.env" ] || refuse "the .env link of the new release leads to a file that cannot be read: $ENV_FILE"
# Git keeps no empty folder. A bundle without bootstrap/ stays without it: the gates must see that.
through_no_link bootstrap/cache/packages.php
[ ! -d "$DIR/bootstrap" ] || mkdir -p "$DIR/bootstrap/cache"
rm -f "$FILE"
put files "$found"
