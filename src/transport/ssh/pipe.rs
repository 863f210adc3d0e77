//! One channel, from its opening to its end.

use std::{
    io::{Read as _, Write as _},
    os::fd::BorrowedFd,
};

use rustix::event::PollFlags;
use ssh2::{Channel, ErrorCode, Session};
use zeroize::Zeroizing;

use super::peer::{Ended, Fill, Peer, Stream, sends_in_part};
use crate::transport::ssh::peer::again_io;

/// libssh2 sends 32 700 bytes at a time; a few packets per read save calls.
const INPUT_PIECE: usize = 128 * 1024;
const OUTPUT_PIECE: usize = 32 * 1024;

pub(super) enum Start {
    Command(String),
    Forward { host: String, port: u16 },
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Something moved; there may be more.
    Moved,
    /// Nothing to do before something arrives.
    Waits,
    /// The server allows no more channels: one has to go.
    Crowded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Another channel is being opened.
    Taken,
    Free,
    /// If the server refuses, a channel can be closed for this one.
    CanBeMade,
}

/// Carries bytes between a channel and its peer on our side.
pub(super) struct Pipe {
    start: Start,
    peer: Box<dyn Peer>,
    channel: Option<Channel>,
    phase: Phase,
    /// How often the server would not open it.
    refusals: u32,
    /// The call that has to be repeated before any other, because its packet was sent in part.
    unfinished: Option<Move>,
    /// Bytes for the server, and how many of them are gone.
    piece: Zeroizing<Vec<u8>>,
    written: usize,
    sent: u64,
    input: InputState,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Opening,
    Starting,
    Running,
    Closing,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputState {
    Open,
    /// There is no more; the server has not been told.
    Ended,
    Reported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Read(Stream),
    Write,
}

impl Pipe {
    pub(super) fn new(start: Start, peer: Box<dyn Peer>) -> Self {
        Self {
            start,
            peer,
            channel: None,
            phase: Phase::Waiting,
            refusals: 0,
            unfinished: None,
            piece: Zeroizing::default(),
            written: 0,
            sent: 0,
            input: InputState::Open,
            buffer: vec![0; OUTPUT_PIECE],
        }
    }

    /// Does what can be done now. `room` is what an opening would meet. `Err` is the end of the whole connection.
    pub(super) fn step(&mut self, session: &Session, room: Room) -> Result<Step, String> {
        match self.phase {
            Phase::Waiting if room == Room::Taken => Ok(Step::Waits),
            Phase::Waiting if self.peer.gone() => {
                self.phase = Phase::Done;
                Ok(Step::Moved)
            }
            Phase::Waiting | Phase::Opening => self.open(session, room),
            Phase::Starting => self.begin(),
            Phase::Running => self.run(session),
            Phase::Closing => self.close(),
            Phase::Done => Ok(Step::Waits),
        }
    }

    /// Whether it waits for the server's word on its opening or on its command. Of all channels one may.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Starting)
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(super) fn outlives_the_run(&self) -> bool {
        self.peer.outlives_the_run()
    }

    /// Whether a step would read what has arrived. A peer with no room must not be asked again and again.
    pub(super) fn listens(&self) -> bool {
        match self.phase {
            Phase::Waiting | Phase::Done => false,
            Phase::Opening | Phase::Starting | Phase::Closing => true,
            Phase::Running => self.peer.has_room(),
        }
    }

    /// A local socket whose readiness matters.
    pub(super) fn local(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let wants_input =
            self.phase == Phase::Running && self.input == InputState::Open && self.written == self.piece.len();
        self.peer.local(wants_input)
    }

