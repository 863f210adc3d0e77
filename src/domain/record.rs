//! The named values that steps record and readers use: one vocabulary for both sides.
//!
//! A record travels as JSON inside an event, under one of the keys below. Steps build the structs, reports read them back.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use super::{
    CommitSha, GitTree, ReleaseName, Sha256Digest, StepId, format,
    migration::{Class, Measured},
};

/// The keys. What type stands under each is said beside it.
pub mod key {
    /// [`CommitSha`](super::CommitSha)
    pub const SHA: &str = "sha";
    /// `String`: the environment's name
    pub const ENVIRONMENT: &str = "environment";
    /// `String`: the site's URL
    pub const URL: &str = "url";
    /// `String`: `user@host:port`
    pub const SERVER: &str = "server";
    /// [`BuildRun`](super::BuildRun)
    pub const BUILD_RUN: &str = "build-run";
    /// [`ArtifactFact`](super::ArtifactFact)
    pub const ARTIFACT: &str = "artifact";
    /// `String`: the name under which the workflow shall upload a bundle that was built here
    pub const ARTIFACT_NAME: &str = "artifact-name";
    /// [`ReleaseName`](super::ReleaseName): the release this run makes, or rolls back to
    pub const RELEASE: &str = "release";
    /// `String`: what was live before, as the link's last part says
    pub const PREVIOUS_RELEASE: &str = "previous-release";
    /// `String`: what was live when the run looked, where that is unconfirmed and is rolled back first
    pub const LIVE_UNCONFIRMED: &str = "live-unconfirmed";
    /// [`BundleFact`](super::BundleFact)
    pub const BUNDLE: &str = "bundle";
    /// [`GateReport`](crate::domain::gate::GateReport)
    pub const GATES: &str = "gates";
    /// [`HealthReport`](super::HealthReport): before the release
    pub const BASELINE: &str = "baseline";
    /// [`HealthReport`](super::HealthReport): of the new release, before the switch
    pub const CANARY: &str = "canary";
    /// [`HealthReport`](super::HealthReport): of the new release
    pub const HEALTH: &str = "health";
    /// [`HealthReport`](super::HealthReport): of the old release, after a rollback
    pub const HEALTH_AFTER_ROLLBACK: &str = "health-after-rollback";
    /// [`Score`](super::Score)
    pub const ASSETS: &str = "assets";
    /// [`BackupFact`](super::BackupFact)
    pub const BACKUP: &str = "backup";
    /// [`Outlook`](super::Outlook)
    pub const CHANGE_PREVIEW: &str = "outlook";
    /// [`Staging`](super::Staging)
    pub const STAGING: &str = "staging";
    /// [`Migrations`](super::Migrations)
    pub const MIGRATIONS: &str = "migrations";
    /// [`SchemaVerdict`](crate::domain::schema::SchemaVerdict): what the live release makes of the schema that they left
    pub const SCHEMA: &str = "schema-verdict";
    /// [`Migrations`](super::Migrations): that ran since the target of a rollback, and stay
    pub const MIGRATIONS_STAY: &str = "migrations-stay";
    /// [`Sha256Digest`](super::Sha256Digest) of the release's tree on the server
    pub const TREE: &str = "tree";
    /// [`Services`](super::Services)
    pub const SERVICES: &str = "services";
    /// [`Switch`](super::Switch)
    pub const SWITCH: &str = "switch";
    /// [`Receipt`](super::Receipt)
    pub const RECEIPT: &str = "zero-downtime";
    /// [`Identity`](super::Identity)
    pub const IDENTITY: &str = "identity";
    /// [`Sha256Digest`](super::Sha256Digest)
    pub const PLAN_DIGEST: &str = "plan-digest";
    /// `Vec` of [`Finding`](super::Finding): what a pre-flight looked at, so far
    pub const FINDINGS: &str = "findings";
    /// `Vec` of [`AuditFinding`](crate::domain::audit::AuditFinding): what an audit looked at, so far
    pub const AUDIT: &str = "audit";
    /// [`FixFact`](crate::domain::fix::FixFact): what a fix found, wants and did, so far
    pub const FIX: &str = "fix";
    /// `Vec` of [`Diagnosis`](super::Diagnosis): why the newest failed runs of the staging workflow failed
    pub const DIAGNOSES: &str = "diagnoses";
    /// `bool`: whether the rows after the approval were allowed to run
    pub const EXECUTED: &str = "executed";
    /// `String`: path of the ledger on the server
    pub const LEDGER: &str = "ledger";
    /// [`Sha256Digest`](super::Sha256Digest) of the line that this run wrote into the ledger
    pub const LEDGER_HEAD: &str = "ledger-head";
    /// `String`: the number of the run's deploy lock, for the post step of the same run
    pub const LOCK: &str = "lock";
}

/// The workflow run that built what is released (F3: the tuple is printed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRun {
    pub id: u64,
    pub attempt: u64,
    pub workflow: String,
    pub url: String,
    pub event: String,
    pub branch: Option<String>,
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    pub id: u64,
    pub name: String,
    /// Bytes of the zip.
    pub size: u64,
    pub digest: Option<Sha256Digest>,
    pub expires_at: Option<String>,
}

/// The bundle, and where its digest was seen to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRecord {
    /// Path on the runner, relative to the workspace where it is inside; file name otherwise.
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256Digest,
    /// Of the bundle as it is sent to the server, where that is not the same: it was rewritten in the canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_sha256: Option<Sha256Digest>,
    pub commit: CommitSha,
    /// Number of files in it.
    pub files: usize,
    /// "built here", "the .sha256 beside it", "GitHub's artifact digest", "the server", [`FILE_BY_FILE`].
    pub verified_at: Vec<String>,
    /// What was sent to the server, where it was a part of the bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Delivered>,
}

/// Where a bundle was verified that the server completed itself.
pub const FILE_BY_FILE: &str = "the server, file by file";

/// A bundle of which only a part was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Bytes that were sent.
    pub bytes: u64,
    /// Files that were sent.
    pub files: usize,
    /// Files that the server copied from the live release.
    pub copied: usize,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub passed: usize,
    pub total: usize,
}

/// One round of asking the site.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthReport {
    pub attempt: u32,
    pub of: u32,
    pub endpoints: Vec<Endpoint>,
    /// The one-time file that names the release, where it was asked (F85). It is no endpoint of the app, so it does not score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Endpoint>,
    /// The page that visitors begin at, where it was asked. It is no health endpoint, so it does not score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Endpoint>,
    /// When this round was made, milliseconds since 1970 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_ms: Option<i64>,
    /// The rounds before this one, oldest first; of very many the newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<HealthReport>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub path: String,
    pub status: Option<u16>,
    /// `None` when it is healthy.
    pub problem: Option<String>,
    /// What to do about that problem, where its cause is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The request did not reach the site: the problem says nothing about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_asked: bool,
    /// From where it was asked, and why, where that is not the way that the inputs name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vantage: Option<String>,
    /// The release or commit that the answer named, where the app names one.
    pub answered_as: Option<String>,
    pub took_ms: u64,
}

/// What a round says of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteStatus {
    Healthy,
    /// At least one answer, or a silence of the site itself, says so.
    Unhealthy,
    /// Requests did not reach the site, and what did was healthy.
    NotAsked,
}

impl HealthReport {
    pub fn healthy(&self) -> bool {
        !self.endpoints.is_empty() && self.asked().all(|endpoint| endpoint.problem.is_none())
    }

    pub fn standing(&self) -> SiteStatus {
        if self.healthy() {
            SiteStatus::Healthy
        } else if !self.endpoints.is_empty()
            && self.asked().all(|endpoint| endpoint.problem.is_none() || endpoint.not_asked)
        {
            SiteStatus::NotAsked
        } else {
            SiteStatus::Unhealthy
        }
    }

    /// This round, with the one before it and all that it remembers among the earlier ones.
    #[must_use]
    pub fn after(mut self, before: Self) -> Self {
        /// A policy may allow a thousand attempts, more than a report needs.
        const KEPT: usize = 100;
        if !before.endpoints.is_empty() {
            let mut before = before;
            self.earlier = std::mem::take(&mut before.earlier);
            self.earlier.push(before);
            let surplus = self.earlier.len().saturating_sub(KEPT);
            self.earlier.drain(..surplus);
        }
        self
    }

    /// Everything that was asked: the endpoints, the page that visitors begin at, and the file that names the release.
    pub fn asked(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().chain(&self.home).chain(&self.identity)
    }

    pub fn score(&self) -> Score {
        Score {
            passed: self.endpoints.iter().filter(|endpoint| endpoint.problem.is_none()).count(),
            total: self.endpoints.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRecord {
    /// Folder on the server.
    pub path: String,
    pub files: Vec<BackupFile>,
    /// What was not backed up, and why that is right ("nothing was live").
    pub skipped: Vec<String>,
    /// What became of its copy on another disk or machine; `None` where that row was not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// What to type on the server to have the database of this backup again, line by line; empty where it has no dump.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<String>,
}

/// The copy of a backup, apart from the backup itself (F61).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    pub status: CopyStatus,
    /// Where it lies, as the server sees it.
    pub path: Option<String>,
    /// Why there is none.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyStatus {
    /// Every file was read back from there, and was what was backed up.
    Verified,
    /// It was asked for, and there is none that was verified.
    NotThere,
    /// Nothing was backed up, so there is nothing to copy.
    Nothing,
    NotAskedFor,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    pub name: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256Digest,
    /// What the check counted: entries of an archive, tables of a dump.
    pub counted: String,
}

/// What a release would change, as far as that is known before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePreview {
    pub files: Option<FileDelta>,
    /// In the order in which they would run.
    pub migrations: Vec<PendingMigration>,
    /// Why the list is unknown, where it is: it was not read, or it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations_unknown: Option<String>,
    /// Whether another environment was asked what its runs of these migrations did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub migrations_measured: bool,
    /// `None` before the first release.
    pub backup: Option<BackupEstimate>,
    /// Bytes free on the server.
    pub free_bytes: u64,
    /// The server's time to hear of a healthy release.
    pub confirm_within_seconds: u64,
    /// Where the bundle has each health path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthRoute>,
}

/// A health path, and the file of the bundle that it is in, or whose source names it; `None` where no file does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRoute {
    pub path: String,
    pub file: Option<String>,
}

/// New release and live one, file by file. Folders that are linked from `shared/` are in neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDelta {
    pub added: usize,
    pub changed: usize,
    /// `None` when the live release does not say what it was made of.
    pub removed: Option<usize>,
    /// Paths under `public/` that visitors can ask for now and not afterwards.
    pub public_gone: Vec<String>,
}

impl FileDelta {
    pub fn describe(&self) -> String {
        let gone = self.public_gone.len();
        let vanish = match gone {
            0 => "no public file is removed".to_owned(),
            1 => "1 public file is removed".to_owned(),
            _ => format!("{gone} public files are removed"),
        };
        match self.removed {
            Some(removed) => {
                format!("files: {} new, {} changed, {removed} removed; {vanish}", self.added, self.changed)
            }
            None => format!("files: the live release has no manifest to compare with; {vanish}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingMigration {
    pub name: String,
    /// Its file in the bundle.
    pub file: String,
    /// Of that file.
    pub sha256: Option<Sha256Digest>,
    /// The worst of what its source calls.
    pub class: Class,
    /// What its source calls, in plain words.
    pub calls: Vec<String>,
    /// Database connections that it names besides the default one.
    pub connections: Vec<String>,
    /// What the same file did where it ran already; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// Before compression, so that it errs on the safe side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEstimate {
    pub app_bytes: u64,
    /// `None` when the database could not be asked.
    pub database_bytes: Option<u64>,
}

/// What staging has shown of the commit that goes to production.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// The commit that staging confirmed: the one that is released.
    pub commit: CommitSha,
    /// The commit that production was asked for, where it is another one with the same tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_for: Option<SameTree>,
    /// The release that staging confirmed, where its ledger could be read.
    pub release: Option<ReleaseName>,
    pub bundle_sha256: Option<Sha256Digest>,
    /// When it was confirmed there: RFC 3339, UTC.
    pub since: Option<String>,
    /// Seconds since then, and how many the policy asks for.
    pub stable_seconds: Option<i64>,
    pub needed_seconds: u64,
    /// What migrations did on staging, by its whole ledger; `None` where that was not read. What of it counts stands at each pending migration.
    #[serde(skip)]
    pub measured: Option<Vec<Measured>>,
    /// What each place that was asked said.
    pub said: Vec<StagingSays>,
    /// What speaks against a release; empty for GO.
    pub against: Vec<String>,
}

/// A commit with the same files as the one that staging confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SameTree {
    pub commit: CommitSha,
    pub tree: GitTree,
    /// The release branch that it is on, and the one that the confirmed commit is on.
    pub branch: String,
    pub confirmed_on: String,
}

impl Staging {
    /// "main 426e23f7 has the tree of develop 3fa5abaa, which staging confirmed 3 h ago"; `None` where the same commit was asked for.
    pub fn equality(&self) -> Option<String> {
        let SameTree { commit, branch, confirmed_on, .. } = self.asked_for.as_ref()?;
        let ago = self.stable_seconds.map(|age| format!(" {} ago", format::age(age))).unwrap_or_default();
        Some(format!(
            "{branch} {} has the same tree as {confirmed_on} {}, which staging confirmed{ago}",
            commit.short(),
            self.commit.short()
        ))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagingSays {
    /// "the ledger on its server", "its site", "its workflow".
    pub place: String,
    pub text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrations {
    pub ran: Vec<String>,
    /// What each of them made the database do, as far as it was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
}

/// What serves the site, and how it is reloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    pub fpm: String,
    pub reload: Vec<String>,
    /// Seconds; 0 means that a reload cuts running requests.
    pub process_control_timeout: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    pub from: Option<String>,
    pub to: ReleaseName,
    /// How long the rename took on the server, in microseconds, if the server could measure it.
    pub took_us: Option<u64>,
}

/// One thing that was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The row that looked.
    pub step: StepId,
    /// What was looked at: "sudo -n nginx -t", "shared/storage".
    pub check: String,
    pub found: String,
    pub judgement: Judgement,
    /// The code of what is not as it should be, as docs/errors.md has it. Empty where all is well.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub code: Cow<'static, str>,
    /// What to type or change, where it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Why a run failed, as far as its log says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    pub run: u64,
    pub attempt: u64,
    pub url: String,
    /// The job that failed, and its step; `None` where GitHub does not say.
    pub job: Option<String>,
    pub step: Option<String>,
    /// The line that shows it, or the last error where no signature recognises it.
    pub line: Option<String>,
    /// The signature that recognised it; `None` where none did, or nothing could be read.
    pub signature: Option<String>,
    /// The failure class, such as `F35`.
    pub class: Option<String>,
    pub cause: String,
    pub to_do: String,
}

impl Diagnosis {
    /// In one line.
    pub fn describe(&self) -> String {
        let place = match (&self.job, &self.step) {
            (Some(job), Some(step)) => format!(", job {job}, step {step}"),
            (Some(job), None) => format!(", job {job}"),
            (None, _) => String::new(),
        };
        let class = self.class.as_deref().map(|class| format!(" ({class})")).unwrap_or_default();
        let line = self.line.as_deref().map(|line| format!(": {line}")).unwrap_or_default();
        format!("{} attempt {}{place}: {}{class}{line}", self.url, self.attempt, self.cause)
    }
}

/// What a finding means for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    Passed,
    /// To be looked at; a release can do with it.
    Warned,
    /// Blocks a release.
    Failed,
}

/// Which release answered, and how that was seen (F74, F85).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub release: ReleaseName,
    /// Whether at least one of the ways in `by` saw it. `false` does not mean that another release answers.
    pub proven: bool,
    /// "health answers", "one-time file"
    pub by: Vec<String>,
    /// So many answers in a row.
    pub in_a_row: u32,
    /// Why a way could not be gone.
    pub note: Option<String>,
}

/// What visitors met during the switch. Times count from the moment before the link was renamed; negative ones are
/// before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DowntimeReport {
    /// What was asked, in turn.
    pub paths: Vec<String>,
    /// Requests a second, as far as there was no reason for fewer.
    pub rate: u32,
    pub lasted_ms: u64,
    pub requests: u64,
    pub failures: u64,
    /// Requests that did not reach the site: neither well nor failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_asked: u64,
    /// Answers 429: the site limits how often it may be asked. Neither well nor failed.
    pub held_back: u64,
    /// The first of the failures.
    pub first_failures: Vec<FailedRequest>,
    /// The longest time from a request to the end of its answer.
    pub slowest_ms: u64,
    /// Stretches of failures.
    pub outages: u64,
    /// The time of all of them: from the first failed request of each to the next answer.
    pub downtime_ms: u64,
    /// The policy's max-downtime.
    pub budget_ms: u64,
    pub answered_by: AnsweredBy,
    /// When the new release answered for the first time.
    pub first_new_ms: Option<i64>,
    /// From the first answer of the new release to the last one of the old; `None` where one of them never answered by name.
    pub side_by_side_ms: Option<u64>,
    /// After a rollback: until the old release answered, and from then on no other.
    pub old_again_ms: Option<u64>,
    /// The first answer to a request that was sent after the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_after_switch: Option<FirstAnswer>,
    /// The first answer to a request that was sent after PHP-FPM was reloaded, which empties OPcache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_after_reload: Option<FirstAnswer>,
    /// What a reader must know of the measurement.
    pub remarks: Vec<String>,
}

/// How long a first answer took, beside those of the same page and the same kind of connection before the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstAnswer {
    /// Microseconds.
    pub took_us: u64,
    /// Microseconds.
    pub median_before_us: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Answers by the release that they named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredBy {
    pub old: u64,
    pub new: u64,
    pub unnamed: u64,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    pub at_ms: i64,
    pub path: String,
    /// `fresh` or `kept`
    pub connection: String,
    pub cause: String,
    pub took_ms: u64,
}

impl fmt::Display for FailedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, path, connection, cause, took_ms } = self;
        write!(f, "{path} at {at_ms:+} ms over a {connection} connection: {cause}, after {took_ms} ms")
    }
}
