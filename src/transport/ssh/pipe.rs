//! One channel, from its opening to its end.

use std::{
    io::{Read as _, Write as _},
    os::fd::BorrowedFd,
};

use rustix::event::PollFlags;
use ssh2::{Channel, ErrorCode, Session};
use zeroize::Zeroizing;

use super::peer::{Ended, Fill, Kept, Peer, Stream, sends_in_part};
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

/// What the other channels leave to this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) room: Room,
    /// There are other sessions.
    pub(super) others: bool,
    /// How many sessions have ended on this connection.
    pub(super) ended: u64,
    /// No other channel waits for the server's reply to its command.
    pub(super) may_start: bool,
    /// It waits, because there are as many sessions as the server allows.
    pub(super) held: bool,
}

/// Carries bytes between a channel and its peer on our side.
pub(super) struct Pipe {
    start: Start,
    /// Its shell waits for a script, and no script has taken it yet.
    is_spare: bool,
    /// It ends, because another command needs its place.
    gives_way: bool,
    /// If the server allows no session more, it waits until there are fewer.
    waits: bool,
    peer: Box<dyn Peer>,
    channel: Option<Channel>,
    phase: Phase,
    /// How many sessions had ended when the server refused to open it for the last time.
    refused_after: Option<u64>,
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
    /// Open, and without its command.
    Opened,
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
            is_spare: false,
            gives_way: false,
            waits: false,
            peer,
            channel: None,
            phase: Phase::Waiting,
            refused_after: None,
            unfinished: None,
            piece: Zeroizing::default(),
            written: 0,
            sent: 0,
            input: InputState::Open,
            buffer: vec![0; OUTPUT_PIECE],
        }
    }

    /// A command that waits for a session if need be.
    pub(super) fn command(command: String, waits: bool, peer: Box<dyn Peer>) -> Self {
        Self { waits, ..Self::new(Start::Command(command), peer) }
    }

    /// A shell that waits for its script.
    pub(super) fn spare(command: String) -> Self {
        Self { is_spare: true, ..Self::new(Start::Command(command), Box::new(Kept::default())) }
    }

    /// Gives a spare shell its script. Gives the peer back if this is not the shell of that command, or if it has ended.
    pub(super) fn take_over(
        &mut self,
        command: &str,
        waits: bool,
        mut peer: Box<dyn Peer>,
    ) -> Result<(), Box<dyn Peer>> {
        let is_it = self.is_spare && matches!(&self.start, Start::Command(own) if own == command);
        let ends = self.gives_way || matches!(self.phase, Phase::Closing | Phase::Done);
        let lives = !ends && !self.channel.as_ref().is_some_and(Channel::eof);
        if !is_it || !lives {
            return Err(peer);
        }
        for (stream, bytes) in self.peer.kept() {
            peer.take(stream, &bytes);
        }
        self.peer = peer;
        self.is_spare = false;
        self.waits = waits;
        self.refused_after = None;
        Ok(())
    }

    /// It will have no place.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Done;
    }

    /// Gives this command up, if it was not opened yet; whether it was that.
    pub(super) fn give_up_unopened(&mut self, command: &str) -> bool {
        let is_it = self.phase == Phase::Waiting && matches!(&self.start, Start::Command(own) if own == command);
        if is_it {
            self.give_up();
        }
        is_it
    }

    /// Ends a spare shell, because another command needs its place. Whether it does. Its input ends and it is read to its own end: sshd
    /// counts a session whose channel is closed for as long as its process is there.
    pub(super) fn give_way(&mut self) -> bool {
        let rests = self.rests();
        if rests {
            self.gives_way = true;
            self.input = InputState::Ended;
        }
        rests
    }

    /// Does what can be done now. `Err` is the end of the whole connection.
    pub(super) fn step(&mut self, session: &Session, turn: Turn) -> Result<Step, String> {
        match self.phase {
            Phase::Waiting if turn.room == Room::Taken => {
                if turn.held {
                    self.peer.held();
                }
                Ok(Step::Waits)
            }
            Phase::Waiting if self.peer.gone() => {
                self.phase = Phase::Done;
                Ok(Step::Moved)
            }
            Phase::Waiting | Phase::Opening => self.open(session, turn),
            Phase::Opened if !turn.may_start => Ok(Step::Waits),
            Phase::Opened | Phase::Starting => self.begin(),
            Phase::Running => self.run(session),
            Phase::Closing => self.close(),
            Phase::Done => Ok(Step::Waits),
        }
    }

    /// Whether it waits for the server's word on its opening. Of all channels one may.
    pub(super) fn is_opening(&self) -> bool {
        self.phase == Phase::Opening
    }

    /// Whether it waits for the server's word on its command. Of all channels one may.
    pub(super) fn is_starting(&self) -> bool {
        self.phase == Phase::Starting
    }

    /// A script that may wait for others to end.
    pub(super) fn waits(&self) -> bool {
        self.waits && self.phase == Phase::Waiting
    }

    pub(super) fn is_spare(&self) -> bool {
        self.is_spare
    }

    /// A spare shell that has nothing to do.
    pub(super) fn rests(&self) -> bool {
        self.is_spare && !self.gives_way && self.phase == Phase::Running
    }

    /// A spare shell that has its place, or gives it back, when the server has answered.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.is_spare && (self.gives_way || matches!(self.phase, Phase::Opened | Phase::Starting | Phase::Closing))
    }

    /// Whether the server refused it, and it is to be opened again.
    pub(super) fn was_refused(&self) -> bool {
        self.phase == Phase::Waiting && self.refused_after.is_some()
    }

    /// Whether the server's limit of sessions (MaxSessions) counts it.
    pub(super) fn has_session(&self) -> bool {
        matches!(self.start, Start::Command(_)) && self.channel.is_some() && self.phase != Phase::Done
    }

    /// A command that is to be opened before any spare shell, or that still has something to send.
    pub(super) fn goes_first(&self) -> bool {
        let sends = self.phase != Phase::Done && self.phase != Phase::Closing && self.input != InputState::Reported;
        let opens = matches!(self.phase, Phase::Waiting | Phase::Opening);
        !self.is_spare && matches!(self.start, Start::Command(_)) && (opens || self.phase == Phase::Running && sends)
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
            Phase::Opening | Phase::Opened | Phase::Starting | Phase::Closing => true,
            Phase::Running => self.peer.has_room(),
        }
    }

    /// A local socket whose readiness matters.
    pub(super) fn local(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let wants_input =
            self.phase == Phase::Running && self.input == InputState::Open && self.written == self.piece.len();
        self.peer.local(wants_input)
    }

    fn open(&mut self, session: &Session, turn: Turn) -> Result<Step, String> {
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
                    Start::Command(_) => Phase::Opened,
                    Start::Forward { .. } => Phase::Running,
                };
                Ok(Step::Moved)
            }
            Err(error) if matches!(self.start, Start::Command(_)) && only_this_channel(&error) => {
                let again = self.refused_after.replace(turn.ended) != Some(turn.ended);
                match turn.room {
                    // sshd counts a session until it has seen to all packets that came with its close. This opening may have been among
                    // them, and the next one cannot be, unless another session ends before it.
                    _ if again => {
                        self.phase = Phase::Waiting;
                        Ok(Step::Moved)
                    }
                    // It is opened when another session has ended.
                    _ if self.is_spare || self.waits && turn.others => {
                        self.phase = Phase::Waiting;
                        Ok(Step::Crowded)
                    }
                    Room::CanBeMade => {
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
            Ok(None) => {
                self.phase = Phase::Starting;
                Ok(Step::Waits)
            }
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
        let all = if self.rests() { &all[..2] } else { &all[..] };
        let unfinished = self.unfinished.take();
        for next in unfinished.as_ref().map_or(all, std::slice::from_ref) {
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
