# The state of the watchdog that this run armed; `none` where another run has armed one for the same release since. Reads only.
# in: ENTRY (path without its state) NONCE
state=none deadline='' switched=
for name in armed reverting reverted; do
    if [ -n "$NONCE" ] && [ "$(cat "$ENTRY.$name/nonce" 2>/dev/null)" = "$NONCE" ]; then
        state=$name
        deadline=$(cat "$ENTRY.$name/deadline" 2>/dev/null) || deadline=
        # Workers may run the code of that release, whatever pointed `current` back since.
        if [ -e "$ENTRY.$name/switched" ]; then switched=yes; fi
    fi
done
put state "$state"
put deadline "$deadline"
if [ -n "$switched" ]; then put switched yes; fi
