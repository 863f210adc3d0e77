# Removes one release folder or one file that this run made. Never what is live.
# in: TARGET CURRENT
if [ ! -e "$TARGET" ] && [ ! -L "$TARGET" ]; then
    put found none
elif [ -d "$CURRENT/" ] && [ "$(readlink -f "$CURRENT")" = "$(readlink -f "$TARGET")" ]; then
    refuse release-live path="$TARGET"
elif remove_tree "$TARGET" "${CURRENT%/*}/.gated-deploy"; then
    put found removed
else
    put found left
fi
