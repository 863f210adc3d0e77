# Tells the queue workers to end after the job they are at, so that their supervisor starts them with the code that is live now.
# in: DIR (what is live) PHP WORKERS_PHP
cd "$DIR"
found=$(printf '%s' "$WORKERS_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr --) || refuse "the app could not be asked for its queue" "see the lines above"
status=0
case $found in
*workers=horizon)
    command=horizon:terminate
    "$PHP" -d zend.exception_ignore_args=1 artisan horizon:terminate --no-interaction --no-ansi || status=$?
    ;;
*workers=queue)
    command=queue:restart
    "$PHP" -d zend.exception_ignore_args=1 artisan queue:restart --no-interaction --no-ansi || status=$?
    ;;
*workers=none*)
    put none "$(cleaned "${found##*workers=none }")"
    exit 0
    ;;
*) refuse "the app gave no answer when it was asked for its queue" "does it end PHP while it boots?" ;;
esac
[ "$status" -eq 0 ] || refuse "php artisan $command failed" "until the workers are restarted they run the old code: run it by hand in $DIR"
put told "$command"
