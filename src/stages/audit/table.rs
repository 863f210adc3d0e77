//! `audit`: how do GitHub and the server stand? GO or NO-GO, and nothing changed.

use super::Audit;

use crate::{
    engine::{Table, step::observe},
    stages::audit,
};

/// Every row runs on when one failed: everything that is not as it should be is named in one run.
#[rustfmt::skip]
pub fn table() -> Table<Audit, ()> {
    Table {
        survey: vec![
            observe("scope",             "Find out what to audit",                      audit::scope)         .run_on().into(),
            observe("branch-protection", "How the branches are protected",              audit::branches)      .run_on().into(),
            observe("listed-workflows",  "Which workflows GitHub lists",                audit::workflows)     .run_on().into(),
            observe("last-runs",         "How the last runs ended",                     audit::runs)          .run_on().into(),
            observe("newest-build",      "What the newest build left",                  audit::builds)        .run_on().into(),
            observe("branches-agree",    "Whether both branches build alike",           audit::branches_agree).run_on().into(),
            observe("gate-integrity",    "Whether the gates can fail",                  audit::integrity)     .run_on().into(),
            observe("reach-server",      "Reach the server",                            audit::reach)         .run_on().into(),
            observe("survey-server",     "Look at the server",                          audit::look)          .run_on().into(),
            observe("live-release",      "Look at what is live, and at the disk",       audit::live)          .run_on().into(),
            observe("site-health",       "Ask the site, with the token and without it", audit::health)        .run_on().into(),
            observe("health-token",      "Compare the health token of both sides",      audit::token)         .run_on().into(),
        ],
        release: Vec::new(),
    }
}
