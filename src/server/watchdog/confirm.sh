# Disarms the watchdog of a release: it was confirmed, or it is not live. Only by the nonce that it was armed with.
# in: ENTRY (path without its state) NONCE CURRENT LINK (what is confirmed; empty: withdrawn) JOURNAL NOTE (its line for that) LOCK (empty: withdrawing needs none) LOCK_NONCE
#     PROOF (of a release that is confirmed: what its line in the ledger says; empty: withdrawn)
off() {
    noted || printf '%s\n' "$NOTE" >>"$JOURNAL" || say "$JOURNAL cannot be written: check whether the disk is full"
    # A run that takes over the lock before the ledger's line was written knows by this that the release was confirmed.
    if [ -n "$LOCK" ]; then
        if [ -e "$LOCK/confirming" ]; then mv -f "$LOCK/confirming" "$LOCK/confirmed"; fi
        [ -e "$LOCK/confirmed" ] || printf '' >"$LOCK/confirmed" || say "$LOCK/confirmed cannot be written: check whether the disk is full"
    fi
    rm -rf "$ENTRY.off"
    put state off
}
# A run whose connection broke asks again. Its line in the journal has its fencing token.
noted() { [ -f "$JOURNAL" ] && grep -qxF -e "$NOTE" "$JOURNAL"; }
# So has the lock, where the journal could not be written.
marked() { [ -n "$LOCK" ] && is_ours "$LOCK" "$LOCK_NONCE" && [ ! -d "$ENTRY.armed" ] && [ "$(head -n 1 "$LOCK/confirmed" 2>/dev/null)" = "$ENTRY" ]; }
if noted || marked || { [ -n "$NONCE" ] && [ "$(cat "$ENTRY.off/nonce" 2>/dev/null)" = "$NONCE" ]; }; then
    # What was decided stays decided, also if another run has the lock now.
    [ -z "$LOCK" ] || is_ours "$LOCK" "$LOCK_NONCE" || LOCK=
    off
    exit 0
fi
fenced "$LOCK" "$LOCK_NONCE"
# What is confirmed is live, and nothing else.
if [ -n "$LINK" ]; then
    now=
    if [ -L "$CURRENT" ]; then now=$(link_of "$CURRENT"); fi
    [ "$now" = "$LINK" ] || refuse release-not-live now="${now:-nothing}" expected="$LINK"
fi
# Read first and looked for then: the watchdog may rename it in between.
found=$(cat "$ENTRY.armed/nonce" 2>/dev/null) || found=
if { [ -z "$NONCE" ] || [ "$found" != "$NONCE" ]; } && [ -d "$ENTRY.armed" ]; then
    refuse watchdog-changed path="$ENTRY.armed"
fi
pid=$(cat "$ENTRY.armed/pid" 2>/dev/null) || pid=
if [ -n "$pid" ] && ! kill -s 0 "$pid" 2>/dev/null; then put watcher gone; fi
# A run that ends between the rename and its mark has confirmed all the same: this and the renamed guard say so.
confirming() { printf '%s\n%s\n' "$ENTRY" "$PROOF" >"$LOCK/confirming"; }
if [ -n "$LOCK" ] && ! confirming; then
    # On a full disk the room is used that was kept for the ledger's line.
    rm -f "$LOCK/room"
    confirming || say "$LOCK/confirming cannot be written: check whether the disk is full"
fi
[ -z "$LOCK" ] || flush_file "$LOCK/confirming"
checkpoint inside
# The watchdog renames the entry as well: the first rename decides.
if mv -T "$ENTRY.armed" "$ENTRY.off" 2>/dev/null; then
    # What is answered is on the disk: after a power cut the watchdog would roll a confirmed release back.
    flush_file "${ENTRY%/*}"
    off
else
    [ -z "$LOCK" ] || rm -f "$LOCK/confirming"
    if [ -d "$ENTRY.reverting" ]; then
        put state reverting
    elif [ -d "$ENTRY.reverted" ]; then
        put state reverted
    else
        put state none
    fi
fi
