# Runs before a script that runs the app's code. POSIX only.
#
# Whatever the app prints goes through a filter that knows the values of .env, before it reaches the log or a file. The values are read by
# the filter itself: they stand in no argument, no variable and no file.

# Passes on its standard input without the values, up to the line `$1`. Without the filter nothing is passed on.
hidden() { # the line that ends the input, the limit in lines and KiB (0: none)
    passed=0
    (
        # It ends with its input, which ends with the script.
        trap '' TERM HUP INT
        exec "$PHP" -n -d zend.exception_ignore_args=1 -r "$HIDE_PHP" -- "$HIDE_ENV" "$1" "$2" 2>/dev/null 3>&-
    ) || passed=$?
    if [ "$passed" -ne 0 ]; then
        say "output withheld: the filter that hides the values of $HIDE_ENV ended with status $passed. Run: $PHP -n -v; test -r '$HIDE_ENV'"
        sed -n "/^$1\$/q"
    fi
}

# A text of the app as an answer may tell it.
cleaned() { # text
    printf '%s\nanswer-ends\n' "$1" | hidden answer-ends 0
}

# Runs the program and ends with its status. What a process that the program left behind prints afterwards is not waited for.
guarded() { # number of the call, the limit in lines and KiB
    ended=$(
        {
            {
                set +e
                (
                    set -e
                    # A shell of its own hears the signals itself, and made the private folder itself.
                    trap forget_private EXIT
                    trap 'exit 143' TERM
                    trap 'exit 129' HUP
                    trap 'exit 130' INT
                    program </dev/null 4>&-
                )
                echo "$?" >&4
                printf '\nlog-ends=%s\n' "$1"
            } 2>&1 | hidden "log-ends=$1" "$2" >&2 4>&-
        } 4>&1
    )
    exit "${ended:-1}"
}
