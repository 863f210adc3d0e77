# How the guard of a release stands. Reads only.
# in: ENTRY (path without its state)
state=none
for name in armed reverting reverted; do
    if [ -d "$ENTRY.$name" ]; then state=$name; fi
done
put state "$state"
