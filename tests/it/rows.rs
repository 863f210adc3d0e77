//! Runs single rows through the engine, with a clock that never waits and a server that must not be touched.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fs::File,
    process::Command,
    rc::Rc,
    sync::OnceLock,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use gated_deploy::{
    bundle::gzip::ParallelGzip,
    clock::Clock,
    config::typed,
    context::{Deploy, Ports, ReleasePlan, RunState, Staging, Survey, SurveyState},
    domain::{
        Approval, CommitSha, Failure, Layout, Move, Outcome, ReleaseName, RemotePath, Roots, Secret, Sha256Digest,
        bundle::{FileEntry, MANIFEST_PATH, Manifest, PhpVersions},
        gate::FrontEnd,
        hook::Hooks,
        key::PrivateKey,
        known_hosts::KnownHosts,
    },
    engine::{
        Decided, Decision, Done, Event, Events, Io, Reader, Row, Table,
        event::Body,
        run_table,
        step::{Act, Local, StepResult, check, observe},
    },
    github::{
        Api, Artifact, Attestation, CommitTree, Difference, Github, GithubError, Repository, Review, WorkflowRun,
    },
    http::{Get, Reply, Site, Unanswered},
    server::inspect::{ServerState, ServiceState},
    stages::deploy::decide,
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::github::{GitHub, OWNER, REPO};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::watch;

/// The commit that the tests release.
pub(crate) const SHA: &str = "acb5820ced9479c074f688cc328bf03f341a511d";
/// Some other commit.
pub(crate) const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn commit() -> CommitSha {
    SHA.parse().expect("SHA is a commit")
}

/// A manifest of these files, as `build-gate` writes it.
pub(crate) fn manifest(commit: &CommitSha, files: &[(&str, &[u8])]) -> Manifest {
    let entry =
        |bytes: &[u8]| FileEntry { sha256: Sha256Digest::of(bytes), size: bytes.len() as u64, executable: false };
    Manifest {
        version: Manifest::VERSION,
        commit: commit.clone(),
        php: PhpVersions::default(),
        locks: BTreeMap::new(),
        files: files.iter().map(|(name, bytes)| ((*name).to_owned(), entry(bytes))).collect(),
        links: BTreeMap::new(),
    }
}

/// A bundle of these files, with a manifest of its own, as `build-gate` writes it.
pub(crate) fn bundle(commit: &CommitSha, files: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest = serde_json::to_vec(&manifest(commit, files)).expect("a manifest is JSON");
    let mut tar = tar::Builder::new(ParallelGzip::with_threads(Vec::new(), 1).expect("a thread"));
    let mut folders = BTreeSet::new();
    for (name, bytes) in [(MANIFEST_PATH, manifest.as_slice())].iter().chain(files) {
        let above = name.match_indices('/').map(|(at, _)| &name[..=at]).filter(|folder| folders.insert(*folder));
        let above: Vec<(&str, u32, &[u8])> = above.map(|folder| (folder, 0o755, &b""[..])).collect();
        for (name, mode, bytes) in above.into_iter().chain([(*name, 0o644, *bytes)]) {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(if name.ends_with('/') {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(946_684_800);
            tar.append_data(&mut header, name, bytes).expect("pack into memory");
        }
    }
    tar.into_inner().and_then(ParallelGzip::finish).expect("pack into memory")
}

/// Everything that a row needs, to be changed before it runs.
pub(crate) struct Stage {
    pub(crate) inputs: typed::Target,
    pub(crate) source: typed::Source,
    pub(crate) github: Rc<dyn Github>,
    pub(crate) shell: Rc<dyn Shell>,
    pub(crate) site: Rc<dyn Site>,
    /// The same from a second place, where that is another double.
    pub(crate) anywhere: Option<Rc<dyn Site>>,
    pub(crate) home_before: Option<u16>,
    pub(crate) unhealthy_before: Vec<String>,
    pub(crate) clock: Rc<Patience>,
    pub(crate) server: ServerState,
    pub(crate) surveyed: SurveyState,
    pub(crate) state: RunState,
    pub(crate) staging: Option<Rc<Staging>>,
    pub(crate) scratch: TempDir,
}

impl Stage {
    /// With a GitHub; the site must not be asked.
    pub(crate) fn with_github(github: &GitHub) -> Self {
        let clock = Rc::new(Patience::default());
        let api = Rc::new(api(github, clock.clone()));
        Self::new(api, Rc::new(Untouched), clock)
    }

    /// With a site; GitHub must not be asked.
    pub(crate) fn with_site(site: Rc<dyn Site>) -> Self {
        Self::new(Rc::new(Untouched), site, Rc::new(Patience::default()))
    }

    /// With a server; neither GitHub nor the site must be asked.
    pub(crate) fn with_shell(shell: Rc<dyn Shell>) -> Self {
        Self { shell, ..Self::new(Rc::new(Untouched), Rc::new(Untouched), Rc::new(Patience::default())) }
    }

    fn new(github: Rc<dyn Github>, site: Rc<dyn Site>, clock: Rc<Patience>) -> Self {
        Self {
            inputs: inputs(),
            source: source(),
            github,
            shell: Rc::new(Untouched),
            site,
            anywhere: None,
            home_before: None,
            unhealthy_before: Vec::new(),
            clock,
            server: server(),
            surveyed: SurveyState::default(),
            state: RunState::default(),
            staging: None,
            scratch: tempfile::tempdir().expect("make a scratch folder"),
        }
    }

    /// Runs one row before the approval.
    pub(crate) async fn survey(self, act: impl Act<Survey> + 'static) -> Ran {
        let (inputs, source) = (Rc::new(self.inputs.clone()), Some(Rc::new(self.source.clone())));
        let (staging, ports) = (self.staging.clone(), self.ports());
        let survey = Survey { inputs, source, staging, ports, state: self.surveyed.into() };
        let rows = vec![observe("row", "The row", act).into()];
        let table: Table<Survey, ()> = Table { survey: rows, apply: Vec::new() };
        let story = Story::default();
        let found = RefCell::new(SurveyState::default());
        let decide = async |survey: Survey| {
            found.replace(survey.state.into_inner());
            Ok(Decided { cx: (), decision: Decision::Plan { because: "enough seen".to_owned() } })
        };
        let outcome = run_table("test", &table, survey, decide, &story.events(&self.clock), never()).await;
        Ran {
            outcome,
            events: story.0.take(),
            surveyed: found.into_inner(),
            state: RunState::default(),
            scratch: self.scratch,
        }
    }

    /// Makes a plan of what was found and reads the approval against it.
    pub(crate) async fn settled(self) -> Ran {
        let (inputs, source) = (Rc::new(self.inputs.clone()), Some(Rc::new(self.source.clone())));
        let ports = self.ports();
        let survey = Survey { inputs, source, staging: self.staging, ports, state: self.surveyed.into() };
        let table: Table<Survey, Deploy> = Table { survey: Vec::new(), apply: Vec::new() };
        let story = Story::default();
        let events = story.events(&self.clock);
        let decide = async |survey: Survey| decide(survey, &events).await;
        let outcome = run_table("test", &table, survey, decide, &events, never()).await;
        Ran {
            outcome,
            events: story.0.take(),
            surveyed: SurveyState::default(),
            state: RunState::default(),
            scratch: self.scratch,
        }
    }

    /// Runs one row after the approval.
    pub(crate) async fn release(self, act: impl Act<Deploy> + 'static) -> Ran {
        self.release_row(check("row", "The row", act)).await
    }

    /// Runs one row of any kind after the approval.
    pub(crate) async fn release_row(self, row: Row<Deploy>) -> Ran {
        self.release_rows(vec![row]).await
    }

    /// Runs several rows after the approval, one after the other.
    pub(crate) async fn release_rows(self, rows: Vec<Row<Deploy>>) -> Ran {
        let from = self.server.current.clone();
        let to = "20261124_110000-acb5820c".parse().expect("a release name");
        let facts = ReleasePlan {
            turn: Move { from, to },
            commit: self.source.commit.clone(),
            decided_at: DateTime::<Utc>::UNIX_EPOCH,
            server: self.server.clone(),
            build: self.surveyed.build.clone(),
            target: None,
            change_preview: None,
            home: self.home_before,
            unhealthy: self.unhealthy_before.clone(),
            staging: None,
            plan_digest: Sha256Digest::of("the plan"),
        };
        let (inputs, source) = (Rc::new(self.inputs.clone()), Some(Rc::new(self.source.clone())));
        let deploy = Deploy { inputs, source, ports: self.ports(), plan: facts, state: self.state.into() };
        let made = Rc::new(RefCell::new(RunState::default()));
        let peek = check("peek", "Look at what was made", Peek(made.clone()));
        let rows = rows.into_iter().chain([peek]).map(Into::into).collect();
        let table: Table<(), Deploy> = Table { survey: Vec::new(), apply: rows };
        let story = Story::default();
        let decide = async |()| Ok(Decided { cx: deploy, decision: Decision::Go });
        let outcome = run_table("test", &table, (), decide, &story.events(&self.clock), never()).await;
        Ran {
            outcome,
            events: story.0.take(),
            surveyed: SurveyState::default(),
            state: made.take(),
            scratch: self.scratch,
        }
    }

    fn ports(&self) -> Ports {
        Ports {
            shell: self.shell.clone(),
            github: Some(self.github.clone()),
            site: self.site.clone(),
            anywhere: self.anywhere.clone().unwrap_or_else(|| self.site.clone()),
            clock: self.clock.clone(),
            scratch: self.scratch.path().to_owned(),
        }
    }
}

/// How a row ended and what it said.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) events: Vec<Event>,
    pub(crate) surveyed: SurveyState,
    pub(crate) state: RunState,
    pub(crate) scratch: TempDir,
}

impl Ran {
    /// The failure that ended it.
    pub(crate) fn failure(&self) -> &Failure {
        self.outcome.cause().unwrap_or_else(|| panic!("the row should have failed: {:?}", self.events))
    }

    /// The one line in which the row says what it did.
    pub(crate) fn said(&self) -> &str {
        assert_eq!(self.outcome.cause(), None, "the row failed");
        let said = self.events.iter().find_map(|event| match &event.body {
            Body::Finished { step, text, .. } if step.as_str() == "row" => Some(text.as_str()),
            _ => None,
        });
        said.expect("a row that ran says how it ended")
    }

    /// What each attempt said.
    pub(crate) fn attempts(&self) -> Vec<&str> {
        let attempts = self.events.iter().filter_map(|event| match &event.body {
            Body::Attempt { text, .. } => Some(text.as_str()),
            _ => None,
        });
        attempts.collect()
    }

    pub(crate) fn lines(&self) -> Vec<&str> {
        let lines = self.events.iter().filter_map(|event| match &event.body {
            Body::Line { text, .. } => Some(text.as_str()),
            _ => None,
        });
        lines.collect()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        let warnings = self.events.iter().filter_map(|event| match &event.body {
            Body::Warned { text, .. } => Some(text.as_str()),
            _ => None,
        });
        warnings.collect()
    }

    /// The last value that was told under this key.
    pub(crate) fn record<T: DeserializeOwned>(&self, wanted: &str) -> T {
        let value = self.events.iter().rev().find_map(|event| match &event.body {
            Body::Recorded { key, value, .. } if key == wanted => Some(value.clone()),
            _ => None,
        });
        serde_json::from_value(value.unwrap_or_else(|| panic!("nobody told {wanted}"))).expect("a fact of its own type")
    }

    /// Whether anything was told under this key.
    pub(crate) fn recorded(&self, wanted: &str) -> bool {
        self.events.iter().any(|event| matches!(&event.body, Body::Recorded { key, .. } if key == wanted))
    }

    /// Everything that was said, for looking for what must not be.
    pub(crate) fn everything(&self) -> String {
        format!("{:?} {:?}", self.outcome, self.events)
    }
}

/// A clock that only remembers how long it should have waited.
#[derive(Default)]
pub(crate) struct Patience {
    passed: Cell<Duration>,
    slept: RefCell<Vec<Duration>>,
}

impl Patience {
    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.borrow().clone()
    }
}

#[async_trait(?Send)]
impl Clock for Patience {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + self.passed.get()
    }

    fn elapsed(&self) -> Duration {
        self.passed.get()
    }

    async fn sleep(&self, duration: Duration) {
        self.passed.set(self.passed.get() + duration);
        self.slept.borrow_mut().push(duration);
        // A moment, so that whoever tells progress at intervals does not flood the story while a thread works.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// GitHub's API as the action asks it.
pub(crate) fn api(github: &GitHub, clock: Rc<dyn Clock>) -> Api {
    let repository = Repository {
        api_url: github.api_url().parse().expect("the lab's URL"),
        owner: OWNER.to_owned(),
        name: REPO.to_owned(),
    };
    Api::new(repository, &Secret::new(github.token()), &Roots::default(), clock).expect("a client for the lab's GitHub")
}

pub(crate) fn source() -> typed::Source {
    typed::Source {
        commit: commit(),
        github: typed::GithubAccess {
            api_url: "http://127.0.0.1:1".parse().expect("a URL"),
            roots: Roots::default(),
            token: Secret::new("unused: the port has its own"),
            owner: OWNER.to_owned(),
            repository: REPO.to_owned(),
        },
        build: typed::BuildSource {
            workflow: "build.yml".to_owned(),
            run_id: None,
            artifact_id: None,
            artifact_name: "deployment-bundle-{sha}".to_owned(),
            wait_attempts: 4,
            wait_interval: Duration::from_secs(10),
            provenance: typed::Provenance {
                branches: vec!["main".to_owned()],
                built_on: vec!["develop".to_owned()],
                tags: Vec::new(),
                attestation: false,
            },
        },
    }
}

pub(crate) fn inputs() -> typed::Target {
    let base: RemotePath = "/var/www/app".parse().expect("an absolute path");
    typed::Target {
        environment: "staging".parse().expect("an environment's name"),
        approval: Approval::Given { plan_digest: None },
        phrase: "STAGING-TEST FREIGEGEBEN".to_owned(),
        needs_digest: false,
        plan_only: false,
        review: None,
        ssh: typed::SshAccess {
            host: "staging.example.test".to_owned(),
            port: 22,
            user: "deploy".to_owned(),
            key: PrivateKey::parse(&Secret::new(some_key()), None).expect("ssh-keygen's key"),
            known_hosts: KnownHosts::parse("staging.example.test SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU")
                .expect("a fingerprint"),
        },
        layout: Layout::new(base, "shared/.env/staging.env"),
        site: typed::SiteAccess {
            url: "http://staging.example.test".parse().expect("a URL"),
            route: typed::Route::Direct,
            roots: Roots::default(),
        },
        health: typed::HealthPolicy {
            token: Some(Secret::new("the-health-token")),
            paths: ["/health", "/api/health-check", "/healthcheck.php"].map(str::to_owned).to_vec(),
            answers: BTreeMap::new(),
            home: None,
            expect: ["ok", "healthy"].map(str::to_owned).to_vec(),
            attempts: 6,
            interval: Duration::from_secs(5),
            grace: typed::Grace::Wait(Duration::from_secs(15)),
            repair: false,
            max_downtime: Duration::from_secs(5),
            sample_rate: 20,
            warm_up: Vec::new(),
        },
        server: typed::ServerPolicy {
            php: "php".to_owned(),
            fpm_service: None,
            migrate: true,
            keep_releases: 5,
            keep_backups: 5,
            backup_copy: None,
            confirm_within: Duration::from_secs(300),
            lock_wait: Duration::ZERO,
            backup_nginx: false,
            shared: vec!["storage".to_owned()],
            delivery: typed::Delivery::default(),
            hooks: Hooks::default(),
        },
        front_end: FrontEnd::Vite,
        ignore_schema_verdict: false,
        policy: None,
        run: typed::RunIdentity::default(),
    }
}

fn server() -> ServerState {
    let live: ReleaseName = "20261101_080000-0123abcd".parse().expect("a release name");
    ServerState {
        current: Some(format!("releases/{live}")),
        live_tree: Some(format!("/var/www/app/releases/{live}")),
        releases: vec![live],
        php_version_id: 80229,
        php_version: "8.2.29".to_owned(),
        services: ServiceState {
            fpm: "php8.2-fpm".to_owned(),
            reload: Vec::new(),
            process_control_timeout: Some(10),
            gateway: Err("the test has none".to_owned()),
        },
        free_bytes: 1 << 40,
        free_inodes: 1 << 20,
        clock_skew_seconds: 0,
    }
}

/// A key that opens nothing, made once.
pub(crate) fn some_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("make a folder for a key");
        let path = folder.path().join("key");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.expect("run ssh-keygen (package openssh-client)").success());
        std::fs::read_to_string(path).expect("read the key that ssh-keygen wrote")
    })
}

