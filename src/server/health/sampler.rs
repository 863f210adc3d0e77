//! The availability sampler: requests at a low steady rate during the switch, and the downtime report of them.
//!
//! The health check says whether the site is healthy at the end; the sampler says what happened before. It requests what the baseline
//! requested, in turn over a new connection and over a kept one, because the two meet different workers of a web server that reloads.
//! It decides nothing before the switch, and has few requests under way: a pool of PHP workers is small.

pub mod rows;

pub use self::rows::{check, end, is_spent, reloaded, spent, stable, start, switching, turning_back, unstable};

mod samples;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    rc::Rc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn_local},
};

use self::samples::{Missing, Samples, Seen, Side};
use super::probe;
use crate::{
    clock::Clock,
    domain::{CommitSha, ReleaseName, Secret, record::DowntimeReport},
    http::{Connection, Get, Reply, Site},
    server::health::naming,
};

/// How long one answer may take; as in the health check.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests under way at the same time.
const MOST_AT_ONCE: usize = 3;

/// How long the last requests may take when the sampler is stopped.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Through the SSH connection each new connection is a channel of its own: no more of them a second.
const MOST_THROUGH_TUNNEL: u32 = 5;

/// Time between two requests to a site that limits them: each sample uses up a request that the health check needs.
const GENTLE: Duration = Duration::from_secs(5);

/// Answer headers by which a site says that it limits requests (Laravel's `throttle`, and the IETF's draft of the same).
const LIMITS: [&str; 2] = ["x-ratelimit-limit", "ratelimit-limit"];

fn over(downtime_report: &DowntimeReport) -> bool {
    downtime_report.downtime_ms > downtime_report.budget_ms
}

fn describe(downtime_report: &DowntimeReport) -> String {
    let mut text = format!("{} of {} requests failed", downtime_report.failures, downtime_report.requests);
    if downtime_report.failures > 0 {
        text.push_str(&format!(", {} ms of downtime", downtime_report.downtime_ms));
        if let Some(first) = downtime_report.first_failures.first() {
            text.push_str(&format!("; first {first}"));
        }
    }
    if downtime_report.not_asked > 0 {
        text.push_str(&format!(
            "; {} more did not reach the site and do not count as downtime",
            downtime_report.not_asked
        ));
    }
    text.push_str(&format!("; slowest {} ms", downtime_report.slowest_ms));
    if let Some(ms) = downtime_report.side_by_side_ms {
        text.push_str(&format!("; both releases answered for {ms} ms"));
    }
    if let Some(ms) = downtime_report.old_again_ms {
        text.push_str(&format!("; the old release answered again {ms} ms after the rollback began"));
    }
    text
}

/// What is asked in turn.
#[derive(Clone)]
struct Question {
    path: String,
    bearer: Option<Secret>,
    lenient: bool,
}

/// How to tell the two releases by what an answer calls itself.
struct Sides {
    old: Option<String>,
    new: ReleaseName,
    commit: CommitSha,
    /// Both were made from one commit, whose name then says nothing.
    same_commit: bool,
}

impl Sides {
    fn of(&self, reply: &Reply) -> Option<Side> {
        let named = naming::named(reply).or_else(|| probe::answered_as(reply))?;
        if named == self.new.as_str() {
            Some(Side::New)
        } else if self.old.as_deref() == Some(named.as_str()) {
            Some(Side::Old)
        } else if self.same_commit {
            None
        } else if probe::names(&named, &self.commit) {
            Some(Side::New)
        } else {
            Some(Side::Old)
        }
    }
}

/// What the task and its owner share.
struct Inner {
    site: Rc<dyn Site>,
    clock: Rc<dyn Clock>,
    questions: Vec<Question>,
    sides: Sides,
    budget: Duration,
    began: Duration,
    rate: Cell<u32>,
    pace: Cell<Duration>,
    samples: RefCell<Samples>,
    /// Requests made so far.
    asked: Cell<u64>,
    /// Those under way, and when they were asked.
    open: RefCell<BTreeMap<u64, (String, Connection, Duration)>>,
    /// Receipt fixed when the sampler was stopped.
    ended: Cell<Option<Duration>>,
}

/// Not begun yet.
struct Quiet {
    inner: Rc<Inner>,
}

