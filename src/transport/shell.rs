//! Work on the server: one connection, one script a phase, answers as data.
//!
//! A script travels on the standard input of `exec /bin/sh -s`, so neither it nor the values given to it ever stand in an argument
//! list (F40, F42, F44). What the commands in it print is log; what the script answers comes on a channel of its own,
//! record by record, between two marks that carry a number made for this call (F37, F42, F53).

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::{
    domain::{Failure, RemotePath, Secret, command::quote},
    errors::{self, ssh},
};

/// What comes before every script: the answering functions. See the file itself.
const PRELUDE: &str = include_str!("prelude.sh");

/// What comes before a script that outlives its connection. See the file itself.
const JOB: &str = include_str!("job.sh");

/// What comes before a script that runs the app's code. See the file itself.
const HIDE: &str = include_str!("hide.sh");

/// The filter that takes the values of `.env` out of what the app prints. `php -r` begins inside of the tags.
const HIDE_PHP: &str = concat!("?>", include_str!("dotenv.php"), include_str!("sql.php"), include_str!("hide.php"));

/// How many lines, and how many KiB, of what the app prints during one script are passed on.
const MOST_OUTPUT: u32 = 10_000;

/// How often the holder of the deploy lock renews its lease.
pub const RENEWAL: Duration = Duration::from_secs(15);

/// A script that may take longer than this renews the lease itself: a server may allow one session at a time (MaxSessions).
const SHORT: Duration = Duration::from_secs(60);

/// A program for the server's POSIX shell, with every value it may use.
///
/// Values become quoted assignments in front of the program; `set -u` makes any other name an error (F45).
#[derive(Clone)]
pub struct Script {
    name: &'static str,
    /// May hold secrets.
    assignments: Zeroizing<String>,
    program: &'static str,
    timeout: Duration,
    drop: OnDrop,
    hides: bool,
    /// The fencing token of the lock under which it works, if it is never ended.
    finishes: Option<String>,
    /// Whether it begins by comparing the deploy lock's fencing token with the run's.
    fenced: bool,
    /// Whether it waits where the server allows fewer scripts at a time.
    waits: bool,
}

/// What becomes of a script whose connection breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OnDrop {
    /// It is ended on the server, and the step fails.
    Ends,
    /// It is ended on the server, and run again.
    Again,
    /// It goes on, and is attached to again. Here lies what it says meanwhile.
    GoesOn(RemotePath),
}

/// How much of a script that goes on was heard before its connection broke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Whether it was seen to begin.
    pub(crate) begun: bool,
    /// Bytes of its log.
    pub(crate) log: u64,
    /// Bytes of its answer.
    pub(crate) answer: u64,
}

impl Script {
    /// `name` says in the log which script it is; `program` is one of our `.sh` files.
    pub fn new(name: &'static str, program: &'static str) -> Self {
        Self {
            name,
            assignments: Zeroizing::default(),
            program,
            timeout: SHORT,
            drop: OnDrop::Ends,
            hides: false,
            finishes: None,
            fenced: false,
            waits: true,
        }
    }

    /// Sets a shell variable. `name` is ours: capital letters, digits and underscores.
    #[must_use]
    pub fn var(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.assign(name, value.as_ref());
        self
    }

    /// Sets a shell variable to a list, one item a line. Items with a line feed are refused where they are read.
    #[must_use]
    pub fn list<T: AsRef<str>>(self, name: &'static str, items: impl IntoIterator<Item = T>) -> Self {
        let lines: Vec<String> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
        self.var(name, lines.join("\n"))
    }

    /// Sets a shell variable (never exported) to a secret. It travels inside the encrypted connection, on standard input.
    #[must_use]
    pub fn secret(mut self, name: &'static str, value: &Secret) -> Self {
        self.assign(name, value.expose());
        self
    }

    /// How long it may take; a minute unless told. After that its process group is ended on the server.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// It may be run again when the connection broke: it only reads, or doing it twice comes to the same, and its answer then says
    /// what is true of both. What the broken connection left of it is ended first.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.drop = OnDrop::Again;
        self
    }

    /// Where the server allows fewer sessions (MaxSessions), it fails at once instead of waiting until another script has ended: it is of use
    /// now or not at all.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.waits = false;
        self
    }

    /// Its work goes on when the connection breaks, and is attached to again over a new one: it begins once, and no line of it is told
    /// twice. What it prints and answers lies in a private folder under `jobs` until it was heard; its values never do.
    #[must_use]
    pub fn detached(mut self, jobs: &RemotePath) -> Self {
        self.drop = OnDrop::GoesOn(jobs.clone());
        self
    }

    /// For work that cannot be undone and does harm when it is interrupted. It is [`detached`](Self::detached), and nothing ends it: no
    /// cancelled run, no time limit, no later run. Its folder says under which lock it works, and stays until its answer was read.
    #[must_use]
    pub fn never_ended(mut self, lock: &str) -> Self {
        self.finishes = Some(lock.to_owned());
        self
    }

    /// It begins with the check that its run still holds the deploy lock, as programs do that call `fenced` themselves, and then renews
    /// the lease for as long as it works.
    #[must_use]
    pub fn fenced(mut self, lock: &str, number: &str) -> Self {
        self.fenced = true;
        self.var("FENCE", lock).var("FENCE_NONCE", number)
    }

    pub fn is_never_ended(&self) -> bool {
        self.finishes.is_some()
    }

    /// For tests: a definition of the function `checkpoint` in place of the one that does nothing (prelude.sh). With it a script stops where
    /// a fault is to happen. Nothing that is shipped calls it, and no input, flag or variable leads here.
    #[must_use]
    pub fn with_checkpoint(mut self, definition: &str) -> Self {
        self.assignments.push_str(definition);
        self.assignments.push('\n');
        self
    }

    /// It runs the app's code, so what it prints passes a filter on the server that hides the values of this `.env` file. Its program may
    /// answer with a text of the app by `cleaned`. It has the variable `PHP`.
    #[must_use]
    pub fn hiding(mut self, env_file: &RemotePath) -> Self {
        self.hides = true;
        self.var("HIDE_ENV", env_file.as_str()).var("HIDE_PHP", HIDE_PHP)
    }

    /// What comes before the program.
    fn prepared(&self) -> String {
        // What goes on without its run, and may be ended by the next one, must not keep the lock for that run.
        let alone = self.finishes.is_none() && matches!(self.drop, OnDrop::GoesOn(_));
        let renews = match self.timeout > SHORT && !alone {
            true => format!("LONG=yes\nRENEWAL={}\n", RENEWAL.as_secs()),
            false => String::new(),
        };
        format!("{renews}{}", self.assignments.as_str())
    }

    /// The program as a function, so that the shell has read all of it before the first command runs.
    fn program(&self) -> String {
        let fence = if self.fenced { "fenced \"$FENCE\" \"$FENCE_NONCE\"\n" } else { "" };
        format!("program() {{\n{fence}{}\n}}", self.program)
    }

    /// The functions and the call by which the program runs.
    fn runs(&self, nonce: &str) -> (&'static str, String) {
        match self.hides {
            true => (HIDE, format!("guarded {nonce} {MOST_OUTPUT}")),
            false => ("", "program </dev/null\nexit 0".to_owned()),
        }
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.drop == OnDrop::Again
    }

    /// Where what it says lies, if it outlives its connection.
    pub(crate) fn job(&self, nonce: &str) -> Option<RemotePath> {
        match &self.drop {
            OnDrop::GoesOn(jobs) => Some(jobs.join(nonce)),
            OnDrop::Ends | OnDrop::Again => None,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn limit(&self) -> Duration {
        self.timeout
    }

    /// The whole text for `sh -s`. `nonce` marks the answer's begin and end. The program is a function, so the shell has read all of it
    /// before the first command runs and no command can eat the rest from standard input.
    pub fn text(&self, nonce: &str) -> String {
        let (hide, call) = self.runs(nonce);
        format!(
            "{PRELUDE}\n{hide}\n{}answer_begins {nonce}\n{}\n{call}\n",
            Zeroizing::new(self.prepared()).as_str(),
            self.program()
        )
    }

    /// The same as [`text`](Self::text), for a connection: `spent` are folders of jobs that were heard to their end, and are removed by
    /// the way. A script that outlives its connection is begun by it, or heard from where `heard` ends.
    pub(crate) fn text_over(&self, nonce: &str, spent: &[RemotePath], heard: Heard) -> String {
        let spent: String = spent.iter().map(|folder| format!(" {}", quote(folder.as_str()))).collect();
        let clearing = if spent.is_empty() { spent } else { format!("rm -rf --{spent} 2>/dev/null || :\n") };
        let Some(folder) = self.job(nonce) else {
            return clearing + &self.text(nonce);
        };
        let (hide, call) = self.runs(nonce);
        let (folder, begun) = (quote(folder.as_str()), if heard.begun { "yes" } else { "" });
        // A compound command, because the shell reads all of that before any of it: what arrived in part does nothing.
        format!(
            "{clearing}{PRELUDE}\n{JOB}\n{hide}\n{}{}\n{{\njob_begins {nonce} {folder} '{begun}' {} {} {} {}\n\
             answer_begins {nonce}\n{call}\n}}\n",
            Zeroizing::new(self.prepared()).as_str(),
            self.program(),
            heard.log,
            heard.answer,
            // A reader ends it in its time; without a reader the server has to.
            self.timeout.as_secs() + 60,
            quote(self.finishes.as_deref().unwrap_or_default())
        )
    }

    fn assign(&mut self, name: &str, value: &str) {
        debug_assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        self.assignments.push_str(&format!("{name}={}\n", quote(value)));
    }
}

impl fmt::Debug for Script {
    /// Without the values: secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("name", &self.name).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What a script answered: records in the order in which they came; a key may come more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    records: Vec<(String, String)>,
    noise: Option<String>,
}

impl Answer {
    pub fn new(records: Vec<(String, String)>) -> Self {
        Self { records, noise: None }
    }

    /// Adds what came before the answer; blank text is nothing.
    #[must_use]
    pub fn with_noise(mut self, noise: &str) -> Self {
        let noise = noise.trim();
        self.noise = (!noise.is_empty()).then(|| noise.to_owned());
        self
    }

    /// What the login shell's start-up files printed where only the answer belongs (F37). It does no harm here, it does to
    /// other tools.
    pub fn noise(&self) -> Option<&str> {
        self.noise.as_deref()
    }

    /// The last value under this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.records.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The last refusal of a script: its code under the one key, and the values that follow it under the other.
    pub fn refusal(&self, code: &str, value: &str) -> Option<(String, Vec<(String, String)>)> {
        let at = self.records.iter().rposition(|(key, _)| key == code)?;
        let pair = |(key, text): &(String, String)| {
            let (name, text) = text.split_once('=').filter(|_| key == value)?;
            Some((name.to_owned(), text.to_owned()))
        };
        Some((self.records[at].1.clone(), self.records[at..].iter().filter_map(pair).collect()))
    }

    /// Every value under this key, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.records.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Why a script gave no answer to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShellError {
    /// The server or the network is not there.
    #[error("{0}")]
    Unreachable(String),
    /// The server accepted the connection and closed it before the SSH handshake.
    #[error("{0} closed every connection before the SSH handshake")]
    Throttled(String),
    /// The host key is not one of those given.
    #[error("{host} showed the {key_type} host key {got}, which ssh-known-hosts does not have ({expected})")]
    HostKey { host: String, key_type: String, got: String, expected: String, line: String },
    #[error("{0}")]
    HostKeyUnusable(String),
    /// The server offers nothing that is strong enough.
    #[error("{host} offers for its {what} only {offered}: too weak")]
    Weak { host: String, what: &'static str, offered: String, wanted: String },
    /// The server does not let us in.
    #[error("{host} does not accept {user} with the key {fingerprint} (it offers: {methods})")]
    Denied { host: String, user: String, fingerprint: String, methods: String, line: String },
    /// It takes no key, or accepts the key and demands more.
    #[error("{host} demands more of {user} than the key {fingerprint}: {methods}")]
    SecondFactor { host: String, user: String, fingerprint: String, methods: String },
    /// The connection broke while the script ran; it may have done all, some or none of its work.
    #[error("the connection broke: {0}")]
    Dropped(String),
    #[error("it took longer than {} s and was ended", .0.as_secs())]
    TimedOut(Duration),
    /// The script said no, on purpose: a code of [`errors`], and the values of its text.
    #[error("{}", errors::of_script(.code, "", .values).cause)]
    Refused { code: String, values: Vec<(String, String)>, tail: Vec<String> },
    /// A command in it failed. `tail` is the end of what it printed.
    #[error("a command ended with {status}")]
    Failed { status: String, tail: Vec<String> },
    /// What came back is not an answer. `noise` is what came instead.
    #[error("the server's shell gave no valid answer{}", if .noise.is_empty() { String::new() } else { format!("; it printed: {}", .noise) })]
    NoAnswer { noise: String },
    /// A local file could not be read while sending it.
    #[error("{0}")]
    Local(String),
}

impl ShellError {
    /// The failure of a step that was doing `doing`.
    pub fn failure(self, doing: &str) -> Failure {
        let cause = self.to_string();
        match self {
            Self::Unreachable(_) => ssh::unreachable(doing, cause),
            Self::Throttled(_) => ssh::turned_away(doing, cause),
            Self::HostKey { line, .. } => ssh::host_key_mismatch(doing, cause, &line),
            Self::HostKeyUnusable(_) => ssh::host_key_unusable(doing, cause),
            Self::Weak { wanted, .. } => ssh::too_weak(doing, cause, &wanted),
            Self::Denied { user, line, .. } => ssh::key_denied(doing, cause, &user, &line),
            Self::SecondFactor { user, .. } => ssh::second_factor(doing, cause, &user),
            Self::Dropped(_) => ssh::connection_lost(doing, cause),
            Self::TimedOut(_) => ssh::script_timed_out(doing, cause),
            Self::Refused { code, values, tail } => errors::of_script(&code, doing, &values).details(tail),
            Self::Failed { tail, .. } => ssh::command_failed(doing, cause, tail),
            Self::NoAnswer { .. } => ssh::shell_answer_invalid(doing, cause),
            Self::Local(_) => ssh::local(doing, cause),
        }
    }
}

/// One server, over one connection that is made at the first use and kept for the whole run. One that broke is made anew at
/// the next use. What ran on it is ended on the server first and not repeated, unless its script says otherwise.
#[async_trait(?Send)]
pub trait Shell {
    /// Connects, checks the host key and logs in. Does nothing when that has been done.
    async fn connect(&self) -> Result<Greeting, ShellError>;

    /// Runs a script and reads its answer. `on_line` is told every line that its commands print, as it comes.
    /// A connection that breaks is made anew for a script that is repeatable or goes on. Dropping the future ends the script's process
    /// group on the server, and nothing else begins there before that has ended.
    async fn run(&self, script: Script, on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError>;

    /// Writes a local file to `to` on the server (mode 0600; the folder must exist), streaming. What lies there already is taken for its
    /// beginning, and only the rest is sent. `on_bytes` is told the bytes that are there so far; first, what lay
    /// there. The caller
    /// checks the digest with a script afterwards.
    async fn send(
        &self,
        file: File,
        size: u64,
        to: &RemotePath,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<(), ShellError>;

    /// Opens a Unix socket that leads through the connection to `host:port` as the server sees it. Only this account
    /// can use it: no port of this machine is opened. It stays open as long as the connection does.
    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError>;

    /// The same server over a connection of its own, which is made at its first use: it proves that the server can be reached anew.
    fn another(&self) -> Rc<dyn Shell>;
}

/// A way through the connection to one address, and what became of it.
#[derive(Debug, Clone)]
pub struct Tunnel {
    path: PathBuf,
    target: String,
    /// Why its connection ended, once it has.
    end: Arc<Mutex<Option<String>>>,
    /// How many connections were refused, and why the newest.
    refused: Arc<Mutex<(usize, String)>>,
    /// How often the server was heard through it: a connection that opened, bytes that came.
    heard: Arc<AtomicUsize>,
}

impl Tunnel {
    /// `end` is filled when the connection ends, before any socket of the tunnel is closed for that.
    pub fn new(path: PathBuf, target: impl Into<String>, end: Arc<Mutex<Option<String>>>) -> Self {
        Self { path, target: target.into(), end, refused: Arc::default(), heard: Arc::default() }
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it leads to.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Why the connection ended; `None` while the tunnel is open.
    pub fn end(&self) -> Option<String> {
        self.end.lock().map_or_else(|_| Some("its thread ended".to_owned()), |end| end.clone())
    }

    /// How many connections through it the server has refused so far.
    pub fn refusals(&self) -> usize {
        self.refused.lock().map_or(0, |refused| refused.0)
    }

    /// Why the server refused the newest one, if it refused any after so many.
    pub fn refusal_since(&self, refusals: usize) -> Option<String> {
        let refused = self.refused.lock().ok()?;
        (refused.0 > refusals).then(|| refused.1.clone())
    }

    /// How often the server was heard through it so far.
    pub fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }

    /// The server was heard.
    pub fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// The server refused a connection.
    pub fn refuse(&self, reason: String) {
        if let Ok(mut refused) = self.refused.lock() {
            *refused = (refused.0 + 1, reason);
        }
    }
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// `SHA256:...` of the host key, and its type.
    pub host_key: String,
    /// `SHA256:...` of our own public key, and its type.
    pub client_key: String,
    /// The server's identification line, e.g. `SSH-2.0-OpenSSH_9.2p1`.
    pub banner: String,
}

#[cfg(test)]
mod tests;
