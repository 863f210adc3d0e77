//! The tar archive of a bundle: one reader that takes only what every tar reads the same way, and the one form in which we write it.
//!
//! GNU tar, bsdtar, Python and the `tar` crate disagree about odd headers: a size that begins with `+`, a number in base 256, a signed check
//! sum, bytes behind the end of a name. An archive that needs such a decision is refused. What is sent to a server is written anew by
//! [`Writer`] from what [`Reader`] understood, so a server never unpacks bytes of others.
//!
//! The canonical form: GNU headers, owner 0, one time, the modes 0644, 0755 and 0777, names above 100 bytes in a `././@LongLink` record, each
//! folder before what is in it, two blocks of zeros at the end.

use std::{
    collections::BTreeSet,
    fmt::Display,
    io::{self, Read, Write},
};

use super::pace::into_io;
use crate::{domain::path::relative, errors::build};

/// Bytes of a header, and the unit that contents are padded to.
const BLOCK: usize = 512;

/// 2000-01-01T00:00:00Z, the time of every entry. Zero would do for equal bytes, but GNU tar calls it implausibly old.
const ENTRY_TIME: u64 = 946_684_800;

/// GNU tar's records of long names are as long as they say; no path that Linux takes is longer than this.
const LONGEST_NAME: u64 = 4096;

/// GNU tar pads to 10 KiB, others to a block; more zeros than this after the end are no padding.
const LONGEST_PADDING: usize = 1 << 20;

/// Bytes of the name's and the link's field.
const NAME: usize = 100;

const LONG: &[u8] = b"././@LongLink";
const GNU: &[u8] = b"ustar  \0";
const POSIX: &[u8] = b"ustar\x0000";

/// Where a field of a header stands (`struct posix_header` of GNU tar's tar.h).
mod field {
    use std::ops::Range;

    pub(super) const NAME: Range<usize> = 0..100;
    pub(super) const MODE: Range<usize> = 100..108;
    pub(super) const UID: Range<usize> = 108..116;
    pub(super) const GID: Range<usize> = 116..124;
    pub(super) const SIZE: Range<usize> = 124..136;
    pub(super) const MTIME: Range<usize> = 136..148;
    pub(super) const CHECKSUM: Range<usize> = 148..156;
    pub(super) const TYPE: usize = 156;
    pub(super) const LINK: Range<usize> = 157..257;
    pub(super) const MAGIC: Range<usize> = 257..265;
    pub(super) const DEVICE: Range<usize> = 329..345;
    pub(super) const PREFIX: Range<usize> = 345..500;
    /// GNU's fields of incremental and sparse archives, and what no field owns.
    pub(super) const REST: Range<usize> = 345..512;
    /// What no field of POSIX owns.
    pub(super) const POSIX_REST: Range<usize> = 500..512;
}

/// Who wrote an archive, by its first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `build-gate`: the manifest comes first, and every byte is as [`Writer`] writes it.
    Canonical,
    /// Some tar: names may begin with `./`, in any order.
    Plain,
}

/// One entry, checked as far as it can be on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// Bytes that follow.
    pub(crate) size: u64,
    pub(crate) mode: u32,
    /// Whether [`Writer`] would write these very headers.
    pub(crate) canonical: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Link { target: String },
}

impl Entry {
    pub(crate) fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// The bundle is not what `build-gate` writes.
pub(crate) fn refused(cause: impl Display) -> io::Error {
    into_io(build::bundle_invalid(cause))
}

/// A foreign name, safe to print.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_default).collect()
}

