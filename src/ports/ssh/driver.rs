//! The thread that owns the session: it moves bytes between the socket and everybody who waits.
//!
//! Everything is non-blocking. One rule of libssh2 shapes the loop: when a call could send only a part of a packet, *that very
//! call* must be repeated before anything else is sent (transport.c, `send_existing`). Such a task is "sticky", and the
//! others wait for it.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, Session};
use tokio::sync::mpsc as async_mpsc;

/// What the run asks for.
pub(super) enum Order {
    /// Run a command with this input; its output goes to `output`.
    Execute { command: String, input: Input, output: async_mpsc::Sender<Output> },
    /// Lead every connection that arrives at `listener` to `host:port` as the server sees it.
    Tunnel { listener: TcpListener, host: String, port: u16 },
}

/// What a command gets on its standard input.
pub(super) struct Input {
    source: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    written: usize,
    total: u64,
    done: bool,
}

/// libssh2 cuts at 32 700 bytes; a few packets at a time save calls.
const INPUT_PIECE: usize = 128 * 1024;
const OUTPUT_PIECE: usize = 32 * 1024;

impl Input {
    pub(super) fn text(text: String) -> Self {
        Self::from(io::Cursor::new(text.into_bytes()))
    }

    pub(super) fn file(file: File) -> Self {
        Self::from(file)
    }

    pub(super) fn nothing() -> Self {
        Self::from(io::empty())
    }

    fn from(source: impl Read + Send + 'static) -> Self {
        Self { source: Box::new(source), buffer: Vec::new(), written: 0, total: 0, done: false }
    }

    /// Makes sure that there is something to write, unless the source has ended.
    fn refill(&mut self) -> io::Result<()> {
        if self.written == self.buffer.len() && !self.done {
            self.buffer.resize(INPUT_PIECE, 0);
            let read = self.source.read(&mut self.buffer)?;
            self.buffer.truncate(read);
            self.written = 0;
            self.done = read == 0;
        }
        Ok(())
    }
}

/// What comes back from a command.
pub(super) enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// Bytes of input sent so far.
    Sent(u64),
    Ended(Ended),
    /// The server would not run it at all.
    Refused(String),
}

/// How a command ended. libssh2 says status 0 for a command that was killed by a signal, so both count (dependencies.md 1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    status: i32,
    signal: Option<String>,
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

/// Tells the thread that there is something to do.
pub(super) fn wake(waker: &OwnedFd) {
    // The only failure is a counter that is full, and then the thread is awake anyway.
    let _ = rustix::io::write(waker, &1u64.to_ne_bytes());
}

/// How often the server is asked for a sign of life while nothing else moves (F39).
const KEEPALIVE: Duration = Duration::from_secs(15);

pub(super) struct Driver {
    session: Session,
    socket: TcpStream,
    orders: mpsc::Receiver<Order>,
    waker: Arc<OwnedFd>,
    tasks: Vec<Box<dyn Task>>,
    doors: Vec<Door>,
    /// The task whose packet was sent in part.
    sticky: Option<usize>,
    last_keepalive: Instant,
}

struct Door {
    listener: TcpListener,
    host: String,
    port: u16,
}

/// What a step of a task came to.
#[derive(PartialEq, Eq)]
enum Step {
    /// Something moved; there may be more.
    Moved,
    /// Nothing to do before something arrives.
    Waits,
    Done,
}

trait Task {
    /// Does what can be done now. `Err` is the end of the whole connection.
    fn step(&mut self, session: &Session) -> Result<Step, String>;

    /// A local socket whose readiness matters to the task.
    fn local(&self) -> Option<(&TcpStream, PollFlags)> {
        None
    }
}

impl Driver {
    pub(super) fn new(session: Session, socket: TcpStream, orders: mpsc::Receiver<Order>, waker: Arc<OwnedFd>) -> Self {
        Self {
            session,
            socket,
            orders,
            waker,
            tasks: Vec::new(),
            doors: Vec::new(),
            sticky: None,
            last_keepalive: Instant::now(),
        }
    }

