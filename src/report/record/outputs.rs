//! The outputs of the step, for the steps after it.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    evidence,
    file::{self, Complaint},
};
use crate::{
    domain::{
        Outcome, Sha256Digest,
        fact::{ArtifactFact, BackupFact, BuildRun, BundleFact, Receipt, key},
    },
    engine::event::{Body, Event, Reader},
    report::{ReportDir, render::log::Log, story::Story},
};

/// Appends to the file of outputs: each value as soon as it is known, so that a run that is killed has left what it knew;
/// the outcome at the end. A value that is not known is not written: `null` would be taken for a value (F4).
pub struct Outputs {
    path: Option<PathBuf>,
    reports: Option<ReportDir>,
    log: Log,
    complaint: Complaint,
    story: Story,
    written: BTreeMap<&'static str, String>,
}

impl Outputs {
    /// `path` is where `GITHUB_OUTPUT` points, if anywhere. Stands behind [`Evidence`](crate::report::Evidence) among the
    /// readers: it names the report's files only when they are there.
    pub fn new(path: Option<PathBuf>, reports: Option<ReportDir>, log: Log) -> Self {
        let complaint = Complaint::new("the outputs", log.clone());
        Self { path, reports, log, complaint, story: Story::default(), written: BTreeMap::new() }
    }
}

impl Reader for Outputs {
    fn read(&mut self, event: &Event) {
        self.story.hear(event);
        match event.body {
            Body::Fact { .. } => self.write_new(of_facts(&self.story)),
            Body::RunFinished { .. } => {
                self.write_new(of_facts(&self.story));
                self.write_new(self.of_reports());
                self.write_new(of_ending(&self.story));
            }
            _ => {}
        }
    }
}

impl Outputs {
    fn of_reports(&self) -> Vec<(&'static str, Option<String>)> {
        let shown = |extension| {
            let reports = self.reports.as_ref()?;
            let name = evidence::file_name(&self.story, extension);
            reports.path.join(&name).is_file().then(|| format!("{}/{name}", reports.shown))
        };
        vec![("report", shown("md")), ("report-json", shown("json")), ("report-sarif", shown("sarif"))]
    }

    fn write_new(&mut self, outputs: Vec<(&'static str, Option<String>)>) {
        for (key, value) in outputs {
            if let Some(value) = value
                && self.written.get(key) != Some(&value)
            {
                self.write(key, &value);
                self.written.insert(key, value);
            }
        }
    }

    fn write(&mut self, key: &'static str, value: &str) {
        let Some(path) = &self.path else { return };
        if self.log.redactor().as_shown(value) != value {
            let text = format!("the output `{key}` would contain a secret, so it is not written");
            self.log.warning("An output was held back", &text);
            return;
        }
        self.complaint.unless_ok(path, file::append_command(path, key, value));
    }
}

/// What the facts say so far.
fn of_facts(story: &Story) -> Vec<(&'static str, Option<String>)> {
    let text = |key| story.text_fact(key).map(str::to_owned);
    let bundle: Option<BundleFact> = story.fact(key::BUNDLE);
    vec![
        ("executed", story.fact::<bool>(key::EXECUTED).map(|executed| executed.to_string())),
        ("plan-digest", story.fact::<Sha256Digest>(key::PLAN_DIGEST).map(|digest| digest.to_string())),
        ("release", text(key::RELEASE)),
        ("previous-release", text(key::PREVIOUS_RELEASE)),
        ("sha", text(key::SHA)),
        ("build-run-id", story.fact::<BuildRun>(key::BUILD_RUN).map(|run| run.id.to_string())),
        ("bundle", bundle.as_ref().map(|bundle| bundle.file.clone())),
        ("bundle-sha256", bundle.map(|bundle| bundle.sha256.to_string())),
        (
            "artifact-name",
            text(key::ARTIFACT_NAME)
                .or_else(|| story.fact::<ArtifactFact>(key::ARTIFACT).map(|artifact| artifact.name)),
        ),
        ("backup", story.fact::<BackupFact>(key::BACKUP).map(|backup| backup.path)),
        ("ledger", text(key::LEDGER)),
        ("ledger-head", text(key::LEDGER_HEAD)),
        ("url", text(key::URL)),
        ("downtime-ms", story.fact::<Receipt>(key::RECEIPT).map(|receipt| receipt.downtime_ms.to_string())),
    ]
}

fn of_ending(story: &Story) -> Vec<(&'static str, Option<String>)> {
    let Some(outcome) = &story.outcome else { return Vec::new() };
    vec![
        ("executed", Some(story.executed().to_string())),
        ("decision", Some(decision(story, outcome).to_owned())),
        ("outcome", Some(outcome.word().to_owned())),
    ]
}

/// `go` when the release is live, the checks passed, or the plan met no problem on the way.
fn decision(story: &Story, outcome: &Outcome) -> &'static str {
    let problem = || story.rows.iter().any(|row| row.failure().is_some());
    match outcome {
        Outcome::Live { .. } | Outcome::Passed => "go",
        Outcome::Planned if !problem() => "go",
        Outcome::Planned | Outcome::Refused { .. } | Outcome::RolledBack { .. } | Outcome::Stuck { .. } => "no-go",
    }
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(value: &str) {
    let entry = file::entry("key", value).expect("nobody knows the delimiter before");
    let (head, rest) = entry.split_once('\n').expect("a first line");
    let end = head.strip_prefix("key<<").expect("the name");
    // As the runner reads it (src/Runner.Worker/FileCommandManager.cs): lines up to the one that is the delimiter.
    let lines: Vec<&str> = rest.split('\n').take_while(|line| *line != end).collect();
    assert_eq!(lines.join("\n"), value);
    assert!(rest.ends_with(&format!("\n{end}\n")) && rest.matches(end).count() == 1);
}
