# what: the database is PostgreSQL 15
pg_ctlcluster 15 main start
su postgres -c "psql -q -c \"create role shop login password 'a-password'\" -c 'create database shop owner shop'"
sed -i -e '/^DB_/d' shared/.env/staging.env
printf '%s\n' DB_CONNECTION=pgsql DB_HOST=127.0.0.1 DB_PORT=5432 DB_DATABASE=shop DB_USERNAME=shop DB_PASSWORD=a-password >>shared/.env/staging.env