/// Reads an archive entry by entry. The contents of the last one are read from the reader itself.
pub(crate) struct Reader<R> {
    inner: R,
    form: Form,
    /// Bytes of the contents and of their padding that were not read yet.
    contents: u64,
    padding: usize,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R, form: Form) -> Self {
        Self { inner, form, contents: 0, padding: 0 }
    }

    /// How the rest is read.
    pub(crate) fn set_form(&mut self, form: Form) {
        self.form = form;
    }

    /// The next entry; `None` after the last one, once everything behind it was read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        self.skip_contents()?;
        let mut raw = Vec::with_capacity(BLOCK);
        let (mut long_path, mut long_target) = (None, None);
        loop {
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                if !raw.is_empty() {
                    return Err(refused("it ends after a long name, without its entry"));
                }
                self.end()?;
                return Ok(None);
            }
            check_sum(&block)?;
            raw.extend_from_slice(&block);
            let kept = match block[field::TYPE] {
                b'L' => &mut long_path,
                b'K' => &mut long_target,
                _ => return self.entry(&block, long_path, long_target, &raw).map(Some),
            };
            if kept.is_some() {
                return Err(refused("it contains an invalid name: two long names for one entry"));
            }
            *kept = Some(self.long_name(&block, &mut raw)?);
        }
    }

    /// The decompressor, once the archive was read to its end.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The name that a record of its own carries.
    fn long_name(&mut self, header: &[u8; BLOCK], raw: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        let size = number(header, field::SIZE, "size", "a long name")?;
        if &header[field::MAGIC] != GNU || size > LONGEST_NAME + 1 {
            return Err(refused("it contains an invalid file name"));
        }
        numbers(header, "a long name")?;
        let padded = usize::try_from(size).map_err(io::Error::other)?.next_multiple_of(BLOCK);
        let mut name = vec![0; padded];
        self.inner.read_exact(&mut name)?;
        raw.extend_from_slice(&name);
        // One NUL ends it. Bytes behind it would be a name for some readers.
        let (name, rest) = name.split_at(size as usize);
        match name.split_last() {
            Some((0, name)) if !name.is_empty() && !name.contains(&0) && zeros(rest) => Ok(name.to_vec()),
            _ => Err(refused("it contains an invalid name: a long name that does not end in one NUL")),
        }
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        long_path: Option<Vec<u8>>,
        long_target: Option<Vec<u8>>,
        raw: &[u8],
    ) -> io::Result<Entry> {
        let posix = match &header[field::MAGIC] {
            magic if magic == GNU => false,
            magic if magic == POSIX => true,
            _ => {
                return Err(refused(
                    "an entry has neither a GNU tar nor a POSIX header; make the archive with `tar --format=gnu`",
                ));
            }
        };
        let path = match (long_path, posix) {
            (Some(long), false) => continued(header, field::NAME, long)?,
            (Some(_), true) => return Err(refused("a long name stands before an entry of another format")),
            (None, false) => string(header, field::NAME)?,
            (None, true) => {
                let (prefix, name) = (string(header, field::PREFIX)?, string(header, field::NAME)?);
                if prefix.is_empty() { name } else { [prefix, name].join(&b'/') }
            }
        };
        let path = text(path)?;
        let (path, slash) = match path.strip_suffix('/') {
            Some(path) if header[field::TYPE] == b'5' => (path, true),
            _ => (path.as_str(), false),
        };
        let path = match path.strip_prefix("./") {
            Some(inside) if self.form == Form::Plain => inside,
            _ => path,
        };
        let whose = shown(path);
        let kind = match header[field::TYPE] {
            b'0' => Kind::File,
            b'5' => Kind::Folder,
            b'2' => {
                let target = match long_target.clone() {
                    Some(long) => continued(header, field::LINK, long)?,
                    None => string(header, field::LINK)?,
                };
                Kind::Link { target: text(target)? }
            }
            b'1' => {
                return Err(refused(format!(
                    "`{whose}` is a hard link; use `tar --hard-dereference`, which writes such a file twice"
                )));
            }
            b'3' | b'4' | b'6' => return Err(refused(format!("`{whose}` is a device"))),
            other => {
                return Err(refused(format!(
                    "`{whose}` has the type {:?}, which is not allowed in a bundle",
                    char::from(other)
                )));
            }
        };
        let root = kind == Kind::Folder && path == "." && self.form == Form::Plain;
        if !root {
            relative(path).map_err(|problem| refused(format!("the name `{whose}` is not usable: {problem}")))?;
        }
        if !matches!(kind, Kind::Link { .. }) && (long_target.is_some() || !zeros(&header[field::LINK])) {
            return Err(refused(format!("`{whose}` is not a link but has a target")));
        }
        let size = number(header, field::SIZE, "size", &whose)?;
        if size > 0 && kind != Kind::File {
            return Err(refused(format!("`{whose}` is not a file but has contents")));
        }
        numbers(header, &whose)?;
        let mode = number(header, field::MODE, "mode", &whose)?;
        let mode = u32::try_from(mode).map_err(|_| refused(format!("`{whose}` has the mode {mode:o}")))?;
        let rest = if posix { field::POSIX_REST } else { field::REST };
        if !zeros(&header[rest]) || !header[field::DEVICE].iter().all(|byte| matches!(byte, b'0' | b' ' | 0)) {
            return Err(refused(format!("the header of `{whose}` has fields that are not allowed in a bundle")));
        }
        self.contents = size;
        self.padding = padding(size);
        let mut entry = Entry { path: path.to_owned(), kind, size, mode, canonical: false };
        entry.canonical = !root && (slash == (entry.kind == Kind::Folder)) && headers(&entry) == raw;
        Ok(entry)
    }

    fn block(&mut self) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        self.inner.read_exact(&mut block)?;
        Ok(block)
    }

    fn skip_contents(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink())?;
        let mut padding = [0; BLOCK];
        let padding = &mut padding[..std::mem::take(&mut self.padding)];
        self.inner.read_exact(padding)?;
        if zeros(padding) { Ok(()) } else { Err(refused("there is data between two of its entries")) }
    }

    /// After the first block of zeros: reads to the end, so that gzip's own check sum is compared too.
    fn end(&mut self) -> io::Result<()> {
        let mut block = [0; 8192];
        let mut seen = BLOCK;
        loop {
            let n = self.inner.read(&mut block)?;
            if n == 0 {
                break;
            }
            seen += n;
            if !zeros(&block[..n]) || seen > LONGEST_PADDING {
                return Err(refused("there is data after the end of the archive"));
            }
        }
        match (self.form, seen) {
            (_, 0..1024) => Err(io::ErrorKind::UnexpectedEof.into()),
            (_, seen) if seen % BLOCK != 0 => Err(refused("its end is not a whole number of blocks")),
            (Form::Canonical, seen) if seen != 2 * BLOCK => Err(refused(format!(
                "it ends in {seen} zero bytes instead of {}: `build-gate` did not write it so",
                2 * BLOCK
            ))),
            _ => Ok(()),
        }
    }
}

