# Renews the lease of the deploy lock.
# in: LOCK NONCE
tries=0
# A run that takes it over decides within a moment: it finds the lease expired, or gives up its claim.
while is_ours "$LOCK" "$NONCE" && claimed "$LOCK" && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
if is_ours "$LOCK" "$NONCE"; then
    renew "$LOCK"
    put renewed yes
else
    owner=$(cat "$LOCK/owner" 2>/dev/null) || owner=
    put lost "$owner"
fi
