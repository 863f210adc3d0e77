# Reads the whole ledger, if it is not longer than LIMIT bytes.
# in: LEDGER LIMIT
if [ -f "$LEDGER" ]; then
    size=$(wc -c <"$LEDGER")
    if [ "$size" -gt "$LIMIT" ]; then
        refuse "$LEDGER has $((size)) bytes; no more than $LIMIT are read" "keep it under another name, beside the new one that the next run begins: mv $LEDGER $LEDGER.old; releases that only the old one names are then no target of a rollback"
    fi
    text=$(cat "$LEDGER")
    put ledger "$text"
fi
:
