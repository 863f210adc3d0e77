//! The host keys that we accept.

use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};
use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
use sha2::{Digest, Sha256};
use ssh_key::PublicKey;

use super::glob::{self, Wildcards};

/// The host key types that we accept, best first. `ssh-rsa` means an RSA key; its signatures are always SHA-2 (RFC 8332), SHA-1 is not offered.
pub const KEY_TYPES: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"];

/// The lines of `ssh-known-hosts`, parsed: those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and bare fingerprints.
///
/// There is no value that accepts any key, and none is learnt on first use (F38).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

/// What a server's host key is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// There are keys for this host, this is none of them. `expected` are their fingerprints, with their types where known.
    Mismatch {
        expected: Vec<String>,
    },
    /// A `@revoked` line names this key.
    Revoked,
    /// No line is for this host.
    Unknown,
}

/// A line that is not usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// From 1; 0 speaks of the whole text.
    pub line: usize,
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Entry {
    hosts: Hosts,
    key: Key,
    revoked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
enum Hosts {
    /// A bare fingerprint is for the one server that this run goes to; refused where it goes to two ([`KnownHosts::has_bare`]).
    Any,
    Patterns(Vec<Pattern>),
    /// `|1|salt|hash`: HMAC-SHA1 of the name.
    Hashed {
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
struct Pattern {
    text: String,
    negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
enum Key {
    Blob {
        key_type: String,
        blob: Vec<u8>,
    },
    /// SHA-256 of the blob; the type where the line says it.
    Fingerprint {
        key_type: Option<String>,
        sha256: [u8; 32],
    },
}

impl KnownHosts {
    /// Reads all lines, or says what is wrong with each that is not usable.
    pub fn parse(text: &str) -> Result<Self, Vec<LineProblem>> {
        let text = text.trim_start_matches('\u{feff}').replace("\\n", "\n");
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for (index, line) in text.split(['\n', '\r']).map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match parse_line(line) {
                Ok(entry) => entries.extend(entry),
                Err(problem) => problems.push(LineProblem { line: index + 1, problem }),
            }
        }
        if problems.is_empty() && entries.is_empty() && text.contains("@cert-authority") {
            let problem = "it contains only @cert-authority lines, and host certificates are not supported; add the host's own key: \
                           ssh-keyscan HOST".to_owned();
            problems.push(LineProblem { line: 0, problem });
        } else if problems.is_empty() && entries.iter().all(|entry| entry.revoked) {
            let problem = "it contains no host key; compare the fingerprint on the server, then add the output of: ssh-keyscan HOST".to_owned();
            problems.push(LineProblem { line: 0, problem });
        }
        if problems.is_empty() { Ok(Self { entries }) } else { Err(problems) }
    }

    /// Whether a line has a fingerprint and no host, so that it counts for whatever host is reached.
    pub fn has_bare(&self) -> bool {
        self.entries.iter().any(|entry| !entry.revoked && entry.hosts == Hosts::Any)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The types of key to ask this server for, best first, so that it shows the one we know and not the one it likes best.
    /// A fingerprint without a type could be of any; empty when no line is for this host.
    pub fn key_types_for(&self, host: &str, port: u16) -> Vec<&'static str> {
        let entries = self.entries_for(host, port);
        let wanted = |key_type: &str| {
            entries.iter().any(|entry| !entry.revoked && entry.key.key_type().is_none_or(|known| known == key_type))
        };
        KEY_TYPES.into_iter().filter(|key_type| wanted(key_type)).collect()
    }

    /// Is this the key of this server?
    pub fn check(&self, host: &str, port: u16, key_type: &str, key_blob: &[u8]) -> Verdict {
        let entries = self.entries_for(host, port);
        let (revoked, accepted): (Vec<&Entry>, Vec<&Entry>) = entries.into_iter().partition(|entry| entry.revoked);
        if revoked.iter().any(|entry| entry.key.is(key_blob)) {
            return Verdict::Revoked;
        }
        if accepted.is_empty() {
            return Verdict::Unknown;
        }
        if KEY_TYPES.contains(&key_type) && accepted.iter().any(|entry| entry.key.is(key_blob)) {
            return Verdict::Accepted;
        }
        Verdict::Mismatch { expected: accepted.iter().map(|entry| entry.key.to_string()).collect() }
    }

    /// Lines with the port count first; only where none has, those with the bare name do, as in OpenSSH. Revoked keys count with both.
    fn entries_for(&self, host: &str, port: u16) -> Vec<&Entry> {
        let host = host.to_ascii_lowercase();
        let bare: Vec<&Entry> = self.entries.iter().filter(|entry| entry.hosts.matches(&host)).collect();
        if port == 22 {
            return bare;
        }
        let with_port = format!("[{host}]:{port}");
        let exact: Vec<&Entry> = self.entries.iter().filter(|entry| entry.hosts.matches(&with_port)).collect();
        if exact.iter().any(|entry| !entry.revoked) {
            return exact.into_iter().chain(bare.into_iter().filter(|entry| entry.revoked)).collect();
        }
        exact.into_iter().chain(bare).collect()
    }
}

/// `SHA256:...`, as `ssh-keygen -l` prints it.
pub fn fingerprint(key_blob: &[u8]) -> String {
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(key_blob)))
}

/// The line that would pin this key.
pub fn line_for(host: &str, port: u16, key_type: &str, key_blob: &[u8]) -> String {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    format!("{name} {key_type} {}", BASE64_STANDARD.encode(key_blob))
}

/// `None` for a line that says nothing of any key that we could accept.
fn parse_line(line: &str) -> Result<Option<Entry>, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (revoked, words) = match words.as_slice() {
        ["@revoked", rest @ ..] => (true, rest),
        // An authority for host certificates, which are not supported: the line accepts no host key by itself.
        ["@cert-authority", ..] => return Ok(None),
        [marker, ..] if marker.starts_with('@') => {
            return Err(format!("`{marker}` is not a marker; @revoked is the only one supported"));
        }
        rest => (false, rest),
    };
    // A key of a type that is never accepted need not be revoked.
    if let (true, [_, key_type, ..]) = (revoked, words)
        && is_key_type(key_type)
        && !KEY_TYPES.contains(key_type)
    {
        return Ok(None);
    }
    let entry = |hosts, key| Ok(Some(Entry { hosts, key, revoked }));
    match words {
        [print] if is_fingerprint(print) => entry(Hosts::Any, Key::fingerprint(None, print)?),
        [key_type, print] if is_key_type(key_type) && is_fingerprint(print) => {
            entry(Hosts::Any, Key::fingerprint(Some(key_type), print)?)
        }
        [hosts, print] if is_fingerprint(print) => entry(Hosts::parse(hosts)?, Key::fingerprint(None, print)?),
        [hosts, key_type, print] if is_fingerprint(print) => {
            entry(Hosts::parse(hosts)?, Key::fingerprint(Some(key_type), print)?)
        }
        // What `ssh-keygen -l` prints: bits, fingerprint, comment, type.
        [bits, print, .., kind] if bits.parse::<u16>().is_ok() && is_fingerprint(print) && kind.starts_with('(') => {
            entry(Hosts::Any, Key::fingerprint(None, print)?)
        }
        [key_type, ..] if is_key_type(key_type) => Err(
            "it begins with a key, like a user's public key; begin the line with the host: `HOST KEY-TYPE KEY`"
                .to_owned(),
        ),
        [hosts, key_type, key, ..] if is_key_type(key_type) => entry(Hosts::parse(hosts)?, Key::parse(key_type, key)?),
        [_, bits, ..] if bits.parse::<u16>().is_ok() => {
            Err("it is a key of SSH protocol 1, which is not supported".to_owned())
        }
        _ if line.contains("PRIVATE KEY") => Err("it is part of a private key; move it to ssh-private-key".to_owned()),
        _ => {
            Err("it is neither `HOST KEY-TYPE KEY` (as ssh-keyscan prints it) nor `SHA256:...` (as ssh-keygen -l prints it)"
                .to_owned())
        }
    }
}

