//! The deployment bundle: its name, its manifest, and the proof that it was checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{CommitSha, Measure, Sha256Digest};

/// The manifest's own place inside the bundle (F9: it names every file, without patterns).
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

/// What a release writes on the server in its new folder, beside the shared folders: files in these folders.
const WRITTEN: [&str; 2] = ["bootstrap/cache", "public"];

/// Why a release of this bundle would write or remove something through a link of the bundle, and so outside of its own folder (SE3, FD21).
///
/// `shared` are the folders that the server links from `shared/`. What stands in the place of such a folder is removed before; a link among
/// the folders above it would make that something else's.
pub fn written_through_a_link(manifest: &Manifest, shared: &[String]) -> Option<String> {
    let in_the_way = |path: &str| match manifest.links.get(path) {
        Some(target) => Some(InTheWay::Link(target)),
        None => manifest.files.contains_key(path).then_some(InTheWay::File),
    };
    through_a_link(in_the_way, shared)
}

/// What is no folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay<'a> {
    /// With its target.
    Link(&'a str),
    File,
}

/// The same for a tree that has no manifest yet; `in_the_way` says what of it is no folder.
pub fn through_a_link<'a>(in_the_way: impl Fn(&str) -> Option<InTheWay<'a>>, shared: &[String]) -> Option<String> {
    let above = |path: &str| path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>();
    for path in shared {
        for folder in above(path) {
            let what = match in_the_way(&folder) {
                Some(InTheWay::Link(target)) => format!("a link to `{target}`"),
                Some(InTheWay::File) => "a file".to_owned(),
                None => continue,
            };
            return Some(format!("`{folder}` is {what}, and the shared folder `{path}` is below it"));
        }
    }
    // A folder that is shared as a whole is nothing of the bundle's.
    let shares = |path: &str| shared.iter().any(|shared| shared == path);
    for path in WRITTEN {
        for folder in above(path).into_iter().chain([path.to_owned()]).filter(|folder| !shares(folder)) {
            if let Some(InTheWay::Link(target)) = in_the_way(&folder) {
                return Some(format!("`{folder}` is a link to `{target}`, and the release writes files below it"));
            }
        }
    }
    None
}

/// What is in the unpacked bundle beside what its manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmanifested {
    /// The digest of the manifest itself.
    pub manifest: Sha256Digest,
    pub folders: BTreeSet<String>,
}

/// Everything in an unpacked bundle, in sorted records that the server can make of a folder as well: `d`, `f` or `x` (an executable file)
/// and the path; `l`, the path and where the link leads; and the digest of each file, as `sha256sum` prints it. No record has a line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing(Vec<String>);

impl Listing {
    pub fn of(manifest: &Manifest, beside: &Unmanifested) -> Self {
        let mut records = vec![format!("f ./{MANIFEST_PATH}"), format!("{}  ./{MANIFEST_PATH}", beside.manifest)];
        records.extend(beside.folders.iter().map(|path| format!("d ./{path}")));
        records.extend(manifest.links.iter().map(|(path, target)| format!("l ./{path}\t{target}")));
        for (path, file) in &manifest.files {
            records.push(format!("{} ./{path}", if file.executable { 'x' } else { 'f' }));
            records.push(format!("{}  ./{path}", file.sha256));
        }
        records.sort_unstable();
        Self(records)
    }

    pub fn records(&self) -> &[String] {
        &self.0
    }

    /// Of all records, each ended by NUL.
    pub fn sha256(&self) -> Sha256Digest {
        let mut measure = Measure::default();
        for record in &self.0 {
            measure.add(record.as_bytes());
            measure.add(b"\0");
        }
        measure.end().0
    }
}

/// State of a bundle whose bytes came from somewhere and have not been compared with anything yet.
#[derive(Debug)]
pub struct Fetched;

/// State of a bundle whose bytes were compared with every digest we know.
#[derive(Debug)]
pub struct Verified;

/// State of a bundle that was read whole and written anew, in the canonical form.
#[derive(Debug)]
pub struct Canonical {
    size: u64,
    sha256: Sha256Digest,
    tree: Listing,
}

/// A bundle file on the runner. Only [`Bundle::<Fetched>::verify`] makes a `Bundle<Verified>`, only that can be written anew, and only what was
/// written anew can be uploaded.
#[derive(Debug)]
pub struct Bundle<State> {
    pub path: PathBuf,
    /// Bytes, as it was downloaded.
    pub size: u64,
    /// The digest of the bytes as they were downloaded: the build, staging and the ledger know the bundle by it.
    pub sha256: Sha256Digest,
    state: State,
}

impl Bundle<Fetched> {
    pub fn fetched(path: PathBuf, size: u64, sha256: Sha256Digest) -> Self {
        Self { path, size, sha256, state: Fetched }
    }

    /// Compares with the digest in the `.sha256` file beside the bundle.
    pub fn verify(self, beside: &Sha256Digest) -> Result<Bundle<Verified>, String> {
        if self.sha256 == *beside {
            Ok(Bundle { path: self.path, size: self.size, sha256: self.sha256, state: Verified })
        } else {
            Err(format!("its SHA-256 is {}, but the .sha256 file beside it says {beside}", self.sha256))
        }
    }
}

impl Bundle<Verified> {
    /// `size` and `sha256` are of the file that now lies at the bundle's path; `tree` is what it unpacks to.
    pub fn written_anew(self, size: u64, sha256: Sha256Digest, tree: Listing) -> Bundle<Canonical> {
        Bundle { path: self.path, size: self.size, sha256: self.sha256, state: Canonical { size, sha256, tree } }
    }
}

impl Bundle<Canonical> {
    /// Bytes of the file that is sent.
    pub fn sent_size(&self) -> u64 {
        self.state.size
    }

    /// The digest of the file that is sent.
    pub fn sent_sha256(&self) -> &Sha256Digest {
        &self.state.sha256
    }

    /// What it unpacks to.
    pub fn tree(&self) -> &Listing {
        &self.state.tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The comparison of a download with the digest beside it, with each bit turned that a whole bundle could have (F69).
    #[test]
    fn f69_a_bundle_with_one_bit_turned_is_refused() {
        let fetched = |bytes: &[u8]| {
            let mut measure = Measure::default();
            bytes.chunks(7).for_each(|part| measure.add(part));
            let (sha256, size) = measure.end();
            Bundle::fetched("bundle.tar.gz".into(), size, sha256)
        };
        let mut bytes = vec![7; 130];
        let beside = Sha256Digest::of(&bytes);
        assert!(fetched(&bytes).verify(&beside).is_ok());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let refused = fetched(&bytes).verify(&beside).err();
            assert!(refused.is_some_and(|cause| cause.ends_with(&beside.to_string())), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(fetched(&bytes[..129]).verify(&beside).is_err(), "one byte less");
    }
}
