//! Visitors who ask without a pause, to see whether a release loses a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;

use crate::http::Connection;

/// A running load; it ends with [`Load::stop`].
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Result<Report>>,
}

/// What the visitors saw.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Requests that ended, well or not.
    pub requests: usize,
    /// Each request that was not answered with 200: the status, or what happened to the connection.
    pub failures: Vec<String>,
    /// Kept connections that the server closed before it had read a request. Every browser then asks once more on a new
    /// connection (RFC 9112, 9.3.1 allows it for GET), and so does the load; that second request counts like any other.
    pub reconnects: usize,
    /// The longest time from the request to the end of its answer.
    pub slowest: Duration,
}

impl Load {
    /// Starts `clients` visitors. Each alternates between fresh connections and a kept one.
    pub fn start(address: SocketAddr, host: &str, path: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let target = Target { address, host: host.to_owned(), path: path.to_owned() };
        let worker = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || run(&target, clients, &stop)
        });
        Self { stop, worker }
    }

    /// Lets the running requests end, and counts.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().map_err(|_| anyhow!("the load generator panicked"))?
    }
}

#[derive(Debug, Clone)]
struct Target {
    address: SocketAddr,
    host: String,
    path: String,
}

fn run(target: &Target, clients: usize, stop: &Arc<AtomicBool>) -> Result<Report> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the load generator")?;
    runtime.block_on(async {
        let mut visitors = JoinSet::new();
        for _ in 0..clients {
            let (target, stop) = (target.clone(), Arc::clone(stop));
            visitors.spawn(async move { visit(&target, &stop).await });
        }
        Ok(visitors.join_all().await.into_iter().fold(Report::default(), Report::plus))
    })
}

async fn visit(target: &Target, stop: &AtomicBool) -> Report {
    let mut report = Report::default();
    let mut kept = None;
    for turn in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let started = Instant::now();
        let outcome = if turn.is_multiple_of(2) {
            ask_on_fresh(target).await.map(drop)
        } else {
            ask_on_kept(target, &mut kept, &mut report.reconnects).await
        };
        report.requests += 1;
        report.slowest = report.slowest.max(started.elapsed());
        report.failures.extend(outcome.err().map(|problem| format!("{problem:#}")));
    }
    report
}

async fn ask_on_fresh(target: &Target) -> Result<Connection> {
    let mut connection = Connection::open(target.address).await?;
    ask(target, &mut connection).await?;
    Ok(connection)
}

async fn ask_on_kept(target: &Target, kept: &mut Option<Connection>, reconnects: &mut usize) -> Result<()> {
    if let Some(mut connection) = kept.take() {
        match ask(target, &mut connection).await {
            Err(problem) if closed_before_an_answer(&problem) => *reconnects += 1,
            outcome => {
                *kept = outcome.is_ok().then_some(connection);
                return outcome;
            }
        }
    }
    *kept = Some(ask_on_fresh(target).await?);
    Ok(())
}

async fn ask(target: &Target, connection: &mut Connection) -> Result<()> {
    let answer = connection.get(&target.host, &target.path, None).await?;
    match answer.status().as_u16() {
        200 => Ok(()),
        other => Err(anyhow!("status {other}")),
    }
}

fn closed_before_an_answer(problem: &anyhow::Error) -> bool {
    problem
        .downcast_ref::<hyper::Error>()
        .is_some_and(|error| error.is_canceled() || error.is_closed() || error.is_incomplete_message())
}

impl Report {
    fn plus(mut self, other: Self) -> Self {
        self.requests += other.requests;
        self.failures.extend(other.failures);
        self.reconnects += other.reconnects;
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}
