# The watchdog of a release: waits, and rolls back if no run confirms the release in time. On the server it runs alone, out of its entry;
# a later run uses it to complete an interrupted rollback.
# in: PHP ENTRY (path without its state) NOW (yes: do not wait) CURRENT LINK BEFORE TREE (BEFORE as a path) NEW JOURNAL LEDGER WELL ILL
#     LOCK (of the run that armed it; empty: none) LOCK_NONCE
umask 077
cd /

# A full disk does not prevent a rollback.
note() { # event
    printf '{"version":1,"at":"%s","event":"%s","from":"%s","to":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$LINK" "$BEFORE" >>"$JOURNAL" || say "$JOURNAL cannot be written: check whether the disk is full"
}

live() { if [ -L "$CURRENT" ]; then link_of "$CURRENT"; fi; }
# An entry of an earlier version may have it absolute.
if [ -n "$BEFORE" ]; then BEFORE=$(plain_link "$BEFORE" "${CURRENT%/*}"); fi

mark() { make_mark "$ENTRY.reverting" "$1" || say "$ENTRY.reverting/$1 cannot be written: check whether the disk is full"; }

# Whether the process that began the rollback still runs. After a reboot its number may be another's; the wait is limited, too.
at_work() {
    pid=$(cat "$ENTRY.reverting/pid" 2>/dev/null) || return 1
    [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q '^[^ ]*sh '
}

if [ "$NOW" != yes ]; then
    read -r until within <"$ENTRY.armed/until"
    printf '%s\n' "$$" >"$ENTRY.armed/pid"
    # A person may start it again after a reboot: then the clock says how long, and it is never longer than it was to be.
    if [ $((until - $(elapsed))) -gt "$within" ]; then
        left=$(($(cat "$ENTRY.armed/deadline") - $(date +%s)))
        if [ "$left" -gt "$within" ]; then left=$within; fi
        until=$(($(elapsed) + left))
    fi
    # By the time since the boot, and not by the clock, which can be set.
    while [ -d "$ENTRY.armed" ] && [ "$(elapsed)" -lt "$until" ]; do sleep 1; done
fi

# Confirming renames the entry as well: the first rename decides.
if mv -T "$ENTRY.armed" "$ENTRY.reverting" 2>/dev/null; then
    [ "$(cat "$ENTRY.reverting/pid" 2>/dev/null)" = "$$" ] || printf '%s\n' "$$" >"$ENTRY.reverting/pid" || say "$ENTRY.reverting/pid cannot be written"
elif [ -d "$ENTRY.armed" ]; then
    refuse watchdog-unwritable path="$ENTRY.armed"
elif [ "$NOW" = yes ] && [ -d "$ENTRY.reverting" ]; then
    patience=90
    while [ "$patience" -gt 0 ] && at_work; do
        patience=$((patience - 1))
        sleep 1
    done
    if [ ! -d "$ENTRY.reverting" ]; then
        put found none
        exit 0
    fi
    printf '%s\n' "$$" >"$ENTRY.reverting/pid" || say "$ENTRY.reverting/pid cannot be written"
else
    put found none
    exit 0
fi

# A switch that was under way when we took the entry has ended after this.
[ "$(live)" = "$LINK" ] || sleep 2
turned=
if [ "$(live)" = "$LINK" ]; then
    if [ -n "$BEFORE" ] && [ ! -d "$TREE/" ]; then
        refuse previous-release-missing path="$TREE" current="$CURRENT" entry="$ENTRY.reverting"
    fi
    note watchdog-goes-back
    turned=yes
    mark turning
    if [ -n "$BEFORE" ]; then
        room=
        if [ -n "$LOCK" ] && is_ours "$LOCK" "$LOCK_NONCE"; then room=$LOCK; fi
        link_to_rename "$BEFORE" "$ENTRY.reverting" "$NEW" "$room" || refuse link-unwritable path="$NEW" folder="${NEW%/*}"
        replace_with_link "$BEFORE" "$NEW" "$CURRENT"
    else
        rm -f "$CURRENT"
    fi
    note watchdog-went-back
elif [ -e "$ENTRY.reverting/switched" ] && [ "$(live)" = "$BEFORE" ]; then
    # The run had switched and pointed `current` back, and was interrupted before the reload.
    turned=yes
    mark turning
fi
if [ -z "$turned" ] && [ ! -e "$ENTRY.reverting/turning" ]; then
    # It was never live, or was rolled back already.
    rm -rf "$ENTRY.reverting"
    put found closed
    exit 0
fi

line=$WELL
# Behind what is there: the files have their room, which emptying them would give away. What an earlier attempt answered does not count.
answered=0
if [ -e "$ENTRY.reverting/reload.answer" ]; then answered=$(wc -c <"$ENTRY.reverting/reload.answer"); fi
sh "$ENTRY.reverting/reload" >>"$ENTRY.reverting/reload.answer" || line=$ILL
if [ -n "$BEFORE" ]; then
    sh "$ENTRY.reverting/workers" >>"$ENTRY.reverting/workers.answer" || say "the queue workers were not restarted: they run the code of $LINK until their next restart"
fi

unwritten=
if [ ! -e "$ENTRY.reverting/written" ]; then
    if try_append "$LEDGER" "$line"; then mark written; else unwritten=$unappended; fi
fi
# The site is rolled back all the same. The entry stays: the next holder of the deploy lock writes the line.
if [ -n "$unwritten" ]; then put unrecorded "$unwritten"; fi
if [ "$line" != "$WELL" ]; then
    # A later run checks the site's health, and decides. What the reload refused goes with the answer.
    if tail -c "+$((answered + 1))" "$ENTRY.reverting/reload.answer" | sed -nz 's/^\(refused\|value\)=/reload-&/p' >&3; then :; fi
    put found not-reloaded
    exit 0
fi
if [ -n "$unwritten" ]; then
    put found unrecorded
    exit 0
fi
mv -T "$ENTRY.reverting" "$ENTRY.reverted"
# The run that armed it has nothing left to do under its lock: another run may take it over at once and recover the leftovers.
if [ -n "$LOCK" ] && is_ours "$LOCK" "$LOCK_NONCE"; then printf '%s\n' "$LOCK_NONCE" >"$LOCK/over" || say "$LOCK/over cannot be written: the deploy lock is free when its lease expires"; fi
put found went-back
