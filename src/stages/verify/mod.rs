//! `verify`: whether a server still has what was confirmed: the ledger, the live release's files, the backups, and the site. Changes nothing.

mod files;
pub mod table;

pub use self::table::table;

use std::time::Duration;

use crate::{
    context::Survey,
    domain::{
        CommitSha, Failure, ReleaseName, RemotePath, format, layout::named, ledger::ReleaseStatus, record::key,
        release_status::Known,
    },
    engine::{
        Decided, Decision, Done,
        step::{Io, StepResult},
    },
    errors::{self, Problem},
    server::{
        backup::offsite,
        health::probe::{self, Visitor},
        inspect::NO_SERVER,
        ledger,
        lock::Holder,
        release_dir::tree_digest,
        remote, survey,
    },
    stages::shared::checks::sheet::Sheet,
    transport::shell::Script,
};

/// Reading every backup takes its time.
const READING: Duration = Duration::from_secs(3600);

/// Which release is live, and whether a run is under way.
pub async fn place(cx: &Survey, io: &Io) -> StepResult {
    if !cx.state.borrow().reached {
        return Ok(Done::skipped(NO_SERVER));
    }
    let layout = &cx.inputs.layout;
    let doing = format!("reading {} on the server", layout.base());
    let looked = survey::look_around(cx, io, &doing).await?;
    let mut sheet = Sheet::new(cx, io, doing);
    if let Some(problem) = survey::wrong_place(&cx.inputs, &looked.answer) {
        sheet.failed(layout.base().as_str(), problem.what);
    }
    if let Some(Holder { owner, gone: false, .. }) = Holder::read(&looked.answer) {
        sheet.warned("deploy lock", errors::verify::during_run(&owner));
    }
    let Some(live) = looked.current().map(survey::last_part) else {
        sheet.failed("live release", errors::verify::nothing_live(&layout.current()));
        return sheet.end("");
    };
    sheet.passed("live release", live);
    sheet.end(format!("{live} is live"))
}

/// The name of the live release, if something is live and it is called like a release.
fn live(cx: &Survey) -> Result<ReleaseName, Done> {
    let state = cx.state.borrow();
    let looked = state.looked.as_ref().ok_or_else(|| Done::skipped(NO_SERVER))?;
    looked.current().and_then(named).ok_or_else(|| Done::skipped("no release is live"))
}

/// The ledger's chain of digests, as `gated-deploy ledger verify` follows it.
pub async fn chain(cx: &Survey, io: &Io) -> StepResult {
    if cx.state.borrow().looked.is_none() {
        return Ok(Done::skipped(NO_SERVER));
    }
    let path = cx.inputs.layout.ledger();
    let history = ledger::look(cx, io).await?;
    let mut sheet = Sheet::new(cx, io, format!("checking the chain of {path}"));
    let text = format!("{} lines, each with the digest of the one before it", history.lines.len());
    if history.broken.is_some() || history.unreadable > 0 {
        sheet.failed(path.as_str(), errors::verify::ledger_broken(&path, history.broken.as_ref(), history.unreadable));
    } else {
        sheet.passed(path.as_str(), &text);
    }
    sheet.end(text)
}

/// What the ledger has of the live release.
async fn known(cx: &Survey, io: &Io, live: &ReleaseName) -> Result<Option<Known>, Failure> {
    let history = ledger::look(cx, io).await?;
    Ok(history.standings(&cx.inputs.environment).get(live).cloned())
}

/// The live release is confirmed, and every file of it is what was confirmed. One digest says so; where it is another one, the bundle's manifest
/// says which files differ.
pub async fn tree(cx: &Survey, io: &Io) -> StepResult {
    let live = match live(cx) {
        Ok(live) => live,
        Err(skipped) => return Ok(skipped),
    };
    let dir = cx.inputs.layout.release(&live);
    let known = known(cx, io, &live).await?.filter(|known| known.standing == ReleaseStatus::Confirmed);
    let mut sheet = Sheet::new(cx, io, format!("comparing the files in {dir}"));
    if ledger::look(cx, io).await?.standings(&cx.inputs.environment).confirmed().is_empty() {
        sheet.warned(dir.as_str(), errors::verify::nothing_confirmed(&cx.inputs.layout.ledger()));
        return sheet.end("");
    }
    let Some(confirmation) = known.and_then(|known| known.confirmed) else {
        sheet.failed(dir.as_str(), errors::verify::live_unconfirmed(live.as_str()));
        return sheet.end("");
    };
    let Some(expected) = confirmation.tree else {
        sheet.warned(dir.as_str(), errors::verify::tree_unknown(&live));
        return sheet.end("");
    };
    let found = tree_digest::read(&*cx.ports.shell, io, &dir).await?;
    let text = format!("as confirmed {}, SHA-256 {}", confirmation.at, expected.short());
    if found.sha256 == expected {
        sheet.passed(dir.as_str(), &text);
        return sheet.end(text);
    }
    let differences = files::differences(cx, io, &dir, found.manifest()).await?;
    let digests = (&expected, &found.sha256);
    sheet.failed(dir.as_str(), errors::verify::tree_changed(&live, digests, &differences.counted, differences.lines));
    sheet.end("")
}

