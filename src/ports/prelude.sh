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
    trap 'status=$?; checkpoint answer; put end "'"$1"':$status"' EXIT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'exit 130' INT
}

# Says no on purpose: a reason, and what to do about it.
refuse() {
    put refused "$1"
    [ $# -lt 2 ] || put hint "$2"
    exit 10
}

# Says no when the deploy lock is not this run's any more: a run that was thought dead must change nothing when it wakes up.
fenced() { # lock (empty: none), its number
    [ -z "$1" ] || [ "$(cat "$1/nonce" 2>/dev/null)" = "$2" ] || refuse "the deploy lock is not this run's any more: another run took it over while this one stood still" "see which release is live; this run changes nothing more"
}

# Removes what the site's account may have written into: a folder there that only that account may empty cannot be removed. Then it gets
# a name that is no release's, and whoever asked goes on.
removed() { # path
    if rm -rf -- "$1"; then return 0; fi
    if mv -T -- "$1" "$1.left.$$"; then put left "$1.left.$$"; else put left "$1"; fi
    return 1
}

# A line for the log.
say() { printf '%s\n' "$*"; }

# Appends a line to a ledger that several may write to at once: one after the other, and each line names the digest of the one that
# really stands before it. A lock that the kernel holds goes with its process; where there is no flock, a folder stands for it, and one
# that stays the same for a while was left by a process that died.
append() { # ledger, line with @PREV@ and @AT@ where the server puts in what only it knows; the line is in $appended then
    exec 9>>"$1"
    if command -v flock >/dev/null; then
        flock -w 30 9 || refuse "$1 is being written to by somebody else, for 30 s" "look who does: fuser $1"
    else
        writer=
        same=0
        until mkdir "$1.writing" 2>/dev/null; do
            seen=$(cat "$1.writing/pid" 2>/dev/null) || seen=
            if [ "$seen" = "$writer" ]; then same=$((same + 1)); else same=0; fi
            writer=$seen
            if [ "$same" -gt 200 ]; then
                same=0
                if mv -T "$1.writing" "$1.writing.$$" 2>/dev/null; then rm -rf "$1.writing.$$"; fi
            fi
            sleep 0.05
        done
        printf '%s\n' "$$" >"$1.writing/pid"
    fi
    prev=0000000000000000000000000000000000000000000000000000000000000000
    last=$(tail -n 1 "$1")
    if [ -n "$last" ]; then
        prev=$(printf '%s' "$last" | sha256sum)
        prev=${prev%% *}
    fi
    # With the quotes around them, which no text inside of a value can have.
    appended=$2
    case $appended in *'"prev":"@PREV@"'*) appended="${appended%%'"@PREV@"'*}\"$prev\"${appended#*'"@PREV@"'}" ;; esac
    case $appended in *'"at":"@AT@"'*) appended="${appended%%'"@AT@"'*}\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\"${appended#*'"@AT@"'}" ;; esac
    # A line that a crash cut short stays a line of its own: glued to it, the new one could not be read.
    if [ -s "$1" ] && [ -n "$(tail -c 1 "$1")" ]; then printf '\n' >&9; fi
    size=$(wc -c <"$1")
    # On a full disk a line would be cut short, and the chain broken at it. The holder of the lock keeps some room for this.
    if ! printf '%s\n' "$appended" >&9; then
        dd if=/dev/null of="$1" bs=1 seek="$((size))" 2>/dev/null
        rm -f "${1%/*}/lock/room"
        if ! printf '%s\n' "$appended" >&9; then
            dd if=/dev/null of="$1" bs=1 seek="$((size))" 2>/dev/null
            rm -rf "$1.writing"
            refuse "$1 cannot be written" "is the disk full? df $1"
        fi
    fi
    [ "$(tail -n 1 "$1")" = "$appended" ] || refuse "$1 does not end in the line that was written" "look at the disk and at who else writes there"
    rm -rf "$1.writing"
    exec 9>&-
}

# When a process began, in ticks since the boot: with its number that names it for good. Nothing, if it has ended.
began() { # number
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" = Z ] || printf '%s' "${20}"
}
