# The holder of the deploy lock. Reads only.
# in: LOCK
put time "$(date +%s)"
for name in owner renewed lease kept nonce over makes; do
    if [ -f "$LOCK/$name" ]; then put "lock-$name" "$(cat "$LOCK/$name")"; fi
done
if [ -d "$LOCK" ]; then
    put lock yes
    unreadable_lease "$LOCK"
fi
