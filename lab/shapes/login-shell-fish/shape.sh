# what: the deploy user's login shell is fish
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends fish >/dev/null
chsh --shell /usr/bin/fish deploy
