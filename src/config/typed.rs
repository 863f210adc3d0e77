//! Inputs that have been checked. Every other module works with these.
//!
//! What can be approved is serialised whole into the plan's digest ([`Target`], [`Source`], [`Staging`], [`Fix`]), so that a new field is bound
//! by an approval unless it is left out here, with its reason. A [`Secret`] has no serialisation: a field with one has to be left out. Secrets
//! are not bound, because a reader of the digest could test guesses of a short one against it, and another key or token changes which
//! account acts, not what is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;
use url::Url;

use super::problem::Location;
use crate::domain::{
    Approval, CommitSha, EnvironmentName, Layout, ReleaseName, RemotePath, Roots, Secret, Sha256Digest, Stage,
    fix::FixName, gate::FrontEnd, hook::Hooks, key::PrivateKey, known_hosts::KnownHosts,
};

/// What was asked for.
#[derive(Debug, Clone)]
pub enum Request {
    BuildGate(Box<BuildGate>),
    Deploy(Box<Deploy>),
    /// Looks whether a release would go through.
    Preflight(Box<Deploy>),
    Smoke(Box<Smoke>),
    Verify(Box<Target>),
    Rollback(Box<Rollback>),
    Audit(Box<Audit>),
    Recover(Box<Recover>),
    Fix(Box<Fix>),
}

/// What every run needs for its report, whether or not its inputs could be read.
#[derive(Debug, Clone)]
pub struct Common {
    /// `None` when the stage could not be read.
    pub stage: Option<Stage>,
    pub style: Style,
    /// The files of `GITHUB_OUTPUT`, `GITHUB_STATE` and `GITHUB_STEP_SUMMARY`, where the runner gives them.
    pub output: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub step_summary: Option<PathBuf>,
    /// Absolute.
    pub workspace: PathBuf,
    /// Absolute, in the workspace; it may not exist yet.
    pub report_dir: PathBuf,
    /// Everything that must never be seen: every secret that was given, even in a wrong place, and the forms made of them.
    pub secrets: Vec<Secret>,
    /// What the default branch's policy must say, too, before anything is sent anywhere.
    pub unreviewed: Option<Unreviewed>,
    /// The runner's step debugging is on.
    pub debug: bool,
    /// A folder in which a temporary one can be made.
    pub scratch: PathBuf,
    /// After so long the run asks itself to stop; only post has so little time.
    pub most: Option<Duration>,
}

impl Common {
    /// The lines that make the runner mask every secret, to be printed before anything else; none outside of Actions.
    ///
    /// Each line of a secret is a command of its own, with the escapes of a command's data.
    pub fn mask_commands(&self) -> Vec<String> {
        if self.style == Style::Plain {
            return Vec::new();
        }
        let escaped = |line: &str| line.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let lines: BTreeSet<&str> = self.secrets.iter().flat_map(Secret::mask_lines).collect();
        lines.into_iter().map(|line| format!("::add-mask::{}", escaped(line))).collect()
    }
}

/// Settings of a policy file that may be unreviewed: those that decide where secrets go, what runs and who approves it.
#[derive(Debug, Clone)]
pub struct Unreviewed {
    /// Why, as the end of a sentence: the event that started the run.
    pub event: String,
    /// The policy file, relative to the workspace.
    pub file: String,
    pub settings: Vec<UnreviewedSetting>,
    /// How to ask for the default branch's file; `None` where there is no token.
    pub github: Option<GithubAccess>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreviewedSetting {
    /// The environment whose section holds.
    pub section: Option<String>,
    pub input: &'static str,
    /// What the file says; `None` where it says nothing.
    pub text: Option<String>,
}

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// With workflow commands, for GitHub's runner.
    Actions,
    /// For terminals and other CI.
    Plain,
}

/// Something that is odd about an input and does not stop the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// As in `docs/errors.md`.
    pub code: &'static str,
    pub input: String,
    pub text: String,
    /// What would be right.
    pub right: String,
    pub location: Option<Location>,
}

