# Runs forward migrations, and says which ones ran even when a later one fails.
# in: DIR PHP RAN_PHP LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
cd "$DIR"
# Names only, whatever else the app prints.
ran() { list=$(printf '%s' "$RAN_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr --) && printf '%s\n' "$list" | sed -n '/^[!-~]*$/p'; }
before=$(ran) || refuse "the list of migrations could not be read from the database" "see the lines above"
put before "$before"
status=0
"$PHP" -d zend.exception_ignore_args=1 artisan migrate --force --no-interaction --no-ansi || status=$?
after=$(ran) || { after=$before; put unsure yes; }
put after "$after"
put status "$status"
