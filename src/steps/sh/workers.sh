# Tells the queue workers to end after the job they are at, so that their supervisor starts them with the code that is live now.
# in: CURRENT PHP WORKERS_PHP
cd -P "$CURRENT"
found=$(printf '%s' "$WORKERS_PHP" | "$PHP" -d display_errors=stderr --) || refuse "the app could not be asked for its queue" "see the lines above"
case $found in
horizon) command=horizon:terminate ;;
queue) command=queue:restart ;;
*)
    put none "$found"
    exit 0
    ;;
esac
"$PHP" artisan "$command" --no-interaction --no-ansi || refuse "php artisan $command failed" "until the workers are restarted they run the old code: run it by hand in $CURRENT"
put told "$command"
