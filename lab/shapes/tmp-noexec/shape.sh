# what: /tmp is mounted noexec and nosuid
mount -t tmpfs -o noexec,nosuid,mode=1777 tmpfs /tmp
