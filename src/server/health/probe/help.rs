//! What to do if a request to the site gets no answer.

use crate::http::Why;

/// `None` where the site itself has to say more: its logs.
pub(super) fn help(why: Why) -> Option<&'static str> {
    Some(match why {
        Why::Name => {
            "Check the host in `url`. If only this runner cannot resolve it, set `health-address` to the `ip:port` of the web server, or set \
             `health-via: tunnel`"
        }
        Why::Route => {
            "Check the network of this runner: it has no route to the site. Set `health-via: tunnel` to ask through the SSH connection"
        }
        Why::Proxy => "Check HTTPS_PROXY and NO_PROXY of this runner: the proxy made no connection to the site",
        Why::Line => {
            "Check the SSH connection of this runner to the server, and the SSH server's log: journalctl -u ssh"
        }
        Why::Forwarding => {
            "Set `AllowTcpForwarding local` in /etc/ssh/sshd_config, then run: sudo systemctl reload ssh. In authorized_keys, remove \
             `no-port-forwarding` from the line of the key, or add `port-forwarding` after `restrict`. Or set `health-via: direct`"
        }
        Why::Client => "Check `url` and `health-address`",
        Why::Refused => {
            "Check that the web server runs and listens at `url` (or `health-address`). On the server, run: systemctl status nginx; ss -tln"
        }
        Why::TunnelTarget => {
            "Check that the web server runs, and set `health-address` to an address at which it listens. On the server, run: ss -tln"
        }
        Why::Issuer => {
            "Set `ca-certificates` to the certificate of your authority (PEM text, or a path in the workspace). If the authority is a public one, let \
             the web server send the whole chain"
        }
        Why::Expired => {
            "Renew the certificate, then reload the web server; certbot does both: sudo certbot renew. Check the clocks of both machines, too"
        }
        Why::Hostname => "Give the site a certificate for the host in `url`, or correct `url`",
        Why::Tls => {
            "Check that `url` has the right scheme and port, and that the web server speaks TLS 1.2 or 1.3 there"
        }
        Why::Late | Why::Broken => return None,
    })
}
