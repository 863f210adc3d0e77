# What retention may choose from.
# in: RELEASES BACKUPS
for path in "$RELEASES"/*/; do
    path=${path%/}
    [ ! -d "$path" ] || [ -L "$path" ] || put release "${path##*/}"
done
for path in "$BACKUPS"/*/; do
    path=${path%/}
    [ -d "$path" ] || continue
    # Only backups that were verified whole count, and only those are ever removed.
    if [ -f "$path/manifest.json" ] && [ -f "$path/SHA256SUMS" ]; then put backup "${path##*/}"; fi
done
