//! The artifact's zip. Nothing is extracted but the bundle and the `.sha256` beside it, and both by their exact names (F9, F54).

use std::{
    collections::HashSet,
    fmt::Display,
    fs::File,
    io::{self, BufRead as _, Read, Seek, SeekFrom},
    path::Path,
};

use flate2::bufread::DeflateDecoder;

use crate::{
    bundle::pace::Pace,
    domain::{Failure, Measure, Sha256Digest},
    errors::artifact::{self as errors, zip_entry_unreadable, zip_unreadable, zip_unsafe},
};

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

/// Takes `name` and `name.sha256` out of the zip; `create` makes the file for the bundle.
pub(super) fn bundle(
    zip: &Path,
    name: &str,
    create: impl FnOnce() -> io::Result<File>,
    pace: &Pace,
) -> Result<Taken, Failure> {
    let file = File::open(zip).map_err(errors::unzipping)?;
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
    let entries = entries(&mut zip)?;
    let names = || entries.iter().map(|entry| entry.name.as_str());
    let beside_name = format!("{name}.sha256");
    let find = |wanted: &str| {
        let found = entries.iter().find(|entry| entry.name == wanted);
        found.ok_or_else(|| errors::bundle_missing(wanted, &names().collect::<Vec<_>>()))
    };
    let (bundle_at, beside_at) = (find(name)?, find(&beside_name)?);
    let beside = parse_beside(&read_text(&mut zip, beside_at)?, name)?;
    let (size, sha256) = copy(&mut zip, bundle_at, &mut create().map_err(errors::unzipping)?, pace)?;
    let others = names().filter(|entry| *entry != name && *entry != beside_name).map(str::to_owned).collect();
    Ok(Taken { size, sha256, beside, others })
}

/// upload-artifact stores one raw file when it is told `archive: false`.
fn must_be_zip(file: &mut (impl Read + Seek)) -> Result<(), Failure> {
    let mut magic = [0; 4];
    let read = file.read(&mut magic).map_err(errors::unzipping)?;
    file.rewind().map_err(errors::unzipping)?;
    match &magic[..read] {
        b"PK\x03\x04" | b"PK\x05\x06" => Ok(()),
        _ => Err(errors::not_a_zip()),
    }
}

/// An entry, as the list of entries and its own header agree on it.
struct Entry {
    name: String,
    flags: u16,
    deflated: bool,
    crc: u32,
    compressed: u64,
    size: u64,
    /// Where its own header begins, and its contents.
    header: u64,
    contents: u64,
}

/// General purpose flags (APPNOTE 4.4.4): how hard deflate tried, sizes behind the contents, names in UTF-8.
const FLAGS: u16 = 0b0110 | BEHIND | UTF8;
const ENCRYPTED: u16 = 1;
const BEHIND: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;

/// Extra fields that change what an entry is: another name, another encryption (APPNOTE 4.6.9, WinZip's AES).
const CHANGING: [u16; 2] = [0x7075, 0x9901];
const WIDE: u16 = 1;

/// Reads the list of entries and each entry's own header. Two programs must not see two things in one zip: some go by the list, others by the
/// headers, some take the first of two names and others the last, and some look for headers in what no entry owns (APPNOTE 4.3.6).
fn entries(zip: &mut (impl Read + Seek)) -> Result<Vec<Entry>, Failure> {
    let list = find_list(zip).map_err(zip_unreadable)?;
    if list.entries > ENTRIES as u64 {
        return Err(zip_unsafe(format!("it contains {} files; at most {ENTRIES} are expected", list.entries)));
    }
    zip.seek(SeekFrom::Start(list.begins)).map_err(zip_unreadable)?;
    let mut left = list.ends - list.begins;
    let (mut entries, mut names) = (Vec::new(), HashSet::new());
    for _ in 0..list.entries {
        let record = read_record(zip).map_err(zip_unreadable)?;
        left = left
            .checked_sub(record.length())
            .ok_or_else(|| zip_unreadable("an entry is longer than the list of entries"))?;
        let entry = listed(&record)?;
        if !names.insert(entry.name.to_lowercase()) {
            return Err(bad(&entry.name, "exists twice"));
        }
        entries.push(entry);
    }
    if left > 0 {
        return Err(zip_unreadable("the list of entries is longer than declared"));
    }
    agree(zip, &mut entries, list.begins)?;
    Ok(entries)
}

fn bad(name: &str, what: impl Display) -> Failure {
    zip_unsafe(format!("its entry `{}` {what}", name.escape_default()))
}

