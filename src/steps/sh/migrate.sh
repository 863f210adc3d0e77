# Runs forward migrations, and says which ones ran even when a later one fails.
# in: DIR PHP APP_PHP SQL_PHP MIGRATE_PHP LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
cd "$DIR"
private_folder "$DIR/bootstrap/cache"
status=0
# The word is for whoever reads the list of processes.
answers=$(app "$APP_PHP$SQL_PHP$MIGRATE_PHP" migrate) || status=$?
# Names and numbers only.
answers() { printf '%s\n' "$answers" | sed -n "s/^$1=\([!-~]*\)\$/\1/p"; }
[ -n "$(answers listed)" ] || refuse "the list of migrations could not be read from the database" "see the lines above"
before=$(answers before)
after=$(answers after)
put before "$before"
if [ -z "$(answers known)" ]; then
    after=$before
    put unsure yes
fi
put after "$after"
ended=$(answers status)
# PHP was ended inside of a migration, by itself or by somebody else: that is a failure, whatever its own status says.
if [ -z "$ended" ]; then
    say "PHP ended with status $status before artisan did"
    ended="$status (PHP was ended by a migration)"
fi
put status "$ended"
# SQL passes the filter for secrets, as the app's log does.
cleaned "$answers" | sed -n 's/^measured=//p' | while IFS= read -r measured; do put measured "$measured"; done
