# Takes the deploy lock. mkdir either makes the folder or fails: two runs cannot both get it.
# in: BASE STATE LOCK OWNER NONCE ENVIRONMENT
umask 077
mkdir -p "$STATE" "$STATE/journal" "$STATE/incoming"
chmod 700 "$STATE"
if mkdir "$LOCK" 2>/dev/null; then
    printf '%s\n' "$NONCE" >"$LOCK/nonce"
    printf '%s\n' "$OWNER" >"$LOCK/owner"
else
    owner=$(cat "$LOCK/owner" 2>/dev/null) || owner=
    put held "$owner"
    exit 0
fi
# The marker says which environment this place belongs to, so that a wrong base-dir never releases into another one's.
[ -f "$STATE/environment" ] || printf '%s\n' "$ENVIRONMENT" >"$STATE/environment"
put taken yes
