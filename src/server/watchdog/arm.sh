# Arms the watchdog: an entry that names what was live, and beside it the program that rolls back if no run confirms the release in time.
# in: PLACE ENTRY (path without its state) NONCE WITHIN (seconds) HEAD TAIL (of the entry, around its deadline) PROGRAM RELOAD WORKERS LOCK LOCK_NONCE
#     BEFORE (what `current` says, and the rollback makes it say again; empty: no link)
#     RELEASE (its folder: all of it reaches the disk before anything points at it)
umask 077
fenced "$LOCK" "$LOCK_NONCE"
flush "$RELEASE"
mkdir -p "$PLACE" || refuse watchdog-entry-unwritable path="$PLACE"
if [ -d "$ENTRY.armed" ]; then
    # A run whose connection broke asks again: its entry has its fencing token. A second program beside the first does no harm.
    if [ "$(cat "$ENTRY.armed/nonce" 2>/dev/null)" != "$NONCE" ]; then refuse watchdog-armed-already path="$ENTRY.armed" folder="$PLACE"; fi
    deadline=$(cat "$ENTRY.armed/deadline")
else
    # A release can be the target of several rollbacks: the entry of an earlier one would prevent the rename.
    rm -rf "$ENTRY.new" "$ENTRY.reverted"
    deadline=$(($(date +%s) + WITHIN))
    # All that a rollback makes is made here: afterwards the disk may have neither room nor a free inode.
    ready() {
        mkdir "$ENTRY.new" &&
            printf '%s\n' "$NONCE" >"$ENTRY.new/nonce" &&
            printf '%s\n' "$deadline" >"$ENTRY.new/deadline" &&
            printf '%s %s\n' "$(($(elapsed) + WITHIN))" "$WITHIN" >"$ENTRY.new/until" &&
            printf '%s%s%s\n' "$HEAD" "$deadline" "$TAIL" >"$ENTRY.new/entry.json" &&
            printf '%s\n' "$PROGRAM" >"$ENTRY.new/program" &&
            printf '%s\n' "$RELOAD" >"$ENTRY.new/reload" &&
            printf '%s\n' "$WORKERS" >"$ENTRY.new/workers" || return 1
        for mark in switched turned turning written; do printf '' >"$ENTRY.new/ready.$mark" || return 1; done
        for file in answer log reload.answer workers.answer; do with_room "$ENTRY.new/$file" 16384 || return 1; done
        if [ -n "$BEFORE" ]; then ln -s "$BEFORE" "$ENTRY.new/back"; fi
    }
    if ! ready; then
        rm -rf "$ENTRY.new"
        refuse watchdog-entry-unwritable path="$ENTRY.new"
    fi
    flush_file "$ENTRY.new/entry.json"
    mv -T "$ENTRY.new" "$ENTRY.armed"
fi
watcher() { kill -s 0 "$(cat "$ENTRY.armed/pid" 2>/dev/null)" 2>/dev/null; }
# In a session of its own, and with none of our descriptors: it must outlive this connection and not keep it open.
watcher || setsid sh "$ENTRY.armed/program" </dev/null >>"$ENTRY.armed/answer" 2>>"$ENTRY.armed/log" 3>&- &
tries=0
until [ -s "$ENTRY.armed/pid" ] || [ ! -d "$ENTRY.armed" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then
        cat "$ENTRY.armed/log"
        refuse watchdog-not-started
    fi
    sleep 0.05
done
pid=$(cat "$ENTRY.armed/pid" 2>/dev/null) || refuse switch-too-late
put deadline "$deadline"
put pid "$pid"
