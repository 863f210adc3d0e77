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

put() { printf '%s=%s\0' "$1" "$2" >&3; }

answer_begins() {
    put begin "$1:$$"
    trap 'status=$?; put end "'"$1"':$status"' EXIT
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

# A line for the log.
say() { printf '%s\n' "$*"; }

# When a process began, in ticks since the boot: with its number that names it for good. Nothing, if it has ended.
began() { # number
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    [ "$1" = Z ] || printf '%s' "${20}"
}
