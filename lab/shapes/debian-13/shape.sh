# what: Debian 13 without systemd, PHP 8.4, MariaDB 11.8, OpenSSH 10, Laravel 10 with sessions in files
# debian: trixie
true
