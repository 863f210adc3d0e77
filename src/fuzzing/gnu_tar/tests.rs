//! Our reading of an archive against GNU tar's, on archives that were changed in ways to which tars are touchy.
//!
//! Whenever we take an archive, what we write of it is read once more in this process: it has to be the same. GNU tar unpacks it as well:
//! what we send, and the archive as it came, where that is not the same bytes. Both must unpack to what we read, entry by entry, and the
//! listing must say the same.
//!
//! `GATED_DEPLOY_ARCHIVES=1000000` tries so many archives instead of a few thousand. With TMPDIR in memory one that is taken costs two
//! processes of some milliseconds.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    bundle::read::{Maker, Unchecked},
    domain::{Sha256Digest, bundle::MANIFEST_PATH},
    fuzzing::{
        Taken, archive,
        tests::{Dice, files},
    },
};

const BLOCK: usize = 512;

#[test]
fn gnu_tar_reads_what_we_read() {
    let rounds: usize = env::var("GATED_DEPLOY_ARCHIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let seed: u64 = env::var("GATED_DEPLOY_ARCHIVES_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let mut seeds = files("archive");
    // In the canonical form, too.
    let canonical =
        seeds.iter().filter_map(|(name, bytes)| Some((format!("{name} as we write it"), archive(bytes)?.sent)));
    seeds.extend(canonical.collect::<Vec<_>>());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    println!("seed {seed}");
    let (mut taken, mut untouched, mut as_it_came) = (0, 0, 0);
    let said = |round: usize, taken: usize, untouched: usize, as_it_came: usize| {
        println!(
            "{round} archives, {taken} taken ({untouched} of them unchanged) and given to GNU tar as we send them, \
             {as_it_came} as they came, too: no difference"
        );
    };
    for round in 0..rounds {
        if round > 0 && round % 50_000 == 0 {
            said(round, taken, untouched, as_it_came);
        }
        let (name, bytes) = &seeds[dice.below(seeds.len())];
        let other = &seeds[dice.below(seeds.len())].1;
        let mut changed = bytes.clone();
        for _ in 0..=dice.below(3) {
            change(&mut dice, &mut changed, other);
        }
        if dice.below(10) > 0 {
            sum_up(&mut changed);
        }
        let run = std::panic::AssertUnwindSafe(|| archive(&changed));
        let read = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            keep(&changed, &format!("{name}, round {round}"));
            std::panic::resume_unwind(panic)
        });
        let Some(read) = read else { continue };
        taken += 1;
        untouched += usize::from(changed == *bytes);
        match compare(&read, &changed) {
            Ok(both) => as_it_came += usize::from(both),
            Err(difference) => {
                keep(&changed, &format!("{name}, round {round}"));
                panic!("{name}, round {round}: {difference}");
            }
        }
    }
    said(rounds, taken, untouched, as_it_came);
    assert!(taken * 50 > rounds && as_it_came > 0, "most changes are refused, but not all: {taken} of {rounds}");
}

/// Where a person finds what broke.
fn keep(bytes: &[u8], what: &str) {
    let path = env::temp_dir().join("gated-deploy-archive");
    if fs::write(&path, bytes).is_ok() {
        eprintln!("{what} lies in {}", path.display());
    }
}

/// Whether the archive as it came was unpacked, too: what is sent as it came need not be.
fn compare(read: &Taken, came: &[u8]) -> Result<bool, String> {
    let expected = read.tree.records();
    let (records, lines) = unpacked(&read.sent).map_err(|error| format!("what we send: {error}"))?;
    same("what we send", expected, &records)?;
    let mut listed = listing(expected);
    listed.sort_unstable();
    same("the listing of what we send", &listed, &lines)?;
    if read.sent == came {
        return Ok(false);
    }
    let (mut records, _) = unpacked(came).map_err(|error| format!("the archive as it came: {error}"))?;
    let mut expected = expected.to_vec();
    if let Maker::TarOfATree(Unchecked { left_out, .. }) = &read.by {
        // The manifest was made by us, and is not in the archive as it came.
        expected.retain(|record| path_of(record) != MANIFEST_PATH);
        records.retain(|record| !is_left_out(record, left_out) || expected.contains(record));
    }
    same("the archive as it came", &expected, &records)?;
    Ok(true)
}

