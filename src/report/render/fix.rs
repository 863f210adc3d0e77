//! What a fix found, and what it left: before and after, side by side.

use super::markdown::{block, head, inline, row, short, title};
use crate::{
    domain::{
        Outcome,
        fix::{FixRecord, Setting},
        record::key,
    },
    engine::event::Verdict,
    report::run_view::RunView,
};

/// Longest text in a cell, in characters.
const CELL: usize = 600;

pub(crate) fn describe(view: &RunView) -> Option<FixRecord> {
    view.record(key::FIX)
}

/// Before and after, with its heading.
pub(crate) fn section(view: &RunView) -> String {
    let table = table(view);
    if table.is_empty() { table } else { format!("### Before and after\n\n{table}") }
}

/// Before and after, each thing in a line; after a plan, what would be there.
pub(crate) fn table(view: &RunView) -> String {
    let Some(fix) = describe(view) else { return String::new() };
    let mut names: Vec<&str> = Vec::new();
    let after = fix.after.as_ref();
    for setting in fix.before.iter().chain(&fix.wanted).chain(after.into_iter().flatten()) {
        if !names.contains(&setting.what.as_str()) {
            names.push(&setting.what);
        }
    }
    let of = |settings: &[Setting], what: &str| {
        settings.iter().find(|setting| setting.what == what).map_or("-".to_owned(), |one| short(&one.value, CELL))
    };
    let subject = format!("`{}`: {}.\n\n", fix.name, title(&fix.subject));
    if let Some(why) = &fix.nothing {
        let lines = fix.before.iter().map(|one| row([short(&one.what, CELL).as_str(), &short(&one.value, CELL)]));
        let lines: String = lines.collect();
        let table = if lines.is_empty() { lines } else { format!("{}{lines}\n", head(&["What", "Now"])) };
        let what = if fix.name.reads_only() { "Read" } else { "Nothing to do" };
        return format!("{subject}{what}: {}.\n\n{table}", title(why));
    }
    let last = match after {
        Some(_) => "After",
        None if view.executed() => "After (not read again)",
        None => "Would be",
    };
    let lines = names.into_iter().map(|what| {
        let now = match after {
            Some(after) if after.iter().any(|one| one.what == what) => of(after, what),
            // What is not changed is what it was.
            _ if !fix.wanted.iter().any(|one| one.what == what) => of(&fix.before, what),
            None if !view.executed() => of(&fix.wanted, what),
            _ => "not read".to_owned(),
        };
        row([short(what, CELL).as_str(), &of(&fix.before, what), &now])
    });
    let table = format!("{}{}\n", head(&["What", "Before", last]), lines.collect::<String>());
    format!("{subject}{table}")
}

/// What was or would be sent, and what that needs.
pub(crate) fn sends(view: &RunView) -> String {
    let Some(fix) = describe(view).filter(|fix| !fix.sends.is_empty()) else { return String::new() };
    format!("Needs {}.\n\n{}\n", inline(&fix.needs), block(&fix.sends, 40, 1500))
}

/// Whether the fix was verified; `None` where the run did not come so far.
pub(crate) fn mended(view: &RunView) -> Option<Result<(), String>> {
    let fix = describe(view)?;
    let seen = || view.release_rows().last().and_then(crate::report::run_view::Row::verdict);
    match (&fix.nothing, &view.outcome) {
        (Some(_), Some(Outcome::Passed)) => Some(Ok(())),
        (None, Some(Outcome::Passed)) if seen() == Some(Verdict::Passed) => Some(Ok(())),
        (_, Some(Outcome::Planned)) | (_, None) => None,
        (_, Some(outcome)) => {
            Some(Err(outcome.cause().map_or("it was not read again".to_owned(), |cause| cause.cause.clone())))
        }
    }
}
