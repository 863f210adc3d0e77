# Every guard whose release was neither confirmed nor taken back. Reads only.
# in: PLACE
for path in "$PLACE"/*.armed "$PLACE"/*.reverting; do
    [ -d "$path" ] || continue
    entry=$(cat "$path/entry.json" 2>/dev/null) || entry=
    put guard "${path##*/}
$entry"
done
:
