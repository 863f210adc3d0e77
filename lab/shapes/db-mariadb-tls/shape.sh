# what: Debian 13, MariaDB 11.8 demands TLS, with a certificate of the owner's CA
# debian: trixie
mkdir /etc/mysql/tls
cd /etc/mysql/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj '/CN=The CA' -keyout ca.key -out ca.pem 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr 2>/dev/null
printf 'subjectAltName=IP:127.0.0.1\n' |
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile /dev/stdin -out server.pem 2>/dev/null
chown mysql: server.key
printf '[mariadbd]\nssl_cert = /etc/mysql/tls/server.pem\nssl_key = /etc/mysql/tls/server.key\nssl_ca = /etc/mysql/tls/ca.pem\nrequire_secure_transport = ON\n' \
    >/etc/mysql/mariadb.conf.d/99-tls.cnf
service mariadb restart >/dev/null
echo MYSQL_ATTR_SSL_CA=/etc/mysql/tls/ca.pem >>/var/www/staging/shared/.env/staging.env
