# Functions for scripts that reload: whether PHP-FPM and nginx survive a reload. They read only, and come after processes.sh.
# in: FPM_NAME NGINX_NAME (as in /proc/PID/comm) FPM_SERVICE NGINX_SERVICE CURRENT NEXT (the release that will be live, or empty) ETC (/etc)
set -f
tab=$(printf '\t')
newline='
'
faults=

# What would end a service, or keep it from reading its configuration.
fault() { # service, what, what to type
    faults="$faults$2$newline"
    put broken "$1
$2
$3"
}

# Whether a file is missing for certain: this account may not look into every folder.
absent() { # path
    [ ! -e "$1" ] || return 1
    path=$(readlink -m -- "$1") || return 1
    folder=${path%/*}
    until [ -d "${folder:-/}" ]; do folder=${folder%/*}; done
    [ -x "${folder:-/}" ]
}

# Whether there is no such folder for certain. A folder that this account may not enter is there.
no_folder() { # path
    absent "${1:-/}" || { [ -e "${1:-/}" ] && [ ! -d "${1:-/}" ]; }
}

# Whether there is no such folder, and why. PHP-FPM resolves relative paths by how it was built: each of the usual places is looked at.
fpm_lacks() { # folder or file, path, first usual place, second
    case $2 in
    *\$*) return 1 ;;
    /*) found=$2 ;;
    *)
        if [ "$1" = folder ]; then no_folder "$3/$2" && no_folder "$4/$2" || return 1; else
            case $2 in */*) no_folder "$3/${2%/*}" && no_folder "$4/${2%/*}" || return 1 ;; *) return 1 ;; esac
        fi
        why="a relative path, and its folder does not exist"
        return 0
        ;;
    esac
    if [ "$1" = folder ]; then
        why="the folder $found does not exist"
        no_folder "$found"
    elif [ -d "$found" ]; then
        why="$found is a folder"
    else
        why="the folder ${found%/*} does not exist"
        no_folder "${found%/*}"
    fi
}

# Whether there is no such account or group for certain. Numbers need no entry.
unknown() { # passwd or group, name
    case $2 in *\$*) return 1 ;; '' | *[!0-9]*) ;; *) return 1 ;; esac
    case $known in *" $1:$2 "*) return 1 ;; esac
    found=0
    getent "$1" "$2" >/dev/null 2>&1 || found=$?
    [ "$found" != 0 ] || known="$known$1:$2 "
    [ "$found" = 2 ]
}
known=' ' # accounts and groups that exist

# Reads a configuration with everything that it includes. The awk program gives lines `kind TAB file TAB line TAB text`; of the kind
# `include` the text is a pattern. Sets $lines, $files and $unread.
configuration() { # awk program, main file
    lines=
    files=
    unread=
    todo=$2
    # What a file includes is read after all that stand beside it, by one program.
    while [ -n "$todo" ]; do
        IFS=$newline
        readable=
        for file in $todo; do
            case $newline$files in *"$newline$file$newline"*) continue ;; esac
            files=$files$file$newline
            if [ -r "$file" ]; then readable=$readable$file$newline; else unread=$unread$file$newline; fi
        done
        todo=
        [ -n "$readable" ] || break
        # shellcheck disable=SC2086
        found=$(awk "$1" $readable)
        lines=$lines$found$newline
        for line in $found; do
            case $line in "include$tab"*) ;; *) continue ;; esac
            pattern=${line##*"$tab"}
            case $pattern in /*) ;; *) pattern=${2%/*}/$pattern ;; esac
            set +f
            for file in $pattern; do
                [ ! -f "$file" ] || todo=$todo${todo:+$newline}$file
            done
            set -f
        done
    done
    unset IFS
}

# shellcheck disable=SC2016
fpm_settings='
    { sub(/\r$/, "") }
    FNR == 1 { section = "" }
    /^[ \t]*\[/ { section = $0 }
    # PHP-FPM reads an include where it stands. One inside a pool is not followed here.
    /^[ \t]*include[ \t]*=/ && section != "" && section !~ /\[[ \t]*global/ { print "nested\t" FILENAME "\t" FNR "\t-"; next }
    /^[ \t]*include[ \t]*=/ {
        text = $0; sub(/^[^=]*=[ \t]*/, "", text); sub(/[ \t]*(;.*)?$/, "", text); gsub(/"/, "", text)
        print "include\t" FILENAME "\t" FNR "\t" text; next
    }
    !/^[ \t]*(;|$)/ { text = $0; gsub(/\t/, " ", text); print "set\t" FILENAME "\t" FNR "\t" text }'

