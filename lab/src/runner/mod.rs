//! Runs the action as the Actions runner does: same environment, same files, same reading of what it prints, same signals.
//!
//! The rules are those of actions/runner 2.336.0; each module names the file that it follows. An action can be run
//! as a plain process ([`Runner::run_binary`]) or from its image with the runner's `docker run` ([`Runner::run_image`]).
//!
//! ```no_run
//! use gated_deploy_lab::runner::{Runner, StepResult, declared_from_action_yml};
//!
//! let declared = declared_from_action_yml("action.yml")?;
//! let runner = Runner::new().declared(&declared).input("stage", "smoke").secret("hunter2hunter2");
//! let main = runner.run_binary("target/debug/gated-deploy");
//! assert_eq!(main.result, StepResult::Succeeded, "{}", main.log);
//! main.assert_no_secret_leaks();
//! let post = runner.run_post(&main, "target/debug/gated-deploy", "gated-deploy-post");
//! assert_eq!(post.exit_code, 0);
//! # anyhow::Ok(())
//! ```

mod action_yml;
mod commands;
mod docker;
mod environment;
mod file_commands;
mod finished;
mod leaks;
mod masker;
mod paths;
mod process;
mod step_log;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub use rustix::process::Signal;

pub use action_yml::{Image, declared_from_action_yml, image_of_action_yml};
pub use docker::Container;
pub use environment::input_variable;
pub use finished::{Finished, SUMMARY_LIMIT, StepResult};
pub use leaks::{Leak, forms_of};
pub use process::{CANCEL_SCHEDULE, Running};
pub use step_log::{ANNOTATION_LENGTH, ANNOTATIONS_PER_LEVEL, Annotation, Group, Level};

use docker::DockerRun;
use environment::StageFiles;
use masker::Masker;
use paths::{PathMap, RUNNER_TEMP, WorkDir};
use process::{JobPart, Launch};
use step_log::StepLog;

/// How often something is looked at that cannot be waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A runner with one job that has one step: the action. The methods that take `self` set up what it is given.
#[derive(Debug, Clone)]
pub struct Runner {
    dirs: Arc<WorkDir>,
    declared: Vec<(String, String)>,
    with: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    secrets: Vec<String>,
    looked_for: Vec<String>,
    must_not_leak: bool,
    event_name: String,
    event: serde_json::Value,
    repository: String,
    sha: String,
    ref_name: String,
    run_id: u64,
    run_attempt: u32,
    api_url: String,
    debug: bool,
    token: String,
    runtime_token: String,
    label: String,
    entrypoint: Option<String>,
    post_entrypoint: Option<String>,
    network: Option<String>,
    mounts_runner_temp: bool,
    separate_stderr: bool,
    time_limit: Duration,
}

impl Default for Runner {
    fn default() -> Runner {
        Runner::new()
    }
}

impl Runner {
    /// A job on `main` of `acme/shop`, started by hand, with an empty workspace.
    ///
    /// # Panics
    /// When no temporary directory can be made.
    pub fn new() -> Runner {
        let dirs = WorkDir::create().expect("the runner emulation needs a writable temporary directory");
        let token = format!("ghs_{}", uuid::Uuid::new_v4().simple());
        let runtime_token = format!("runtime-{}", uuid::Uuid::new_v4().simple());
        Runner {
            dirs: Arc::new(dirs),
            declared: Vec::new(),
            with: BTreeMap::new(),
            env: BTreeMap::new(),
            args: Vec::new(),
            secrets: vec![token.clone(), runtime_token.clone()],
            looked_for: Vec::new(),
            must_not_leak: false,
            event_name: "workflow_dispatch".to_owned(),
            event: serde_json::json!({ "inputs": {}, "ref": "refs/heads/main" }),
            repository: "acme/shop".to_owned(),
            sha: "6dcb09b5b57875f334f61aebed695e2e4193db5e".to_owned(),
            ref_name: "main".to_owned(),
            run_id: 30_433_642,
            run_attempt: 1,
            api_url: "https://api.github.com".to_owned(),
            debug: false,
            token,
            runtime_token,
            label: six_hex_digits(),
            entrypoint: None,
            post_entrypoint: None,
            network: None,
            mounts_runner_temp: true,
            separate_stderr: false,
            time_limit: Duration::from_secs(900),
        }
    }

