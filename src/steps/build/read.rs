//! Reading a bundle that somebody hands us: everything in it is doubted, nothing is written.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashSet},
    fmt::Display,
    fs::File,
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType, Header};

use super::{
    link,
    pace::{Pace, from_io, into_io},
};
use crate::domain::{
    Failure, Sha256Digest,
    bundle::{MANIFEST_PATH, Manifest},
    path::relative,
};

/// What [`inspect`] saw while it read the whole bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The digest of the bundle file itself.
    pub sha256: Sha256Digest,
    /// Bytes of the bundle file.
    pub size: u64,
    /// Bytes of all files in it, the manifest not counted.
    pub unpacked: u64,
    pub files: usize,
    pub links: usize,
    pub folders: usize,
}

/// What a bundle may ask of whoever unpacks it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of all entries together, headers included.
    pub unpacked: u64,
    pub entries: usize,
    /// Unpacked bytes for each packed one, once [`Limits::RATIO_FROM`] bytes are unpacked.
    pub ratio: u64,
    /// Bytes of the manifest, which is held in memory.
    pub manifest: u64,
}

impl Limits {
    /// Small archives may be as dense as they like: they cannot fill a disk.
    pub const RATIO_FROM: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        // Deflate never exceeds 1032:1, and trees of source code stay below 10:1. 200 leaves room for odd assets.
        Self { unpacked: 8 << 30, entries: 500_000, ratio: 200, manifest: 64 << 20 }
    }
}

/// GNU tar's records of long names are as long as they say; no path that Linux takes is longer than this.
const LONGEST_NAME: u64 = 4096;

/// GNU tar pads to 10 KiB, others to a block; more zeros than this after the end are no padding.
const LONGEST_PADDING: u64 = 1 << 20;

/// Reads a whole bundle and compares it with its own manifest, entry by entry (F9, F10, F18, F27).
///
/// Memory stays small: contents are hashed as they stream by. Blocking; bundles of some hundred megabytes take a second
/// or more, so call it where blocking is fine.
pub fn inspect(path: &Path) -> Result<(Manifest, Inspection), Failure> {
    inspect_within(path, &Limits::default(), &Pace::default())
}

/// [`inspect`] with other limits, and with somebody who watches (`pace` counts bytes of the bundle file).
pub fn inspect_within(path: &Path, limits: &Limits, pace: &Pace) -> Result<(Manifest, Inspection), Failure> {
    let doing = format!("checking the bundle {}", path.display());
    let file = File::open(path).map_err(|error| Failure::world(&doing, error.to_string()))?;
    read_all(file, limits, pace).map_err(|error| Failure { doing, ..from_io(error, damaged) })
}

/// Every failure below is of the same doing; [`inspect_within`] names the bundle.
const DOING: &str = "checking the bundle";

/// The bundle is not what `build-gate` writes.
fn refused(cause: impl Display) -> io::Error {
    into_io(
        Failure::refused(DOING, cause.to_string())
            .hint("build it anew with `stage: build-gate`, and hand it on unchanged"),
    )
}

fn damaged(error: io::Error) -> Failure {
    let cause = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            "it ends in the middle: it was cut short on its way here, or while it was written".to_owned()
        }
        _ => format!("it is not a gzip-compressed tar archive, or it is damaged: {error}"),
    };
    Failure::refused(DOING, cause)
        .hint("download it again; if that does not help, build it anew with `stage: build-gate`")
}

/// What [`inspect_within`] does with a file's bytes.
pub(crate) fn read_all(file: impl Read, limits: &Limits, pace: &Pace) -> io::Result<(Manifest, Inspection)> {
    let packed = Cell::new(0);
    let packed_bytes = PackedBytes { file, hash: Sha256::new(), count: &packed, pace };
    let unpacked_bytes = UnpackedBytes {
        inner: GzDecoder::new(BufReader::with_capacity(128 << 10, packed_bytes)),
        count: 0,
        packed: &packed,
        limits,
    };
    let mut archive = Archive::new(unpacked_bytes);
    let (manifest, contents) = read_entries(&mut archive, limits)?;
    let mut rest = archive.into_inner();
    only_padding(&mut rest)?;
    let mut packed_bytes = rest.inner.into_inner();
    if !packed_bytes.fill_buf()?.is_empty() {
        return Err(refused("something follows after the end of the compressed data"));
    }
    let inspection = Inspection {
        sha256: Sha256Digest::from_hash(packed_bytes.into_inner().hash),
        size: packed.get(),
        unpacked: contents.unpacked,
        files: manifest.files.len(),
        links: manifest.links.len(),
        folders: contents.folders,
    };
    Ok((manifest, inspection))
}

