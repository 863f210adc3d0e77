//! Reading a foreign bundle: nothing in it is trusted, and nothing is written.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write},
    path::Path,
};

use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::{
    archive::{Entry, Form, Kind, Reader, Writer, file_mode, refused, shown},
    composer,
    key_scan::KeyScan,
    keys::{self, Key},
    link::{self, LeadsTo},
    pace::{Pace, from_io, into_io},
    pack::{self, Packed},
    rules::{self, Rule, Treatment},
};
use crate::{
    domain::{
        CommitSha, Failure, Sha256Digest,
        bundle::{FileEntry, MANIFEST_PATH, Manifest, PhpVersions, Unmanifested},
        path::relative,
    },
    errors::{build, general},
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
    /// What is in the unpacked bundle beside what its manifest names.
    pub tree: Unmanifested,
}

impl Inspection {
    fn of((sha256, size): (Sha256Digest, u64), manifest: &Manifest, contents: Contents) -> Self {
        Self {
            sha256,
            size,
            unpacked: contents.unpacked,
            files: manifest.files.len(),
            links: manifest.links.len(),
            folders: contents.tree.folders.len(),
            tree: contents.tree,
        }
    }
}

/// Limits of a bundle when it is unpacked.
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

/// Reads a whole bundle and compares it with its own manifest, entry by entry (F9, F10, F18, F27).
///
/// Memory stays small: contents are hashed as they stream by. Blocking; bundles of some hundred megabytes take a second
/// or more, so call it where blocking is fine.
pub fn inspect(path: &Path) -> Result<(Manifest, Inspection), Failure> {
    inspect_within(path, &Limits::default(), &Pace::default())
}

/// [`inspect`] with other limits, cancellable; `pace` counts bytes of the bundle file.
pub fn inspect_within(path: &Path, limits: &Limits, pace: &Pace) -> Result<(Manifest, Inspection), Failure> {
    let doing = format!("checking the bundle {}", path.display());
    let file = File::open(path).map_err(|error| general::runner_file(&doing, error))?;
    read_all(file, limits, pace).map_err(|error| Failure { doing, ..from_io(error, damaged) })
}

/// A bundle that was read whole, and written anew in the canonical form.
#[derive(Debug)]
pub struct Rewritten {
    pub manifest: Manifest,
    /// Of the bundle as it was before.
    pub inspection: Inspection,
    pub by: Maker,
    /// Of the bundle as it is now.
    pub sent: Packed,
}

/// Reads a whole bundle like [`inspect_within`], also one that plain `tar` made, and writes it anew to `to`, an empty file. What no
/// manifest says is taken to be of `commit`.
pub fn rewrite_within(
    path: &Path,
    to: File,
    commit: &CommitSha,
    limits: &Limits,
    pace: &Pace,
) -> Result<Rewritten, Failure> {
    let doing = format!("checking the bundle {}", path.display());
    let failed = |error: io::Error| Failure { doing: doing.clone(), ..from_io(error, damaged) };
    let local = |error: io::Error| from_io(error, |error| general::runner_file(&doing, error));
    let open = || File::open(path).map_err(local_io);
    let to = Local(pack::compressed(to).map_err(local)?);
    let Rewriting { manifest, inspection, to, by } = rewrite_all(open, to, commit, limits, pace).map_err(failed)?;
    let sent = pack::finished(to.0).map_err(local)?;
    Ok(Rewritten { manifest, inspection, by, sent })
}

/// A writer whose failures are this machine's, and no damage of the bundle.
struct Local<W>(W);

impl<W: Write> Write for Local<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(local_io)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// This machine's failure, carried through what reads the bundle.
fn local_io(error: io::Error) -> io::Error {
    into_io(general::runner_file(build::CHECKING, error))
}

fn damaged(error: io::Error) -> Failure {
    build::bundle_damaged(&error)
}