# `kind TAB file TAB line TAB pool TAB value` of what a pool needs from the system.
# shellcheck disable=SC2016
fpm_needs='
    function tell(key) { if (key in value) print key "\t" place[key] "\t" pool "\t" value[key] }
    function path(key) {
        if (!(key in value) || value[key] == "") return
        if (value[key] !~ /^\// && value["prefix"] ~ /^\//) value[key] = value["prefix"] "/" value[key]
        tell(key)
    }
    function flush() {
        if (pool == "global") { tell("error_log"); tell("pid") }
        if (pool != "" && pool != "global") {
            if (value["pm"] == "ondemand") print "lazy\t" head "\t" pool "\t-"
            if (!("user" in value)) print "no-user\t" head "\t" pool "\t-"
            tell("user"); tell("group"); tell("listen"); tell("pm.status_listen")
            if ("prefix" in value) tell("prefix")
            path("access.log"); path("chroot")
            if (value["request_slowlog_timeout"] ~ /[1-9]/) {
                if (value["slowlog"] == "") print "no-slowlog\t" place["request_slowlog_timeout"] "\t" pool "\t-"
                path("slowlog")
            }
            # PHP-FPM looks for the folder of chdir below that of chroot.
            if (value["chroot"] != "" && value["chdir"] != "") value["chdir"] = value["chroot"] "/" value["chdir"]
            path("chdir")
            if (!("listen.acl_users" in value)) tell("listen.owner")
            if (!("listen.acl_groups" in value)) tell("listen.group")
        }
        split("", value); split("", place)
    }
    $1 != "set" { next }
    $4 ~ /^ *\[.*\] *$/ { flush(); pool = $4; gsub(/^ *\[ *| *\] *$/, "", pool); head = $2 "\t" $3; next }
    {
        at = index($4, "="); if (!at) next
        key = substr($4, 1, at - 1); gsub(/ /, "", key)
        text = substr($4, at + 1); sub(/ *(;.*)?$/, "", text); gsub(/^ *|["\047]/, "", text)
        while (at = index(text, "$pool")) text = substr(text, 1, at - 1) pool substr(text, at + 5)
        value[key] = text; place[key] = $2 "\t" $3
    }
    END { flush() }'

# The directives whose files nginx opens when it reads its configuration, and those that say where it listens.
# shellcheck disable=SC2016
nginx_files='
    BEGIN { opens = "^(ssl_certificate|ssl_certificate_key|ssl_trusted_certificate|ssl_client_certificate|ssl_dhparam|ssl_crl|ssl_password_file|ssl_session_ticket_key|(proxy|fastcgi|uwsgi|grpc)_ssl_(certificate|certificate_key|trusted_certificate|crl|password_file))$" }
    # UDP has ports of its own.
    function listens(  k) { for (k = 3; k <= n; k++) if (word[k] == "udp" || word[k] == "quic") return; print "listen\t" FILENAME "\t" FNR "\t" word[2] }
    FNR == 1 { n = 0; inside = 0 }
    {
        text = $0 "\n"
        sub(/(^|[ \t;{}])#.*/, "\n", text)
        for (i = 1; i <= length(text); i++) {
            c = substr(text, i, 1)
            if (c == ";") { if (word[1] == "listen" && n > 1) listens(); if (n == 2 && (word[1] == "include" || word[1] ~ opens)) print (word[1] == "include" ? "include" : word[1]) "\t" FILENAME "\t" FNR "\t" word[2]; n = 0; inside = 0 }
            else if (c == "{" || c == "}") { n = 0; inside = 0 }
            else if (c ~ /[ \t\r\n]/) inside = 0
            else if (c != "\"" && c != "\047") { if (!inside) word[++n] = ""; inside = 1; word[n] = word[n] c }
        }
    }'

# Who listens on a port of an address, or of all: `same address or not, uid, inode, length of the address`. The kernel lists each word of an address backwards.
# shellcheck disable=SC2016
who_listens='
    function word(hex) { return substr(hex, 7, 2) substr(hex, 5, 2) substr(hex, 3, 2) substr(hex, 1, 2) }
    function v4(text, part) { split(text, part, "."); return sprintf("%02X%02X%02X%02X", part[4], part[3], part[2], part[1]) }
    function v6(text, part, n, i, at, hex, fill) {
        if (text ~ /\./) { at = text; sub(/.*:/, "", at); return "0000000000000000FFFF0000" v4(at) }
        n = split(text, part, ":"); hex = ""
        for (i = 1; i <= n; i++) if (part[i] != "") fill++
        at = 0
        for (i = 1; i <= n; i++) {
            if (part[i] != "") hex = hex substr("0000" toupper(part[i]), length(part[i]) + 1)
            else if (!at) { at = 1; for (fill = 8 - fill; fill > 0; fill--) hex = hex "0000" }
        }
        return word(substr(hex, 1, 8)) word(substr(hex, 9, 8)) word(substr(hex, 17, 8)) word(substr(hex, 25, 8))
    }
    function key(text) { return text == "" ? "" : text ~ /:/ ? v6(text) : v4(text) }
    BEGIN { wanted = key(address); port = sprintf("%04X", port) }
    LOCAL { if (key($1) == wanted) { print "here"; exit } next }
    $4 == "0A" {
        split($2, at, ":")
        if (at[2] != port) next
        has = at[1]
        if (has ~ /^0000000000000000FFFF0000/) has = substr(has, 25)
        wild = has ~ /^0+$/
        same = has == wanted || (wanted == "" && wild)
        if (same || wanted == "" || (wild && length(has) >= length(wanted)) || (wanted ~ /^0+$/ && length(wanted) >= length(has)))
            print (same ? "same" : "other"), $8, $10, length(has)
    }'

# The lists of sockets in $sockets, and their folder in $net. A service may listen in a network of its own (a container, a unit with
# `PrivateNetwork`): what counts are the lists of its master, which every account may read.
sockets_of_network() { # masters
    net=$PROC/net
    for pid in $1; do if [ -r "$PROC/$pid/net/tcp" ]; then net=$PROC/$pid/net; fi; done
    sockets=
    for list in "$net/tcp" "$net/tcp6"; do if [ -r "$list" ]; then sockets="$sockets $list"; fi; done
}

# Whether a socket of IPv6 takes IPv4 as well, which the kernel's list does not say: 0 yes, 1 no; nothing where it is not known.
v6only() { # inode
    ss -ltneH 2>/dev/null | awk -v inode="ino:$1" '{ for (i = 1; i <= NF; i++) { if ($i == inode) here = NR; if (here == NR && $i ~ /^v6only:/) print substr($i, 8) } }'
}

# Whether PHP-FPM cannot listen there. Sets $why, or $unsure where it is not known.
cannot_listen() { # address or empty for all, port, pool
    sockets_of_network "$master"
    if [ -z "$sockets" ]; then
        unsure="who listens on port $2 is not known: $net/tcp cannot be read"
        return 1
    fi
    # shellcheck disable=SC2086
    found=$(awk -v address="$1" -v port="$2" "$who_listens" $sockets)
    if [ -n "$found" ]; then
        why="another program listens on port $2"
        # What PHP-FPM has read already, and lives with, it listens on itself.
        [ -n "$fpm_stale" ] || return 1
        set -f
        IFS=$newline
        for record in $found; do
            unset IFS
            set +f
            same=${record%% *} record=${record#* }
            uid=${record%% *} record=${record#* }
            inode=${record%% *} long=${record##* }
            case $long$1 in 32*:*) ;; 32*.*) [ "$(v6only "$inode")" != 1 ] || continue ;; esac
            if [ -n "$fpm_sockets" ]; then
                case "$same $fpm_sockets" in "same "*" socket:[$inode] "*) continue ;; esac
                return 0
            fi
            [ "$uid" = 0 ] || [ -z "$root" ] || return 0
            case $fpm_pools in
            *"$newline$3$newline"*) ;;
            *) if visible; then return 0; fi ;;
            esac
            unsure="port $2 is in use, and whether by PHP-FPM itself is not known, because its configuration changed since it was read"
        done
        return 1
    fi
    case $1 in '' | 127.* | 0.0.0.0 | :: | ::1) return 1 ;; esac
    case $1 in *:*) bind=ipv6 ;; *) bind=ipv4 ;; esac
    case $(cat "$PROC/sys/net/$bind/ip_nonlocal_bind" 2>/dev/null) in 1) return 1 ;; esac
    here=
    if cmp -s "$net/fib_trie" "$PROC/net/fib_trie" || [ "$net" = "$PROC/net" ]; then
        here=$(ip -o addr 2>/dev/null | awk '{ sub(/\/.*/, "", $4); print $4 }')
    fi
    if [ -z "$here" ] && [ "$bind" = ipv4 ] && [ -r "$net/fib_trie" ]; then
        here=$(awk '$1 == "|--" { address = $2 } $2 == "host" && $3 == "LOCAL" { print address }' "$net/fib_trie")
    fi
    if [ -z "$here" ]; then
        unsure="whether this machine has the address $1 is not known: neither \`ip -o addr\` nor $net/fib_trie lists any"
        return 1
    fi
    why="this machine does not have the address $1"
    [ -z "$(printf '%s\n' "$here" | awk -v LOCAL=1 -v address="$1" "$who_listens")" ]
}

