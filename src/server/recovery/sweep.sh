# Removes leftovers of interrupted runs, by exact names. Never the live release.
# in: PATHS (one a line) CURRENT LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
live=
if [ -d "$CURRENT/" ]; then live=$(readlink -f "$CURRENT"); fi
printf '%s\n' "$PATHS" | while read -r path; do
    [ -n "$path" ] || continue
    [ -e "$path" ] || [ -L "$path" ] || continue
    if [ -n "$live" ] && [ -d "$path" ] && [ "$(readlink -f "$path")" = "$live" ]; then continue; fi
    if remove_tree "${path:?}" "${CURRENT%/*}/.gated-deploy"; then put removed "$path"; fi
done
