# Takes the deploy lock. It is made whole under another name and renamed into its place, which fails while one is there: two runs cannot
# both get it. The lock of a run that has not renewed it for a whole lease is taken over.
# in: STATE JOBS LOCK OWNER NONCE ENVIRONMENT LEASE (seconds) RELEASE MAKES (the release that this run makes; empty: none) BEGUN (what it
#     begins, for the ledger of whoever takes over; empty: nothing) OWN (the number of an earlier lock of the same run; empty: none)
umask 077
mkdir -p "$STATE" "$STATE/journal" "$STATE/incoming"
chmod 700 "$STATE"

# Only a run that renews its lock can be seen to be dead; a stuck one keeps it. The post step knows that its own run is over, even if
# something of it is still at work somewhere: that is refused from here on.
expired() {
    [ ! -e "$LOCK/kept" ] || return 1
    if [ -n "$OWN" ] && [ "$(cat "$LOCK/nonce" 2>/dev/null)" = "$OWN" ]; then return 0; fi
    renewed=$(cat "$LOCK/renewed" 2>/dev/null) || return 1
    lease=$(cat "$LOCK/lease" 2>/dev/null) || return 1
    case $renewed.$lease in .* | *. | *[!0-9.]*) return 1 ;; esac
    [ "$(date +%s)" -gt $((renewed + lease)) ]
}

held() {
    owner=$(cat "$LOCK/owner" 2>/dev/null) || owner=
    rm -rf "$new"
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
    refuse "$LOCK cannot be written" "is the disk full? df $STATE"
fi

# What goes on without its connection belongs to whoever holds the lock: that of other runs ends.
taken() {
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
        if [ -e "$dead/confirmed" ]; then put dead-confirmed yes; else put dead-confirmed no; fi
        dead=$dead/dead
    done
    for job in "$JOBS"/*/; do
        [ -d "$job" ] || continue
        process='' since=''
        if [ -f "${job}pid" ]; then read -r process since <"${job}pid" || process=''; fi
        if [ -n "$since" ] && [ "$(began "$process")" = "$since" ]; then
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
if [ "$(cat "$LOCK/nonce" 2>/dev/null)" = "$NONCE" ]; then
    rm -rf "$new"
    taken
fi

tries=0
until mv -T "$new" "$LOCK" 2>/dev/null; do
    # Its owner may give it back between two looks, so one look without it proves nothing.
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || refuse "$LOCK cannot be made" "look at what is there, and whether the disk is full"
    [ -d "$LOCK" ] || continue
    expired || held
    theirs=$(cat "$LOCK/nonce" 2>/dev/null) || continue
    # One may take it over. Whoever comes late finds another lock by this name, and looks again.
    mkdir "$LOCK/takeover" 2>/dev/null || held
    if [ "$(cat "$LOCK/nonce")" != "$theirs" ] || ! expired; then
        rmdir "$LOCK/takeover"
        held
    fi
    # One that died before it had found what the one before it left has left nothing itself, nor has one that had just given that on.
    mv -T "$LOCK" "$LOCK.dead" 2>/dev/null || mv -T "$LOCK" "$new.dead"
    rm -rf "$new.dead"
done
taken
