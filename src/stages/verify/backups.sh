# Compares verified backups with their SHA256SUMS. Reads only.
# in: BACKUPS NAMES (those to compare, one a line; empty: all that are there)
names=$NAMES
if [ -z "$names" ]; then
    names=$(for path in "$BACKUPS"/*/; do
        path=${path%/}
        # Others are unfinished, or no backup of a run, whose name is that of a release.
        case ${path##*/} in *.part | *[!0-9a-f_-]*) continue ;; [0-9]*_[0-9]*-[0-9a-f]*) ;; *) continue ;; esac
        if [ -d "$path" ]; then printf '%s\n' "${path##*/}"; fi
    done)
fi
printf '%s\n' "$names" | while IFS= read -r name; do
    [ -n "$name" ] || continue
    held=
    for file in "$BACKUPS/$name"/*.gz "$BACKUPS/$name"/database.*; do [ ! -e "$file" ] || held=$file; done
    if [ ! -f "$BACKUPS/$name/manifest.json" ] || [ ! -f "$BACKUPS/$name/SHA256SUMS" ]; then
        put damaged "$name
manifest.json or SHA256SUMS is missing"
        continue
    fi
    if ! [ -s "$BACKUPS/$name/SHA256SUMS" ]; then
        if [ -z "$held" ]; then put empty "$name"; else put damaged "$name
SHA256SUMS is empty"; fi
        continue
    fi
    if said=$(cd "$BACKUPS/$name" && sha256sum -c --quiet SHA256SUMS 2>&1); then
        put whole "$name $(du -sk "$BACKUPS/$name" | cut -f 1)"
    else
        put damaged "$name
$(printf '%s\n' "$said" | head -n 10)"
    fi
done