pub(crate) fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

#[derive(Default, Clone)]
pub(crate) struct Story(pub(crate) Rc<RefCell<Vec<Event>>>);

impl Story {
    pub(crate) fn events(&self, clock: &Rc<Patience>) -> Events {
        let clock = clock.clone();
        let stamp = move || (clock.now().timestamp_millis(), clock.elapsed());
        Events::new(Box::new(stamp), vec![Box::new(self.clone())])
    }
}

impl Reader for Story {
    fn read(&mut self, event: &Event) {
        self.0.borrow_mut().push(event.clone());
    }
}

/// Takes what was made out of the context before the run ends.
struct Peek(Rc<RefCell<RunState>>);

impl Act<Deploy> for Peek {
    fn act<'a>(&'a self, cx: &'a Deploy, _io: &'a Io) -> Local<'a, StepResult> {
        self.0.replace(cx.state.take());
        Box::pin(async { Ok(Done::passed("seen")) })
    }
}

/// Whatever a test says must not be touched.
pub(crate) struct Untouched;

#[async_trait(?Send)]
impl Shell for Untouched {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("this row must not touch the server");
    }

    async fn run(&self, script: Script, _on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        panic!("this row must not run {} on the server", script.name());
    }

    async fn send(&self, _: File, _: u64, to: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("this row must not send {to} to the server");
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        panic!("this row must not open a tunnel to {host}:{port}");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("this row must not connect to the server");
    }
}