fn is_fingerprint(word: &str) -> bool {
    word.starts_with("SHA256:") || word.starts_with("MD5:") || word.starts_with("SHA1:") || is_bare_md5(word)
}

/// `16:27:ac:...`, sixteen bytes in hex.
fn is_bare_md5(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    parts.len() == 16 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_key_type(word: &str) -> bool {
    word.starts_with("ssh-")
        || word.starts_with("ecdsa-sha2-")
        || word.starts_with("sk-")
        || word.starts_with("rsa-sha2-")
}

impl Key {
    fn parse(key_type: &str, key: &str) -> Result<Self, String> {
        check_key_type(key_type)?;
        let damaged = |_| format!("the {key_type} key is damaged or cut off");
        let parsed = PublicKey::from_openssh(&format!("{key_type} {key}")).map_err(damaged)?;
        let blob = parsed.to_bytes().map_err(damaged)?;
        Ok(Self::Blob { key_type: key_type.to_owned(), blob })
    }

    fn fingerprint(key_type: Option<&str>, print: &str) -> Result<Self, String> {
        if let Some(key_type) = key_type {
            check_key_type(key_type)?;
        }
        let Some(encoded) = print.strip_prefix("SHA256:") else {
            return Err("the fingerprint is not SHA256; print it with: ssh-keygen -l -E sha256 -f KEYFILE".to_owned());
        };
        let bytes = BASE64_STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).unwrap_or_default();
        let sha256 =
            bytes.try_into().map_err(|_| "the fingerprint is cut off: 43 characters follow `SHA256:`".to_owned())?;
        Ok(Self::Fingerprint { key_type: key_type.map(str::to_owned), sha256 })
    }

    fn key_type(&self) -> Option<&str> {
        match self {
            Self::Blob { key_type, .. } => Some(key_type),
            Self::Fingerprint { key_type, .. } => key_type.as_deref(),
        }
    }

    fn is(&self, other: &[u8]) -> bool {
        match self {
            Self::Blob { blob, .. } => blob == other,
            Self::Fingerprint { sha256, .. } => Sha256::digest(other).as_slice() == sha256,
        }
    }
}

