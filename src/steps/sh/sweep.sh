# Removes what a run left that died: its release folder and its upload, by exact name. Never what is live.
# in: FOLDER FILE CURRENT LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
if [ -d "$CURRENT/" ] && [ "$(readlink -f "$CURRENT")" = "$(readlink -f "$FOLDER")" ]; then
    put live yes
    exit 0
fi
for path in "$FOLDER" "$FILE"; do
    [ -e "$path" ] || continue
    rm -rf "${path:?}"
    put removed "$path"
done
