//! Who is at our end of a channel.

use ssh2::{BlockDirections, Session};
use tokio::sync::watch;

use std::{
    fmt,
    io::{self, Read, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream,
    },
};

use rustix::event::PollFlags;
use tokio::sync::mpsc::Sender;

use crate::transport::shell::Tunnel;

/// The place in a queue that is kept free for the last word.
pub(super) const LAST_PLACE: usize = 1;

/// Our end of a channel. Nothing here blocks.
pub(super) trait Peer {
    /// Bytes for the server.
    fn fill(&mut self, piece: &mut [u8]) -> io::Result<Fill>;

    /// Whether `take` may be called.
    fn has_room(&self) -> bool;

    /// Bytes from the server.
    fn take(&mut self, stream: Stream, bytes: &[u8]);

    /// The reader is gone: the channel can be closed.
    fn gone(&self) -> bool;

    /// The bytes of input that the server's side has taken so far.
    fn sent(&mut self, _total: u64) {}

    /// The server allows no session more: the channel is opened when another one has ended.
    fn held(&mut self) {}

    /// The channel is open.
    fn opened(&mut self) {}

    /// The channel did not come to be, or its input cannot be read.
    fn failed(&mut self, _reason: String) {}

    fn ended(&mut self, _ended: Ended) {}

    /// Passes on what `take` could not yet pass on; whether anything moved.
    fn flush(&mut self) -> bool {
        false
    }

    /// The socket to wait for, and for what.
    fn local(&self, _wants_input: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    /// What `take` kept for the peer that comes next.
    fn kept(&mut self) -> Vec<(Stream, Vec<u8>)> {
        Vec::new()
    }

    /// Whether it must be finished even when the run is over.
    fn outlives_the_run(&self) -> bool {
        false
    }
}

pub(super) enum Fill {
    Bytes(usize),
    Later,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Stream {
    /// RFC 4254, 5.2.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Out => 0,
            Self::Err => ssh2::EXTENDED_DATA_STDERR,
        }
    }
}

/// What comes back from a command.
pub(super) enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Bytes of input sent so far. Not every step is told.
    Sent(u64),
    /// The command waits for a session, and no time of its own is over before it has one.
    Held,
    /// It waits no longer.
    Opened,
    Ended(Ended),
    /// The server would not run it at all, or its input could not be read.
    Refused(String),
}

/// How a command ended. libssh2 says status 0 for a command that was killed by a signal, so both count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: i32,
    pub(super) signal: Option<String>,
}

impl Ended {
    pub(super) fn success(&self) -> bool {
        self.status == 0 && self.signal.is_none()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.signal {
            Some(signal) => write!(f, "signal {signal}"),
            None => write!(f, "status {}", self.status),
        }
    }
}

/// A future that waits for a command.
pub(super) struct ExecSession {
    input: Input,
    output: Sender<Output>,
    /// It was told that it waits for a session.
    is_held: bool,
}

impl ExecSession {
    pub(super) fn new(input: Input, output: Sender<Output>) -> Self {
        Self { input, output, is_held: false }
    }

    fn tell(&self, output: Output) {
        // `has_room` keeps a place free for the last message; what comes after it may be lost, and a missing reader is fine.
        let _ = self.output.try_send(output);
    }
}

impl Peer for ExecSession {
    fn fill(&mut self, piece: &mut [u8]) -> io::Result<Fill> {
        Ok(match again_io(self.input.read(piece))? {
            None => Fill::Later,
            Some(0) => Fill::End,
            Some(length) => Fill::Bytes(length),
        })
    }

    fn has_room(&self) -> bool {
        self.output.capacity() > LAST_PLACE
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.tell(match stream {
            Stream::Out => Output::Stdout(bytes.to_vec()),
            Stream::Err => Output::Stderr(bytes.to_vec()),
        });
    }

    fn gone(&self) -> bool {
        self.output.is_closed()
    }

    fn sent(&mut self, total: u64) {
        // Progress is news only while there is time for it.
        if self.output.capacity() > self.output.max_capacity() / 2 {
            self.tell(Output::Sent(total));
        }
    }

    fn held(&mut self) {
        if !std::mem::replace(&mut self.is_held, true) {
            self.tell(Output::Held);
        }
    }

    fn opened(&mut self) {
        if std::mem::replace(&mut self.is_held, false) {
            self.tell(Output::Opened);
        }
    }

    fn failed(&mut self, reason: String) {
        self.tell(Output::Refused(reason));
    }

    fn ended(&mut self, ended: Ended) {
        self.tell(Output::Ended(ended));
    }
}

/// What a shell without a script prints: the start-up files of the account do that. Whoever gives it a script hears it.
#[derive(Default)]
pub(super) struct Kept {
    out: Vec<u8>,
    err: Vec<u8>,
}

/// More is passed over.
const MOST_KEPT: usize = 64 * 1024;

impl Peer for Kept {
    fn fill(&mut self, _piece: &mut [u8]) -> io::Result<Fill> {
        Ok(Fill::Later)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let room = MOST_KEPT - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn gone(&self) -> bool {
        false
    }

    fn kept(&mut self) -> Vec<(Stream, Vec<u8>)> {
        let kept = [(Stream::Out, std::mem::take(&mut self.out)), (Stream::Err, std::mem::take(&mut self.err))];
        kept.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()
    }
}

/// A command that ends a script: its output is not read, and it must run all the same.
pub(super) struct Detached(#[expect(dead_code, reason = "it counts as long as it is there")] pub(super) Ending);

impl Peer for Detached {
    fn fill(&mut self, _piece: &mut [u8]) -> io::Result<Fill> {
        Ok(Fill::End)
    }

    fn has_room(&self) -> bool {
        true
    }

    fn take(&mut self, _stream: Stream, _bytes: &[u8]) {}

    fn gone(&self) -> bool {
        false
    }

    fn outlives_the_run(&self) -> bool {
        true
    }
}

/// A connection to a tunnel's entrance.
pub(super) struct Local {
    stream: UnixStream,
    /// Whose entrance it is.
    tunnel: Tunnel,
    /// Bytes from the server that the socket has not taken yet, and how many of them it has.
    backlog: (Vec<u8>, usize),
    broken: bool,
}

impl Local {
    pub(super) fn new(stream: UnixStream, tunnel: Tunnel) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, tunnel, backlog: (Vec::new(), 0), broken: false })
    }
}

impl Peer for Local {
    fn fill(&mut self, piece: &mut [u8]) -> io::Result<Fill> {
        Ok(match again_io(self.stream.read(piece)) {
            Ok(None) => Fill::Later,
            Ok(Some(0)) => Fill::End,
            Ok(Some(length)) => Fill::Bytes(length),
            Err(_) => {
                self.broken = true;
                Fill::End
            }
        })
    }

    fn has_room(&self) -> bool {
        self.backlog.1 == self.backlog.0.len()
    }

    fn take(&mut self, _stream: Stream, bytes: &[u8]) {
        self.tunnel.hear();
        self.backlog = (bytes.to_vec(), 0);
        self.flush();
    }

    fn gone(&self) -> bool {
        self.broken
    }

    fn opened(&mut self) {
        self.tunnel.hear();
    }

    fn failed(&mut self, reason: String) {
        self.tunnel.refuse(reason);
    }

    fn flush(&mut self) -> bool {
        if self.has_room() {
            return false;
        }
        match again_io(self.stream.write(&self.backlog.0[self.backlog.1..])) {
            Ok(None) => false,
            Ok(Some(length)) => {
                self.backlog.1 += length;
                length > 0
            }
            Err(_) => {
                self.broken = true;
                true
            }
        }
    }

    fn local(&self, wants_input: bool) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, wants_input);
        flags.set(PollFlags::OUT, !self.has_room());
        // Without a wish, a socket that the other side has left would wake us all the time.
        (!flags.is_empty()).then(|| (self.stream.as_fd(), flags))
    }
}

/// An abandoned script, counted until it has ended or can no longer be ended over this connection.
pub(crate) struct Ending(watch::Sender<usize>);

impl Ending {
    pub(crate) fn counted_by(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What a command gets on its standard input.
pub(crate) type Input = Box<dyn Read + Send>;

/// Whether the last call left a part of a packet behind.
pub(crate) fn sends_in_part(session: &Session) -> bool {
    matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
}

pub(crate) fn again_io<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
