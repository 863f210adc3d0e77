//! The artifact's zip. Nothing is extracted but the bundle and the `.sha256` beside it, and both by their exact names (F9, F54).

use std::{
    collections::HashSet,
    fmt::Display,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use zip::ZipArchive;

use crate::{
    domain::{Failure, Measure, Sha256Digest},
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

fn unread(error: &dyn Display) -> Failure {
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
    must_be_listed_once(&mut zip)?;
    // Read by the central directory: upload-artifact streams its zips, and their local headers have no sizes.
    let mut zip = ZipArchive::new(zip).map_err(|error| unread(&error))?;
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

/// Reads the list of entries before the library does: that takes as many into memory as are announced, and of two with one name it
/// forgets the first, so that two programs could see two bundles in one zip (APPNOTE 4.3.12 to 4.3.16).
fn must_be_listed_once(zip: &mut (impl Read + Seek)) -> Result<(), Failure> {
    let list = find_list(zip).map_err(|error| unread(&error))?;
    if list.entries > ENTRIES as u64 {
        return Err(unsafe_zip(format!("it holds {} files, at most {ENTRIES} are expected", list.entries)));
    }
    let mut names = HashSet::new();
    zip.seek(SeekFrom::Start(list.begins)).map_err(|error| unread(&error))?;
    let mut left = list.ends - list.begins;
    for _ in 0..list.entries {
        let (name, length) = read_record(zip).map_err(|error| unread(&error))?;
        left = left.checked_sub(length).ok_or_else(|| unread(&"an entry is longer than the list of entries"))?;
        if let Some(name) = names.replace(name) {
            return Err(unsafe_zip(format!("its entry `{}` is there twice", name.escape_ascii())));
        }
    }
    match left {
        0 => zip.rewind().map_err(|error| local(&error)),
        _ => Err(unread(&"the list of entries holds more than it says")),
    }
}

/// Where the list of entries is, and how many it says it has.
struct List {
    entries: u64,
    begins: u64,
    ends: u64,
}

/// A zip ends in one record, behind which only its comment stands. A comment of 64 KiB is possible, and no tool of ours writes one.
fn find_list(zip: &mut (impl Read + Seek)) -> io::Result<List> {
    const END: usize = 22;
    const LOCATOR: u64 = 20;
    let size = zip.seek(SeekFrom::End(0))?;
    let from = size.saturating_sub(1 << 16);
    zip.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    zip.take(1 << 16).read_to_end(&mut tail)?;
    let at = tail
        .windows(END)
        .rposition(|end| end.starts_with(b"PK\x05\x06"))
        .filter(|at| at + END + usize::from(short(&tail, at + 20)) == tail.len())
        .ok_or_else(|| io::Error::other("its end is missing"))?;
    let end = from + at as u64;
    let mut list = List { entries: short(&tail, at + 10).into(), begins: long(&tail, at + 16).into(), ends: end };
    let mut length = u64::from(long(&tail, at + 12));
    // Where the numbers do not fit, a larger record has them, and one before this record says where that is.
    if let Some(locator) = end.checked_sub(LOCATOR) {
        let mut bytes = [0; LOCATOR as usize];
        zip.seek(SeekFrom::Start(locator))?;
        zip.read_exact(&mut bytes)?;
        if bytes.starts_with(b"PK\x06\x07") {
            let (larger, mut record) = (wide(&bytes, 8), [0; 56]);
            zip.seek(SeekFrom::Start(larger))?;
            zip.read_exact(&mut record)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(io::Error::other("its end leads nowhere"));
            }
            list = List { entries: wide(&record, 32), begins: wide(&record, 48), ends: larger };
            length = wide(&record, 40);
        }
    }
    if list.begins.checked_add(length) != Some(list.ends) {
        return Err(io::Error::other("its list of entries is not where it says"));
    }
    Ok(list)
}

/// One entry of the list: its name, and the bytes of the record.
fn read_record(zip: &mut impl Read) -> io::Result<(Vec<u8>, u64)> {
    let mut head = [0; 46];
    zip.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(io::Error::other("something else stands in its list of entries"));
    }
    let mut name = vec![0; short(&head, 28).into()];
    zip.read_exact(&mut name)?;
    let rest = u64::from(short(&head, 30)) + u64::from(short(&head, 32));
    if io::copy(&mut zip.take(rest), &mut io::sink())? < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = (head.len() + name.len()) as u64 + rest;
    Ok((name, length))
}

/// Numbers of a zip are little-endian. `at` is ours: the bytes are there.
fn short(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|eight| eight.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The names of all entries, each of which is one that a careful build could have made (runner-contract F.1).
fn survey<R: Read + Seek>(zip: &mut ZipArchive<R>) -> Result<Vec<String>, Failure> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| unread(&error))?;
        let name = entry.name().map_err(|error| unread(&error))?.into_owned();
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
    let entry = zip.by_index(index).map_err(|error| unread(&error))?;
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
    let mut entry = zip.by_index(index).map_err(|error| unread(&error))?;
    let declared = entry.size();
    if declared > BUNDLE || declared / RATIO > entry.compressed_size() {
        return Err(unsafe_zip(format!(
            "{name} says that {} bytes in the zip become {declared}",
            entry.compressed_size()
        )));
    }
    let mut measure = Measure::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = entry.read(&mut buffer).map_err(|error| unreadable(name, &error))?;
        if read == 0 {
            break;
        }
        measure.add(&buffer[..read]);
        if measure.size() > declared {
            return Err(unsafe_zip(format!("{name} is larger than the {declared} bytes it says")));
        }
        to.write_all(&buffer[..read]).map_err(|error| local(&error))?;
        pace.advance(read as u64)?;
    }
    let (sha256, size) = measure.end();
    if size != declared {
        return Err(unsafe_zip(format!("{name} has {size} bytes and says {declared}")));
    }
    Ok((size, sha256))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    refused(format!("{name} cannot be read from the zip: {error}"), "build again: the artifact is broken")
}
