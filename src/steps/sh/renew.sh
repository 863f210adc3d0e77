# Says that the run which holds the deploy lock is still there.
# in: LOCK NONCE
if [ "$(cat "$LOCK/nonce" 2>/dev/null)" = "$NONCE" ] && [ ! -d "$LOCK/takeover" ]; then
    date +%s >"$LOCK/renewed.new"
    mv -f "$LOCK/renewed.new" "$LOCK/renewed"
    put renewed yes
else
    owner=$(cat "$LOCK/owner" 2>/dev/null) || owner=
    put lost "$owner"
fi
