# Says which SQL migrations would run, without running it. What is written for that is gone at the end.
# in: TREE PHP MIGRATIONS (JSON) PRETEND_PHP
folder=$(mktemp -d)
status=0
answer=
(
    printf '%s' "$MIGRATIONS" >"$folder/migrations.json" || exit 1
    cd "$TREE" || exit 1
    printf '%s' "$PRETEND_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$folder" >&2
) || status=$?
if [ "$status" -eq 0 ]; then answer=$(cat "$folder/answer.json"); fi
rm -rf "$folder"
[ "$status" -eq 0 ] || refuse "the live release could not be asked what the migrations would do" "see the lines above"
# The statements have no literals any more; what else the app said in it is cleaned here.
put answer "$(cleaned "$answer")"
