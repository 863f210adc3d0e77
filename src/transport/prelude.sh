# Runs before every script, in the server's /bin/sh. POSIX only.
#
# Descriptor 3 carries the answer, as records `key=value` that end in a NUL; everything that commands print goes to
# standard error and is log. The first and the last record carry the number of this call: an answer without its last
# record is no answer, whatever the exit status says.
set -eu
LC_ALL=C
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
export LC_ALL PATH
umask 022
exec 3>&1 1>&2

# A place where a test may stop the script (`Script::with_checkpoint`). On a server it does nothing.
checkpoint() { :; } # its name: `inside` the work, or `answer`: the work is done, and the answer is not complete yet

put() { printf '%s=%s\0' "$1" "$2" >&3; }

answer_begins() {
    put begin "$1:$$"
    trap 'status=$?; forget_private; checkpoint answer; put end "'"$1"':$status"' EXIT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'exit 130' INT
}

# Refuses on purpose.
refuse() { # a code of src/errors/, and the values of its text as `name=value`
    put refused "$1"
    shift
    for value in "$@"; do put value "$value"; done
    exit 10
}

# Refuses if this run lost the deploy lock: a run that stood still must change nothing when it goes on.
fenced() { # lock (empty: none), its fencing token
    [ -n "$1" ] || return 0
    is_ours "$1" "$2" || refuse lock-lost
    [ ! -e "$1/ending" ] || refuse run-ending
    [ -z "${LONG-}" ] || renewing "$1" "$2"
}

# A missing file reads like an empty one, so an empty token matches none.
is_ours() { [ -n "$2" ] && [ "$(cat "$1/nonce" 2>/dev/null)" = "$2" ]; } # lock, its fencing token

# Renews the lease. Ten digits over ten digits: a full disk does not prevent it.
renew() { date +%s 1<>"$1/renewed"; } # lock

# A server may allow one session at a time (MaxSessions), so a script that can outlast the lease renews it itself. A program of its own does
# that: beside a redirected function dash keeps copies of descriptors, a fork would hold them, and a reader of them would wait for its end.
renewing() { # lock, its fencing token
    [ -z "${renewer-}" ] || return 0
    RENEWED_LOCK=$1 RENEWED_NONCE=$2 RENEWED_FOR=$$ RENEWED_SINCE=$(began $$) RENEWED_EVERY=$RENEWAL \
        sh -uc "$RENEWER" </dev/null >/dev/null 2>&1 3>&- &
    renewer=$!
}
# Its process names nothing: what it needs stands in its environment. It ends when it is told to, when the script has ended, or when the lock
# is another run's.
# shellcheck disable=SC2016
RENEWER='nap=
trap "kill -s TERM \$nap; exit 0" TERM HUP INT
while
    sleep "$RENEWED_EVERY" &
    nap=$!
    wait "$nap"
    read -r stat <"/proc/$RENEWED_FOR/stat" || exit 0
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$RENEWED_SINCE" ] && [ "$(cat "$RENEWED_LOCK/nonce")" = "$RENEWED_NONCE" ]
do
    date +%s 1<>"$RENEWED_LOCK/renewed"
done'

# What a script made for itself alone goes with it.
forget_private() {
    [ -z "${renewer-}" ] || kill -s TERM "$renewer" 2>/dev/null || :
    [ -z "${private-}" ] || rm -rf -- "$private"
}

# A power loss keeps a rename and may lose what was written before it. So this comes before the rename.
flush() { sync -f -- "$1" 2>/dev/null || sync || say "$1 cannot be flushed: there is no sync"; } # a path: everything on its file system
flush_file() { sync -- "$1" 2>/dev/null || sync || say "$1 cannot be flushed: there is no sync"; } # a file, or the names in a folder

# A run that takes over an expired lock claims it first, by a folder inside that names its process. The claim of a process that has ended
# prevents nothing: the next one is made inside it, and so on. Nothing is removed, so two runs cannot both hold the innermost.
claimed() { # lock; the innermost place is in $claim then
    claim=$1/takeover
    while [ -d "$claim" ]; do
        process='' since=''
        { read -r process since <"$claim/by"; } 2>/dev/null || :
        if [ -n "$since" ] && [ "$(began "$process")" = "$since" ]; then return 0; fi
        # What an earlier version left is empty, and is replaced by the next claim.
        [ -e "$claim/by" ] || return 1
        claim=$claim/next
    done
    return 1
}

# When a lock expires, if that cannot be read in it: after a power cut files may be missing, or there without their text. Such a lock is as old
# as its folder, and has the longest lease there is.
unreadable_lease() { # lock
    for name in renewed lease; do
        case $(cat "$1/$name" 2>/dev/null) in '' | *[!0-9]*) ;; *) continue ;; esac
        if [ "$name" = lease ]; then put lock-lease 3600; elif since=$(stat -c %Y -- "$1" 2>/dev/null); then put lock-renewed "$since"; fi
    done
}

# A folder for what an app writes while it starts: no other account can write there. It is gone when the script ends.
private_folder() { # the folder to make it in
    if private=$(mktemp -d "$1/gated-deploy.XXXXXXXX") &&
        mkdir -p "$private/storage/app" "$private/storage/logs" "$private/storage/framework/views" "$private/storage/framework/sessions" "$private/storage/framework/cache/data"; then
        return 0
    fi
    refuse private-folder-unwritable folder="$1"
}

# Runs a program that starts the app of a release which is not live: its caches are its own, and only this account can write them. What the
# program answers becomes this function's output; what the app prints is log, and of the script's own answer it sees nothing. The answer
# goes to a file first: a process that the app leaves behind has it open, too, and would hold a pipe.
app() { # program, arguments
    app_status=0
    app_piped "$@" >"$private/answer" || app_status=$?
    cat "$private/answer"
    return "$app_status"
}

# The same for the live release. It does not load the caches that lie there, and writes none.
live_app() { # program, arguments
    app_status=0
    live_app_piped "$@" >"$private/answer" || app_status=$?
    cat "$private/answer"
    return "$app_status"
}

# The same two with the answer as it comes, and in no file. Symfony's console starts three programs to find out how wide a terminal is.
app_piped() { # program, arguments
    app_program=$1
    shift
    printf '%s' "$app_program" | env "GATED_DEPLOY_PRIVATE=$private" COLUMNS=120 LINES=40 "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$@" 5>&1 1>&2 3>&-
}
live_app_piped() { # program, arguments
    app_program=$1
    shift
    printf '%s' "$app_program" | env "GATED_DEPLOY_PRIVATE=$private" COLUMNS=120 LINES=40 "APP_CONFIG_CACHE=$private/config.php" "APP_SERVICES_CACHE=$private/services.php" \
        "APP_PACKAGES_CACHE=$private/packages.php" "APP_ROUTES_CACHE=$private/routes.php" "APP_EVENTS_CACHE=$private/events.php" "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$@" 5>&1 1>&2 3>&-
}

# What a link such as `current` says, as runs write it: `releases/NAME`. A person or another tool may have made it absolute.
link_of() { plain_link "$(readlink -- "$1")" "${1%/*}"; } # link
plain_link() { # the text of a link, the folder that it is in
    link_name=${1%"${1##*[!/]}"}
    link_place=${link_name%/*}
    case $link_name in releases/*/*) ;; releases/*) link_place= ;; */*) ;; *) link_place= ;; esac
    case $link_place in '' | /*) ;; *) link_place=$2/$link_place ;; esac
    case ${link_name##*/} in '' | . | ..) link_place= ;; esac
    if [ -n "$link_place" ] && link_root=$(readlink -f -- "$2/releases") && [ "$(readlink -f -- "$link_place")" = "$link_root" ]; then
        printf 'releases/%s' "${link_name##*/}"
    else
        printf '%s' "${link_name:-$1}"
    fi
}

# A link with this text, to be renamed over another one: its path is in $link then. The one in a watchdog's entry was made when the watchdog was
# armed, so it needs no inode now. A rename between two file systems would not be one.
link_to_rename() { # text, entry (empty: none), path of a new link, lock of which the room may be used (empty: none)
    link=$2/back
    if [ -n "$2" ] && [ "$(readlink -- "$link")" = "$1" ] && [ "$(stat -c %d -- "$2")" = "$(stat -c %d -- "${3%/*}")" ]; then return 0; fi
    link=$3
    rm -f "$link"
    if ln -s "$1" "$link"; then return 0; fi
    [ -n "$4" ] || return 1
    rm -f "$4/room"
    ln -s "$1" "$link"
}

# Makes an empty file in a watchdog's entry, which has one ready for each: a server without a free inode can still rename it. `:` would end the
# shell where it cannot write.
make_mark() { # entry, name
    if [ -e "$1/$2" ] || mv -T "$1/ready.$2" "$1/$2" 2>/dev/null; then return 0; fi
    { printf '' >"$1/$2"; } 2>/dev/null
}

# Changes into a folder below a folder of ours, part by part, and makes what is missing. A link counts only if root or this account made
# it: what another account puts there is not followed. For a subshell: it leaves globbing off.
enter() { # folder, path below it
    set -f
    cd -P -- "$1"
    here=$(pwd -P)
    parts=$2/
    while [ -n "$parts" ]; do
        part=${parts%%/*}
        parts=${parts#*/}
        [ -n "$part" ] || continue
        linked=
        if [ -L "$part" ]; then
            linked=yes
            target=$(readlink -- "$part")
            maker=$(stat -c %u -- "$part")
            # A link cannot be changed, only replaced. What was read is followed, and not whatever has the name by then.
            [ "$(readlink -- "$part")" = "$target" ] || refuse path-replaced path="$here/$part" folder="$here"
            [ "$maker" = 0 ] || [ "$maker" = "$(id -u)" ] || refuse foreign-link path="$here/$part" target="$target" folder="$here"
            case $target in /*) ;; *) target=./$target ;; esac
            [ -d "$target/" ] || refuse dangling-link path="$here/$part" target="${target#./}"
        elif [ ! -e "$part" ]; then
            mkdir -- "$part"
        elif [ ! -d "$part" ]; then
            refuse not-a-folder path="$here/$part"
        fi
        if [ -n "$linked" ]; then cd -P -- "$target"; else cd -P -- "./$part"; fi
        [ -n "$linked" ] || [ "$(pwd -P)" = "${here%/}/$part" ] || refuse path-replaced path="$here/$part" folder="$here"
        here=$(pwd -P)
    done
}

# Removes a file or folder of ours. A folder inside that another account made and closed cannot be emptied by this account; then the rest
# is moved out of the way, and the answer names it. Fails where a part is left.
remove_tree() { # path, folder of our state
    if rm -rf -- "${1:?}"; then return 0; fi
    aside=$2/left/${1##*/}.$(date +%s).$$
    if mkdir -p "$2/left" && mv -T -- "$1" "$aside"; then put left "$aside"; else put left "$1"; fi
    return 1
}

