//! Looking at a built tree: every entry that a bundle of it would have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::{
    check::{Check, Findings},
    key_scan::KeyScan,
    keys::{self, Key},
    link::{self, LeadsTo},
    pace::Pace,
    rules::{self, Rule, Treatment},
};
use crate::{
    domain::{
        Failure, Sha256Digest,
        bundle::{self, InTheWay},
        path::relative,
    },
    errors::build,
};

/// A built tree as it would be shipped. What was judged here is what is packed: [`super::pack`] reads every file again and
/// refuses one that is not the same any more.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// By path, which sorts them by bytes and every folder before what is in it.
    pub entries: BTreeMap<String, Entry>,
    /// What stays behind, and why.
    pub left_out: Vec<(String, &'static str)>,
    /// Files of packages that are, or hold, something like a private key.
    key_samples: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Folder,
    Link { target: String },
    File(SourceFile),
}

/// A regular file, as it was when we looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub sha256: Sha256Digest,
    pub stamp: Stamp,
    pub executable: bool,
}

/// What changes when a process writes to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Seconds and nanoseconds of the last change of the contents.
    modified: (i64, i64),
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Self { size: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

/// No file that we parse (manifests, lock files) is larger; one that is was not written by its tool.
const LARGEST_PARSED: u64 = 64 << 20;

impl Tree {
    /// Walks `source` and reads every file once. The folder `output` is not looked into, whatever its name is and however
    /// it is reached (F17). `shared` are the folders that the server links into the release.
    pub fn look(
        source: &Path,
        output: &Path,
        shared: &[String],
        findings: &mut Findings,
        pace: &Pace,
    ) -> Result<Self, Failure> {
        let doing = format!("reading the folder {}", source.display());
        let root = source.canonicalize().map_err(|error| build::source_dir(&doing, &error))?;
        let mut tree = Self { root, entries: BTreeMap::new(), left_out: Vec::new(), key_samples: Vec::new() };
        tree.walk(&Identity::of(output), findings, pace)?;
        tree.judge_keys(findings);
        tree.leave_out_dangling(shared, pace)?;
        tree.check_links(shared, findings);
        Ok(tree)
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &SourceFile)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::File(file) => Some((path.as_str(), file)),
            Entry::Folder | Entry::Link { .. } => None,
        })
    }

    pub fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Link { target } => Some((path.as_str(), target.as_str())),
            Entry::Folder | Entry::File(_) => None,
        })
    }

    /// A file that would be shipped.
    pub fn file(&self, path: &str) -> Option<&SourceFile> {
        match self.entries.get(path) {
            Some(Entry::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.files().map(|(_, file)| file.stamp.size).sum()
    }

    /// Opens a file of the tree, and never through a link at its end.
    pub fn open(&self, path: &str) -> io::Result<File> {
        open(&self.root.join(path))
    }

    /// The contents of a small file that would be shipped, the same as were looked at. `None` if there is no such file.
    pub fn contents(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(known) = self.file(path) else { return Ok(None) };
        if known.stamp.size > LARGEST_PARSED {
            return Err(format!("{path} has {} bytes: its tool does not write such a file", known.stamp.size));
        }
        let mut bytes = Vec::new();
        let read = self.open(path).and_then(|file| file.take(LARGEST_PARSED).read_to_end(&mut bytes));
        read.map_err(|error| format!("{path} cannot be read: {error}"))?;
        if Sha256Digest::of(&bytes) == known.sha256 {
            Ok(Some(bytes))
        } else {
            Err(format!("{path} was changed while it was read"))
        }
    }

    /// Why a path is not in the tree that would be shipped, if there is something on the disk.
    pub fn why_left_out(&self, path: &str) -> Option<&'static str> {
        let below =
            |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.left_out.iter().find(|(left_out, _)| below(left_out)).map(|(_, because)| *because)
    }

    fn walk(&mut self, output: &Option<Identity>, findings: &mut Findings, pace: &Pace) -> Result<(), Failure> {
        let mut walk = WalkDir::new(&self.root).min_depth(1).sort_by_file_name().into_iter();
        while let Some(found) = walk.next() {
            pace.advance(0)?;
            let entry = match found {
                Ok(entry) => entry,
                Err(error) => {
                    findings.add(Check::Readable, self.unreadable(&error));
                    continue;
                }
            };
            if !self.take(&entry, output, findings, pace)? && entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
        }
        Ok(())
    }

    /// Takes an entry up, unless a rule or a problem speaks against it. Says whether to go into it.
    fn take(
        &mut self,
        found: &DirEntry,
        output: &Option<Identity>,
        findings: &mut Findings,
        pace: &Pace,
    ) -> Result<bool, Failure> {
        let Some(path) = self.name(found.path(), findings) else { return Ok(false) };
        let kind = found.file_type();
        if let Some(rule) = rules::rule(&path, kind.is_dir())
            && !self.obey(rule, &path, findings)
        {
            return Ok(false);
        }
        if kind.is_dir() && output.is_some() && Identity::of(found.path()) == *output {
            self.left_out.push((path, "the output folder"));
            return Ok(false);
        }
        let entry = if kind.is_dir() {
            Some(Entry::Folder)
        } else if kind.is_symlink() {
            read_link(found.path(), &path, findings)
        } else if kind.is_file() {
            self.read(&path, findings, pace)?.map(Entry::File)
        } else {
            findings.add(Check::FileKinds, format!("{path} is not a file, folder or link"));
            None
        };
        let taken = entry.is_some();
        self.entries.extend(entry.map(|entry| (path, entry)));
        Ok(taken)
    }

    /// The entry's path in the tree, if it has a usable one.
    fn name(&self, found: &Path, findings: &mut Findings) -> Option<String> {
        let inside = found.strip_prefix(&self.root).unwrap_or(found);
        let problem = match inside.to_str() {
            None => "it is not UTF-8".to_owned(),
            Some(path) => match relative(path) {
                Ok(path) => return Some(path.to_owned()),
                Err(problem) => problem,
            },
        };
        findings.add(Check::Names, format!("{}: {problem}", inside.as_os_str().as_encoded_bytes().escape_ascii()));
        None
    }

    /// Whether the rule lets the path into the bundle.
    fn obey(&mut self, rule: &Rule, path: &str, findings: &mut Findings) -> bool {
        match rule.treatment {
            Treatment::Ship => return true,
            Treatment::LeaveOut => self.left_out.push((path.to_owned(), rule.because)),
            Treatment::Refuse(check) => findings.add(check, format!("{path} ({})", rule.because)),
        }
        false
    }

    /// Reads a file once, for its digest and for keys in it.
    fn read(&mut self, path: &str, findings: &mut Findings, pace: &Pace) -> Result<Option<SourceFile>, Failure> {
        let unreadable = |error: io::Error, findings: &mut Findings| {
            findings.add(Check::Readable, format!("{path}: {error}"));
            None
        };
        let mut file = match self.open(path) {
            Ok(file) => file,
            Err(error) => return Ok(unreadable(error, findings)),
        };
        let before = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Ok(unreadable(error, findings)),
        };
        let mut hash = Sha256::new();
        let mut scan = KeyScan::default();
        let mut block = vec![0; 64 << 10];
        loop {
            match file.read(&mut block) {
                Ok(0) => break,
                Ok(n) => {
                    hash.update(&block[..n]);
                    scan.feed(&block[..n]);
                    pace.advance(n as u64)?;
                }
                Err(error) => return Ok(unreadable(error, findings)),
            }
        }
        match keys::of(path, scan.found()) {
            Key::None => {}
            Key::Sample => self.key_samples.push(path.to_owned()),
            Key::Secret => findings.add(Check::PrivateKeys, keys::refusal(path)),
        }
        let executable = before.mode() & 0o100 != 0;
        Ok(Some(SourceFile { sha256: Sha256Digest::from_hash(hash), stamp: Stamp::of(&before), executable }))
    }

    /// What packages publish is no secret. What Composer copied from a folder of this repository is as secret as the repository.
    fn judge_keys(&mut self, findings: &mut Findings) {
        let installed = self.contents(keys::INSTALLED).ok().flatten();
        let samples = keys::sorted_samples(std::mem::take(&mut self.key_samples), installed.as_deref());
        samples.own.iter().for_each(|path| findings.add(Check::PrivateKeys, samples.refusal(path)));
        self.key_samples = samples.public;
    }

    /// What is shipped although it looks like a private key, in one sentence.
    pub fn key_note(&self) -> Option<String> {
        keys::note(&self.key_samples)
    }

    /// Takes away the links of packages that lead to nothing on this machine either. Nothing runs through such a link, so that leaving it out
    /// hides nothing. A link to what is left out is another matter: there is something behind it.
    fn leave_out_dangling(&mut self, shared: &[String], pace: &Pace) -> Result<(), Failure> {
        let leads_nowhere =
            |path: &str| self.root.join(path).metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let links = self.links().map(|(path, _)| path);
        let links = links.filter(|path| rules::package_of(path).is_some() && leads_nowhere(path));
        let dangling = link::dangling(links, |path, gone| self.leads_to(path, gone, shared), || pace.advance(0))?;
        let dangling: Vec<String> = dangling.into_iter().map(str::to_owned).collect();
        for path in dangling {
            self.entries.remove(&path);
            self.left_out.push((path, link::DANGLING));
        }
        Ok(())
    }

    /// Where a link would lead on the server, without the links that are `gone`.
    fn leads_to(&self, path: &str, gone: &BTreeSet<&str>, shared: &[String]) -> LeadsTo<'_> {
        let Some(Entry::Link { target }) = self.entries.get(path) else { return LeadsTo::Something };
        let Ok(destination) = link::destination(path, target) else { return LeadsTo::Nothing };
        if is_shared(&destination, shared) {
            return LeadsTo::Something;
        }
        let link_at = |path: &str| match self.entries.get_key_value(path) {
            Some((path, Entry::Link { .. })) if !gone.contains(path.as_str()) => Some(path.as_str()),
            _ => None,
        };
        match self.entries.get(&destination) {
            None | Some(Entry::Link { .. }) => {
                let at = destination.match_indices('/').map(|(at, _)| at).chain([destination.len()]);
                at.filter_map(|at| link_at(&destination[..at])).next().map_or(LeadsTo::Nothing, LeadsTo::Link)
            }
            Some(Entry::Folder | Entry::File(_)) => LeadsTo::Something,
        }
    }

    fn check_links(&self, shared: &[String], findings: &mut Findings) {
        let in_the_way = |path: &str| match self.entries.get(path)? {
            Entry::Folder => None,
            Entry::Link { target } => Some(InTheWay::Link(target)),
            Entry::File(_) => Some(InTheWay::File),
        };
        if let Some(problem) = bundle::through_a_link(in_the_way, shared) {
            findings.add(Check::Links, problem);
        }
        for (path, target) in self.links() {
            let problem = match link::destination(path, target) {
                Err(problem) => problem,
                Ok(destination) if link::is_private(&destination) => link::PRIVATE.to_owned(),
                Ok(destination) if self.has(&destination, shared) => continue,
                Ok(destination) => match self.why_left_out(&destination) {
                    Some(because) => format!("it points to {target}, which is left out of the bundle ({because})"),
                    None => format!("it points to {target}, which does not exist"),
                },
            };
            findings.add(Check::Links, format!("{path}: {problem}"));
        }
    }

    /// Whether a link that leads here leads to something on the server.
    fn has(&self, destination: &str, shared: &[String]) -> bool {
        // What lies behind another link is that link's business: it is checked on its own.
        let behind_a_link = destination
            .match_indices('/')
            .any(|(at, _)| matches!(self.entries.get(&destination[..at]), Some(Entry::Link { .. })));
        is_shared(destination, shared) || behind_a_link || self.entries.contains_key(destination)
    }

    fn unreadable(&self, error: &walkdir::Error) -> String {
        let path = error.path().unwrap_or(&self.root);
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let cause = error.io_error().map_or_else(|| error.to_string(), io::Error::to_string);
        format!("{}: {cause}", path.display())
    }
}

/// Whether the server links this path from its shared folders.
fn is_shared(destination: &str, shared: &[String]) -> bool {
    shared.iter().any(|folder| link::is_at_or_below(destination, folder))
}

fn open(path: &Path) -> io::Result<File> {
    // NONBLOCK: opening a pipe that took the file's place would never return.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no longer a regular file")) }
}

fn read_link(on_disk: &Path, path: &str, findings: &mut Findings) -> Option<Entry> {
    match on_disk.read_link() {
        Ok(target) => match target.to_str() {
            Some(target) => return Some(Entry::Link { target: target.to_owned() }),
            None => findings.add(Check::Names, format!("{path}: its target is not UTF-8")),
        },
        Err(error) => findings.add(Check::Readable, format!("{path}: {error}")),
    }
    None
}

/// Which folder this really is, whatever it is called.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// `None` if there is nothing at `path`.
    fn of(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self { device: metadata.dev(), inode: metadata.ino() })
    }
}