/// What the list says of an entry, which is one that a careful build could have made.
fn listed(record: &Record) -> Result<Entry, Failure> {
    let Record { head, name: bytes, extra } = record;
    let flags = short(head, 8);
    let name = match std::str::from_utf8(bytes) {
        Ok(name) if flags & UTF8 != 0 || name.is_ascii() => name.to_owned(),
        _ => return Err(bad(&bytes.escape_ascii().to_string(), "has a name that programs read differently")),
    };
    if name.is_empty() || name.starts_with('/') || name.contains('\\') || name.split('/').any(|part| part == "..") {
        return Err(bad(&name, "has a name outside the target folder"));
    }
    if name.chars().any(char::is_control) {
        return Err(bad(&name, "has a name with control characters"));
    }
    let kind = long(head, 38) >> 16 & 0o170_000;
    if kind == 0o120_000 {
        return Err(bad(&name, "is a symbolic link"));
    }
    if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
        return Err(bad(&name, "is not a file"));
    }
    if flags & ENCRYPTED != 0 {
        return Err(bad(&name, "is encrypted"));
    }
    if flags & !FLAGS != 0 {
        return Err(bad(&name, format_args!("has the flags {flags:#06x}, of which some are not supported")));
    }
    let deflated = match short(head, 10) {
        0 => false,
        8 => true,
        method => return Err(bad(&name, format_args!("is compressed by the method {method}, not by deflate"))),
    };
    let mut wide = wide_field(&name, extra)?.into_iter();
    let mut number = |at: usize| match long(head, at) {
        u32::MAX => wide.next().ok_or_else(|| bad(&name, "lacks a 64-bit number")),
        number => Ok(number.into()),
    };
    let (size, compressed, header) = (number(24)?, number(20)?, number(42)?);
    if short(head, 34) != 0 || (!deflated && size != compressed) {
        return Err(bad(&name, "has sizes that contradict each other"));
    }
    Ok(Entry { name, flags, deflated, crc: long(head, 16), compressed, size, header, contents: 0 })
}

/// The numbers of 64 bits (APPNOTE 4.5.3). Extra fields have to fill their place, and none of them may change the entry.
fn wide_field(name: &str, mut extra: &[u8]) -> Result<Vec<u64>, Failure> {
    let mut found = None;
    while !extra.is_empty() {
        let (id, length) = (short(extra, 0), usize::from(short(extra, 2)));
        let field = extra.get(4..4 + length).ok_or_else(|| bad(name, "has extra fields that are cut short"))?;
        if CHANGING.contains(&id) {
            return Err(bad(name, format_args!("has the extra field {id:#06x}, which not every program reads")));
        }
        if id == WIDE && found.replace(field.chunks(8).map(|eight| wide(eight, 0)).collect::<Vec<_>>()).is_some() {
            return Err(bad(name, "has its sizes twice"));
        }
        extra = &extra[4 + length..];
    }
    Ok(found.unwrap_or_default())
}

/// Compares each entry's own header with the list, and that the entries fill the zip from its beginning to the list.
fn agree(zip: &mut (impl Read + Seek), entries: &mut [Entry], list: u64) -> Result<(), Failure> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| entries[*at].header);
    let starts: Vec<u64> = order.iter().map(|at| entries[*at].header).chain([list]).collect();
    if starts[0] != 0 {
        return Err(zip_unsafe("there is data before its first entry"));
    }
    for (at, ends) in order.into_iter().zip(&starts[1..]) {
        let entry = &mut entries[at];
        let name = entry.name.clone();
        let unread = |error: io::Error| zip_unreadable(format!("`{}`: {error}", name.escape_default()));
        zip.seek(SeekFrom::Start(entry.header)).map_err(unread)?;
        let mut head = [0; 30];
        zip.read_exact(&mut head).map_err(unread)?;
        let mut own = vec![0; short(&head, 26).into()];
        zip.read_exact(&mut own).map_err(unread)?;
        let mut extra = vec![0; short(&head, 28).into()];
        zip.read_exact(&mut extra).map_err(unread)?;
        let method = if entry.deflated { 8 } else { 0 };
        if !head.starts_with(b"PK\x03\x04")
            || own != name.as_bytes()
            || short(&head, 6) != entry.flags
            || short(&head, 8) != method
        {
            return Err(bad(&name, "has a header that differs from the list of entries"));
        }
        let mut wide = wide_field(&name, &extra)?.into_iter();
        let mut number = |at: usize| match long(&head, at) {
            u32::MAX => wide.next().unwrap_or(u32::MAX.into()),
            number => number.into(),
        };
        let said = (u64::from(long(&head, 14)), number(22), number(18));
        let listed = (u64::from(entry.crc), entry.size, entry.compressed);
        // A zip that is written as a stream knows neither before the contents.
        let later = entry.flags & BEHIND != 0 && said == (0, 0, 0);
        if said != listed && !later {
            return Err(bad(&name, "has a header with other sizes than the list of entries"));
        }
        entry.contents = entry.header + (head.len() + own.len() + extra.len()) as u64;
        let behind = entry.contents.checked_add(entry.compressed).and_then(|end| ends.checked_sub(end));
        let behind = behind.ok_or_else(|| bad(&name, "overlaps the next entry"))?;
        if (behind == 0) == (entry.flags & BEHIND != 0) || behind > 24 {
            return Err(bad(&name, "is followed by data that is not an entry"));
        }
        let mut sizes = vec![0; behind as usize];
        zip.seek(SeekFrom::Start(ends - behind)).map_err(unread)?;
        zip.read_exact(&mut sizes).map_err(unread)?;
        if behind > 0 && !sizes_behind(&sizes, entry) {
            return Err(bad(&name, "has other sizes after it than in the list of entries"));
        }
    }
    Ok(())
}