/// The contents of the entry that [`Reader::next`] gave last.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.contents).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.contents -= n as u64;
        Ok(n)
    }
}

fn zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

/// A name of a field: up to its first NUL, and nothing behind that.
fn string(header: &[u8; BLOCK], field: std::ops::Range<usize>) -> io::Result<Vec<u8>> {
    let bytes = &header[field];
    let (name, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    if zeros(rest) {
        Ok(name.to_vec())
    } else {
        Err(refused(format!("there is data after the name `{}`", name.escape_ascii())))
    }
}

/// A long name, whose beginning stands in the field as well.
fn continued(header: &[u8; BLOCK], field: std::ops::Range<usize>, long: Vec<u8>) -> io::Result<Vec<u8>> {
    if long.starts_with(&string(header, field)?) {
        Ok(long)
    } else {
        Err(refused(format!("the entry `{}` has a second name in its header", long.escape_ascii())))
    }
}

fn text(name: Vec<u8>) -> io::Result<String> {
    String::from_utf8(name)
        .map_err(|error| refused(format!("the name `{}` is not UTF-8", error.into_bytes().escape_ascii())))
}

/// Blanks, octal digits, and blanks or NULs up to the field's end. Base 256 is for numbers that no bundle needs; `+` and `-` mean base 64
/// to GNU tar.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|byte| *byte != b' ')?;
    let digits = field[start..].iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (digits, rest) = field[start..].split_at(digits);
    if digits.is_empty() || !rest.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number << 3 | u64::from(digit - b'0')))
}

fn number(header: &[u8; BLOCK], field: std::ops::Range<usize>, what: &str, whose: &str) -> io::Result<u64> {
    let bytes = &header[field];
    octal(bytes).ok_or_else(|| {
        refused(format!(
            "the {what} of `{whose}` is `{}`, which is not an octal number: tar programs read it differently",
            bytes.escape_ascii()
        ))
    })
}

/// What is not used is checked all the same.
fn numbers(header: &[u8; BLOCK], whose: &str) -> io::Result<()> {
    for (field, what) in [(field::MODE, "mode"), (field::UID, "owner"), (field::GID, "group"), (field::MTIME, "time")] {
        number(header, field, what, whose)?;
    }
    Ok(())
}

/// The sum over the header's bytes as unsigned numbers, with blanks in its own place.
fn sum(header: &[u8; BLOCK]) -> u64 {
    let all: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[field::CHECKSUM].iter().map(|byte| u64::from(*byte)).sum();
    all - own + 8 * u64::from(b' ')
}

fn check_sum(header: &[u8; BLOCK]) -> io::Result<()> {
    if octal(&header[field::CHECKSUM]) == Some(sum(header)) {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum of a header is wrong"))
    }
}

/// The two modes that files of a bundle have.
pub(crate) fn file_mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

