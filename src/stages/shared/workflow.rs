//! The workflow files of a checkout, as far as an audit judges them.

use std::{fs, path::Path};

use serde_yaml::{Mapping, Value};
use walkdir::WalkDir;

use crate::domain::glob::{self, Wildcards};

/// Where GitHub looks for workflows, and only there.
const FOLDER: &str = ".github/workflows";

/// Bytes; GitHub refuses larger workflow files.
const LARGEST: u64 = 512 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Every file that is a workflow by its place and name, readable or not.
    pub(crate) paths: Vec<String>,
    pub(crate) all: Vec<WorkflowFile>,
    /// What is wrong with which file.
    pub(crate) problems: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct WorkflowFile {
    /// Relative to the repository.
    pub(crate) path: String,
    /// Its `name:`, or its path, as GitHub shows it.
    pub(crate) name: String,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) concurrency: bool,
    pub(crate) jobs: Vec<Job>,
    /// The names of secrets that it uses.
    pub(crate) secrets: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Trigger {
    pub(crate) event: String,
    pub(crate) branches: Option<Vec<String>>,
    pub(crate) branches_ignore: Vec<String>,
    /// `paths` or `paths-ignore`.
    pub(crate) paths: bool,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// As its check is called; may have expressions in it.
    pub(crate) name: String,
    pub(crate) condition: Option<String>,
    /// Anything but a plain `false`.
    pub(crate) continue_on_error: bool,
    /// A reusable workflow.
    pub(crate) uses: Option<String>,
    pub(crate) concurrency: bool,
    pub(crate) matrix: bool,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: Option<String>,
    pub(crate) run: Option<String>,
    pub(crate) uses: Option<String>,
    pub(crate) condition: Option<String>,
    pub(crate) continue_on_error: bool,
}

/// Reads all of them. What cannot be read is told, not left out.
pub(crate) fn read(workspace: &Path) -> Files {
    let mut files = Files::default();
    let folder = workspace.join(FOLDER);
    // Links are not followed: GitHub does not follow them either.
    for entry in WalkDir::new(&folder).sort_by_file_name().into_iter().filter_map(Result::ok) {
        let is_yaml = entry.path().extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
        if !is_yaml || !entry.file_type().is_file() {
            continue;
        }
        let shown = entry.path().strip_prefix(workspace).unwrap_or(entry.path()).display().to_string();
        if entry.depth() > 1 {
            files
                .problems
                .push((shown, format!("is in a subfolder: GitHub only reads {FOLDER} itself, so it never runs")));
            continue;
        }
        files.paths.push(shown.clone());
        if entry.metadata().is_ok_and(|metadata| metadata.len() > LARGEST) {
            files.problems.push((shown, format!("is larger than {} KiB", LARGEST / 1024)));
            continue;
        }
        let text = match fs::read_to_string(entry.path()) {
            Ok(text) => text,
            Err(error) => {
                files.problems.push((shown, format!("cannot be read: {error}")));
                continue;
            }
        };
        match parse(&shown, &text) {
            Ok(file) => files.all.push(file),
            Err(problem) => files.problems.push((shown, problem)),
        }
    }
    files
}

pub(crate) fn parse(path: &str, text: &str) -> Result<WorkflowFile, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| format!("is not YAML: {error}"))?;
    let Value::Mapping(top) = &value else { return Err("is not a mapping".to_owned()) };
    // YAML 1.1 reads the key `on` as a boolean.
    let on = top.get("on").or_else(|| top.get(Value::Bool(true))).ok_or("has no `on:`")?;
    let Some(Value::Mapping(jobs)) = top.get("jobs") else { return Err("has no `jobs:`".to_owned()) };
    Ok(WorkflowFile {
        path: path.to_owned(),
        name: text_of(top, "name").unwrap_or_else(|| path.to_owned()),
        triggers: triggers(on),
        concurrency: top.contains_key("concurrency"),
        jobs: jobs.iter().filter_map(|(id, job)| Some(read_job(id.as_str()?, job.as_mapping()?))).collect(),
        secrets: secrets(text),
    })
}

