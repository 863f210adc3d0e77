//! The negative control of a digest check: it must be seen to refuse before its yes means something (F69).

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    bundle::pace::Pace,
    domain::{Failure, Measure, Sha256Digest},
    errors::general,
};

/// Measures the file once more with one bit of it turned, by what measured it before, and asks the check about that. `takes` is the
/// check; one that takes this, too, proves nothing.
///
/// # Errors
/// The check took bytes that are not the file's, or the file cannot be read.
pub(super) fn must_refuse(
    path: &Path,
    pace: &Pace,
    takes: impl FnOnce(u64, Sha256Digest) -> bool,
) -> Result<(), Failure> {
    let doing = "checking that the digest check can fail";
    let local = |error: io::Error| general::runner_file(doing, format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(local)?;
    let size = file.metadata().map_err(local)?.len();
    let mut turned = Turned { inner: file, left: size / 2 };
    let mut measure = Measure::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = turned.read(&mut buffer).map_err(local)?;
        if read == 0 {
            break;
        }
        measure.add(&buffer[..read]);
        pace.advance(read as u64)?;
    }
    let (digest, size) = measure.end();
    if takes(size, digest) {
        return Err(Failure::bug(
            doing,
            "it accepts the same bytes with one byte changed, so the check proves nothing",
        ));
    }
    Ok(())
}

/// A reader that turns the lowest bit of one byte.
struct Turned<R> {
    inner: R,
    /// Bytes before that one.
    left: u64,
}

impl<R: Read> Read for Turned<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match usize::try_from(self.left) {
            Ok(at) if at < read => {
                buffer[at] ^= 1;
                self.left = u64::MAX;
            }
            _ => self.left = self.left.saturating_sub(read as u64),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use super::*;

    #[test]
    fn f69_a_digest_check_that_says_yes_to_a_turned_bit_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bundle");
        for size in [1, 2, 65_535, 65_536, 65_537, 200_000] {
            let bytes = vec![7; size];
            fs::write(&path, &bytes).expect("a file");
            let right = Sha256Digest::of(&bytes);
            let mut turned = bytes;
            turned[size / 2] ^= 1;
            let asked = Cell::new(None);
            let check = |told: u64, digest: Sha256Digest| {
                asked.set(Some((told, digest.clone())));
                digest == right
            };
            must_refuse(&path, &Pace::default(), check).expect("a check that compares");
            assert_eq!(asked.take(), Some((size as u64, Sha256Digest::of(&turned))), "{size}: one bit, and no other");

            let failure = must_refuse(&path, &Pace::default(), |_, _| true).expect_err("a check that always says yes");
            assert!(failure.cause.contains("the check proves nothing"), "{failure}");
            let by_size = |told: u64, _| told == size as u64;
            must_refuse(&path, &Pace::default(), by_size).expect_err("a check that only counts bytes");
        }
    }
}
