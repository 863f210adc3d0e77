//! The artifact's zip. Nothing is extracted but the bundle and the `.sha256` beside it, and both by their exact names (F9, F54).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use crate::domain::{Failure, Sha256Digest};

/// Entries that an artifact may have. Ours has three.
const ENTRIES: usize = 1000;

/// Bytes of the bundle.
const BUNDLE: u64 = 4 << 30;

/// Bytes of the `.sha256` file: a digest and a name.
const BESIDE: u64 = 4096;

/// A bundle is compressed already; more than this much smaller inside the zip is a bomb.
const RATIO: u64 = 100;

/// What came out.
pub(super) struct Taken {
    pub(super) size: u64,
    pub(super) sha256: Sha256Digest,
    pub(super) beside: Sha256Digest,
    /// Names of what else is there.
    pub(super) others: Vec<String>,
}

/// Why nothing came out.
pub(super) enum Unusable {
    /// It is not what the build should have uploaded.
    Refused { cause: String, hint: &'static str },
    /// This machine could not read or write.
    Local(io::Error),
}

impl Unusable {
    pub(super) fn failure(self, doing: &str) -> Failure {
        match self {
            Self::Refused { cause, hint } => Failure::refused(doing, cause).hint(hint),
            Self::Local(error) => Failure::world(doing, error.to_string()),
        }
    }

    fn unsafe_zip(cause: impl Into<String>) -> Self {
        Self::Refused {
            cause: cause.into(),
            hint: "no build of ours makes such a zip: find out who made this artifact before building again",
        }
    }

    fn broken(error: &zip::result::ZipError) -> Self {
        Self::Refused {
            cause: format!("the zip cannot be read: {error}"),
            hint: "build again, and upload with actions/upload-artifact",
        }
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Local(error)
    }
}

/// Takes `name` and `name.sha256` out of the zip; `create` makes the file for the bundle.
pub(super) fn bundle(zip: &Path, name: &str, create: impl FnOnce() -> io::Result<File>) -> Result<Taken, Unusable> {
    let mut file = File::open(zip)?;
    must_be_zip(&mut file)?;
    // Read by the central directory: upload-artifact streams its zips, and their local headers have no sizes.
    let mut zip = ZipArchive::new(io::BufReader::new(file)).map_err(|error| Unusable::broken(&error))?;
    let entries = survey(&mut zip)?;
    let beside_name = format!("{name}.sha256");
    let find = |wanted: &str| {
        entries.iter().position(|entry| entry == wanted).ok_or_else(|| Unusable::Refused {
            cause: format!(
                "it does not hold {wanted}, but {}",
                if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") }
            ),
            hint: "upload the bundle and its .sha256 together, from one folder, as the build-gate stage leaves them",
        })
    };
    let (bundle_at, beside_at) = (find(name)?, find(&beside_name)?);
    let beside = parse_beside(&read_text(&mut zip, beside_at, &beside_name)?, name)?;
    let (size, sha256) = copy(&mut zip, bundle_at, name, &mut create()?)?;
    let others = entries.into_iter().filter(|entry| entry != name && *entry != beside_name).collect();
    Ok(Taken { size, sha256, beside, others })
}

/// upload-artifact stores one raw file when it is told `archive: false`.
fn must_be_zip(file: &mut File) -> Result<(), Unusable> {
    use std::io::{Seek as _, SeekFrom};
    let mut magic = [0; 4];
    let read = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    match &magic[..read] {
        b"PK\x03\x04" | b"PK\x05\x06" => Ok(()),
        _ => Err(Unusable::Refused {
            cause: "the artifact is one raw file, not a zip".to_owned(),
            hint: "upload the bundle and its .sha256 with actions/upload-artifact, without `archive: false`",
        }),
    }
}

/// The names of all entries, each of which is one that a careful build could have made (runner-contract F.1).
fn survey<R: Read + io::Seek>(zip: &mut ZipArchive<R>) -> Result<Vec<String>, Unusable> {
    if zip.len() > ENTRIES {
        return Err(Unusable::unsafe_zip(format!("it holds {} files, at most {ENTRIES} are expected", zip.len())));
    }
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| Unusable::broken(&error))?;
        let name = entry.name().map_err(|error| Unusable::broken(&error))?.into_owned();
        let bad = |what: &str| Err(Unusable::unsafe_zip(format!("its entry `{}` {what}", name.escape_default())));
        if name.starts_with('/') || name.contains(['\\', '\0']) || name.split('/').any(|part| part == "..") {
            return bad("has a name that leads outside");
        }
        if !seen.insert(name.to_lowercase()) {
            return bad("is there twice");
        }
        if entry.is_symlink() {
            return bad("is a symbolic link");
        }
        if entry.encrypted() {
            return bad("is encrypted");
        }
        names.push(name);
    }
    Ok(names)
}

fn read_text<R: Read + io::Seek>(zip: &mut ZipArchive<R>, index: usize, name: &str) -> Result<String, Unusable> {
    let entry = zip.by_index(index).map_err(|error| Unusable::broken(&error))?;
    let mut text = String::new();
    entry.take(BESIDE + 1).read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
    if text.len() as u64 > BESIDE {
        return Err(Unusable::unsafe_zip(format!("{name} is larger than {BESIDE} bytes")));
    }
    Ok(text)
}

/// One line: the digest, a space, a space or an asterisk, and exactly the bundle's name (the form of `sha256sum`).
fn parse_beside(text: &str, name: &str) -> Result<Sha256Digest, Unusable> {
    let parsed = text.strip_suffix('\n').unwrap_or(text).split_once(' ').and_then(|(digest, rest)| {
        let named = rest.strip_prefix([' ', '*'])?;
        (named == name).then(|| digest.parse().ok())?
    });
    parsed.ok_or_else(|| Unusable::Refused {
        cause: format!(
            "{name}.sha256 is not the line `<64 hexadecimal digits>  {name}`, but `{}`",
            text.chars().take(200).collect::<String>().escape_default()
        ),
        hint: "leave the file as the build-gate stage writes it",
    })
}

fn copy<R: Read + io::Seek>(
    zip: &mut ZipArchive<R>,
    index: usize,
    name: &str,
    to: &mut File,
) -> Result<(u64, Sha256Digest), Unusable> {
    let mut entry = zip.by_index(index).map_err(|error| Unusable::broken(&error))?;
    let declared = entry.size();
    if declared > BUNDLE || declared / RATIO > entry.compressed_size() {
        return Err(Unusable::unsafe_zip(format!(
            "{name} says that {} bytes in the zip become {declared}",
            entry.compressed_size()
        )));
    }
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = entry.read(&mut buffer).map_err(|error| unreadable(name, &error))?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > declared {
            return Err(Unusable::unsafe_zip(format!("{name} is larger than the {declared} bytes it says")));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
    if size != declared {
        return Err(Unusable::unsafe_zip(format!("{name} has {size} bytes and says {declared}")));
    }
    Ok((size, Sha256Digest::from_hash(hasher)))
}

fn unreadable(name: &str, error: &io::Error) -> Unusable {
    Unusable::Refused {
        cause: format!("{name} cannot be read from the zip: {error}"),
        hint: "build again: the artifact is broken",
    }
}
