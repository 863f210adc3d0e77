# Boots the release on the server's own PHP, before any migration, with caches that are made anew.
# in: DIR PHP URL PATHS APP_PHP BOOT_PHP
cd "$DIR"
# No digest covers these files, and PHP runs them. The release is not live.
remove_tree bootstrap/cache "${DIR%/releases/*}/.gated-deploy" || say "a part of bootstrap/cache belongs to another account; it was moved to ${DIR%/releases/*}/.gated-deploy/left"
mkdir bootstrap/cache
private_folder "$DIR/bootstrap/cache"
# What it answered before it ended counts.
answers=$(app "$APP_PHP$BOOT_PHP" "$URL" "$PATHS") || say "PHP ended before all checks of the release had run"
passed() { printf '%s\n' "$answers" | grep -qxF -e "$1=ok"; }
if ! passed autoload; then put autoload "php -r \"require 'vendor/autoload.php';\" failed"; exit 0; fi
put autoload ok
if ! passed artisan; then put artisan "php artisan --version failed"; exit 0; fi
put artisan ok
# The app's own text passes the filter for secrets, as its log does.
clean=$(cleaned "$answers")
answers() { printf '%s\n' "$clean" | sed -n "s/^$1=//p"; }
put version "$(answers version)"
# The routes of the health check.
answers route | while IFS= read -r route; do put route "$route"; done
