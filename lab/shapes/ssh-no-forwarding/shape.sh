# what: sshd forbids forwarding, and the policy wants health through the tunnel
# input: health-via=tunnel
# refused: plan preflight first: site-unreachable
# finds: last-releases
echo 'AllowTcpForwarding no' >/etc/ssh/sshd_config.d/one.conf
service ssh restart
