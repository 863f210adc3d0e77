//! Finding private keys by what they look like, in whatever file they are.

use memchr::memmem;

/// Every armoured private key (PKCS#1, PKCS#8, SEC1, OpenSSH, PGP) has a line that ends so.
const MARKER: &[u8] = b"PRIVATE KEY";

/// More than any armour line and the start of the key after it.
const OVERLAP: usize = 512;

/// Reads a file in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct KeyScan {
    tail: Vec<u8>,
    found: bool,
}

impl KeyScan {
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        // The end of what came before, with the beginning of this piece: only a key across the border needs both.
        let mut recent = std::mem::take(&mut self.tail);
        recent.extend_from_slice(&piece[..piece.len().min(OVERLAP)]);
        self.found = holds_key(&recent) || holds_key(piece);
        let end = if piece.len() >= OVERLAP { piece } else { &recent };
        self.tail = end[end.len().saturating_sub(OVERLAP)..].to_vec();
    }

    pub(crate) fn found(&self) -> bool {
        self.found
    }
}

/// Whether there is a private key: the armour line *and* the beginning of its data. Libraries that read keys name the
/// armour line too, and they are no secret.
fn holds_key(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, MARKER).any(|at| {
        let before = &bytes[at.saturating_sub(40)..at];
        let after = &bytes[at + MARKER.len()..];
        memmem::rfind(before, b"-----BEGIN ").is_some() && begins_key(after)
    })
}

fn begins_key(after: &[u8]) -> bool {
    let Some(mut rest) = after.strip_prefix(b" BLOCK-----").or_else(|| after.strip_prefix(b"-----")) else {
        return false;
    };
    // In JSON, PHP and YAML the line break may be written as `\n`.
    loop {
        rest = match rest {
            [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] | [b'\\', b'n' | b'r', rest @ ..] => rest,
            _ => break,
        };
    }
    let headers: [&[u8]; 3] = [b"Proc-Type:", b"Version:", b"Comment:"];
    if headers.iter().any(|header| rest.starts_with(header)) {
        return true;
    }
    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')).count() >= 40
}

#[cfg(test)]
mod tests {
    use super::KeyScan;

    /// Put together here, so that no scanner finds a key in this file.
    fn armoured(kind: &str, line_end: &str, data: &str) -> String {
        format!("-----BEGIN {kind}-----{line_end}{data}{line_end}-----END {kind}-----{line_end}")
    }

    const DATA: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";

    fn found(text: &str, step: usize) -> bool {
        let mut scan = KeyScan::default();
        text.as_bytes().chunks(step).for_each(|piece| scan.feed(piece));
        scan.found()
    }

    #[test]
    fn f26_keys_are_found_in_every_dress() {
        let pkcs1 = armoured("RSA PRIVATE KEY", "\n", DATA);
        let openssh = armoured("OPENSSH PRIVATE KEY", "\r\n", DATA);
        let json = format!("{{\"private_key\": \"{}\"}}", armoured("PRIVATE KEY", "\\n", DATA));
        let encrypted = armoured("RSA PRIVATE KEY", "\n", "Proc-Type: 4,ENCRYPTED");
        let indented = format!("return '\n    {}", armoured("EC PRIVATE KEY", "\n    ", DATA));
        for text in [pkcs1, openssh, json, encrypted, indented] {
            assert!(found(&text, usize::MAX), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_the_pieces_are_cut() {
        let text = format!("{}{}{}", "x".repeat(900), armoured("PRIVATE KEY", "\n", DATA), "y".repeat(900));
        for step in 1..text.len() {
            assert!(found(&text, step), "cut every {step} bytes");
        }
    }

    #[test]
    fn code_that_reads_keys_is_no_key() {
        for text in [
            "if (str_contains($pem, '-----BEGIN RSA PRIVATE KEY-----')) {",
            "const HEADER = \"-----BEGIN PRIVATE KEY-----\\n\";",
            &armoured("PUBLIC KEY", "\n", DATA),
            &armoured("CERTIFICATE", "\n", DATA),
            "a PRIVATE KEY is none",
        ] {
            assert!(!found(text, usize::MAX), "{text}");
        }
    }
}
