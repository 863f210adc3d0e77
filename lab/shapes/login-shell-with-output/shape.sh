# what: the deploy user's bash prints at each login
printf '%s\n' 'echo "Welcome to this server"' 'echo "a warning" >&2' >/home/deploy/.bashrc
chown deploy: /home/deploy/.bashrc
