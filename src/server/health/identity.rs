//! Which release answers (F74, F85): by a one-time file, and by the app's own answers where they name a release.
//!
//! The file has one name in the new release and in the live one, and is requested while the old one is live. So PHP-FPM has it in
//! OPcache, under the path that the web server passes, like all of its code. If OPcache is not reloaded after the switch, the file
//! answers as the old release, as every page does. A file that only the new release had would prove nothing: OPcache would have to read
//! it in any case.

pub mod mark;

pub use self::mark::{Mark, Trust};

use std::time::Duration;

use super::probe::{self, Quotes};
use crate::{
    clock::Clock,
    config::typed::HealthPolicy,
    context::{Deploy, Ports},
    domain::{
        CommitSha, Failure, ReleaseName, Sha256Digest,
        record::{self, Endpoint, HealthReport},
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    http::{Get, Reply, Site, Unanswered},
    server::{
        health::naming::{self, folder, named},
        remote,
    },
    transport::shell::Script,
};

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes the file, and asks for it while the old release is live.
pub async fn mark(cx: &Deploy, io: &Io) -> StepResult {
    let live = live(cx);
    let path = format!("/{}", name(cx));
    let doing = format!("writing {path} to the release");
    let (tree, live_name) = live.clone().unwrap_or_default();
    let script = Script::new("mark", include_str!("mark.sh"))
        .repeatable()
        .var("NAME", name(cx))
        .var("DIR", cx.inputs.layout.release(&cx.plan.turn.to).as_str())
        .var("TEXT", program(cx.plan.turn.to.as_str()))
        .var("LIVE", tree)
        .var("LIVE_TEXT", program(&live_name));
    let answer = remote::run(&*cx.ports.shell, io, script, &doing).await?;
    let trust = match (answer.get("live"), &cx.plan.turn.from) {
        (Some("marked"), _) => try_it(&cx.ports, &path, &live_name).await,
        (_, None) => Trust::Untried("nothing is live yet".to_owned()),
        (None | Some("none"), Some(from)) => Trust::Untried(format!("{from} was not made by this action")),
        (Some(why), Some(_)) => Trust::Untried(why.to_owned()),
    };
    let answers = probe::round(&*cx.ports.anywhere, &cx.inputs.health, &*cx.ports.clock, None, Quotes::Plain).await;
    let app_names_itself = answers.endpoints.iter().any(|endpoint| endpoint.answered_as.is_some());
    let text = match &trust {
        Trust::Works => format!("{path} answers as {live_name}"),
        Trust::Untried(why) => format!("{path} was not tested: {why}"),
        Trust::Refused(why) => format!("the web server does not run {path}: {why}"),
    };
    cx.state.borrow_mut().identity = Some(Mark { path, trust, app_names_itself });
    Ok(Done::passed(text))
}

/// Removes the file, however the run ends. In a release that was rolled back it is gone with the folder.
pub async fn unmark(cx: &Deploy, io: &Io, _ending: &Ending) -> Result<String, Failure> {
    let name = name(cx);
    let script = Script::new("unmark", include_str!("unmark.sh"))
        .repeatable()
        .var("NAME", &name)
        .var("DIR", cx.inputs.layout.release(&cx.plan.turn.to).as_str())
        .var("LIVE", live(cx).unwrap_or_default().0);
    remote::run(&*cx.ports.shell, io, script, &format!("removing public/{name}")).await.map_err(|failure| {
        failure.hint(format!(
            "The file contains only the name of its release. Remove {name} from `public` of the releases"
        ))
    })?;
    Ok(format!("removed public/{name}"))
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let file = |tree: &str| format!("write {tree}/public/{}, and remove it when the run ends", name(cx));
    let new = cx.inputs.layout.release(&cx.plan.turn.to);
    std::iter::once(file(new.as_str())).chain(live(cx).map(|(tree, _)| file(&tree))).collect()
}

/// Asks which release answers, where the file is there. `expected` is the name of the release that should answer.
pub async fn ask((site, clock): (&dyn Site, &dyn Clock), mark: Option<&Mark>, expected: &str) -> Option<Endpoint> {
    let mark = mark.filter(|mark| !matches!(mark.trust, Trust::Refused(_)))?;
    let (reply, took_ms) = get(site, clock, &mark.path).await;
    let named = reply.as_ref().ok().and_then(named);
    let status = reply.as_ref().ok().map(|reply| reply.status);
    let problem = match (&reply, &named) {
        (_, Some(named)) if named == expected => None,
        (_, Some(named)) => Some(format!("answers as {named}, expected {expected}: stale code in OPcache")),
        // The file answered before the switch, and both releases have it.
        (Err(problem), None) if mark.trust == Trust::Works => Some(problem.to_string()),
        (Ok(reply), None) if mark.trust == Trust::Works => {
            Some(format!("status {} without a release's name, expected {expected}", reply.status))
        }
        _ => None,
    };
    let not_asked = problem.is_some() && reply.as_ref().is_err_and(|unanswered| !unanswered.why.reached());
    let vantage = reply.ok().and_then(|reply| reply.vantage);
    Some(Endpoint {
        path: mark.path.clone(),
        status,
        problem,
        answered_as: named,
        took_ms,
        not_asked,
        vantage,
        ..Endpoint::default()
    })
}

/// What a healthy report proves of the release that answered.
pub fn proof(cx: &Deploy, report: &HealthReport) -> record::Identity {
    let mark = cx.state.borrow().identity.clone();
    let turn = &cx.plan.turn;
    let same_commit = turn.from.as_deref().is_some_and(|from| naming::same_commit(from, &cx.plan.commit));
    let by_answers = !same_commit && report.endpoints.iter().any(|endpoint| endpoint.answered_as.is_some());
    let by_file = report.identity.as_ref().is_some_and(|file| file.answered_as.as_deref() == Some(turn.to.as_str()));
    let mut by = Vec::new();
    if by_answers {
        by.push("health answers".to_owned());
    }
    if by_file {
        by.push("one-time file".to_owned());
    }
    let note = match mark.map(|mark| mark.trust) {
        Some(Trust::Refused(why)) => Some(format!("the web server does not run a one-time file under public/: {why}")),
        Some(Trust::Untried(why)) if !by_file => Some(format!("the one-time file was not tested: {why}")),
        _ => None,
    };
    record::Identity { release: turn.to.clone(), proven: !by.is_empty(), by, in_a_row: 2, note }
}

/// Whether the site answers as the release that `current` points back to, and by what that was seen. `mark`: the one-time file, where it is
/// still there. `failed` is the commit of the release that was rolled back.
pub async fn answers_as_old(
    ports: &Ports,
    health: &HealthPolicy,
    (from, failed): (&str, &CommitSha),
    mark: Option<&Mark>,
) -> Option<&'static str> {
    let from = folder(from);
    let file = ask((&*ports.anywhere, &*ports.clock), mark, from).await;
    if file.is_some_and(|file| file.answered_as.as_deref() == Some(from)) {
        return Some("one-time file");
    }
    let old: ReleaseName = from.parse().ok().filter(|_| !naming::same_commit(from, failed))?;
    let report = probe::round(&*ports.anywhere, health, &*ports.clock, None, Quotes::Plain).await;
    // An answer may name the release, or its commit by seven letters and more.
    let is_old = |name: &str| match name.parse::<ReleaseName>() {
        Ok(release) => release.short_sha() == old.short_sha(),
        Err(_) => name.to_ascii_lowercase().starts_with(&old.short_sha()[..7]),
    };
    let mut named = report.endpoints.iter().filter_map(|endpoint| endpoint.answered_as.as_deref()).peekable();
    (named.peek().is_some() && named.all(is_old)).then_some("health answers")
}

