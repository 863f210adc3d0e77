//! What plan, release and pre-flight ask of bundle and server before anything changes: one list, so that none of them lets pass what another
//! one refuses.

use crate::{
    context::Survey,
    engine::step::{Entry, observe},
    stages::shared::checks,
};

/// They need what the rows before them found: the bundle, and the survey of the server. What is missing there they skip.
#[rustfmt::skip]
pub(crate) fn checks() -> Vec<Entry<Survey>> {
    vec![
        observe("bundle-gates",   "Check the nine gates in the bundle",           checks::gates)         .run_on().into(),
        observe("php",            "Compare PHP of command line, pool and bundle", checks::php)          .run_on().into(),
        observe("env-file",       "Check .env and the link to it",                checks::env_file)      .run_on().into(),
        observe("shared-folders", "Check who can write in the shared folders",    checks::shared_folders).run_on().into(),
        observe("room",           "Check the disk space for release and backup",  checks::room)          .run_on().into(),
    ]
}
