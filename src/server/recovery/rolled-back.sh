# Closes the entry of a rollback that was completed without a reload, once the ledger has its line.
# in: ENTRY (path without its state) LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
if [ -e "$ENTRY.reverting/written" ]; then mv -T "$ENTRY.reverting" "$ENTRY.reverted"; fi
