# Reloads PHP-FPM and nginx, and verifies that new workers run.
# Comes after processes.sh and ready.sh.
# in: FPM_COMMAND NGINX_COMMAND WAIT (seconds), and what those need

words_of() { # service
    words=$(state_of "$1")
    printf '%s' "${words:+ ($words)}"
}

ended() { # service
    refuse service-ended service="$1" state="$(words_of "$1")" start="$(start_of "$1")"
}

failed() { # name in /proc, service, command
    if down "$1" "$2"; then refuse reload-of-stopped-service command="$3" service="$2" state="$(words_of "$2")" start="$(start_of "$2")"; fi
    # nginx runs no code of the app: what visitors get is judged by itself.
    if [ "$1" = "$NGINX_NAME" ]; then refuse nginx-reload-failed command="$3" start="$(start_of "$2")"; fi
    refuse reload-failed command="$3" start="$(start_of "$2")"
}

reload() { # name in /proc, service, command
    master=$(masters "$1" "$2")
    before=$(workers "$1" "$master")
    say "\$ $3"
    # shellcheck disable=SC2086
    $3 || failed "$@"
    # A server that hides other users' processes (hidepid) shows none: then the command's exit status counts, and the log says so.
    if [ -z "$before${master# }" ]; then
        tries=0
        while [ "$tries" -lt 10 ]; do
            if down "$1" "$2"; then ended "$2"; fi
            tries=$((tries + 1))
            sleep 0.1
        done
        put unseen "$1"
        return 0
    fi
    deadline=$(($(elapsed) + WAIT))
    quiet=0
    gone=0
    while :; do
        master=$(masters "$1" "$2")
        # One that is replaced, instead of reading its configuration anew, is gone for a moment.
        if [ -z "${master# }" ]; then gone=$((gone + 1)); else gone=0; fi
        [ "$gone" -lt 10 ] || ended "$2"
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
        if [ "$(elapsed)" -ge "$deadline" ] && [ "$1" = "$NGINX_NAME" ]; then refuse nginx-not-renewed command="$3" seconds="$WAIT"; fi
        if [ "$(elapsed)" -ge "$deadline" ]; then refuse old-workers-remain command="$3" seconds="$WAIT" old="$old" new="$new"; fi
        sleep 0.05
    done
    put reloaded "$1 $new new workers"
    [ -n "$before" ] || [ "$new" -ne 0 ] || put idle "$1"
}

fpm_ready
# PHP-FPM does not go on with the configuration that it had: it ends, for every site.
[ -z "$faults" ] || refuse fpm-not-reloaded service="$FPM_SERVICE" fault="${faults%%"$newline"*}"
reload "$FPM_NAME" "$FPM_SERVICE" "$FPM_COMMAND"
nginx_ready
[ -z "$faults" ] || refuse nginx-not-reloaded service="$NGINX_SERVICE" fault="${faults%%"$newline"*}"
reload "$NGINX_NAME" "$NGINX_SERVICE" "$NGINX_COMMAND"
