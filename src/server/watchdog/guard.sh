# The state of the watchdog that this run armed; `none` where another run has armed one for the same release since. Reads only.
# in: ENTRY (path without its state) NONCE
state=none
for name in armed reverting reverted; do
    if [ "$(cat "$ENTRY.$name/nonce" 2>/dev/null)" = "$NONCE" ]; then state=$name; fi
done
put state "$state"
