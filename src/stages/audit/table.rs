//! `audit`: checks GitHub and the server. GO or NO-GO; changes nothing.

use super::Audit;

use crate::{
    engine::{Table, step::observe},
    stages::audit,
};

/// Every row runs even after a failed one, so that one run names every finding.
#[rustfmt::skip]
pub fn table() -> Table<Audit, ()> {
    Table {
        survey: vec![
            observe("scope",             "Resolve what to audit",                       audit::scope)         .run_on().into(),
            observe("branch-protection", "Check the branch protection",                 audit::branches)      .run_on().into(),
            observe("listed-workflows",  "Check the listed workflows",                  audit::workflows)     .run_on().into(),
            observe("last-runs",         "Check the last workflow runs",                audit::runs)          .run_on().into(),
            observe("newest-build",      "Check the artifacts of the newest build",     audit::builds)        .run_on().into(),
            observe("branches-agree",    "Compare the release workflows of both branches", audit::branches_agree).run_on().into(),
            observe("gate-integrity",    "Check that the gates can fail",               audit::integrity)     .run_on().into(),
            observe("reach-server",      "Connect to the server",                       audit::reach)         .run_on().into(),
            observe("survey-server",     "Survey the server",                           audit::look)          .run_on().into(),
            observe("live-release",      "Check the live release and the disk",         audit::live)          .run_on().into(),
            observe("site-health",       "Check the site with and without the token",   audit::health)        .run_on().into(),
            observe("health-token",      "Compare the health token with the server's",  audit::token)         .run_on().into(),
        ],
        apply: Vec::new(),
    }
}
