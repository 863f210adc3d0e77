# what: the server has an RSA and an ECDSA host key beside the pinned one
ssh-keygen -q -t ecdsa -N '' -f /etc/ssh/ssh_host_ecdsa_key
ssh-keygen -q -t rsa -N '' -f /etc/ssh/ssh_host_rsa_key
service ssh restart
