# Compares verified backups with their SHA256SUMS. Reads only.
# in: BACKUPS NAMES (those to compare, one a line; empty: all that are there)
names=$NAMES
if [ -z "$names" ]; then
    names=$(for path in "$BACKUPS"/*/; do
        path=${path%/}
        # Others are unfinished, or nobody's.
        if [ -d "$path" ] && [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then printf '%s\n' "${path##*/}"; fi
    done)
fi
printf '%s\n' "$names" | while IFS= read -r name; do
    [ -n "$name" ] || continue
    if ! [ -s "$BACKUPS/$name/SHA256SUMS" ]; then
        put empty "$name"
        continue
    fi
    if said=$(cd "$BACKUPS/$name" && sha256sum -c --quiet SHA256SUMS 2>&1); then
        put whole "$name $(du -sk "$BACKUPS/$name" | cut -f 1)"
    else
        put damaged "$name
$(printf '%s\n' "$said" | head -n 10)"
    fi
done
