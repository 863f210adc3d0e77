# Reports the size of the app's database, and what this account cannot dump of it. The scripts of a survey include it.
describe_database() { # what asks it, with its arguments
    if described=$("$@"); then
        put database "$(printf '%s\n' "$described" | sed -n -e '/^tables=[0-9][0-9]*$/p' -e '/^kib=[0-9][0-9]*$/p')"
        for key in unreadable unseen; do
            found=$(printf '%s\n' "$described" | sed -n "s/^$key=//p")
            if [ -n "$found" ]; then put "database-$key" "$(cleaned "$found")"; fi
        done
    else
        put database-unknown "$(cleaned "$(printf '%s\n' "$described" | sed -n 's/^problem=//p')")"
    fi
}

