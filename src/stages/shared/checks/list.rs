//! What plan, release and pre-flight ask of bundle and server before anything changes: one list, so that none of them lets pass what another
//! one refuses.

use crate::{
    context::Survey,
    engine::step::{Entry, Row, lanes, observe},
    stages::shared::checks,
};

/// They need what the rows before them found: the bundle, and the survey of the server. What is missing there they skip. `beside` are lanes of
/// rows that need no more than that.
#[rustfmt::skip]
pub(crate) fn checks(mut beside: Vec<Vec<Row<Survey>>>) -> Vec<Entry<Survey>> {
    beside.extend([
        vec![observe("env-file",       "Check .env and the link to it",              checks::env_file)      .run_on()],
        vec![observe("shared-folders", "Check who can write in the shared folders",  checks::shared_folders).run_on()],
    ]);
    vec![
        observe("bundle-gates",   "Check the nine gates in the bundle",           checks::gates)         .run_on().into(),
        observe("php",            "Compare PHP of command line, pool and bundle", checks::php)          .run_on().into(),
        lanes(beside),
        // It needs the database's driver, and whether the live app was asked for what a dump must hold.
        observe("room",           "Check the disk space for release and backup",  checks::room)          .run_on().into(),
    ]
}
