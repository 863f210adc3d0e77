# Gives named paths of the live release to its owner, each by itself. `-h`: a link is changed itself, never what it leads to.
# in: CURRENT LIVE OWNER BY_ROOT (the command for an administrator); PATHS, one a line
# sudo takes a path and no open file, so between the look at it and the change it could be exchanged for another: by whoever may write
# into a folder above it. Only where that is nobody but root and us, the path is still the same file.
own_group=
if [ "$(id -gn)" = "$(id -un)" ] && entry=$(getent group "$(id -gn)"); then case $entry in *:) own_group=$(id -g) ;; esac fi
exchangeable() { # path: prints the folder in which another account could exchange a part of it
    folder=$1
    while [ "$folder" != / ]; do
        folder=$(dirname "$folder")
        # shellcheck disable=SC2046
        set -- $(stat -c '%u %g %a' "$folder")
        sticky=
        case $3 in [1357]???) sticky=yes ;; esac
        # In a sticky folder nobody renames what is not theirs; what is in it and is not ours or root's was found before.
        case $3 in *[2367]) [ -n "$sticky" ] || { echo "$folder"; return; } ;; esac
        case $3 in *[2367]?) [ -n "$sticky" ] || [ "$2" -eq 0 ] || [ "$2" = "$own_group" ] || { echo "$folder"; return; } ;; esac
        if [ "$1" -ne 0 ] && [ "$1" -ne "$(id -u)" ]; then echo "$folder"; return; fi
        if access_list "$folder"; then echo "$folder"; return; fi
    done
}
[ "$(readlink -f "$CURRENT")" = "$LIVE" ] || refuse live-release-changed
printf '%s\n' "$PATHS" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        say "$path is gone"
        continue
    fi
    folder=${path%/*}
    [ "$path" = "$LIVE" ] || [ "$(readlink -f "$folder")" = "$folder" ] || refuse folder-became-link folder="$folder" path="$path"
    open=$(exchangeable "$path")
    if [ -n "$open" ]; then
        refuse path-exchangeable folder="$open" path="$path" by_root="$BY_ROOT"
    fi
    # sudo may read what is left of the list.
    sudo -n chown -h "$OWNER" "$path" </dev/null || refuse chown-failed owner="$OWNER" path="$path"
    put given "$path"
done
