# what: the database is SQLite in shared/
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends php8.2-sqlite3 >/dev/null
service php8.2-fpm restart
sed -i -e '/^DB_/d' shared/.env/staging.env
install -o www-data -g www-data -m 664 /dev/null shared/storage/app/site.sqlite
printf '%s\n' DB_CONNECTION=sqlite DB_DATABASE=/var/www/staging/shared/storage/app/site.sqlite >>shared/.env/staging.env
