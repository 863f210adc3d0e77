#!/bin/bash
# What many a deploy.yml does, for `cargo xtask bench line`: one `ssh` or `scp` a step, each with a connection of its own. It does the steps of a
# release, a plan and a rollback that also gated-deploy does, and none of the checks that only gated-deploy has.
# usage: plain-deploy.sh release|plan|rollback
#   HOST PORT KEY KNOWN_HOSTS   of the server
#   BASE ENVIRONMENT            the site's folder, and the name of its .env
#   URL ADDRESS TOKEN           the site, where it answers, and the token of its health checks
#   BUNDLE RELEASE              the archive, and the release's name (release alone)
set -euo pipefail

options=(-o BatchMode=yes -o ControlMaster=no -o ControlPath=none -o "UserKnownHostsFile=$KNOWN_HOSTS" -o StrictHostKeyChecking=yes -i "$KEY")
on() { ssh "${options[@]}" -p "$PORT" "deploy@$HOST" "set -eu; cd '$BASE'; $1"; }
site() { # path, token or nothing
    curl --silent --show-error --fail --max-time 20 --connect-to "::$ADDRESS" ${2:+--header "Authorization: Bearer $2"} --output /dev/null "$URL$1"
}

health() {
    site /
    site /health "$TOKEN"
    site /api/health-check "$TOKEN"
    site /healthcheck.php
    site /build/manifest.json
}

survey() {
    on 'readlink current; ls releases; df -Pk . shared/storage; df -Pi .'
    on "test -r 'shared/.env/$ENVIRONMENT.env'; php -v; php -m"
    on 'sudo -n -l /usr/sbin/service php8.2-fpm reload; sudo -n -l /usr/sbin/service nginx reload; sudo -n /usr/sbin/nginx -t'
    on 'cd current && php artisan migrate:status'
    health
}

reload() { on 'sudo -n /usr/sbin/service php8.2-fpm reload && sudo -n /usr/sbin/nginx -t && sudo -n /usr/sbin/service nginx reload'; }

caches() { for cache in config route view event; do echo "php artisan $cache:cache"; done | paste -sd '&' | sed 's/&/ \&\& /g'; }

backup() {
    on "umask 077; mkdir -p backups/$RELEASE && tar -czf backups/$RELEASE/app.tar.gz -C \"\$(readlink -f current)\" . && gzip -t backups/$RELEASE/app.tar.gz"
    # shellcheck disable=SC2016
    on "umask 077; cd current; php -r 'require \"vendor/autoload.php\"; \$app = require \"bootstrap/app.php\"; \$app->make(Illuminate\\Contracts\\Console\\Kernel::class)->bootstrap(); \$db = config(\"database.connections.mysql\"); printf(\"[client]\\nhost=%s\\nuser=%s\\npassword=\\\"%s\\\"\\n\", \$db[\"host\"], \$db[\"username\"], addcslashes(\$db[\"password\"], \"\\\\\\\"\"));' >'$BASE/backups/$RELEASE/client.cnf'"
    on "umask 077; mariadb-dump --defaults-file=backups/$RELEASE/client.cnf --single-transaction --routines --triggers lab_$ENVIRONMENT | gzip >backups/$RELEASE/database.sql.gz && gzip -t backups/$RELEASE/database.sql.gz && rm backups/$RELEASE/client.cnf"
    on "cd backups/$RELEASE && sha256sum app.tar.gz database.sql.gz >SHA256SUMS && sha256sum -c SHA256SUMS"
}

release() {
    survey
    backup
    sum=$(sha256sum "$BUNDLE" | cut -d ' ' -f 1)
    on 'mkdir -p incoming'
    scp -q "${options[@]}" -P "$PORT" "$BUNDLE" "deploy@$HOST:$BASE/incoming/$RELEASE.tar.gz"
    on "echo '$sum  incoming/$RELEASE.tar.gz' | sha256sum -c"
    on "mkdir releases/$RELEASE && tar -xzf incoming/$RELEASE.tar.gz -C releases/$RELEASE && rm incoming/$RELEASE.tar.gz"
    on "cd releases/$RELEASE && rm -rf storage public/uploads && ln -s ../../shared/storage storage && ln -s ../../../shared/public/uploads public/uploads && ln -s ../../shared/.env/$ENVIRONMENT.env .env"
    on "cd releases/$RELEASE && test -f artisan && test -f composer.json && test -f public/index.php && test -f public/build/manifest.json && test -d bootstrap && test -d config && test -d routes && test -d app"
    on "cd releases/$RELEASE && php -r \"require 'vendor/autoload.php';\" && php artisan --version"
    on "cd releases/$RELEASE && php artisan migrate --force"
    on "cd releases/$RELEASE && $(caches)"
    on "ln -s releases/$RELEASE current.new && mv -T current.new current"
    on "cd current && $(caches)"
    reload
    on 'cd current && php artisan queue:restart'
    health
    # shellcheck disable=SC2016
    on 'ls -1d releases/*/ | sort -r | tail -n +6 | while read -r old; do rm -rf -- "$old"; done; ls -1d backups/*/ | sort -r | tail -n +6 | while read -r old; do rm -rf -- "$old"; done'
}

rollback() {
    # shellcheck disable=SC2016
    target=$(on 'live=$(basename "$(readlink current)"); ls -1 releases | sort | grep -B 1 -Fx -- "$live" | head -n 1')
    on "test -d releases/$target && cd releases/$target && php artisan --version"
    on "ln -s releases/$target current.new && mv -T current.new current"
    on "cd current && $(caches)"
    reload
    on 'cd current && php artisan queue:restart'
    health
}

case $1 in
release) release ;;
plan) survey ;;
rollback) rollback ;;
esac
