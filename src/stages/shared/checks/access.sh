# Tells owner, group and mode of some paths and of all folders above them, so that it can be worked out who may write there; and
# tries for ourselves. Reads only: nothing is written, not even for a moment.
# in: SHARED (the folder of all shared ones) PATHS LOGS (a folder; empty: none) POOL_USER POOL_GROUP (both may be empty)
own=$(id -u)
put uid "$own"
put gid "$(id -g)"
put groups "$(id -Gn)"
if [ -n "$POOL_USER" ] && uid=$(id -u "$POOL_USER"); then
    put pool-uid "$uid"
    put pool-gid "$(id -g "$POOL_USER")"
    put pool-gids "$(id -G "$POOL_USER")"
fi
if [ -n "$POOL_GROUP" ] && entry=$(getent group "$POOL_GROUP"); then put pool-group "$entry"; fi

newline='
'
nodes=$newline
node() { # path, in full and without links
    case $nodes in *"$newline$1$newline"*) ;; *) nodes=$nodes$1$newline ;; esac
}

# All of them at once: a program for each would cost more than everything else here.
tell_nodes() {
    set -f
    IFS=$newline
    # shellcheck disable=SC2086
    set -- $nodes
    lists=
    # A log may have been rotated away since; its status says no more than that.
    if listed=$(ls -ldn -- "$@"); then :; fi
    if [ -z "$listed" ]; then put unread yes; fi
    for line in $listed; do case $line in ??????????+*) lists=yes ;; esac; done
    for line in $(stat -L -c '%u %g %f %n' -- "$@"); do
        unset IFS
        path=${line#* * * }
        acl=no
        if [ -n "$lists" ] && access_list "$path"; then acl=yes; fi
        put node "${line%" $path"} $acl $path"
    done
    unset IFS
    set +f
}

above() { # path: every folder from / to it
    walked=$1
    while [ "$walked" != / ]; do
        walked=${walked%/*}
        walked=${walked:-/}
        node "$walked"
    done
}

# Where a path really lies. A folder is asked without a program.
real_of() { # path
    if [ -d "$1" ] && (cd -P -- "$1" && pwd -P) 2>/dev/null; then return; fi
    readlink -f -- "$1"
}

# Whether a part of a path below the shared folders is a link that neither root nor this account made. Where it leads is the choice of another
# account, so no advice may change owners or modes there.
foreign() { # path
    case $1 in "$SHARED"/*) ;; *) return 1 ;; esac
    link=$SHARED
    parts=${1#"$SHARED"/}/
    while [ -n "$parts" ]; do
        link=$link/${parts%%/*}
        parts=${parts#*/}
        [ -L "$link" ] || continue
        maker=$(stat -c %u -- "$link")
        [ "$maker" = 0 ] || [ "$maker" = "$own" ] || return 0
    done
    return 1
}

look() { # path
    if foreign "$1"; then
        target=$(readlink -n -- "$link" | tr '\n' '?')
        put foreign "$1
$link
$target"
    elif [ -e "$1" ]; then
        real=$(real_of "$1")
        # What this account works out of a path of hundreds of folders, or of one with a line feed, the site could make it wait for.
        case $real in *"$newline"* | /*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*/*)
            put odd "$1"
            return 0
            ;;
        esac
        put path "$1
$real"
        node "$real"
        above "$real"
        if [ -d "$1" ]; then
            if [ -w "$1" ] && [ -x "$1" ]; then put ours "$1"; fi
        elif [ -w "$1" ]; then
            put ours "$1"
        fi
    elif [ -L "$1" ]; then
        put dangling "$1"
    else
        # Where it would be made.
        folder=$1
        while [ ! -d "$folder" ]; do
            folder=${folder%/*}
            folder=${folder:-/}
        done
        real=$(real_of "$folder")
        put missing "$1
$real"
        node "$real"
        above "$real"
        if [ -w "$real" ] && [ -x "$real" ]; then put ours "$real"; fi
    fi
}

set -f
IFS=$newline
for path in $PATHS; do
    unset IFS
    look "$path"
done
unset IFS
set +f
if [ -n "$LOGS" ] && ! foreign "$LOGS"; then
    count=0
    for log in "$LOGS"/*.log; do
        if [ ! -f "$log" ] || [ "$count" -ge 100 ]; then continue; fi
        # A link says where the site likes it to lead, and not what PHP writes to.
        case $log in *"$newline"*) continue ;; esac
        [ ! -L "$log" ] || continue
        count=$((count + 1))
        put log "$log"
        look "$log"
    done
fi
tell_nodes
