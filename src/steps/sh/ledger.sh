# Reads the ledger's last line; or appends one line, if the last is still the one that the new line names.
# in: LEDGER LINE (empty: read) LAST
umask 077
last=
if [ -f "$LEDGER" ]; then last=$(tail -n 1 "$LEDGER"); fi
# A run whose connection broke asks again: its line may be there.
if [ -n "$LINE" ] && [ "$last" = "$LINE" ]; then
    put written yes
elif [ -n "$LINE" ]; then
    [ "$last" = "$LAST" ] || refuse "somebody else wrote to $LEDGER meanwhile"
    # A line that a crash cut short stays a line of its own: glued to it, the new one could not be read.
    if [ -s "$LEDGER" ] && [ -n "$(tail -c 1 "$LEDGER")" ]; then printf '\n' >>"$LEDGER"; fi
    printf '%s\n' "$LINE" >>"$LEDGER"
    [ "$(tail -n 1 "$LEDGER")" = "$LINE" ] || refuse "$LEDGER does not end in the line that was written" "look at the disk and at who else writes there"
    put written yes
else
    put last "$last"
fi
