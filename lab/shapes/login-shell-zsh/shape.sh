# what: the deploy user's login shell is zsh
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends zsh >/dev/null
chsh --shell /usr/bin/zsh deploy
