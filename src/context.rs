//! What the rows of a release know: a [`Survey`] before the approval, a [`Deploy`] after it.

use std::{cell::RefCell, path::PathBuf, rc::Rc};

use chrono::{DateTime, Utc};

use crate::{
    clock::Clock,
    config::typed,
    domain::{
        CommitSha, Failure, Move, Sha256Digest,
        bundle::{Bundle, Canonical, Manifest},
        gate::{FrontEnd, VITE_MANIFEST},
        migration::Measured,
        record::{self, BundleRecord, Finding},
        release_status::Candidate,
        schema::SchemaVerdict,
    },
    github::{Artifact, Github, WorkflowRun},
    http::Site,
    server::{
        health::{identity::Mark, sampler::Sampler},
        hooks::state::Armed,
        inspect::{Looked, ServerState, permissions::Permission},
        ledger::History,
        lock::{InterruptedRun, Keeper},
        release_dir::part::Part,
        services::ready::Ready,
        watchdog::Pending,
    },
    transport::shell::Shell,
};

/// The world, as far as a release touches it.
#[derive(Clone)]
pub struct Ports {
    pub shell: Rc<dyn Shell>,
    /// `None` where the stage has no business with GitHub.
    pub github: Option<Rc<dyn Github>>,
    /// The site, by the way that the inputs name.
    pub site: Rc<dyn Site>,
    /// The same, and from a second place where that way does not reach it.
    pub anywhere: Rc<dyn Site>,
    pub clock: Rc<dyn Clock>,
    /// A private folder on the runner, gone when the run ends.
    pub scratch: PathBuf,
}

/// Before the approval: rows read and store what they found. Nothing on the server or at GitHub changes.
pub struct Survey {
    pub inputs: Rc<typed::Target>,
    /// What was asked for; `None` where nothing new is released. What is released is [`Survey::source`].
    pub source: Option<Rc<typed::Source>>,
    /// Only production looks at it.
    pub staging: Option<Rc<Staging>>,
    pub ports: Ports,
    pub state: RefCell<SurveyState>,
}

/// Staging, as production asks it: another site and perhaps another server.
pub struct Staging {
    pub inputs: typed::Staging,
    pub site: Rc<dyn Site>,
    /// `None` where the policy does not say how to reach its server.
    pub shell: Option<Rc<dyn Shell>>,
}

/// What the survey rows found so far.
#[derive(Debug, Default)]
pub struct SurveyState {
    /// The build run and its artifact, where they are there already; row 9 waits for them otherwise.
    pub build: Option<Build>,
    /// Whether there is a build, or a run that may become one.
    pub build_is_coming: bool,
    /// Whether that is known: the build is looked for while the server is surveyed.
    pub build_was_looked_for: bool,
    /// What the server said, whether or not it will do.
    pub looked: Option<Rc<Looked>>,
    /// What a release may build on; only where nothing stood in the way.
    pub server: Option<ServerState>,
    pub ledger: Option<Rc<History>>,
    /// The target release, where the stage is a rollback.
    pub chosen: Option<Candidate>,
    /// The bundle, where it was fetched already.
    pub opened: Option<Opened>,
    /// What the release would change.
    pub change_preview: Option<Rc<record::ChangePreview>>,
    /// Whether staging was asked, and said what it confirmed.
    pub staging_answered: bool,
    /// What is released instead of what was asked for: the commit and the build that staging confirmed.
    pub confirmed: Option<Rc<typed::Source>>,
    /// What staging has proven, for production.
    pub staging: Option<record::Staging>,
    /// What the site's home answered before anything changed, as a status.
    pub home: Option<u16>,
    /// The pages that were unhealthy before anything changed.
    pub unhealthy: Vec<String>,
    /// Unconfirmed releases that were not rolled back yet.
    pub unconfirmed: Vec<Pending>,
    /// What the pre-flight looked at, in order.
    pub findings: Vec<Finding>,
    /// Whether the server let us in.
    pub reached: bool,
    /// How sudo stands to `nginx -t`.
    pub nginx_test: Option<Permission>,
    /// Which database the app has, as its `.env` says.
    pub database_driver: Option<String>,
    /// The same, by the live release; `None` where nothing is live, or it was not asked or did not answer.
    pub app_driver: Option<String>,
    /// The size of the database's file, where it is one.
    pub sqlite_kib: Option<u64>,
    /// The live app itself was asked what a dump of its database must hold.
    pub dump_judged: bool,
}

