//! From an address to a session that is logged in.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use ssh2::{HostKeyType, Session};

use super::offer::{self, Missing};
use crate::{
    config::typed::SshAccess,
    domain::known_hosts::{self, Verdict},
    transport::shell::{Greeting, ShellError},
};

/// For each address of a name.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For key exchange and login together; a port that is silent or speaks something else ends here.
pub(super) const HANDSHAKE_TIMEOUT_MS: u32 = 15_000;
/// A connection that acknowledges nothing for so long is lost.
pub(super) const DEAD_LINE: Duration = Duration::from_secs(30);

/// So many letters of a banner stand in an error.
const BANNER: usize = 200;

/// Connects, checks the host key and logs in.
///
/// A bare fingerprint does not say of which type its key is, and the server shows the one it likes best of those we ask for: after
/// a key that is not known, the other types are asked for. Whatever is shown, only a known key is accepted.
pub(super) fn connect(access: &SshAccess) -> Result<(Session, TcpStream, Greeting), ShellError> {
    let mut types = access.known_hosts.key_types_for(&access.host, access.port);
    if types.is_empty() {
        return Err(ShellError::HostKeyUnusable(format!(
            "no line of ssh-known-hosts is for {}:{}",
            access.host, access.port
        )));
    }
    let mut mismatch = None;
    loop {
        let error = match attempt(access, &types) {
            Err(error) => error,
            Ok(connection) => return Ok(connection),
        };
        match &error {
            ShellError::HostKey { key_type, .. } if types.len() > 1 => {
                types.retain(|other| other != key_type);
                mismatch.get_or_insert(error);
            }
            ShellError::HostKey { .. } | ShellError::HostKeyUnusable(_) => return Err(mismatch.unwrap_or(error)),
            _ => return Err(error),
        }
    }
}

fn attempt(access: &SshAccess, types: &[&str]) -> Result<(Session, TcpStream, Greeting), ShellError> {
    let socket = dial(&access.host, access.port)?;
    tune(&socket).map_err(|error| ShellError::Unreachable(format!("setting up the socket: {error}")))?;
    let place = format!("{}:{}", access.host, access.port);
    let unreachable =
        |what: &str, error: &ssh2::Error| ShellError::Unreachable(format!("{what} with {place}: {}", error.message()));

    let mut session = Session::new().map_err(|error| ShellError::Local(error.message().to_owned()))?;
    let clone = socket.try_clone().map_err(|error| ShellError::Local(format!("sharing the socket: {error}")))?;
    session.set_tcp_stream(clone);
    session.set_timeout(HANDSHAKE_TIMEOUT_MS);
    // Before the handshake, or the server shows the key that it likes best and not the one that we know.
    let methods = host_key_methods(types);
    offer::limit(&session, &methods)
        .map_err(|(what, error)| ShellError::Local(format!("setting the {what} to use: {}", error.message())))?;
    session.handshake().map_err(|error| match error.code() {
        // LIBSSH2_ERROR_KEX_FAILURE, LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE: nothing in common, most likely.
        ssh2::ErrorCode::Session(-5 | -8) => {
            match dial(&access.host, access.port).ok().and_then(|socket| offer::missing(socket, &methods)) {
                Some(Missing::HostKey { offered }) => ShellError::HostKeyUnusable(format!(
                    "{place} has no host key of a type that ssh-known-hosts knows for it ({}); it signs with {offered}",
                    types.join(", ")
                )),
                Some(Missing::Weak { what, offered, wanted }) => {
                    ShellError::Weak { host: place.clone(), what, offered, wanted }
                }
                None => unreachable("the SSH handshake", &error),
            }
        }
        // LIBSSH2_ERROR_SOCKET_DISCONNECT, LIBSSH2_ERROR_SOCKET_RECV: sshd closes what is one too many instead of naming itself
        // (RFC 4253, 4.2), with or without the words "Exceeded MaxStartups".
        ssh2::ErrorCode::Session(-13 | -43) if session.banner().is_none_or(|banner| !banner.starts_with("SSH-")) => {
            ShellError::Throttled(place.clone())
        }
        _ => unreachable("the SSH handshake", &error),
    })?;
    let host_key = check_host_key(&session, access)?;
    log_in(&session, access)?;
    let banner = session.banner().unwrap_or("an SSH server").to_owned();
    let client_key = format!("{} ({})", access.key.fingerprint(), access.key.key_type());
    // Not before: libssh2 would send one into the middle of the key exchange, which a strict server takes as an attack.
    session.set_keepalive(true, 15);
    session.set_timeout(0);
    session.set_blocking(false);
    Ok((session, socket, Greeting { host_key, client_key, banner }))
}

