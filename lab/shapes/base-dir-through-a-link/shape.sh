# what: base-dir is a link to the folder
# input: base-dir=/srv/site
ln -s /var/www/staging /srv/site
