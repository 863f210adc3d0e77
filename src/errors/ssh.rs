//! The SSH connection, and what a script of the server answers over it.

use super::codes;
use crate::domain::Failure;

codes! {
    SSH_UNREACHABLE = "ssh-unreachable", World {
        meaning: "The runner could not connect to the server's SSH port, or the server broke off the connection while it was made.",
        cause: "`ssh-host` or `ssh-port` is wrong, the server is down, or a firewall does not let the runner through.",
        action: "Try it from a machine in the runner's network: `ssh -p PORT USER@HOST`. Allow the runner's addresses in the firewall, or use a self-hosted runner.",
    }
    SSH_TURNED_AWAY = "ssh-turned-away", World {
        meaning: "The server accepted the connection and closed it before SSH began.",
        cause: "Too many logins at once (`MaxStartups`), a ban of the runner's address (fail2ban, hosts.deny), or `ssh-port` is no SSH port.",
        action: "Check on the server: `fail2ban-client status sshd`; `sshd -T | grep maxstartups`. Check `ssh-port`.",
    }
    HOST_KEY_MISMATCH = "host-key-mismatch", Refused {
        meaning: "The server showed a host key that `ssh-known-hosts` does not have. The run sent nothing to it.",
        cause: "The server was installed again, `ssh-known-hosts` is of another server, or another machine answers in its place.",
        action: "Compare the fingerprint on the server itself: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`. Only if it is the same, put the line that the error gives into `ssh-known-hosts`.",
    }
    HOST_KEY_UNUSABLE = "host-key-unusable", Refused {
        meaning: "`ssh-known-hosts` has no host key with which this server can be checked.",
        cause: "No line is for this host and port, the key is marked as revoked, or the server has no key of the types that stand there.",
        action: "Put the server's own host key into `ssh-known-hosts`: `cat /etc/ssh/ssh_host_ed25519_key.pub` on the server, with the host's name before it.",
    }
    SSH_TOO_WEAK = "ssh-algorithms-weak", Refused {
        meaning: "The server offers no SSH algorithm that is strong enough.",
        cause: "The server's SSH software is old, or its `sshd_config` allows old algorithms only.",
        action: "Allow one of the algorithms that the error names in the server's `sshd_config`, then reload sshd.",
    }
    SSH_KEY_DENIED = "ssh-key-denied", Refused {
        meaning: "The server does not accept the SSH key for this user.",
        cause: "The public key is missing in the user's `authorized_keys`, `ssh-user` is wrong, or the server's files have the wrong owner or mode.",
        action: "Add the line that the error gives to `~/.ssh/authorized_keys` of the user on the server: `chmod 700 ~/.ssh; chmod 600 ~/.ssh/authorized_keys`.",
    }
    SSH_SECOND_FACTOR = "ssh-second-factor", Refused {
        meaning: "The server demands a password or a code, besides the SSH key or in place of it. No run can give one.",
        cause: "`AuthenticationMethods` in the server's sshd_config demands two methods, or `PubkeyAuthentication` is off.",
        action: "Let the deploy user in with the key alone: in sshd_config, `Match User NAME` with `PubkeyAuthentication yes` and `AuthenticationMethods publickey`.",
    }
    CONNECTION_LOST = "connection-lost", World {
        meaning: "The SSH connection broke while the server worked. The work may be done, half done or not begun.",
        cause: "The network, a firewall's idle limit, or a restart of the server.",
        action: "Run again: every step reads the state of the server first.",
    }
    SCRIPT_TIMED_OUT = "script-timed-out", World {
        meaning: "A script on the server took longer than its limit and was ended.",
        cause: "The server or its disks are under heavy load, or a program waits for something that does not come.",
        action: "Check the server's load and disks: `uptime`; `iostat -x 1 3`; `df -h`. Then run again.",
    }
    COMMAND_FAILED = "command-failed", Refused {
        meaning: "A command on the server ended with an error that this version does not know.",
        cause: "A program, a right or a file that the command needs is missing. The lines below the error are the end of what it printed.",
        action: "Correct what those lines say, then run again.",
    }
    SHELL_ANSWER_INVALID = "shell-answer-invalid", Refused {
        meaning: "The deploy user's shell on the server gave no answer that can be read.",
        cause: "The account has no login shell that runs commands, or its start-up files print text or end the shell.",
        action: "Check the shell and its start-up files on the server: `getent passwd USER`; `ssh USER@HOST true` must print nothing.",
    }
    SSH_LOCAL = "ssh-runner-error", World {
        meaning: "The SSH connection failed on the runner's side.",
        cause: "The runner lacks memory, sockets or file handles, or the file that was sent changed.",
        action: "Run again, on another runner if the error stays.",
    }
}