# Says where a pool listens although it cannot. PHP-FPM then ends, and its own test does not see it.
fpm_listens() { # setting, value, pool, where, file
    file_of_pool=$5
    case $2 in
    *\$*) return 0 ;;
    /*)
        # Whose socket it is, the kernel does not list. A pool of which workers run has its own.
        if [ -z "$fpm_stale" ] || [ "$lazy" = "$3" ] || ! visible; then return 0; fi
        case $fpm_pools in *"$newline$3$newline"*) return 0 ;; esac
        sockets_of_network "$master"
        [ -r "$net/unix" ] || return 0
        inode=$(awk -v path="$2" '$4 == "00010000" && $8 == path { print $7; exit }' "$net/unix")
        case " $fpm_sockets" in *" socket:[${inode:-none}] "*) return 0 ;; esac
        [ -z "$inode" ] ||
            fault "$FPM_SERVICE" "$4: \`$1 = $2\`: another program listens on this socket" "Run on the server: sudo ss -lxp 'src $2'. Correct $5, or end that program"
        return 0
        ;;
    esac
    port=${2##*:}
    case $port in '' | *[!0-9]*) return 0 ;; esac
    address=
    case $2 in *:*) address=${2%:*} ;; esac
    address=${address#\[}
    address=${address%\]}
    unsure=
    case $address in
    '' | *:* | *[0-9].*[0-9]) case $address in *[!0-9a-fA-F:.]*) addresses= ;; *) addresses=${address:-*} ;; esac ;;
    *) addresses= ;;
    esac
    if [ -z "$addresses" ]; then
        addresses=$(getent ahosts "$address" | awk '!seen[$1]++ { print $1 }')
        why="this name has no address"
    fi
    # Of the addresses of a name PHP-FPM takes the first that it can have.
    for one in $addresses; do
        if ! cannot_listen "${one#\*}" "$port" "$3"; then
            [ -z "$unsure" ] || put unverified "$4: \`$1 = $2\`: $unsure
Run on the server: sudo ss -ltnp 'sport = :$port'; ip -o addr. If another program has the port, or the address is missing, correct $file_of_pool"
            return 0
        fi
    done
    fault "$FPM_SERVICE" "$4: \`$1 = $2\`: $why" "Run on the server: sudo ss -ltnp 'sport = :$port'; ip -o addr. Correct $5, or end that program. If it is PHP-FPM itself, reload it"
}

# The sockets that these processes have open, where one may look; else nothing.
sockets_of() { # processes
    sockets_found=
    for pid in $1; do
        set +f
        for file in "$PROC/$pid/fd"/*; do sockets_found="$sockets_found $(readlink "$file" || printf none) "; done 2>/dev/null
        [ -r "$PROC/$pid/fd" ] || sockets_found=
        set -f
    done
}

# When a process began, by the clock.
born() { # process
    ticks=$(started "$1")
    [ -n "$ticks" ] && read -r up _ <"$PROC/uptime" || return 0
    printf '%s' "$(($(date +%s) - ${up%%.*} + ticks / $(getconf CLK_TCK 2>/dev/null || echo 100)))"
}

# What is newer than a service's configuration: PHP-FPM writes the file with its number anew then (a path), and nginx starts its workers (seconds).
read_at() { # name in /proc, service
    master=$(masters "$1" "$2")
    master=${master% }
    case $master in '' | *' '*) return 0 ;; esac
    if [ "$1" = "$FPM_NAME" ]; then
        for file in "$RUN/php/$2.pid" "$RUN/$2.pid"; do
            [ "$(head -n 1 "$file" 2>/dev/null)" = "${master# }" ] || continue
            printf '%s' "$file"
            return
        done
    fi
    for worker in $(workers "$1" "$master"); do
        case $(tr '\0' ' ' 2>/dev/null <"$PROC/${worker%%:*}/cmdline") in *'shutting down'*) continue ;; esac
        born "${worker%%:*}"
        echo
    done | sort -n | head -n 1
}

# What is known of the running PHP-FPM: whether its configuration changed since it read it, its pools, and its sockets, where one may look.
fpm_now() { # its masters
    fpm_stale=yes
    fpm_pools=$newline
    sockets_of "$1"
    fpm_sockets=$sockets_found
    for pid in $1; do
        for file in "$RUN/php/$FPM_SERVICE.pid" "$RUN/$FPM_SERVICE.pid"; do
            [ "$(head -n 1 "$file" 2>/dev/null)" = "$pid" ] || continue
            IFS=$newline
            # shellcheck disable=SC2086
            fpm_stale=$(for follow in -P -L; do if find "$follow" $files -prune -cnewer "$file" -print 2>/dev/null; then :; fi; done)
            unset IFS
            break
        done
    done
    for worker in $(workers "$FPM_NAME" "$1"); do
        title=$(tr '\0' '\n' 2>/dev/null <"$PROC/${worker%%:*}/cmdline" | head -n 1 | sed 's/ *$//')
        case $title in 'php-fpm: pool '*) fpm_pools=$fpm_pools${title#php-fpm: pool }$newline ;; esac
    done
}

# Where the configuration of PHP-FPM begins: as its packages have it, else as the title of its master says.
fpm_file() { # its masters
    version=${FPM_SERVICE#php}
    version=${version%-fpm}
    if [ -f "$ETC/php/$version/fpm/php-fpm.conf" ]; then
        printf '%s' "$ETC/php/$version/fpm/php-fpm.conf"
        return
    fi
    for pid in $1; do tr '\0' '\n' 2>/dev/null <"$PROC/$pid/cmdline" | sed -n 's/^php-fpm: master process (\(.*\)).*/\1/p'; done | head -n 1
}

