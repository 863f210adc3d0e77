# The state of the watchdog that this run armed; `none` where another run has armed one for the same release since. Reads only.
# in: ENTRY (path without its state) NONCE
state=none deadline=
for name in armed reverting reverted; do
    if [ -n "$NONCE" ] && [ "$(cat "$ENTRY.$name/nonce" 2>/dev/null)" = "$NONCE" ]; then
        state=$name
        deadline=$(cat "$ENTRY.$name/deadline" 2>/dev/null) || deadline=
    fi
done
put state "$state"
put deadline "$deadline"
