//! SSH: one connection, one thread that owns it, several channels at once.
//!
//! libssh2 is not for several threads and blocks where it may, so a thread of its own drives it without blocking and speaks
//! with the run through channels. Dropping a future that waits for a script ends that script on the server.

mod answer;
mod connect;
mod driver;

use std::{
    cell::OnceCell,
    fs::File,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use rustix::event::EventfdFlags;
use tokio::sync::{OnceCell as AsyncOnceCell, mpsc as async_mpsc, oneshot};

use self::{
    answer::Reading,
    driver::{Driver, Input, Order, Output},
};
use super::shell::{Answer, Greeting, Script, Shell, ShellError};
use crate::{
    domain::{RemotePath, command::quote},
    inputs::typed::SshAccess,
};

/// How many pieces of output wait for a slow reader before its channel is no longer read. SSH's window then stops the server, so memory stays bounded.
const QUEUE: usize = 64;

/// How long an upload may stand still. The keepalive notices a dead line sooner; this is for a disk that hangs.
const UPLOAD_STALL: Duration = Duration::from_secs(120);

/// The connection to one server. Made at the first use.
pub struct Ssh {
    access: SshAccess,
    link: AsyncOnceCell<Link>,
    /// A failed connection is final for the run: asking again would only repeat the login attempts.
    failed: OnceCell<ShellError>,
}

/// A live connection: where to send orders, and how to wake the thread that takes them.
struct Link {
    orders: mpsc::Sender<Order>,
    waker: Arc<OwnedFd>,
    greeting: Greeting,
    /// Why the connection ended, once it has.
    end: Arc<Mutex<Option<String>>>,
}

impl Ssh {
    pub fn new(access: &SshAccess) -> Self {
        Self { access: access.clone(), link: AsyncOnceCell::new(), failed: OnceCell::new() }
    }

    async fn link(&self) -> Result<&Link, ShellError> {
        if let Some(error) = self.failed.get() {
            return Err(error.clone());
        }
        let link = self.link.get_or_try_init(|| open(self.access.clone())).await;
        link.inspect_err(|error| {
            let _ = self.failed.set(error.clone());
        })
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
    std::thread::Builder::new()
        .name("ssh".to_owned())
        .spawn(move || match connect::connect(&access) {
            Ok((session, socket, greeting)) => {
                if ready.send(Ok(greeting)).is_ok() {
                    let reason = Driver::new(session, socket, inbox, thread_waker).drive();
                    if let Ok(mut end) = thread_end.lock() {
                        *end = reason;
                    }
                }
            }
            Err(error) => {
                // Nobody waits any more when the run was cancelled meanwhile.
                let _ = ready.send(Err(error));
            }
        })
        .map_err(|error| ShellError::Local(format!("starting a thread: {error}")))?;
    let greeting = greeting.await.map_err(|_| ShellError::Unreachable("the connecting thread ended".to_owned()))??;
    Ok(Link { orders, waker, greeting, end })
}

impl Link {
    fn order(&self, order: Order) -> Result<(), ShellError> {
        self.orders.send(order).map_err(|_| self.dropped())?;
        driver::wake(&self.waker);
        Ok(())
    }

    /// The connection has ended: why, if the thread could say so.
    fn dropped(&self) -> ShellError {
        let reason = self.end.lock().ok().and_then(|end| end.clone());
        ShellError::Dropped(reason.unwrap_or_else(|| "it was closed".to_owned()))
    }

    /// Starts a command and gives the end at which its output arrives.
    fn execute(&self, command: String, input: Input) -> Result<async_mpsc::Receiver<Output>, ShellError> {
        let (sender, receiver) = async_mpsc::channel(QUEUE);
        self.order(Order::Execute { command, input, output: sender })?;
        Ok(receiver)
    }
}

/// Tells the thread that there is room in a queue again.
struct Refill<'a>(&'a Link);

impl Refill<'_> {
    async fn next(&self, output: &mut async_mpsc::Receiver<Output>) -> Option<Output> {
        let full = output.len() == QUEUE;
        let next = output.recv().await;
        if full {
            driver::wake(&self.0.waker);
        }
        next
    }
}

