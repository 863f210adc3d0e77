# Frees the deploy lock, if this run holds it; or pins it, so that it never expires.
# in: LOCK NONCE KEEP (yes: pin it)

# Leftovers that this run did not recover stay for the next run, also if the lock is removed by hand. Fails where they are still in the lock.
give_on() {
    [ -d "$LOCK/dead" ] || return 0
    # Where leftovers are beside the lock already, both are passed on: those within the others.
    oldest=$LOCK/dead
    while [ -d "$oldest/dead" ]; do oldest=$oldest/dead; done
    if [ -d "$LOCK.dead" ] && ! mv -T "$LOCK.dead" "$oldest/dead"; then return 1; fi
    if mv -T "$LOCK/dead" "$LOCK.dead"; then return 0; fi
    say "the leftovers of the interrupted run stay in $LOCK/dead: $LOCK.dead cannot be created. See what is there: ls -la '$LOCK.dead'"
    return 1
}

# Taking the lock may have been interrupted before its rename.
rm -rf "${LOCK:?}.${NONCE:?}" "$LOCK.$NONCE.freed"
if [ ! -d "$LOCK" ]; then
    put found none
elif [ "$(cat "$LOCK/nonce" 2>/dev/null)" != "$NONCE" ]; then
    put found others
elif [ "$KEEP" = yes ]; then
    : >"$LOCK/kept"
    if give_on; then :; fi
    put found kept
elif ! give_on; then
    # Freed, it would take them along. When its lease has expired, the next run takes it over with them.
    put found left
else
    mv -T "$LOCK" "$LOCK.$NONCE.freed"
    rm -rf "$LOCK.$NONCE.freed"
    put found ours
fi