/// Check sum and sizes behind the contents, with a mark in front or without, the sizes of 32 bits or of 64 (APPNOTE 4.3.9).
fn sizes_behind(bytes: &[u8], entry: &Entry) -> bool {
    let numbers = bytes.strip_prefix(b"PK\x07\x08").unwrap_or(bytes);
    let (crc, sizes) = numbers.split_at_checked(4).unwrap_or_default();
    let said = match sizes.len() {
        8 => (long(sizes, 0).into(), long(sizes, 4).into()),
        16 => (wide(sizes, 0), wide(sizes, 8)),
        _ => return false,
    };
    long(crc, 0) == entry.crc && said == (entry.compressed, entry.size)
}

/// Where the list of entries is, and how many it says it has.
struct List {
    entries: u64,
    begins: u64,
    ends: u64,
}

/// A zip ends in one record. A comment could stand behind it, and no tool of ours writes one: some programs would find another end in it.
fn find_list(zip: &mut (impl Read + Seek)) -> io::Result<List> {
    const END: u64 = 22;
    const LOCATOR: u64 = 20;
    const LARGER: u64 = 56;
    let missing = || io::Error::other("its end is missing");
    let size = zip.seek(SeekFrom::End(0))?;
    let end = size.checked_sub(END).ok_or_else(missing)?;
    let mut record = [0; END as usize];
    zip.seek(SeekFrom::Start(end))?;
    zip.read_exact(&mut record)?;
    if !record.starts_with(b"PK\x05\x06") || short(&record, 20) != 0 {
        return Err(missing());
    }
    let small = (u64::from(short(&record, 10)), u64::from(long(&record, 12)), u64::from(long(&record, 16)));
    let (mut numbers, mut ends) = (small, end);
    let mut disks =
        [short(&record, 4).into(), short(&record, 6).into(), u64::from(short(&record, 8) ^ short(&record, 10))];
    // Where the numbers do not fit, a larger record has them, and one before this record says where that is.
    if let Some(locator) = end.checked_sub(LOCATOR) {
        let mut bytes = [0; LOCATOR as usize];
        zip.seek(SeekFrom::Start(locator))?;
        zip.read_exact(&mut bytes)?;
        if bytes.starts_with(b"PK\x06\x07") {
            let (larger, mut record) = (wide(&bytes, 8), [0; LARGER as usize]);
            zip.seek(SeekFrom::Start(larger))?;
            zip.read_exact(&mut record)?;
            if !record.starts_with(b"PK\x06\x06") || larger.checked_add(LARGER) != Some(locator) {
                return Err(io::Error::other("its end record points outside the file"));
            }
            numbers = (wide(&record, 32), wide(&record, 40), wide(&record, 48));
            disks = [long(&record, 16).into(), long(&record, 20).into(), wide(&record, 24) ^ numbers.0];
            ends = larger;
            let fits = |small: u64, most: u64, number: u64| small == most || small == number;
            if wide(&record, 4) != LARGER - 12
                || long(&bytes, 4) != 0
                || long(&bytes, 16) != 1
                || !fits(small.0, u16::MAX.into(), numbers.0)
                || !fits(small.1, u32::MAX.into(), numbers.1)
                || !fits(small.2, u32::MAX.into(), numbers.2)
            {
                return Err(io::Error::other("its two end records differ"));
            }
        }
    }
    let (entries, length, begins) = numbers;
    if disks != [0; 3] {
        return Err(io::Error::other("it is a part of several"));
    }
    if begins.checked_add(length) != Some(ends) {
        return Err(io::Error::other("its list of entries is not at the declared position"));
    }
    Ok(List { entries, begins, ends })
}

