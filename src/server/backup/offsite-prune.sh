# Removes named copies of backups: exact names, no pattern.
# in: TO OLD LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
printf '%s\n' "$OLD" | while read -r name; do
    [ -n "$name" ] || continue
    rm -rf "${TO:?}/$name"
    put removed "$name"
done
