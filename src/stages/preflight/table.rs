//! `preflight`: would a release go through? GO or NO-GO, and nothing changed.

use super::checks::checks;
pub use crate::steps::{context::Survey, preflight::settle};
use crate::{
    engine::{Table, step::observe},
    steps::{artifact, preflight, probe, server},
};

/// Every row runs on when one failed: everything that stands in the way is named in one run.
#[rustfmt::skip]
pub fn table() -> Table<Survey, ()> {
    let mut table = Table {
        survey: vec![
            observe("staging-evidence", "22 Ask staging what it has proven",           preflight::staging)         .run_on().into(),
            observe("find-build",      "Find the build of this commit",               artifact::find)             .run_on().into(),
            observe("read-bundle",     "Download the bundle and read it",             artifact::read)             .run_on().into(),
            observe("reach-server",    "Reach the server",                            server::reach)              .run_on().into(),
            observe("survey-server",   "Look at the server",                          preflight::place)           .run_on().into(),
            observe("privileges",      "Ask sudo for each command of a release",      preflight::privileges)      .run_on().into(),
            observe("can-reload",      "Check that PHP-FPM and nginx can be reloaded", preflight::can_reload)   .run_on().into(),
            observe("nginx",           "Look at nginx",                               preflight::nginx)           .run_on().into(),
            observe("reload",          "See what a reload would cost",                preflight::reloads)         .run_on().into(),
        ],
        release: Vec::new(),
    };
    table.survey.extend(checks());
    table.survey.extend([
        observe("backups",         "Look at the newest backup",                   preflight::backups)         .run_on().into(),
        observe("baseline-health", "Ask the site how it is now",                  probe::baseline)            .run_on().into(),
    ]);
    table
}
