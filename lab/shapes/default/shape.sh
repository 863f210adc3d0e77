# what: Debian 12, MariaDB, PHP-FPM on a socket, sudo for the two reloads
true