fn check_key_type(key_type: &str) -> Result<(), String> {
    if KEY_TYPES.contains(&key_type) {
        return Ok(());
    }
    Err(match key_type {
        "ssh-dss" => "DSA host keys are too weak; take the server's ssh-ed25519 key".to_owned(),
        "rsa-sha2-256" | "rsa-sha2-512" => {
            "write the type of an RSA key as ssh-rsa, also with SHA-2 signatures".to_owned()
        }
        _ => format!("`{key_type}` host keys are not supported; take one of {}", KEY_TYPES.join(", ")),
    })
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key_type) = self.key_type() {
            write!(f, "{key_type} ")?;
        }
        match self {
            Self::Blob { blob, .. } => f.write_str(&fingerprint(blob)),
            Self::Fingerprint { sha256, .. } => {
                write!(f, "SHA256:{}", BASE64_STANDARD_NO_PAD.encode(sha256))
            }
        }
    }
}

impl Hosts {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(hashed) = text.strip_prefix('|') {
            return Self::parse_hashed(hashed)
                .ok_or_else(|| "the hashed host name is damaged; it must have the form |1|SALT|HASH".to_owned());
        }
        let patterns =
            text.split(',').filter(|pattern| !pattern.is_empty()).map(|pattern| match pattern.strip_prefix('!') {
                Some(text) => Pattern { text: text.to_ascii_lowercase(), negated: true },
                None => Pattern { text: pattern.to_ascii_lowercase(), negated: false },
            });
        let patterns: Vec<Pattern> = patterns.collect();
        if patterns.iter().all(|pattern| pattern.negated) {
            return Err(format!("`{text}` only excludes hosts and names none"));
        }
        Ok(Self::Patterns(patterns))
    }

    fn parse_hashed(text: &str) -> Option<Self> {
        let (salt, hash) = text.strip_prefix("1|")?.split_once('|')?;
        let (salt, hash) = (BASE64_STANDARD.decode(salt).ok()?, BASE64_STANDARD.decode(hash).ok()?);
        (!salt.is_empty() && hash.len() == 20).then_some(Self::Hashed { salt, hash })
    }

    /// `name` is in lower case, and has its port where that is not 22.
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Patterns(patterns) => {
                let hit = |pattern: &&Pattern| glob::matches(&pattern.text, name, Wildcards::Anything);
                patterns.iter().any(|pattern| !pattern.negated && hit(&pattern))
                    && !patterns.iter().any(|pattern| pattern.negated && hit(&pattern))
            }
            Self::Hashed { salt, hash } => hmac_sha1(salt, name.as_bytes()).is_some_and(|own| own == *hash),
        }
    }
}

fn hmac_sha1(key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let key = PKey::hmac(key).ok()?;
    let mut signer = Signer::new(MessageDigest::sha1(), &key).ok()?;
    signer.sign_oneshot_to_vec(data).ok()
}

#[cfg(test)]
mod tests;
