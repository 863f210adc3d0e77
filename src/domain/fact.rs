//! The named values that steps tell and readers use: one vocabulary for both sides.
//!
//! A fact travels as JSON inside an event, under one of the keys below. Steps build the structs, reports read them back.

use serde::{Deserialize, Serialize};

use super::{CommitSha, ReleaseName, Sha256Digest};

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
    /// [`ReleaseName`](super::ReleaseName): the release this run makes, or goes back to
    pub const RELEASE: &str = "release";
    /// `String`: what was live before, as the link's last part says
    pub const PREVIOUS_RELEASE: &str = "previous-release";
    /// [`BundleFact`](super::BundleFact)
    pub const BUNDLE: &str = "bundle";
    /// [`GateReport`](crate::domain::gate::GateReport)
    pub const GATES: &str = "gates";
    /// [`HealthReport`](super::HealthReport): before the release
    pub const BASELINE: &str = "baseline";
    /// [`HealthReport`](super::HealthReport): of the new release
    pub const HEALTH: &str = "health";
    /// [`HealthReport`](super::HealthReport): of the old release, after a rollback
    pub const HEALTH_AFTER_ROLLBACK: &str = "health-after-rollback";
    /// [`Score`](super::Score)
    pub const ASSETS: &str = "assets";
    /// [`BackupFact`](super::BackupFact)
    pub const BACKUP: &str = "backup";
    /// [`Migrations`](super::Migrations)
    pub const MIGRATIONS: &str = "migrations";
    /// [`Migrations`](super::Migrations): that ran since the release that is gone back to, and stay
    pub const MIGRATIONS_STAY: &str = "migrations-stay";
    /// [`Sha256Digest`](super::Sha256Digest) of the release's tree on the server
    pub const TREE: &str = "tree";
    /// [`Services`](super::Services)
    pub const SERVICES: &str = "services";
    /// [`Switch`](super::Switch)
    pub const SWITCH: &str = "switch";
    /// [`Sha256Digest`](super::Sha256Digest)
    pub const PLAN_DIGEST: &str = "plan-digest";
    /// `bool`: whether the rows after the seam were allowed to run
    pub const EXECUTED: &str = "executed";
    /// `String`: path of the ledger on the server
    pub const LEDGER: &str = "ledger";
    /// [`Sha256Digest`](super::Sha256Digest) of the line that this run wrote into the ledger
    pub const LEDGER_HEAD: &str = "ledger-head";
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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFact {
    pub id: u64,
    pub name: String,
    /// Bytes of the zip.
    pub size: u64,
    pub digest: Option<Sha256Digest>,
    pub expires_at: Option<String>,
}

/// The bundle, and where its digest was seen to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleFact {
    /// Path on the runner, relative to the workspace where it is inside; file name otherwise.
    pub file: String,
    /// Bytes.
    pub size: u64,
    pub sha256: Sha256Digest,
    pub commit: CommitSha,
    /// Number of files in it.
    pub files: usize,
    /// "built here", "the .sha256 beside it", "GitHub's artifact digest", "the server".
    pub verified_at: Vec<String>,
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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub path: String,
    pub status: Option<u16>,
    /// `None` when it is healthy.
    pub problem: Option<String>,
    /// The release or commit that the answer named, where the app names one.
    pub answered_as: Option<String>,
    pub took_ms: u64,
}

impl HealthReport {
    pub fn healthy(&self) -> bool {
        !self.endpoints.is_empty() && self.endpoints.iter().all(|endpoint| endpoint.problem.is_none())
    }

    pub fn score(&self) -> Score {
        Score {
            passed: self.endpoints.iter().filter(|endpoint| endpoint.problem.is_none()).count(),
            total: self.endpoints.len(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFact {
    /// Folder on the server.
    pub path: String,
    pub files: Vec<BackupFile>,
    /// What was not backed up, and why that is right ("nothing was live").
    pub skipped: Vec<String>,
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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrations {
    pub ran: Vec<String>,
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
