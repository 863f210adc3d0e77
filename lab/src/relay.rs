//! A line to a server that is far away: whatever is sent arrives half a round trip later, in both directions, however much it is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Listens on a port of loopback. It stops listening when this is dropped; connections that are open go on.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    counted: Arc<Counted>,
}

/// Bytes. What opens or closes a channel or starts a command has less, a script has more.
const LONG: usize = 4096;

/// What has gone over a line.
#[derive(Debug, Default)]
struct Counted {
    turns: AtomicUsize,
    long_turns: AtomicUsize,
    connections: AtomicUsize,
}

impl Relay {
    /// Leads to `server`.
    pub fn to(server: SocketAddr, round_trip: Duration) -> Result<Self> {
        let entrance = TcpListener::bind("127.0.0.1:0").context("looking for a port for a relay")?;
        let address = entrance.local_addr().context("asking for the relay's port")?;
        let (ends, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(Counted::default()));
        let (end, count) = (ends.clone(), counted.clone());
        thread::spawn(move || {
            for client in entrance.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let count = count.clone();
                count.connections.fetch_add(1, Ordering::Relaxed);
                // A connection that cannot be made, or that breaks, is one that the client sees end.
                thread::spawn(move || drop(carry(client, server, round_trip, &count)));
            }
        });
        Ok(Self { address, ends, counted })
    }

    /// Where a client connects to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often a client said something after it had heard something: what it said until it heard something new counts once. Not all of
    /// that was waited for, so this is the most that the round trips can be.
    pub fn turns(&self) -> usize {
        self.counted.turns.load(Ordering::Relaxed)
    }

    /// In how many of them it said more than [`LONG`]: a script or a part of a file, and not only that a channel is to be opened or closed.
    pub fn long_turns(&self) -> usize {
        self.counted.long_turns.load(Ordering::Relaxed)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counted.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // The thread that listens sees the end at the next connection. If none can be made, it has ended.
        let _ = TcpStream::connect(self.address);
    }
}

/// On a real line the client may speak one round trip after it began to connect, and what it says first, be it that it has connected, arrives
/// half a round trip later.
fn carry(client: TcpStream, server: SocketAddr, round_trip: Duration, count: &Arc<Counted>) -> Result<()> {
    let connected = Instant::now() + round_trip;
    thread::sleep((connected + round_trip / 2).saturating_duration_since(Instant::now()));
    let server = TcpStream::connect(server).context("connecting to the server")?;
    for socket in [&client, &server] {
        socket.set_nodelay(true).context("setting up a socket")?;
    }
    let heard = Arc::new(AtomicBool::new(true));
    let (up_from, up_to) =
        (client.try_clone().context("sharing a socket")?, server.try_clone().context("sharing a socket")?);
    let (asks, count) = (heard.clone(), count.clone());
    let up = thread::spawn(move || {
        let mut said = 0;
        let counts = move |length: usize| {
            if asks.swap(false, Ordering::SeqCst) {
                count.turns.fetch_add(1, Ordering::Relaxed);
                said = 0;
            }
            if said <= LONG && said + length > LONG {
                count.long_turns.fetch_add(1, Ordering::Relaxed);
            }
            said += length;
        };
        pass(up_from, up_to, connected, round_trip / 2, counts, || {});
    });
    pass(server, client, connected, round_trip / 2, |_| {}, move || heard.store(true, Ordering::SeqCst));
    // It has ended with its sockets.
    let _ = up.join();
    Ok(())
}

/// Carries one direction. One thread reads without a pause and notes when each piece is to arrive; another one delivers it then. So any number
/// of pieces is under way at once, and the delay takes nothing from the throughput.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    not_before: Instant,
    delay: Duration,
    mut read: impl FnMut(usize) + Send + 'static,
    delivers: impl Fn(),
) {
    let (send, under_way) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            read(length);
            let arrives = Instant::now().max(not_before) + delay;
            if send.send((arrives, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    while let Ok((arrives, bytes)) = under_way.recv() {
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        // Before, because whoever hears it may answer at once.
        delivers();
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Whoever reads there sees the end; whoever has left has seen it.
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is far away answers late, and a large file does not wait for each of its pieces.
    #[test]
    fn a_relay_delays_and_carries_much_at_once() {
        const SIZE: usize = 8 << 20;
        let far = Duration::from_millis(300);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut guest, _) = listener.accept().expect("a guest");
            let mut received = vec![0; SIZE];
            for _ in 0..3 {
                guest.read_exact(&mut received[..1]).expect("a question");
                guest.write_all(b"!").expect("an answer");
            }
            guest.read_exact(&mut received).expect("a file");
            guest.write_all(&received).expect("the same file");
        });
        let relay = Relay::to(server, far).expect("a relay");
        let began = Instant::now();
        let mut client = TcpStream::connect(relay.address()).expect("a connection");
        let mut answer = vec![0; SIZE];
        for _ in 0..3 {
            client.write_all(b"?").expect("a question");
            client.read_exact(&mut answer[..1]).expect("an answer");
        }
        assert!(began.elapsed() >= far * 4, "a connection and three answers: {:?}", began.elapsed());
        assert_eq!((relay.turns(), relay.long_turns(), relay.connections()), (3, 0, 1));
        let sent = Instant::now();
        let mut writer = client.try_clone().expect("a socket");
        let writing = thread::spawn(move || writer.write_all(&vec![7; SIZE]));
        client.read_exact(&mut answer).expect("the file");
        writing.join().expect("the writer").expect("sent");
        assert!(answer.iter().all(|byte| *byte == 7));
        assert!(relay.long_turns() > 0, "a file is long");
        // Piece after piece it would take at least 128 round trips.
        assert!(sent.elapsed() < far * 64, "{:?}", sent.elapsed());
    }
}
