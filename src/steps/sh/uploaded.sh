# Looks at what arrived, on the disk it arrived on.
# in: FILE DIGEST
found=$(sha256sum -- "$FILE")
found=${found%% *}
if [ "$found" != "$DIGEST" ]; then refuse "the uploaded bundle has SHA-256 $found on the server, it should be $DIGEST" "run the release again; if it happens twice, check the server's disk"; fi
put sha256 "$found"