    /// Works until nobody can order any more or the connection breaks; says why it broke. Everybody who still waits then sees
    /// the end of their channel.
    pub(super) fn drive(mut self) -> Option<String> {
        loop {
            loop {
                match self.orders.try_recv() {
                    Ok(order) => self.take(order),
                    Err(mpsc::TryRecvError::Empty) => break,
                    // What was ordered last (ending a script that nobody waits for) is still carried out.
                    Err(mpsc::TryRecvError::Disconnected) if self.tasks.is_empty() => {
                        self.say_goodbye();
                        return None;
                    }
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
            let moved = match self.step_all() {
                Ok(moved) => moved,
                Err(reason) => return Some(reason),
            };
            if !moved && let Err(reason) = self.wait() {
                return Some(reason);
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Execute { command, input, output } => self.tasks.push(Box::new(Exec::new(command, input, output))),
            Order::Tunnel { listener, host, port } => self.doors.push(Door { listener, host, port }),
        }
    }

    fn step_all(&mut self) -> Result<bool, String> {
        for door in &self.doors {
            while let Ok((stream, _)) = door.listener.accept() {
                if stream.set_nonblocking(true).is_ok() {
                    self.tasks.push(Box::new(Passage::new(stream, door.host.clone(), door.port)));
                }
            }
        }
        let mut moved = false;
        let mut index = self.sticky.take().unwrap_or(0);
        let first = index;
        while index < self.tasks.len() {
            match self.tasks[index].step(&self.session)? {
                Step::Moved => moved = true,
                Step::Waits => {}
                Step::Done => {
                    drop(self.tasks.remove(index));
                    moved = true;
                    continue;
                }
            }
            if self.sends_in_part() {
                self.sticky = Some(index);
                return Ok(moved);
            }
            index += 1;
        }
        // A sticky task began in the middle: the ones before it have their turn in the next round.
        Ok(moved || first > 0)
    }

    fn sends_in_part(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }

    fn wait(&mut self) -> Result<(), String> {
        let directions = match self.session.block_directions() {
            BlockDirections::Outbound | BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
            _ => PollFlags::IN,
        };
        let mut descriptors = vec![PollFd::new(&self.socket, directions), PollFd::new(&self.waker, PollFlags::IN)];
        descriptors.extend(self.doors.iter().map(|door| PollFd::new(&door.listener, PollFlags::IN)));
        let locals = self.tasks.iter().filter_map(|task| task.local());
        descriptors.extend(locals.map(|(socket, flags)| PollFd::from_borrowed_fd(socket.as_fd(), flags)));
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        match poll(&mut descriptors, Some(&second)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("waiting for the network: {error}")),
        }
        let mut count = [0; 8];
        // Empties the counter; an error says that it was empty.
        let _ = rustix::io::read(&self.waker, &mut count);
        if self.sticky.is_none() && self.last_keepalive.elapsed() >= KEEPALIVE {
            self.last_keepalive = Instant::now();
            self.session.keepalive_send().map_err(|error| error.message().to_owned())?;
        }
        Ok(())
    }

    /// Politeness: a server whose client just vanishes writes a line into its log.
    fn say_goodbye(&mut self) {
        self.session.set_blocking(true);
        self.session.set_timeout(1_000);
        let _ = self.session.disconnect(None, "done", None);
    }
}

/// `Ok(None)` where libssh2 wants the call again later.
fn again<T>(result: Result<T, ssh2::Error>) -> Result<Option<T>, ssh2::Error> {
    const EAGAIN: i32 = -37;
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ssh2::ErrorCode::Session(EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

fn again_io<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Errors that concern one channel and leave the others alone: the server refused it, or it is closed already.
fn only_this_channel(error: &ssh2::Error) -> bool {
    // LIBSSH2_ERROR_CHANNEL_FAILURE, _REQUEST_DENIED, _CHANNEL_UNKNOWN, _CHANNEL_CLOSED, _CHANNEL_EOF_SENT
    matches!(error.code(), ssh2::ErrorCode::Session(-21 | -22 | -23 | -26 | -27))
}

/// A command.
struct Exec {
    command: String,
    input: Input,
    output: async_mpsc::Sender<Output>,
    channel: Option<Channel>,
    phase: Phase,
    /// Output that found its queue full.
    waiting: Option<Output>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Starting,
    Running { input_open: bool },
    Closing,
    WaitingForClose,
}

impl Exec {
    fn new(command: String, input: Input, output: async_mpsc::Sender<Output>) -> Self {
        Self { command, input, output, channel: None, phase: Phase::Opening, waiting: None, buffer: vec![0; OUTPUT_PIECE] }
    }

    /// Hands output on, or keeps it until there is room. Nobody waiting any more is fine: then it is thrown away.
    fn hand_on(&mut self, output: Output) {
        if let Err(async_mpsc::error::TrySendError::Full(output)) = self.output.try_send(output) {
            self.waiting = Some(output);
        }
    }

    fn refused(&mut self, error: &ssh2::Error) -> Result<Step, String> {
        if !only_this_channel(error) {
            return Err(error.message().to_owned());
        }
        self.hand_on(Output::Refused(error.message().to_owned()));
        Ok(Step::Done)
    }

    fn write(&mut self) -> Result<bool, String> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        if let Err(error) = self.input.refill() {
            // A local file that cannot be read: the server must not take the half for the whole, so the command gets no end of input.
            self.hand_on(Output::Refused(format!("reading the local file: {error}")));
            self.phase = Phase::Closing;
            return Ok(true);
        }
        if self.input.done {
            return match again(channel.send_eof()) {
                Ok(Some(())) => {
                    self.phase = Phase::Running { input_open: false };
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(error) if only_this_channel(&error) => {
                    self.phase = Phase::Running { input_open: false };
                    Ok(true)
                }
                Err(error) => Err(error.message().to_owned()),
            };
        }
        match again_io(channel.write(&self.input.buffer[self.input.written..])) {
            Ok(Some(written)) => {
                self.input.written += written;
                self.input.total += written as u64;
                let sent = Output::Sent(self.input.total);
                // Progress is news only while somebody has time for it.
                if self.output.capacity() > 1 || (self.input.written == self.input.buffer.len()) {
                    self.hand_on(sent);
                }
                Ok(written > 0)
            }
            Ok(None) => Ok(false),
            // The command has closed its input or ended: what it says and how it ended is still to be read.
            Err(_) if channel.eof() || channel_closed(channel) => {
                self.phase = Phase::Running { input_open: false };
                Ok(true)
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn read(&mut self) -> Result<bool, String> {
        let mut moved = false;
        for stream in [0, ssh2::EXTENDED_DATA_STDERR] {
            if self.waiting.is_some() {
                break;
            }
            let Some(channel) = &mut self.channel else { break };
            match again_io(channel.stream(stream).read(&mut self.buffer)) {
                Ok(Some(0)) | Ok(None) => {}
                Ok(Some(length)) => {
                    let bytes = self.buffer[..length].to_vec();
                    self.hand_on(if stream == 0 { Output::Stdout(bytes) } else { Output::Stderr(bytes) });
                    moved = true;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(moved)
    }
}

fn channel_closed(channel: &Channel) -> bool {
    // A channel whose window is gone and whose peer has said it is done takes no more.
    channel.write_window().remaining == 0
}

impl Task for Exec {
    fn step(&mut self, session: &Session) -> Result<Step, String> {
        if let Some(output) = self.waiting.take() {
            self.hand_on(output);
            if self.waiting.is_some() {
                return Ok(Step::Waits);
            }
        }
        match self.phase {
            Phase::Opening => match again(session.channel_session()) {
                Ok(Some(channel)) => {
                    self.channel = Some(channel);
                    self.phase = Phase::Starting;
                    Ok(Step::Moved)
                }
                Ok(None) => Ok(Step::Waits),
                Err(error) => self.refused(&error),
            },
            Phase::Starting => {
                let Some(channel) = &mut self.channel else { return Ok(Step::Done) };
                match again(channel.exec(&self.command)) {
                    Ok(Some(())) => {
                        self.phase = Phase::Running { input_open: true };
                        Ok(Step::Moved)
                    }
                    Ok(None) => Ok(Step::Waits),
                    Err(error) => self.refused(&error),
                }
            }
            Phase::Running { input_open } => {
                let mut moved = self.read()?;
                if input_open && self.waiting.is_none() {
                    moved |= self.write()?;
                }
                let at_end = self.channel.as_ref().is_none_or(Channel::eof);
                if !moved && at_end && self.waiting.is_none() && self.phase != Phase::Closing {
                    self.phase = Phase::Closing;
                    moved = true;
                }
                Ok(if moved { Step::Moved } else { Step::Waits })
            }
            Phase::Closing => {
                let Some(channel) = &mut self.channel else { return Ok(Step::Done) };
                match again(channel.close()) {
                    Ok(None) => Ok(Step::Waits),
                    Ok(Some(())) => {
                        self.phase = Phase::WaitingForClose;
                        Ok(Step::Moved)
                    }
                    Err(error) => self.refused(&error),
                }
            }
            Phase::WaitingForClose => {
                let Some(channel) = &mut self.channel else { return Ok(Step::Done) };
                match again(channel.wait_close()) {
                    Ok(None) => return Ok(Step::Waits),
                    Ok(Some(())) => {}
                    Err(error) => return self.refused(&error),
                }
                let signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
                let status = channel.exit_status().map_err(|error| error.message().to_owned())?;
                self.hand_on(Output::Ended(Ended { status, signal }));
                if self.waiting.is_some() { Ok(Step::Waits) } else { Ok(Step::Done) }
            }
        }
    }
}

/// One connection through a tunnel.
struct Passage {
    stream: TcpStream,
    host: String,
    port: u16,
    channel: Option<Channel>,
    /// Bytes on their way to the server, and how many of them are gone.
    up: (Vec<u8>, usize),
    /// Bytes on their way back.
    down: (Vec<u8>, usize),
    local_ended: bool,
    eof_sent: bool,
}

impl Passage {
    fn new(stream: TcpStream, host: String, port: u16) -> Self {
        Self {
            stream,
            host,
            port,
            channel: None,
            up: (Vec::new(), 0),
            down: (Vec::new(), 0),
            local_ended: false,
            eof_sent: false,
        }
    }

    /// Moves what can be moved in both directions. Errors of the local end only end this passage.
    fn pump(&mut self) -> Result<Step, String> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Waits) };
        let mut moved = false;
        if self.up.1 == self.up.0.len() && !self.local_ended {
            self.up = (vec![0; OUTPUT_PIECE], 0);
            match again_io(self.stream.read(&mut self.up.0)) {
                Ok(Some(length)) => {
                    self.up.0.truncate(length);
                    self.local_ended = length == 0;
                    moved = true;
                }
                Ok(None) => self.up.0.clear(),
                Err(_) => return Ok(Step::Done),
            }
        }
        if self.up.1 < self.up.0.len() {
            match again_io(channel.write(&self.up.0[self.up.1..])) {
                Ok(Some(written)) => {
                    self.up.1 += written;
                    moved |= written > 0;
                }
                Ok(None) => {}
                Err(_) if channel.eof() => return Ok(Step::Done),
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.local_ended && self.up.1 == self.up.0.len() && !self.eof_sent {
            self.eof_sent = again(channel.send_eof()).map_err(|error| error.message().to_owned())?.is_some();
        }
        if self.down.1 == self.down.0.len() {
            self.down = (vec![0; OUTPUT_PIECE], 0);
            match again_io(channel.read(&mut self.down.0)) {
                Ok(Some(length)) => {
                    self.down.0.truncate(length);
                    moved |= length > 0;
                }
                Ok(None) => self.down.0.clear(),
                Err(error) => return Err(error.to_string()),
            }
        }
        if self.down.1 < self.down.0.len() {
            match again_io(self.stream.write(&self.down.0[self.down.1..])) {
                Ok(Some(written)) => {
                    self.down.1 += written;
                    moved = true;
                }
                Ok(None) => {}
                Err(_) => return Ok(Step::Done),
            }
        }
        if channel.eof() && self.down.1 == self.down.0.len() && !moved {
            return Ok(Step::Done);
        }
        Ok(if moved { Step::Moved } else { Step::Waits })
    }
}

impl Task for Passage {
    fn step(&mut self, session: &Session) -> Result<Step, String> {
        if self.channel.is_some() {
            return self.pump();
        }
        match again(session.channel_direct_tcpip(&self.host, self.port, None)) {
            Ok(Some(channel)) => {
                self.channel = Some(channel);
                Ok(Step::Moved)
            }
            Ok(None) => Ok(Step::Waits),
            // The server cannot reach it or does not allow it: the local end sees its connection closed.
            Err(error) if only_this_channel(&error) => Ok(Step::Done),
            Err(error) => Err(error.message().to_owned()),
        }
    }

    fn local(&self) -> Option<(&TcpStream, PollFlags)> {
        let mut flags = PollFlags::empty();
        if !self.local_ended && self.up.1 == self.up.0.len() {
            flags |= PollFlags::IN;
        }
        if self.down.1 < self.down.0.len() {
            flags |= PollFlags::OUT;
        }
        Some((&self.stream, flags))
    }
}
