//! The artifact's zip. Nothing is extracted but the bundle and the `.sha256` beside it, and both by their exact names (F9, F54).

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use crate::{
    domain::{Failure, Sha256Digest},
    steps::build::pace::Pace,
};

const DOING: &str = "taking the bundle out of the artifact";

/// Entries that an artifact may have. Ours has three.
const ENTRIES: usize = 1000;

/// Bytes of the bundle.
const BUNDLE: u64 = 4 << 30;

/// Bytes of the `.sha256` file: a digest and a name.
const BESIDE: u64 = 4096;

/// A bundle is compressed already; more than this much smaller inside the zip is a bomb.
const RATIO: u64 = 100;

/// What came out.
pub(crate) struct Taken {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256Digest,
    pub(crate) beside: Sha256Digest,
    /// Names of what else is there.
    pub(crate) others: Vec<String>,
}

/// The artifact is not what the build should have uploaded.
fn refused(cause: impl Into<String>, hint: &str) -> Failure {
    Failure::refused(DOING, cause).hint(hint)
}

fn unsafe_zip(cause: impl Into<String>) -> Failure {
    refused(cause, "no build of ours makes such a zip: find out who made this artifact before building again")
}

fn broken(error: &zip::result::ZipError) -> Failure {
    refused(format!("the zip cannot be read: {error}"), "build again, and upload with actions/upload-artifact")
}

/// This machine could not read or write.
fn local(error: &io::Error) -> Failure {
    Failure::world(DOING, error.to_string())
}

/// Takes `name` and `name.sha256` out of the zip; `create` makes the file for the bundle.
pub(super) fn bundle(
    zip: &Path,
    name: &str,
    create: impl FnOnce() -> io::Result<File>,
    pace: &Pace,
) -> Result<Taken, Failure> {
    let file = File::open(zip).map_err(|error| local(&error))?;
    taken(io::BufReader::new(file), name, create, pace)
}

/// What [`bundle`] does with a zip's bytes.
pub(crate) fn taken<W: io::Write>(
    mut zip: impl Read + Seek,
    name: &str,
    create: impl FnOnce() -> io::Result<W>,
    pace: &Pace,
) -> Result<Taken, Failure> {
    must_be_zip(&mut zip)?;
    // Read by the central directory: upload-artifact streams its zips, and their local headers have no sizes.
    let mut zip = ZipArchive::new(zip).map_err(|error| broken(&error))?;
    let entries = survey(&mut zip)?;
    let beside_name = format!("{name}.sha256");
    let find = |wanted: &str| {
        entries.iter().position(|entry| entry == wanted).ok_or_else(|| {
            let held = if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") };
            refused(
                format!("it does not hold {wanted}, but {held}"),
                "upload the bundle and its .sha256 together, from one folder, as the build-gate stage leaves them",
            )
        })
    };
    let (bundle_at, beside_at) = (find(name)?, find(&beside_name)?);
    let beside = parse_beside(&read_text(&mut zip, beside_at, &beside_name)?, name)?;
    let (size, sha256) = copy(&mut zip, bundle_at, name, &mut create().map_err(|error| local(&error))?, pace)?;
    let others = entries.into_iter().filter(|entry| entry != name && *entry != beside_name).collect();
    Ok(Taken { size, sha256, beside, others })
}

/// upload-artifact stores one raw file when it is told `archive: false`.
fn must_be_zip(file: &mut (impl Read + Seek)) -> Result<(), Failure> {
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(|error| local(&error))?;
    file.rewind().map_err(|error| local(&error))?;
    match &magic[..read] {
        b"PK\x03\x04" | b"PK\x05\x06" => Ok(()),
        _ => Err(refused(
            "the artifact is one raw file, not a zip",
            "upload the bundle and its .sha256 with actions/upload-artifact, without `archive: false`",
        )),
    }
}

/// The names of all entries, each of which is one that a careful build could have made (runner-contract F.1).
fn survey<R: Read + Seek>(zip: &mut ZipArchive<R>) -> Result<Vec<String>, Failure> {
    if zip.len() > ENTRIES {
        return Err(unsafe_zip(format!("it holds {} files, at most {ENTRIES} are expected", zip.len())));
    }
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| broken(&error))?;
        let name = entry.name().map_err(|error| broken(&error))?.into_owned();
        let bad = |what: &str| Err(unsafe_zip(format!("its entry `{}` {what}", name.escape_default())));
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

fn read_text<R: Read + Seek>(zip: &mut ZipArchive<R>, index: usize, name: &str) -> Result<String, Failure> {
    let entry = zip.by_index(index).map_err(|error| broken(&error))?;
    let mut text = String::new();
    entry.take(BESIDE + 1).read_to_string(&mut text).map_err(|error| unreadable(name, &error))?;
    if text.len() as u64 > BESIDE {
        return Err(unsafe_zip(format!("{name} is larger than {BESIDE} bytes")));
    }
    Ok(text)
}

/// One line: the digest, a space, a space or an asterisk, and exactly the bundle's name (the form of `sha256sum`).
fn parse_beside(text: &str, name: &str) -> Result<Sha256Digest, Failure> {
    let parsed = text.strip_suffix('\n').unwrap_or(text).split_once(' ').and_then(|(digest, rest)| {
        let named = rest.strip_prefix([' ', '*'])?;
        if named == name && digest.len() == 64 { digest.parse().ok() } else { None }
    });
    parsed.ok_or_else(|| {
        let said: String = text.chars().take(200).collect();
        refused(
            format!("{name}.sha256 is not the line `<64 hexadecimal digits>  {name}`, but `{}`", said.escape_default()),
            "leave the file as the build-gate stage writes it",
        )
    })
}

fn copy<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    index: usize,
    name: &str,
    to: &mut impl io::Write,
    pace: &Pace,
) -> Result<(u64, Sha256Digest), Failure> {
    let mut entry = zip.by_index(index).map_err(|error| broken(&error))?;
    let declared = entry.size();
    if declared > BUNDLE || declared / RATIO > entry.compressed_size() {
        return Err(unsafe_zip(format!(
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
            return Err(unsafe_zip(format!("{name} is larger than the {declared} bytes it says")));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read]).map_err(|error| local(&error))?;
        pace.advance(read as u64)?;
    }
    if size != declared {
        return Err(unsafe_zip(format!("{name} has {size} bytes and says {declared}")));
    }
    Ok((size, Sha256Digest::from_hash(hasher)))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    refused(format!("{name} cannot be read from the zip: {error}"), "build again: the artifact is broken")
}
