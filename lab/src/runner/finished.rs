//! What a stage left when it ended: its result, its log, and what it wrote to the runner's files.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use walkdir::WalkDir;

use super::docker::Container;
use super::file_commands;
use super::leaks::{self, Leak};
use super::masker::Masker;
use super::paths::WorkDir;
use super::process::{Captured, JobPart};
use super::step_log::{Annotation, Group, Level, StepLog};

/// A larger summary is not uploaded at all (`CreateStepSummaryCommand.AttachmentSizeLimit`), in bytes.
pub const SUMMARY_LIMIT: usize = 1024 * 1024;

/// How the step counts for the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// Exit code 0 and every command could be carried out.
    Succeeded,
    /// Another exit code, or a command of the step that could not be carried out.
    Failed,
    /// Cancelled; the exit code does not matter then.
    Cancelled,
}

/// A stage that has ended.
#[derive(Debug)]
pub struct Finished {
    /// 128 plus the signal for a process that was killed by one.
    pub exit_code: i32,
    /// How the step counts.
    pub result: StepResult,
    /// Everything printed, unmasked, in the order in which it was written (see [`super::Runner::separate_stderr`]).
    pub raw_log: String,
    /// What came over standard error alone; empty unless [`super::Runner::separate_stderr`] was asked for.
    pub stderr: String,
    /// The log as people read it: secrets masked, commands carried out.
    pub log: String,
    /// The annotations that the runner keeps, ten of each level.
    pub annotations: Vec<Annotation>,
    /// How many more there would have been.
    pub dropped_annotations: usize,
    /// The values given by `add-mask`, unescaped, in order.
    pub masks: Vec<String>,
    /// The groups of the log.
    pub groups: Vec<Group>,
    /// What `GITHUB_OUTPUT` hands to later steps; empty for post, whose outputs the runner drops.
    pub outputs: BTreeMap<String, String>,
    /// What `GITHUB_STATE` hands to post.
    pub state: BTreeMap<String, String>,
    /// What `GITHUB_ENV` hands to later steps.
    pub env: BTreeMap<String, String>,
    /// The job summary as uploaded: masked, and empty when it was larger than [`SUMMARY_LIMIT`].
    pub summary: String,
    /// Peak resident set of the process in KiB, as wait4 tells; none for an image, whose processes are not our children.
    ///
    /// An upper bound: the kernel counts the memory that was shared with the parent until `exec`, so it is at least what
    /// the test process itself held when it started the stage.
    pub peak_rss_kib: Option<u64>,
    /// From the start to the end of the process.
    pub duration: Duration,
    /// The container of an image. It is removed when this is dropped.
    pub container: Option<Container>,
    /// The command line of the docker client; empty for a binary, which gets no arguments.
    pub argv: Vec<String>,
    /// The environment that the stage was given.
    pub environment: BTreeMap<String, String>,
    pub(super) masker: Masker,
    pub(super) secrets: Vec<String>,
    pub(super) written_summary: String,
    /// Files of the runner's directories that the stage wrote, the runner's own apart: name and contents.
    pub(super) left: Vec<(String, String)>,
}

impl Finished {
    /// The annotations of one level.
    pub fn annotations_of(&self, level: Level) -> Vec<&Annotation> {
        self.annotations.iter().filter(|annotation| annotation.level == level).collect()
    }

    /// Everywhere a seeded secret can be read: see [`Finished::assert_no_secret_leaks`].
    pub fn secret_leaks(&self) -> Vec<Leak> {
        leaks::find(self)
    }

    /// No secret that the server knows, no long line of it and no encoded form of either is in the masked log,
    /// annotations, outputs, state, environment file, summary (as written, before masking), on a command line or in a file that the
    /// stage left on the runner; and none is in the raw log but on `::add-mask::` lines.
    ///
    /// # Panics
    /// When there is one, naming all places.
    #[track_caller]
    pub fn assert_no_secret_leaks(&self) {
        let leaks = self.secret_leaks();
        assert!(
            leaks.is_empty(),
            "secrets can be read:\n{}",
            leaks.iter().map(Leak::to_string).collect::<Vec<_>>().join("\n")
        );
    }
}

/// How the process ended.
pub(super) struct End {
    pub(super) exit_code: i32,
    pub(super) cancelled: bool,
    pub(super) began: SystemTime,
    pub(super) duration: Duration,
    /// In bytes.
    pub(super) max_rss: u64,
}