/// Ends a script's process group on the server when it is no longer waited for.
struct Leash<'a> {
    link: &'a Link,
    pid: Option<u32>,
}

impl Drop for Leash<'_> {
    fn drop(&mut self) {
        let Some(pid) = self.pid else { return };
        // The group gets two seconds to end in order. Nobody waits for this command, and a dead connection cannot run it.
        let command = format!("exec /bin/sh -c 'kill -TERM -- -{pid}; sleep 2; kill -KILL -- -{pid}' >/dev/null 2>&1");
        drop(self.link.execute(command, Input::nothing()));
    }
}

#[async_trait(?Send)]
impl Shell for Ssh {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        Ok(self.link().await?.greeting.clone())
    }

    async fn run(&self, script: Script, on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        let link = self.link().await?;
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let limit = script.limit();
        let mut leash = Leash { link, pid: None };
        let mut output = link.execute("exec /bin/sh -s".to_owned(), Input::text(script.text(&nonce)))?;
        let mut reading = Reading::new(nonce);
        let refill = Refill(link);
        let work = async {
            while let Some(piece) = refill.next(&mut output).await {
                match piece {
                    Output::Stdout(bytes) => {
                        reading.answer(&bytes)?;
                        leash.pid = leash.pid.or(reading.pid());
                    }
                    Output::Stderr(bytes) => reading.log(&bytes, on_line),
                    Output::Sent(_) => {}
                    Output::Ended(status) => {
                        reading.rest(on_line);
                        return reading.conclude(status);
                    }
                    Output::Refused(reason) => return Err(ShellError::NoAnswer { noise: reason }),
                }
            }
            Err(link.dropped())
        };
        let result = tokio::time::timeout(limit, work).await.unwrap_or(Err(ShellError::TimedOut(limit)));
        if !matches!(result, Err(ShellError::TimedOut(_) | ShellError::NoAnswer { .. })) {
            leash.pid = None;
        }
        result
    }

    async fn send(
        &self,
        file: File,
        size: u64,
        to: &RemotePath,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), ShellError> {
        let link = self.link().await?;
        // A path is no secret; the file is nobody else's to read.
        let command = format!("exec /bin/sh -c 'umask 077; exec cat >\"$0\"' {}", quote(to.as_str()));
        let mut output = link.execute(command, Input::file(file))?;
        let refill = Refill(link);
        let mut said = Vec::new();
        let mut sent = 0;
        loop {
            let next = tokio::time::timeout(UPLOAD_STALL, refill.next(&mut output)).await;
            match next.map_err(|_| ShellError::TimedOut(UPLOAD_STALL))? {
                None => return Err(link.dropped()),
                Some(Output::Sent(total)) => {
                    sent = total;
                    on_bytes(total);
                }
                Some(Output::Stdout(bytes) | Output::Stderr(bytes)) => {
                    said.extend_from_slice(&bytes);
                    said.truncate(answer::LONGEST_LINE);
                }
                Some(Output::Refused(reason)) => return Err(ShellError::NoAnswer { noise: reason }),
                Some(Output::Ended(status)) if status.success() && sent == size => return Ok(()),
                Some(Output::Ended(status)) if status.success() => {
                    return Err(ShellError::Local(format!("the file has {sent} bytes, it had {size} before")));
                }
                Some(Output::Ended(status)) => {
                    let text = String::from_utf8_lossy(&said).trim().to_owned();
                    return Err(ShellError::Failed { status: status.to_string(), tail: vec![text] });
                }
            }
        }
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<SocketAddr, ShellError> {
        let link = self.link().await?;
        let listen = || -> io::Result<(std::net::TcpListener, SocketAddr)> {
            let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|error| ShellError::Local(format!("opening a local port: {error}")))?;
        link.order(Order::Tunnel { listener, host: host.to_owned(), port })?;
        Ok(address)
    }
}