fpm_ready() {
    master=$(masters "$FPM_NAME" "$FPM_SERVICE")
    main=$(fpm_file "$master")
    [ -f "$main" ] || return 0
    configuration "$fpm_settings" "$main"
    fpm_files=$files
    part=
    case $newline$lines in *"${newline}nested$tab"*) part="a pool includes another file" ;; esac
    # Variables of the service are not known here.
    case $lines in *\$\{*) part="it uses environment variables of the service" ;; esac
    # A master that root does not run changes no account, and ignores what it cannot be.
    root=yes
    for pid in $master; do case $(status "$pid") in '' | *' 0 0') ;; *) root= ;; esac done
    before=$faults
    lazy=
    fpm_now "$master"
    IFS=$newline
    for file in $unread; do
        put unverified "$file cannot be read: an error in it is not seen before the reload
As root, run: $FPM_NAME -t"
    done
    for need in $(printf '%s' "$lines" | awk -F '\t' "$fpm_needs"); do
        IFS=$tab
        # shellcheck disable=SC2086
        set -- $need
        unset IFS
        [ $# -eq 5 ] || continue
        where="pool \`$4\` ($2:$3)"
        type="Correct $2, then run: $FPM_NAME -t"
        case $1 in listen | pm.status_listen) fpm_listens "$1" "$5" "$4" "$where" "$2" ;; lazy) lazy=$4 ;; esac
        case $root$1 in
        yesno-user) [ -n "$unread$part" ] || fault "$FPM_SERVICE" "$where has no \`user\`" "$type" ;;
        yesuser | yeslisten.owner) if unknown passwd "$5"; then fault "$FPM_SERVICE" "$where: \`$1 = $5\`: this account does not exist" "$type"; fi ;;
        yesgroup | yeslisten.group) if unknown group "$5"; then fault "$FPM_SERVICE" "$where: \`$1 = $5\`: this group does not exist" "$type"; fi ;;
        yesno-slowlog) [ -n "$unread$part" ] || fault "$FPM_SERVICE" "$where has \`request_slowlog_timeout\` and no \`slowlog\`" "$type" ;;
        *listen) case $5 in /*) if fpm_lacks file "$5"; then fault "$FPM_SERVICE" "$where: \`listen = $5\`: $why" "$type"; fi ;; esac ;;
        *chroot | *chdir | *prefix) if fpm_lacks folder "$5" /usr /usr/local; then fault "$FPM_SERVICE" "$where: \`$1 = $5\`: $why" "$type"; fi ;;
        *access.log | *slowlog) if fpm_lacks file "$5" /usr /usr/local; then fault "$FPM_SERVICE" "$where: \`$1 = $5\`: $why" "$type"; fi ;;
        *error_log | *pid)
            [ "$5" != syslog ] || continue
            if fpm_lacks file "$5" /var /usr/local/var; then fault "$FPM_SERVICE" "section \`$4\` ($2:$3): \`$1 = $5\`: $why" "$type"; fi
            ;;
        esac
    done
    unset IFS
    fpm_preload "$main"
    if [ "$faults" = "$before" ]; then fpm_test; fi
}

# PHP-FPM ends if a file of `opcache.preload` is missing.
fpm_preload() { # main file
    inis=
    set +f
    IFS=$newline
    for file in "${1%/*}/php.ini" "${1%/*}"/conf.d/*.ini; do if [ -r "$file" ]; then inis=$inis$file$newline; fi; done
    set -f
    fpm_files=$fpm_files$inis
    # shellcheck disable=SC2086
    settings=$(awk '
        { sub(/\r$/, "") }
        /^[ \t]*zend_extension[ \t]*=.*opcache/ { print "loaded\t" FILENAME "\t" FNR "\tyes" }
        /^[ \t]*opcache\.(preload|preload_user|enable)[ \t]*=/ {
            key = $0; sub(/[ \t]*=.*/, "", key); gsub(/[ \t]/, "", key)
            text = $0; sub(/^[^=]*=[ \t]*/, "", text); sub(/[ \t]*(;.*)?$/, "", text); gsub(/"/, "", text)
            print key "\t" FILENAME "\t" FNR "\t" text
        }' $inis </dev/null)
    unset IFS
    last() { printf '%s\n' "$settings" | sed -n "s/^$1$tab//p" | tail -n 1; }
    preload=$(last 'opcache\.preload')
    path=${preload##*"$tab"}
    case $(last 'opcache\.enable') in *"$tab"0 | *"$tab"[Oo]ff) path= ;; esac
    [ -n "$(last loaded)" ] || path=
    case $path in /*) ;; *) return 0 ;; esac
    file=${preload%%"$tab"*}
    at=${preload#*"$tab"}
    at=$file:${at%%"$tab"*}
    type="Correct $file, then run: $FPM_NAME -t"
    # What lies behind the link is what the next release has, and nothing before the first.
    case $path in
    "$CURRENT"/*)
        if [ -n "$NEXT" ]; then path=$NEXT${path#"$CURRENT"}; fi
        [ -n "$NEXT" ] || [ -e "$CURRENT/" ] || path=/
        ;;
    esac
    if absent "$path"; then fault "$FPM_SERVICE" "\`opcache.preload\` ($at): $path does not exist" "$type"; fi
    [ -n "$root" ] || return 0
    user=$(last 'opcache\.preload_user')
    user=${user##*"$tab"}
    if [ -z "$user" ]; then
        fault "$FPM_SERVICE" "\`opcache.preload\` is set ($at), and \`opcache.preload_user\` is not" "$type"
    elif unknown passwd "$user"; then
        fault "$FPM_SERVICE" "\`opcache.preload_user = $user\`: this account does not exist" "$type"
    fi
}

# PHP-FPM's own test. Without sudo it reads the same lines from a pipe: its log is root's. The app's code, which it could load, is left out (-n).
fpm_test() {
    set -- "$FPM_NAME" -t
    if sudo -n -l "$@" >/dev/null 2>&1; then
        if said=$(sudo -n "$@" 2>&1); then put tested "sudo -n $*"; else failed_test "$said" '(ERROR|ALERT): |Fatal|syntax error' '^sudo' "sudo -n $*"; fi
        return 0
    fi
    command -v "$FPM_NAME" >/dev/null || return 0
    # A part of it says nothing of the whole.
    if [ -n "$part" ]; then
        put untested "$FPM_NAME -t
$part"
        return 0
    fi
    # Its logs are neither opened nor made, and folders that this account may not enter are not looked at: fpm_ready did both.
    if said=$(printf '%s' "$lines" | grep "^set$tab" | cut -f 4- |
        sed 's|^ *error_log *=.*|error_log = /dev/null|; s|^ *slowlog *=.*|;|; s|^ *access\.log *=.*|;|; s|^ *request_slowlog_timeout *=.*|;|
            s|^ *chroot *=.*|;|; s|^ *chdir *=.*|;|; s|^ *prefix *=.*|;|' |
        "$FPM_NAME" -n -t -y /dev/fd/4 4<&0 2>&1); then
        # What can be read is tested; fpm_ready named the rest.
        [ -n "$unread" ] || put tested "$FPM_NAME -t"
    else
        # The rest of a pool may stand in a file that cannot be read.
        failed_test "$said" '\] ERROR: \[(/|pool )|\] ALERT: \[pool |syntax error' \
            "Permission denied${unread:+|have been defined|is missing|must be a positive value}" "$FPM_NAME -t"
    fi
}

# A test that failed: what it prints counts unless it is about the privileges of this account.
failed_test() { # what it said, what counts, what does not, the command
    say "$1"
    first=$(printf '%s\n' "$1" | grep -E "$2" | grep -Ev "$3" | head -n 1 | sed 's/^\[[^]]*\] //; s/^[A-Z]*: //')
    if [ -z "$first" ]; then
        put untested "$4
$(printf '%s\n' "$1" | tail -n 1)"
        return 0
    fi
    where=
    case $first in
    '[/dev/fd/4:'*)
        number=${first#*:}
        where=$(printf '%s' "$lines" | grep "^set$tab" | sed -n "${number%%]*}p" | cut -f 2,3 | tr "$tab" :)
        first=${first#*] }
        ;;
    '[pool '*)
        pool=${first#?pool }
        where=$(printf '%s' "$lines" | awk -F '\t' -v "pool=[${pool%%]*}]" '{ gsub(/ /, "", $4) } $4 == pool { print $2 ":" $3; exit }')
        ;;
    esac
    fault "$FPM_SERVICE" "$FPM_NAME -t: $first${where:+ ($where)}" "Correct it${where:+ in ${where%:*}}, then run: $FPM_NAME -t"
}

# Which of these files changed since a service read its configuration. A link counts itself, and what it leads to.
changed_files() { # what read_at gave, files
    # shellcheck disable=SC2086
    case $1 in
    '') return 0 ;;
    /*) for follow in -P -L; do if find "$follow" $2 -prune -cnewer "$1" -print 2>/dev/null; then :; fi; done ;;
    # The clocks of files and processes differ by less than two seconds.
    *) for follow in -P -L; do if find "$follow" $2 -prune -newerct "@$(($1 + 2))" -print 2>/dev/null; then :; fi; done ;;
    esac
}

# Says where nginx is to listen although another program does. nginx's own test does not see that: told to reload, nginx goes on as it was. What it
# has read already it listens on itself, so this is about what changed since. A reload binds new addresses only.
nginx_listens() { # lines of listen directives, files of the configuration
    [ -n "$1" ] || return 0
    master=$(masters "$NGINX_NAME" "$NGINX_SERVICE")
    master=${master% }
    case $master in '' | *' '*) return 0 ;; esac
    since=$(read_at "$NGINX_NAME" "$NGINX_SERVICE")
    IFS=$newline
    nginx_new=$(changed_files "$since" "$2")
    unset IFS
    [ -n "$nginx_new" ] || return 0
    sockets_of_network "$master"
    [ -n "$sockets" ] || return 0
    # The account that makes nginx's sockets.
    maker=$(status "$master")
    maker=${maker##* }
    sockets_of "$master"
    asked=$newline
    set -f
    IFS=$newline
    for record in $1; do
        unset IFS
        set +f
        record=${record#*"$tab"}
        file=${record%%"$tab"*} record=${record#*"$tab"}
        line=${record%%"$tab"*} where=${record#*"$tab"}
        port=80
        case $where in
        \[*\]:* | *:*[!\]]) address=${where%:*} port=${where##*:} ;;
        \[*\] | *[!0-9]*) address=$where ;;
        *) address='' port=$where ;;
        esac
        address=${address#\[}
        address=${address%\]}
        # Of the addresses of a name nothing is said. A port of a range is none.
        case $address in '' | '*') address=0.0.0.0 ;; *[!0-9a-fA-F:.]*) continue ;; *:* | [0-9]*.*[0-9]) ;; *) continue ;; esac
        case $port in '' | *[!0-9]*) continue ;; esac
        case $asked in *"$newline$address $port$newline"*) continue ;; esac
        asked=$asked$address' '$port$newline
        # An address of IPv6 is not one of IPv4 for nginx (`ipv6only`).
        case $address in *:*) long=32 ;; *) long=8 ;; esac
        taken=
        unsure=
        both=
        # Of IPv6 to all addresses: such a socket may take IPv4 as well.
        # shellcheck disable=SC2013,SC2086
        for found in $(awk -v address="$address" -v port="$port" "$who_listens" $sockets | awk -v long="$long" '$4 >= long { print $2 ":" $3 ":" $4 }'); do
            inode=${found#*:}
            inode=${inode%:*}
            only=0
            if [ "${found##*:}" != "$long" ]; then only=$(v6only "$inode" | head -n 1); fi
            [ "$only" != 1 ] || continue
            if [ -n "$sockets_found" ]; then
                case $sockets_found in *" socket:[$inode] "*) continue ;; esac
            elif [ "${found%%:*}" = "$maker" ]; then
                # nginx's own takes IPv6 alone, unless it says otherwise.
                [ -z "$only" ] || unsure=yes
                continue
            fi
            if [ -n "$only" ]; then taken=yes; else both=yes; fi
        done
        if [ -n "$taken" ]; then
            fault "$NGINX_SERVICE" "$file:$line: \`listen $where\`: another program listens on port $port" "Run on the server: sudo ss -ltnp 'sport = :$port'. Correct $file, or end that program"
        elif [ -n "$both" ]; then
            put unverified "$file:$line: \`listen $where\`: another program listens on port $port of IPv6, and whether it takes IPv4 as well is not known
Run on the server: sudo ss -ltnp 'sport = :$port'. If it takes both (it is listed as \`*:$port\`), correct $file, or end that program"
        elif [ -n "$unsure" ] && [ "$port" != 80 ] && [ "$port" != 443 ]; then
            case $newline$nginx_new$newline in *"$newline$file$newline"*) ;; *) continue ;; esac
            put unverified "$file:$line: \`listen $where\`: port $port is in use, and whether by nginx itself is not known, because its configuration changed since it was read
Run on the server: sudo ss -ltnp 'sport = :$port'. If another program has the port, correct $file"
        fi
    done
    unset IFS
    set +f
}

nginx_ready() {
    main=$ETC/nginx/nginx.conf
    [ -f "$main" ] || return 0
    configuration "$nginx_files" "$main"
    nginx_found=$files
    missing=
    nginx_listens "$(printf '%s' "$lines" | grep "^listen$tab" || printf '')" "$files"
    IFS=$newline
    for line in $lines; do
        IFS=$tab
        # shellcheck disable=SC2086
        set -- $line
        unset IFS
        [ $# -eq 4 ] || continue
        [ "$1" != listen ] || continue
        path=$4
        case $path in *[\$*?[]* | data:* | engine:*) continue ;; /*) ;; *) path=$ETC/nginx/$path ;; esac
        if absent "$path"; then missing="$missing$2:$3: \`$1\`: $path does not exist$newline"; fi
    done
    unset IFS
    status=0
    sudo=
    if sudo -n -l nginx -t >/dev/null 2>&1; then sudo='sudo -n '; fi
    say "\$ ${sudo}nginx -t"
    # shellcheck disable=SC2086
    said=$(${sudo}nginx -t 2>&1) || status=$?
    if [ "$status" = 0 ]; then
        put tested "${sudo}nginx -t"
        return 0
    fi
    say "$said"
    first=$(printf '%s\n' "$said" | grep -F '[emerg]' | grep -v 'Permission denied' | head -n 1 | sed 's/.*\[emerg\] *\([0-9#]*: \)\{0,1\}//')
    if [ -n "$missing" ]; then
        IFS=$newline
        for line in $missing; do fault "$NGINX_SERVICE" "nginx's configuration is broken: $line" "Correct ${line%%:*}, or put the file there, then run: nginx -t"; done
        unset IFS
    elif [ -n "$first" ]; then
        fault "$NGINX_SERVICE" "nginx's configuration is broken: $first" "Correct it, then run: nginx -t"
    else
        put untested "${sudo}nginx -t
$(printf '%s\n' "$said" | head -n 1)"
    fi
}
