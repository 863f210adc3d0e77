# Gives the deploy lock back, if it is ours; or marks it, so that it stays however long its run is gone.
# in: LOCK NONCE KEEP (yes: mark it)
# Taking it may have been cut off before it had its name.
rm -rf "${LOCK:?}.${NONCE:?}" "$LOCK.$NONCE.freed"
if [ ! -d "$LOCK" ]; then
    put found none
elif [ "$(cat "$LOCK/nonce" 2>/dev/null)" != "$NONCE" ]; then
    put found others
elif [ "$KEEP" = yes ]; then
    : >"$LOCK/kept"
    put found kept
else
    mv -T "$LOCK" "$LOCK.$NONCE.freed"
    rm -rf "$LOCK.$NONCE.freed"
    put found ours
fi
