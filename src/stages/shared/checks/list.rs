//! What plan, release and pre-flight ask of bundle and server before anything changes: one list, so that none of them lets pass what another
//! one refuses.

use crate::{
    engine::step::{Entry, observe},
    steps::{context::Survey, preflight},
};

/// They need what the rows before them found: the bundle, and the survey of the server. What is missing there they skip.
#[rustfmt::skip]
pub(super) fn checks() -> Vec<Entry<Survey>> {
    vec![
        observe("bundle-gates",   "Nine gates, in the bundle",                   preflight::gates)         .run_on().into(),
        observe("php",            "Compare PHP of command line, pool and bundle", preflight::php)          .run_on().into(),
        observe("env-file",       "Look at .env and at the link to it",          preflight::env_file)      .run_on().into(),
        observe("shared-folders", "See who may write in the shared folders",     preflight::shared_folders).run_on().into(),
        observe("room",           "See whether release and backup have room",    preflight::room)          .run_on().into(),
    ]
}
