//! The outputs of the step, for the steps after it.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    evidence,
    file::{self, Complaint},
};
use crate::{
    domain::{
        Outcome, Sha256Digest,
        record::{ArtifactRecord, BackupRecord, BuildRun, BundleRecord, DowntimeReport, key},
    },
    engine::event::{Body, Event, Reader},
    report::{ReportDir, render::log::Log, run_view::RunView},
};

/// Appends to the file of outputs: each value as soon as it is known, so that a run that is killed has left what it knew;
/// the outcome at the end. A value that is not known is not written: `null` would be taken for a value (F4).
pub struct Outputs {
    path: Option<PathBuf>,
    reports: Option<ReportDir>,
    log: Log,
    complaint: Complaint,
    view: RunView,
    written: BTreeMap<&'static str, String>,
}

impl Outputs {
    /// `path` is where `GITHUB_OUTPUT` points, if anywhere. Stands behind [`Evidence`](crate::report::Evidence) among the
    /// readers: it names the report's files only when they are there.
    pub fn new(path: Option<PathBuf>, reports: Option<ReportDir>, log: Log) -> Self {
        let complaint = Complaint::new("the outputs", log.clone());
        Self { path, reports, log, complaint, view: RunView::default(), written: BTreeMap::new() }
    }
}

impl Reader for Outputs {
    fn read(&mut self, event: &Event) {
        self.view.apply(event);
        match event.body {
            Body::Recorded { .. } => self.write_new(of_records(&self.view)),
            Body::RunFinished { .. } => {
                self.write_new(of_records(&self.view));
                self.write_new(self.of_reports());
                self.write_new(of_ending(&self.view));
            }
            _ => {}
        }
    }
}

impl Outputs {
    fn of_reports(&self) -> Vec<(&'static str, Option<String>)> {
        let shown = |extension| {
            let reports = self.reports.as_ref()?;
            let name = evidence::file_name(&self.view, extension);
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
fn of_records(view: &RunView) -> Vec<(&'static str, Option<String>)> {
    let text = |key| view.text_record(key).map(str::to_owned);
    let bundle: Option<BundleRecord> = view.record(key::BUNDLE);
    vec![
        ("executed", view.record::<bool>(key::EXECUTED).map(|executed| executed.to_string())),
        ("plan-digest", view.record::<Sha256Digest>(key::PLAN_DIGEST).map(|digest| digest.to_string())),
        ("release", text(key::RELEASE)),
        ("previous-release", text(key::PREVIOUS_RELEASE)),
        ("sha", text(key::SHA)),
        ("build-run-id", view.record::<BuildRun>(key::BUILD_RUN).map(|run| run.id.to_string())),
        ("bundle", bundle.as_ref().map(|bundle| bundle.file.clone())),
        ("bundle-sha256", bundle.map(|bundle| bundle.sha256.to_string())),
        (
            "artifact-name",
            text(key::ARTIFACT_NAME)
                .or_else(|| view.record::<ArtifactRecord>(key::ARTIFACT).map(|artifact| artifact.name)),
        ),
        ("backup", view.record::<BackupRecord>(key::BACKUP).map(|backup| backup.path)),
        ("ledger", text(key::LEDGER)),
        ("ledger-head", text(key::LEDGER_HEAD)),
        ("url", text(key::URL)),
        (
            "downtime-ms",
            view.record::<DowntimeReport>(key::RECEIPT).map(|downtime_report| downtime_report.downtime_ms.to_string()),
        ),
    ]
}

fn of_ending(view: &RunView) -> Vec<(&'static str, Option<String>)> {
    let Some(outcome) = &view.outcome else { return Vec::new() };
    vec![
        ("executed", Some(view.executed().to_string())),
        ("decision", Some(decision(view, outcome).to_owned())),
        ("outcome", Some(outcome.word().to_owned())),
    ]
}

/// `go` when the release is live, the checks passed, or the plan met no problem on the way.
fn decision(view: &RunView, outcome: &Outcome) -> &'static str {
    let problem = || view.rows.iter().any(|row| row.failure().is_some());
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
