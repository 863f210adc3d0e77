# what: Debian 13 with sudo-rs as sudo
# debian: trixie
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends sudo-rs >/dev/null
ln -s "$(command -v sudo-rs)" /usr/local/bin/sudo
