# What retention may choose from.
# in: RELEASES BACKUPS
for path in "$RELEASES"/*/; do
    path=${path%/}
    [ ! -d "$path" ] || [ -L "$path" ] || put release "${path##*/}"
done
for path in "$BACKUPS"/*/; do
    path=${path%/}
    [ -d "$path" ] || continue
    # Retention counts and removes verified backups only. One with an empty list of digests was made before anything was live: it is complete,
    # and nothing can be restored from it.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then
        if [ -s "$path/SHA256SUMS" ]; then put backup "${path##*/}"; else put empty-backup "${path##*/}"; fi
    fi
done
