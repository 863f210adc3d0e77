//! `recover`: completes the rollback of an interrupted run. The post step of every run does the same.

use super::Recover;
use super::Survey;

use crate::{
    engine::{
        Table,
        step::{change, check, cleanup, hold, observe, undo},
    },
    server::remote::{by_hand, previewed},
    stages::recover,
};

/// The failure of the interrupted run becomes this run's: its release is rolled back, and this run ends as that run would have.
#[rustfmt::skip]
pub fn table() -> Table<Survey, Recover> {
    Table {
        survey: vec![
            observe("reach-server",  "Connect to the server",                  recover::reach).into(),
            observe("survey-server", "Find running deployments and leftovers", recover::look).into(),
        ],
        apply: vec![
            hold  ("deploy-lock",        "Take the deploy lock",             recover::acquire, cleanup("free it, or keep it for the next run", recover::release)).into(),
            change("finish-unconfirmed", "Roll back an unconfirmed release", previewed(recover::confirmed, recover::preview),
                                                                                               undo("roll it back, remove the leftovers, check the site's health", by_hand(recover::roll_back, recover::back_by_hand))).activates().into(),
            check ("health",             "Check that the site is healthy",   recover::well).into(),
        ],
    }
}