pub fn unreachable(doing: &str, cause: String) -> Failure {
    SSH_UNREACHABLE.failure(doing, cause).hint(
        "Check `ssh-host` and `ssh-port`, that the server is up, and that every firewall lets this runner through.",
    )
}

pub fn turned_away(doing: &str, cause: String) -> Failure {
    SSH_TURNED_AWAY.failure(doing, cause).hint(
        "Wait some minutes before the next attempt: each attempt can prolong a penalty. On the server, run: journalctl -u ssh -n 20. It names MaxStartups (too many logins at once), PerSourcePenalties (OpenSSH 9.8 and later), fail2ban or hosts.deny. If it has no line of this runner, check `ssh-port`.",
    )
}

/// `line` is that of `ssh-known-hosts` for the key that the server showed.
pub fn host_key_mismatch(doing: &str, cause: String, line: &str) -> Failure {
    HOST_KEY_MISMATCH.failure(doing, cause).hint(format!(
        "Compare the fingerprint on the server itself. Only if it is the same, add this line to `ssh-known-hosts`: {line}"
    ))
}

pub fn host_key_unusable(doing: &str, cause: String) -> Failure {
    HOST_KEY_UNUSABLE.failure(doing, cause).hint(
        "Add the server's host key to `ssh-known-hosts`, with the host's name before it. On the server, run: cat /etc/ssh/ssh_host_ed25519_key.pub",
    )
}

/// `wanted` are the algorithms of which one would do.
pub fn too_weak(doing: &str, cause: String, wanted: &str) -> Failure {
    SSH_TOO_WEAK
        .failure(doing, cause)
        .hint(format!("Allow one of these in the server's sshd_config (its defaults do): {wanted}"))
}

/// `line` is that of `authorized_keys`.
pub fn key_denied(doing: &str, cause: String, user: &str, line: &str) -> Failure {
    SSH_KEY_DENIED
        .failure(doing, cause)
        .hint(format!(
            "On the server, run as {user}: echo '{line}' >> ~/.ssh/authorized_keys. If the line is there, see why sshd refuses the key: journalctl -u ssh -n 20 (owner or mode of ~/.ssh, a locked account, /run/nologin, AllowUsers)."
        ))
}

/// The key was enough for one of several factors.
pub fn second_factor(doing: &str, cause: String, user: &str) -> Failure {
    SSH_SECOND_FACTOR.failure(doing, cause).hint(format!(
        "Add the two lines below at the end of /etc/ssh/sshd_config on the server, then run `systemctl reload ssh`. A key alone is enough only \
         with `PubkeyAuthentication yes`, which is the default.\nMatch User {user}\n    AuthenticationMethods publickey"
    ))
}

pub fn connection_lost(doing: &str, cause: String) -> Failure {
    CONNECTION_LOST.failure(doing, cause).hint(
        "The work on the server may be complete or not. Run again: every step reads the state of the server first.",
    )
}

pub fn script_timed_out(doing: &str, cause: String) -> Failure {
    SCRIPT_TIMED_OUT
        .failure(doing, cause)
        .hint("Check the server's load and disks: uptime; iostat -x 1 3; df -h. Then run again.")
}

/// `tail` is the end of what it printed.
pub fn command_failed(doing: &str, cause: String, tail: Vec<String>) -> Failure {
    COMMAND_FAILED.failure(doing, cause).details(tail).hint("Correct what its last lines say, then run again.")
}

pub fn shell_answer_invalid(doing: &str, cause: String) -> Failure {
    SHELL_ANSWER_INVALID.failure(doing, cause).hint(
        "The deploy user needs a shell that runs commands and prints nothing of its own. Check its shell in /etc/passwd and its .bashrc.",
    )
}

pub fn local(doing: &str, cause: String) -> Failure {
    SSH_LOCAL.failure(doing, cause)
}
