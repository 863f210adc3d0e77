# Looks whether the ledger can be read; or appends one line, behind whatever is the last one then.
# in: LEDGER LINE (empty: only look; else with @PREV@) LOCK LOCK_NONCE (of the run whose attempt the line records; empty: not compared)
umask 077
if [ -n "$LINE" ] && [ -n "$LOCK_NONCE" ] && ! is_ours "$LOCK" "$LOCK_NONCE"; then
    # The run that took the lock over wrote this attempt's line, and others may stand behind it: a late line would speak of the past.
    put lost yes
elif [ -n "$LINE" ]; then
    # A run whose connection broke calls this again: its line may be there.
    last=
    if [ -f "$LEDGER" ]; then last=$(tail -n 1 "$LEDGER"); fi
    asked=$(printf '%s' "$last" | sed 's/"prev":"[0-9a-f]\{64\}"/"prev":"@PREV@"/')
    case $LINE in *'"at":"@AT@"'*) asked=$(printf '%s' "$asked" | sed 's/"at":"[0-9TZ:-]*"/"at":"@AT@"/') ;; esac
    if [ "$asked" = "$LINE" ]; then
        appended=$last
    else
        append "$LEDGER" "$LINE"
    fi
    put written "$appended"
else
    # A release that cannot be recorded is not begun.
    if [ -e "$LEDGER" ] && [ ! -w "$LEDGER" ]; then refuse ledger-unwritable path="$LEDGER"; fi
    last=
    if [ -f "$LEDGER" ]; then last=$(tail -n 1 "$LEDGER"); fi
    put last "$last"
fi
