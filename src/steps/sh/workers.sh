# Tells the queue workers to end after the job they are at, so that their supervisor starts them with the code that is live now.
# in: DIR (what is live) PHP WORKERS_PHP
cd "$DIR"
found=$(printf '%s' "$WORKERS_PHP" | "$PHP" -d display_errors=stderr --) || refuse "the app could not be asked for its queue" "see the lines above"
status=0
case $found in
horizon)
    command=horizon:terminate
    "$PHP" artisan horizon:terminate --no-interaction --no-ansi || status=$?
    ;;
queue)
    command=queue:restart
    "$PHP" artisan queue:restart --no-interaction --no-ansi || status=$?
    ;;
*)
    put none "$found"
    exit 0
    ;;
esac
[ "$status" -eq 0 ] || refuse "php artisan $command failed" "until the workers are restarted they run the old code: run it by hand in $DIR"
put told "$command"
