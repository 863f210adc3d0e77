# The state of the migration that this run began: it is never ended. One that has not begun does not begin any more.
# in: JOBS LOCK LOCK_NONCE
# A migration looks for this after its folder is there (fenced), and this looks for its folder after the mark is there.
state=none
if is_ours "$LOCK" "$LOCK_NONCE"; then
    true >"$LOCK/ending" || say "$LOCK/ending cannot be written: check whether the disk is full"
else
    # The run that took over the lock removed the leftovers of this one: the result of the migration is not known here.
    state=lost
fi
for job in "$JOBS"/*/; do
    [ "$(cat "${job}finishes" 2>/dev/null)" = "$LOCK_NONCE" ] || continue
    process='' since=''
    if [ -f "${job}pid" ]; then read -r process since <"${job}pid" || process=''; fi
    if [ -n "$since" ] && [ "$(began "$process")" = "$since" ]; then
        state=running
        put process "$process"
    else
        state=ended
        put migrated "$(tr '\0' '\036' <"${job}answer")"
    fi
done
put state "$state"
