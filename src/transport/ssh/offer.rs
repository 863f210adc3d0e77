//! What is used between us and a server, and what to say of one that offers nothing of it.
//!
//! libssh2 would also take CBC ciphers, MD5 and SHA-1, and where nothing is in common it does not say what was missing. The server tells its
//! lists in plain text at the beginning (RFC 4253, 4.2 and 7.1), so they are read once more, over a connection of their own.

use std::{
    io::{self, Read, Write as _},
    net::TcpStream,
    time::Duration,
};

use ssh2::{MethodType, Session};

/// Elliptic curves, and groups of at least 2048 bits with SHA-2 (RFC 9142, table 12, without what it says of SHA-1). The last two are no
/// methods: we can be told the server's signature algorithms (RFC 8308), and sequence numbers are reset (OpenSSH, PROTOCOL 1.10).
const KEY_EXCHANGE: &str = "mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,\
     ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,\
     diffie-hellman-group14-sha256,ext-info-c,kex-strict-c-v00@openssh.com";

/// Authenticated ciphers and counter mode; no CBC, RC4 or 3DES (RFC 8758, and CVE-2008-5161 for CBC).
const CIPHERS: &str =
    "aes256-gcm@openssh.com,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

/// SHA-2 alone: no MD5, no SHA-1, nothing cut short.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512";

/// Signatures by which we log in with an RSA key, where the server says what it takes.
const SIGNATURES: &str =
    "rsa-sha2-512,rsa-sha2-256,ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521";

/// For each read of the second connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that a server may send before and in its lists (RFC 4253, 6.1: a packet has at most 35,000).
const LONGEST: u64 = 64 * 1024;

/// Limits a session to these methods; `host_keys` are the server's signatures that we can check. To be called before the handshake.
pub(super) fn limit(session: &Session, host_keys: &str) -> Result<(), (&'static str, ssh2::Error)> {
    let lists = [
        (MethodType::Kex, "key exchange methods", KEY_EXCHANGE),
        (MethodType::HostKey, "host key types", host_keys),
        (MethodType::CryptCs, "ciphers", CIPHERS),
        (MethodType::CryptSc, "ciphers", CIPHERS),
        (MethodType::MacCs, "message authentication codes", MACS),
        (MethodType::MacSc, "message authentication codes", MACS),
        (MethodType::SignAlgo, "signatures", SIGNATURES),
    ];
    lists.into_iter().try_for_each(|(kind, what, list)| session.method_pref(kind, list).map_err(|error| (what, error)))
}

/// What a handshake may fail for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// No signature that we could check with a key that we know.
    HostKey { offered: String },
    /// Only methods that are weak or unknown.
    Weak { what: &'static str, offered: String, wanted: String },
}

/// Asks a server for its lists; `None` if it does not tell them, or if they have something of everything.
pub(super) fn missing(mut socket: TcpStream, host_keys: &str) -> Option<Missing> {
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    socket.write_all(b"SSH-2.0-gated-deploy\r\n").ok()?;
    compare(&read(socket).ok()?, host_keys)
}

/// The lists of a server in the order of RFC 4253, 7.1, as far as they matter.
struct Lists {
    key_exchange: String,
    host_keys: String,
    ciphers: [String; 2],
    macs: [String; 2],
}

fn compare(lists: &Lists, host_keys: &str) -> Option<Missing> {
    let none = |theirs: &str, ours: &str| !theirs.split(',').any(|method| ours.split(',').any(|own| own == method));
    let weak = |what, offered: &str, wanted: &str| {
        let wanted =
            wanted.split(',').filter(|method| !matches!(*method, "ext-info-c" | "kex-strict-c-v00@openssh.com"));
        Some(Missing::Weak { what, offered: offered.to_owned(), wanted: wanted.collect::<Vec<_>>().join(", ") })
    };
    if none(&lists.key_exchange, KEY_EXCHANGE) {
        return weak("key exchange", &lists.key_exchange, KEY_EXCHANGE);
    }
    if none(&lists.host_keys, host_keys) {
        return Some(Missing::HostKey { offered: lists.host_keys.clone() });
    }
    if let Some(ciphers) = lists.ciphers.iter().find(|ciphers| none(ciphers, CIPHERS)) {
        return weak("ciphers", ciphers, CIPHERS);
    }
    // Authenticated ciphers need no code of their own.
    let authenticated =
        |ciphers: &String| ciphers.split(',').any(|name| name.contains("gcm@") || name.contains("poly1305@"));
    if lists.ciphers.iter().any(|ciphers| !authenticated(ciphers))
        && let Some(macs) = lists.macs.iter().find(|macs| none(macs, MACS))
    {
        return weak("message authentication", macs, MACS);
    }
    None
}

