# Where the app keeps its database. Nothing of it is opened. Reads only.
# in: ASK (app: the live release is asked, which needs a private folder; env: .env alone) TREE (empty: nothing is live) ENV_FILE PHP DATABASE_PHP
if [ "$ASK" = app ] && [ -n "$TREE" ]; then
    private_folder "${TMPDIR:-/tmp}"
    said=$(live_app "$DATABASE_PHP" place "$ENV_FILE" "$TREE") || exit 0
else
    said=$(printf '%s' "$DATABASE_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- place-env "$ENV_FILE" "$TREE" 5>&1 1>&2 3>&-) || exit 0
fi
value() { printf '%s\n' "$said" | sed -n "s/^$1=//p" | sed -n '$p'; }
driver=$(value driver)
put driver "$(cleaned "$driver")"
# A path of a file is judged as it is: the filter would change one in which a value of .env happens to stand.
if [ "$driver" = sqlite ]; then put file "$(value database)"; fi
for word in there inside; do
    if [ "$(value "$word")" = yes ]; then put "$word" yes; fi
done
needs=$(value needs)
if [ -n "$needs" ]; then put needs "$needs"; fi
