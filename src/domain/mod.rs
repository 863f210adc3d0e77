//! Names and values. Nothing here does I/O; a value that exists has been checked.
//!
//! Every type here is parsed where it enters the program (`FromStr`), keeps its fields private and prints
//! back what it was parsed from (`Display`), except [`Secret`], which never prints itself.

pub mod approval;
pub mod audit;
pub mod bundle;
pub mod command;
pub mod commit;
pub mod digest;
pub mod failure;
pub mod fix;
pub mod format;
pub mod gate;
pub mod glob;
pub mod hook;
pub mod key;
pub mod known_hosts;
pub mod layout;
pub mod ledger;
pub mod migration;
pub mod outcome;
pub mod path;
pub mod record;
pub mod release;
pub mod release_status;
pub mod roots;
pub mod route;
pub mod row;
pub mod schema;
pub mod secret;
pub mod stage;
pub mod state;
pub mod trigger;
pub mod warning;

pub use crate::domain::{
    approval::Approval,
    command::RemoteCommand,
    commit::{CommitSha, GitTree},
    digest::{Measure, Sha256Digest},
    failure::{Failure, FailureKind},
    layout::{Layout, Move},
    outcome::{Outcome, StepId},
    path::RemotePath,
    release::ReleaseName,
    roots::Roots,
    secret::Secret,
    stage::{EnvironmentName, STAGING, Stage},
    warning::Warning,
};

/// Implements `Deserialize` through `FromStr` and `Serialize` through `Display`, so that a value read from
/// a file has passed the same checks as one typed by a person.
macro_rules! text_serde {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(crate) use text_serde;
