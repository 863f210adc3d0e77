# Runs one hook in a release's folder, in a process group of its own. All of that group ends when the hook has ended, when its time is over, and
# when this script ends.
# in: DIR WORDS (one a line, each behind `=`) ARTISAN (the program that runs a command of the app; empty: the first word is a program) LIVE (yes: DIR is live)
#     WITHIN (seconds) NAMES (entries of .env, one a line; may be empty) ENV_FILE VALUES_PHP PHP MOMENT ENVIRONMENT RELEASE OTHER (may be empty)
cd -P "$DIR"

# The values travel to the hook's first shell on its standard input: they stand in no argument list and in no file.
values=
if [ -n "$NAMES" ]; then
    found=0
    values=$(printf '%s' "$VALUES_PHP" | "$PHP" -n -d zend.exception_ignore_args=1 -- "$ENV_FILE" "$NAMES" 3>&-) || found=$?
    case $found in
    0) ;;
    3) refuse hook-variable-missing path="$ENV_FILE" names="$(printf '%s' "$values" | tr '\n' ' ')" ;;
    *) refuse env-file-parse-failed path="$ENV_FILE" php="$PHP" ;;
    esac
fi

# One word a line, behind a sign, so that an empty one is one, too.
set -f
IFS='
'
# shellcheck disable=SC2086
set -- $WORDS
unset IFS
set +f
for word in "$@"; do
    shift
    set -- "$@" "${word#=}"
done
# A command of the app starts as every program does that starts an app here (prelude.sh).
if [ -n "$ARTISAN" ]; then
    shift
    if [ -n "$LIVE" ]; then private_folder "${TMPDIR:-/tmp}"; else private_folder "$DIR/bootstrap/cache"; fi
    set -- "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r "$ARTISAN" -- "$@"
    if [ -n "$LIVE" ]; then
        set -- "APP_CONFIG_CACHE=$private/config.php" "APP_SERVICES_CACHE=$private/services.php" "APP_PACKAGES_CACHE=$private/packages.php" \
            "APP_ROUTES_CACHE=$private/routes.php" "APP_EVENTS_CACHE=$private/events.php" "$@"
    fi
    set -- env "GATED_DEPLOY_PRIVATE=$private" COLUMNS=120 LINES=40 "$@"
fi

# shellcheck disable=SC2016
FIRST='eval "$(cat)"
exec </dev/null
env -- "$@"
exit $?'

# Ends the group when the time is over, and also when the script is gone that waits for the hook: it was killed, or its machine is out of memory.
# It stands in a session of its own, so neither the hook's end nor the script's is its own.
# shellcheck disable=SC2016
CLOCK='fired=0
nap=
trap "kill -s TERM \$nap; exit \$fired" TERM HUP INT
pause() {
    sleep 1 &
    nap=$!
    wait "$nap"
}
up() {
    read -r now rest </proc/uptime
    printf %s "${now%%.*}"
}
waits() {
    read -r stat <"/proc/$HOOK_FOR/stat" || return 1
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "${20}" = "$HOOK_SINCE" ]
}
# One that has ended and was not waited for yet has ended in time.
runs() {
    read -r stat <"/proc/$HOOK_GROUP/stat" || return 1
    set -- ${stat##*) }
    [ "$1" != Z ]
}
over=$(($(up) + HOOK_WITHIN))
while kill -s 0 "$HOOK_GROUP" || kill -s 0 -- "-$HOOK_GROUP"; do
    if waits; then
        if ! runs || [ "$(up)" -lt "$over" ]; then
            pause
            continue
        fi
        fired=3
    fi
    kill -s TERM -- "-$HOOK_GROUP"
    pause
    kill -s KILL -- "-$HOOK_GROUP"
    exit "$fired"
done'

# Ends what is there of the group; fails if nothing is.
end_group() {
    if ! kill -s TERM -- "-$hook" 2>/dev/null; then return 1; fi
    tries=0
    while [ "$tries" -lt 20 ] && kill -s 0 -- "-$hook" 2>/dev/null; do
        tries=$((tries + 1))
        sleep 0.05
    done
    if kill -s KILL -- "-$hook" 2>/dev/null; then :; fi
}
# A script that ends early takes the hook with it. Before the hook has a group of its own, its process is all there is.
end_all() {
    if [ -n "${hook-}" ] && ! end_group; then
        if kill -s KILL "$hook" 2>/dev/null; then :; fi
    fi
    if [ -n "${clock-}" ] && kill -s TERM "$clock" 2>/dev/null; then :; fi
    forget_private
}
trap end_all EXIT

commit=
if [ -f .gated-deploy-manifest.json ]; then commit=$(sed -n 's/^.*"commit": *"\([0-9a-f]\{40\}\)".*$/\1/p' .gated-deploy-manifest.json | head -n 1); fi

# All that a hook has in its environment, besides the entries of .env.
printf '%s\n' "$values" | env -i "PATH=$PATH" "HOME=${HOME-}" "USER=${USER-}" "LOGNAME=${LOGNAME-}" LANG=C.UTF-8 \
    "GATED_DEPLOY_MOMENT=$MOMENT" "GATED_DEPLOY_ENVIRONMENT=$ENVIRONMENT" "GATED_DEPLOY_RELEASE=$RELEASE" "GATED_DEPLOY_COMMIT=$commit" \
    "GATED_DEPLOY_OTHER_RELEASE=$OTHER" setsid sh -uc "$FIRST" hook "$@" 3>&- &
hook=$!
values=
# The process of this shell, which is not the one that `$$` names.
read -r self _ </proc/self/stat
HOOK_GROUP=$hook HOOK_FOR=$self HOOK_SINCE=$(began "$self") HOOK_WITHIN=$WITHIN setsid sh -uc "$CLOCK" </dev/null >/dev/null 2>&1 3>&- &
clock=$!
checkpoint inside
status=0
# The shell's own word on a process that a signal ended would be the last line of the hook's output.
{ wait "$hook" || status=$?; } 2>/dev/null
if end_group; then put left yes; fi
hook=
fired=0
if kill -s TERM "$clock" 2>/dev/null; then :; fi
wait "$clock" || fired=$?
clock=
if [ "$fired" = 3 ]; then put late yes; fi
put status "$status"
