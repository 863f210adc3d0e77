# Runs before a script whose work must outlive a broken connection. POSIX only, but for tail, which is GNU's.
#
# The shell that works is the one that the connection started: sshd gives each command a session of its own, and without a terminal
# nothing ends it when the connection breaks. So the program and its values stay in its memory and never lie in a file. What it prints
# and answers goes to two files in a folder of its own, and is told from there as it grows: over this connection, or over another one that
# asks for the rest.

# Tells what was not told yet. Each `tail` holds one stream only, so that the connection does not wait for the other. The work itself writes
# nothing to the connection: if that is closed at this moment, it would end by SIGPIPE.
follow() { # number of the call, folder, process (empty: it has ended), bytes of the log and of the answer that were told
    number=$1 folder=$2 log_told=$4 answer_told=$5
    if [ -n "$3" ]; then set -- -f -s 0.1 "--pid=$3"; else set --; fi
    {
        printf 'log=%s\n' "$number" >&2
        exec tail "$@" -c "+$((log_told + 1))" "$folder/log" >&2 2>/dev/null
    } 3>&- &
    tail "$@" -c "+$((answer_told + 1))" "$folder/answer" >&3 2>/dev/null 3>&- &
}

# Ends the work when its time is over, also if the connection is lost.
clock() { # seconds
    over=$(($(elapsed) + $1))
    while [ -n "$(began $$)" ]; do
        if [ "$(elapsed)" -ge "$over" ]; then
            trap '' TERM
            kill -s TERM -- "-$$"
            sleep 10
            kill -s KILL -- "-$$"
        fi
        sleep 5
    done
}

# The folder gets its name when all is in it. Only one can give it that name, so the work begins once, however often it is asked for.
job_made() { # folder, fencing token of the lock (work that is never ended)
    new=$1.new.$$
    (
        umask 077
        mkdir -p "${1%/*}" && mkdir "$new" && : >"$new/answer" && : >"$new/log" && { [ -z "$2" ] || printf '%s\n' "$2" >"$new/finishes"; } && printf '%s %s\n' "$$" "$(began $$)" >"$new/pid"
    ) || return 1
    # A disk that the work fills must still take what it says of that.
    for file in log answer; do with_room "$new/$file" 65536; done
    if mv -T "$new" "$1" 2>/dev/null; then return 0; fi
    rm -rf "$new"
    return 1
}

job_begins() { # number of the call, folder, yes if it was seen to begin, bytes of its log and of its answer that were told, seconds, lock
    if [ -z "$3" ] && job_made "$2" "$7"; then
        follow "$1" "$2" $$ 0 0
        # Its own shell's descriptors, for good: beside a function dash keeps what they were before, and with it the connection open.
        [ -n "$7" ] || (exec </dev/null >/dev/null 2>&1 3>&- && clock "$6") &
        exec 3>>"$2/answer" 1>>"$2/log" 2>&1
        return 0
    fi
    if [ -z "$3" ] && [ ! -d "$2" ]; then
        answer_begins "$1"
        refuse job-folder-unwritable path="$2" folder="${2%/*}"
    fi
    [ -z "$3" ] || put resumed "$1"
    process='' since=''
    { read -r process since <"$2/pid"; } 2>/dev/null || :
    if [ -z "$since" ] || [ "$(began "$process")" != "$since" ]; then process=''; fi
    # A folder that is gone tells nothing more.
    [ ! -d "$2" ] || follow "$1" "$2" "$process" "$4" "$5"
    wait
    exit 0
}
