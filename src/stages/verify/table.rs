//! `verify`: whether a server still has what was confirmed. It only reads, and can run on a schedule.

use crate::{
    context::Survey,
    engine::{Table, step::observe},
    server::survey,
    stages::verify,
};

/// Every row runs even after a failed one, so that one run names everything that differs.
#[rustfmt::skip]
pub fn table() -> Table<Survey, ()> {
    Table {
        survey: vec![
            observe("reach-server",   "Connect to the server",                                   survey::reach_site).run_on().into(),
            observe("survey-server",  "Read which release is live",                              verify::place)     .run_on().into(),
            observe("ledger-chain",   "Check the chain of the ledger",                           verify::chain)     .run_on().into(),
            observe("live-tree",      "Compare the live release's files with what was confirmed", verify::tree)     .run_on().into(),
            observe("backup-digests", "Compare the backups with their digests",                  verify::backups)   .run_on().into(),
            observe("site-health",    "Check that the site is healthy and serves this release",  verify::site)      .run_on().into(),
        ],
        apply: Vec::new(),
    }
}
