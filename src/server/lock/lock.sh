# Takes the deploy lock. It is made whole under another name and renamed into its place, which fails while one is there: two runs cannot
# both get it. The lock of a run that has not renewed it for a whole lease is taken over. A migration that such a run left at work is never
# ended: this answers `busy` with the lock taken, and is asked again.
# in: STATE JOBS LOCK OWNER NONCE ENVIRONMENT LEASE (seconds) RELEASE MAKES (the release that this run makes; empty: none) BEGUN (what it
#     begins, for the ledger of whoever takes over; empty: nothing) OWN (the number of an earlier lock of the same run; empty: none)
umask 077
mkdir -p "$STATE" "$STATE/journal" "$STATE/incoming"
chmod 700 "$STATE"

# Only a run that renews its lock can be seen to be dead; a stuck one keeps it. The post step knows that its own run is over, even if
# something of it is still at work somewhere: that is refused from here on.
expired() {
    [ ! -e "$LOCK/kept" ] || return 1
    if [ -n "$OWN" ] && is_ours "$LOCK" "$OWN"; then return 0; fi
    # The watchdog rolled its release back: the run has nothing left to do under it.
    if [ -e "$LOCK/over" ] && is_ours "$LOCK" "$(cat "$LOCK/over")"; then return 0; fi
    renewed=$(cat "$LOCK/renewed" 2>/dev/null) || renewed=
    lease=$(cat "$LOCK/lease" 2>/dev/null) || lease=
    # As `unreadable_lease` tells it.
    case $renewed in
    '' | *[!0-9]*)
        # A claim changes the folder's time: what was seen before it counts.
        aged=${aged:-$(stat -c %Y -- "$LOCK")} || return 1
        renewed=$aged
        ;;
    esac
    case $lease in '' | *[!0-9]*) lease=3600 ;; esac
    [ "$(date +%s)" -gt $((renewed + lease)) ]
}

# The process of a job, if it has not ended: in $process.
at_work() { # its folder, with a slash
    process='' since=''
    if [ -f "${1}pid" ]; then read -r process since <"${1}pid" || process=''; fi
    [ -n "$since" ] && [ "$(began "$process")" = "$since" ]
}

held() {
    owner=$(cat "$LOCK/owner" 2>/dev/null) || owner=
    migrating=
    for job in "$JOBS"/*/; do
        if [ -e "${job}finishes" ] && is_ours "$LOCK" "$(cat "${job}finishes")" && at_work "$job"; then migrating=yes; fi
    done
    rm -rf "$new"
    if [ -n "$migrating" ]; then put migrating yes; fi
    if [ -e "$LOCK/kept" ]; then put kept yes; fi
    put held "$owner"
    exit 0
}

new=$LOCK.$NONCE
rm -rf "$new"
mkdir "$new"
# On a full disk there is a file without its text: what was begun goes again.
if ! {
    printf '%s\n' "$NONCE" >"$new/nonce" &&
        printf '%s\n' "$OWNER" >"$new/owner" &&
        printf '%s\n' "$LEASE" >"$new/lease" &&
        printf '%s\n' "$MAKES" >"$new/makes" &&
        printf '%s\n' "$BEGUN" >"$new/begun" &&
        date +%s >"$new/since" &&
        date +%s >"$new/renewed" &&
        dd if=/dev/urandom of="$new/room" bs=4096 count=4 2>/dev/null # for the ledger's line, should the disk be full by then
}; then
    rm -rf "$new"
    refuse lock-unwritable lock="$LOCK" state="$STATE"
fi

# What a migration answered, with another separator: no variable of a shell can hold its own.
migrated() { # number of the lock under which it ran
    for job in "$JOBS"/*/; do
        if [ -n "$1" ] && [ "$(cat "${job}finishes" 2>/dev/null)" = "$1" ]; then tr '\0' '\036' <"${job}answer"; fi
    done
}