    /// `with:` of the step. The name is that of action.yml; the runner does not look at its case.
    pub fn input(mut self, name: &str, value: &str) -> Runner {
        self.with.retain(|known, _| !known.eq_ignore_ascii_case(name));
        self.with.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The inputs that action.yml declares, with their defaults: each is in the environment, be it empty. The default
    /// `${{ github.token }}` becomes the token of the job. See [`declared_from_action_yml`].
    pub fn declared<N: AsRef<str>, D: AsRef<str>>(mut self, inputs: &[(N, D)]) -> Runner {
        let pairs = inputs.iter().map(|(name, default)| (name.as_ref().to_owned(), default.as_ref().to_owned()));
        self.declared = pairs.collect();
        self
    }

    /// `env:` of the workflow, job or step. What the runner sets itself wins over it.
    pub fn env(mut self, name: &str, value: &str) -> Runner {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Gives a run that is cancelled as long as it needs to roll back, where a test is about the rollback and not about its time limit.
    pub fn unhurried(self) -> Runner {
        self.env("TEST_SECONDS_AFTER_CANCEL", "60")
    }

    /// Arguments of a binary. The runner gives an action none; a program that stands in for the action may need them.
    pub fn args(mut self, args: &[&str]) -> Runner {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// The event that started the workflow, and its payload.
    pub fn event(mut self, name: &str, payload: serde_json::Value) -> Runner {
        self.event_name = name.to_owned();
        self.event = payload;
        self
    }

    /// `owner/name`.
    pub fn repository(mut self, repository: &str) -> Runner {
        self.repository = repository.to_owned();
        self
    }

    /// `GITHUB_SHA`.
    pub fn sha(mut self, sha: &str) -> Runner {
        self.sha = sha.to_owned();
        self
    }

    /// The branch that the workflow runs on.
    pub fn ref_name(mut self, branch: &str) -> Runner {
        self.ref_name = branch.to_owned();
        self
    }

    /// `GITHUB_RUN_ID`.
    pub fn run_id(mut self, id: u64) -> Runner {
        self.run_id = id;
        self
    }

    /// `GITHUB_RUN_ATTEMPT`; more than 1 is a re-run.
    pub fn run_attempt(mut self, attempt: u32) -> Runner {
        self.run_attempt = attempt;
        self
    }

    /// `GITHUB_API_URL`.
    pub fn api_url(mut self, url: &str) -> Runner {
        self.api_url = url.to_owned();
        self
    }

    /// Step debugging: `RUNNER_DEBUG=1`, debug lines shown, commands echoed.
    pub fn debug(mut self, on: bool) -> Runner {
        self.debug = on;
        self
    }

    /// A secret of the repository: masked from the start, and looked for by [`Finished::assert_no_secret_leaks`], the whole
    /// of it whatever its length.
    pub fn secret(mut self, value: &str) -> Runner {
        self.secrets.push(value.to_owned());
        self
    }

    /// A secret of another system, which the runner neither knows nor masks: the password of a database. It is looked for as well.
    pub fn looked_for(mut self, value: &str) -> Runner {
        self.looked_for.push(value.to_owned());
        self
    }

    /// Every stage ends with [`Finished::assert_no_secret_leaks`], however it ends.
    pub fn must_not_leak(mut self) -> Runner {
        self.must_not_leak = true;
        self
    }

    /// `runs.entrypoint` of an image.
    pub fn entrypoint(mut self, path: &str) -> Runner {
        self.entrypoint = Some(path.to_owned());
        self
    }

    /// `runs.post-entrypoint` of an image.
    pub fn post_entrypoint(mut self, path: &str) -> Runner {
        self.post_entrypoint = Some(path.to_owned());
        self
    }

    /// The network of a job with `container:` or `services:`, for an image.
    pub fn network(mut self, name: &str) -> Runner {
        self.network = Some(name.to_owned());
        self
    }

    /// A runner before 2.331.0: `RUNNER_TEMP` names a directory that does not exist in the container.
    pub fn without_runner_temp_mount(mut self) -> Runner {
        self.mounts_runner_temp = false;
        self
    }

    /// Two pipes, as the runner has them, so that standard error can be looked at alone; the order between the two is
    /// then not kept. By default both go through one pipe and keep their order.
    pub fn separate_stderr(mut self) -> Runner {
        self.separate_stderr = true;
        self
    }

    /// How long a stage may take until [`Running::wait`] gives up; five minutes by default.
    pub fn time_limit(mut self, limit: Duration) -> Runner {
        self.time_limit = limit;
        self
    }

    /// A file that the checkout has left in the workspace.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn file(self, path: &str, text: &str) -> Runner {
        let path = self.workspace().join(path);
        let folder = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .expect("the workspace can be written");
        self
    }

    /// `GITHUB_WORKSPACE` on this machine.
    pub fn workspace(&self) -> &Path {
        &self.dirs.workspace
    }

    /// The token of the job, which `${{ github.token }}` stands for.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Runs a program as the main stage. It gets nothing of this process's environment, and no arguments but [`Runner::args`].
    #[track_caller]
    pub fn run_binary(&self, binary: impl AsRef<Path>) -> Finished {
        self.spawn_binary(binary).wait()
    }

    /// Starts a program as the main stage.
    #[track_caller]
    pub fn spawn_binary(&self, binary: impl AsRef<Path>) -> Running {
        self.start_binary(binary.as_ref(), None, None)
    }

    /// Runs a program as the post stage of `main`, under another name: stages are distinguished by `argv[0]`.
    #[track_caller]
    pub fn run_post(&self, main: &Finished, binary: impl AsRef<Path>, argv0: &str) -> Finished {
        self.spawn_post(main, binary, argv0).wait()
    }

    /// Starts a program as the post stage of `main`.
    #[track_caller]
    pub fn spawn_post(&self, main: &Finished, binary: impl AsRef<Path>, argv0: &str) -> Running {
        self.start_binary(binary.as_ref(), Some(argv0), Some(main))
    }

    /// Runs an image as the main stage.
    #[track_caller]
    pub fn run_image(&self, image: &str) -> Finished {
        self.spawn_image(image).wait()
    }

    /// Starts an image as the main stage.
    #[track_caller]
    pub fn spawn_image(&self, image: &str) -> Running {
        self.start_image(image, self.entrypoint.as_deref(), None)
    }

    /// Runs an image as the post stage of `main`, in a new container with [`Runner::post_entrypoint`].
    #[track_caller]
    pub fn run_image_post(&self, main: &Finished, image: &str) -> Finished {
        self.spawn_image_post(main, image).wait()
    }

    /// Starts an image as the post stage of `main`.
    #[track_caller]
    pub fn spawn_image_post(&self, main: &Finished, image: &str) -> Running {
        self.start_image(image, self.post_entrypoint.as_deref(), Some(main))
    }

    #[track_caller]
    fn start_binary(&self, binary: &Path, argv0: Option<&str>, main: Option<&Finished>) -> Running {
        let program = binary.canonicalize().unwrap_or_else(|error| panic!("finding {}: {error}", binary.display()));
        let (files, mut env) = self.prepare_stage(main);
        environment::add_watermarks(&mut env);
        let mut command = Command::new(&program);
        command.args(&self.args).env_clear().envs(&env);
        if let Some(argv0) = argv0 {
            command.arg0(argv0);
        }
        let job = self.job_part(files, env, None, Vec::new(), main.is_some());
        self.start(command, PathMap::of_host(&self.dirs), job, main)
    }

    #[track_caller]
    fn start_image(&self, image: &str, entrypoint: Option<&str>, main: Option<&Finished>) -> Running {
        let (files, env) = self.prepare_stage(main);
        let mut mounts = self.dirs.mounts().to_vec();
        mounts.retain(|(_, inside)| self.mounts_runner_temp || *inside != RUNNER_TEMP);
        let paths = PathMap::of_container(&self.dirs, &mounts);
        let mut env: BTreeMap<String, String> =
            env.into_iter().map(|(name, value)| (name, paths.to_step(&value))).collect();
        let container = Container::named_after(image);
        let run = DockerRun {
            image,
            label: &self.label,
            entrypoint,
            network: self.network.as_deref(),
            mounts: &mounts,
            env: &env,
        };
        let argv = run.argv(&container);
        let command = run.command(&argv);
        environment::add_watermarks(&mut env);
        let job = self.job_part(files, env, Some(container), argv, main.is_some());
        self.start(command, paths, job, main)
    }

    /// The files of a stage, and its environment with host paths.
    #[track_caller]
    fn prepare_stage(&self, main: Option<&Finished>) -> (StageFiles, BTreeMap<String, String>) {
        let files =
            StageFiles::create(&self.dirs).expect("the files of a stage lie in the runner's temporary directory");
        std::fs::write(self.dirs.workflow.join("event.json"), self.event.to_string())
            .expect("the event lies in the runner's temporary directory");
        let state = main.map(|main| main.state.clone()).unwrap_or_default();
        let env = environment::of_stage(self, &files, &state);
        (files, env)
    }

    fn job_part(
        &self,
        files: StageFiles,
        env: BTreeMap<String, String>,
        container: Option<Container>,
        argv: Vec<String>,
        is_post: bool,
    ) -> JobPart {
        JobPart {
            dirs: Arc::clone(&self.dirs),
            files,
            env,
            secrets: [self.secrets.as_slice(), &self.looked_for].concat(),
            must_not_leak: self.must_not_leak,
            container,
            argv,
            is_post,
            time_limit: self.time_limit,
        }
    }

    #[track_caller]
    fn start(&self, mut command: Command, paths: PathMap, job: JobPart, main: Option<&Finished>) -> Running {
        let mut log = StepLog::new(self.masker(main), paths, self.debug);
        let unexpected = environment::unexpected_inputs(self);
        if !unexpected.is_empty() {
            let known: Vec<&str> = self.declared.iter().map(|(name, _)| name.as_str()).collect();
            let (unexpected, known) = (unexpected.join("', '"), known.join("', '"));
            log.annotate(Level::Warning, &format!("Unexpected input(s) '{unexpected}', valid inputs are ['{known}']"));
        }
        command.current_dir(&self.dirs.workspace);
        let program = command.get_program().to_owned();
        Running::start(Launch { command, log, separate_stderr: self.separate_stderr, job })
            .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()))
    }

    /// The masks of the job: its secrets, and what an earlier stage added.
    fn masker(&self, main: Option<&Finished>) -> Masker {
        let mut masker = main.map(|main| main.masker.clone()).unwrap_or_default();
        for secret in &self.secrets {
            masker.add(secret.trim());
        }
        masker
    }
}

/// Sends a signal to this very process: what a step that is to be ended in the middle does with itself.
pub fn raise(signal: Signal) {
    // Nothing can be wrong with one's own number; a signal that ends the process does not come back from here.
    let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
}

fn six_hex_digits() -> String {
    let digits = uuid::Uuid::new_v4().simple().to_string();
    digits[..6].to_owned()
}
