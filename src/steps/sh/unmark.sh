# Removes the one-time files, by their exact names.
# in: NAME DIR LIVE (empty: none)
rm -f "$DIR/public/$NAME"
[ -z "$LIVE" ] || rm -f "$LIVE/public/$NAME"
put removed "$NAME"
