//! Zips as upload-artifact makes them.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, Result};
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// A file that goes into an artifact.
#[derive(Debug, Clone)]
pub struct ZipFile {
    /// The name in the zip: relative, with slashes.
    pub name: String,
    /// The bytes, or where they are.
    pub source: Source,
    /// The permission bits.
    pub mode: u32,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From memory.
    Bytes(Vec<u8>),
    /// Streamed from disk.
    Path(PathBuf),
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl<const N: usize> From<&[u8; N]> for Source {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl ZipFile {
    /// A file with mode 0644.
    pub fn new(name: &str, source: impl Into<Source>) -> Self {
        Self { name: name.into(), source: source.into(), mode: 0o644 }
    }
}

/// upload-artifact's `compression-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Level 6, the default.
    Deflated,
    /// Level 0.
    Stored,
}

/// The zip that upload-artifact makes of these files, with names and bytes (or paths): deflated, mode 0644.
pub fn artifact_zip(files: &[(&str, Source)]) -> Result<Vec<u8>> {
    let files: Vec<_> = files.iter().map(|(name, source)| ZipFile::new(name, source.clone())).collect();
    write_artifact_zip(Vec::new(), &files, Compression::Deflated)
}

/// Writes the zip that upload-artifact makes of these files and returns `out`.
///
/// As with the original, sizes and checksums come after the data of each file (flag 0x8) and are zero in the local
/// headers, so readers must go by the central directory.
pub fn write_artifact_zip<W: Write>(out: W, files: &[ZipFile], compression: Compression) -> Result<W> {
    let mut zip = ZipWriter::new_stream(out);
    for file in files {
        zip.start_file(&file.name, options(file.mode, compression)?)
            .and_then(|()| Ok(copy(&file.source, &mut zip)?))
            .with_context(|| format!("putting {} into an artifact's zip", file.name))?;
    }
    Ok(zip.finish().context("writing the central directory of an artifact's zip")?.into_inner())
}

fn options(mode: u32, compression: Compression) -> Result<SimpleFileOptions> {
    const REGULAR_FILE: u32 = 0o100_000;
    const DOS_ARCHIVE_BIT: u32 = 0x20;
    let (method, level) = match compression {
        Compression::Deflated => (CompressionMethod::Deflated, Some(6)),
        Compression::Stored => (CompressionMethod::Stored, None),
    };
    Ok(SimpleFileOptions::default()
        .compression_method(method)
        .compression_level(level)
        .last_modified_time(DateTime::from_date_and_time(2026, 11, 23, 16, 5, 24)?)
        .system(zip::System::Unix)
        .external_attributes((REGULAR_FILE | mode) << 16 | DOS_ARCHIVE_BIT))
}

fn copy(source: &Source, zip: &mut impl Write) -> io::Result<()> {
    match source {
        Source::Bytes(bytes) => zip.write_all(bytes),
        Source::Path(path) => io::copy(&mut File::open(path)?, zip).map(drop),
    }
}