/// Tries the file of the live release, twice: one worker may be the only one that runs it.
async fn try_it(ports: &Ports, path: &str, live_name: &str) -> Trust {
    for _ in 0..2 {
        let refused = match get(&*ports.anywhere, &*ports.clock, path).await.0 {
            Ok(reply) => match named(&reply) {
                Some(named) if named == live_name => continue,
                Some(named) => format!("it answers as {named} while {live_name} is live"),
                None if reply.body.starts_with(b"<?php") => "it is sent as text".to_owned(),
                None => format!("it answers {}", reply.status),
            },
            Err(problem) => problem.to_string(),
        };
        return Trust::Refused(refused);
    }
    Trust::Works
}

async fn get(site: &dyn Site, clock: &dyn Clock, path: &str) -> (Result<Reply, Unanswered>, u64) {
    let began = clock.elapsed();
    let get = Get { path: path.to_owned(), timeout: ANSWER_TIMEOUT, ..Get::default() };
    let reply = site.get(get).await;
    (reply, u64::try_from(clock.elapsed().saturating_sub(began).as_millis()).unwrap_or(u64::MAX))
}

/// It cannot be guessed before the run, and an undo can compute it again.
fn name(cx: &Deploy) -> String {
    let digest = Sha256Digest::of(format!("{} {} {}", cx.plan.turn.to, cx.plan.plan_digest, cx.plan.decided_at));
    format!("gated-deploy-{}.php", &digest.as_str()[..32])
}

/// The live release's tree and name. A name with other letters than names of folders usually have is not put into a program.
fn live(cx: &Deploy) -> Option<(String, String)> {
    let name = folder(cx.plan.turn.from.as_deref()?);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let tree = cx.plan.server.live_tree.clone().filter(|_| !name.is_empty() && name.chars().all(plain))?;
    Some((tree, name.to_owned()))
}

fn program(release: &str) -> String {
    format!(
        "<?php header('Content-Type: application/json'); header('Cache-Control: no-store'); echo json_encode(['gated-deploy' => '{release}']);"
    )
}
