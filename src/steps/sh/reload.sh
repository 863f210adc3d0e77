# Reloads PHP-FPM and nginx, and watches that new workers took over: a reload that nobody saw is no reload.
# in: FPM_COMMAND NGINX_TEST NGINX_COMMAND FPM_NAME NGINX_NAME (as in /proc/PID/comm) FPM_SERVICE NGINX_SERVICE WAIT (seconds) PROC (/proc) RUN (/run)
set -f

# Every process with this name. Every account can give its processes this name.
named() { # name in /proc
    set +f
    for comm in "$PROC"/[0-9]*/comm; do
        read -r line <"$comm" || continue
        [ "$line" = "$1" ] || continue
        comm=${comm%/comm}
        printf '%s ' "${comm##*/}"
    done 2>/dev/null
    set -f
}

# "parent uid effective-uid" of a process, from the file in which the kernel writes a name with line breaks as one line.
status() { # process
    uid=
    parent=
    while read -r field first second _; do
        case $field in
        PPid:) parent=$first ;;
        Uid:) uid="$first $second" ;;
        esac
    done 2>/dev/null <"$PROC/$1/status" || return 0
    [ -z "$uid" ] || printf '%s %s' "$parent" "$uid"
}

# When a process began; with its number that names it.
started() { # process
    line=$(cat "$PROC/$1/stat" 2>/dev/null) || return 0
    # shellcheck disable=SC2086
    set -- ${line##*) }
    [ $# -lt 20 ] || printf '%s' "${20}"
}

# The processes that start the workers of a service: the one that systemd names; else each that root runs and whose parent is none of them,
# and of several the one that the service's own file names.
masters() { # name in /proc, service
    if [ -d "$RUN/systemd/system" ] && main=$(systemctl show -p MainPID --value "$2" 2>/dev/null) && [ "${main:-0}" != 0 ] && [ -d "$PROC/$main" ]; then
        printf '%s ' "$main"
        return
    fi
    roots=' '
    for pid in $(named "$1"); do
        case $(status "$pid") in *' 0 0') roots="$roots$pid " ;; esac
    done
    first=' '
    for pid in $roots; do
        above=$(status "$pid")
        [ -n "$above" ] || continue
        case $roots in *" ${above%% *} "*) ;; *) first="$first$pid " ;; esac
    done
    # shellcheck disable=SC2086
    set -- "$2" $first
    if [ $# -gt 2 ]; then
        for file in "$RUN/$1.pid" "$RUN/php/$1.pid"; do
            own=$(head -n 1 "$file" 2>/dev/null) || continue
            case $first in *" $own "*) first=" $own " ;; esac
        done
    fi
    printf '%s' "$first"
}

# "pid:start" of every worker: its parent is one of these, whatever else has its name.
workers() { # name in /proc, masters
    for pid in $(named "$1"); do
        above=$(status "$pid")
        [ -n "$above" ] || continue
        case " $2 " in *" ${above%% *} "*) printf '%s:%s ' "$pid" "$(started "$pid")" ;; esac
    done
}

reload() { # name in /proc, service, command
    master=$(masters "$1" "$2")
    before=$(workers "$1" "$master")
    say "\$ $3"
    # shellcheck disable=SC2086
    $3 || refuse "$3 failed" "see the lines above"
    # A server that hides other users' processes (hidepid) shows us none: then the command's own word must do, and the log says so.
    if [ -z "$before${master# }" ]; then
        put unseen "$1"
        return 0
    fi
    deadline=$(($(date +%s) + WAIT))
    quiet=0
    while :; do
        master=$(masters "$1" "$2")
        old=0
        new=0
        for worker in $(workers "$1" "$master"); do case " $before" in *" $worker "*) old=$((old + 1)) ;; *) new=$((new + 1)) ;; esac done
        case $1 in
        "$NGINX_NAME") [ "$new" -eq 0 ] || break ;; # old workers may finish long downloads
        *) [ "$old" -ne 0 ] || [ "$new" -eq 0 ] || break ;;
        esac
        # A pool that starts workers on demand has none before the next request: two quiet seconds under a living master will do.
        if [ "$old" -eq 0 ] && [ -n "${master# }" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        [ "$quiet" -lt 40 ] || break
        if [ "$(date +%s)" -ge "$deadline" ]; then refuse "$3 ended without an error, but $WAIT s later $old of its old workers are still there and $new new ones" "look at the service's log on the server"; fi
        sleep 0.05
    done
    put reloaded "$1 $new new workers"
    [ -n "$before" ] || put unseen "$1"
}

reload "$FPM_NAME" "$FPM_SERVICE" "$FPM_COMMAND"
if [ -n "$NGINX_TEST" ]; then
    say "\$ $NGINX_TEST"
    $NGINX_TEST || refuse "$NGINX_TEST failed" "nginx's configuration is broken; nothing of it was changed by this release"
fi
reload "$NGINX_NAME" "$NGINX_SERVICE" "$NGINX_COMMAND"
