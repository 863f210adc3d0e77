//! Long work beside the run's own thread: how far it is, and whether it should stop.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Mutex;

use crate::{clock::Clock, domain::Failure, engine::Io};

/// Time between two reports of long work.
const REPORT_EVERY: Duration = Duration::from_secs(3);

/// Shared by the work, which counts, and by its caller, which reads the count or ends the work.
#[derive(Debug, Default)]
pub struct Pace {
    done: AtomicU64,
    stop: AtomicBool,
}

impl Pace {
    /// Counts bytes that are done. Fails when the work should stop, so that one `?` both counts and obeys.
    pub fn advance(&self, bytes: u64) -> Result<(), Failure> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::cancelled("processing the bundle", "the run was cancelled"));
        }
        Ok(())
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Carries a [`Failure`] through code that speaks in I/O errors; [`from_io`] takes it out again.
pub(crate) fn into_io(failure: Failure) -> io::Error {
    io::Error::other(failure)
}

/// The failure that an I/O error carries, or else the one that `otherwise` makes of it.
pub(crate) fn from_io(error: io::Error, otherwise: impl FnOnce(io::Error) -> Failure) -> Failure {
    error.downcast::<Failure>().unwrap_or_else(otherwise)
}

/// Runs one piece of blocking work at a time, on a thread of its own.
#[derive(Debug, Clone, Default)]
pub struct Background {
    busy: Arc<Mutex<()>>,
}

impl Background {
    /// Runs `work` and reports its progress. If this future is dropped, as on cancellation, the work stops.
    pub async fn run<T: Send + 'static>(
        &self,
        io: &Io,
        clock: &dyn Clock,
        what: &str,
        total: Option<u64>,
        work: impl FnOnce(&Pace) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let pace = Arc::new(Pace::default());
        let _stop = StopOnDrop(pace.clone());
        let turn = self.busy.clone().lock_owned().await;
        let theirs = pace.clone();
        let mut job = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&theirs)
        });
        let began = io.elapsed();
        loop {
            tokio::select! {
                finished = &mut job => {
                    return finished.unwrap_or_else(|error| Err(Failure::bug(format!("{what} on a thread of its own"), error.to_string())));
                }
                () = clock.sleep(REPORT_EVERY) => {
                    let millis = io.elapsed().saturating_sub(began).as_millis().max(1);
                    let rate = u128::from(pace.done()) * 1000 / millis;
                    io.progress(what, pace.done(), total, u64::try_from(rate).unwrap_or(u64::MAX));
                }
            }
        }
    }

    /// Waits until no work runs any more: cancelled work may still hold files open for a moment.
    pub async fn settled(&self) {
        drop(self.busy.lock().await);
    }
}

struct StopOnDrop(Arc<Pace>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
