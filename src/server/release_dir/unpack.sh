# Unpacks the bundle into a folder of its own, compares it with what the run read in it, and links what all releases share. Where only a part
# of the bundle was sent, the rest is copied from the live release.
# After listing.sh and live-files.sh.
# in: BASE RELEASES DIR FILE SHARED ENV_FILE KIB INODES TREE LOCK LOCK_NONCE
#     LIVE (empty: the whole bundle was sent) LARGEST OTHERS (files of the live release that the bundle has not, or not so) PHP
#     MANIFEST MANIFEST_BEFORE MANIFEST_BEHIND (what stands around the list of files in it) MANIFEST_PHP
fenced "$LOCK" "$LOCK_NONCE"
free_kib=$(df -Pk "$BASE" | { read -r _; read -r _ _ _ free _; echo "$free"; })
# Some file systems do not count inodes: they say that they have 0, or `-`.
free_inodes=$(df -Pi "$BASE" | { read -r _; read -r _ all _ free _; case $all in '' | 0 | *[!0-9]*) ;; *) echo "$free" ;; esac; })
if [ "$free_kib" -lt "$KIB" ]; then
    refuse release-no-room needed_kib="$KIB" free_kib="$free_kib" path="$BASE"
fi
case $free_inodes in
'' | *[!0-9]*) ;;
*) if [ "$free_inodes" -lt "$INODES" ]; then refuse release-no-inodes files="$INODES" free_inodes="$free_inodes" path="$BASE"; fi ;;
esac
mkdir -p "$RELEASES"
if [ -e "$DIR" ] || [ -L "$DIR" ]; then refuse release-exists path="$DIR"; fi
mkdir "$DIR"
# Into an empty folder, where no link leads out. A copy shares its blocks where the file system can; it is never a hard link: what is changed in
# one release must not change in another.
copy_from_live() {
    { printf '%s\n' "$OTHERS" | sed 's/^/-.\//' && (live_files 644) && (live_files 755); } | tr '\0' '\n' |
        awk '/^-/ { other[substr($0, 2)]; next } !($0 in other)' | tr '\n' '\0' |
        (cd "$LIVE" && xargs -0 -r cp --reflink=auto --no-dereference --parents --target-directory="$DIR" --)
}
write_manifest() { printf '%s\n%s' "$MANIFEST_BEFORE" "$MANIFEST_BEHIND" | "$PHP" -n -d zend.exception_ignore_args=1 -r "$MANIFEST_PHP" -- "$DIR" "$MANIFEST" 3>&-; }
# Whatever fails in a folder that is completed so shows in the comparison below.
if [ -n "$LIVE" ] && ! copy_from_live; then say "not all files of $LIVE could be copied"; fi
# The entries of a bundle all have one time. Files get the time of their release instead: web servers make ETags of it.
tar -xzf "$FILE" -C "$DIR" --no-same-owner --touch || [ -n "$LIVE" ]
if [ -n "$LIVE" ] && ! write_manifest; then say "the manifest could not be written"; fi
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
        [ ! -L "$at" ] || refuse link-in-build link="$at" path="$1"
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
                refuse shared-no-room path="$BASE/shared/storage"
            fi
            rm -f "$probe"
        )
    fi
    if [ -L "$DIR/$path" ]; then rm -f "$DIR/$path"; else rm -rf "${DIR:?}/$path"; fi
    (umask 022 && mkdir -p "$(dirname "$DIR/$path")")
    ln -sT "$BASE/shared/$path" "$DIR/$path"
    [ -d "$DIR/$path/" ] || refuse shared-link-dangling path="$path"
done
# What is made in the release is not writable for a group: PHP in it runs as the deploy user.
umask 022
rm -f "$DIR/.env"
ln -sT "$ENV_FILE" "$DIR/.env"
[ -e "$ENV_FILE" ] || refuse env-file-missing path="$ENV_FILE"
[ -r "$DIR/.env" ] || refuse env-file-unreadable path="$ENV_FILE"
# Git keeps no empty folder. A bundle without bootstrap/ stays without it: the gates must see that.
through_no_link bootstrap/cache/packages.php
[ ! -d "$DIR/bootstrap" ] || mkdir -p "$DIR/bootstrap/cache"
rm -f "$FILE"
put files "$found"