# What goes on without its connection belongs to whoever holds the lock: that of other runs ends.
taken() {
    for job in "$JOBS"/*/; do
        if [ -e "${job}finishes" ] && at_work "$job"; then
            renew "$LOCK"
            put busy "$process"
            put busy-log "${job}log"
            exit 0
        fi
    done
    # Whoever has the lock finds what the dead run left in it, also where somebody else had moved it out of the way.
    if [ -d "$LOCK.dead" ] && mv -T "$LOCK.dead" "$LOCK/dead"; then
        printf '{"version":1,"at":"%s","event":"took-over-the-lock","from":"%s","to":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(tr -d '"\\\n' <"$LOCK/dead/owner")" "$RELEASE" >>"$STATE/journal/$RELEASE.jsonl" || say "$STATE/journal/$RELEASE.jsonl cannot be written"
    fi
    # It may itself have died before it brought to its end what it had taken over.
    dead=$LOCK/dead
    while [ -d "$dead" ]; do
        put took-over "$(cat "$dead/owner" 2>/dev/null)"
        put dead-release "$(cat "$dead/makes" 2>/dev/null)"
        put dead-begun "$(cat "$dead/begun" 2>/dev/null)"
        # It ended while it confirmed: the rename of the guard decided.
        if [ -e "$dead/confirming" ] && [ -d "$(head -n 1 "$dead/confirming").off" ]; then mv -f "$dead/confirming" "$dead/confirmed"; fi
        if [ -e "$dead/confirmed" ]; then put dead-confirmed yes; else put dead-confirmed no; fi
        put dead-proof "$(sed -n 2p "$dead/confirmed" 2>/dev/null)"
        [ -e "$dead/migrated" ] || migrated "$(cat "$dead/nonce" 2>/dev/null)" >"$dead/migrated" || say "$dead/migrated cannot be written: is the disk full?"
        put dead-migrated "$(cat "$dead/migrated" 2>/dev/null)"
        dead=$dead/dead
    done
    for job in "$JOBS"/*/; do
        [ -d "$job" ] || continue
        if at_work "$job"; then
            tries=0
            while kill -s TERM -- "-$process" 2>/dev/null; do
                tries=$((tries + 1))
                if [ "$tries" -gt 40 ] && kill -s KILL -- "-$process"; then break; fi
                sleep 0.05
            done
            put ended-job "$(basename "$job")"
        fi
        rm -rf "${job:?}"
    done
    # The marker says which environment this place belongs to, so that a wrong base-dir never releases into another one's.
    [ -f "$STATE/environment" ] || printf '%s\n' "$ENVIRONMENT" >"$STATE/environment"
    put taken yes
    exit 0
}
# A run whose connection broke asks again.
if is_ours "$LOCK" "$NONCE"; then
    rm -rf "$new"
    taken
fi

# What is renamed into its place has its text on the disk.
sync -- "$new"/* "$new" 2>/dev/null || sync || say "$new cannot be flushed: there is no sync"
tries=0
until mv -T "$new" "$LOCK" 2>/dev/null; do
    # Its owner may give it back between two looks, so one look without it proves nothing.
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || refuse lock-unwritable lock="$LOCK" state="$STATE"
    [ -d "$LOCK" ] || continue
    aged=
    expired || held
    theirs=$(cat "$LOCK/nonce" 2>/dev/null) || theirs=
    # One may take it over. Whoever comes late finds another lock by this name, and looks again.
    if claimed "$LOCK"; then held; fi
    mkdir "$new/claim"
    printf '%s %s\n' "$$" "$(began $$)" >"$new/claim/by"
    if ! mv -T "$new/claim" "$claim" 2>/dev/null; then
        rm -rf "$new/claim"
        # Another run was faster, or its owner gave it back.
        if [ -d "$claim" ]; then held; fi
        continue
    fi
    if ! is_ours "$LOCK" "$theirs" || ! expired; then
        rm -rf "$claim"
        held
    fi
    # One that died before it had found what the one before it left has left nothing itself, nor has one that had just given that on.
    mv -T "$LOCK" "$LOCK.dead" 2>/dev/null || mv -T "$LOCK" "$new.dead"
    rm -rf "$new.dead"
done
taken
