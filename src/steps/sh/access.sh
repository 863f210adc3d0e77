# Tells owner, group and mode of some paths and of all folders above them, so that it can be worked out who may write there; and
# tries for ourselves. Reads only: nothing is written, not even for a moment.
# in: PATHS LOGS (a folder; empty: none) POOL_USER POOL_GROUP (both may be empty)
put uid "$(id -u)"
put gid "$(id -g)"
put groups "$(id -Gn)"
if [ -n "$POOL_USER" ] && uid=$(id -u "$POOL_USER"); then
    put pool-uid "$uid"
    put pool-gid "$(id -g "$POOL_USER")"
    put pool-gids "$(id -G "$POOL_USER")"
fi
if [ -n "$POOL_GROUP" ] && entry=$(getent group "$POOL_GROUP"); then put pool-group "$entry"; fi

node() { # path
    case $(ls -ldn -- "$1") in ??????????+*) acl=yes ;; *) acl=no ;; esac
    put node "$(stat -L -c '%u %g %f' -- "$1") $acl $1"
}

seen=' '
above() { # path: every folder from / to it
    walked=$1
    while [ "$walked" != / ]; do
        walked=$(dirname "$walked")
        case $seen in *" $walked "*) continue ;; esac
        seen="$seen$walked "
        node "$walked"
    done
}

look() { # path
    if [ -e "$1" ]; then
        real=$(readlink -f "$1")
        put path "$1=$real"
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
        while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
        real=$(readlink -f "$folder")
        put missing "$1=$real"
        node "$real"
        above "$real"
        if [ -w "$real" ] && [ -x "$real" ]; then put ours "$real"; fi
    fi
}

printf '%s\n' "$PATHS" | while read -r path; do
    [ -z "$path" ] || look "$path"
done
if [ -n "$LOGS" ]; then
    count=0
    for log in "$LOGS"/*.log; do
        if [ ! -f "$log" ] || [ "$count" -ge 100 ]; then continue; fi
        count=$((count + 1))
        put log "$log"
        look "$log"
    done
fi