fn triggers(on: &Value) -> Vec<Trigger> {
    let plain =
        |event: &str| Trigger { event: event.to_owned(), branches: None, branches_ignore: Vec::new(), paths: false };
    match on {
        Value::String(event) => vec![plain(event)],
        Value::Sequence(events) => events.iter().filter_map(Value::as_str).map(plain).collect(),
        Value::Mapping(events) => events
            .iter()
            .filter_map(|(event, filter)| {
                let event = event.as_str()?;
                let Some(filter) = filter.as_mapping() else { return Some(plain(event)) };
                Some(Trigger {
                    event: event.to_owned(),
                    branches: filter.get("branches").map(list),
                    branches_ignore: filter.get("branches-ignore").map(list).unwrap_or_default(),
                    paths: filter.contains_key("paths") || filter.contains_key("paths-ignore"),
                })
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Sequence(many) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn read_job(id: &str, job: &Mapping) -> Job {
    let steps = job.get("steps").and_then(Value::as_sequence);
    Job {
        id: id.to_owned(),
        name: text_of(job, "name").unwrap_or_else(|| id.to_owned()),
        condition: text_of(job, "if"),
        continue_on_error: forgives(job),
        uses: text_of(job, "uses"),
        concurrency: job.contains_key("concurrency"),
        matrix: job.get("strategy").and_then(Value::as_mapping).is_some_and(|strategy| strategy.contains_key("matrix")),
        steps: steps.into_iter().flatten().filter_map(Value::as_mapping).map(read_step).collect(),
    }
}

fn read_step(step: &Mapping) -> Step {
    Step {
        name: text_of(step, "name"),
        run: text_of(step, "run"),
        uses: text_of(step, "uses"),
        condition: text_of(step, "if"),
        continue_on_error: forgives(step),
    }
}

fn text_of(mapping: &Mapping, key: &str) -> Option<String> {
    match mapping.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn forgives(mapping: &Mapping) -> bool {
    text_of(mapping, "continue-on-error").is_some_and(|value| value != "false")
}

/// Every `secrets.NAME` in the text; the token that each job has is none of ours.
fn secrets(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split("secrets.").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>())
        .filter(|name| !name.is_empty() && name != "GITHUB_TOKEN")
        .collect();
    names.sort();
    names.dedup();
    names
}

impl WorkflowFile {
    pub(crate) fn starts_on(&self, event: &str) -> bool {
        self.triggers.iter().any(|trigger| trigger.event == event)
    }

    /// Whether pull requests to this branch, or pushes to any, make its checks report.
    pub(crate) fn reports_for(&self, branch: &str) -> bool {
        self.triggers.iter().any(|trigger| match trigger.event.as_str() {
            "pull_request" | "pull_request_target" => !trigger.paths && trigger.covers(branch),
            // A push to whatever branch puts its checks on the head of a pull request, too.
            "push" => !trigger.paths && trigger.branches.is_none() && trigger.branches_ignore.is_empty(),
            _ => false,
        })
    }
}

impl Trigger {
    fn covers(&self, branch: &str) -> bool {
        let listed = self.branches.as_ref().is_none_or(|globs| {
            // A later pattern that begins with `!` takes away what an earlier one gave.
            globs.iter().fold(false, |covered, glob| match glob.strip_prefix('!') {
                Some(glob) => covered && !glob::matches(glob, branch, Wildcards::Branches),
                None => covered || glob::matches(glob, branch, Wildcards::Branches),
            })
        });
        listed && !self.branches_ignore.iter().any(|glob| glob::matches(glob, branch, Wildcards::Branches))
    }
}

impl Job {
    /// Whether its check is called this: its name, one of a matrix, or a job of the workflow that it calls.
    pub(crate) fn emits(&self, check: &str) -> bool {
        if self.uses.is_some() {
            return check.strip_prefix(self.name.as_str()).is_some_and(|rest| rest.starts_with(" / "));
        }
        match self.name.split_once("${{") {
            // What the expression becomes is only known when it runs.
            Some((before, _)) => !before.is_empty() && check.starts_with(before),
            None => {
                self.name == check
                    || self.matrix && check.strip_prefix(self.name.as_str()).is_some_and(|rest| rest.starts_with(" ("))
            }
        }
    }
}

/// The workflow files of a checkout.
pub struct WorkflowFiles(Files);

/// Reads them.
pub fn workflow_files(workspace: &std::path::Path) -> WorkflowFiles {
    WorkflowFiles(read(workspace))
}

impl WorkflowFiles {
    /// Whether there are none to judge by.
    pub fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }

    /// Whether one of them makes this check report for pull requests to the branch.
    pub fn report(&self, check: &str, branch: &str) -> bool {
        self.0.all.iter().any(|file| file.reports_for(branch) && file.jobs.iter().any(|job| job.emits(check)))
    }
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(text: &str) {
    let (text, branch) = text.split_once("\u{0}").unwrap_or((text, "main"));
    if let Ok(file) = parse("x.yml", text) {
        let _ = (file.starts_on("push"), file.reports_for(branch));
        assert!(file.jobs.iter().filter(|job| job.emits(branch)).count() <= file.jobs.len());
    }
    glob::matches(text, branch, Wildcards::Branches);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_branches_are_read_as_github_reads_them() {
        let file =
            parse("x.yml", "on: {pull_request: {branches: ['**', '!develop']}}\njobs: {}\n").expect("a workflow");
        assert!(file.reports_for("main") && !file.reports_for("develop"));
    }

    #[test]
    fn a_check_has_the_name_of_its_job_of_its_matrix_or_of_what_it_calls() {
        let text = "on: [push]\njobs:\n  plain: {steps: []}\n  named: {name: Run tests, steps: []}\n  many: {strategy: {matrix: {php: [1]}}, steps: []}\n  \
                    called: {uses: ./.github/workflows/y.yml}\n  built: {name: \"test ${{ matrix.php }}\", steps: []}\n";
        let file = parse("x.yml", text).expect("a workflow");
        let emits = |check: &str| {
            file.jobs.iter().filter(|job| job.emits(check)).map(|job| job.id.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(emits("plain"), ["plain"]);
        assert_eq!(emits("Run tests"), ["named"]);
        assert_eq!(emits("named"), Vec::<&str>::new());
        assert_eq!(emits("many (8.2)"), ["many"]);
        assert_eq!(emits("called / inner"), ["called"]);
        assert_eq!(emits("called"), Vec::<&str>::new());
        assert_eq!(emits("test 8.2"), ["built"]);
    }
}
