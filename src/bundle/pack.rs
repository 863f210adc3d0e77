//! Writing the bundle: the same tree gives the same bytes, on every machine.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    archive::Writer,
    composer,
    gzip::ParallelGzip,
    pace::{Pace, from_io, into_io},
    tree::{Entry, SourceFile, Stamp, Tree},
};
use crate::{
    domain::{
        CommitSha, Failure, Sha256Digest,
        bundle::{self, FileEntry, MANIFEST_PATH, Manifest},
    },
    errors::{build, general},
};

/// The three files of a bundle, and the name under which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub bundle: PathBuf,
    /// In the form that `sha256sum -c` reads.
    pub sha256: PathBuf,
    pub manifest: PathBuf,
    unfinished: PathBuf,
}

impl Files {
    pub fn in_folder(folder: &Path, commit: &CommitSha) -> Self {
        let name = bundle::file_name(commit);
        Self {
            sha256: folder.join(format!("{name}.sha256")),
            manifest: folder.join(format!("deployment-bundle-{commit}.manifest.json")),
            unfinished: folder.join(format!(".{name}.part")),
            bundle: folder.join(name),
        }
    }

    /// What the `.sha256` file says: one line as `sha256sum` prints it.
    pub fn sha256_line(&self, sha256: &Sha256Digest) -> String {
        format!("{sha256}  {}\n", self.bundle.file_name().unwrap_or_default().to_string_lossy())
    }

    pub fn read_sha256(&self) -> Result<String, Failure> {
        fs::read_to_string(&self.sha256)
            .map_err(|error| general::runner_file(format!("reading {}", self.sha256.display()), error))
    }

    /// Removes what is there of them, and says what that was.
    pub fn remove(&self) -> Result<Vec<&Path>, Failure> {
        let mut removed = Vec::new();
        for path in [&self.bundle, &self.sha256, &self.manifest, &self.unfinished] {
            match fs::remove_file(path) {
                Ok(()) => removed.push(path.as_path()),
                // Where the output folder cannot even be made, nothing of ours can be.
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(error) => return Err(general::runner_file(format!("removing {}", path.display()), error)),
            }
        }
        Ok(removed)
    }
}

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub sha256: Sha256Digest,
    /// Bytes.
    pub size: u64,
}

/// The manifest of a tree that passed the gates.
pub fn manifest(tree: &Tree, commit: &CommitSha) -> Manifest {
    let files = tree
        .files()
        .map(|(path, file)| {
            let entry = FileEntry { sha256: file.sha256.clone(), size: file.stamp.size, executable: file.executable };
            (path.to_owned(), entry)
        })
        .collect();
    let links = tree.links().map(|(path, target)| (path.to_owned(), target.to_owned())).collect();
    Manifest {
        version: Manifest::VERSION,
        commit: commit.clone(),
        php: composer::php(tree),
        locks: composer::locks(tree),
        files,
        links,
    }
}

/// Writes the three files. A bundle of an earlier attempt is removed first: after a failed run there must be none.
pub fn write(tree: &Tree, manifest: &Manifest, files: &Files, pace: &Pace) -> Result<Packed, Failure> {
    let doing = format!("writing {}", files.bundle.display());
    let failed = |error: io::Error| from_io(error, |error| build::output_dir(&doing, &error));
    if let Some(folder) = files.bundle.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    files.remove()?;
    let json = serde_json::to_vec(manifest).map_err(|error| Failure::bug(&doing, error.to_string()))?;
    let packed = write_bundle(tree, &json, &files.unfinished, pace).map_err(failed)?;
    write_durably(&files.manifest, &json).map_err(failed)?;
    write_durably(&files.sha256, files.sha256_line(&packed.sha256).as_bytes()).map_err(failed)?;
    // Last, so that a bundle that is there has everything beside it.
    fs::rename(&files.unfinished, &files.bundle).map_err(failed)?;
    Ok(packed)
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn write_bundle(tree: &Tree, manifest: &[u8], path: &Path, pace: &Pace) -> io::Result<Packed> {
    let mut tar = Writer::new(compressed(File::create_new(path)?)?);
    tar.file(MANIFEST_PATH, false, manifest.len() as u64, &mut &*manifest)?;
    for (name, entry) in &tree.entries {
        match entry {
            Entry::Folder => tar.folder(name)?,
            Entry::Link { target } => tar.link(name, target)?,
            Entry::File(file) => {
                let mut contents = Unchanged::open(tree, name, file, pace)?;
                tar.file(name, file.executable, file.stamp.size, &mut contents)?;
            }
        }
    }
    finished(tar.finish()?.0)
}

/// The bundle file: hashed and counted while it is written.
pub(crate) struct Hashed {
    file: File,
    hash: Sha256,
    size: u64,
}

/// The bundle file, compressed in the one way in which we compress.
pub(crate) type Compressed = ParallelGzip<BufWriter<Hashed>>;

/// Compresses into an empty file.
pub(crate) fn compressed(file: File) -> io::Result<Compressed> {
    ParallelGzip::new(BufWriter::with_capacity(256 << 10, Hashed { file, hash: Sha256::new(), size: 0 }))
}

/// Ends the compressed file and puts it onto the disk.
pub(crate) fn finished(compressed: Compressed) -> io::Result<Packed> {
    let output = compressed.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    output.file.sync_all()?;
    Ok(Packed { sha256: Sha256Digest::from_hash(output.hash), size: output.size })
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file of the tree that must still be what the gates looked at (F18): same size, same time, same contents.
struct Unchanged<'a> {
    path: &'a str,
    known: &'a SourceFile,
    file: File,
    hash: Option<Sha256>,
    read: u64,
    pace: &'a Pace,
}

impl<'a> Unchanged<'a> {
    fn open(tree: &Tree, path: &'a str, known: &'a SourceFile, pace: &'a Pace) -> io::Result<Self> {
        let file = tree.open(path).map_err(|error| unreadable(path, &error))?;
        let this = Self { path, known, file, hash: Some(Sha256::new()), read: 0, pace };
        this.check_stamp()?;
        Ok(this)
    }

    fn check_stamp(&self) -> io::Result<()> {
        let now = self.file.metadata().map_err(|error| unreadable(self.path, &error))?;
        if Stamp::of(&now) == self.known.stamp { Ok(()) } else { Err(self.changed()) }
    }

    fn at_the_end(&mut self) -> io::Result<()> {
        let Some(hash) = self.hash.take() else { return Ok(()) };
        self.check_stamp()?;
        if self.read == self.known.stamp.size && Sha256Digest::from_hash(hash) == self.known.sha256 {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> io::Error {
        into_io(build::tree_changed(self.path))
    }
}

impl Read for Unchanged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer).map_err(|error| unreadable(self.path, &error))?;
        self.read += n as u64;
        // A file that grew must not push the archive's next header away.
        if self.read > self.known.stamp.size {
            return Err(self.changed());
        }
        match (&mut self.hash, n) {
            (_, 0) => self.at_the_end()?,
            (Some(hash), n) => hash.update(&buffer[..n]),
            (None, _) => return Err(self.changed()),
        }
        self.pace.advance(n as u64).map_err(into_io)?;
        Ok(n)
    }
}

fn unreadable(path: &str, error: &io::Error) -> io::Error {
    into_io(build::file_unreadable(path, error))
}