/// Inputs of `build-gate`.
#[derive(Debug, Clone)]
pub struct BuildGate {
    pub commit: CommitSha,
    /// The event that started the run, for step 1; `None` outside Actions.
    pub event: Option<String>,
    /// Absolute path of the tree to bundle.
    pub source: PathBuf,
    /// Absolute path of the folder for bundle, `.sha256` and manifest; outside of what is bundled, or left out of it.
    pub output: PathBuf,
    /// The workspace, to print paths relative to it.
    pub workspace: PathBuf,
    /// The name under which the workflow shall upload the bundle, with the sha put in.
    pub artifact_name: String,
    /// Folders that the server links into the release from `shared/`.
    pub shared: Vec<String>,
    /// Policy `front-end`.
    pub front_end: FrontEnd,
    pub run: RunIdentity,
}

/// Inputs of the stages that release.
#[derive(Debug, Clone)]
pub struct Deploy {
    pub target: Target,
    pub source: Source,
    /// What `deploy-production` asks of staging; `None` for the other stages.
    pub staging: Option<Staging>,
}

/// Where staging is, and what it must have shown before production takes a release.
#[derive(Debug, Clone, Serialize)]
pub struct Staging {
    pub environment: EnvironmentName,
    pub site: SiteAccess,
    pub health: HealthPolicy,
    /// How long the release must have been confirmed there.
    pub stable_for: Duration,
    /// File name or name of the workflow that releases to staging.
    pub workflow: String,
    /// The branches that staging is released from.
    pub branches: Vec<String>,
    /// Its server, where the policy says how to reach it: there is its ledger.
    pub server: Option<StagingServer>,
}

#[derive(Debug, Clone, Serialize)]
pub struct StagingServer {
    pub ssh: SshAccess,
    pub layout: Layout,
}

/// What is released.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub commit: CommitSha,
    pub github: GithubAccess,
    pub build: BuildSource,
}

/// The server and the site of an environment, and by which rules something is changed there.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    pub environment: EnvironmentName,
    /// Not bound: it is the approval.
    #[serde(skip)]
    pub approval: Approval,
    /// The approval phrase of this stage.
    pub phrase: String,
    /// Whether the phrase counts with a digest only.
    pub needs_digest: bool,
    /// Not bound: with it nothing is approved.
    #[serde(skip)]
    pub plan_only: bool,
    /// The GitHub environment in which a reviewer other than the run's author must have approved this run; where the policy asks
    /// for that.
    pub review: Option<String>,
    pub ssh: SshAccess,
    pub layout: Layout,
    pub site: SiteAccess,
    pub health: HealthPolicy,
    pub server: ServerPolicy,
    /// Policy `front-end`.
    pub front_end: FrontEnd,
    /// A rollback may go to a release that is known to be unhealthy on the present schema; `false` in every other stage.
    pub ignore_schema_verdict: bool,
    /// The SHA-256 of the policy file, where there is one.
    pub policy: Option<Sha256Digest>,
    /// Not bound: the run that plans is another one than the run that is approved.
    #[serde(skip)]
    pub run: RunIdentity,
}

/// Inputs of `rollback`: nothing new is released, so there is no commit and no GitHub.
#[derive(Debug, Clone)]
pub struct Rollback {
    pub target: Target,
    /// `None` is the release that was confirmed last.
    pub to: Option<ReleaseName>,
}

/// Inputs of `recover`, and of the post step, which does the same for its own run.
#[derive(Debug, Clone)]
pub struct Recover {
    pub target: Target,
    /// What the main step of this run left, for post.
    pub own: Option<Interrupted>,
}

/// What the state says of a run that did not come to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interrupted {
    pub phase: String,
    /// The number of its deploy lock.
    pub lock: Option<String>,
    pub release: Option<ReleaseName>,
}

/// Inputs of `smoke`.
#[derive(Debug, Clone)]
pub struct Smoke {
    pub environment: EnvironmentName,
    pub site: SiteAccess,
    pub health: HealthPolicy,
    /// Policy `front-end`.
    pub front_end: FrontEnd,
    /// Only where the site is asked through the server.
    pub ssh: Option<SshAccess>,
    pub run: RunIdentity,
}

