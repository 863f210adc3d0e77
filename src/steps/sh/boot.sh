# Boots the release on the server's own PHP, before any migration, with caches that are made anew.
# in: DIR PHP URL PATHS APP_PHP ARTISAN_PHP ROUTES_PHP
cd "$DIR"
# No digest covers what lies there, and PHP runs it. The release is not live.
remove_tree bootstrap/cache "${DIR%/releases/*}/.gated-deploy" || say "a part of bootstrap/cache belongs to another account; it was moved to ${DIR%/releases/*}/.gated-deploy/left"
mkdir bootstrap/cache
private_folder "$DIR/bootstrap/cache"
if "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r "require 'vendor/autoload.php';"; then put autoload ok; else put autoload "php -r \"require 'vendor/autoload.php';\" failed"; exit 0; fi
if version=$(app "$APP_PHP$ARTISAN_PHP" --version --no-ansi); then
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
    if found=$(app "$APP_PHP$ROUTES_PHP" "$URL$path"); then put route "$path=$(cleaned "$found")"; else put route "$path=unknown"; fi
done
