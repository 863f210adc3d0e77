//! `preflight`: checks whether a release would succeed. GO or NO-GO; changes nothing.

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

/// Every row runs even after a failed one, so that one run names every blocker.
#[rustfmt::skip]
pub fn table() -> Table<Survey, ()> {
    let mut table = Table {
        survey: vec![
            observe("staging-evidence", "22 Check what staging has confirmed",              proof::staging)         .run_on().into(),
            observe("find-build",       "Find the build of this commit",                    artifact::find)             .run_on().into(),
            observe("read-bundle",      "Download and read the bundle",                     artifact::read)             .run_on().into(),
            observe("reach-server",     "Connect to the server",                            survey::reach)              .run_on().into(),
            observe("survey-server",    "Survey the server",                                preflight::place)           .run_on().into(),
            observe("privileges",       "Check that sudo allows each command of a release", checks::privileges)      .run_on().into(),
            observe("can-reload",       "Check that PHP-FPM and nginx can be reloaded",     checks::can_reload)   .run_on().into(),
            observe("nginx",            "Check nginx",                                      checks::nginx)           .run_on().into(),
            observe("reload",           "Check the effect of a reload",                     checks::reloads)         .run_on().into(),
        ],
        apply: Vec::new(),
    };
    table.survey.extend(checks(Vec::new()));
    table.survey.extend([
        observe("backups",         "Check the newest backup",         checks::backups)         .run_on().into(),
        observe("baseline-health", "Check the site's current health", probe::baseline)            .run_on().into(),
    ]);
    table
}
