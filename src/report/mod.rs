//! What people read. Steps tell what happened once, as events; only this room chooses words.
//!
//! Every reader folds the same events into a [`RunView`] and renders from it, so that console, summary, evidence and
//! outputs cannot disagree (F90: text is rendered from results). Each reader works live and from a stored list of
//! events. None of them can fail a run: what cannot be written is told once in the log.
//!
//! Text that came from elsewhere (a server, an API, a file name) is made safe where it is written: [`clean`] for the
//! log, [`markdown`] for the summary. Secrets are taken out of everything by the [`Redactor`].

pub mod record;
pub mod redact;
pub mod render;

pub mod run_view;

pub use crate::report::{
    record::{evidence::Evidence, journal::Journal, outputs::Outputs, state::State},
    redact::Redactor,
    render::{
        console::Console,
        log::{Log, Style},
        plan::Plan,
        summary::Summary,
    },
    run_view::RunView,
};

use std::path::PathBuf;

/// What readers need to know and no step tells.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The workflow run we are part of: `https://github.com/acme/shop/actions/runs/4711`.
    pub run_url: Option<String>,
    /// The approval phrase of this stage, without a plan's digest; shown under a plan.
    pub phrase: Option<String>,
    /// The policy refuses the phrase without the digest.
    pub needs_digest: bool,
}

/// The folder for reports, and how a later step of the workflow finds it. The two differ inside a container, where the
/// workspace is mounted under another path.
#[derive(Debug, Clone)]
pub struct ReportDir {
    pub path: PathBuf,
    /// Relative to the workspace where it is inside, without a trailing slash.
    pub shown: String,
}