/// Reads to the end, so that gzip's own check sum is compared too.
fn only_padding(rest: &mut impl Read) -> io::Result<()> {
    let mut block = [0; 8192];
    let mut seen = 0;
    loop {
        let n = rest.read(&mut block)?;
        if n == 0 {
            return Ok(());
        }
        seen += n as u64;
        if block[..n].iter().any(|byte| *byte != 0) || seen > LONGEST_PADDING {
            return Err(refused("something follows after the end of the archive"));
        }
    }
}

/// The bundle file: hashed and counted while it is read.
struct PackedBytes<'a, F> {
    file: F,
    hash: Sha256,
    count: &'a Cell<u64>,
    pace: &'a Pace,
}

impl<F: Read> Read for PackedBytes<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A disk that fails is not a damaged bundle.
        let n = self.file.read(buffer).map_err(|error| into_io(Failure::world(DOING, error.to_string())))?;
        self.hash.update(&buffer[..n]);
        self.count.set(self.count.get() + n as u64);
        self.pace.advance(n as u64).map_err(into_io)?;
        Ok(n)
    }
}

/// The archive inside: stops where an archive bomb would go on.
struct UnpackedBytes<'a, R> {
    inner: R,
    count: u64,
    packed: &'a Cell<u64>,
    limits: &'a Limits,
}

impl<R: Read> Read for UnpackedBytes<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.count += n as u64;
        if self.count > self.limits.unpacked {
            return Err(refused(format!("it unpacks to more than {} bytes", self.limits.unpacked)));
        }
        if self.count > Limits::RATIO_FROM && self.count / self.limits.ratio > self.packed.get() {
            return Err(refused(format!(
                "it unpacks to more than {} times its size: an archive bomb",
                self.limits.ratio
            )));
        }
        Ok(n)
    }
}

fn read_entries<R: Read>(archive: &mut Archive<R>, limits: &Limits) -> io::Result<(Manifest, Contents)> {
    // Raw, because only then do we see the records of long names ourselves and can bound them.
    let mut entries = archive.entries()?.raw(true);
    let mut names = LongNames::default();
    let manifest = loop {
        let mut entry = entries.next().ok_or_else(|| refused("it is empty"))??;
        if !names.keep(&mut entry)? {
            break read_manifest(&Item::of(entry.header(), &mut names)?, &mut entry, limits)?;
        }
    };
    let mut audit = Audit::of(&manifest, limits);
    for entry in entries {
        let mut entry = entry?;
        audit.count()?;
        if !names.keep(&mut entry)? {
            audit.accept(Item::of(entry.header(), &mut names)?, &mut entry)?;
        }
    }
    let contents = audit.finish()?;
    Ok((manifest, contents))
}

/// What was counted of the entries.
struct Contents {
    unpacked: u64,
    folders: usize,
}

/// GNU tar's way to write names above 100 bytes: an entry of its own before the one it names.
#[derive(Default)]
struct LongNames {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
}

impl LongNames {
    /// Keeps the name if this entry is one.
    fn keep<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
        let kept = match entry.header().entry_type() {
            EntryType::GNULongName => &mut self.path,
            EntryType::GNULongLink => &mut self.target,
            _ => return Ok(false),
        };
        let size = entry.header().entry_size()?;
        if size > LONGEST_NAME + 1 || kept.is_some() {
            return Err(refused("it contains a name that no file can have"));
        }
        let mut name = Vec::new();
        entry.read_to_end(&mut name)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        *kept = Some(name);
        Ok(true)
    }
}

/// One entry's header, checked as far as it can be on its own.
struct Item {
    path: String,
    kind: ItemKind,
    /// Bytes that follow.
    size: u64,
    mode: u32,
}

enum ItemKind {
    File,
    Folder,
    Link { target: String },
}