    fn open(&mut self, session: &Session, room: Room) -> Result<Step, String> {
        let opened = match &self.start {
            Start::Command(_) => again(session.channel_session()),
            Start::Forward { host, port } => again(session.channel_direct_tcpip(host, *port, None)),
        };
        match opened {
            Ok(None) => {
                self.phase = Phase::Opening;
                Ok(Step::Waits)
            }
            Ok(Some(channel)) => {
                self.channel = Some(channel);
                self.peer.opened();
                self.phase = match self.start {
                    Start::Command(_) => Phase::Starting,
                    Start::Forward { .. } => Phase::Running,
                };
                Ok(Step::Moved)
            }
            Err(error) if matches!(self.start, Start::Command(_)) && only_this_channel(&error) => {
                self.refusals += 1;
                match (self.refusals, room) {
                    // sshd counts a session until it has seen to all packets that came with its close; this opening may have
                    // been among them, and the next one cannot be.
                    (1, _) => {
                        self.phase = Phase::Waiting;
                        Ok(Step::Moved)
                    }
                    (_, Room::CanBeMade) => {
                        self.phase = Phase::Waiting;
                        Ok(Step::Crowded)
                    }
                    _ => self.refused(&error),
                }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn begin(&mut self) -> Result<Step, String> {
        let (Start::Command(command), Some(channel)) = (&self.start, &mut self.channel) else { return Ok(Step::Waits) };
        match again(channel.exec(command)) {
            Ok(None) => Ok(Step::Waits),
            Ok(Some(())) => {
                self.phase = Phase::Running;
                Ok(Step::Moved)
            }
            Err(error) => self.refused(&error),
        }
    }

    fn run(&mut self, session: &Session) -> Result<Step, String> {
        let mut moved = self.peer.flush();
        let all = [Move::Read(Stream::Out), Move::Read(Stream::Err), Move::Write];
        let unfinished = self.unfinished.take();
        for next in unfinished.as_ref().map_or(&all[..], std::slice::from_ref) {
            moved |= match *next {
                Move::Read(stream) => self.read(stream)?,
                Move::Write => self.write()?,
            };
            if self.phase == Phase::Running && sends_in_part(session) {
                self.unfinished = Some(*next);
                return Ok(if moved { Step::Moved } else { Step::Waits });
            }
        }
        let at_end = self.channel.as_ref().is_none_or(Channel::eof);
        if self.peer.gone() || (!moved && at_end && self.peer.has_room()) {
            self.phase = Phase::Closing;
            moved = true;
        }
        Ok(if moved || unfinished.is_some() { Step::Moved } else { Step::Waits })
    }

    fn read(&mut self, stream: Stream) -> Result<bool, String> {
        let Some(channel) = self.channel.as_mut().filter(|_| self.peer.has_room()) else { return Ok(false) };
        match again_io(channel.stream(stream.number()).read(&mut self.buffer)) {
            Ok(None | Some(0)) => Ok(false),
            Ok(Some(length)) => {
                self.peer.take(stream, &self.buffer[..length]);
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn write(&mut self) -> Result<bool, String> {
        if self.written == self.piece.len() && self.input == InputState::Open {
            self.piece.resize(INPUT_PIECE, 0);
            self.written = 0;
            let filled = self.peer.fill(&mut self.piece);
            self.piece.truncate(if let Ok(Fill::Bytes(length)) = filled { length } else { 0 });
            match filled {
                Ok(Fill::Bytes(_)) => {}
                Ok(Fill::Later) => return Ok(false),
                Ok(Fill::End) => self.input = InputState::Ended,
                Err(error) => {
                    self.peer.failed(format!("reading what is to be sent: {error}"));
                    self.phase = Phase::Closing;
                    return Ok(true);
                }
            }
        }
        let Some(channel) = &mut self.channel else { return Ok(false) };
        if self.input == InputState::Ended {
            return match again(channel.send_eof()) {
                Ok(None) => Ok(false),
                Err(error) if !only_this_channel(&error) => Err(error.message().to_owned()),
                Ok(Some(())) | Err(_) => {
                    self.input = InputState::Reported;
                    Ok(true)
                }
            };
        }
        if self.input == InputState::Reported {
            return Ok(false);
        }
        match again_io(channel.write(&self.piece[self.written..])) {
            Ok(None | Some(0)) => Ok(false),
            Ok(Some(written)) => {
                self.written += written;
                self.sent += written as u64;
                self.peer.sent(self.sent);
                Ok(true)
            }
            // The other end takes no more: what it says and how it ended is still to be read.
            Err(_) if channel.eof() => {
                self.input = InputState::Reported;
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Waits for the server's own close, which comes after its exit status.
    fn close(&mut self) -> Result<Step, String> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Waits) };
        match again(channel.close()) {
            Ok(None) => return Ok(Step::Waits),
            Ok(Some(())) => {}
            Err(error) => return self.refused(&error),
        }
        let signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        let status = channel.exit_status().map_err(|error| error.message().to_owned())?;
        self.peer.ended(Ended { status, signal });
        self.phase = Phase::Done;
        Ok(Step::Moved)
    }

    fn refused(&mut self, error: &ssh2::Error) -> Result<Step, String> {
        if !only_this_channel(error) {
            return Err(error.message().to_owned());
        }
        // The session that it is to end is the one that the server allows (MaxSessions): over a new connection it can be ended.
        if self.peer.outlives_the_run() && self.phase != Phase::Closing {
            return Err(format!("it has no room for the command that ends a script: {}", error.message()));
        }
        self.peer.failed(error.message().to_owned());
        self.phase = Phase::Done;
        Ok(Step::Moved)
    }
}

/// `Ok(None)` where libssh2 wants the call again later.
pub(super) fn again<T>(result: Result<T, ssh2::Error>) -> Result<Option<T>, ssh2::Error> {
    const EAGAIN: i32 = -37;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ErrorCode::Session(EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Errors that concern one channel and leave the others alone: the server refused it, or it is closed already.
pub(super) fn only_this_channel(error: &ssh2::Error) -> bool {
    // LIBSSH2_ERROR_CHANNEL_FAILURE, _REQUEST_DENIED, _CHANNEL_UNKNOWN, _CHANNEL_CLOSED, _CHANNEL_EOF_SENT
    matches!(error.code(), ErrorCode::Session(-21 | -22 | -23 | -26 | -27))
}
