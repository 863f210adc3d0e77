//! The one stream of events. Steps tell it once; console, summary, evidence, outputs and journal read it.

use std::{borrow::Cow, cell::RefCell, rc::Rc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{Failure, Outcome, StepId, Warning};

/// Why nothing is undone of a run that did not hear whether it had committed.
pub const UNDECIDED: &str = "it is not known whether the release is confirmed";

/// Something that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Wall clock, milliseconds since 1970 in UTC.
    pub unix_ms: i64,
    /// Milliseconds since the run began, from a clock that never jumps.
    pub elapsed_ms: u64,
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Body {
    /// The first event of every run: every row it could reach, so that "not reached" is known without being told.
    RunStarted {
        stage: String,
        rows: Vec<RowInfo>,
    },
    Started {
        step: StepId,
    },
    /// A line of output or progress that a person may want to follow. Remote text is passed as it came: readers make it safe.
    Line {
        step: StepId,
        text: String,
    },
    /// How far long work has come, in bytes.
    Progress {
        step: StepId,
        what: String,
        done: u64,
        total: Option<u64>,
        bytes_per_second: u64,
    },
    /// Attempt `n` of `of` ended with `text`; another one follows unless it was the last.
    Attempt {
        step: StepId,
        n: u32,
        of: u32,
        text: String,
    },
    /// A named value that readers can use: the release's name, a gate report, a digest.
    #[serde(rename = "fact")]
    Recorded {
        step: StepId,
        key: String,
        value: serde_json::Value,
    },
    /// Something is not as it should be but does not stop the run.
    Warned {
        step: StepId,
        /// Its stable name, as a failure has one. Empty where it has none yet.
        #[serde(default, skip_serializing_if = "str::is_empty")]
        code: Cow<'static, str>,
        text: String,
        hint: Option<String>,
    },
    Finished {
        step: StepId,
        verdict: Verdict,
        text: String,
        failure: Option<Failure>,
        took_ms: u64,
    },
    /// The run stopped at the approval on purpose; these rows would have run.
    Planned {
        because: String,
        previews: Vec<Preview>,
    },
    UndoStarted {
        step: StepId,
        text: String,
    },
    UndoFinished {
        step: StepId,
        undone: bool,
        text: String,
        failure: Option<Failure>,
        took_ms: u64,
    },
    /// From here on nothing is rolled back.
    Committed {
        step: StepId,
    },
    /// A hold was given back (or kept, as `text` says).
    #[serde(rename = "released")]
    CleanedUp {
        step: StepId,
        text: String,
        failure: Option<Failure>,
    },
    RunFinished {
        #[serde(flatten)]
        outcome: Outcome,
    },
}

impl Body {
    /// A warning of a step.
    pub fn warned(step: StepId, warning: impl Into<Warning>) -> Self {
        let Warning { code, text, hint } = warning.into();
        Self::Warned { step, code, text, hint }
    }
}

/// One row of the table, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowInfo {
    pub step: StepId,
    /// The pipeline's step number, where the row is one.
    pub number: Option<u8>,
    pub title: String,
    pub kind: RowKind,
    /// How a change is undone or why it is not; what a hold gives back.
    pub undo: Option<String>,
    /// Whether the row comes before the approval: it runs in plan mode too.
    pub survey: bool,
    /// In which lane it stands, if it runs beside rows of other lanes; counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKind {
    Observe,
    Hold,
    Change,
    Check,
    Commit,
}

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Passed,
    /// Done, but something is to be looked at; or an advisory row that failed.
    Warned,
    /// Nothing to do here, as the text says.
    Skipped,
    Failed,
    /// It was at work when a row of another lane failed, and was ended.
    Stopped,
}

/// What a row would do, for the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub step: StepId,
    /// Commands or sentences; empty when the row's title says it all.
    pub lines: Vec<String>,
}

/// A reader of the stream. Readers never fail a run: what they cannot write they report on their own.
pub trait Reader {
    fn read(&mut self, event: &Event);
}

/// Where events are told. Cheap to clone; all clones speak to the same readers, in order.
#[derive(Clone)]
pub struct Events {
    inner: Rc<Inner>,
}

/// Wall clock in milliseconds since 1970, and time since the run began.
pub type Stamp = Box<dyn Fn() -> (i64, Duration)>;

struct Inner {
    stamp: Stamp,
    readers: RefCell<Vec<Box<dyn Reader>>>,
}

impl Events {
    /// `stamp` gives each event its times; the engine itself never asks a clock.
    pub fn new(stamp: Stamp, readers: Vec<Box<dyn Reader>>) -> Self {
        Self { inner: Rc::new(Inner { stamp, readers: RefCell::new(readers) }) }
    }

    pub fn emit(&self, body: Body) {
        let (unix_ms, elapsed) = (self.inner.stamp)();
        let event = Event { unix_ms, elapsed_ms: millis(elapsed), body };
        for reader in self.inner.readers.borrow_mut().iter_mut() {
            reader.read(&event);
        }
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        (self.inner.stamp)().1
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
