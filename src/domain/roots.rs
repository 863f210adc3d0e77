//! Certificates of authorities that are trusted besides the public ones.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{RootCertStore, pki_types::CertificateDer};
use serde::{Serialize, Serializer};

use super::Sha256Digest;

/// Each is one that TLS can use as a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots(Vec<Vec<u8>>);

/// What is wrong with a text, and in which line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BadPem {
    pub line: usize,
    pub problem: String,
}

impl Roots {
    /// Reads the certificates of a PEM text (RFC 7468). Text between them is a comment.
    ///
    /// # Errors
    /// It has none, or something in it is no certificate.
    pub fn parse(text: &str) -> Result<Self, BadPem> {
        let mut roots = Vec::new();
        // The line at which a certificate begins, and its body so far.
        let mut open: Option<(usize, String)> = None;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            let bad = |problem: String| BadPem { line: number, problem };
            if let Some(label) = label(line, "BEGIN") {
                if let Some((began, _)) = open {
                    return Err(bad(format!("begins a certificate inside the one that begins in line {began}")));
                }
                if label != "CERTIFICATE" {
                    return Err(bad(format!("begins `{label}`, which is not a certificate")));
                }
                open = Some((number, String::new()));
            } else if label(line, "END").is_some() {
                let Some((began, body)) = open.take() else {
                    return Err(bad("ends a certificate without a BEGIN line".to_owned()));
                };
                roots.push(certificate(&body).map_err(|problem| BadPem { line: began, problem })?);
            } else if let Some((_, body)) = &mut open {
                body.push_str(line);
            }
        }
        match open {
            Some((line, _)) => Err(BadPem { line, problem: "the certificate has no END line".to_owned() }),
            None if roots.is_empty() => Err(BadPem { line: 1, problem: "no certificate was found".to_owned() }),
            None => Ok(Self(roots)),
        }
    }

    /// Each as DER.
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

fn label<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    line.strip_prefix("-----")?.strip_prefix(word)?.strip_prefix(' ')?.strip_suffix("-----")
}

fn certificate(body: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(body).map_err(|error| format!("the certificate is not base64: {error}"))?;
    let added = RootCertStore::empty().add(CertificateDer::from(bytes.as_slice()));
    added.map_err(|error| format!("TLS cannot use this certificate: {error}"))?;
    Ok(bytes)
}

/// As the digests of the certificates: another certificate is another setting.
impl Serialize for Roots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.certificates().map(Sha256Digest::of))
    }
}
