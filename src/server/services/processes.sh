# Functions for scripts that look at PHP-FPM and nginx: which processes are theirs.
# in: PROC (/proc) RUN (/run)

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

# The processes that start the workers of a service: the one that systemd or the service's own file names; where neither knows the service,
# each that root runs and whose parent is none of them. A container's, or those of a second service, are not this service's.
masters() { # name in /proc, service
    if [ -d "$RUN/systemd/system" ] && unit=$(systemctl show -p LoadState -p ActiveState -p MainPID "$2" 2>/dev/null); then
        main=$(printf '%s\n' "$unit" | sed -n 's/^MainPID=//p')
        if [ "${main:-0}" != 0 ] && [ -d "$PROC/$main" ]; then
            printf '%s ' "$main"
            return
        fi
        case $unit in *LoadState=loaded*) case $unit in *ActiveState=inactive* | *ActiveState=failed*) return ;; esac ;; esac
    fi
    roots=' '
    for pid in $(named "$1"); do
        case $(status "$pid") in *' 0 0') roots="$roots$pid " ;; esac
    done
    for file in "$RUN/$2.pid" "$RUN/php/$2.pid"; do
        own=$(head -n 1 "$file" 2>/dev/null) || continue
        case $roots in *" $own "*) printf '%s ' "$own" ;; esac
        return
    done
    first=' '
    for pid in $roots; do
        above=$(status "$pid")
        [ -n "$above" ] || continue
        case $roots in *" ${above%% *} "*) continue ;; esac
        # PHP-FPM's title names its file.
        version=${2#php}
        case $(tr '\0' ' ' 2>/dev/null <"$PROC/$pid/cmdline") in
        *"(/etc/php/${version%-fpm}/fpm/php-fpm.conf)"*) ;;
        'php-fpm: master process ('*) case $2 in php[0-9]*-fpm) continue ;; esac ;;
        esac
        first="$first$pid "
    done
    printf '%s' "${first# }"
}

# Whether processes of other accounts can be seen here (hidepid).
visible() { { read -r _ <"$PROC/1/comm"; } 2>/dev/null; }

# Whether a service does not run, for certain: as systemd says, else because all processes can be seen and none is its master.
down() { # name in /proc, service
    if [ -d "$RUN/systemd/system" ]; then
        unit=$(systemctl show -p LoadState -p ActiveState "$2" 2>/dev/null) || unit=
        case $unit in *LoadState=loaded*) case $unit in *ActiveState=inactive* | *ActiveState=failed*) return 0 ;; *) return 1 ;; esac ;; esac
    fi
    # By what name another service runs is not known.
    case $2 in php[0-9]*-fpm | nginx) ;; *) return 1 ;; esac
    visible && [ -z "$(masters "$1" "$2")" ]
}

# What an administrator types to start a service.
start_of() { # service
    if [ -d "$RUN/systemd/system" ]; then printf 'sudo systemctl start %s' "$1"; else printf 'sudo service %s start' "$1"; fi
}

# How systemd has a service, in its words. A script of /etc/init.d looks at names alone, which says less than is known here.
state_of() { # service
    [ -d "$RUN/systemd/system" ] || return 0
    systemctl show -p ActiveState -p SubState -p Result "$1" 2>/dev/null | tr '\n' ' ' | sed 's/ $//'
}

# "pid:start" of every worker: its parent is one of these, whatever else has its name.
workers() { # name in /proc, masters
    for pid in $(named "$1"); do
        above=$(status "$pid")
        [ -n "$above" ] || continue
        case " $2 " in *" ${above%% *} "*) printf '%s:%s ' "$pid" "$(started "$pid")" ;; esac
    done
}
