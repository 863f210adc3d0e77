//! The holder of the deploy lock, and the interrupted run that held it before.

use crate::{
    domain::{
        ReleaseName,
        ledger::{Begun, Proof},
        migration::Migrated,
    },
    transport::shell::Answer,
};
use tokio::task::AbortHandle;

/// Who holds the lock, as the server's files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub owner: String,
    /// Whether it has not been renewed for a whole lease.
    pub gone: bool,
    /// Whether a stuck run has pinned it: it stays until it is removed by hand.
    pub kept: bool,
    /// The lock's fencing token, where it was asked for.
    pub number: Option<String>,
}

impl Holder {
    /// Out of an answer of `look.sh` or `holder.sh`; `None` if the lock is free.
    pub fn read(answer: &Answer) -> Option<Self> {
        answer.get("lock")?;
        let number = |key| answer.get(key).and_then(|text| text.trim().parse::<u64>().ok());
        let over =
            number("lock-renewed").zip(number("lock-lease")).map(|(renewed, lease)| renewed.saturating_add(lease));
        let kept = answer.get("lock-kept").is_some();
        let rolled_back = answer.get("lock-over").is_some_and(|over| Some(over) == answer.get("lock-nonce"));
        let gone = !kept && (rolled_back || number("time").zip(over).is_some_and(|(now, over)| now > over));
        let owner = answer.get("lock-owner").map(str::trim).filter(|owner| !owner.is_empty());
        let number = answer.get("lock-nonce").map(|number| number.trim().to_owned());
        Some(Self { owner: owner.unwrap_or(UNNAMED).to_owned(), gone, kept, number })
    }
}

pub(crate) const UNNAMED: &str = "an unnamed holder";

/// Renews the lock beside the rows, until it is dropped.
#[derive(Debug)]
pub struct Keeper(pub(super) AbortHandle);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The run whose lock was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterruptedRun {
    pub owner: String,
    /// The release that it was making.
    pub makes: Option<ReleaseName>,
    pub begun: Option<Begun>,
    /// It had confirmed its release: what the ledger's line says of that.
    pub confirmed: Option<Proof>,
    /// What became of its migration, if it had begun one.
    pub migrated: Option<Migrated>,
    /// It was not interrupted: it ended `stuck`, could not record that, and its lock was removed by hand.
    pub stuck: bool,
}