/// A task of this thread that asks until it is stopped, or dropped.
pub struct Sampler {
    inner: Rc<Inner>,
    stop: watch::Sender<bool>,
    counted: watch::Receiver<u64>,
    task: AbortHandle,
    finished: Cell<bool>,
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("asked", &self.inner.asked.get()).finish_non_exhaustive()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sampler {
    /// Waits until so many requests have been counted; not for longer than `patience`.
    async fn counted(&self, wanted: u64, patience: Duration) {
        let mut counted = self.counted.clone();
        tokio::select! {
            biased;
            // An error means that the task has ended: then nothing more comes.
            _ = counted.wait_for(|counted| *counted >= wanted) => {}
            () = self.inner.clock.sleep(patience) => {}
        }
    }

    /// Stops asking and gives the last requests a moment. What has no answer then has failed.
    async fn stop(&self) {
        self.stop.send_replace(true);
        self.counted(self.inner.asked.get(), LAST_WAIT).await;
        self.task.abort();
        let now = self.inner.clock.elapsed();
        for (number, (path, connection, asked)) in self.inner.open.take() {
            let status = Err(Missing::Failed("no answer until the measurement ended".to_owned()));
            let seen = Seen { path, connection, asked, answered: now, status, side: None, lenient: false };
            self.inner.samples.borrow_mut().take(number, seen);
        }
        if self.inner.ended.get().is_none() {
            self.inner.ended.set(Some(now));
        }
    }

    async fn finish(&self) -> DowntimeReport {
        if !self.finished.replace(true) {
            self.stop().await;
        }
        self.downtime_report()
    }

    fn downtime_report(&self) -> DowntimeReport {
        let inner = &self.inner;
        let now = inner.ended.get().unwrap_or_else(|| inner.clock.elapsed());
        let paths = inner.questions.iter().map(|question| question.path.clone()).collect();
        inner.samples.borrow().downtime_report(inner.began, now, paths, inner.rate.get(), inner.budget)
    }
}

impl Quiet {
    fn begin(self, rate: u32) -> Sampler {
        let inner = self.inner;
        inner.rate.set(rate);
        inner.pace.set(Duration::from_secs(1) / rate);
        let (stop, stopped) = watch::channel(false);
        let (count, counted) = watch::channel(0);
        let task = spawn_local(ask_on(inner.clone(), stopped, count)).abort_handle();
        Sampler { inner, stop, counted, task, finished: Cell::new(false) }
    }
}

/// Asks at the given pace until it is told to stop, then waits for the last answers.
async fn ask_on(inner: Rc<Inner>, mut stop: watch::Receiver<bool>, count: watch::Sender<u64>) {
    let mut running = FuturesUnordered::new();
    let mut due = inner.clock.elapsed();
    'asking: loop {
        if running.len() < MOST_AT_ONCE {
            running.push(ask(inner.clone()));
        }
        // Missed samples are not made up for: that would be a burst.
        due = (due + inner.pace.get()).max(inner.clock.elapsed());
        let mut tick = std::pin::pin!(inner.clock.sleep(due.saturating_sub(inner.clock.elapsed())));
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break 'asking,
                Some(counted) = running.next() => { count.send_replace(counted); }
                () = &mut tick => break,
            }
        }
    }
    while let Some(counted) = running.next().await {
        count.send_replace(counted);
    }
}

/// Makes the next request; gives how many have been counted when it has ended.
async fn ask(inner: Rc<Inner>) -> u64 {
    let number = inner.asked.get();
    inner.asked.set(number + 1);
    let kept_is_busy = inner.open.borrow().values().any(|(_, connection, _)| *connection == Connection::Kept);
    let connection = if number % 2 == 1 && !kept_is_busy { Connection::Kept } else { Connection::Fresh };
    let turn = usize::try_from(number / 2).unwrap_or(0) % inner.questions.len();
    let Question { path, bearer, lenient } = inner.questions[turn].clone();
    let asked = inner.clock.elapsed();
    inner.open.borrow_mut().insert(number, (path.clone(), connection, asked));
    let get = Get { path: path.clone(), bearer, timeout: ANSWER_TIMEOUT, connection, page: false };
    let reply = inner.site.get(get).await;
    let answered = inner.clock.elapsed();
    inner.open.borrow_mut().remove(&number);
    if let Ok(reply) = &reply {
        mind_limits(&inner, reply);
    }
    let side = reply.as_ref().ok().and_then(|reply| inner.sides.of(reply));
    let status = reply.map(|reply| reply.status).map_err(|unanswered| match unanswered.why.reached() {
        true => Missing::Failed(unanswered.text),
        false => Missing::NotAsked(unanswered.text),
    });
    let seen = Seen { path, connection, asked, answered, status, side, lenient };
    inner.samples.borrow_mut().take(number, seen)
}

/// A site that limits requests is sampled seldom from its first answer on.
fn mind_limits(inner: &Inner, reply: &Reply) {
    let limit = LIMITS.iter().find_map(|name| Some(format!("{name}: {}", reply.header(name)?)));
    let limit = limit.or_else(|| (reply.status == 429).then(|| "it answered 429".to_owned()));
    if let Some(limit) = limit.filter(|_| inner.pace.get() < GENTLE) {
        inner.pace.set(GENTLE);
        inner.samples.borrow_mut().remark(format!(
            "the site limits requests ({limit}), so it was sampled once in {} s: a shorter outage is not seen",
            GENTLE.as_secs()
        ));
    }
}
