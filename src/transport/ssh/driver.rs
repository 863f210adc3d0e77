//! The thread that owns the session: it moves bytes between the socket and all callers.
//!
//! Everything is non-blocking. Three rules of libssh2 shape the loop. When a call could send only a part of a packet, *that very
//! call* must be repeated before anything else is sent (transport.c, `transport_send_existing`): its pipe is "sticky", and
//! the others wait. And a session opens one channel at a time: the state of an opening belongs to the session, so the next call
//! would get the channel that another one asked for. And a call that waits for the server's reply to its command takes the same reply
//! on another channel for an error (packet.c, `packet_requirev`): commands begin one after the other, too. An opening and a command are
//! different replies, so one of each may be under way.
//!
//! To open a channel and to start its command costs a round trip each. So shells are started ahead: a script that takes one has only its
//! text to send and its answer to wait for. Decision 32 has the reasons.

use std::{
    fs::File,
    io::{self, Read, Seek as _},
    net::TcpStream,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{Channel, Session};
use tokio::sync::mpsc as async_mpsc;
use zeroize::Zeroizing;

use super::{
    answer::Reading,
    entrance::Entrance,
    peer::{Detached, ExecSession, Local, Output, Peer, again_io},
    pipe::{Pipe, Room, Start, Step, Turn, again, only_this_channel},
};
use crate::transport::{
    shell::Tunnel,
    ssh::peer::{Ending, Input, sends_in_part},
};

/// What the run asks for.
pub(super) enum Order {
    /// Start a shell that waits for its script, when there is room for it.
    Prepare { command: String },
    /// Run a command with this input; its output goes to `output`. It is closed when no caller reads the output any more. A shell that was
    /// started ahead by this very command takes the input. If the server allows no session more, it fails, or waits.
    Execute { command: String, waits: bool, input: Input, output: async_mpsc::Sender<Output> },
    /// Lead every connection that arrives at `entrance` to `host:port` as the server sees it.
    Tunnel { entrance: Entrance, host: String, port: u16, tunnel: Tunnel },
    /// End the process group of an abandoned script.
    End { pid: u32, ending: Ending },
    /// The same for a script that has not yet told its process group, by the command of its shell.
    EndOnceKnown { command: String, output: async_mpsc::Receiver<Output>, reading: Box<Reading>, ending: Ending },
    /// The same for a shell that never tells it, by its command and its number.
    EndShell { command: String, number: String, ending: Ending },
}

/// The text may hold secrets, so its memory is overwritten afterwards.
pub(super) fn text(text: String) -> Input {
    Box::new(io::Cursor::new(Zeroizing::new(text.into_bytes())))
}

/// A text, and then a file that is read once it is known from where on.
pub(super) fn text_and_rest_of(before: String, file: File) -> (Input, Option<Gate>) {
    let (open, opened) = mpsc::channel();
    (Box::new(text(before).chain(Rest { file, from: Some(opened) })), Some(Gate(open)))
}

/// Says from where on a file is to be sent.
pub(super) struct Gate(mpsc::Sender<u64>);

impl Gate {
    /// The thread has to be woken afterwards.
    pub(super) fn open(self, from: u64) {
        // There is no reader any more: the connection broke, which its end tells.
        let _ = self.0.send(from);
    }
}

struct Rest {
    file: File,
    from: Option<mpsc::Receiver<u64>>,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(opened) = &self.from {
            match opened.try_recv() {
                Ok(from) => self.file.seek(io::SeekFrom::Start(from))?,
                Err(mpsc::TryRecvError::Empty) => return Err(io::ErrorKind::WouldBlock.into()),
                // It is not waited for any more.
                Err(mpsc::TryRecvError::Disconnected) => return Ok(0),
            };
            self.from = None;
        }
        self.file.read(buffer)
    }
}

pub(super) fn nothing() -> Input {
    Box::new(io::empty())
}

/// Tells the thread that there is something to do.
pub(super) fn wake(waker: &OwnedFd) {
    // The only failure is a counter that is full, and then the thread is awake anyway.
    let _ = rustix::io::write(waker, &1u64.to_ne_bytes());
}