impl SurveyState {
    /// What the bundle says of itself, where it was fetched already.
    pub fn manifest(&self) -> Option<Rc<Manifest>> {
        self.opened.as_ref().map(|opened| opened.manifest.clone())
    }

    /// Whether a release is refused, because there will be no build.
    pub fn lacks_a_build(&self) -> bool {
        self.build_was_looked_for && !self.build_is_coming
    }

    /// Whether somebody looked, and there is no `current`.
    pub fn nothing_is_live(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.current.is_none())
            || self.looked.as_ref().is_some_and(|looked| looked.current().is_none())
    }
}

/// A bundle that lies on the runner, compared with every digest that is known and read whole.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The artifact that it came from.
    pub artifact: Artifact,
    pub bundle: Rc<Bundle<Canonical>>,
    pub manifest: Rc<Manifest>,
    pub described: BundleRecord,
}

/// A successful build with its artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub run: WorkflowRun,
    pub artifact: Artifact,
}

/// The plan facts: decided at the approval, unchanged after it.
#[derive(Debug, Clone)]
pub struct ReleasePlan {
    /// From what is live to the release that shall be: a new one, or an earlier one.
    pub turn: Move,
    /// The commit that the release was made from; what was asked for, if that is another one, stands in `staging`.
    pub commit: CommitSha,
    pub decided_at: DateTime<Utc>,
    pub server: ServerState,
    pub build: Option<Build>,
    /// The earlier release that goes live again, where that is the task.
    pub target: Option<Candidate>,
    pub change_preview: Option<Rc<record::ChangePreview>>,
    /// What the site's home answered before anything changed, as a status. Not in the plan's digest: it changes nothing that runs.
    pub home: Option<u16>,
    /// The pages that were unhealthy before anything changed. Not in the plan's digest, as above.
    pub unhealthy: Vec<String>,
    /// What staging has confirmed; `None` where it was not read.
    pub staging: Option<record::Staging>,
    pub plan_digest: Sha256Digest,
}

/// After the approval.
pub struct Deploy {
    pub inputs: Rc<typed::Target>,
    /// `None` where nothing new is released.
    pub source: Option<Rc<typed::Source>>,
    pub ports: Ports,
    pub plan: ReleasePlan,
    /// What this run made on the runner on its way.
    pub state: RefCell<RunState>,
}

/// Data that rows after the approval pass to later rows. An undo never reads them: it is written from [`ReleasePlan`].
#[derive(Debug)]
pub struct RunState {
    /// What was fetched before the approval.
    pub opened: Option<Opened>,
    pub build: Option<Build>,
    pub bundle: Option<Rc<Bundle<Canonical>>>,
    pub manifest: Option<Rc<Manifest>>,
    /// What was told of the bundle; the server's own look at it is added once it is there.
    pub described: Option<BundleRecord>,
    /// What was sent of it, where that is not all.
    pub part: Option<Rc<Part>>,
    /// The rollback can ask it as well; what it does never depends on it.
    pub identity: Option<Mark>,
    /// The fencing token of this run's deploy lock.
    pub lock: Option<String>,
    /// The dead runs whose locks this run took over.
    pub interrupted: Vec<InterruptedRun>,
    /// Renews the deploy lock.
    pub keeper: Option<Keeper>,
    /// The fencing token of this run's watchdog. A rollback does without.
    pub guard: Option<String>,
    /// Watches the site from before the switch on; a rollback only notes when it began.
    pub sampler: Option<Rc<Sampler>>,
    /// The digest of the release's tree on the server.
    pub tree: Option<Sha256Digest>,
    /// The migrations that ran; `None` if that is not known, because a line broke while they ran.
    pub migrations: Option<Vec<String>>,
    /// What they made the database do, without the text of statements.
    pub measured: Vec<Measured>,
    /// What the live release makes of the schema that they left; `None` where none ran.
    pub schema: Option<SchemaVerdict>,
    /// When the attempt ended, as its line in the ledger says.
    pub ended: Option<DateTime<Utc>>,
    /// The ledger was opened: from then on every attempt has a line.
    pub ledger_is_open: bool,
    /// The attempt's line stands in the ledger.
    pub recorded: bool,
    /// The migration was begun, and its end was not heard.
    pub migrating: bool,
    /// What was found after a reload that failed.
    pub unready: Ready,
    /// The hooks after a rollback are ready.
    pub hooks: Option<Armed>,
    /// What was told of the backup; what became of its copy is added.
    pub backup: Option<record::BackupRecord>,
    /// When it was complete.
    pub backed_up: Option<DateTime<Utc>>,
    /// The release was asked before the switch, and was healthy.
    pub canary_healthy: bool,
}

impl Default for RunState {
    fn default() -> Self {
        Self {
            opened: None,
            build: None,
            bundle: None,
            manifest: None,
            described: None,
            part: None,
            identity: None,
            lock: None,
            interrupted: Vec::new(),
            keeper: None,
            guard: None,
            sampler: None,
            tree: None,
            migrations: Some(Vec::new()),
            measured: Vec::new(),
            schema: None,
            ended: None,
            ledger_is_open: false,
            recorded: false,
            migrating: false,
            unready: Ready::default(),
            hooks: None,
            backup: None,
            backed_up: None,
            canary_healthy: false,
        }
    }
}

impl Ports {
    /// # Errors
    /// A fault of ours: the row stands in the table of a stage that does not ask GitHub.
    pub fn github(&self) -> Result<&dyn Github, Failure> {
        self.github.as_deref().ok_or_else(|| Failure::bug("reading GitHub", "this stage has no access to GitHub"))
    }
}

fn source(source: Option<&Rc<typed::Source>>) -> Result<&Rc<typed::Source>, Failure> {
    source.ok_or_else(|| Failure::bug("looking for the build", "this stage releases nothing new"))
}

impl Survey {
    /// What is released.
    ///
    /// # Errors
    /// A fault of ours: the row stands in the table of a stage that releases nothing new.
    pub fn source(&self) -> Result<Rc<typed::Source>, Failure> {
        match &self.state.borrow().confirmed {
            Some(confirmed) => Ok(confirmed.clone()),
            None => self.asked_for().cloned(),
        }
    }

    /// What was asked for: of production perhaps another commit with the same tree.
    ///
    /// # Errors
    /// As above.
    pub fn asked_for(&self) -> Result<&Rc<typed::Source>, Failure> {
        source(self.source.as_ref())
    }
}

impl Deploy {
    /// What builds the front end of the release. The policy says it of a new one; the target of a rollback was built under the policy of its
    /// time, so what it has decides.
    pub fn front_end(&self) -> FrontEnd {
        match &self.state.borrow().manifest {
            Some(manifest) if self.source.is_none() => match manifest.files.contains_key(VITE_MANIFEST) {
                true => FrontEnd::Vite,
                false => FrontEnd::None,
            },
            _ => self.inputs.front_end,
        }
    }

    /// What is released.
    ///
    /// # Errors
    /// A fault of ours: the row stands in the table of a stage that releases nothing new.
    pub fn source(&self) -> Result<&typed::Source, Failure> {
        source(self.source.as_ref()).map(Rc::as_ref)
    }
}
