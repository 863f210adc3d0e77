# Removes named releases and backups: exact names, no pattern; never what is live now.
# in: RELEASES BACKUPS CURRENT OLD_RELEASES OLD_BACKUPS LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
live=$(readlink -f "$CURRENT")
printf '%s\n' "$OLD_RELEASES" | while read -r name; do
    [ -n "$name" ] || continue
    if [ "$(readlink -f "$RELEASES/$name")" = "$live" ]; then refuse release-live path="$RELEASES/$name"; fi
    if remove_tree "${RELEASES:?}/$name" "${CURRENT%/*}/.gated-deploy"; then put removed "$name"; fi
done
printf '%s\n' "$OLD_BACKUPS" | while read -r name; do
    [ -n "$name" ] || continue
    rm -rf "${BACKUPS:?}/$name"
    put removed-backup "$name"
done