/// Every verified backup is what its digests say, and so is every copy of one elsewhere.
pub async fn backups(cx: &Survey, io: &Io) -> StepResult {
    if cx.state.borrow().looked.is_none() {
        return Ok(Done::skipped(NO_SERVER));
    }
    let folder = cx.inputs.layout.backups();
    let mut sheet = Sheet::new(cx, io, format!("comparing the backups in {folder}"));
    let mut whole = compared(cx, io, &mut sheet, &folder, &[]).await?;
    if whole == 0 && sheet.is_clean() {
        sheet.warned(folder.as_str(), errors::verify::backups_missing(&folder));
    }
    if let Some(policy) = &cx.inputs.server.backup_copy {
        match offsite::look(&*cx.ports.shell, io, &cx.inputs, policy).await {
            Ok(answer) => {
                let names: Vec<String> = offsite::there(&answer).iter().map(ToString::to_string).collect();
                if names.is_empty() {
                    sheet.warned(policy.dir.as_str(), errors::verify::backups_missing(&policy.dir));
                } else {
                    whole += compared(cx, io, &mut sheet, &policy.dir, &names).await?;
                }
            }
            Err(failure) if policy.required => sheet.failed("off-site backups", failure.into()),
            Err(failure) => sheet.warned("off-site backups", Problem::from(failure)),
        }
    }
    sheet.end(format!("{whole} as their SHA256SUMS say"))
}

/// Compares the backups in a folder; gives how many are whole.
async fn compared(
    cx: &Survey,
    io: &Io,
    sheet: &mut Sheet<'_>,
    folder: &RemotePath,
    names: &[String],
) -> Result<usize, Failure> {
    let script = Script::new("verify-backups", include_str!("backups.sh"))
        .repeatable()
        .var("BACKUPS", folder.as_str())
        .list("NAMES", names)
        .timeout(READING);
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("reading the backups in {folder}")).await?;
    for name in answer.all("empty") {
        sheet.passed(format!("{folder}/{name}"), "made before anything was live: there is nothing in it");
    }
    let mut whole = 0;
    for (name, kib) in answer.all("whole").filter_map(|record| record.split_once(' ')) {
        whole += 1;
        let size = remote::kib(kib).map(|kib| format!(", {}", format::bytes(kib * 1024))).unwrap_or_default();
        sheet.passed(format!("{folder}/{name}"), format!("as its SHA256SUMS says{size}"));
    }
    for record in answer.all("damaged") {
        let mut lines = record.lines().map(str::to_owned);
        let name = lines.next().unwrap_or_default();
        let path = format!("{folder}/{name}");
        sheet.failed(path.as_str(), errors::verify::backup_damaged(&path, lines.collect()));
    }
    Ok(whole)
}

/// The site is healthy, and every answer of it that names a release names the live one. No file is written for that, so an app that names none
/// is not told apart from another release of it.
pub async fn site(cx: &Survey, io: &Io) -> StepResult {
    let live = match live(cx) {
        Ok(live) => live,
        Err(skipped) => return Ok(skipped),
    };
    let commit: Option<CommitSha> = known(cx, io, &live).await?.map(|known| known.commit);
    let visitor = Visitor::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs);
    let url = cx.inputs.site.url.as_str().trim_end_matches('/').to_owned();
    let mut sheet = Sheet::new(cx, io, format!("asking {url}"));
    // Which release it must be is not known where the ledger does not have it; the row before this one says so.
    let Some(commit) = commit else { return probe::well(visitor, io).await };
    let (report, verdict) = probe::proven(visitor, &commit, io).await;
    io.record(key::HEALTH, &report);
    if let Err(failure) = verdict {
        // That it could not be asked is no finding of the site.
        if failure.kind != crate::domain::FailureKind::Refused {
            return Err(failure);
        }
        sheet.failed(url, failure.into());
        return sheet.end("");
    }
    let text = probe::describe(&report);
    if !report.endpoints.iter().any(|endpoint| endpoint.answered_as.is_some()) {
        sheet.warned(url, errors::verify::release_unnamed(&live));
        return sheet.end("");
    }
    let text = format!("{text}; it answers as {live}");
    sheet.passed(url, &text);
    sheet.end(text)
}

/// GO, when every row has looked and none failed. There is nothing to approve: nothing follows.
pub fn decide(survey: Survey) -> Result<Decided<()>, Failure> {
    // A row that did not look must have had a reason that failed (F69).
    if survey.state.into_inner().looked.is_none() {
        return Err(Failure::bug("deciding GO or NO-GO", "a row was skipped, and none failed"));
    }
    Ok(Decided { cx: (), decision: Decision::Go })
}