/// What was left out, and the folders that tar makes around it.
fn is_left_out(record: &str, left_out: &[(String, &'static str)]) -> bool {
    let path = path_of(record);
    let inside = |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    left_out.iter().any(|(left_out, _)| {
        path == left_out || inside(path, left_out) || (record.starts_with("d ") && inside(left_out, path))
    })
}

/// The path of a record of a `Listing`.
fn path_of(record: &str) -> &str {
    let path = record.split_once(" ./").map_or(record, |(_, path)| path);
    path.split_once('\t').map_or(path, |(path, _)| path)
}

fn same(what: &str, ours: &[String], theirs: &[String]) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: we read\n{ours:#?}\nGNU tar unpacked\n{theirs:#?}")) }
}

/// What GNU tar makes of an archive in an empty folder, as records of a `Listing`; and its listing, without owners and times.
fn unpacked(archive: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut tar = Command::new("tar")
        .args(["-xvvf", "-", "--no-same-owner", "--touch", "--quoting-style=literal", "-C"])
        .arg(folder.path())
        .env("TZ", "UTC0")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    // An archive of the test fits into the pipe's and tar's buffers, or tar reads on; what it does not read is no failure here.
    let _ = tar.stdin.take().map(|mut pipe| pipe.write_all(archive));
    let ended = tar.wait_with_output().map_err(|error| error.to_string())?;
    if !ended.status.success() {
        return Err(format!("{}: {}", ended.status, String::from_utf8_lossy(&ended.stderr)));
    }
    let mut records = Vec::new();
    walk(folder.path(), ".", &mut records).map_err(|error| error.to_string())?;
    records.sort_unstable();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let mut lines: Vec<String> = said.lines().map(without_owner_and_time).collect();
    lines.sort_unstable();
    Ok((records, lines))
}

fn without_owner_and_time(line: &str) -> String {
    let mode = line.split(' ').next().unwrap_or_default();
    format!("{mode} {}", line.split_once(" 00:00 ").map_or(line, |(_, name)| name))
}

/// What `tar -tv` says of each entry.
fn listing(records: &[String]) -> Vec<String> {
    let line = |record: &String| {
        let (kind, path) = record.split_once(" ./")?;
        Some(match kind {
            "d" => format!("drwxr-xr-x {path}/"),
            "f" => format!("-rw-r--r-- {path}"),
            "x" => format!("-rwxr-xr-x {path}"),
            "l" => format!("lrwxrwxrwx {}", path.replacen('\t', " -> ", 1)),
            _ => return None,
        })
    };
    records.iter().filter_map(line).collect()
}

fn walk(folder: &Path, shown: &str, records: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = format!("{shown}/{}", entry.file_name().to_string_lossy());
        if kind.is_symlink() {
            records.push(format!("l {name}\t{}", fs::read_link(&path)?.to_string_lossy()));
            continue;
        }
        let mode = entry.metadata()?.mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        if kind.is_dir() {
            records.push(format!("d {name}"));
            walk(&path, &name, records)?;
        } else if kind.is_file() {
            records.push(format!("{} {name}", if mode & 0o100 == 0 { 'f' } else { 'x' }));
            records.push(format!("{}  {name}", Sha256Digest::of(fs::read(&path)?)));
        } else {
            records.push(format!("? {name}"));
        }
    }
    Ok(())
}

/// Blocks that look like headers.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let blocks = (0..bytes.len() / BLOCK).map(|block| block * BLOCK);
    blocks.filter(|at| bytes[at + 257..].starts_with(b"ustar")).collect()
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    /// What may stand in a field of a number.
    const NUMBERS: [&[u8]; 22] = [
        b"+10",
        b"-1",
        b"0",
        b"00000000005",
        b"0000005\0",
        b"     5 \0",
        b"5\0",
        b"7 7",
        b"\x80\0\0\0\0\0\0\0\0\0\0\x05",
        b"\xff",
        b"",
        b" ",
        b"0x10",
        b"000000000010",
        b"000000001000",
        b"77777777777",
        b"1000",
        b"0000644\0",
        b"0000755\0",
        b"0004755\0",
        b"\t5",
        b"5\n",
    ];
    const NAMES: [&[u8]; 24] = [
        b"a",
        b"./a",
        b"./",
        b".",
        b"..",
        b"../x",
        b"/etc/x",
        b"a/b",
        b"./a/b/c",
        b"a/",
        b"././a",
        b"a//b",
        b"app/../x",
        b"a\0b",
        b"public/x.php",
        b"./public/index.php",
        b".gated-deploy-manifest.json",
        b"./.gated-deploy-manifest.json",
        b"\xc3\xb6",
        b"a\\b",
        b"a b",
        b"storage/x",
        b"-x",
        b"link/x",
    ];
    const FIELDS: [(usize, usize); 8] =
        [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8), (148, 8)];
    const TYPES: &[u8] = b"0125\x0076LKxgSVMDNXA34";
    let found = headers(bytes);
    let at = found.get(dice.below(found.len())).copied().unwrap_or_default();
    if found.is_empty() || bytes.len() < at + BLOCK {
        return dice.damage(bytes, other);
    }
    let put = |bytes: &mut Vec<u8>, from: usize, length: usize, text: &[u8], clear: bool| {
        let field = &mut bytes[at + from..at + from + length];
        if clear {
            field.fill(0);
        }
        let text = &text[..text.len().min(length)];
        field[..text.len()].copy_from_slice(text);
    };
    let clear = dice.below(3) > 0;
    match dice.below(14) {
        0 | 1 => {
            let (from, length) = FIELDS[dice.below(FIELDS.len())];
            put(bytes, from, length, NUMBERS[dice.below(NUMBERS.len())], clear);
        }
        2 | 3 => put(bytes, 0, 100, NAMES[dice.below(NAMES.len())], clear),
        4 => put(bytes, 157, 100, NAMES[dice.below(NAMES.len())], clear),
        5 => bytes[at + 156] = TYPES[dice.below(TYPES.len())],
        6 => put(
            bytes,
            257,
            8,
            [&b"ustar  \0"[..], b"ustar\x0000", b"ustar\0\0\0", b"\0\0\0\0\0\0\0\0"][dice.below(4)],
            true,
        ),
        7 => put(bytes, 345, 155, NAMES[dice.below(NAMES.len())], clear),
        8 => {
            let here = at + dice.below(BLOCK);
            bytes[here] = [0, b' ', b'0', b'/', 0xff, b'1'][dice.below(6)];
        }
        // An entry once more, or a block of another archive, or one less.
        9 => {
            let copy = bytes[at..at + BLOCK].to_vec();
            let to = found[dice.below(found.len())];
            bytes.splice(to..to, copy);
        }
        10 => {
            let blocks = other.len() / BLOCK;
            let from = dice.below(blocks) * BLOCK;
            let upto = (from + BLOCK * (1 + dice.below(4))).min(other.len());
            bytes.splice(at..at, other[from..upto].iter().copied());
        }
        11 => drop(bytes.drain(at..at + BLOCK)),
        12 => match dice.below(3) {
            0 => bytes.extend_from_slice(other),
            1 => bytes.resize(bytes.len() + BLOCK * dice.below(30), 0),
            _ => bytes.truncate(bytes.len() - BLOCK * dice.below(4).min(bytes.len() / BLOCK)),
        },
        _ => dice.damage(bytes, other),
    }
}

/// Right check sums, without which every reader stops at once.
fn sum_up(bytes: &mut [u8]) {
    for at in headers(bytes) {
        let header = &mut bytes[at..at + BLOCK];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}
