# Gives the deploy lock back, if it is ours; or marks it, so that it stays however long its run is gone.
# in: LOCK NONCE KEEP (yes: mark it)

# What a dead run left and we did not bring to its end, whoever comes next finds; also where a person removes the lock by hand.
give_on() {
    if [ -d "$LOCK/dead" ]; then mv -T "$LOCK/dead" "$LOCK.dead" || say "$LOCK.dead is in the way: what an earlier run left stays there, see what lies in $LOCK/dead/makes"; fi
}

# Taking it may have been cut off before it had its name.
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
