# Takes the deploy lock. It is made complete under another name and renamed into its place, which fails while one is there: two runs cannot
# both get it. A lock that was not renewed for a whole lease is taken over. A migration that the interrupted run left running is never
# ended: this answers `busy` with the lock taken, and is called again.
# in: STATE JOBS LOCK OWNER NONCE ENVIRONMENT LEASE (seconds) RELEASE MAKES (the release that this run makes; empty: none) BEGUN (what it
#     begins, for the ledger if a run takes over; empty: nothing) OWN (the fencing token of an earlier lock of the same run; empty: none)
umask 077
mkdir -p "$STATE" "$STATE/journal" "$STATE/incoming" || refuse lock-unwritable lock="$LOCK" state="$STATE"
chmod 700 "$STATE"

# A pinned lock never expires. The post step knows that its own run has ended, even if a process of it is still running: its scripts are
# refused from here on.
expired() {
    [ ! -e "$LOCK/kept" ] || return 1
    if [ -n "$OWN" ] && is_ours "$LOCK" "$OWN"; then return 0; fi
    # The watchdog rolled its release back: the run has nothing left to do under it.
    if [ -e "$LOCK/over" ] && is_ours "$LOCK" "$(cat "$LOCK/over")"; then return 0; fi
    renewed=$(cat "$LOCK/renewed" 2>/dev/null) || renewed=
    lease=$(cat "$LOCK/lease" 2>/dev/null) || lease=
    # As `unreadable_lease` tells it. More digits than a time has are no number for the shell.
    case $renewed in
    '' | *[!0-9]* | ?????????????*)
        # A claim changes the folder's time: what was seen before it counts.
        aged=${aged:-$(stat -c %Y -- "$LOCK")} || return 1
        renewed=$aged
        ;;
    esac
    case $lease in '' | *[!0-9]* | ?????????*) lease=3600 ;; esac
    now=$(date +%s)
    # The clock was set back. A holder that is at work renews the lock by the new time; of another one the lease counts from when its time was
    # first seen.
    if [ "$renewed" -gt $((now + lease)) ]; then
        seen='' since=''
        if [ -f "$LOCK/ahead" ]; then read -r seen since <"$LOCK/ahead" || seen=''; fi
        if [ "$seen" != "$renewed" ] || [ -z "$since" ] || [ "$since" -gt "$now" ]; then
            printf '%s %s\n' "$renewed" "$now" >"$LOCK/ahead" || say "$LOCK/ahead cannot be written"
            return 1
        fi
        renewed=$since
    fi
    [ "$now" -gt $((renewed + lease)) ]
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
# On a full disk a file may be there without its text: then everything is removed again.
if ! {
    mkdir "$new" &&
        printf '%s\n' "$NONCE" >"$new/nonce" &&
        printf '%s\n' "$OWNER" >"$new/owner" &&
        printf '%s\n' "$LEASE" >"$new/lease" &&
        printf '%s\n' "$MAKES" >"$new/makes" &&
        printf '%s\n' "$BEGUN" >"$new/begun" &&
        date +%s >"$new/since" &&
        date +%s >"$new/renewed" &&
        printf '' >"$new/pin.$NONCE" && # pins it by a rename, which needs no inode and no other lock has by this name
        dd if=/dev/urandom of="$new/room" bs=4096 count=4 2>/dev/null # for the ledger's line, should the disk be full by then
}; then
    rm -rf "$new"
    refuse lock-unwritable lock="$LOCK" state="$STATE"
fi

# What a migration answered, with another separator: no variable of a shell can hold its own.
migrated() { # fencing token of the lock under which it ran
    for job in "$JOBS"/*/; do
        if [ -n "$1" ] && [ "$(cat "${job}finishes" 2>/dev/null)" = "$1" ]; then tr '\0' '\036' <"${job}answer"; fi
    done
}

# Jobs on the server belong to the holder of the lock: those of other runs are ended.
taken() {
    for job in "$JOBS"/*/; do
        if [ -e "${job}finishes" ] && at_work "$job"; then
            renew "$LOCK"
            put busy "$process"
            put busy-log "${job}log"
            exit 0
        fi
    done
    # The holder finds the leftovers of the interrupted run in its lock, also where an earlier holder had moved them out of the way.
    if [ -d "$LOCK.dead" ] && mv -T "$LOCK.dead" "$LOCK/dead"; then
        printf '{"version":1,"at":"%s","event":"took-over-the-lock","from":"%s","to":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(tr -d '"\\\n' <"$LOCK/dead/owner")" "$RELEASE" >>"$STATE/journal/$RELEASE.jsonl" || say "$STATE/journal/$RELEASE.jsonl cannot be written"
    fi
    # The interrupted run may itself have taken over a recovery and not completed it.
    dead=$LOCK/dead
    while [ -d "$dead" ]; do
        put took-over "$(cat "$dead/owner" 2>/dev/null)"
        put dead-release "$(cat "$dead/makes" 2>/dev/null)"
        put dead-begun "$(cat "$dead/begun" 2>/dev/null)"
        # It ended while it confirmed: the rename of the watchdog's entry decided.
        if [ -e "$dead/confirming" ] && [ -d "$(head -n 1 "$dead/confirming").off" ]; then mv -f "$dead/confirming" "$dead/confirmed"; fi
        if [ -e "$dead/confirmed" ]; then put dead-confirmed yes; else put dead-confirmed no; fi
        put dead-proof "$(sed -n 2p "$dead/confirmed" 2>/dev/null)"
        [ -e "$dead/migrated" ] || migrated "$(cat "$dead/nonce" 2>/dev/null)" >"$dead/migrated" || say "$dead/migrated cannot be written: check whether the disk is full"
        put dead-migrated "$(cat "$dead/migrated" 2>/dev/null)"
        dead=$dead/dead
    done
    # What stuck runs could not record before their locks were removed by hand.
    for begun in "$LOCK".begun.*; do
        [ -f "$begun" ] || continue
        put stuck-begun "$(cat "$begun")"
        # The folder of its job goes with the others below, and this may be asked again.
        of_job=$LOCK.migrated.${begun##*.}
        [ -e "$of_job" ] || migrated "${begun##*.}" >"$of_job" || say "$of_job cannot be written: check whether the disk is full"
        put stuck-migrated "$(cat "$of_job" 2>/dev/null)"
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
    # The marker names the environment of this folder, so that a wrong base-dir never releases into another environment.
    [ -f "$STATE/environment" ] || printf '%s\n' "$ENVIRONMENT" >"$STATE/environment"
    put taken yes
    exit 0
}
# A run whose connection broke asks again.
if is_ours "$LOCK" "$NONCE"; then
    rm -rf "$new"
    taken
fi

# The files are on the disk before the rename.
sync -- "$new"/* "$new" 2>/dev/null || sync || say "$new cannot be flushed: there is no sync"
tries=0
until mv -T "$new" "$LOCK" 2>/dev/null; do
    # Its holder may free it between two reads, so one read without it proves nothing.
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || refuse lock-unwritable lock="$LOCK" state="$STATE"
    [ -d "$LOCK" ] || continue
    aged=
    expired || held
    theirs=$(cat "$LOCK/nonce" 2>/dev/null) || theirs=
    # Only one run may take it over. A run that comes late finds another lock by this name, and reads again.
    if claimed "$LOCK"; then held; fi
    if ! { mkdir "$new/claim" && printf '%s %s\n' "$$" "$(began $$)" >"$new/claim/by"; }; then
        rm -rf "$new"
        refuse lock-unwritable lock="$LOCK" state="$STATE"
    fi
    if ! mv -T "$new/claim" "$claim" 2>/dev/null; then
        rm -rf "$new/claim"
        # Another run was faster, or its holder freed it.
        if [ -d "$claim" ]; then held; fi
        continue
    fi
    # After a power cut there may be no token in it: then none is what stays the same.
    now=$(cat "$LOCK/nonce" 2>/dev/null) || now=
    if [ "$now" != "$theirs" ] || ! expired; then
        rm -rf "$claim"
        held
    fi
    # A run that was interrupted before it had read the leftovers of the one before it left nothing itself.
    if mv -T "$LOCK" "$LOCK.dead" 2>/dev/null; then
        moved=$LOCK.dead
    elif mv -T "$LOCK" "$new.dead" 2>/dev/null; then
        moved=$new.dead
    else
        continue # its holder freed it
    fi
    # Its holder may have freed it in between, and another run may have taken it.
    now=$(cat "$moved/nonce" 2>/dev/null) || now=
    if [ "$now" != "$theirs" ]; then
        mv -T "$moved" "$LOCK" 2>/dev/null || say "$moved is the lock of another run, and could not be moved back"
        held
    fi
    rm -rf "$new.dead"
done
taken
