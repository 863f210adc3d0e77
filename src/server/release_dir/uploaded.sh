# Looks at what arrived, on the disk it arrived on.
# in: FILE DIGEST ONCE_MORE (yes: it is sent once more, whole, if it is wrong)
if [ "$ONCE_MORE" = yes ] && [ ! -e "$FILE" ]; then
    # A run whose connection broke asks again.
    put wrong gone
    exit 0
fi
found=$(sha256sum -- "$FILE")
found=${found%% *}
if [ "$found" != "$DIGEST" ] && [ "$ONCE_MORE" = yes ]; then
    rm -f -- "$FILE"
    put wrong "$found"
    exit 0
fi
if [ "$found" != "$DIGEST" ]; then refuse upload-corrupt found="$found" expected="$DIGEST"; fi
put sha256 "$found"
