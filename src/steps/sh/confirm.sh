# Takes the guard away from a release: it was confirmed, or it is not live. Only by the nonce that it was armed with.
# in: ENTRY (path without its state) NONCE LOCK (empty: withdrawing needs none) LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
if [ -d "$ENTRY.armed" ] && [ "$(cat "$ENTRY.armed/nonce" 2>/dev/null)" != "$NONCE" ]; then
    refuse "$ENTRY.armed was changed by somebody else: it has another nonce" "look who works on the server; the watcher there goes back in its time"
fi
pid=$(cat "$ENTRY.armed/pid" 2>/dev/null) || pid=
if [ -n "$pid" ] && ! kill -s 0 "$pid" 2>/dev/null; then put watcher gone; fi
# The watcher renames the entry as well: whoever renames it first decides.
if mv -T "$ENTRY.armed" "$ENTRY.off" 2>/dev/null; then
    # Whoever takes over the lock of a run that died before it wrote its line knows by this that it was confirmed, not withdrawn.
    if [ -n "$LOCK" ]; then : >"$LOCK/confirmed"; fi
    rm -rf "$ENTRY.off"
    put state off
elif [ -d "$ENTRY.reverting" ]; then
    put state reverting
elif [ -d "$ENTRY.reverted" ]; then
    put state reverted
else
    put state none
fi
