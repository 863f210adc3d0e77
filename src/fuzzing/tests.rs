//! The corpus, given to every target in every run of the test suite, and damaged in a thousand ways that are the same each time.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{TARGETS, Target};

/// For each target, beyond its corpus.
const MUTATIONS: usize = 1500;

/// No input may take longer than this: it would be a way to keep a release waiting. The fuzzer itself has one second.
const LONGEST: Duration = Duration::from_secs(10);

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// What a fuzzer found once stands there too, and never comes back.
pub(in crate::fuzzing) fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(corpus(target))
        .unwrap_or_else(|error| panic!("{target} has a folder in fuzz/corpus: {error}"))
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file of the corpus"))
        })
        .collect();
    files.sort();
    files
}

fn give(target: &Target, what: &str, bytes: &[u8]) {
    let began = Instant::now();
    let run = std::panic::AssertUnwindSafe(|| (target.run)(bytes));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("{} on {what}: {}", target.name, bytes.escape_ascii());
        std::panic::resume_unwind(panic);
    }
    assert!(began.elapsed() < LONGEST, "{} on {what}: {:?}: {}", target.name, began.elapsed(), bytes.escape_ascii());
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let names: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let folders: BTreeSet<String> = fs::read_dir(corpus(""))
        .expect("fuzz/corpus")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, folders);
    for name in names {
        assert!(files(&name).len() >= 3, "{name}: something sound, something broken, something odd");
    }
}

#[test]
fn the_corpus_breaks_no_parser() {
    for target in TARGETS {
        for (name, bytes) in files(target.name) {
            give(target, &name, &bytes);
        }
        give(target, "nothing", b"");
    }
}

#[test]
fn a_damaged_corpus_breaks_no_parser() {
    for target in TARGETS {
        let files = files(target.name);
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for round in 0..MUTATIONS {
            let (name, bytes) = &files[round % files.len()];
            let other = &files[dice.below(files.len())].1;
            let mut damaged = bytes.clone();
            for _ in 0..=dice.below(4) {
                dice.damage(&mut damaged, other);
            }
            give(target, &format!("{name}, mutation {round}"), &damaged);
        }
    }
}

/// A small generator of numbers (xorshift64*): the same in every run and on every machine.
pub(in crate::fuzzing) struct Dice(pub(in crate::fuzzing) u64);

impl Dice {
    pub(in crate::fuzzing) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }

    pub(in crate::fuzzing) fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        /// What parsers are touchy about.
        const ODD: [&[u8]; 20] = [
            b"\0",
            b"\n",
            b"\r",
            b"\x1b[2J",
            b"::add-mask::",
            b"##[error]",
            b"../",
            b"/",
            b"'",
            b"\"",
            b"$(id)",
            b"`id`",
            b"null",
            b"-1",
            b"18446744073709551616",
            b"\xff\xfe",
            b"\xe2\x80\xae",
            b"{\"a\":",
            b"&a *a",
            b"%0A",
        ];
        let at = self.below(bytes.len() + 1);
        match self.below(7) {
            0 if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << self.below(8);
            }
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..(at + self.below(40)).min(bytes.len()))),
            3 => {
                let copy = bytes[at..(at + self.below(200)).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let odd = ODD[self.below(ODD.len())];
                bytes.splice(at..at, odd.iter().copied());
            }
            5 => {
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let end = (at + self.below(9)).min(bytes.len());
                let fill = [0, 0xff, b' ', b'9'][self.below(4)];
                bytes[at..end].fill(fill);
            }
        }
    }
}
