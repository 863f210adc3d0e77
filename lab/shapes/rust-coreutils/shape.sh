# what: Debian 13 with the coreutils of Rust first in PATH, as Ubuntu has them
# debian: trixie
apt-get update --quiet=2
apt-get install --yes --quiet=2 --no-install-recommends rust-coreutils >/dev/null
for program in /usr/lib/cargo/bin/coreutils/*; do ln -s "$program" /usr/local/bin/; done
