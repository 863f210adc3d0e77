# what: other accounts' processes cannot be seen (hidepid=2)
mount -o remount,hidepid=2 /proc
