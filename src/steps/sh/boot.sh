# Boots the new release on the server's own PHP, before any migration.
# in: DIR PHP URL PATHS ROUTES_PHP
cd "$DIR"
if "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r "require 'vendor/autoload.php';"; then put autoload ok; else put autoload "php -r \"require 'vendor/autoload.php';\" failed"; exit 0; fi
starts() { version=$("$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr artisan --version --no-ansi); }
# The app writes some of its caches whenever it starts, so a full disk may have cut them short. It is not live, and they are made anew.
starts_without_caches() {
    found=
    for cache in config routes-v7 events packages services; do
        [ -e "bootstrap/cache/$cache.php" ] || continue
        rm -f "bootstrap/cache/$cache.php"
        found=yes
    done
    [ -n "$found" ] || return 1
    say "it did not start; its caches may be damaged, so it is tried once more without them"
    starts
}
if starts || starts_without_caches; then
    say "$version"
    put artisan ok
    put version "$(cleaned "$version")"
else
    say "${version-}"
    put artisan "php artisan --version failed"
    exit 0
fi
# The routes that health asks for. The probe must not be what is broken.
printf '%s\n' "$PATHS" | while read -r path; do
    [ -n "$path" ] || continue
    if [ -f "public${path%%\?*}" ]; then put route "$path=file"; continue; fi
    if found=$(printf '%s' "$ROUTES_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- "$URL$path"); then put route "$path=$(cleaned "$found")"; else put route "$path=unknown"; fi
done