/// Ends the process group `$p`: in order at first, by force after two seconds. `-s`, because dash takes no `--` after `-TERM`.
const END_GROUP: &str = "kill -s TERM -- -\"$p\"; n=0; \
     while [ $n -lt 20 ] && kill -s 0 -- -\"$p\"; do sleep 0.1 || { sleep 1; n=$((n+9)); }; n=$((n+1)); done; \
     kill -s KILL -- -\"$p\"";

/// The command that ends a script of this connection.
fn ending(pid: u32) -> String {
    format!("exec /bin/sh -c 'p=$0; {END_GROUP}' {pid} >/dev/null 2>&1")
}

/// The command that ends what an earlier connection began with this number among its arguments, also what never said its process: a
/// process's number may belong to another process by now, this number cannot. It is not complete in our own arguments.
pub(super) fn ending_orphan(number: &str) -> String {
    let (one, other) = number.split_at(number.len() / 2);
    format!(
        "exec /bin/sh -c 'for p in $(printf %s \"$0$1\" | grep -lszxF -f - /proc/[0-9]*/cmdline | tr -dc \"0-9\\n\"); do \
         {END_GROUP}; done' {one} {other} >/dev/null 2>&1"
    )
}

/// How often the server is asked for a sign of life (F39).
pub(super) const KEEPALIVE: Duration = Duration::from_secs(15);

/// How soon it is looked again although nothing arrives, at first and at the latest. A read on behalf of one channel takes what has
/// arrived for all of them into libssh2's own queue; what comes for a channel that has just been asked then lies there, and the socket
/// says nothing of it.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOK_AT_LATEST: Duration = Duration::from_millis(500);

/// How long the thread works on after the run is done with the connection, to end abandoned scripts.
const LAST_WORK: Duration = Duration::from_secs(4);

/// How long an abandoned script may take to tell its process group.
const CONDEMNED: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    session: Session,
    socket: TcpStream,
    orders: mpsc::Receiver<Order>,
    waker: Arc<OwnedFd>,
    pipes: Vec<Pipe>,
    listeners: Vec<Listener>,
    condemned: Vec<Condemned>,
    idle_channel: IdleChannel,
    /// How many sessions the server was seen to allow, if it refused one (MaxSessions).
    most_sessions: Option<usize>,
    /// How many have ended.
    ended_sessions: u64,
    /// Whose packet was sent in part.
    sticky: Option<Who>,
    next_keepalive: Instant,
    /// When to look again although nothing arrives.
    look_again: Duration,
    /// Since there are no callers any more: when to stop at last.
    stop_at: Option<Instant>,
}

struct Listener {
    entrance: Entrance,
    host: String,
    port: u16,
    /// Where refusals are noted.
    tunnel: Tunnel,
}

struct Condemned {
    output: async_mpsc::Receiver<Output>,
    reading: Box<Reading>,
    ending: Ending,
    until: Instant,
}

/// libssh2 reads the connection only on behalf of a channel. While no other is open, this one, on which nothing ever runs, lets us
/// answer the server's keepalives and notice the end of the connection.
enum IdleChannel {
    /// No command has ended yet: the first one must not wait behind this channel.
    NotYet,
    Missing,
    Opening,
    Open(Channel),
    /// Making room for a command.
    Closing(Channel),
    /// The server allows no more channels, or closed it.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Pipe(usize),
    IdleChannel,
}

impl Driver {
    pub(super) fn new(session: Session, socket: TcpStream, orders: mpsc::Receiver<Order>, waker: Arc<OwnedFd>) -> Self {
        Self {
            session,
            socket,
            orders,
            waker,
            pipes: Vec::new(),
            listeners: Vec::new(),
            condemned: Vec::new(),
            idle_channel: IdleChannel::NotYet,
            most_sessions: None,
            ended_sessions: 0,
            sticky: None,
            next_keepalive: Instant::now() + KEEPALIVE,
            look_again: LOOK_AGAIN,
            stop_at: None,
        }
    }

    /// Works until there are no callers any more or the connection breaks, which is then the error. Each caller that still waits sees
    /// the end of their channel when `self` goes.
    pub(super) fn drive(&mut self) -> Result<(), String> {
        loop {
            self.take_orders();
            self.end_condemned();
            if self.is_done() {
                self.say_goodbye();
                return Ok(());
            }
            if self.step_all()? {
                self.look_again = LOOK_AGAIN;
            } else {
                self.wait()?;
            }
        }
    }

    fn take_orders(&mut self) {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Prepare { command }) => self.pipes.push(Pipe::spare(command)),
                Ok(Order::Execute { command, waits, input, output }) => {
                    self.execute(command, waits, Box::new(ExecSession::new(input, output)));
                }
                Ok(Order::Tunnel { entrance, host, port, tunnel }) => {
                    self.listeners.push(Listener { entrance, host, port, tunnel });
                }
                Ok(Order::End { pid, ending }) => self.end(pid, ending),
                Ok(Order::EndOnceKnown { command, output, reading, ending }) => {
                    if !self.pipes.iter_mut().any(|pipe| pipe.give_up_unopened(&command)) {
                        self.condemned.push(Condemned { output, reading, ending, until: Instant::now() + CONDEMNED });
                    }
                }
                Ok(Order::EndShell { command, number, ending }) => {
                    if !self.pipes.iter_mut().any(|pipe| pipe.give_up_unopened(&command)) {
                        let start = Start::Command(ending_orphan(&number));
                        self.pipes.push(Pipe::new(start, Box::new(Detached(ending))));
                    }
                }
                Err(mpsc::TryRecvError::Empty) => return,
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.stop_at.get_or_insert_with(|| Instant::now() + LAST_WORK);
                    return;
                }
            }
        }
    }

    fn execute(&mut self, command: String, waits: bool, mut peer: Box<dyn Peer>) {
        for pipe in &mut self.pipes {
            peer = match pipe.take_over(&command, waits, peer) {
                Ok(()) => return,
                Err(peer) => peer,
            };
        }
        self.pipes.push(Pipe::command(command, waits, peer));
    }

    fn end(&mut self, pid: u32, counted: Ending) {
        self.pipes.push(Pipe::new(Start::Command(ending(pid)), Box::new(Detached(counted))));
    }

    /// Reads abandoned scripts until they tell their process group, and ends that.
    fn end_condemned(&mut self) {
        let (mut waiting, mut known) = (Vec::new(), Vec::new());
        for mut condemned in self.condemned.drain(..) {
            while condemned.reading.pid().is_none()
                && let Ok(piece) = condemned.output.try_recv()
            {
                if let Output::Stdout(bytes) = piece {
                    // Too long an answer is no answer, but its beginning has been read.
                    let _ = condemned.reading.answer(&bytes);
                }
            }
            match condemned.reading.pid() {
                Some(pid) => known.push((pid, condemned.ending)),
                None if condemned.output.is_closed() || Instant::now() >= condemned.until => {}
                None => waiting.push(condemned),
            }
        }
        self.condemned = waiting;
        for (pid, ending) in known {
            self.end(pid, ending);
        }
    }

    fn is_done(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return false };
        let idle = self.condemned.is_empty() && !self.pipes.iter().any(Pipe::outlives_the_run);
        idle || Instant::now() >= stop_at
    }

    fn step_all(&mut self) -> Result<bool, String> {
        self.open_doors();
        if let Some(who) = self.sticky.take() {
            let moved = self.step(who)?;
            if self.sticky.is_some() {
                return Ok(moved);
            }
        }
        let mut moved = false;
        for index in 0..self.pipes.len() {
            moved |= self.step(Who::Pipe(index))?;
            if self.sticky.is_some() {
                return Ok(moved);
            }
        }
        let before = self.pipes.len();
        self.pipes.retain(|pipe| !pipe.is_done());
        if self.pipes.len() < before && matches!(self.idle_channel, IdleChannel::NotYet) {
            self.idle_channel = IdleChannel::Missing;
        }
        Ok(self.step(Who::IdleChannel)? || moved)
    }

    fn open_doors(&mut self) {
        for listener in &self.listeners {
            while let Some(stream) = listener.entrance.accept() {
                if let Ok(local) = Local::new(stream, listener.tunnel.clone()) {
                    let start = Start::Forward { host: listener.host.clone(), port: listener.port };
                    self.pipes.push(Pipe::new(start, Box::new(local)));
                }
            }
        }
    }

    fn step(&mut self, who: Who) -> Result<bool, String> {
        let moved = match who {
            Who::IdleChannel => self.step_idle_channel()?,
            Who::Pipe(index) => {
                let (turn, had_session) = (self.turn(index), self.pipes[index].has_session());
                let step = self.pipes[index].step(&self.session, turn)?;
                self.ended_sessions += u64::from(had_session && !self.pipes[index].has_session());
                if step == Step::Crowded {
                    self.make_room(index);
                }
                step != Step::Waits
            }
        };
        let is_done = matches!(who, Who::Pipe(index) if self.pipes[index].is_done());
        if !is_done && sends_in_part(&self.session) {
            self.sticky = Some(who);
        }
        Ok(moved)
    }

    fn turn(&self, index: usize) -> Turn {
        let others = || self.pipes.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, pipe)| pipe);
        let full = || self.most_sessions.is_some_and(|most| self.sessions() >= most);
        let room = match self.idle_channel {
            IdleChannel::Opening | IdleChannel::Closing(_) => Room::Taken,
            _ if others().any(Pipe::is_opening) => Room::Taken,
            _ if self.pipes[index].is_spare() && (full() || others().any(Pipe::goes_first)) => Room::Taken,
            _ if self.pipes[index].waits() && full() && !others().any(Pipe::rests) => Room::Taken,
            // It was refused, and what has its place can give that back soon.
            _ if self.pipes[index].was_refused() && others().any(Pipe::is_on_its_way) => Room::Taken,
            IdleChannel::Open(_) => Room::CanBeMade,
            _ if others().any(Pipe::rests) => Room::CanBeMade,
            _ => Room::Free,
        };
        let (others_are_open, ended) = (self.sessions() > 0, self.ended_sessions);
        let held = self.pipes[index].waits() && full();
        Turn { room, others: others_are_open, ended, may_start: !others().any(Pipe::is_starting), held }
    }

    /// What the server's limit of sessions counts.
    fn sessions(&self) -> usize {
        let idle = matches!(self.idle_channel, IdleChannel::Open(_) | IdleChannel::Closing(_));
        self.pipes.iter().filter(|pipe| pipe.has_session()).count() + usize::from(idle)
    }

    /// The server refused a session: one that does nothing ends for it. A spare shell waits until there is room by itself.
    fn make_room(&mut self, index: usize) {
        if matches!(self.idle_channel, IdleChannel::Open(_)) {
            self.give_up_listening();
        } else if !self.pipes[index].is_spare() && self.pipes.iter_mut().rev().any(Pipe::give_way) {
            // The newest: the oldest is taken next.
        } else {
            match self.sessions() {
                0 => self.pipes[index].give_up(),
                most => self.most_sessions = Some(most),
            }
        }
    }

    fn give_up_listening(&mut self) {
        if let IdleChannel::Open(channel) = std::mem::replace(&mut self.idle_channel, IdleChannel::Refused) {
            self.idle_channel = IdleChannel::Closing(channel);
        }
    }

    fn step_idle_channel(&mut self) -> Result<bool, String> {
        match &mut self.idle_channel {
            IdleChannel::Missing if self.pipes.is_empty() => self.idle_channel = IdleChannel::Opening,
            IdleChannel::NotYet | IdleChannel::Missing | IdleChannel::Refused => return Ok(false),
            IdleChannel::Opening => {
                self.idle_channel = match again(self.session.channel_session()) {
                    Ok(Some(channel)) => IdleChannel::Open(channel),
                    Ok(None) => return Ok(false),
                    Err(error) if only_this_channel(&error) => IdleChannel::Refused,
                    Err(error) => return Err(error.message().to_owned()),
                };
            }
            IdleChannel::Closing(channel) => match again(channel.close()) {
                Ok(None) => return Ok(false),
                Ok(Some(())) => {
                    self.idle_channel = IdleChannel::Refused;
                    self.ended_sessions += 1;
                }
                Err(error) => return Err(error.message().to_owned()),
            },
            // Another channel reads the connection itself, and would wait for the bytes that this one took.
            IdleChannel::Open(_) if !self.pipes.is_empty() => return Ok(false),
            IdleChannel::Open(channel) => match again_io(channel.read(&mut [0])) {
                Ok(None) => return Ok(false),
                Ok(Some(_)) => self.idle_channel = IdleChannel::Refused,
                Err(error) => return Err(error.to_string()),
            },
        }
        // Another channel may have waited for the end of the opening.
        Ok(true)
    }

    /// Sleeps until something can be done.
    fn wait(&mut self) -> Result<(), String> {
        let now = Instant::now();
        let keepalive_is_due = self.sticky.is_none() && now >= self.next_keepalive;
        let idle_channel_listens = match self.idle_channel {
            IdleChannel::Opening | IdleChannel::Closing(_) => true,
            IdleChannel::Open(_) => self.pipes.is_empty(),
            IdleChannel::NotYet | IdleChannel::Missing | IdleChannel::Refused => false,
        };
        let listens = idle_channel_listens || self.pipes.iter().any(Pipe::listens);
        let mut flags = match (self.sticky, listens) {
            (Some(_), _) => PollFlags::OUT,
            (None, true) => PollFlags::IN,
            // No channel can read now; only the end of the connection is of interest, unless a slow reader has to come first.
            (None, false) if self.pipes.is_empty() => PollFlags::RDHUP,
            (None, false) => PollFlags::empty(),
        };
        flags.set(PollFlags::OUT, flags.contains(PollFlags::OUT) || keepalive_is_due);
        let mut descriptors = vec![PollFd::new(&self.socket, flags), PollFd::new(&self.waker, PollFlags::IN)];
        descriptors
            .extend(self.listeners.iter().map(|listener| PollFd::new(listener.entrance.listener(), PollFlags::IN)));
        let locals = self.pipes.iter().filter_map(Pipe::local);
        descriptors.extend(locals.map(|(socket, flags)| PollFd::from_borrowed_fd(socket, flags)));
        match poll(&mut descriptors, Some(&timespec(self.patience(now)))) {
            Ok(0) => self.look_again = (self.look_again * 2).min(LOOK_AT_LATEST),
            Ok(_) | Err(rustix::io::Errno::INTR) => self.look_again = LOOK_AGAIN,
            Err(error) => return Err(format!("waiting for the network: {error}")),
        }
        let ready = descriptors[0].revents();
        let mut count = [0; 8];
        // Empties the counter; an error says that it was empty.
        let _ = rustix::io::read(&self.waker, &mut count);
        if !listens && self.pipes.is_empty() && ready.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            return Err("the server closed it".to_owned());
        }
        // libssh2 cannot resume a keepalive that was sent in part: only when there is room for all of it.
        if keepalive_is_due && ready.contains(PollFlags::OUT) {
            self.next_keepalive = Instant::now() + KEEPALIVE;
            self.session.keepalive_send().map_err(|error| error.message().to_owned())?;
        }
        Ok(())
    }

    fn patience(&self, now: Instant) -> Duration {
        let deadlines = self.condemned.iter().map(|condemned| condemned.until).chain(self.stop_at);
        // For channels that only idle, no caller waits.
        let look = (!self.pipes.iter().all(Pipe::rests)).then(|| now + self.look_again);
        let next = deadlines.chain(look).fold(self.next_keepalive, Instant::min);
        // An overdue keepalive waits for room in the socket, not in a loop without rest.
        next.saturating_duration_since(now).max(Duration::from_millis(if next > now { 1 } else { 100 }))
    }

    /// Politeness: a server whose client just vanishes writes a line into its log.
    fn say_goodbye(&mut self) {
        self.session.set_blocking(true);
        self.session.set_timeout(1_000);
        let _ = self.session.disconnect(None, "done", None);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // libssh2 closes channels politely when they are freed, and forgets to free them where that would block.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}
