# Reads the ledger; or appends one line, if its last line is still the one that the new line names.
# in: LEDGER LINE (empty: read) LAST
umask 077
last=
if [ -f "$LEDGER" ]; then last=$(tail -n 1 "$LEDGER"); fi
if [ -n "$LINE" ]; then
    [ "$last" = "$LAST" ] || refuse "somebody else wrote to $LEDGER meanwhile"
    printf '%s\n' "$LINE" >>"$LEDGER"
    put written yes
else
    put last "$last"
    if [ -f "$LEDGER" ]; then put lines "$(tail -n 2000 "$LEDGER")"; fi
fi
