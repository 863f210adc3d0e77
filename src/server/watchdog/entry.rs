//! What an armed watchdog knows of its release.

use crate::{
    domain::{
        CommitSha, Layout, ReleaseName, Sha256Digest, ledger::Attempt, migration::Measured, schema::SchemaVerdict,
    },
    transport::shell::Answer,
};
use serde::{Deserialize, Serialize};

/// The watchdog's entry. People read the file, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub version: u32,
    /// Whether it is a new release or the target of a rollback.
    #[serde(default)]
    pub attempt: Attempt,
    pub environment: String,
    pub release: ReleaseName,
    pub sha: CommitSha,
    pub bundle_sha256: Option<Sha256Digest>,
    /// What `current` says while the release is live.
    pub armed: String,
    /// What it said before; `None` before the first release.
    pub before: Option<String>,
    /// Seconds from arming to the deadline.
    pub within: u64,
    /// The run that armed it.
    pub run: Option<String>,
    /// What that run migrated, for the ledger; `None` where it is not known.
    #[serde(default)]
    pub migrations: Option<Vec<String>>,
    #[serde(default)]
    pub measured: Vec<Measured>,
    /// What the release in `before` made of the new schema, for the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaVerdict>,
    pub reload: Vec<String>,
    /// Seconds since 1970 by the server's clock. The last field, because the server puts it in.
    pub deadline: i64,
}

/// An entry whose release was neither confirmed nor rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub release: ReleaseName,
    /// Why it cannot be read, else.
    pub entry: Result<Entry, String>,
}

impl Pending {
    /// Every entry in an answer of `look.sh` or `guards.sh`, the newest first: that is the order in which they are rolled back.
    pub fn all(answer: &Answer) -> Vec<Self> {
        let mut found: Vec<Self> = answer.all("guard").filter_map(Self::read).collect();
        found.sort_by(|one, other| other.release.cmp(&one.release));
        found
    }

    pub(crate) fn read(record: &str) -> Option<Self> {
        let (folder, text) = record.split_once('\n').unwrap_or((record, ""));
        // A folder whose name does not parse was not made by this action.
        let release: ReleaseName = folder.rsplit_once('.')?.0.parse().ok()?;
        let entry = serde_json::from_str(text).map_err(|error| error.to_string()).and_then(|entry: Entry| {
            let own = entry.version == 1 && entry.release == release && entry.armed == link_to(&release);
            let before = entry.before.as_deref().is_none_or(|before| before != entry.armed && !before.contains('\n'));
            if own && before { Ok(entry) } else { Err("its content is not what a run writes there".to_owned()) }
        });
        Some(Self { release, entry })
    }
}

/// What `current` will point to once these releases have been rolled back.
pub fn once_back(pending: &[Pending], current: Option<&str>) -> Option<String> {
    let entries = pending.iter().filter_map(|guard| guard.entry.as_ref().ok());
    entries.fold(current.map(str::to_owned), |current, entry| {
        if current.as_deref() == Some(&entry.armed) { entry.before.clone() } else { current }
    })
}

/// Where the link of a release points: relative, so that the whole base can be moved.
pub fn link_to(release: &ReleaseName) -> String {
    format!("releases/{release}")
}

/// Where a link leads: it may be relative to the base.
pub fn tree(layout: &Layout, link: &str) -> String {
    if link.starts_with('/') { link.to_owned() } else { format!("{}/{link}", layout.base()) }
}
