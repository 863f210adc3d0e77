//! `recover`: bring to its end what an interrupted run left. The post step of every run does the same by itself.

use super::Recover;
use super::Survey;

use crate::{
    engine::{
        Table,
        step::{change, check, hold, observe, release, undo},
    },
    server::remote::{by_hand, previewed},
    stages::recover,
};

/// The dead run's failure is this run's: its release was not confirmed, so it is taken back, and the run ends as that run would have.
#[rustfmt::skip]
pub fn table() -> Table<Survey, Recover> {
    Table {
        survey: vec![
            observe("reach-server",    "Reach the server",                            recover::reach).into(),
            observe("survey-server",   "See who is at work and what was left",        recover::look).into(),
        ],
        release: vec![
            hold  ("deploy-lock",      "Take the deploy lock",                        recover::acquire,        release("free it, unless stuck", recover::release)).into(),
            change("finish-unconfirmed", "See that every release was confirmed",      previewed(recover::confirmed, recover::preview),
                                                                                                               undo("go back from it, remove what was left, ask the site", by_hand(recover::go_back, recover::back_by_hand))).pivot().into(),
            check ("health",           "The site answers, healthy",                   recover::well).into(),
        ],
    }
}
