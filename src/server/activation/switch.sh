# Switches `current` to a release: a new link is renamed over the old one, only if the old one is still what the plan was made for.
# in: PHP CURRENT EXPECTED (empty: no link) TARGET (empty: take the link away) NEW JOURNAL BEGINS ENDS GUARD (forward: the armed guard; empty: back) LOCK (forward) LOCK_NONCE
#     MINE (back: the guard's path without its state; empty: forward) MINE_NONCE MINE_LOCK MINE_LOCK_NONCE (what this run holds, if it still does)
if [ -L "$CURRENT" ]; then
    now=$(link_of "$CURRENT")
elif [ -e "$CURRENT" ]; then
    refuse current-not-a-link path="$CURRENT"
else
    now=
fi
# The watchdog's entry of this run, in a rollback.
mine=
for state in armed reverting; do
    if [ -n "$MINE" ] && [ -n "$MINE_NONCE" ] && [ "$(cat "$MINE.$state/nonce" 2>/dev/null)" = "$MINE_NONCE" ]; then mine=$MINE.$state; fi
done
# A run whose connection broke calls this again. Its line in the journal, with milliseconds, shows that it was this switch; in a rollback its mark
# in the watchdog's entry does, also where the journal cannot be written.
begun() { [ -f "$JOURNAL" ] && grep -qxF -e "$1" "$JOURNAL"; }
turned() { [ -n "$mine" ] && [ -e "$mine/turned" ]; }
if [ "$now" = "$TARGET" ] && { begun "$BEGINS" || turned; }; then
    begun "$ENDS" || printf '%s\n' "$ENDS" >>"$JOURNAL" || say "$JOURNAL cannot be written: check whether the disk is full"
    put switched yes
    exit 0
fi
# A rollback needs no lock, but the live release must be this run's. Two runs can roll back to the same release, so the link does not tell them
# apart: the lock or the watchdog's entry must have this run's fencing token.
still_mine() { is_ours "$MINE_LOCK" "$MINE_LOCK_NONCE" || [ -n "$mine" ]; }
if [ "$now" = "$EXPECTED" ] && [ -n "$MINE" ] && ! still_mine; then
    put moved "$now"
    put by-another yes
    exit 0
fi
if [ "$now" != "$EXPECTED" ]; then
    # In a rollback: a switch that was interrupted before its rename left its new link.
    [ -n "$GUARD" ] || rm -f "$NEW"
    put moved "$now"
    exit 0
fi
fenced "$LOCK" "$LOCK_NONCE"
if [ -n "$GUARD" ] && [ ! -d "$GUARD" ]; then
    refuse switch-too-late
fi
# A journal that cannot be written (a full disk) prevents a switch, and never a rollback.
begun "$BEGINS" || printf '%s\n' "$BEGINS" >>"$JOURNAL" || [ -z "$GUARD" ] || refuse journal-unwritable path="$JOURNAL"
flush_file "$JOURNAL"
if [ -n "$TARGET" ]; then
    room=
    if [ -n "$MINE" ] && is_ours "$MINE_LOCK" "$MINE_LOCK_NONCE"; then room=$MINE_LOCK; fi
    link_to_rename "$TARGET" "$mine" "$NEW" "$room" || refuse link-unwritable path="$NEW" folder="${NEW%/*}"
fi
# From here on workers may run the new code: a later rollback reloads even if `current` points back already.
if [ -n "$GUARD" ]; then
    make_mark "$GUARD" switched || refuse watchdog-entry-unwritable path="$GUARD"
elif [ -n "$mine" ]; then
    make_mark "$mine" turned || say "$mine/turned cannot be written: check whether the disk is full"
fi
if [ -n "$TARGET" ]; then
    began=$(date +%s%N)
    replace_with_link "$TARGET" "$NEW" "$CURRENT"
    ended=$(date +%s%N)
    put took-ns $((ended - began))
else
    rm -f "$CURRENT"
fi
flush_file "${CURRENT%/*}"
printf '%s\n' "$ENDS" >>"$JOURNAL" || say "$JOURNAL cannot be written: check whether the disk is full"
put switched yes
