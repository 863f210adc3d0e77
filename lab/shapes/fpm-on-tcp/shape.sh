# what: PHP-FPM listens on TCP, through an upstream of nginx
sed -i 's|^listen = .*staging.sock|listen = 127.0.0.1:9001|; /^listen\.\(owner\|group\)/d' /etc/php/8.2/fpm/pool.d/staging.conf
printf 'upstream php-staging {\n    server 127.0.0.1:9001;\n}\n' >/etc/nginx/conf.d/upstream.conf
sed -i 's|fastcgi_pass unix:.*;|fastcgi_pass php-staging;|' /etc/nginx/sites-available/staging
service php8.2-fpm restart
service nginx restart
