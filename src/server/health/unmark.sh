# Removes the one-time files, by their exact names.
# in: NAME DIR LIVE (empty: none)
new=${NAME%.php}-new.php
rm -f "$DIR/public/$NAME" "$DIR/public/$new"
[ -z "$LIVE" ] || rm -f "$LIVE/public/$NAME" "$LIVE/public/$new"
put removed "$NAME"
