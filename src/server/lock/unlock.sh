# Frees the deploy lock, if this run holds it; or pins it, so that it never expires.
# in: LOCK NONCE KEEP (yes: pin it)

# Leftovers that this run did not recover stay for the next run, also if the lock is removed by hand.
give_on() {
    if [ -d "$LOCK/dead" ]; then mv -T "$LOCK/dead" "$LOCK.dead" || say "$LOCK.dead exists already: the leftovers of the interrupted run stay in it. Its release is named in $LOCK/dead/makes"; fi
}

# Taking the lock may have been interrupted before its rename.
rm -rf "${LOCK:?}.${NONCE:?}" "$LOCK.$NONCE.freed"
if [ ! -d "$LOCK" ]; then
    put found none
elif [ "$(cat "$LOCK/nonce" 2>/dev/null)" != "$NONCE" ]; then
    put found others
elif [ "$KEEP" = yes ]; then
    : >"$LOCK/kept"
    give_on
    put found kept
else
    give_on
    mv -T "$LOCK" "$LOCK.$NONCE.freed"
    rm -rf "$LOCK.$NONCE.freed"
    put found ours
fi
