# what: sshd forbids forwarding, and the policy wants health through the tunnel
# input: health-via=tunnel
# refused: preflight first: tunnel-forbidden
echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/one.conf
service ssh restart
