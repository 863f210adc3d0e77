# what: Debian 13 with systemd, no program runs from /tmp (noexec)
# debian: trixie
# init: systemd
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /tmp
