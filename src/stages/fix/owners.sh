# Lists what in the live release does not belong to us, without following a link and without leaving its file system. Reads only.
# in: CURRENT LIMIT
put user "$(id -un)"
if [ -d "$CURRENT/" ]; then
    live=$(readlink -f "$CURRENT")
    put live "$live"
    # The site itself compiles views in bootstrap/cache/views.
    # A folder that we may not read hides what is in it; find says so by its exit status.
    if count=$(find "$live" -xdev -path "$live/bootstrap/cache/views" -prune -o ! -user "$(id -un)" -printf x); then :; else put hidden yes; fi
    put count "${#count}"
    if [ "${#count}" -le "$LIMIT" ]; then
        if find "$live" -xdev -path "$live/bootstrap/cache/views" -prune -o ! -user "$(id -un)" -printf 'foreign=%u %y %n %p\0' >&3; then :; else put hidden yes; fi
    fi
fi