/// Inputs of `audit`.
#[derive(Debug, Clone)]
pub struct Audit {
    pub environment: EnvironmentName,
    pub github: GithubAccess,
    /// The server and its site; `None` where nothing says how to reach them.
    pub target: Option<Target>,
    /// The commit whose checks are looked at; `None` where neither an input nor the event names one.
    pub commit: Option<CommitSha>,
    /// Where the repository is checked out.
    pub workspace: PathBuf,
    pub workflows: AuditedWorkflows,
    /// The name of the artifact that holds the bundle, with `{sha}` in it.
    pub artifact_name: String,
    /// The checks without which nothing may come to `main`.
    pub required_checks: Vec<String>,
    /// The branch that production is released from, and the one that is worked on.
    pub main: String,
    pub develop: String,
    pub run: RunIdentity,
}

/// File names or names.
#[derive(Debug, Clone)]
pub struct AuditedWorkflows {
    pub build: String,
    pub staging: String,
    pub production: String,
}

/// Inputs of `fix`: one action, and what it needs.
#[derive(Debug, Clone, Serialize)]
pub struct Fix {
    pub name: FixName,
    pub environment: EnvironmentName,
    /// Not bound, like those of [`Target`].
    #[serde(skip)]
    pub approval: Approval,
    pub phrase: String,
    pub needs_digest: bool,
    #[serde(skip)]
    pub plan_only: bool,
    /// Where the fix is one of GitHub's.
    pub github: Option<GithubAccess>,
    /// The server and its site, where the fix needs them.
    pub target: Option<Target>,
    /// Where the repository is checked out, if it is. Not bound: it is the runner's.
    #[serde(skip)]
    pub workspace: PathBuf,
    pub build_workflow: String,
    pub staging_workflow: String,
    /// With `{sha}` in it.
    pub artifact_name: String,
    pub wait_attempts: u32,
    pub wait_interval: Duration,
    pub required_checks: Vec<String>,
    pub main: String,
    pub develop: String,
    /// The repository secret that holds the health token.
    pub secret: String,
    #[serde(skip)]
    pub run: RunIdentity,
}

#[derive(Debug, Clone, Serialize)]
pub struct GithubAccess {
    /// `https://api.github.com`, or a GHES base with path; no trailing slash.
    pub api_url: Url,
    /// `ca-certificates`: trusted besides the public roots.
    pub roots: Roots,
    #[serde(skip)]
    pub token: Secret,
    pub owner: String,
    pub repository: String,
}

/// What a build must be of to be released from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The commit must be reachable from one of these branches.
    pub branches: Vec<String>,
    /// Branches whose builds count, beside those: production releases what was built for staging.
    pub built_on: Vec<String>,
    /// Patterns of tags whose builds count. `*` stands for any text without a slash.
    pub tags: Vec<String>,
    /// Whether GitHub must have an attestation of the build's provenance.
    pub attestation: bool,
}

/// Where the bundle comes from.
#[derive(Debug, Clone, Serialize)]
pub struct BuildSource {
    /// File name or name of the workflow that builds.
    pub workflow: String,
    /// The exact run, when the event or an input names it. Not bound: the run that was found is, however it was named.
    #[serde(skip)]
    pub run_id: Option<u64>,
    /// The exact artifact of that run, where it is known: the one that staging's release was made of. Not bound, as the run is not.
    #[serde(skip)]
    pub artifact_id: Option<u64>,
    /// `{sha}` in it stands for the commit.
    pub artifact_name: String,
    pub wait_attempts: u32,
    pub wait_interval: Duration,
    pub provenance: Provenance,
}