impl Item {
    fn of(header: &Header, names: &mut LongNames) -> io::Result<Self> {
        let path = names.path.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let target = names.target.take().or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let path = text(path)?;
        let (kind, path) = match header.entry_type() {
            EntryType::Regular => (ItemKind::File, path),
            EntryType::Directory => (ItemKind::Folder, path.strip_suffix('/').map(str::to_owned).unwrap_or(path)),
            EntryType::Symlink => (ItemKind::Link { target: text(target.unwrap_or_default())? }, path),
            EntryType::Link => return Err(refused(format!("`{}` is a hard link", shown(&path)))),
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                return Err(refused(format!("`{}` is a device", shown(&path))));
            }
            other => {
                return Err(refused(format!(
                    "`{}` is of a kind ({:?}) that no bundle has",
                    shown(&path),
                    char::from(other.as_byte())
                )));
            }
        };
        relative(&path).map_err(|problem| refused(format!("the name `{}` is not usable: {problem}", shown(&path))))?;
        let item = Self { path, kind, size: header.entry_size()?, mode: header.mode()? };
        if item.size > 0 && !matches!(item.kind, ItemKind::File) {
            return Err(refused(format!("`{}` is no file but has contents", item.path)));
        }
        Ok(item)
    }
}

fn text(name: Vec<u8>) -> io::Result<String> {
    String::from_utf8(name)
        .map_err(|error| refused(format!("the name `{}` is not UTF-8", error.into_bytes().escape_ascii())))
}

/// A foreign name, safe to print.
fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_default).collect()
}

fn read_manifest(item: &Item, contents: &mut impl Read, limits: &Limits) -> io::Result<Manifest> {
    if item.path != MANIFEST_PATH || !matches!(item.kind, ItemKind::File) {
        return Err(refused(format!(
            "its first entry is `{}` and not the manifest {MANIFEST_PATH}: `build-gate` did not write it",
            shown(&item.path)
        )));
    }
    if item.size > limits.manifest {
        return Err(refused(format!("its manifest has {} bytes, more than {}", item.size, limits.manifest)));
    }
    let mut json = Vec::new();
    contents.read_to_end(&mut json)?;
    if (json.len() as u64) < item.size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    parse_manifest(&json).and_then(|manifest| check_manifest(&manifest, limits).map(|()| manifest)).map_err(refused)
}

pub(crate) fn parse_manifest(json: &[u8]) -> Result<Manifest, String> {
    // The version first: a newer format may not even parse as ours.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unreadable = |error: serde_json::Error| format!("its manifest cannot be read: {error}");
    let Versioned { version } = serde_json::from_slice(json).map_err(unreadable)?;
    if version != Manifest::VERSION {
        return Err(format!(
            "its manifest has version {version}, this gated-deploy reads version {}: use the same release of the action for building and deploying",
            Manifest::VERSION
        ));
    }
    serde_json::from_slice(json).map_err(unreadable)
}

/// A manifest must make sense by itself before entries are measured by it.
pub(crate) fn check_manifest(manifest: &Manifest, limits: &Limits) -> Result<(), String> {
    if manifest.files.len() + manifest.links.len() > limits.entries {
        return Err(format!("its manifest names more than {} entries", limits.entries));
    }
    let total = manifest.files.values().try_fold(0_u64, |sum, file| sum.checked_add(file.size));
    if total.is_none_or(|total| total > limits.unpacked) {
        return Err(format!("its manifest announces more than {} bytes", limits.unpacked));
    }
    for path in manifest.files.keys().chain(manifest.links.keys()) {
        relative(path).map_err(|problem| format!("its manifest names `{}`: {problem}", shown(path)))?;
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for parent in parents {
            if manifest.files.contains_key(parent) || manifest.links.contains_key(parent) {
                return Err(format!("its manifest puts `{path}` below `{parent}`, which is no folder"));
            }
        }
    }
    for (path, target) in &manifest.links {
        link::destination(path, target)
            .map_err(|problem| format!("the link `{path}` is not usable: {}", shown(&problem)))?;
        if manifest.files.contains_key(path) {
            return Err(format!("its manifest names `{path}` twice"));
        }
    }
    Ok(())
}

