//! What of a bundle is sent, and what the server completes it from.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::GzDecoder;

use crate::{
    domain::{
        Sha256Digest,
        bundle::{Bundle, Canonical, MANIFEST_PATH, Manifest},
        record,
    },
    transport::shell::Script,
};

const MANIFEST_PHP: &str = concat!("?>", include_str!("manifest.php"));

/// The most bytes of an offer that are read.
const LONGEST_OFFER: u64 = 64 << 20;

/// What is sent as one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parcel<'a> {
    pub(super) path: &'a Path,
    pub(super) size: u64,
    pub(super) sha256: &'a Sha256Digest,
}

impl<'a> Parcel<'a> {
    pub(super) fn whole(bundle: &'a Bundle<Canonical>) -> Self {
        Self { path: &bundle.path, size: bundle.sent_size(), sha256: bundle.sent_sha256() }
    }
}

/// The part of a bundle that the server lacks, and what it needs to complete it from the live release.
#[derive(Debug)]
pub struct Part {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) sha256: Sha256Digest,
    /// The folder of the live release.
    pub(super) live: String,
    /// Bytes of the bundle's largest file: larger ones of the live release are not looked at.
    pub(super) largest: u64,
    /// Files of the live release that are not copied: the bundle does not have them, or has others there.
    pub(super) others: Vec<String>,
    /// The manifest's text around its list of files.
    pub(super) manifest: (String, String),
    /// Files that are sent, and files that are copied.
    pub(super) sent: usize,
    pub(super) copied: usize,
}

impl Part {
    pub(super) fn parcel(&self) -> Parcel<'_> {
        Parcel { path: &self.path, size: self.size, sha256: &self.sha256 }
    }

    pub(super) fn record(&self) -> record::Delivered {
        record::Delivered { bytes: self.size, files: self.sent, copied: self.copied }
    }

    /// Lets the script that unpacks complete the bundle.
    pub(super) fn completing(&self, script: Script, php: &str) -> Script {
        script
            .var("LIVE", &self.live)
            .var("LARGEST", self.largest.to_string())
            .list("OTHERS", &self.others)
            .var("PHP", php)
            .var("MANIFEST", MANIFEST_PATH)
            .var("MANIFEST_BEFORE", &self.manifest.0)
            .var("MANIFEST_BEHIND", &self.manifest.1)
            .var("MANIFEST_PHP", MANIFEST_PHP)
    }
}

/// What the live release says of one file.
pub(super) struct Offered {
    pub(super) executable: bool,
    /// The beginning of its SHA-256.
    pub(super) digits: String,
}

/// The live release's files by their paths; `None` if it is no offer. A wrong one costs time and nothing else: the tree digest decides.
pub(super) fn offered(packed: &str) -> Option<BTreeMap<String, Offered>> {
    let packed = BASE64_STANDARD.decode(packed).ok()?;
    files(BufReader::new(GzDecoder::new(packed.as_slice()).take(LONGEST_OFFER)))
}

fn files(lines: impl BufRead) -> Option<BTreeMap<String, Offered>> {
    let mut files = BTreeMap::new();
    for line in lines.split(b'\n') {
        // No file of a bundle has a name that is not UTF-8.
        let Ok(line) = String::from_utf8(line.ok()?) else { continue };
        let (file, path) = line.split_once(' ')?;
        let (executable, digits) = match file.split_at_checked(1)? {
            ("f", digits) => (false, digits),
            ("x", digits) => (true, digits),
            _ => return None,
        };
        if digits.len() != 8 {
            return None;
        }
        files.insert(path.to_owned(), Offered { executable, digits: digits.to_owned() });
    }
    Some(files)
}

/// For `fuzzing`: no digest begins with less than eight digits.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    assert!(files(bytes).into_iter().flatten().all(|(_, file)| file.digits.len() == 8));
}

/// The manifest's text before and behind its list of files; `None` if the bundle's manifest is not written as this version writes it. The server
/// writes it so.
pub(super) fn around_files(bundle: &Bundle<Canonical>, manifest: &Manifest) -> Option<(String, String)> {
    let hollow = Manifest { files: BTreeMap::new(), ..manifest.clone() };
    let text = serde_json::to_string(&hollow).ok()?;
    // In JSON no text of others has a quotation mark by itself.
    let (before, behind) = text.split_once(r#""files":{}"#)?;
    let (before, behind) = (format!(r#"{before}"files":{{"#), format!("}}{behind}"));
    let files = serde_json::to_string(&manifest.files).ok()?;
    let files = files.strip_prefix('{')?.strip_suffix('}')?;
    let written = Sha256Digest::of(format!("{before}{files}{behind}").as_bytes());
    bundle.tree().records().binary_search(&format!("{written}  ./{MANIFEST_PATH}")).ok()?;
    Some((before, behind))
}
