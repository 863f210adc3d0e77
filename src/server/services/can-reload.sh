# Whether PHP-FPM and nginx run, and survive a reload. Reads only.
# in: what ready.sh and processes.sh need

running() { # name in /proc, service
    if ! down "$1" "$2"; then return 0; fi
    beside=
    if [ "$2" = "$NGINX_SERVICE" ]; then for other in apache2 httpd caddy; do if [ -n "$(named "$other")" ]; then beside=$other; fi; done; fi
    put stopped "$2
$(state_of "$2")
$(start_of "$2")
$beside"
}

# Files that a reload would activate, though this run did not change them. A link counts itself, and what it leads to. One program checks all
# of them: there may be hundreds.
changed_since() { # name in /proc, service, files
    at=$(read_at "$1" "$2")
    # Without a path, find would look at the folder that it is in.
    if [ -z "$at" ] || [ -z "$3" ]; then return 0; fi
    # The clocks of files and processes differ by less than two seconds.
    case $at in /*) set -- "$2" "$3" -cnewer "$at" ;; *) set -- "$2" "$3" -newerct "@$((at + 2))" ;; esac
    service=$1
    files=$2
    shift 2
    now=$(date +%s)
    told=$newline
    IFS=$newline
    # shellcheck disable=SC2086
    for line in $(for follow in -P -L; do if find "$follow" $files -prune "$@" -printf '%C@ %p\n' 2>/dev/null; then :; fi; done); do
        seconds=${line%%.*}
        file=${line#* }
        case $told in *"$newline$file$newline"*) continue ;; esac
        told=$told$file$newline
        put changed "$service
$file
$((now - seconds))"
    done
    unset IFS
}

fpm_files=
nginx_found=
fpm_ready
nginx_ready
running "$FPM_NAME" "$FPM_SERVICE"
running "$NGINX_NAME" "$NGINX_SERVICE"
changed_since "$FPM_NAME" "$FPM_SERVICE" "$fpm_files"
changed_since "$NGINX_NAME" "$NGINX_SERVICE" "$nginx_found"
