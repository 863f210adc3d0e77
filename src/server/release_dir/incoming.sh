# Prepares an upload: resumes an interrupted one of the same bundle, and removes others.
# Only files count whose journal names their bundle; a part that is older than a day is not resumed.
# in: PLACE FILE RELEASE JOURNALS DIGEST BEGINS (a line for the journal) LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
umask 077
journal=$JOURNALS/$RELEASE.jsonl
noted() { [ -f "$journal" ] && grep -qF -e "$1" "$journal"; }

# The names are dates: the last one that fits is the newest.
newest=
for path in "$PLACE"/*.tar.gz; do
    name=${path##*/}
    theirs=$JOURNALS/${name%.tar.gz}.jsonl
    if [ "$path" = "$FILE" ] || [ -L "$path" ] || [ ! -f "$path" ] || [ ! -f "$theirs" ]; then continue; fi
    grep -qF -e '"event":"uploading"' "$theirs" || continue
    [ -z "$newest" ] || rm -f "$newest"
    newest=
    if grep -qF -e "\"sha256\":\"$DIGEST\"" "$theirs" && [ -n "$(find "$path" -mmin -1440)" ]; then newest=$path; else rm -f "$path"; fi
done
noted "$BEGINS" || printf '%s\n' "$BEGINS" >>"$journal"
if [ -n "$newest" ] && [ ! -e "$FILE" ]; then
    name=${newest##*/}
    printf '{"version":1,"at":"%s","event":"resumed","from":"%s","to":"%s"}\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "${name%.tar.gz}" "$RELEASE" >>"$journal"
    mv -T "$newest" "$FILE"
fi
resumed=$(sed -n 's/.*"event":"resumed","from":"\([^"]*\)".*/\1/p' "$journal" | tail -n 1)
if [ -n "$resumed" ] && [ -f "$FILE" ]; then put resumed "$JOURNALS/$resumed.jsonl"; fi
put ready yes
