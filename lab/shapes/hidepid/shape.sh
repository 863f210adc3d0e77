# what: Debian 13 with systemd, where an account sees its own processes only (/proc with hidepid)
# debian: trixie
# init: systemd
mount -o remount,hidepid=invisible /proc
[ "$(su -s /bin/sh deploy -c 'ls -d /proc/1' 2>/dev/null)" = '' ]
