# Removes what a run left that died: its release folder and its upload, by exact name. Never what is live, and not what an upload of the
# same bundle can go on with for a day.
# in: FOLDER FILE JOURNAL CURRENT LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
if [ -d "$CURRENT/" ] && [ "$(readlink -f "$CURRENT")" = "$(readlink -f "$FOLDER")" ]; then
    put live yes
    exit 0
fi
if [ -f "$FILE" ] && [ -f "$JOURNAL" ] && grep -qF -e '"event":"uploading"' "$JOURNAL" && [ -n "$(find "$FILE" -mmin -1440)" ]; then
    put kept "$FILE"
    FILE=
fi
for path in "$FOLDER" "$FILE"; do
    if [ -z "$path" ] || [ ! -e "$path" ]; then continue; fi
    rm -rf "${path:?}"
    put removed "$path"
done