impl BuildSource {
    /// The name of the artifact that holds the bundle of this commit.
    pub fn artifact_of(&self, commit: &CommitSha) -> String {
        self.artifact_name.replace("{sha}", commit.as_str())
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct SshAccess {
    pub host: String,
    pub port: u16,
    pub user: String,
    #[serde(skip)]
    pub key: PrivateKey,
    pub known_hosts: KnownHosts,
}

#[derive(Debug, Clone, Serialize)]
pub struct SiteAccess {
    pub url: Url,
    pub route: Route,
    /// `ca-certificates`: trusted besides the public roots.
    pub roots: Roots,
}

/// How requests reach the site. Host and server name are always the URL's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Route {
    Direct,
    /// `health-address`: connect here.
    Address(SocketAddr),
    /// `health-via: tunnel`: through the SSH connection, to `health-address` as the server sees it, or else to the URL's
    /// port on the server's own loopback.
    Tunnel {
        host: String,
        port: u16,
    },
}

/// What a health path must answer, where the policy or the path says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthAnswer {
    /// This status, whatever the body is. The framework's own route (`/up`) answers 200 in HTML or JSON, and 500 if the app has problems.
    Status(u16),
    /// Status 200 and a JSON object with these values.
    Fields(BTreeMap<String, Value>),
    /// Status 200 and a body that contains this text.
    Contains(String),
}

/// As the end of "must answer".
impl fmt::Display for HealthAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Contains(text) => write!(f, "200 with the text `{text}`"),
            Self::Fields(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("`{name}`: {value}")).collect();
                write!(f, "200 with the JSON fields {}", fields.join(", "))
            }
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct HealthPolicy {
    #[serde(skip)]
    pub token: Option<Secret>,
    /// Each begins with a slash.
    pub paths: Vec<String>,
    /// What a path must answer where that is not a healthy body, by path.
    pub answers: BTreeMap<String, HealthAnswer>,
    /// Policy `home-path`: the page that visitors begin at; `None` where it is not asked.
    pub home: Option<String>,
    /// What the `status` field of a JSON answer, or a whole plain answer, may say. Lower case.
    pub expect: Vec<String>,
    pub attempts: u32,
    pub interval: Duration,
    pub grace: Grace,
    /// Policy `repair: true`: a red baseline does not refuse the release (F73).
    pub repair: bool,
    /// Policy `max-downtime`: so long the site may fail requests between the switch and the confirmation.
    pub max_downtime: Duration,
    /// Policy `sample-rate`: requests a second by which that is measured.
    pub sample_rate: u32,
    /// Policy `warm-up`: pages that the new release is asked for before the switch, and after the reload.
    pub warm_up: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ServerPolicy {
    /// The PHP command-line binary on the server: a name or an absolute path.
    pub php: String,
    /// `None` is `auto`: find the service that really serves the site.
    pub fpm_service: Option<String>,
    pub migrate: bool,
    pub keep_releases: usize,
    pub keep_backups: usize,
    /// Where off-site backups go; `None` if off.
    pub backup_copy: Option<BackupCopy>,
    pub confirm_within: Duration,
    /// So long a run waits for another one that holds the deploy lock.
    pub lock_wait: Duration,
    /// Whether the backup takes nginx's configuration, too.
    pub backup_nginx: bool,
    /// Folders under `shared/` that are linked into every release at the same relative place.
    pub shared: Vec<String>,
    pub delivery: Delivery,
    pub hooks: Hooks,
}

/// Input `grace-period`: what is waited for between the reload and the health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grace {
    Wait(Duration),
    /// So many samples in a row from the new release, and no longer than this.
    UntilStable {
        samples: u64,
        within: Duration,
    },
}

impl Grace {
    pub fn longest(self) -> Duration {
        match self {
            Self::Wait(time) | Self::UntilStable { within: time, .. } => time,
        }
    }
}

/// What of a bundle is sent to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// What the live release lacks; the server copies the rest from there.
    #[default]
    Auto,
    /// All of it.
    Full,
}

/// A copy of each backup on another disk or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupCopy {
    /// As the server sees it: a mounted disk or network folder.
    pub dir: RemotePath,
    /// Whether nothing is released without it.
    pub required: bool,
    /// How long copying and reading back may take.
    pub within: Duration,
}

/// Which run of which workflow this is, as far as it is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunIdentity {
    /// `https://github.com/acme/shop/actions/runs/4711`
    pub url: Option<String>,
    pub id: Option<u64>,
    pub attempt: Option<u64>,
    pub actor: Option<String>,
    /// Every account that counts as the run's author: the one that started it, and those that started it again.
    pub authors: Vec<String>,
}
