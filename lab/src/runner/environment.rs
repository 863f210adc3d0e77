//! The environment that the runner gives to a container action: what is in it, and which source wins.
//!
//! Follows `ActionRunner.cs`, `Handlers/Handler.cs`, `Handlers/ContainerActionHandler.cs` and `GitHubContext.cs` of
//! actions/runner 2.336.0.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::Runner;
use super::paths::WorkDir;

/// The files that one stage of a step writes its results to.
#[derive(Debug)]
pub(super) struct StageFiles {
    pub(super) output: PathBuf,
    pub(super) env: PathBuf,
    pub(super) state: PathBuf,
    pub(super) path: PathBuf,
    pub(super) summary: PathBuf,
}

impl StageFiles {
    /// Creates them empty, under names that no other stage has.
    pub(super) fn create(dirs: &WorkDir) -> io::Result<StageFiles> {
        let id = uuid::Uuid::new_v4();
        let file = |prefix: &str| -> io::Result<PathBuf> {
            let path = dirs.file_commands.join(format!("{prefix}_{id}"));
            std::fs::write(&path, "")?;
            Ok(path)
        };
        Ok(StageFiles {
            output: file("set_output")?,
            env: file("set_env")?,
            state: file("save_state")?,
            path: file("add_path")?,
            summary: file("step_summary")?,
        })
    }
}

/// The variable that carries an input.
pub fn input_variable(name: &str) -> String {
    format!("INPUT_{}", name.replace(' ', "_").to_uppercase())
}

/// The environment of one stage with the runner's own paths; a later source overrides an earlier one.
pub(super) fn of_stage(
    runner: &Runner,
    files: &StageFiles,
    state: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut env = runner.env.clone();
    env.extend(state.iter().map(|(name, value)| (format!("STATE_{name}"), value.clone())));
    env.extend(inputs(runner).into_iter().map(|(name, value)| (input_variable(&name), value)));
    env.insert("HOME".to_owned(), text(&runner.dirs.home));
    env.extend(github_context(runner, files));
    env.extend(runner_context(runner));
    env.extend(service_context(runner));
    env
}

/// Set on the command line, after everything else.
pub(super) fn add_watermarks(env: &mut BTreeMap<String, String>) {
    env.insert("GITHUB_ACTIONS".to_owned(), "true".to_owned());
    env.entry("CI".to_owned()).or_insert_with(|| "true".to_owned());
}

/// Every declared input, and what `with:` gives beyond that. Names are compared without regard to case; a key in
/// `with:` beats the default even with an empty value.
fn inputs(runner: &Runner) -> BTreeMap<String, String> {
    let mut inputs: BTreeMap<String, String> =
        runner.declared.iter().map(|(name, default)| (name.to_lowercase(), evaluate(default, &runner.token))).collect();
    inputs.extend(runner.with.iter().map(|(name, value)| (name.to_lowercase(), value.clone())));
    inputs
}

/// The one expression that actions use as a default; any other is a mistake of the caller.
fn evaluate(default: &str, token: &str) -> String {
    let inner = default.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}"));
    match inner.map(str::trim) {
        None => default.to_owned(),
        Some("github.token") => token.to_owned(),
        Some(other) => panic!("the runner emulation evaluates no default but `${{{{ github.token }}}}`, not `{other}`"),
    }
}

/// The names in `with:` that the action does not declare.
pub(super) fn unexpected_inputs(runner: &Runner) -> Vec<&str> {
    let always_accepted = ["entrypoint", "args"];
    let declared = |name: &str| runner.declared.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let accepted = |name: &str| always_accepted.iter().any(|known| known.eq_ignore_ascii_case(name));
    if runner.declared.is_empty() {
        return Vec::new();
    }
    runner.with.keys().map(String::as_str).filter(|name| !declared(name) && !accepted(name)).collect()
}

fn github_context(runner: &Runner, files: &StageFiles) -> Vec<(String, String)> {
    let owner = runner.repository.split('/').next().unwrap_or_default();
    let workflow_ref = format!("{}/.github/workflows/release.yml@refs/heads/{}", runner.repository, runner.ref_name);
    let pairs = [
        ("ACTION", "__acme_gated-deploy".to_owned()),
        ("ACTION_REF", "v1".to_owned()),
        ("ACTION_REPOSITORY", "acme/gated-deploy".to_owned()),
        ("ACTOR", owner.to_owned()),
        ("ACTOR_ID", "1".to_owned()),
        ("API_URL", runner.api_url.clone()),
        ("BASE_REF", String::new()),
        ("ENV", text(&files.env)),
        ("EVENT_NAME", runner.event_name.clone()),
        ("EVENT_PATH", text(&runner.dirs.workflow.join("event.json"))),
        ("GRAPHQL_URL", format!("{}/graphql", runner.api_url)),
        ("HEAD_REF", String::new()),
        ("JOB", "release".to_owned()),
        ("OUTPUT", text(&files.output)),
        ("PATH", text(&files.path)),
        ("REF", format!("refs/heads/{}", runner.ref_name)),
        ("REF_NAME", runner.ref_name.clone()),
        ("REF_PROTECTED", "false".to_owned()),
        ("REF_TYPE", "branch".to_owned()),
        ("REPOSITORY", runner.repository.clone()),
        ("REPOSITORY_ID", "1296269".to_owned()),
        ("REPOSITORY_OWNER", owner.to_owned()),
        ("REPOSITORY_OWNER_ID", "1".to_owned()),
        ("RETENTION_DAYS", "90".to_owned()),
        ("RUN_ATTEMPT", runner.run_attempt.to_string()),
        ("RUN_ID", runner.run_id.to_string()),
        ("RUN_NUMBER", "1".to_owned()),
        ("SERVER_URL", "https://github.com".to_owned()),
        ("SHA", runner.sha.clone()),
        ("STATE", text(&files.state)),
        ("STEP_SUMMARY", text(&files.summary)),
        ("TRIGGERING_ACTOR", owner.to_owned()),
        ("WORKFLOW", "Release".to_owned()),
        ("WORKFLOW_REF", workflow_ref),
        ("WORKFLOW_SHA", runner.sha.clone()),
        ("WORKSPACE", text(&runner.dirs.workspace)),
    ];
    pairs.into_iter().map(|(name, value)| (format!("GITHUB_{name}"), value)).collect()
}

fn runner_context(runner: &Runner) -> Vec<(String, String)> {
    let workspace_parent = runner.dirs.workspace.parent().unwrap_or(Path::new("/"));
    let mut pairs = vec![
        ("ARCH", "X64".to_owned()),
        ("ENVIRONMENT", "self-hosted".to_owned()),
        ("NAME", "lab".to_owned()),
        ("OS", "Linux".to_owned()),
        ("TEMP", text(&runner.dirs.temp)),
        // Not a mount: an action in a container must do without it.
        ("TOOL_CACHE", "/opt/hostedtoolcache".to_owned()),
        ("WORKSPACE", text(workspace_parent)),
    ];
    if runner.debug {
        pairs.push(("DEBUG", "1".to_owned()));
    }
    pairs.into_iter().map(|(name, value)| (format!("RUNNER_{name}"), value)).collect()
}

fn service_context(runner: &Runner) -> Vec<(String, String)> {
    // Port 9 (discard) on loopback: an action that would call these services fails at once and reaches no service.
    let service = "http://127.0.0.1:9/";
    let pairs = [
        ("ACTIONS_RUNTIME_URL", service.to_owned()),
        ("ACTIONS_RUNTIME_TOKEN", runner.runtime_token.clone()),
        ("ACTIONS_RESULTS_URL", service.to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
