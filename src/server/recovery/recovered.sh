# The recovery is complete: the next holder of the lock does not repeat it.
# in: LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
rm -rf "${LOCK:?}/dead"
for begun in "$LOCK".begun.*; do
    of_job=$LOCK.migrated.${begun##*.}
    if [ -f "$begun" ]; then rm -f "$of_job" "$begun"; fi
done
