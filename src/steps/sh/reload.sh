# Reloads PHP-FPM and nginx, and watches that new workers took over: a reload that nobody saw is no reload.
# in: FPM_COMMAND NGINX_TEST NGINX_COMMAND FPM_NAME NGINX_NAME (as in /proc/PID/comm) WAIT (seconds)
set -f

# "pid:start" of every process with this name whose parent has the name too (workers), or has not (master).
processes() { # worker | master, name in /proc
    set +f
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        name=${line#*(}
        [ "${name%%)*}" = "$2" ] || continue
        pid=${line%% *}
        # shellcheck disable=SC2086
        set -- "$1" "$2" ${line##*) }
        parent=$4
        start=${22}
        read -r above <"/proc/$parent/comm" || continue
        if [ "$above" = "$2" ]; then kind=worker; else kind=master; fi
        [ "$kind" != "$1" ] || printf '%s:%s ' "$pid" "$start"
    done 2>/dev/null
    set -f
}

reload() { # name in /proc, command
    before=$(processes worker "$1")
    master=$(processes master "$1")
    say "\$ $2"
    # shellcheck disable=SC2086
    $2 || refuse "$2 failed" "see the lines above"
    # A server that hides other users' processes (hidepid) shows us none: then the command's own word must do, and the log says so.
    if [ -z "$before$master" ]; then
        put unseen "$1"
        return 0
    fi
    deadline=$(($(date +%s) + WAIT))
    quiet=0
    while :; do
        old=0
        new=0
        for worker in $(processes worker "$1"); do case " $before" in *" $worker "*) old=$((old + 1)) ;; *) new=$((new + 1)) ;; esac done
        case $1 in
        "$NGINX_NAME") [ "$new" -eq 0 ] || break ;; # old workers may finish long downloads
        *) [ "$old" -ne 0 ] || [ "$new" -eq 0 ] || break ;;
        esac
        # A pool that starts workers on demand has none before the next request: two quiet seconds under a living master will do.
        if [ "$old" -eq 0 ] && [ -n "$(processes master "$1")" ]; then quiet=$((quiet + 1)); else quiet=0; fi
        [ "$quiet" -lt 40 ] || break
        if [ "$(date +%s)" -ge "$deadline" ]; then refuse "$2 ended without an error, but $WAIT s later $old of its old workers are still there and $new new ones" "look at the service's log on the server"; fi
        sleep 0.05
    done
    put reloaded "$1 $new new workers"
    [ -n "$before" ] || put unseen "$1"
}

reload "$FPM_NAME" "$FPM_COMMAND"
if [ -n "$NGINX_TEST" ]; then
    say "\$ $NGINX_TEST"
    $NGINX_TEST || refuse "$NGINX_TEST failed" "nginx's configuration is broken; nothing of it was changed by this release"
fi
reload "$NGINX_NAME" "$NGINX_COMMAND"
