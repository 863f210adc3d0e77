# Everything that an interrupted run leaves: watchdog entries whose release was neither confirmed nor rolled back, and unfinished files.
# Under the deploy lock no other run works on them. Reads only.
# in: PLACE (of the watchdog's entries) INCOMING JOURNALS BACKUPS RELEASES LOCK LOCK_NONCE
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
for path in "$INCOMING"/*; do
    [ -f "$path" ] || continue
    name=${path##*/}
    journal=$JOURNALS/${name%.tar.gz}.jsonl
    # A part that an upload of the same bundle can resume stays for a day; that upload takes it, or removes it.
    if [ -f "$journal" ] && grep -qF -e '"event":"uploading"' "$journal" && [ -n "$(find "$path" -mmin -1440)" ]; then continue; fi
    put upload "$name"
done
# A lock that was not renamed within a minute belongs to an interrupted run.
for path in "${PLACE%/*}"/lock.*; do
    if [ -d "$path" ] && [ -n "$(find "$path" -maxdepth 0 -mmin +1)" ]; then put half-lock "${path##*/}"; fi
done
# A recovery that a run took over and did not complete.
if [ -d "${PLACE%/*}/lock.dead" ]; then put left-by "$(cat "${PLACE%/*}/lock.dead/owner" 2>/dev/null)"; fi
for path in "$BACKUPS"/*.part; do if [ -d "$path" ]; then put part "${path##*/}"; fi; done
for path in "$RELEASES"/*/public/gated-deploy-*.php; do
    [ -f "$path" ] || continue
    folder=${path%/public/*}
    put mark "${folder##*/}/public/${path##*/}"
done
:
