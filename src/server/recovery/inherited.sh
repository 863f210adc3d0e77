# What dead runs left has been brought to its end: whoever has the lock next need not know of it.
# in: LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
rm -rf "${LOCK:?}/dead"
