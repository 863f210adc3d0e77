# what: Debian 13 with systemd as PID 1, and logins in sessions of systemd-logind
# debian: trixie
# init: systemd
systemctl is-active ssh nginx mariadb php8.4-fpm
