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
pub mod fact;
pub mod failure;
pub mod fix;
pub mod gate;
pub mod key;
pub mod known_hosts;
pub mod layout;
pub mod ledger;
pub mod migration;
pub mod outcome;
pub mod path;
pub mod release;
pub mod roots;
pub mod secret;
pub mod stage;
pub mod standing;
pub mod state;
pub mod trigger;

pub use approval::Approval;
pub use command::RemoteCommand;
pub use commit::{CommitSha, GitTree};
pub use digest::{Measure, Sha256Digest};
pub use failure::{Failure, FailureKind};
pub use layout::{Layout, Move};
pub use outcome::{Outcome, StepId};
pub use path::RemotePath;
pub use release::ReleaseName;
pub use roots::Roots;
pub use secret::Secret;
pub use stage::{EnvironmentName, STAGING, Stage};

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
