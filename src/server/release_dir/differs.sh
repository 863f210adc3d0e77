# Tells in which records a folder differs from what the run read in the bundle. After listing.sh. Reads only.
# in: DIR LIST (the records of the bundle, one a line)

# A record on one side only: `-` is in the bundle, `+` is in the folder.
{
    printf '%s\n' "$LIST" | sed 's/^/-/'
    listing | tr '\n\0' '?\n' | sed 's/^/+/'
} | sort -k 1.2 | uniq -u -s 1 | sort -t / -k 2 | head -n 200 | while IFS= read -r line; do put differs "$line"; done