fn put_octal(header: &mut [u8; BLOCK], field: std::ops::Range<usize>, number: u64) {
    let digits = field.len() - 1;
    let text = format!("{number:0digits$o}");
    // Never longer: sizes are below 8 GiB ([`super::read::Limits`]), everything else is ours.
    header[field.start..field.start + text.len().min(digits)]
        .copy_from_slice(&text.as_bytes()[..text.len().min(digits)]);
}

fn header(name: &[u8], kind: u8, mode: u32, size: u64, time: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name);
    put_octal(&mut header, field::MODE, mode.into());
    put_octal(&mut header, field::UID, 0);
    put_octal(&mut header, field::GID, 0);
    put_octal(&mut header, field::SIZE, size);
    put_octal(&mut header, field::MTIME, time);
    header[field::TYPE] = kind;
    header[field::MAGIC].copy_from_slice(GNU);
    header
}

fn put_sum(header: &mut [u8; BLOCK]) {
    let sum = sum(header);
    put_octal(header, field::CHECKSUM, sum);
}

/// A record that carries a name which does not fit into its field.
fn put_long(blocks: &mut Vec<u8>, kind: u8, name: &str) {
    let mut header = header(LONG, kind, 0o644, name.len() as u64 + 1, 0);
    put_sum(&mut header);
    blocks.extend_from_slice(&header);
    blocks.extend_from_slice(name.as_bytes());
    blocks.resize(blocks.len() + 1 + padding(name.len() as u64 + 1), 0);
}

/// As much of a name as fits, and no part of a letter.
fn beginning(name: &str) -> &[u8] {
    let mut end = name.len().min(NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name.as_bytes()[..end]
}

/// The headers of an entry in the canonical form.
fn headers(entry: &Entry) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(BLOCK);
    let (kind, mode) = match entry.kind {
        Kind::File => (b'0', file_mode(entry.executable())),
        Kind::Folder => (b'5', 0o755),
        Kind::Link { .. } => (b'2', 0o777),
    };
    let name = if entry.kind == Kind::Folder { format!("{}/", entry.path) } else { entry.path.clone() };
    if name.len() > NAME {
        put_long(&mut blocks, b'L', &name);
    }
    let mut header = header(beginning(&name), kind, mode, entry.size, ENTRY_TIME);
    if let Kind::Link { target } = &entry.kind {
        if target.len() > NAME {
            put_long(&mut blocks, b'K', target);
        } else {
            header[field::LINK][..target.len()].copy_from_slice(target.as_bytes());
        }
    }
    put_sum(&mut header);
    blocks.extend_from_slice(&header);
    blocks
}

/// Writes an archive in the canonical form.
pub(crate) struct Writer<W> {
    inner: W,
    folders: BTreeSet<String>,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, folders: BTreeSet::new() }
    }

    /// A file of exactly so many bytes.
    pub(crate) fn file(&mut self, path: &str, executable: bool, size: u64, contents: &mut impl Read) -> io::Result<()> {
        self.headers(path, Kind::File, size, file_mode(executable))?;
        // One byte more is asked for: a reader that checks its end must see it.
        let written = io::copy(&mut contents.take(size.saturating_add(1)), &mut self.inner)?;
        if written != size {
            return Err(refused(format!("`{path}` has {written} bytes, but its header says {size}")));
        }
        self.inner.write_all(&[0; BLOCK][..padding(size)])
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.headers(path, Kind::Link { target: target.to_owned() }, 0, 0o777)
    }

    /// A folder, unless it was needed before for what is in it.
    pub(crate) fn folder(&mut self, path: &str) -> io::Result<()> {
        if self.folders.contains(path) {
            return Ok(());
        }
        self.headers(path, Kind::Folder, 0, 0o755)?;
        self.folders.insert(path.to_owned());
        Ok(())
    }

    /// Ends the archive; gives the inner writer and every folder back.
    pub(crate) fn finish(mut self) -> io::Result<(W, BTreeSet<String>)> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok((self.inner, self.folders))
    }

    /// After the folders that it lies in, where they are still missing: what a tar makes by itself has the modes of its server.
    fn headers(&mut self, path: &str, kind: Kind, size: u64, mode: u32) -> io::Result<()> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.folders.contains(parent)
        {
            self.folder(parent)?;
        }
        let entry = Entry { path: path.to_owned(), kind, size, mode, canonical: true };
        self.inner.write_all(&headers(&entry))
    }
}
