# Closes the entry of a rollback that was completed without a reload.
# in: ENTRY (path without its state) LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
if [ -d "$ENTRY.reverting" ]; then mv -T "$ENTRY.reverting" "$ENTRY.reverted"; fi