/// One entry of the list.
struct Record {
    head: [u8; 46],
    name: Vec<u8>,
    extra: Vec<u8>,
}

impl Record {
    /// Bytes in the list.
    fn length(&self) -> u64 {
        (self.head.len() + self.name.len() + self.extra.len()) as u64 + u64::from(short(&self.head, 32))
    }
}

fn read_record(zip: &mut impl Read) -> io::Result<Record> {
    let mut head = [0; 46];
    zip.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(io::Error::other("its list of entries contains other data"));
    }
    let mut field = |at: usize| {
        let mut bytes = vec![0; short(&head, at).into()];
        zip.read_exact(&mut bytes).map(|()| bytes)
    };
    // A comment has no meaning for unpacking.
    let (name, extra, _comment) = (field(28)?, field(30)?, field(32)?);
    Ok(Record { head, name, extra })
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

/// The contents of an entry, whose check sum is looked at when they end. They have to be all of what the entry holds.
struct Contents<R: Read> {
    inner: Inner<R>,
    crc: Option<crc32fast::Hasher>,
    expected: u32,
}

enum Inner<R: Read> {
    Stored(io::BufReader<io::Take<R>>),
    Deflated(DeflateDecoder<io::BufReader<io::Take<R>>>),
}

impl<R: Read + Seek> Contents<R> {
    fn open(mut zip: R, entry: &Entry) -> io::Result<Self> {
        zip.seek(SeekFrom::Start(entry.contents))?;
        let packed = io::BufReader::with_capacity(1 << 16, zip.take(entry.compressed));
        let inner = if entry.deflated { Inner::Deflated(DeflateDecoder::new(packed)) } else { Inner::Stored(packed) };
        Ok(Self { inner, crc: Some(crc32fast::Hasher::new()), expected: entry.crc })
    }
}

impl<R: Read> Read for Contents<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.inner {
            Inner::Stored(packed) => packed.read(buffer)?,
            Inner::Deflated(packed) => packed.read(buffer)?,
        };
        match (&mut self.crc, n) {
            (Some(crc), 1..) => crc.update(&buffer[..n]),
            (crc, 0) if !buffer.is_empty() => {
                if crc.take().is_some_and(|crc| crc.finalize() != self.expected) {
                    return Err(io::Error::other("its checksum is wrong"));
                }
                if let Inner::Deflated(packed) = &mut self.inner
                    && !packed.get_mut().fill_buf()?.is_empty()
                {
                    return Err(io::Error::other("there is data after its compressed data"));
                }
            }
            _ => {}
        }
        Ok(n)
    }
}

fn read_text(zip: &mut (impl Read + Seek), entry: &Entry) -> Result<String, Failure> {
    let name = &entry.name;
    let mut text = String::new();
    let read = Contents::open(zip, entry).and_then(|contents| contents.take(BESIDE + 1).read_to_string(&mut text));
    read.map_err(|error| zip_entry_unreadable(name, error))?;
    if text.len() as u64 > BESIDE {
        return Err(zip_unsafe(format!("{name} is larger than {BESIDE} bytes")));
    }
    if text.len() as u64 != entry.size {
        return Err(zip_unsafe(format!("{name} has {} bytes, but its header says {}", text.len(), entry.size)));
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
        errors::sha256_malformed(name, &said)
    })
}

fn copy(
    zip: &mut (impl Read + Seek),
    entry: &Entry,
    to: &mut impl io::Write,
    pace: &Pace,
) -> Result<(u64, Sha256Digest), Failure> {
    let (name, declared) = (&entry.name, entry.size);
    if declared > BUNDLE || declared / RATIO > entry.compressed {
        return Err(zip_unsafe(format!(
            "{name} declares that {} bytes in the zip become {declared}",
            entry.compressed
        )));
    }
    let mut contents = Contents::open(zip, entry).map_err(|error| zip_entry_unreadable(name, error))?;
    let mut measure = Measure::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = contents.read(&mut buffer).map_err(|error| zip_entry_unreadable(name, error))?;
        if read == 0 {
            break;
        }
        measure.add(&buffer[..read]);
        if measure.size() > declared {
            return Err(zip_unsafe(format!("{name} is larger than the declared {declared} bytes")));
        }
        to.write_all(&buffer[..read]).map_err(errors::unzipping)?;
        pace.advance(read as u64)?;
    }
    let (sha256, size) = measure.end();
    if size != declared {
        return Err(zip_unsafe(format!("{name} has {size} bytes, but its header says {declared}")));
    }
    Ok((size, sha256))
}
