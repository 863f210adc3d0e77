# Gives the deploy lock back, if it is ours.
# in: LOCK NONCE
if [ ! -d "$LOCK" ]; then
    put found none
elif [ "$(cat "$LOCK/nonce" 2>/dev/null)" = "$NONCE" ]; then
    rm -f "$LOCK/nonce" "$LOCK/owner"
    rmdir "$LOCK"
    put found ours
else
    put found others
fi
