# what: a second PHP-FPM master of another account runs beside the service's
useradd --system other
install -d -o other /run/other
printf '[global]\nerror_log = /run/other/log\n[other]\nuser = other\nlisten = /run/other/sock\npm = static\npm.max_children = 1\n' >/etc/other-fpm.conf
su -s /bin/sh other -c 'php-fpm8.2 --fpm-config /etc/other-fpm.conf --daemonize --pid /run/other/pid'
