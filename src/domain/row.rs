//! The names of rows that code beside their table asks for: a reader of events, or the ledger. `tests/it/outline.rs` holds that each of them stands
//! in a table.

use super::StepId;

/// The name of a row that stands in a table. Only this file makes one, so nothing can ask for a row that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId(&'static str);

impl RowId {
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl PartialEq<RowId> for StepId {
    fn eq(&self, other: &RowId) -> bool {
        self.as_str() == other.0
    }
}

macro_rules! rows {
    ($($name:ident = $id:literal,)+) => {
        $(pub const $name: RowId = RowId($id);)+

        pub const EVERY: &[RowId] = &[$($name),+];
    };
}

rows! {
    ARM_WATCHDOG = "arm-watchdog",
    ASSETS = "assets",
    BACKUP = "backup",
    BASELINE_HEALTH = "baseline-health",
    BOOT_RELEASE = "boot-release",
    BUILD_CACHES = "build-caches",
    BUNDLE_GATES = "bundle-gates",
    CONFIRM = "confirm",
    DEPLOY_LOCK = "deploy-lock",
    FETCH_BUNDLE = "fetch-bundle",
    FINISH_UNCONFIRMED = "finish-unconfirmed",
    HEALTH = "health",
    HEALTH_TOKEN = "health-token",
    LIVE = "live",
    LIVE_RELEASE = "live-release",
    NAME_RELEASE = "name-release",
    PRE_BUNDLE_GATES = "pre-bundle-gates",
    REACH_SERVER = "reach-server",
    READ_BUNDLE = "read-bundle",
    MIGRATE = "migrate",
    SAMPLE_SITE = "sample-site",
    SITE_HEALTH = "site-health",
    STAGING_EVIDENCE = "staging-evidence",
    SURVEY_SERVER = "survey-server",
    SWITCH = "switch",
    UNCHANGED_TREE = "unchanged-tree",
    UNPACK_RELEASE = "unpack-release",
    UPLOAD = "upload",
    VERIFY_BUNDLE = "verify-bundle",
    VERIFY_TREE = "verify-tree",
    ZERO_DOWNTIME = "zero-downtime",
}

/// Steps that are no rows: what comes before the table, and between its halves.
pub const INPUTS: &str = "inputs";
pub const PLAN: &str = "plan";
pub const START: &str = "start";
