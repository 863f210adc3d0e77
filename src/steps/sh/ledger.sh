# Looks whether the ledger can be read; or appends one line, behind whatever is the last one then.
# in: LEDGER LINE (empty: only look; else with @PREV@)
umask 077
if [ -n "$LINE" ]; then
    append "$LEDGER" "$LINE"
    put written "$appended"
else
    last=
    if [ -f "$LEDGER" ]; then last=$(tail -n 1 "$LEDGER"); fi
    put last "$last"
fi
