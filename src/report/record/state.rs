//! What the run leaves to `post`: how far it came, written before the server is changed.

use std::{collections::BTreeMap, path::PathBuf};

use super::file::{self, Complaint};
use crate::{
    domain::{
        FailureKind, Outcome,
        record::key,
        row::{self, RowId},
        state,
    },
    engine::event::{Body, Event, Reader},
    report::render::log::Log,
};

/// What a run is about to do when one of these rows begins. Whoever finds the word after the run has died knows what may be there.
pub const PHASES: [(RowId, &str); 6] = [
    (row::DEPLOY_LOCK, "lock"),
    (row::BACKUP, "backup"),
    (row::UPLOAD, "release-folder"),
    (row::NAME_RELEASE, "one-time-file"),
    (row::ARM_WATCHDOG, "armed"),
    (row::SWITCH, "switched"),
];

/// Appends to the runner's file of state, each value before the row that it warns of begins. It lives on when the run is killed.
pub struct State {
    path: Option<PathBuf>,
    log: Log,
    complaint: Complaint,
    written: BTreeMap<&'static str, String>,
    /// Something of what was begun could not be brought to its end.
    unfinished: bool,
}

impl State {
    /// `path` is where `GITHUB_STATE` points, if anywhere.
    pub fn new(path: Option<PathBuf>, log: Log) -> Self {
        let complaint = Complaint::new("the state for the post step", log.clone());
        Self { path, log, complaint, written: BTreeMap::new(), unfinished: false }
    }

    fn write(&mut self, key: &'static str, value: &str) {
        if self.written.get(key).is_some_and(|written| written == value) {
            return;
        }
        let Some(path) = &self.path else { return };
        if self.log.redactor().as_shown(value) != value {
            let text = format!("the state `{key}` would contain a secret, so it is not written");
            self.log.warning("A value was held back", &text);
            return;
        }
        self.complaint.unless_ok(path, file::append_command(path, key, value));
        self.written.insert(key, value.to_owned());
    }

    fn ending(&self, outcome: &Outcome) -> &'static str {
        // A stuck run has marked its lock, so that nobody goes on before a person has been there; one that ran out of time has not.
        let left = matches!(outcome, Outcome::Stuck { undo_cause, .. } if undo_cause.kind == FailureKind::Cancelled);
        if self.unfinished || left { state::HANDED_OVER } else { state::ENDED }
    }
}

impl Reader for State {
    fn read(&mut self, event: &Event) {
        match &event.body {
            Body::Started { step } => {
                if let Some((_, phase)) = PHASES.iter().find(|(row, _)| step == row) {
                    self.write(state::PHASE, phase);
                }
            }
            Body::Recorded { key, value, .. } => {
                let name = match key.as_str() {
                    key::RELEASE => state::RELEASE,
                    key::LOCK => state::LOCK,
                    _ => return,
                };
                if let Some(text) = value.as_str() {
                    self.write(name, text);
                }
            }
            Body::CleanedUp { failure: Some(_), .. } => self.unfinished = true,
            Body::UndoFinished { failure: Some(failure), .. } if failure.kind == FailureKind::Cancelled => {
                self.unfinished = true;
            }
            Body::RunFinished { outcome } => self.write(state::PHASE, self.ending(outcome)),
            _ => {}
        }
    }
}
