# what: the next Debian with systemd, Laravel 13 with the slim skeleton, cache, sessions and queue in the database, a queue worker
# debian: forky
# init: systemd
# A supervisor of the queue worker, which writes a line at each start.
cat >/usr/local/sbin/queue-worker <<'WORKER'
#!/bin/bash
while sleep 0.2; do
    [ -e /var/www/staging/current/artisan ] || continue
    readlink /var/www/staging/current >>/run/lab/worker-starts
    (cd -P /var/www/staging/current && su -s /bin/sh www-data -c 'exec php artisan queue:work --sleep=1 --quiet')
done
WORKER
chmod 755 /usr/local/sbin/queue-worker
setsid queue-worker </dev/null >/run/lab/worker-log 2>&1 &