pub(super) fn collect(captured: Captured, end: End, job: JobPart) -> Finished {
    let (raw_log, stderr) = (captured.raw_log(), String::from_utf8_lossy(&captured.stderr).into_owned());
    let mut log = captured.log;
    // All files are read whatever the exit code, also after a cancel, in the runner's order.
    let env = read_env(&job.files.env, &mut log);
    let written_summary = read_lossy(&job.files.summary);
    let summary = upload_summary(&written_summary, &mut log);
    let mut state = std::mem::take(&mut log.state);
    apply_pairs(&job.files.state, "state", &mut state, &mut log);
    let mut outputs = std::mem::take(&mut log.outputs);
    apply_outputs(&job.files.output, &mut outputs, &mut log);
    if job.is_post {
        outputs.clear();
    }
    let left = files_left(&job.dirs, end.began);
    let result = match (end.cancelled, end.exit_code != 0 || log.command_failed) {
        (true, _) => StepResult::Cancelled,
        (false, true) => StepResult::Failed,
        (false, false) => StepResult::Succeeded,
    };
    Finished {
        exit_code: end.exit_code,
        result,
        raw_log,
        stderr,
        log: log.lines.join("\n"),
        annotations: log.annotations,
        dropped_annotations: log.dropped_annotations,
        masks: log.masks,
        groups: log.groups,
        outputs,
        state,
        env,
        summary,
        peak_rss_kib: job.container.is_none().then_some(end.max_rss / 1024),
        duration: end.duration,
        container: job.container,
        argv: job.argv,
        environment: job.env,
        masker: log.masker,
        secrets: job.secrets,
        written_summary,
        left,
    }
}

/// What was written since the stage began. Archives and the like are read as far as they are text, and very large files not at all.
fn files_left(dirs: &WorkDir, began: SystemTime) -> Vec<(String, String)> {
    const LARGEST: u64 = 16 << 20;
    // Times of files are those of the kernel's last tick.
    let began = began - Duration::from_millis(10);
    let work = dirs.temp.parent().unwrap_or(&dirs.temp);
    let wanted = |entry: &walkdir::DirEntry| {
        !entry.path().starts_with(&dirs.file_commands) && !entry.path().starts_with(&dirs.workflow)
    };
    let files = WalkDir::new(work).into_iter().filter_entry(wanted).flatten().filter(|entry| {
        let new =
            |metadata: std::fs::Metadata| metadata.len() <= LARGEST && metadata.modified().is_ok_and(|at| at >= began);
        entry.file_type().is_file() && entry.metadata().is_ok_and(new)
    });
    files
        .map(|entry| {
            (entry.path().strip_prefix(work).unwrap_or(entry.path()).display().to_string(), read_lossy(entry.path()))
        })
        .collect()
}

fn read_env(path: &Path, log: &mut StepLog) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    apply_pairs(path, "env", &mut env, log);
    let blocked: Vec<String> = env.keys().filter(|name| name.eq_ignore_ascii_case("NODE_OPTIONS")).cloned().collect();
    for name in blocked {
        env.remove(&name);
        log.annotate(Level::Error, "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.");
    }
    env
}

/// An output needs a name: `=x` parses, and then fails the step.
fn apply_outputs(path: &Path, outputs: &mut BTreeMap<String, String>, log: &mut StepLog) {
    apply_pairs(path, "output", outputs, log);
    if outputs.remove("").is_some() {
        log.fail(&unable("output"), "Value cannot be null. (Parameter 'name')");
    }
}

fn apply_pairs(path: &Path, file: &str, into: &mut BTreeMap<String, String>, log: &mut StepLog) {
    let parsed = file_commands::parse(&read(path));
    into.extend(parsed.pairs);
    if let Some(message) = parsed.error {
        log.fail(&unable(file), &message);
    }
}

fn unable(file: &str) -> String {
    format!("Unable to process file command '{file}' successfully.")
}

fn upload_summary(written: &str, log: &mut StepLog) -> String {
    if written.len() > SUMMARY_LIMIT {
        log.annotate(
            Level::Error,
            &format!(
                "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of {}k, got {}k.",
                SUMMARY_LIMIT / 1024,
                written.len() / 1024
            ),
        );
        return String::new();
    }
    written.lines().map(|line| log.masker.mask(line) + "\n").collect()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&read(path)).into_owned()
}

/// A file that the step has removed counts as empty, as it does for the runner.
fn read(path: &Path) -> Vec<u8> {
    match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("reading {}, which the step wrote: {error}", path.display()),
    }
}
