# Builds the caches of a release, inside it, without ever taking a cache away from requests that are being answered.
# in: DIR PHP CACHES (of: storage-link view config route event)
cd "$DIR"
umask 002

# Laravel's own commands clear first and write then. So each writes to a name beside the real one, which is renamed over it.
replace() { # variable, cache file, artisan command
    fresh=$2.fresh.php
    if env "$1=$fresh" "$PHP" -d zend.exception_ignore_args=1 artisan "$3" --no-interaction --no-ansi; then
        [ -e "$fresh" ] || return 0
        # On a full disk the command says that all is well, and the file is empty or ends in the middle.
        if [ -s "$fresh" ] && "$PHP" -l "$fresh"; then
            mv -f "$fresh" "$2"
            return 0
        fi
        say "$fresh was cut short: is the disk full?"
    fi
    rm -f "$fresh"
    return 1
}

# Compiled views are named by the path of their source, so those of this release are new names in the shared folder.
views() {
    rm -rf bootstrap/cache/views
    mkdir bootstrap/cache/views
    env "VIEW_COMPILED_PATH=$DIR/bootstrap/cache/views" "$PHP" -d zend.exception_ignore_args=1 artisan view:cache --no-interaction --no-ansi || return 1
    for compiled in bootstrap/cache/views/*.php; do
        [ -f "$compiled" ] || continue
        name=${compiled##*/}
        cp "$compiled" "storage/framework/views/.$name" && mv -f "storage/framework/views/.$name" "storage/framework/views/$name" || return 1
    done
    rm -rf bootstrap/cache/views
}

for cache in $CACHES; do
    status=0
    case $cache in
    storage-link) [ -e public/storage ] || [ -L public/storage ] || "$PHP" -d zend.exception_ignore_args=1 artisan storage:link --no-interaction --no-ansi || status=$? ;;
    view) views || status=$? ;;
    config) replace APP_CONFIG_CACHE bootstrap/cache/config.php config:cache || status=$? ;;
    route) replace APP_ROUTES_CACHE bootstrap/cache/routes-v7.php route:cache || status=$? ;;
    event) replace APP_EVENTS_CACHE bootstrap/cache/events.php event:cache || status=$? ;;
    esac
    if [ "$status" -eq 0 ]; then put built "$cache"; else put failed "$cache"; fi
done
