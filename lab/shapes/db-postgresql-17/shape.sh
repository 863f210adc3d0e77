# what: Debian 13, PostgreSQL 17 that takes connections with TLS only
# debian: trixie
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends ssl-cert >/dev/null
usermod --append --groups ssl-cert postgres
cat >/etc/postgresql/17/main/conf.d/tls.conf <<'TLS'
ssl = on
ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'
ssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key'
TLS
sed -i 's/^host\b/hostssl/' /etc/postgresql/17/main/pg_hba.conf
pg_ctlcluster 17 main start
su postgres -c "psql -q -c \"create role shop login password 'a-password'\" -c 'create database shop owner shop'"
sed -i -e '/^DB_/d' shared/.env/staging.env
printf '%s\n' DB_CONNECTION=pgsql DB_HOST=127.0.0.1 DB_PORT=5432 DB_DATABASE=shop DB_USERNAME=shop DB_PASSWORD=a-password DB_SSLMODE=require >>shared/.env/staging.env
