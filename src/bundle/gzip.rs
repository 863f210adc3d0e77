//! One ordinary gzip member, written by several threads.
//!
//! The input is cut into chunks of fixed size. Each is deflated on its own with the 32 KiB before it as dictionary, and
//! ends on a byte border (a sync flush), so that the pieces can be joined; the check sums are combined. What comes out
//! depends on the input alone, not on the number of threads.

use std::{
    collections::VecDeque,
    io::{self, Write},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use crc32fast::Hasher as Crc32;
use flate2::{Compress, Compression, FlushCompress, Status};

/// Bytes of input that one thread takes at a time. Part of the format of our bundles: another size, other bytes.
pub const CHUNK: usize = 256 << 10;

/// Deflate looks back this far (RFC 1951, 2).
const WINDOW: usize = 32 << 10;

/// gzip's own default: up to about 25 MB/s of line, its smaller bundle saves more time than it costs.
const LEVEL: u32 = 6;

/// Magic, deflate, no flags, no time, no extra flags, unknown system (RFC 1952, 2.3.1): nothing that differs between machines.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// More threads than this wait for each other's output.
const MOST_THREADS: usize = 8;

/// Compresses what is written to it. Call [`ParallelGzip::finish`]: what is dropped before is no whole gzip file.
pub struct ParallelGzip<W: Write> {
    inner: W,
    /// The chunk that is being filled.
    chunk: Vec<u8>,
    /// The chunk before, whose end is the next one's dictionary.
    previous: Arc<Vec<u8>>,
    jobs: SyncSender<Job>,
    /// Answers of the jobs that were handed out, in the order of the input.
    pending: VecDeque<Receiver<io::Result<Piece>>>,
    /// Chunks in memory at a time, in whatever state.
    depth: usize,
    crc: Crc32,
    length: u32,
}

struct Job {
    chunk: Arc<Vec<u8>>,
    previous: Arc<Vec<u8>>,
    last: bool,
    answer: SyncSender<io::Result<Piece>>,
}

/// A deflated chunk.
struct Piece {
    bytes: Vec<u8>,
    crc: Crc32,
}

impl<W: Write> ParallelGzip<W> {
    /// With as many threads as the machine has processors.
    pub fn new(inner: W) -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_threads(inner, processors.min(MOST_THREADS))
    }

    /// With so many threads, at least one.
    pub fn with_threads(mut inner: W, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        inner.write_all(&HEADER)?;
        let (jobs, queue) = mpsc::sync_channel(threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = queue.clone();
            // They are not joined: they end when the queue does, and own nothing but chunks.
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&queue))?;
        }
        Ok(Self {
            inner,
            chunk: Vec::with_capacity(CHUNK),
            previous: Arc::default(),
            jobs,
            pending: VecDeque::new(),
            depth: threads * 2,
            crc: Crc32::new(),
            length: 0,
        })
    }

    /// Writes what is left and the trailer, and gives the inner writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.hand_out(true)?;
        while !self.pending.is_empty() {
            self.collect()?;
        }
        self.inner.write_all(&self.crc.clone().finalize().to_le_bytes())?;
        self.inner.write_all(&self.length.to_le_bytes())?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    fn hand_out(&mut self, last: bool) -> io::Result<()> {
        while self.pending.len() >= self.depth {
            self.collect()?;
        }
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, Vec::with_capacity(if last { 0 } else { CHUNK })));
        let previous = std::mem::replace(&mut self.previous, chunk.clone());
        let (answer, receiver) = mpsc::sync_channel(1);
        self.jobs.send(Job { chunk, previous, last, answer }).map_err(|_| ended_early())?;
        self.pending.push_back(receiver);
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        if let Some(receiver) = self.pending.pop_front() {
            let piece = receiver.recv().map_err(|_| ended_early())??;
            self.crc.combine(&piece.crc);
            self.inner.write_all(&piece.bytes)?;
        }
        Ok(())
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only now, when more follows, do we know that a full chunk is not the last one.
        if self.chunk.len() == CHUNK && !bytes.is_empty() {
            self.hand_out(false)?;
        }
        let n = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..n]);
        // gzip stores the length modulo 2^32 (RFC 1952, 2.3.1).
        self.length = self.length.wrapping_add(n as u32);
        Ok(n)
    }

    /// Does nothing: cutting a chunk short here would make the bytes depend on how they were written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ended_early() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // A poisoned lock only says that another thread died between two jobs; the queue itself is whole.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { chunk, previous, last, answer }) = job else { return };
        // The receiver is gone when the writer was dropped; then the piece is not needed.
        let _ = answer.send(deflate(&chunk, &previous, last));
    }
}

fn deflate(chunk: &[u8], previous: &[u8], last: bool) -> io::Result<Piece> {
    // A fresh one for each chunk: a reset one keeps state that changes a few bytes from run to run (seen with zlib-rs
    // 0.6.8), and saves no time.
    let mut deflate = Compress::new(Compression::new(LEVEL), false);
    if !previous.is_empty() {
        deflate.set_dictionary(&previous[previous.len().saturating_sub(WINDOW)..])?;
    }
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut bytes = Vec::with_capacity(chunk.len() / 2 + 64);
    loop {
        let consumed = usize::try_from(deflate.total_in()).map_err(io::Error::other)?;
        let status = deflate.compress_vec(&chunk[consumed..], &mut bytes, flush)?;
        let room = bytes.len() < bytes.capacity();
        // A flush is complete when it left room in the output; the end says so itself.
        if status == Status::StreamEnd || (!last && room) {
            break;
        }
        bytes.reserve(chunk.len() / 4 + 64);
    }
    let mut crc = Crc32::new();
    crc.update(chunk);
    Ok(Piece { bytes, crc })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        process::{Command, Stdio},
    };

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::{CHUNK, ParallelGzip};

    fn packed(input: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut gzip = ParallelGzip::with_threads(Vec::new(), threads).expect("threads start");
        for part in input.chunks(step.max(1)) {
            gzip.write_all(part).expect("memory takes everything");
        }
        gzip.finish().expect("memory takes everything")
    }

    /// Decodes one member and insists that nothing follows it.
    fn unpacked(gzip: &[u8]) -> Vec<u8> {
        let mut decoder = GzDecoder::new(gzip);
        let mut output = Vec::new();
        decoder.read_to_end(&mut output).expect("what we wrote is gzip");
        assert!(decoder.into_inner().is_empty(), "there is one member and nothing after it");
        output
    }

    /// Bytes between source code and noise: neither all literals nor all matches.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(format!("$rows[{}] = {:x};\n", state % 97, state).as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn every_size_around_the_borders_of_chunks_comes_back() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK + 17] {
            let input = sample(length);
            assert_eq!(unpacked(&packed(&input, 2, 40_000)), input, "{length} bytes");
        }
    }

    #[test]
    fn the_same_bytes_come_out_whatever_the_number_of_threads() {
        let input = sample(9 * CHUNK + 4711);
        let one = packed(&input, 1, usize::MAX);
        for threads in [2, 3, 4, 8] {
            assert!(packed(&input, threads, 8192) == one, "{threads} threads");
        }
    }

    #[test]
    fn noise_and_zeros_come_back() {
        let zeros = vec![0; 3 * CHUNK + 1];
        let packed_zeros = packed(&zeros, 4, 65_536);
        assert!(packed_zeros.len() < zeros.len() / 200);
        assert_eq!(unpacked(&packed_zeros), zeros);
        let noise: Vec<u8> =
            sample(6 * CHUNK).chunks(7).map(|part| part.iter().fold(1_u8, |a, b| a.wrapping_mul(31) ^ b)).collect();
        assert_eq!(unpacked(&packed(&noise, 4, 65_536)), noise);
    }

    #[test]
    fn gzip_itself_finds_it_in_order() {
        for length in [0, CHUNK, 2 * CHUNK + 5] {
            let mut gzip = Command::new("gzip")
                .arg("-t")
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("gzip is part of every Debian");
            gzip.stdin.take().expect("it is piped").write_all(&packed(&sample(length), 3, 1000)).expect("gzip reads");
            let finished = gzip.wait_with_output().expect("gzip ends");
            assert!(finished.status.success(), "{}", String::from_utf8_lossy(&finished.stderr));
        }
    }

    #[test]
    fn a_writer_that_fails_ends_the_work() {
        struct Full;
        impl std::io::Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if bytes.len() == super::HEADER.len() {
                    Ok(bytes.len())
                } else {
                    Err(std::io::ErrorKind::StorageFull.into())
                }
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = ParallelGzip::with_threads(Full, 2).expect("the header fits");
        let written = gzip.write_all(&sample(20 * CHUNK)).and_then(|()| gzip.finish().map(drop));
        assert_eq!(written.expect_err("the disk is full").kind(), std::io::ErrorKind::StorageFull);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn anything_written_in_any_steps_comes_back(length in 0..(2 * CHUNK + 100), step in 1_usize..100_000, threads in 1_usize..5) {
            let input = sample(length);
            prop_assert_eq!(unpacked(&packed(&input, threads, step)), input);
        }
    }
}