/// The identification line, which others may come before, and the first packet.
fn read(from: impl Read) -> io::Result<Lists> {
    let mut from = from.take(LONGEST);
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        match byte {
            [b'\n'] if line.starts_with(b"SSH-") => break,
            [b'\n'] => line.clear(),
            [byte] => line.push(byte),
        }
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut packet = Vec::new();
    from.take(u32::from_be_bytes(length).into()).read_to_end(&mut packet)?;
    lists(&packet).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// SSH_MSG_KEXINIT: the length of the padding, the number 20, sixteen bytes of chance, ten lists of names.
fn lists(packet: &[u8]) -> Option<Lists> {
    let [_padding, 20, rest @ ..] = packet else { return None };
    let mut rest = rest.get(16..)?;
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (names, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = after;
        // Names are visible ASCII (RFC 4251, 6); anything else is no method, and is not to be shown.
        let names = names.iter().copied().filter(u8::is_ascii_graphic).map(char::from);
        Some(names.collect::<String>())
    };
    Some(Lists { key_exchange: next()?, host_keys: next()?, ciphers: [next()?, next()?], macs: [next()?, next()?] })
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Ok(lists) = read(bytes) {
        let missing = compare(&lists, "ssh-ed25519");
        assert!(!format!("{missing:?}").chars().any(char::is_control));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(lists: [&str; 6]) -> Vec<u8> {
        let mut packet = vec![4, 20];
        packet.extend([7; 16]);
        for list in lists {
            packet.extend(u32::try_from(list.len()).expect("a short list").to_be_bytes());
            packet.extend(list.bytes());
        }
        let length = u32::try_from(packet.len()).expect("a short packet").to_be_bytes();
        [b"no SSH- yet\r\nSSH-2.0-test\r\n".as_slice(), &length, &packet].concat()
    }

    #[test]
    fn what_is_missing_is_found_in_the_servers_own_lists() {
        let good = ["curve25519-sha256", "ssh-ed25519", "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256"];
        let ask = |place: usize, list: &'static str| {
            let mut lists = good;
            lists[place] = list;
            compare(&read(&*server(lists)).expect("lists"), "ssh-ed25519")
        };
        assert_eq!(ask(0, "x,curve25519-sha256"), None);
        let Some(Missing::Weak { what, offered, wanted }) = ask(0, "diffie-hellman-group1-sha1") else {
            panic!("weak")
        };
        assert_eq!((what, offered.as_str()), ("key exchange", "diffie-hellman-group1-sha1"));
        assert!(wanted.contains("curve25519-sha256, ") && !wanted.contains("ext-info"), "{wanted}");
        // What only signals something is no method.
        assert!(ask(0, "ext-info-s").is_some());
        assert_eq!(ask(1, "ssh-dss,ssh-rsa"), Some(Missing::HostKey { offered: "ssh-dss,ssh-rsa".to_owned() }));
        assert!(matches!(ask(3, "3des-cbc"), Some(Missing::Weak { what: "ciphers", .. })));
        assert!(matches!(ask(4, "hmac-md5"), Some(Missing::Weak { what: "message authentication", .. })));
    }

    #[test]
    fn bytes_that_are_no_lists_end_without_a_panic() {
        let whole = server(["a", "b", "c", "d", "e", "f"]);
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        assert!(read(&*vec![b'x'; 1 << 20]).is_err(), "a line without an end");
        assert!(read(&*[b"SSH-2.0-x\n".as_slice(), &[0xff; 100]].concat()).is_err());
    }
}
