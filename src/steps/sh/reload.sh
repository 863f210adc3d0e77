# Reloads PHP-FPM and nginx, and watches that new workers took over: a reload that nobody saw is no reload.
# in: FPM_COMMAND NGINX_TEST NGINX_COMMAND FPM_NAME (as in /proc/PID/comm) WAIT (seconds)
set -f

# "pid:start" of every worker of processes with this name: those whose parent has the name too.
workers() {
    set +f
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        name=${line#*(}
        [ "${name%%)*}" = "$1" ] || continue
        pid=${line%% *}
        rest=${line##*) }
        # shellcheck disable=SC2086
        set -- "$1" $rest
        parent=$3
        start=${21}
        read -r above <"/proc/$parent/comm" || continue
        [ "$above" != "$1" ] || printf '%s:%s ' "$pid" "$start"
    done 2>/dev/null
    set -f
}

reload() { # name in /proc, command
    before=$(workers "$1")
    say "\$ $2"
    # shellcheck disable=SC2086
    $2 || refuse "$2 failed" "see the lines above"
    deadline=$(($(date +%s) + WAIT))
    while :; do
        now=$(workers "$1")
        old=0
        new=0
        for worker in $now; do case " $before" in *" $worker "*) old=$((old + 1)) ;; *) new=$((new + 1)) ;; esac done
        case $1 in
        nginx) [ "$new" -eq 0 ] || break ;; # old workers may finish long downloads
        *) [ "$old" -ne 0 ] || break ;;
        esac
        if [ "$(date +%s)" -ge "$deadline" ]; then refuse "$2 ended without an error, but after $WAIT s the workers are still the old ones" "look at the service's log on the server"; fi
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
reload nginx "$NGINX_COMMAND"
