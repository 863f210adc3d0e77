# Reads the whole ledger, if it is not longer than LIMIT bytes.
# in: LEDGER LIMIT
if [ -f "$LEDGER" ]; then
    [ -r "$LEDGER" ] || refuse ledger-unreadable path="$LEDGER"
    size=$(wc -c <"$LEDGER")
    if [ "$size" -gt "$LIMIT" ]; then
        refuse ledger-too-long path="$LEDGER" size="$((size))" limit="$LIMIT"
    fi
    text=$(cat "$LEDGER")
    put ledger "$text"
fi
:
