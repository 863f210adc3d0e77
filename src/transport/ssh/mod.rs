//! SSH: one connection, one thread that owns it, several channels at once.
//!
//! libssh2 is not for several threads and blocks where it may, so a thread of its own drives it without blocking and speaks
//! with the run through channels. Dropping a future that waits for a script ends that script on the server.

pub(crate) mod answer;
mod connect;
mod driver;
mod entrance;
pub(crate) mod offer;
mod peer;
mod pipe;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    fs::File,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use rustix::event::EventfdFlags;
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc as async_mpsc, oneshot, watch},
    time::Instant,
};

use self::{
    answer::Reading,
    driver::{Driver, Order},
    entrance::Entrance,
    peer::{Ended, Ending, Input, Output},
};
use super::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel};
use crate::{
    config::typed::SshAccess,
    domain::{RemotePath, command::quote},
};

/// How many pieces of output wait for a slow reader before its channel is no longer read. SSH's window then stops the server, so memory stays bounded.
const QUEUE: usize = 64;

/// How long an upload may stand still. The keepalive notices a lost connection sooner; this is for a disk that hangs.
const UPLOAD_STALL: Duration = Duration::from_secs(120);

/// How long the rest of a script's log may take after its answer is complete. Longer waits only what a process in the background
/// holds open.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long ending the scripts of a broken connection may take.
const ORPHANS_END: Duration = Duration::from_secs(10);

/// How many shells are started ahead. To start one costs two round trips, which overlap by one, so two would do for scripts that follow each
/// other without a pause. The third makes up for what sshd takes to start a process.
const SPARES: usize = 3;

/// How often one script may lose its connection.
const DROPS: u32 = 5;

/// How long a connection that broke is tried again, and how many seconds it is waited before each try. A reboot takes longer, and ends what
/// ran; what a router or a restart of sshd takes is less.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time from the moment at which a line goes silent to the moment at which the run works over another one, or gives up: the
/// next sign of life is due, it is missed, the connection is tried again, and the last try may take as long as a try takes.
pub const OUTAGE: Duration = {
    let noticed = driver::KEEPALIVE.as_secs() + connect::DEAD_LINE.as_secs();
    let last_try = connect::CONNECT_TIMEOUT.as_secs() + connect::HANDSHAKE_TIMEOUT_MS as u64 / 1000;
    Duration::from_secs(noticed + PATIENCE.as_secs() + last_try)
};

const PAUSES: [u64; 6] = [1, 2, 4, 8, 16, 25];

/// The longest of these pauses for a server that has too many logins at once (sshd's MaxStartups) and may just as well be no SSH server.
const THROTTLED_PAUSE: u64 = 8;

/// How long a script that goes on is listened to at least after a connection was made anew, whatever is left of its time.
const LATE_NEWS: Duration = Duration::from_secs(10);

/// The connection to one server. Made at the first use, and made anew at the next use after it broke. What ran when it broke is
/// ended on the server before anything else runs there, but for a script that goes on.
pub struct Ssh {
    access: SshAccess,
    link: AsyncMutex<Option<Rc<Link>>>,
    /// A server that turns us away does so for the whole run: asking again would only repeat the login attempts.
    turned_away: OnceCell<ShellError>,
    /// The numbers of what ran when its connection broke.
    orphans: RefCell<Vec<String>>,
    /// The numbers of what was to be ended over the connection that there is: whether it still carried that is not known.
    ended: RefCell<Vec<String>>,
    /// The folders of scripts that were read to their end, or abandoned. The next script removes them.
    spent: RefCell<Vec<RemotePath>>,
    /// A server that could not be reached for so long is asked once from then on, so that the run comes to its end.
    given_up: Cell<bool>,
}

/// A connection: where to send orders, and how to wake the thread that takes them.
struct Link {
    orders: Option<mpsc::Sender<Order>>,
    waker: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    greeting: Greeting,
    /// The numbers of the shells that are started ahead, the oldest first.
    spares: RefCell<VecDeque<String>>,
    /// Why the connection ended, once it has.
    end: Arc<Mutex<Option<String>>>,
    /// How many abandoned scripts have not ended yet.
    endings: watch::Sender<usize>,
}

impl Ssh {
    pub fn new(access: &SshAccess) -> Self {
        Self {
            access: access.clone(),
            link: AsyncMutex::new(None),
            turned_away: OnceCell::new(),
            orphans: RefCell::default(),
            ended: RefCell::default(),
            spent: RefCell::default(),
            given_up: Cell::new(false),
        }
    }

    async fn link(&self) -> Result<Rc<Link>, ShellError> {
        let mut link = self.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        if let Some(error) = self.turned_away.get() {
            return Err(error.clone());
        }
        let broke = link.is_some();
        let began = Instant::now();
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.fresh().await {
                Ok(fresh) => {
                    self.given_up.set(false);
                    *link = Some(fresh.clone());
                    return Ok(fresh);
                }
                Err(error) => error,
            };
            if self.turned_away.get().is_some() {
                return Err(error);
            }
            let patient = broke && !self.given_up.get() && began.elapsed() < PATIENCE;
            let throttled = matches!(error, ShellError::Throttled(_));
            match pauses.next().filter(|pause| patient || throttled && *pause <= THROTTLED_PAUSE) {
                // The last try begins before the time is over, so that the whole outage has an end that is known.
                Some(pause) => {
                    let left = PATIENCE.saturating_sub(began.elapsed());
                    let pause = Duration::from_secs(pause);
                    tokio::time::sleep(if broke { pause.min(left) } else { pause }).await;
                }
                None => {
                    self.given_up.set(broke);
                    return Err(error);
                }
            }
        }
    }

    /// A new connection, on which nothing of the last one runs any more but what goes on.
    async fn fresh(&self) -> Result<Rc<Link>, ShellError> {
        let fresh = Rc::new(open(self.access.clone()).await.inspect_err(|error| {
            if !matches!(error, ShellError::Unreachable(_) | ShellError::Throttled(_)) {
                let _ = self.turned_away.set(error.clone());
            }
        })?);
        self.orphans.borrow_mut().extend(self.ended.take());
        self.end_orphans(&fresh).await?;
        Ok(fresh)
    }

    async fn end_orphans(&self, link: &Link) -> Result<(), ShellError> {
        let orphans = self.orphans.borrow().clone();
        for number in orphans {
            let mut output = link.execute(driver::ending_orphan(&number), driver::nothing(), false)?;
            let ended = async {
                while let Some(piece) = output.recv().await {
                    if matches!(piece, Output::Ended(_)) {
                        return Ok(());
                    }
                }
                Err(link.dropped())
            };
            tokio::time::timeout(ORPHANS_END, ended).await.map_err(|_| ShellError::TimedOut(ORPHANS_END))??;
            self.orphans.borrow_mut().retain(|orphan| *orphan != number);
        }
        Ok(())
    }
}

/// Connects in the thread that will own the session.
async fn open(access: SshAccess) -> Result<Link, ShellError> {
    let waker = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
        .map_err(|error| ShellError::Local(format!("making an event descriptor: {error}")))?;
    let waker = Arc::new(waker);
    let end = Arc::new(Mutex::new(None));
    let (orders, inbox) = mpsc::channel();
    let (ready, greeting) = oneshot::channel();
    let (thread_waker, thread_end) = (waker.clone(), end.clone());
    let thread = std::thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(move || match connect::connect(&access) {
            Ok((session, socket, greeting)) => {
                if ready.send(Ok(greeting)).is_ok() {
                    let mut driver = Driver::new(session, socket, inbox, thread_waker);
                    let reason = driver.drive().err().unwrap_or_else(|| "it was closed".to_owned());
                    // Before the driver goes, and with it all outputs: a caller that sees the end asks for the reason.
                    if let Ok(mut end) = thread_end.lock() {
                        *end = Some(reason);
                    }
                }
            }
            Err(error) => {
                // The caller is gone if the run was cancelled meanwhile.
                let _ = ready.send(Err(error));
            }
        })
        .map_err(|error| ShellError::Local(format!("starting a thread: {error}")))?;
    let greeting = greeting.await.map_err(|_| ShellError::Unreachable("the connecting thread ended".to_owned()))??;
    let (spares, endings) = (RefCell::default(), watch::Sender::new(0));
    let link = Link { orders: Some(orders), waker, thread: Some(thread), greeting, spares, end, endings };
    link.prepare();
    Ok(link)
}

/// The command that starts a shell. Its number is how it can be found on the server when the connection is lost.
fn shell(number: &str) -> String {
    format!("exec /bin/sh -s {number}")
}

fn new_number() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

impl Link {
    fn is_alive(&self) -> bool {
        self.end.lock().is_ok_and(|end| end.is_none())
    }

    fn order(&self, order: Order) -> Result<(), ShellError> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        driver::wake(&self.waker);
        if sent { Ok(()) } else { Err(self.dropped()) }
    }

    /// The connection has ended: why, if the thread could say so.
    fn dropped(&self) -> ShellError {
        let reason = self.end.lock().ok().and_then(|end| end.clone());
        ShellError::Dropped(reason.unwrap_or_else(|| "its thread ended".to_owned()))
    }

    /// Waits until abandoned scripts have ended: what a script did must not be undone while it still works.
    /// The thread sees to it that this comes to its end, and the end of the connection counts as one.
    async fn quiet(&self) {
        // The count cannot go away while we are here.
        let _ = self.endings.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Sees to it that shells wait for the next scripts.
    fn prepare(&self) {
        let mut spares = self.spares.borrow_mut();
        while spares.len() < SPARES {
            let number = new_number();
            // If the connection has ended, its next use says why.
            let _ = self.order(Order::Prepare { command: shell(&number) });
            spares.push_back(number);
        }
    }

    /// Gives a shell its script: one that was started ahead, if there is one and it may be that. Each runs one script, so nothing of a
    /// script is left to the next. Gives the shell's number, and the end at which its output arrives.
    fn begin(
        &self,
        input: Input,
        ahead: bool,
        waits: bool,
    ) -> Result<(String, async_mpsc::Receiver<Output>), ShellError> {
        let spare = if ahead { self.spares.borrow_mut().pop_front() } else { None };
        let number = spare.unwrap_or_else(new_number);
        let output = self.execute(shell(&number), input, waits)?;
        self.prepare();
        Ok((number, output))
    }

    /// Starts a command and gives the end at which its output arrives.
    fn execute(&self, command: String, input: Input, waits: bool) -> Result<async_mpsc::Receiver<Output>, ShellError> {
        let (sender, receiver) = async_mpsc::channel(QUEUE);
        self.order(Order::Execute { command, waits, input, output: sender })?;
        Ok(receiver)
    }

    /// The next piece of output. Tells the thread when a queue that had no room has some again.
    async fn next(&self, output: &mut async_mpsc::Receiver<Output>) -> Option<Output> {
        let next = output.recv().await;
        // The thread stops at the last free place. Looked at before, a piece that comes in between would fill the queue unseen.
        if output.capacity() <= peer::LAST_PLACE + 1 {
            driver::wake(&self.waker);
        }
        next
    }
}

impl Drop for Link {
    /// Waits for the thread, which has seconds at most to end abandoned scripts.
    fn drop(&mut self) {
        self.orders = None;
        driver::wake(&self.waker);
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; here nothing depends on it.
            let _ = thread.join();
        }
    }
}

/// A script at work. Ends its process group on the server if it is dropped before the script has ended.
struct Work<'a> {
    ssh: &'a Ssh,
    script: &'a Script,
    nonce: String,
    /// The numbers of the shells that were given it: more than one if it was attached to again.
    shells: Vec<String>,
    link: Option<Rc<Link>>,
    output: Option<async_mpsc::Receiver<Output>>,
    reading: Option<Box<Reading>>,
    /// Whether its whole answer was read.
    answered: bool,
    /// Whether a shell that was started ahead will do.
    trusts_spares: bool,
    /// The folders that it removes by the way.
    carried: Vec<RemotePath>,
    /// When its time is over. None while it waits for a session.
    until: watch::Sender<Option<Instant>>,
}

impl<'a> Work<'a> {
    fn new(ssh: &'a Ssh, script: &'a Script) -> Self {
        Self {
            ssh,
            script,
            nonce: new_number(),
            shells: Vec::new(),
            link: None,
            output: None,
            reading: None,
            answered: false,
            trusts_spares: true,
            carried: Vec::new(),
            until: watch::Sender::new(Some(Instant::now() + script.limit())),
        }
    }

    /// Comes back when its time is over. What waits for another script to end uses none of it.
    async fn times_out(mut until: watch::Receiver<Option<Instant>>) {
        loop {
            let now = *until.borrow_and_update();
            let changes = until.changed();
            let changed = match now {
                Some(at) => match tokio::time::timeout_at(at, changes).await {
                    Ok(changed) => changed,
                    Err(_) => return,
                },
                None => changes.await,
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Begins it over this connection, or attaches to it again.
    fn begin(&mut self, link: Rc<Link>) -> Result<(), ShellError> {
        let goes_on = self.script.job(&self.nonce).is_some();
        let reading = self.reading.get_or_insert_with(|| {
            let nonce = self.nonce.clone();
            Box::new(if goes_on { Reading::of_job(nonce) } else { Reading::new(nonce) })
        });
        self.carried = self.ssh.spent.take();
        let text = self.script.text_over(&self.nonce, &self.carried, reading.heard());
        let (number, output) = link.begin(driver::text(text), self.trusts_spares, self.script.waits())?;
        self.shells.push(number);
        self.link = Some(link);
        self.output = Some(output);
        Ok(())
    }

    /// The connection broke. Whether the script can do without, and what comes of it.
    fn survives(&mut self) -> bool {
        self.output = None;
        self.ssh.spent.borrow_mut().append(&mut self.carried);
        if self.script.is_repeatable() {
            self.abandon();
            return true;
        }
        let goes_on = self.script.job(&self.nonce).is_some();
        if let Some(reading) = self.reading.as_mut().filter(|_| goes_on) {
            reading.goes_on();
        }
        goes_on && self.reading.is_some()
    }

    /// Lets it be ended before anything else runs on the server.
    fn abandon(&mut self) {
        if self.reading.take().is_some() {
            self.ssh.orphans.borrow_mut().append(&mut self.shells);
        }
    }

    async fn finish(&mut self, on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        let ended = self.read(on_line).await?;
        // It has ended by itself: there is nothing left to end.
        self.output = None;
        match self.reading.take() {
            // A shell that waited for its script may have been ended meanwhile, by a person or for want of memory. No program has begun
            // that did not say so first; of work that goes on, another process says it.
            Some(reading) if self.trusts_spares && !reading.has_begun() && self.script.job(&self.nonce).is_none() => {
                self.trusts_spares = false;
                self.shells.clear();
                Err(reading.conclude(ended).err().unwrap_or_else(|| self.dropped()))
            }
            Some(reading) => {
                let answer = reading.conclude(ended);
                self.answered = answer.is_ok();
                answer
            }
            None => Err(self.dropped()),
        }
    }

    /// Reads to the end; `None` when the answer is complete and only a process in the background holds its output open.
    async fn read(&mut self, on_line: &mut dyn FnMut(String)) -> Result<Option<Ended>, ShellError> {
        let (Some(link), Some(output), Some(reading)) = (&self.link, &mut self.output, &mut self.reading) else {
            return Err(self.dropped());
        };
        loop {
            let next = if reading.is_complete() {
                match tokio::time::timeout(LAST_LINES, link.next(output)).await {
                    Ok(next) => next,
                    Err(_) => {
                        reading.rest(on_line);
                        return Ok(None);
                    }
                }
            } else {
                link.next(output).await
            };
            match next {
                Some(Output::Stdout(bytes)) => reading.answer(&bytes)?,
                Some(Output::Stderr(bytes)) => reading.log(&bytes, on_line),
                Some(Output::Sent(_)) => {}
                Some(Output::Held) => drop(self.until.send_replace(None)),
                Some(Output::Opened) => drop(self.until.send_replace(Some(Instant::now() + self.script.limit()))),
                Some(Output::Ended(ended)) => {
                    reading.rest(on_line);
                    return Ok(Some(ended));
                }
                Some(Output::Refused(reason)) => return Err(ShellError::NoAnswer { noise: reason }),
                None => return Err(link.dropped()),
            }
        }
    }

    fn dropped(&self) -> ShellError {
        self.link.as_ref().map_or_else(|| ShellError::Dropped("there is none".to_owned()), |link| link.dropped())
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        // It goes on, and its folder is kept for a later question about its result.
        if self.script.is_never_ended() && !self.answered {
            return;
        }
        if self.link.is_some() {
            self.ssh.spent.borrow_mut().extend(self.script.job(&self.nonce));
        }
        let (Some(link), Some(output)) = (&self.link, self.output.take()) else { return self.abandon() };
        let Some(reading) = self.reading.take() else { return };
        let command = self.shells.last().map(|number| shell(number)).unwrap_or_default();
        // The connection may be lost, and this not noticed yet.
        self.ssh.ended.borrow_mut().append(&mut self.shells);
        let ending = Ending::counted_by(&link.endings);
        let order = match reading.pid() {
            Some(pid) => Order::End { pid, ending },
            None => Order::EndOnceKnown { command, output, reading, ending },
        };
        // On a connection that broke there is nothing to send it to; the next one ends it.
        let _ = link.order(order);
    }
}

#[async_trait(?Send)]
impl Shell for Ssh {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        Ok(self.link().await?.greeting.clone())
    }

    async fn run(&self, script: Script, on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        let mut work = Work::new(self, &script);
        let mut drops = 0;
        let mut link = self.link().await?;
        work.until.send_replace(Some(Instant::now() + script.limit()));
        loop {
            let trusted_spares = work.trusts_spares;
            let times_out = Work::times_out(work.until.subscribe());
            let carried_out = async {
                link.quiet().await;
                work.begin(link)?;
                work.finish(on_line).await
            };
            let finished = tokio::select! {
                biased;
                finished = carried_out => finished,
                () = times_out => Err(ShellError::TimedOut(script.limit())),
            };
            if trusted_spares && !work.trusts_spares {
                link = self.link().await?;
                continue;
            }
            let why = match finished {
                Err(ShellError::Dropped(why)) if drops < DROPS && work.survives() => why,
                result => return result,
            };
            drops += 1;
            on_line(format!("the connection broke ({why}); reconnecting"));
            link = self.link().await?;
            // What begins anew has all its time again; what went on has worked meanwhile.
            let (again, now) = (script.is_repeatable(), Instant::now());
            let all = now + script.limit();
            work.until.send_modify(|until| {
                *until = Some(if again { all } else { until.unwrap_or(all).max(now + LATE_NEWS) });
            });
        }
    }

    async fn send(
        &self,
        file: File,
        size: u64,
        to: &RemotePath,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), ShellError> {
        // A shell that waited for its script may have been ended meanwhile, and took nothing then. One of its own is not.
        let again =
            file.try_clone().map_err(|error| ShellError::Local(format!("opening the file once more: {error}")))?;
        match self.receive(file, size, to, true, on_bytes).await? {
            Received::Whole => Ok(()),
            Received::NotBegun(_) => match self.receive(again, size, to, false, on_bytes).await? {
                Received::Whole => Ok(()),
                Received::NotBegun(error) => Err(error),
            },
        }
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        let link = self.link().await?;
        let entrance =
            Entrance::open().map_err(|error| ShellError::Local(format!("opening a local socket: {error}")))?;
        let tunnel = Tunnel::new(entrance.path(), format!("{host}:{port}"), link.end.clone());
        link.order(Order::Tunnel { entrance, host: host.to_owned(), port, tunnel: tunnel.clone() })?;
        Ok(tunnel)
    }

    fn another(&self) -> Rc<dyn Shell> {
        Rc::new(Self::new(&self.access))
    }
}

/// What came of an upload.
enum Received {
    Whole,
    /// The shell ended before it said what is there, and how it ended.
    NotBegun(ShellError),
}

impl Ssh {
    /// Sends a file. `ahead`: to a shell that was started before.
    async fn receive(
        &self,
        file: File,
        size: u64,
        to: &RemotePath,
        ahead: bool,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<Received, ShellError> {
        let link = self.link().await?;
        let quiet = tokio::time::timeout(UPLOAD_STALL, link.quiet()).await;
        quiet.map_err(|_| ShellError::TimedOut(UPLOAD_STALL))?;
        // A path is no secret; no other account may read the file, and a link that lies there is not followed. The server says what
        // it has before it is sent more, and counts what it wrote: an exit status alone has been seen to say yes to a half.
        let receive = format!("{{\nset -- {} {size}\n{RECEIVE}\nexit\n}}\n", quote(to.as_str()));
        let before = receive.len() as u64;
        let (input, mut gate) = driver::text_and_rest_of(receive, file);
        let (number, mut output) = link.begin(input, ahead, true)?;
        let mut receiver = Receiver { ssh: self, link: &link, number: Some(number) };
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        let (mut have, mut held) = (0, false);
        loop {
            let next = match held {
                true => link.next(&mut output).await,
                false => {
                    let next = tokio::time::timeout(UPLOAD_STALL, link.next(&mut output)).await;
                    next.map_err(|_| ShellError::TimedOut(UPLOAD_STALL))?
                }
            };
            match next {
                None => {
                    self.orphans.borrow_mut().extend(receiver.number.take());
                    return Err(link.dropped());
                }
                Some(Output::Held) => held = true,
                Some(Output::Opened) => held = false,
                Some(Output::Sent(sent)) if sent > before => on_bytes(have + sent - before),
                Some(Output::Sent(_)) => {}
                Some(Output::Stdout(bytes)) => {
                    keep(&mut said, &bytes);
                    if let Some(there) = has(&said)
                        && let Some(gate) = gate.take()
                    {
                        have = there;
                        on_bytes(have);
                        gate.open(have);
                        driver::wake(&link.waker);
                    }
                }
                Some(Output::Stderr(bytes)) => keep(&mut complained, &bytes),
                Some(Output::Refused(reason)) => return Err(ShellError::Local(reason)),
                Some(Output::Ended(ended)) if !ended.success() => {
                    receiver.number = None;
                    let text = String::from_utf8_lossy(&complained);
                    let tail = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
                    let error = ShellError::Failed { status: ended.to_string(), tail };
                    // It says what is there before it takes anything of the file.
                    return if gate.is_some() { Ok(Received::NotBegun(error)) } else { Err(error) };
                }
                Some(Output::Ended(_)) => {
                    receiver.number = None;
                    let received = received(&said);
                    if received == Some(size) {
                        on_bytes(size);
                        return Ok(Received::Whole);
                    }
                    return Err(match received {
                        Some(received) => ShellError::Local(format!(
                            "the server received {received} bytes, the file had {size} before"
                        )),
                        None => ShellError::NoAnswer { noise: String::from_utf8_lossy(&said).trim().to_owned() },
                    });
                }
            }
        }
    }
}

/// The shell that receives a file. It is ended if it is no longer waited for, so that it makes no file again that was removed meanwhile.
struct Receiver<'a> {
    ssh: &'a Ssh,
    link: &'a Rc<Link>,
    /// None once it has ended.
    number: Option<String>,
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number.take() else { return };
        let ending = Ending::counted_by(&self.link.endings);
        // On a connection that broke there is nothing to send it to; the next one ends it.
        let _ = self.link.order(Order::EndShell { command: shell(&number), number: number.clone(), ending });
        self.ssh.ended.borrow_mut().push(number);
    }
}

/// Takes a file `$1` of `$2` bytes. What is there is its beginning, unless it is longer. The shell must read all of this before any of it
/// runs, because the file comes behind it: so it stands in braces, and the file is sent once this has said what there is.
const RECEIVE: &str = "umask 077
if [ -L \"$1\" ] || [ ! -f \"$1\" ]; then rm -f -- \"$1\" && set -C && : >\"$1\" || exit; set +C; fi
have=$(wc -c <\"$1\") || exit
if [ \"$have\" -gt \"$2\" ]; then : >\"$1\" || exit; have=0; fi
printf \"\\nhave=%d\\n\" \"$have\"
cat >>\"$1\" && printf \"\\nreceived=%d\\n\" \"$(wc -c <\"$1\")\"";

/// How many bytes were there; what a start-up file printed before is passed over.
fn has(said: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(said);
    // Only a whole line: the rest of it may still be on its way.
    let whole = &text[..text.rfind('\n')?];
    whole.lines().rev().find_map(|line| line.strip_prefix("have="))?.trim().parse().ok()
}

/// Keeps the last bytes of what a command says.
fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    said.extend_from_slice(bytes);
    let excess = said.len().saturating_sub(answer::LONGEST_LINE);
    said.drain(..excess);
}

/// How many bytes the server says it wrote; what a start-up file printed before is passed over.
fn received(said: &[u8]) -> Option<u64> {
    String::from_utf8_lossy(said).lines().rev().find_map(|line| line.strip_prefix("received="))?.trim().parse().ok()
}
