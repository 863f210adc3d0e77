//! A stage that runs: its output as it comes, signals, the runner's cancellation, and its end.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use wait4::{ResUse, Wait4 as _};

use super::docker::Container;
use super::environment::StageFiles;
use super::finished::{self, Finished};
use super::paths::WorkDir;
use super::step_log::StepLog;

/// How the runner cancels a step (`ProcessInvoker.cs`): this signal, then this long until the next one. After the last
/// it kills the process that it started, and only that.
pub const CANCEL_SCHEDULE: [(Signal, Duration); 2] =
    [(Signal::INT, Duration::from_millis(7500)), (Signal::TERM, Duration::from_millis(2500))];
/// How long output is still read after the process itself has ended, when something else holds the pipe.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What a stage needs to be started.
pub(super) struct Launch {
    pub(super) command: Command,
    pub(super) log: StepLog,
    pub(super) separate_stderr: bool,
    pub(super) job: JobPart,
}

/// What a stage carries along until it has finished.
#[derive(Debug)]
pub(super) struct JobPart {
    pub(super) dirs: Arc<WorkDir>,
    pub(super) files: StageFiles,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secrets: Vec<String>,
    pub(super) must_not_leak: bool,
    pub(super) container: Option<Container>,
    pub(super) argv: Vec<String>,
    pub(super) is_post: bool,
    pub(super) time_limit: Duration,
}

/// A stage that has been started. Killed when dropped without [`Running::wait`] or [`Running::cancel`].
#[derive(Debug)]
pub struct Running {
    process: Process,
    output: Arc<Output>,
    started: Instant,
    job: JobPart,
}

impl Running {
    pub(super) fn start(mut launch: Launch) -> io::Result<Running> {
        let (stdout, stdout_writer) = io::pipe()?;
        let mut pipes = vec![(stdout, Stream::Out)];
        let stderr_writer = if launch.separate_stderr {
            let (stderr, writer) = io::pipe()?;
            pipes.push((stderr, Stream::Err));
            writer
        } else {
            stdout_writer.try_clone()?
        };
        launch.command.stdin(Stdio::null()).stdout(stdout_writer).stderr(stderr_writer);
        let started = Instant::now();
        let process = Process::spawn(&mut launch.command)?;
        // The command holds the writing ends; as long as it lives, the pipes have no end.
        drop(launch.command);
        let output = Arc::new(Output::new(launch.log, pipes.len()));
        for (pipe, stream) in pipes {
            let output = Arc::clone(&output);
            thread::spawn(move || output.read(pipe, stream));
        }
        Ok(Running { process, output, started, job: launch.job })
    }

    /// The process that the runner started: the binary, or the docker client.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The container, when an image is run.
    pub fn container(&self) -> Option<&Container> {
        self.job.container.as_ref()
    }

    /// What has been printed so far, unmasked.
    pub fn raw_log(&self) -> String {
        self.output.lock().raw_log()
    }

    /// The first line that contains `pattern`, waiting for it where needed.
    ///
    /// # Panics
    /// When no such line has come after `patience`, or the output ends without one; the message has the log.
    #[track_caller]
    pub fn wait_for_line(&self, pattern: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        let mut output = self.output.lock();
        loop {
            if let Some(line) = output.lines.iter().find(|line| line.contains(pattern)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if output.open_streams == 0 || left.is_zero() {
                let why =
                    if left.is_zero() { format!("within {patience:?}") } else { "before the output ended".into() };
                panic!("no line with {pattern:?} {why}; the log is:\n{}", output.raw_log());
            }
            output = self.output.changed.wait_timeout(output, left).expect(POISONED).0;
        }
    }

    /// Sends a signal to the process that the runner started.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Cancels the step as the runner does, by [`CANCEL_SCHEDULE`] and then SIGKILL, and reads what it left.
    ///
    /// A container may live on: see [`Finished::container`].
    #[track_caller]
    pub fn cancel(self) -> Finished {
        let ended = CANCEL_SCHEDULE.iter().any(|&(signal, patience)| {
            self.process.signal(signal);
            self.process.ends_within(patience)
        });
        if !ended {
            self.process.signal(Signal::KILL);
        }
        self.finish(true)
    }

    /// Waits for the end and reads what the stage left.
    ///
    /// # Panics
    /// When it runs longer than the time limit of the runner; it is killed then.
    #[track_caller]
    pub fn wait(self) -> Finished {
        let limit = self.job.time_limit;
        if !self.process.ends_within(limit) {
            panic!("the stage did not end within {limit:?}; the log is:\n{}", self.raw_log());
        }
        self.finish(false)
    }

    #[track_caller]
    fn finish(mut self, cancelled: bool) -> Finished {
        let end = self.process.reap();
        let duration = self.started.elapsed();
        let began = SystemTime::now() - duration;
        let captured = self.output.take();
        let must_not_leak = self.job.must_not_leak;
        let finished = finished::collect(
            captured,
            finished::End { exit_code: exit_code(end.status), cancelled, began, duration, max_rss: end.rusage.maxrss },
            self.job,
        );
        if must_not_leak {
            finished.assert_no_secret_leaks();
        }
        finished
    }
}

/// The child, owned until it is reaped, so that its id cannot come to mean another process.
#[derive(Debug)]
struct Process {
    child: Child,
    pidfd: OwnedFd,
    reaped: bool,
}

impl Process {
    fn spawn(command: &mut Command) -> io::Result<Process> {
        let mut child = command.spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Process { child, pidfd, reaped: false }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).expect("a child that has not been waited for takes signals");
    }

    /// Whether it ends in time; it stays a zombie until reaped.
    fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("waiting for the end of process {}: {error}", self.child.id()),
            }
        }
    }

    #[track_caller]
    fn reap(&mut self) -> ResUse {
        let end = self.child.wait4().expect("nobody else waits for the children of the runner emulation");
        self.reaped = true;
        end
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped && self.child.kill().is_ok() {
            // Nothing to do about an error while dropping; the process has been killed in any case.
            drop(self.child.wait());
        }
    }
}

/// As .NET reports it: 128 plus the number for a process that a signal ended.
fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

const POISONED: &str = "a thread of the runner emulation panicked while it read the output";

#[derive(Clone, Copy, Debug)]
enum Stream {
    Out,
    Err,
}

/// Everything that the stage has printed, and what the runner made of it.
#[derive(Debug)]
struct Output {
    captured: Mutex<Captured>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) raw: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) lines: Vec<String>,
    pub(super) log: StepLog,
    open_streams: usize,
}

impl Captured {
    pub(super) fn raw_log(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn take_line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.log.take(&line);
        self.lines.push(line);
    }
}

impl Output {
    fn new(log: StepLog, open_streams: usize) -> Output {
        Output { captured: Mutex::new(Captured { log, open_streams, ..Captured::default() }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.captured.lock().expect(POISONED)
    }

    /// Reads one pipe to its end; runs on a thread of its own.
    fn read(&self, mut pipe: PipeReader, stream: Stream) {
        let mut splitter = LineSplitter::default();
        let mut chunk = [0; 8192];
        loop {
            // A pipe that fails is as good as one that ended: nothing more comes out of it.
            let count = pipe.read(&mut chunk).unwrap_or(0);
            let bytes = &chunk[..count];
            let mut captured = self.lock();
            captured.raw.extend_from_slice(bytes);
            if matches!(stream, Stream::Err) {
                captured.stderr.extend_from_slice(bytes);
            }
            let lines = if count == 0 { splitter.finish() } else { splitter.feed(bytes) };
            for line in lines {
                captured.take_line(&line);
            }
            if count == 0 {
                captured.open_streams -= 1;
            }
            drop(captured);
            self.changed.notify_all();
            if count == 0 {
                return;
            }
        }
    }

    /// Takes everything once the streams have ended, or [`DRAIN_TIME`] is over.
    fn take(&self) -> Captured {
        let still_open = |captured: &mut Captured| captured.open_streams > 0;
        let (mut captured, _) = self.changed.wait_timeout_while(self.lock(), DRAIN_TIME, still_open).expect(POISONED);
        let open_streams = captured.open_streams;
        std::mem::replace(&mut captured, Captured { open_streams, ..Captured::default() })
    }
}

/// Splits at `\n`, `\r\n` and a bare `\r`, as .NET's `ReadLine` does.
#[derive(Debug, Default)]
pub(super) struct LineSplitter {
    pending: Vec<u8>,
    after_return: bool,
}

impl LineSplitter {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_return => {}
                b'\n' | b'\r' => lines.push(std::mem::take(&mut self.pending)),
                _ => self.pending.push(byte),
            }
            self.after_return = byte == b'\r';
        }
        lines
    }

    /// The last line, when it had no end.
    pub(super) fn finish(&mut self) -> Vec<Vec<u8>> {
        if self.pending.is_empty() { Vec::new() } else { vec![std::mem::take(&mut self.pending)] }
    }
}