/// Tries every address of the name.
fn dial(host: &str, port: u16) -> Result<TcpStream, ShellError> {
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| ShellError::Unreachable(format!("the name {host} cannot be resolved: {error}")))?
        .collect();
    let mut failures = Vec::new();
    for address in &addresses {
        match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
            Ok(socket) => return Ok(socket),
            Err(error) => failures.push(format!("{address}: {}", plain(&error))),
        }
    }
    Err(ShellError::Unreachable(match failures.len() {
        0 => format!("the name {host} has no address"),
        _ if addresses.iter().any(|address| address.ip().to_string() == host) => failures.join("; "),
        _ => format!("{host}: {}", failures.join("; ")),
    }))
}

fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()),
        _ => error.to_string(),
    }
}

/// How much the kernel takes of an upload ahead of what the line carries. What another channel says waits behind it.
const UNSENT: u32 = 128 * 1024;

fn tune(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(DEAD_LINE))?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let probes =
        TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5)).with_retries(3);
    socket.set_tcp_keepalive(&probes)
}

/// The signature methods of the key types that are known; never SHA-1 (`ssh-rsa`) and never DSA.
fn host_key_methods(types: &[&str]) -> String {
    let methods = types.iter().map(|key_type| match *key_type {
        "ssh-rsa" => "rsa-sha2-512,rsa-sha2-256",
        other => other,
    });
    methods.collect::<Vec<_>>().join(",")
}

fn check_host_key(session: &Session, access: &SshAccess) -> Result<String, ShellError> {
    let (blob, key_type) =
        session.host_key().ok_or_else(|| ShellError::Unreachable(format!("{} showed no host key", access.host)))?;
    let key_type = match key_type {
        HostKeyType::Ed25519 => "ssh-ed25519",
        HostKeyType::Rsa => "ssh-rsa",
        HostKeyType::Ecdsa256 => "ecdsa-sha2-nistp256",
        HostKeyType::Ecdsa384 => "ecdsa-sha2-nistp384",
        HostKeyType::Ecdsa521 => "ecdsa-sha2-nistp521",
        _ => "of an unknown type",
    };
    let fingerprint = known_hosts::fingerprint(blob);
    let host = format!("{}:{}", access.host, access.port);
    match access.known_hosts.check(&access.host, access.port, key_type, blob) {
        Verdict::Accepted => Ok(format!("{fingerprint} ({key_type})")),
        Verdict::Revoked => Err(ShellError::HostKeyUnusable(format!(
            "{host} showed the host key {fingerprint}, which ssh-known-hosts revokes"
        ))),
        Verdict::Mismatch { expected } => Err(ShellError::HostKey {
            host,
            key_type: key_type.to_owned(),
            got: fingerprint,
            expected: format!("expected {}", expected.join(" or ")),
            line: known_hosts::line_for(&access.host, access.port, key_type, blob),
        }),
        Verdict::Unknown => Err(ShellError::HostKeyUnusable(format!("no line of ssh-known-hosts is for {host}"))),
    }
}

/// What a banner says in the end, such as the text of /run/nologin. Above it there may be a page of terms of use.
fn last_line(banner: &str) -> Option<String> {
    let line = banner.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().take(BANNER).collect())
}

fn log_in(session: &Session, access: &SshAccess) -> Result<(), ShellError> {
    let key = &access.key;
    let Err(error) = session.userauth_pubkey_memory(&access.user, None, key.pem().expose(), None) else {
        return Ok(());
    };
    // LIBSSH2_ERROR_AUTHENTICATION_FAILED and LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED are a "no"; the rest is the line.
    if !matches!(error.code(), ssh2::ErrorCode::Session(-18 | -19)) {
        return Err(ShellError::Unreachable(format!(
            "logging in at {}:{}: {}",
            access.host,
            access.port,
            error.message()
        )));
    }
    // A server with few attempts closes the connection at this question: then nothing is known of other factors.
    let methods = session.auth_methods(&access.user).ok().filter(|methods| !methods.is_empty()).map(str::to_owned);
    // With a wrong key the list still has `publickey`. Without it the server wants something else, or something more.
    if let Some(methods) = methods.clone().filter(|methods| !methods.split(',').any(|method| method == "publickey")) {
        return Err(ShellError::SecondFactor {
            host: format!("{}:{}", access.host, access.port),
            user: access.user.clone(),
            fingerprint: key.fingerprint(),
            methods,
        });
    }
    let methods = methods.unwrap_or_else(|| "no method named".to_owned());
    let methods = match session.userauth_banner().ok().flatten().and_then(last_line) {
        Some(said) => format!("{methods}; it says: {said}"),
        None => methods,
    };
    Err(ShellError::Denied {
        host: format!("{}:{}", access.host, access.port),
        user: access.user.clone(),
        fingerprint: key.fingerprint(),
        methods,
        line: key.authorized_line(),
    })
}
