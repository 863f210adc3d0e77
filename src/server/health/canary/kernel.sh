# Asks a release for pages without its web server and PHP-FPM: the app answers in a program of this account, one for each page.
# in: DIR PHP LIVE (empty: it is not live) ASKS (base64 of JSON, one a line) APP_PHP KERNEL_PHP
cd "$DIR"
if [ -n "$LIVE" ]; then private_folder "${TMPDIR:-/tmp}"; else private_folder "$DIR/bootstrap/cache"; fi
number=0
printf '%s\n' "$ASKS" | while IFS= read -r ask; do
    program="<?php \$gated_deploy_ask = '$ask'; ?>$APP_PHP$KERNEL_PHP"
    # What it answered before it ended counts.
    if [ -n "$LIVE" ]; then answers=$(live_app "$program"); else answers=$(app "$program"); fi || say "PHP ended before it had answered"
    answers() { printf '%s\n' "$answers" | sed -n "s/^$1=//p"; }
    put answer "$number $(answers answer)"
    if [ -n "$(answers cause)" ]; then put causes "$(cleaned "$(answers cause)")"; fi
    number=$((number + 1))
done