/// What [`inspect_within`] does with a file's bytes.
pub(crate) fn read_all(file: impl Read, limits: &Limits, pace: &Pace) -> io::Result<(Manifest, Inspection)> {
    let count = Cell::new(0);
    let mut reader = Reader::new(unpacked(file, &count, limits, pace), Form::Canonical);
    let first = reader.next()?.ok_or_else(|| refused("it is empty"))?;
    let (manifest, contents, _) = read_canonical(first, &mut reader, Writer::new(io::sink()), limits)?;
    let inspection = Inspection::of(packed_end(reader)?, &manifest, contents);
    Ok((manifest, inspection))
}

/// A bundle in the form in which it is sent.
#[derive(Debug)]
pub(crate) struct Rewriting<W> {
    pub(crate) manifest: Manifest,
    /// Of the bundle as it was before.
    pub(crate) inspection: Inspection,
    /// What took the canonical archive.
    pub(crate) to: W,
    pub(crate) by: Maker,
}

/// Who made a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// `build-gate`, of any release of the action: the archive was in the canonical form.
    BuildGate,
    /// Some tar, of a tree that has a manifest of `build-gate`.
    Tar,
    /// Some tar, of a tree without a manifest.
    TarOfATree(Unchecked),
}

/// What `build-gate` would have reported of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unchecked {
    /// These entries were left out, and why.
    pub left_out: Vec<(String, &'static str)>,
    /// What is shipped although it looks like a private key.
    pub key_note: Option<String>,
}

/// Reads a whole bundle like [`read_all`], also one that plain `tar` made, and writes its archive to `to` in the canonical form.
///
/// `open` gives the bundle's bytes from their beginning. A bundle of `build-gate` is read once. One of another maker is read twice: its
/// manifest, which comes first in the canonical form, is known at its end. A manifest that is made here is of `commit`.
pub(crate) fn rewrite_all<F: Read, W: Write>(
    mut open: impl FnMut() -> io::Result<F>,
    to: W,
    commit: &CommitSha,
    limits: &Limits,
    pace: &Pace,
) -> io::Result<Rewriting<W>> {
    let count = Cell::new(0);
    let mut reader = Reader::new(unpacked(open()?, &count, limits, pace), Form::Plain);
    let first = reader.next()?.ok_or_else(|| refused("it is empty"))?;
    if first.path == MANIFEST_PATH && first.canonical {
        reader.set_form(Form::Canonical);
        let (manifest, contents, to) = read_canonical(first, &mut reader, Writer::new(to), limits)?;
        let inspection = Inspection::of(packed_end(reader)?, &manifest, contents);
        return Ok(Rewriting { manifest, inspection, to, by: Maker::BuildGate });
    }
    let survey = Survey::of(first, &mut reader, commit, limits, pace)?;
    drop(reader);
    let count = Cell::new(0);
    let mut reader = Reader::new(unpacked(open()?, &count, limits, pace), Form::Plain);
    let (manifest, contents, to) = read_plain(&survey, &mut reader, Writer::new(to), limits)?;
    let inspection = Inspection::of(packed_end(reader)?, &manifest, contents);
    let by = match survey {
        Survey { given: true, .. } => Maker::Tar,
        Survey { left_out, key_note, .. } => Maker::TarOfATree(Unchecked { left_out, key_note }),
    };
    Ok(Rewriting { manifest, inspection, to, by })
}

/// A file that a tar read as a stream of blocks, and what was read of the bundle at its end.
type Unpacked<'a, F> = UnpackedBytes<'a, GzDecoder<BufReader<PackedBytes<'a, F>>>>;

fn unpacked<'a, F: Read>(file: F, count: &'a Cell<u64>, limits: &'a Limits, pace: &'a Pace) -> Unpacked<'a, F> {
    let packed_bytes = PackedBytes { file, hash: Sha256::new(), count, pace };
    UnpackedBytes {
        inner: GzDecoder::new(BufReader::with_capacity(128 << 10, packed_bytes)),
        count: 0,
        packed: count,
        limits,
    }
}

