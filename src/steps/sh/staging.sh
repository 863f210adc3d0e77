# What staging's server knows of its releases. Reads only.
# in: CURRENT LEDGER
if [ -L "$CURRENT" ]; then put current "$(readlink "$CURRENT")"; fi
if [ -f "$LEDGER" ]; then
    [ -r "$LEDGER" ] || refuse "$LEDGER belongs to somebody else" "log in on staging as the user who releases there"
    put lines "$(tail -n 1000 "$LEDGER")"
fi
:
