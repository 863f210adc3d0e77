# what: sshd allows one session for each connection (MaxSessions 1)
echo 'MaxSessions 1' >/etc/ssh/sshd_config.d/one.conf
service ssh restart