#[async_trait(?Send)]
impl Site for Untouched {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        panic!("this row must not ask the site for {}", get.path);
    }

    fn within(&self, _: &str, location: &str) -> Option<String> {
        panic!("this row must not follow a redirect to {location}");
    }
}

#[async_trait(?Send)]
impl Github for Untouched {
    async fn run(&self, id: u64) -> Result<WorkflowRun, GithubError> {
        panic!("this row must not ask GitHub for run {id}");
    }

    async fn runs_for(&self, workflow: &str, _: &CommitSha) -> Result<Vec<WorkflowRun>, GithubError> {
        panic!("this row must not ask GitHub for runs of {workflow}");
    }

    async fn recent_runs(&self, workflow: &str) -> Result<Vec<WorkflowRun>, GithubError> {
        panic!("this row must not ask GitHub for runs of {workflow}");
    }

    async fn reviews(&self, run_id: u64) -> Result<Vec<Review>, GithubError> {
        panic!("this row must not ask GitHub for reviews of run {run_id}");
    }

    async fn workflow_path(&self, workflow: &str) -> Result<String, GithubError> {
        panic!("this row must not ask GitHub for the file of {workflow}");
    }

    async fn reachable(&self, branch: &str, _: &CommitSha) -> Result<Option<bool>, GithubError> {
        panic!("this row must not ask GitHub for the branch {branch}");
    }

    async fn tree_of(&self, sha: &str) -> Result<CommitTree, GithubError> {
        panic!("this row must not ask GitHub for the tree of {sha}");
    }

    async fn difference(&self, from: &CommitSha, to: &CommitSha) -> Result<Difference, GithubError> {
        panic!("this row must not compare {from} with {to} at GitHub");
    }

    async fn people_of(&self, commit: &CommitSha) -> Result<Vec<String>, GithubError> {
        panic!("this row must not ask GitHub for the commit {commit}");
    }

    async fn attestations(&self, of: &Sha256Digest) -> Result<Vec<Attestation>, GithubError> {
        panic!("this row must not ask GitHub for attestations of {of}");
    }

    async fn reviewed_file(&self, path: &str) -> Result<Option<String>, GithubError> {
        panic!("this row must not ask GitHub for {path}");
    }

    async fn artifacts(&self, run_id: u64, _: &str) -> Result<Vec<Artifact>, GithubError> {
        panic!("this row must not ask GitHub for artifacts of run {run_id}");
    }

    async fn download(
        &self,
        artifact: &Artifact,
        _: File,
        _: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(Sha256Digest, u64), GithubError> {
        panic!("this row must not download artifact {}", artifact.id);
    }
}
