//! Finds the key in what people paste, and repairs what copying does to it.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

use super::{KeyProblem, openssh};

/// Reads base64 with or without `=` at the end, which is easily lost in copying.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One private key, out of its armour.
pub(super) enum Block {
    /// The data of an `OPENSSH PRIVATE KEY`.
    OpenSsh(Zeroizing<Vec<u8>>),
    /// PKCS#1, SEC1 or PKCS#8, encrypted or not, with its armour set again.
    Pem { text: Zeroizing<String>, encrypted: bool },
}

/// Finds the private key in a text.
pub(super) fn find_private_key(text: &str) -> Result<Block, KeyProblem> {
    let text = repair(text);
    if text.is_empty() {
        return Err(KeyProblem::Empty);
    }
    if text.contains("-----BEGIN ") || text.contains("---- BEGIN ") {
        return from_armour(&text);
    }
    let Some(inner) = decode(&text) else {
        return Err(diagnose(&text));
    };
    if inner.starts_with(openssh::MAGIC) {
        return Ok(Block::OpenSsh(inner));
    }
    match std::str::from_utf8(&inner) {
        Ok(inner) if inner.contains("-----BEGIN ") => from_armour(&repair(inner)),
        _ => Err(diagnose(&text)),
    }
}

/// Line ends of any system become `\n`, written-out `\n` too; indentation, quotes around it all and blank lines around it go.
fn repair(text: &str) -> Zeroizing<String> {
    let unified =
        Zeroizing::new(text.replace("\\r", "").replace("\\n", "\n").replace("\r\n", "\n").replace('\r', "\n"));
    let bare = unified.trim_start_matches('\u{feff}').trim();
    let bare = bare.trim_matches(|c| c == '"' || c == '\'');
    let mut repaired = Zeroizing::new(String::with_capacity(bare.len()));
    for line in bare.lines() {
        repaired.push_str(line.trim());
        repaired.push('\n');
    }
    let length = repaired.trim().len();
    let start = repaired.len() - repaired.trim_start().len();
    repaired.truncate(start + length);
    repaired
}

fn from_armour(text: &str) -> Result<Block, KeyProblem> {
    let Some((label, rest)) = private_block(text) else {
        return Err(diagnose(text));
    };
    let end = format!("-----END {label}-----");
    let body = rest.split(end.as_str()).next().filter(|body| body.len() < rest.len()).ok_or(KeyProblem::Truncated)?;
    match label {
        "OPENSSH PRIVATE KEY" => {
            let data = decode(body).ok_or(KeyProblem::Damaged)?;
            if data.starts_with(openssh::MAGIC) { Ok(Block::OpenSsh(data)) } else { Err(KeyProblem::Damaged) }
        }
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => pem(label, body),
        "DSA PRIVATE KEY" => Err(KeyProblem::Unsupported("a DSA key")),
        _ => Err(KeyProblem::NotAKey),
    }
}

/// The label of the first private key block, and what follows its BEGIN line. Blocks before it (`EC PARAMETERS`) are passed over.
fn private_block(text: &str) -> Option<(&str, &str)> {
    text.split("-----BEGIN ").skip(1).find_map(|block| {
        let (label, _) = block.split_once("-----")?;
        let start = block.as_ptr() as usize - text.as_ptr() as usize + label.len() + "-----".len();
        label.ends_with("PRIVATE KEY").then(|| (label, &text[start..]))
    })
}

/// Sets the armour again, with lines of 64 characters. The headers of the old encrypted form (RFC 1421) are kept.
fn pem(label: &str, body: &str) -> Result<Block, KeyProblem> {
    let (headers, data) = split_headers(body);
    let data: Zeroizing<String> = Zeroizing::new(data.split_ascii_whitespace().collect());
    if decode(&data).is_none() {
        return Err(KeyProblem::Damaged);
    }
    let mut text = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    for header in &headers {
        text.push_str(header);
        text.push('\n');
    }
    if !headers.is_empty() {
        text.push('\n');
    }
    let mut rest = data.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    let encrypted = label.starts_with("ENCRYPTED") || headers.iter().any(|header| header.contains("ENCRYPTED"));
    Ok(Block::Pem { text, encrypted })
}

/// `Proc-Type: 4,ENCRYPTED` and `DEK-Info: cipher,iv` have no blanks inside their values, so they are found even when the lines were joined.
fn split_headers(body: &str) -> (Vec<String>, &str) {
    let mut headers = Vec::new();
    let mut rest = body.trim_start();
    while let Some((name, after)) =
        rest.split_once(": ").filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-'))
    {
        let value_end = after.find(char::is_whitespace).unwrap_or(after.len());
        headers.push(format!("{name}: {}", &after[..value_end]));
        rest = after[value_end..].trim_start();
    }
    (headers, rest)
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let dense: Zeroizing<String> = Zeroizing::new(text.split_ascii_whitespace().collect());
    if dense.is_empty() {
        return None;
    }
    BASE64.decode(dense.as_bytes()).ok().map(Zeroizing::new)
}

/// What a text is that has no private key in it.
fn diagnose(text: &str) -> KeyProblem {
    let first = text.split_whitespace().next().unwrap_or_default();
    if text.contains("-cert-v01@openssh.com") || text.contains("-----BEGIN CERTIFICATE-----") {
        KeyProblem::Certificate
    } else if first.starts_with("PuTTY-User-Key-File") {
        KeyProblem::Putty
    } else if text.contains("BEGIN SSH2 ENCRYPTED PRIVATE KEY") {
        KeyProblem::SshCom
    } else if is_public(text, first) {
        KeyProblem::PublicKey
    } else if text.contains("-----END ") != text.contains("-----BEGIN ") {
        KeyProblem::Truncated
    } else if !text.contains(char::is_whitespace) && looks_like_path(text) {
        KeyProblem::LooksLikePath
    } else {
        KeyProblem::NotAKey
    }
}

fn is_public(text: &str, first: &str) -> bool {
    let types =
        ["ssh-ed25519", "ssh-rsa", "ssh-dss", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
    types.contains(&first)
        || first.starts_with("ecdsa-sha2-")
        || (text.contains("BEGIN ") && text.contains(" PUBLIC KEY--"))
        || text.contains("BEGIN PUBLIC KEY")
}

fn looks_like_path(text: &str) -> bool {
    text.len() < 256
        && (text.starts_with(['/', '~', '.'])
            || text.contains("id_")
            || text.ends_with(".pem")
            || text.ends_with(".key"))
}
