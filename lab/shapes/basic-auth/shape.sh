# what: basic authentication stands before the whole site
# refused: plan preflight first: site-protected
# finds: last-releases
printf 'someone:%s\n' "$(openssl passwd -apr1 secret)" >/etc/nginx/htpasswd
sed -i 's|root /var/www/staging|auth_basic staging; auth_basic_user_file /etc/nginx/htpasswd; &|' /etc/nginx/sites-available/staging
service nginx restart
