# Runs forward migrations, and says which ones ran even when a later one fails.
# in: DIR PHP APP_PHP ARTISAN_PHP RAN_PHP LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
cd "$DIR"
private_folder "$DIR/bootstrap/cache"
# Names only, whatever else the app prints.
ran() { list=$(app "$APP_PHP$RAN_PHP") && printf '%s\n' "$list" | sed -n '/^[!-~]*$/p'; }
before=$(ran) || refuse "the list of migrations could not be read from the database" "see the lines above"
put before "$before"
status=0
app "$APP_PHP$ARTISAN_PHP" migrate --force --no-interaction --no-ansi || status=$?
after=$(ran) || { after=$before; put unsure yes; }
put after "$after"
put status "$status"
