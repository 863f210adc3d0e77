# Frees the deploy lock, if this run holds it; or pins it, so that it never expires.
# in: LOCK NONCE KEEP (yes: pin it) UNRECORDED (yes: the ledger has no line of this run's attempt)

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

# Pins it. The name of the file that is renamed has the token: no other run's lock can be pinned.
pin() {
    if [ -e "$LOCK/kept" ] || mv -T "$LOCK/pin.$NONCE" "$LOCK/kept" 2>/dev/null; then return 0; fi
    # A lock of an earlier version has no such file; without a free inode another one takes its place.
    { printf '' >"$LOCK/kept"; } 2>/dev/null || mv -f "$LOCK/room" "$LOCK/kept" || mv -f "$LOCK/since" "$LOCK/kept" || return 1
    is_ours "$LOCK" "$NONCE" || rm -f "$LOCK/kept"
}

# Taking the lock may have been interrupted before its rename.
freed=$LOCK.$NONCE.freed
rm -rf "${LOCK:?}.${NONCE:?}" "$freed"
tries=0
# A run that takes it over decides within a moment: it finds the lease expired, or gives up its claim.
while is_ours "$LOCK" "$NONCE" && claimed "$LOCK" && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
if [ ! -d "$LOCK" ]; then
    put found none
elif ! is_ours "$LOCK" "$NONCE"; then
    put found others
elif [ "$KEEP" = yes ]; then
    pin || refuse lock-unwritable lock="$LOCK" state="${LOCK%/*}"
    if is_ours "$LOCK" "$NONCE"; then
        if give_on; then :; fi
        # A person removes this lock. What is to be recorded outlasts it: by a rename, which needs no room on a full disk.
        if [ "$UNRECORDED" = yes ] && [ -s "$LOCK/begun" ] && ! mv -T "$LOCK/begun" "$LOCK.begun.$NONCE"; then
            say "$LOCK/begun cannot be moved: the attempt of this run will be missing in the ledger"
        fi
        put found kept
    else
        put found others
    fi
elif ! give_on; then
    # Freed, it would take them along. When its lease has expired, the next run takes it over with them.
    put found left
elif ! mv -T "$LOCK" "$freed"; then
    put found others
elif [ "$(cat "$freed/nonce" 2>/dev/null)" = "$NONCE" ]; then
    rm -rf "$freed"
    put found ours
else
    # Another run took it over after it was looked at. If a third one has the place already, what is here is an interrupted run's.
    mv -T "$freed" "$LOCK" 2>/dev/null || mv -T "$freed" "$LOCK.dead" || say "$freed is the lock of another run, and could not be moved back"
    put found others
fi