/// The digest and size of the bundle's file, behind whose one gzip member nothing may follow.
fn packed_end<F: Read>(reader: Reader<Unpacked<'_, F>>) -> io::Result<(Sha256Digest, u64)> {
    let mut packed = reader.into_inner().inner.into_inner();
    if !packed.fill_buf()?.is_empty() {
        return Err(refused("there is data after the end of the compressed data"));
    }
    let packed = packed.into_inner();
    Ok((Sha256Digest::from_hash(packed.hash), packed.count.get()))
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
        let n = self.file.read(buffer).map_err(local_io)?;
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

/// What was counted of the entries.
struct Contents {
    unpacked: u64,
    tree: Unmanifested,
}

/// Gives a file of a bundle that was read before, wherever `wanted` says yes to its path and size.
pub(crate) fn each_file(
    path: &Path,
    wanted: impl Fn(&str, u64) -> bool,
    mut give: impl FnMut(String, Vec<u8>) -> bool,
) -> io::Result<()> {
    let mut reader = Reader::new(GzDecoder::new(BufReader::new(File::open(path)?)), Form::Canonical);
    while let Some(entry) = reader.next()? {
        if entry.kind == Kind::File && wanted(&entry.path, entry.size) {
            let mut contents = Vec::new();
            reader.read_to_end(&mut contents)?;
            if !give(entry.path, contents) {
                break;
            }
        }
    }
    Ok(())
}

/// The bundle of `build-gate`: its manifest first, then everything that it names, each byte of the archive as we write it.
fn read_canonical<R: Read, W: Write>(
    first: Entry,
    reader: &mut Reader<R>,
    mut writer: Writer<W>,
    limits: &Limits,
) -> io::Result<(Manifest, Contents, W)> {
    if first.path != MANIFEST_PATH || first.kind != Kind::File {
        return Err(refused(format!(
            "its first entry is `{}`, not the manifest {MANIFEST_PATH}: `build-gate` did not write it",
            shown(&first.path)
        )));
    }
    let json = manifest_text(&first, reader, limits)?;
    let manifest = sound_manifest(&json, limits)?;
    if !first.canonical {
        return Err(not_canonical(&first));
    }
    writer.file(MANIFEST_PATH, false, json.len() as u64, &mut json.as_slice())?;
    let mut audit = Audit::of(&manifest, limits, Form::Canonical);
    while let Some(entry) = reader.next()? {
        audit.accept(&entry, reader, &mut writer)?;
    }
    let (contents, to) = audit.finish(writer, &json)?;
    Ok((manifest, contents, to))
}

/// The second look at a bundle of another maker.
fn read_plain<R: Read, W: Write>(
    survey: &Survey,
    reader: &mut Reader<R>,
    mut writer: Writer<W>,
    limits: &Limits,
) -> io::Result<(Manifest, Contents, W)> {
    let json = survey.json.as_slice();
    writer.file(MANIFEST_PATH, false, json.len() as u64, &mut &*json)?;
    let mut audit = Audit::of(&survey.manifest, limits, Form::Plain);
    while let Some(entry) = reader.next()? {
        if entry.path == "." || (!survey.given && survey.leaves_out(&entry)) {
            continue;
        }
        if survey.given && entry.path == MANIFEST_PATH && entry.kind == Kind::File {
            if plain_manifest(&entry, reader, limits)? != json {
                return Err(refused("it contains two manifests"));
            }
            continue;
        }
        audit.accept(&entry, reader, &mut writer)?;
    }
    let (contents, to) = audit.finish(writer, json)?;
    Ok((survey.manifest.clone(), contents, to))
}

/// The first look at a bundle that `build-gate` did not write: its manifest, or what one would say.
struct Survey {
    manifest: Manifest,
    json: Vec<u8>,
    /// Whether the manifest was found in it.
    given: bool,
    left_out: Vec<(String, &'static str)>,
    /// Links of packages that lead to nothing in the archive.
    dangling: BTreeSet<String>,
    /// What is shipped although it looks like a private key.
    key_note: Option<String>,
}

impl Survey {
    fn of<R: Read>(
        first: Entry,
        reader: &mut Reader<R>,
        commit: &CommitSha,
        limits: &Limits,
        pace: &Pace,
    ) -> io::Result<Self> {
        let mut manifest = Manifest {
            version: Manifest::VERSION,
            commit: commit.clone(),
            php: PhpVersions::default(),
            locks: BTreeMap::new(),
            files: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        let (mut given, mut left_out, mut texts) = (None, Vec::new(), Texts::default());
        let (mut entries, mut next, mut names) = (0, Some(first), HashSet::new());
        while let Some(entry) = next {
            entries += 1;
            if entries > limits.entries {
                return Err(too_many(limits));
            }
            if !names.insert(entry.path.clone()) {
                return Err(refused(format!("it contains `{}` twice", shown(&entry.path))));
            }
            if entry.path == MANIFEST_PATH && entry.kind == Kind::File {
                given = Some(plain_manifest(&entry, reader, limits)?);
            } else if let Some(because) = self::left_out(&entry.path, entry.kind == Kind::Folder) {
                left_out.push((entry.path, because));
            } else {
                take_down(&mut manifest, &mut texts, entry, reader)?;
            }
            next = reader.next()?;
        }
        if let Some(json) = given {
            let manifest = sound_manifest(&json, limits)?;
            let (left_out, dangling) = (Vec::new(), BTreeSet::new());
            return Ok(Self { manifest, json, given: true, left_out, dangling, key_note: None });
        }
        let dangling = without_dangling(&mut manifest, &names, pace)?;
        left_out.extend(dangling.iter().map(|path| (path.clone(), link::DANGLING)));
        left_out.sort();
        // What lies in a folder that is left out is not worth a line of its own.
        let mut outer: Option<String> = None;
        left_out.retain(|(path, _)| {
            let inside = outer.as_ref().is_some_and(|outer| below(path, outer));
            if !inside {
                outer = Some(path.clone());
            }
            !inside
        });
        allowed_paths(&manifest).map_err(refused)?;
        let installed = texts.read.get(keys::INSTALLED).map(Vec::as_slice);
        let samples = keys::sorted_samples(std::mem::take(&mut texts.key_samples), installed);
        let quoted = |path: &String| format!("`{}`", shown(path));
        let own = samples.own.iter().map(|path| samples.refusal(&quoted(path)));
        if let Some(problem) = own.chain(texts.secrets.iter().map(|path| keys::refusal(&quoted(path)))).next() {
            return Err(refused(problem));
        }
        manifest.php = composer::php_of(|path| texts.read.get(path).cloned());
        manifest.locks = composer::locks_of(|path| manifest.files.get(path).map(|file| file.sha256.clone()));
        check_manifest(&manifest, limits).map_err(refused)?;
        let json = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        Ok(Self { manifest, json, given: false, left_out, dangling, key_note: keys::note(&samples.public) })
    }

    fn leaves_out(&self, entry: &Entry) -> bool {
        self.dangling.contains(&entry.path) || left_out(&entry.path, entry.kind == Kind::Folder).is_some()
    }
}

/// What is remembered of the contents of an archive without a manifest.
#[derive(Default)]
struct Texts {
    read: BTreeMap<String, Vec<u8>>,
    key_samples: Vec<String>,
    secrets: Vec<String>,
    /// For reading.
    block: Vec<u8>,
}

/// Takes the links of packages away that lead to nothing among `names`, as `build-gate` does. What such a link had outside of the tree on the
/// build machine is unknown here; it leads to nothing of the release in any case.
fn without_dangling(manifest: &mut Manifest, names: &HashSet<String>, pace: &Pace) -> io::Result<BTreeSet<String>> {
    if !manifest.links.keys().any(|path| rules::package_of(path).is_some()) {
        return Ok(BTreeSet::new());
    }
    // With the folders that have no entry of their own.
    let known: HashSet<&str> = names.iter().flat_map(|path| ancestry(path)).collect();
    let all = &manifest.links;
    let leads_to = |path: &str, gone: &BTreeSet<&str>| {
        let target = all.get(path).map(String::as_str).unwrap_or_default();
        let Ok(destination) = link::destination(path, target) else {
            return if link::leads_outside(path, target) { LeadsTo::Nothing } else { LeadsTo::Something };
        };
        let is_there = known.contains(destination.as_str()) && !all.contains_key(&destination);
        if is_there || left_out(&destination, false).is_some() {
            return LeadsTo::Something;
        }
        let links = ancestry(&destination).filter_map(|part| all.get_key_value(part));
        let mut links = links.map(|(path, _)| path.as_str()).filter(|path| !gone.contains(path));
        links.next().map_or(LeadsTo::Nothing, LeadsTo::Link)
    };
    let links = all.keys().map(String::as_str).filter(|path| rules::package_of(path).is_some());
    let dangling = link::dangling(links, leads_to, || pace.advance(0).map_err(into_io))?;
    let dangling: BTreeSet<String> = dangling.into_iter().map(str::to_owned).collect();
    manifest.links.retain(|path, _| !dangling.contains(path));
    Ok(dangling)
}

/// Enters what an archive without a manifest has into one.
fn take_down<R: Read>(
    manifest: &mut Manifest,
    texts: &mut Texts,
    entry: Entry,
    reader: &mut Reader<R>,
) -> io::Result<()> {
    let executable = entry.executable();
    match entry.kind {
        Kind::Folder => {}
        Kind::Link { target } => {
            manifest.links.insert(entry.path, target);
        }
        Kind::File => {
            let is_read = composer::READ.contains(&entry.path.as_str()) || entry.path == keys::INSTALLED;
            let mut text = (is_read && entry.size <= LARGEST_READ).then(Vec::new);
            let (mut hash, mut scan) = (Sha256::new(), KeyScan::default());
            let mut block = std::mem::take(&mut texts.block);
            block.resize(64 << 10, 0);
            loop {
                let n = reader.read(&mut block)?;
                if n == 0 {
                    break;
                }
                hash.update(&block[..n]);
                scan.feed(&block[..n]);
                if let Some(text) = &mut text {
                    text.extend_from_slice(&block[..n]);
                }
            }
            texts.block = block;
            match keys::of(&entry.path, scan.found()) {
                Key::None => {}
                Key::Sample => texts.key_samples.push(entry.path.clone()),
                Key::Secret => texts.secrets.push(entry.path.clone()),
            }
            texts.read.extend(text.map(|text| (entry.path.clone(), text)));
            let file = FileEntry { sha256: Sha256Digest::from_hash(hash), size: entry.size, executable };
            manifest.files.insert(entry.path, file);
        }
    }
    Ok(())
}

/// Composer's own files are smaller.
const LARGEST_READ: u64 = 16 << 20;

/// A path, and every folder that it lies in.
fn ancestry(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// No path that `build-gate` would have refused: a bundle that was made by hand passes no other gate.
fn allowed_paths(manifest: &Manifest) -> Result<(), String> {
    for path in manifest.files.keys().chain(manifest.links.keys()) {
        if let Some(rule) = rules_of(path, false).find(|rule| rule.forbids()) {
            return Err(format!("it contains `{path}`, which is not allowed in a release: {}", rule.because));
        }
    }
    Ok(())
}

/// The rules for a path and for the folders that it lies in.
fn rules_of(path: &str, is_folder: bool) -> impl Iterator<Item = &'static Rule> {
    ancestry(path).filter_map(move |part| rules::rule(part, is_folder || part.len() < path.len()))
}

/// Why `build-gate` would leave this out, if it would.
fn left_out(path: &str, is_folder: bool) -> Option<&'static str> {
    let rule = rules_of(path, is_folder).find(|rule| rule.treatment != Treatment::Ship)?;
    (rule.treatment == Treatment::LeaveOut).then_some(rule.because)
}

/// A manifest that plain tar packed: no file that could be run, as in the canonical form.
fn plain_manifest<R: Read>(entry: &Entry, reader: &mut Reader<R>, limits: &Limits) -> io::Result<Vec<u8>> {
    if entry.executable() || entry.mode & !0o777 != 0 {
        return Err(bad_mode(entry));
    }
    manifest_text(entry, reader, limits)
}

fn manifest_text<R: Read>(entry: &Entry, reader: &mut Reader<R>, limits: &Limits) -> io::Result<Vec<u8>> {
    if entry.size > limits.manifest {
        return Err(refused(format!("its manifest has {} bytes, more than {}", entry.size, limits.manifest)));
    }
    let mut json = Vec::new();
    reader.read_to_end(&mut json)?;
    Ok(json)
}

fn sound_manifest(json: &[u8], limits: &Limits) -> io::Result<Manifest> {
    parse_manifest(json)
        .and_then(|manifest| {
            check_manifest(&manifest, limits)?;
            allowed_paths(&manifest)?;
            Ok(manifest)
        })
        .map_err(refused)
}

fn not_canonical(entry: &Entry) -> io::Error {
    refused(format!(
        "the header of `{}` differs from what `build-gate` writes: the bundle was changed",
        shown(&entry.path)
    ))
}

fn too_many(limits: &Limits) -> io::Error {
    refused(format!("it has more than {} entries", limits.entries))
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
            "its manifest has version {version}, but this gated-deploy reads version {}: use the same version of the action for build and release",
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
        return Err(format!("its manifest declares more than {} bytes", limits.unpacked));
    }
    for path in manifest.files.keys().chain(manifest.links.keys()) {
        relative(path).map_err(|problem| format!("its manifest names `{}`: {problem}", shown(path)))?;
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for parent in parents {
            if manifest.files.contains_key(parent) || manifest.links.contains_key(parent) {
                return Err(format!("its manifest puts `{path}` below `{parent}`, which is not a folder"));
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

/// Compares entries with the manifest, remembers what is still to come, and hands on what it took.
struct Audit<'m> {
    manifest: &'m Manifest,
    limits: &'m Limits,
    form: Form,
    missing: BTreeSet<&'m str>,
    folders: HashSet<String>,
    entries: usize,
    unpacked: u64,
}

impl<'m> Audit<'m> {
    fn of(manifest: &'m Manifest, limits: &'m Limits, form: Form) -> Self {
        let missing = manifest.files.keys().chain(manifest.links.keys()).map(String::as_str).collect();
        Self { manifest, limits, form, missing, folders: HashSet::new(), entries: 1, unpacked: 0 }
    }

    fn accept<R: Read, W: Write>(
        &mut self,
        entry: &Entry,
        contents: &mut Reader<R>,
        writer: &mut Writer<W>,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(too_many(self.limits));
        }
        match &entry.kind {
            Kind::Folder => self.folder(entry, writer),
            Kind::Link { target } => self.link(entry, target, writer),
            Kind::File => self.file(entry, contents, writer),
        }?;
        let parent = entry.path.rsplit_once('/').map(|(parent, _)| parent);
        let ordered = parent.is_none_or(|parent| self.folders.contains(parent));
        if self.form == Form::Canonical && !(entry.canonical && ordered) {
            return Err(not_canonical(entry));
        }
        Ok(())
    }

    fn folder<W: Write>(&mut self, entry: &Entry, writer: &mut Writer<W>) -> io::Result<()> {
        if self.form == Form::Canonical && entry.mode != 0o755 {
            return Err(bad_mode(entry));
        }
        for path in ancestry(&entry.path) {
            if self.manifest.files.contains_key(path) || self.manifest.links.contains_key(path) || path == MANIFEST_PATH
            {
                return Err(refused(format!(
                    "the folder `{}` is, or is below, an entry that is not a folder",
                    entry.path
                )));
            }
        }
        if let Some(path) = self.folders.replace(entry.path.clone()) {
            return Err(refused(format!("it contains `{path}` twice")));
        }
        writer.folder(&entry.path)
    }

    fn link<W: Write>(&mut self, entry: &Entry, target: &str, writer: &mut Writer<W>) -> io::Result<()> {
        // The manifest's targets have been checked; the entry only has to say the same.
        match self.manifest.links.get(&entry.path) {
            Some(expected) if expected == target => self.tick_off(&entry.path)?,
            Some(expected) => {
                return Err(refused(format!(
                    "the link `{}` points to `{}`, but the manifest says `{expected}`",
                    entry.path,
                    shown(target)
                )));
            }
            None => return Err(self.unexpected(&entry.path)),
        }
        writer.link(&entry.path, target)
    }

    fn file<R: Read, W: Write>(
        &mut self,
        entry: &Entry,
        contents: &mut Reader<R>,
        writer: &mut Writer<W>,
    ) -> io::Result<()> {
        let expected = self.manifest.files.get(&entry.path).ok_or_else(|| self.unexpected(&entry.path))?;
        let mode_fits = match self.form {
            Form::Canonical => entry.mode == file_mode(expected.executable),
            Form::Plain => entry.mode & !0o777 == 0 && entry.executable() == expected.executable,
        };
        if !mode_fits {
            return Err(bad_mode(entry));
        }
        if entry.size != expected.size {
            return Err(refused(format!(
                "`{}` has {} bytes, but the manifest says {}",
                entry.path, entry.size, expected.size
            )));
        }
        self.tick_off(&entry.path)?;
        let mut hashed = Hashed { inner: contents, hash: Sha256::new() };
        writer.file(&entry.path, expected.executable, entry.size, &mut hashed)?;
        let sha256 = Sha256Digest::from_hash(hashed.hash);
        if sha256 != expected.sha256 {
            return Err(refused(format!(
                "`{}` has the SHA-256 {sha256}, but the manifest says {}",
                entry.path, expected.sha256
            )));
        }
        self.unpacked += entry.size;
        Ok(())
    }

    fn tick_off(&mut self, path: &str) -> io::Result<()> {
        if self.missing.remove(path) { Ok(()) } else { Err(refused(format!("it contains `{path}` twice"))) }
    }

    fn unexpected(&self, path: &str) -> io::Error {
        if path == MANIFEST_PATH || self.manifest.files.contains_key(path) || self.manifest.links.contains_key(path) {
            refused(format!("it contains `{path}` twice, or with another type than in the manifest"))
        } else {
            refused(format!("it contains `{path}`, which its manifest does not name"))
        }
    }

    fn finish<W: Write>(self, writer: Writer<W>, json: &[u8]) -> io::Result<(Contents, W)> {
        if let Some(first) = self.missing.first() {
            return Err(refused(format!(
                "it lacks {} entries of its manifest, the first is `{first}`",
                self.missing.len()
            )));
        }
        let (to, folders) = writer.finish()?;
        let tree = Unmanifested { manifest: Sha256Digest::of(json), folders };
        Ok((Contents { unpacked: self.unpacked, tree }, to))
    }
}

/// A reader that remembers the digest of what it gave.
struct Hashed<'a, R> {
    inner: &'a mut R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

fn bad_mode(entry: &Entry) -> io::Error {
    refused(format!(
        "`{}` has the mode {:04o}; a bundle has only 0644 and 0755, as in the manifest, and no setuid bits",
        entry.path, entry.mode
    ))
}