/// Compares entries with the manifest, and remembers what is still to come.
struct Audit<'m> {
    manifest: &'m Manifest,
    limits: &'m Limits,
    missing: BTreeSet<&'m str>,
    folders: HashSet<String>,
    entries: usize,
    unpacked: u64,
}

impl<'m> Audit<'m> {
    fn of(manifest: &'m Manifest, limits: &'m Limits) -> Self {
        let missing = manifest.files.keys().chain(manifest.links.keys()).map(String::as_str).collect();
        Self { manifest, limits, missing, folders: HashSet::new(), entries: 1, unpacked: 0 }
    }

    fn count(&mut self) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(refused(format!("it has more than {} entries", self.limits.entries)));
        }
        Ok(())
    }

    fn accept(&mut self, item: Item, contents: &mut impl Read) -> io::Result<()> {
        match &item.kind {
            ItemKind::Folder => self.folder(item),
            ItemKind::Link { target } => self.link(&item, target),
            ItemKind::File => self.file(&item, contents),
        }
    }

    fn folder(&mut self, item: Item) -> io::Result<()> {
        if item.mode & 0o7777 != 0o755 {
            return Err(bad_mode(&item));
        }
        let mut above = Some(item.path.as_str());
        while let Some(path) = above {
            if self.manifest.files.contains_key(path) || self.manifest.links.contains_key(path) || path == MANIFEST_PATH
            {
                return Err(refused(format!(
                    "the folder `{}` is, or lies below, something that is no folder",
                    item.path
                )));
            }
            above = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        match self.folders.replace(item.path) {
            Some(path) => Err(refused(format!("it contains `{path}` twice"))),
            None => Ok(()),
        }
    }

    fn link(&mut self, item: &Item, target: &str) -> io::Result<()> {
        // The manifest's targets have been checked; the entry only has to say the same.
        match self.manifest.links.get(&item.path) {
            Some(expected) if expected == target => self.tick_off(&item.path),
            Some(expected) => Err(refused(format!(
                "the link `{}` leads to `{}`, the manifest says `{expected}`",
                item.path,
                shown(target)
            ))),
            None => Err(self.unexpected(&item.path)),
        }
    }

    fn file(&mut self, item: &Item, contents: &mut impl Read) -> io::Result<()> {
        let expected = self.manifest.files.get(&item.path).ok_or_else(|| self.unexpected(&item.path))?;
        if item.mode & 0o7777 != file_mode(expected.executable) {
            return Err(bad_mode(item));
        }
        if item.size != expected.size {
            return Err(refused(format!(
                "`{}` has {} bytes, the manifest says {}",
                item.path, item.size, expected.size
            )));
        }
        let mut hash = Sha256::new();
        let read = io::copy(contents, &mut hash)?;
        if read < item.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let sha256 = Sha256Digest::from_hash(hash);
        if sha256 != expected.sha256 {
            return Err(refused(format!(
                "`{}` has the SHA-256 {sha256}, the manifest says {}",
                item.path, expected.sha256
            )));
        }
        self.unpacked += read;
        self.tick_off(&item.path)
    }

    fn tick_off(&mut self, path: &str) -> io::Result<()> {
        if self.missing.remove(path) { Ok(()) } else { Err(refused(format!("it contains `{path}` twice"))) }
    }

    fn unexpected(&self, path: &str) -> io::Error {
        if path == MANIFEST_PATH || self.manifest.files.contains_key(path) || self.manifest.links.contains_key(path) {
            refused(format!("it contains `{path}` twice, or as another kind than the manifest says"))
        } else {
            refused(format!("it contains `{path}`, which its manifest does not name"))
        }
    }

    fn finish(self) -> io::Result<Contents> {
        if let Some(first) = self.missing.first() {
            return Err(refused(format!(
                "{} of the entries that its manifest names are not in it, the first is `{first}`",
                self.missing.len()
            )));
        }
        Ok(Contents { unpacked: self.unpacked, folders: self.folders.len() })
    }
}

/// The two modes that files of a bundle have.
pub(super) fn file_mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

fn bad_mode(item: &Item) -> io::Error {
    refused(format!(
        "`{}` has the mode {:04o}; bundles have 0644 and 0755 as the manifest says, and no setuid bits",
        item.path,
        item.mode & 0o7777
    ))
}
