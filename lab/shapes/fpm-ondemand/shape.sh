# what: PHP-FPM starts its workers on demand
sed -i 's/^pm = .*/pm = ondemand/; /^pm\.\(start\|min\|max_spare\)/d' /etc/php/8.2/fpm/pool.d/staging.conf
service php8.2-fpm restart
