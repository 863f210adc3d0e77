//! The deployment bundle: its name, its manifest, and the proof that it was checked.

use std::{collections::BTreeMap, marker::PhantomData, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{CommitSha, Sha256Digest};

/// The manifest's own place inside the bundle (F9: it names every file, nobody globs).
pub const MANIFEST_PATH: &str = ".gated-deploy-manifest.json";

/// `deployment-bundle-{sha}.tar.gz`
pub fn file_name(commit: &CommitSha) -> String {
    format!("deployment-bundle-{commit}.tar.gz")
}

/// What a bundle says of itself. Written into the bundle as [`MANIFEST_PATH`], its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format; readers refuse what they do not know.
    pub version: u32,
    pub commit: CommitSha,
    /// The PHP versions that Composer's platform check asks for, and the one that built it if known (F23).
    #[serde(default)]
    pub php: PhpVersions,
    /// Digests of the lock files found in the tree, by path (F24).
    #[serde(default)]
    pub locks: BTreeMap<String, Sha256Digest>,
    /// Every file in the bundle but the manifest itself, by path.
    pub files: BTreeMap<String, FileEntry>,
    /// Symbolic links: path to target, relative and inside the tree.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

impl Manifest {
    pub const VERSION: u32 = 1;
}

/// What a release asks of the server's PHP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhpVersions {
    /// The `php` entry of `config.platform` or `require` in composer.json, as written there.
    #[serde(default)]
    pub required: Option<String>,
    /// The lowest PHP_VERSION_ID that vendor/composer/platform_check.php accepts (80100 is 8.1.0).
    #[serde(default)]
    pub minimum_id: Option<u32>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub sha256: Sha256Digest,
    /// Bytes.
    pub size: u64,
    /// Executable for its owner; modes are normalised to 0644 and 0755.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// State of a bundle whose bytes came from somewhere and have not been compared with anything yet.
#[derive(Debug)]
pub struct Fetched;

/// State of a bundle whose bytes were compared with every digest we know.
#[derive(Debug)]
pub struct Verified;

/// A bundle file on the runner. Only [`Bundle::<Fetched>::verify`] makes a `Bundle<Verified>`, and only that can be uploaded.
#[derive(Debug)]
pub struct Bundle<State> {
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// The digest of the bytes as they were read from the disk or the network.
    pub sha256: Sha256Digest,
    state: PhantomData<State>,
}

impl Bundle<Fetched> {
    pub fn fetched(path: PathBuf, size: u64, sha256: Sha256Digest) -> Self {
        Self { path, size, sha256, state: PhantomData }
    }

    /// Compares with the digest in the `.sha256` file beside the bundle.
    pub fn verify(self, beside: &Sha256Digest) -> Result<Bundle<Verified>, String> {
        if self.sha256 == *beside {
            Ok(Bundle { path: self.path, size: self.size, sha256: self.sha256, state: PhantomData })
        } else {
            Err(format!("its SHA-256 is {}, the .sha256 file beside it says {beside}", self.sha256))
        }
    }
}
