# Everything that a run leaves when it dies: guards whose release was neither confirmed nor taken back, and what was being made. Whoever
# holds the lock knows that nobody is at work on any of it. Reads only.
# in: PLACE (of the guards) INCOMING BACKUPS RELEASES LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
for path in "$PLACE"/*.armed "$PLACE"/*.reverting; do
    [ -d "$path" ] || continue
    entry=$(cat "$path/entry.json" 2>/dev/null) || entry=
    put guard "${path##*/}
$entry"
    if [ -e "$path/switched" ] || [ -e "$path/turning" ]; then put switched "${path##*/}"; fi
done
for path in "$PLACE"/*.reverted; do if [ -d "$path" ]; then put reverted "${path##*/}"; fi; done
for path in "$PLACE"/*.new "$PLACE"/*.off "$PLACE"/*.finish; do if [ -d "$path" ]; then put remains "${path##*/}"; fi; done
for path in "$INCOMING"/*; do if [ -f "$path" ]; then put upload "${path##*/}"; fi; done
for path in "$BACKUPS"/*.part; do if [ -d "$path" ]; then put part "${path##*/}"; fi; done
for path in "$RELEASES"/*/public/gated-deploy-*.php; do
    [ -f "$path" ] || continue
    folder=${path%/public/*}
    put mark "${folder##*/}/public/${path##*/}"
done
:
