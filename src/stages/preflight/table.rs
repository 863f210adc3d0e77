//! `preflight`: would a release go through? GO or NO-GO, and nothing changed.

use crate::context::Survey;
use crate::{
    bundle::artifact,
    engine::{Table, step::observe},
    server::{health::probe, survey},
    stages::{
        preflight::{self, proof},
        shared::checks::{self, list::checks},
    },
};

/// Every row runs on when one failed: everything that stands in the way is named in one run.
#[rustfmt::skip]
pub fn table() -> Table<Survey, ()> {
    let mut table = Table {
        survey: vec![
            observe("staging-evidence", "22 Ask staging what it has proven",           proof::staging)         .run_on().into(),
            observe("find-build",      "Find the build of this commit",               artifact::find)             .run_on().into(),
            observe("read-bundle",     "Download the bundle and read it",             artifact::read)             .run_on().into(),
            observe("reach-server",    "Reach the server",                            survey::reach)              .run_on().into(),
            observe("survey-server",   "Look at the server",                          preflight::place)           .run_on().into(),
            observe("privileges",      "Ask sudo for each command of a release",      checks::privileges)      .run_on().into(),
            observe("can-reload",      "Check that PHP-FPM and nginx can be reloaded", checks::can_reload)   .run_on().into(),
            observe("nginx",           "Look at nginx",                               checks::nginx)           .run_on().into(),
            observe("reload",          "See what a reload would cost",                checks::reloads)         .run_on().into(),
        ],
        release: Vec::new(),
    };
    table.survey.extend(checks());
    table.survey.extend([
        observe("backups",         "Look at the newest backup",                   checks::backups)         .run_on().into(),
        observe("baseline-health", "Ask the site how it is now",                  probe::baseline)            .run_on().into(),
    ]);
    table
}
