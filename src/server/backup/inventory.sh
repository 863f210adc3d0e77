# What retention may choose from.
# in: RELEASES BACKUPS
for path in "$RELEASES"/*/; do
    path=${path%/}
    [ ! -d "$path" ] || [ -L "$path" ] || put release "${path##*/}"
done
for path in "$BACKUPS"/*/; do
    path=${path%/}
    [ -d "$path" ] || continue
    # Only backups that were verified whole count, and only those are ever removed. One without a file (nothing was live yet) is
    # complete, and without use.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then
        if [ -s "$path/SHA256SUMS" ]; then put backup "${path##*/}"; else put empty-backup "${path##*/}"; fi
    fi
done