# Puts a link in the place of another by one rename. A plain mv onto a link to a folder moves *into* that folder, and with -T it renames. That of
# Rust's coreutils 0.0.30 (Debian 13) takes the folder for what is replaced, and refuses: then PHP renames.
replace_link() { # the new link, the one to replace
    [ -L "$1" ] || return 1
    if mv -Tf -- "$1" "$2"; then return 0; fi
    say "PHP renames $1 instead"
    # shellcheck disable=SC2016
    "${PHP:-php}" -n -r 'exit(rename($argv[1], $argv[2]) ? 0 : 1);' -- "$1" "$2"
}

# Puts $link (of `link_to_rename`) in the place of another one. The run and its watchdog share the link in the entry: if the other one renamed the
# entry or used the link, one is made beside it, where that is still needed.
replace_with_link() { # its text, path of a new link, the one to replace
    if replace_link "$link" "$3" || [ "$(link_of "$3")" = "$1" ]; then return 0; fi
    [ "$link" != "$2" ] || return 1
    link=$2
    rm -f "$link"
    ln -s "$1" "$link" && replace_link "$link" "$3"
}

# Whether an access list (ACL) says who may do what there. The mode does not: its group bits are the most that the list gives.
access_list() { # path
    case $(ls -ldL -- "$1") in ??????????+*) ;; *) return 1 ;; esac
}

# Makes an empty file that has room on the disk: what is appended to it can be written on a full one. `fallocate -n` makes none. Where the file
# system cannot reserve room, it is an empty file.
with_room() { # path, bytes
    printf '' >"$1" || return 1
    if fallocate -n -l "$2" "$1" 2>/dev/null; then :; fi
}

# A line for the log. That it cannot be written (a full disk) ends no work.
say() { printf '%s\n' "$*" || :; }

# Removes what a crash left at the end of a ledger: a line without its end, NUL bytes in the place of one, or an empty line. It was never
# answered as written, and behind it the chain of digests would be broken for good. A whole line that only lacks its line feed is kept: a person
# who opened the ledger in an editor left it so. Fails where the line feed cannot be written.
cut_short() { # ledger
    while [ -s "$1" ]; do
        size=$(wc -c <"$1")
        case $(tail -c 2 "$1" | od -An -tx1 | tr -d ' \n') in
        0a0a | 0a) excess=1 ;;
        *0a) return 0 ;;
        *)
            excess=$(tail -n 1 "$1" | wc -c)
            if tail -n 1 "$1" | is_whole; then
                { printf '\n' >>"$1"; } 2>/dev/null || return 1
                say "completed the last line of $1, which had no line feed"
                return 0
            fi
            ;;
        esac
        dd if=/dev/null of="$1" bs=1 seek="$((size - excess))" 2>/dev/null
        [ "$(wc -c <"$1")" -lt "$size" ] || return 0
        say "removed $((excess)) bytes at the end of $1: a line that was never complete"
    done
}

