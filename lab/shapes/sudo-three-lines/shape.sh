# what: exactly the three sudo rules of many sites (systemctl, service, service with a wildcard)
printf '%s\n' 'deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload nginx' \
    'deploy ALL=(root) NOPASSWD: /usr/sbin/service nginx reload' \
    'deploy ALL=(root) NOPASSWD: /usr/sbin/service php*-fpm reload' >/etc/sudoers.d/deploy