# Whether standard input is a JSON object from its first byte to its last. NUL bytes are in none.
is_whole() {
    tr '\000' '\001' | LC_ALL=C awk '
        NR > 1 || /[\001-\037]/ { bad = 1 }
        {
            text = $0
            deep = 0; ends = 0; quoted = 0
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                if (ends || (i == 1 && c != "{")) { bad = 1; break }
                if (quoted) { if (c == "\\") i++; else if (c == "\"") quoted = 0 }
                else if (c == "\"") quoted = 1
                else if (c == "{" || c == "[") deep++
                else if (c == "}" || c == "]") { deep--; ends = deep == 0 }
            }
        }
        END { exit(bad || !ends) }'
}

# Appends a line to a ledger that several may write to at once: one after the other, and each line names the digest of the one that
# really stands before it. A lock that the kernel holds goes with its process; where there is no flock, a folder stands for it, and one
# that stays the same for a while was left by a process that died.
append() { # ledger, line with @PREV@ and @AT@ where the server puts in what only it knows; the line is in $appended then
    if try_append "$@"; then return 0; fi
    case $unappended in
    ledger-busy) refuse ledger-busy path="$1" ;;
    ledger-overwritten) refuse ledger-overwritten path="$1" ;;
    *) refuse ledger-unwritable path="$1" ;;
    esac
}

# The same where the work goes on without the line; $unappended is the code that says why there is none. Nothing in it relies on `set -e`.
try_append() { # ledger, line
    unappended=ledger-unwritable
    # A redirection of `exec` or `:` that fails ends the shell before it can say why.
    if ! { printf '' >>"$1"; } 2>/dev/null; then
        # The first line needs an inode. The holder of the lock keeps one for this, too.
        if [ -e "$1" ]; then return 1; fi
        rm -f "${1%/*}/lock/room"
        { printf '' >>"$1"; } 2>/dev/null || return 1
    fi
    exec 9>>"$1"
    if command -v flock >/dev/null; then
        if ! flock -w 30 9; then
            exec 9>&-
            unappended=ledger-busy
            return 1
        fi
    else
        writer=
        same=0
        barred=0
        until mkdir "$1.writing" 2>/dev/null; do
            if [ ! -d "$1.writing" ]; then barred=$((barred + 1)); fi
            # Without a free inode.
            if [ "$barred" = 20 ]; then rm -f "${1%/*}/lock/room"; fi
            if [ "$barred" -gt 40 ]; then
                exec 9>&-
                return 1
            fi
            seen=$(cat "$1.writing/pid" 2>/dev/null) || seen=
            if [ "$seen" = "$writer" ]; then same=$((same + 1)); else same=0; fi
            writer=$seen
            if [ "$same" -gt 200 ]; then
                same=0
                if mv -T "$1.writing" "$1.writing.$$" 2>/dev/null; then rm -rf "$1.writing.$$"; fi
            fi
            sleep 0.05
        done
        printf '%s\n' "$$" >"$1.writing/pid" || say "$1.writing/pid cannot be written"
    fi
    written=0
    write_line "$@" || written=1
    rm -rf "$1.writing"
    exec 9>&-
    return "$written"
}

# Writes it, with the ledger open and locked.
write_line() { # ledger, line
    cut_short "$1" || return 1
    prev=0000000000000000000000000000000000000000000000000000000000000000
    last=$(tail -n 1 "$1") || return 1
    if [ -n "$last" ]; then
        prev=$(printf '%s' "$last" | sha256sum) || return 1
        prev=${prev%% *}
    fi
    # With the quotes around them, which no text inside of a value can have.
    appended=$2
    case $appended in *'"prev":"@PREV@"'*) appended="${appended%%'"@PREV@"'*}\"$prev\"${appended#*'"@PREV@"'}" ;; esac
    case $appended in *'"at":"@AT@"'*) appended="${appended%%'"@AT@"'*}\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"${appended#*'"@AT@"'}" ;; esac
    size=$(wc -c <"$1") || return 1
    # On a full disk a line would be cut short, and the chain broken at it. The holder of the lock keeps some room for this.
    if ! printf '%s\n' "$appended" >&9; then
        dd if=/dev/null of="$1" bs=1 seek="$((size))" 2>/dev/null
        rm -f "${1%/*}/lock/room"
        if ! printf '%s\n' "$appended" >&9; then
            dd if=/dev/null of="$1" bs=1 seek="$((size))" 2>/dev/null
            return 1
        fi
    fi
    if [ "$(tail -n 1 "$1")" != "$appended" ]; then
        unappended=ledger-overwritten
        return 1
    fi
    flush_file "$1"
}

# When a process began, in ticks since the boot: with its number that names it for good. Nothing, if it has ended.
began() { # number
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" = Z ] || printf '%s' "${20}"
}

# Seconds since the boot. What is to last so long is measured by it: a clock can be set.
UPTIME=/proc/uptime
elapsed() {
    { read -r up _ <"$UPTIME"; } 2>/dev/null || up=$(date +%s)
    printf '%s' "${up%%.*}"
}
