//! Whether the site is healthy, and which release answers.

pub mod quotes;
pub mod round;
pub mod visitor;

pub use self::{quotes::Quotes, round::round, visitor::Visitor};

mod assets;
mod help;
mod home;
mod verdict;

use std::time::Duration;

pub(crate) use self::verdict::names;
pub use self::{
    assets::{NO_FRONT_END, assets, served_assets},
    verdict::{Problem, answered_as, judge, judge_as},
};
use super::{
    identity::{self, Mark},
    sampler,
};
use crate::{
    clock::Clock,
    config::typed::{Grace, HealthAnswer, HealthPolicy, Route, Target},
    context::{Deploy, Ports, Survey},
    domain::{
        CommitSha, Failure, Secret,
        record::{Endpoint, HealthReport, HealthRoute, Score, SiteStatus, key},
    },
    engine::{Done, Io, StepResult},
    errors,
    http::{Get, Site},
    server::{
        health::{
            naming::{self, same_commit},
            probe::round::{ANSWER_TIMEOUT, ask},
        },
        inspect::NO_SERVER,
    },
};

/// Too Many Requests (RFC 6585, 4): says nothing of what was asked.
const TOO_MANY: u16 = 429;

/// Rounds of the baseline: a site that is healthy in one of them was healthy before the release.
pub(super) const BASELINE_ROUNDS: u32 = 3;

/// Time between two rounds of the baseline.
pub(super) const BASELINE_PAUSE: Duration = Duration::from_secs(1);

/// A page that no application has: a site that answers it as healthy answers every path so (F69).
pub const NOWHERE: &str = "/gated-deploy-negative-control/no-such-page";

/// A token that no application accepts.
pub const WRONG_TOKEN: &str = "gated-deploy-negative-control";

/// Step 7, before anything changes: whether the site is healthy, and accepts the health token.
pub async fn baseline(cx: &Survey, io: &Io) -> StepResult {
    if cx.state.borrow().nothing_is_live() {
        return first_look(cx, io).await;
    }
    if matches!(cx.inputs.site.route, Route::Tunnel { .. }) && !cx.state.borrow().reached {
        return Ok(Done::skipped(NO_SERVER));
    }
    let (health, ports) = (&cx.inputs.health, &cx.ports);
    let visitor = Visitor::as_configured(ports, health).on(ports, &cx.inputs);
    let quotes = if cx.state.borrow().reached { visitor.quotes } else { Quotes::Plain };
    let visitor = Visitor { quotes, ..visitor };
    let mut report = HealthReport::default();
    for attempt in 1..=BASELINE_ROUNDS {
        let next = HealthReport { attempt, of: BASELINE_ROUNDS, ..visitor.look(None).await };
        report = next.after(report);
        io.attempt(attempt, BASELINE_ROUNDS, describe(&report));
        // A refused token is refused again.
        if report.healthy() || refused_token(&report, health) {
            break;
        }
        if attempt < BASELINE_ROUNDS {
            ports.clock.sleep(BASELINE_PAUSE).await;
        }
    }
    io.record(key::BASELINE, &report);
    keep(cx, &report);
    let verdict = if report.healthy() {
        seen_to_fail(visitor, io).await
    } else {
        Err(unhealthy("checking the site's health before the release", &report))
    };
    match verdict {
        Ok(seen) => Ok(Done::passed(format!("{}; health check self-tested: {seen}", describe(&report)))),
        // A release to a site that could not be reached is no repair.
        Err(failure)
            if (health.repair && report.standing() != SiteStatus::NotAsked)
                || !cx.state.borrow().unconfirmed.is_empty() =>
        {
            io.warning(failure.clone());
            failure.details.iter().for_each(|detail| io.line(detail));
            let why =
                if health.repair { "accepted: `repair` is true" } else { "it is checked again after the recovery" };
            Ok(Done::warned(format!("{}; {why}", describe(&report))))
        }
        Err(failure) if failure.hint.is_some() => Err(failure),
        Err(failure) => {
            Err(failure
                .hint("Make the site healthy first. If this release repairs it, set `repair: true` in the policy"))
        }
    }
}

/// What later answers are compared with.
fn keep(cx: &Survey, report: &HealthReport) {
    let mut found = cx.state.borrow_mut();
    found.home = report.home.as_ref().and_then(|home| home.status);
    found.unhealthy = report.asked().filter(|asked| asked.problem.is_some()).map(|asked| asked.path.clone()).collect();
}

/// Before the first release there is no app to check. The name, the connection, TLS, the tunnel and the site's address are checked all the
/// same. Any answer passes but a
/// redirect to another site, and basic auth: behind both no release could be found healthy.
async fn first_look(cx: &Survey, io: &Io) -> StepResult {
    let (ports, doing) = (&cx.ports, "checking the web server before the first release");
    let path = cx.inputs.health.paths.first().map_or("/", String::as_str);
    let get = Get { path: path.to_owned(), timeout: ANSWER_TIMEOUT, ..Get::default() };
    let mut answer = ports.site.get(get.clone()).await;
    for attempt in 1..BASELINE_ROUNDS {
        let Err(unanswered) = &answer else { break };
        io.attempt(attempt, BASELINE_ROUNDS, unanswered.to_string());
        ports.clock.sleep(BASELINE_PAUSE).await;
        answer = ports.site.get(get.clone()).await;
    }
    match answer {
        Ok(reply) if verdict::asks_for_password(&reply) => {
            let problem = verdict::protected();
            Err(errors::health::protected(doing, path, &problem.text(""), problem.hint))
        }
        Ok(reply) => match reply.redirect().filter(|to| ports.site.within(path, to).is_none()) {
            None => {
                Ok(Done::passed(format!("nothing is live yet; the web server answers with status {}", reply.status)))
            }
            Some(_) => {
                // Nothing is live, so there may be no `.env` yet, and no filter.
                let problem = verdict::redirected(&reply);
                let text = problem.text(&quotes::plain(problem.quoted().unwrap_or_default()));
                Err(errors::health::redirects(doing, path, &text, problem.hint))
            }
        },
        Err(unanswered) => {
            let (reached, help) = (unanswered.why.reached(), help::help(unanswered.why));
            Err(errors::health::no_answer(doing, path, &unanswered, reached, help))
        }
    }
}

/// Before a rollback: the site's health. An unhealthy site is the reason for a rollback, so this never refuses.
pub async fn present(cx: &Survey, io: &Io) -> StepResult {
    if cx.state.borrow().nothing_is_live() {
        return Ok(Done::skipped("nothing is live"));
    }
    let report = Visitor::of(&cx.ports, &cx.inputs.health).on(&cx.ports, &cx.inputs).look(None).await;
    io.attempt(1, 1, describe(&report));
    io.record(key::BASELINE, &report);
    keep(cx, &report);
    if report.healthy() {
        return Ok(Done::passed(format!("healthy: {}", describe(&report))));
    }
    if refused_token(&report, &cx.inputs.health) {
        io.warning(errors::health::token_refused());
    }
    Ok(Done::passed(format!("unhealthy: {}", describe(&report))))
}

/// Step 18: gives the workers time to settle, unless the site fails for longer than the policy allows: a longer wait would only add
/// downtime.
pub async fn grace(cx: &Deploy, io: &Io) -> StepResult {
    const LINE_EVERY: Duration = Duration::from_secs(5);
    let (whole, stable) = match cx.inputs.health.grace {
        Grace::Wait(time) => (time, None),
        Grace::UntilStable { samples, within } => (within, Some(samples)),
    };
    let mut stable = std::pin::pin!(sampler::stable(cx, stable));
    let mut waited = Duration::ZERO;
    let mut spent = std::pin::pin!(sampler::spent(cx));
    while waited < whole {
        let nap = LINE_EVERY.min(whole - waited);
        tokio::select! {
            biased;
            failure = &mut spent => return Err(failure),
            text = &mut stable => return Ok(Done::passed(text)),
            () = cx.ports.clock.sleep(nap) => {}
        }
        waited += nap;
        io.line(format!("{} s of {} s", waited.as_secs(), whole.as_secs()));
    }
    let unstable = sampler::unstable(cx).map_or_else(String::new, |text| format!("; {text}"));
    Ok(Done::passed(format!("{} s{unstable}", whole.as_secs())))
}

/// Step 19: the site answers as this release, every endpoint, two rounds in a row.
pub async fn health(cx: &Deploy, io: &Io) -> StepResult {
    let mark = cx.state.borrow().identity.clone();
    let expected = Expected::on(&cx.ports, mark.as_ref(), cx.plan.turn.to.as_str());
    let identity = Identity::Is(&cx.plan.commit, Some(expected));
    let spent = || sampler::is_spent(cx);
    let report = until_settled(Visitor::after(cx), identity, &spent, io).await;
    io.record(key::HEALTH, &report);
    if !report.healthy() {
        let whom = if cx.source.is_some() { "the new release" } else { "the target release" };
        return Err(advised(
            unhealthy(&format!("checking whether {whom} is healthy"), &report),
            &report,
            &Visitor::after(cx).log(),
        ));
    }
    negative_control(Visitor::after(cx)).await?;
    let proof = identity::proof(cx, &report);
    io.record(key::IDENTITY, &proof);
    if proof.proven {
        return Ok(Done::passed(describe(&report)));
    }
    io.warning(errors::health::identity_not_proven(proof.note.as_deref()));
    Ok(Done::warned(format!("{}; identity not proven", describe(&report))))
}

/// What the plan says of each health path: what it must answer, and where the bundle has it.
pub fn health_preview(cx: &Deploy) -> Vec<String> {
    let health = &cx.inputs.health;
    let routes = cx.plan.change_preview.as_ref().map_or(&[][..], |change_preview| &change_preview.health);
    let of = |path: &String| {
        let must = health.answers.get(path).map_or("200 with a healthy body".to_owned(), ToString::to_string);
        let place = match routes.iter().find(|route| route.path == *path) {
            None => String::new(),
            Some(HealthRoute { file: Some(file), .. }) => format!("; in the bundle: {file}"),
            Some(HealthRoute { file: None, .. }) => "; no route file of the bundle names it".to_owned(),
        };
        format!("{path} must answer {must}{place}")
    };
    health.paths.iter().map(of).collect()
}

/// After a rollback: the site is healthy again, by the same rules, and does not answer as the release that was rolled back
/// (F83, F85). `marked`: the one-time file is still there. Gives what was found, for the log.
///
/// # Errors
/// The site is unhealthy, or still runs the code of the failed release. A site that could not be reached is neither.
pub async fn verify_old(cx: &Deploy, marked: bool, io: &Io) -> Result<String, Failure> {
    let failed = &cx.plan.commit;
    // In a rollback to an older release of the same commit, the commit distinguishes nothing.
    let same = cx.plan.turn.from.as_deref().is_none_or(|from| same_commit(from, failed));
    let mark = cx.state.borrow().identity.clone().filter(|_| marked);
    let old = cx.plan.turn.from.as_deref().map(naming::folder).unwrap_or_default();
    let expected = Expected::on(&cx.ports, mark.as_ref(), old);
    let identity = Identity::IsNot((!same).then_some(failed), expected);
    let report = until_settled(Visitor::after(cx), identity, &|| false, io).await;
    io.record(key::HEALTH_AFTER_ROLLBACK, &report);
    let whom = if cx.source.is_some() { "the old release is healthy again" } else { "the earlier release is healthy" };
    after_rollback(&format!("checking whether {whom}"), &report, &Visitor::after(cx).log(), io)
}

/// What a round says of the release that is live again. `log`: the application's.
fn after_rollback(doing: &str, report: &HealthReport, log: &str, io: &Io) -> Result<String, Failure> {
    let Score { passed, total } = report.score();
    match report.standing() {
        SiteStatus::Healthy => Ok(format!("health {passed}/{total}")),
        SiteStatus::Unhealthy => Err(advised(unhealthy(doing, report), report, log)),
        SiteStatus::NotAsked => {
            let failure = unhealthy(doing, report);
            let advised = failure.hint.is_some();
            io.warning(if advised { failure } else { failure.hint("Open the site in a browser") });
            Ok("its health could not be checked".to_owned())
        }
    }
}

/// `smoke`: whether the site is healthy, whatever release it is.
///
/// # Errors
/// An endpoint is unhealthy after the last attempt, or the check cannot fail.
pub async fn well(visitor: Visitor<'_>, io: &Io) -> StepResult {
    let report = until_settled(visitor, Identity::Any, &|| false, io).await;
    io.record(key::HEALTH, &report);
    if !report.healthy() {
        return Err(advised(unhealthy("checking the site's health", &report), &report, &visitor.log()));
    }
    negative_control(visitor).await?;
    Ok(Done::passed(describe(&report)))
}

/// After the recovery of another run's release: the site is healthy again, and no longer answers as that release.
///
/// # Errors
/// The site is unhealthy, or still runs the code of the release that was rolled back.
pub async fn well_again(ports: &Ports, target: &Target, failed: Option<&CommitSha>, io: &Io) -> StepResult {
    let visitor = Visitor::of(ports, &target.health).on(ports, target);
    let expected = Expected::on(ports, None, "");
    let report = until_settled(visitor, Identity::IsNot(failed, expected), &|| false, io).await;
    io.record(key::HEALTH_AFTER_ROLLBACK, &report);
    let found = after_rollback("checking whether the earlier release is healthy again", &report, &visitor.log(), io)?;
    Ok(if report.healthy() { Done::passed(describe(&report)) } else { Done::warned(found) })
}

/// Whether the site is healthy, as this commit. Gives the last round as well.
pub async fn proven(visitor: Visitor<'_>, commit: &CommitSha, io: &Io) -> (HealthReport, Result<(), Failure>) {
    let report = until_settled(visitor, Identity::Is(commit, None), &|| false, io).await;
    let verdict = match report.healthy() {
        true => negative_control(visitor).await.map(drop),
        false => Err(advised(unhealthy("checking the site's health", &report), &report, &visitor.log())),
    };
    (report, verdict)
}

/// Which release an endpoint that names one must name.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    Any,
    Is(&'a CommitSha, Option<Expected<'a>>),
    IsNot(Option<&'a CommitSha>, Expected<'a>),
}

/// The release that the one-time file must name, where there is one to ask.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) site: &'a dyn Site,
    pub(super) clock: &'a dyn Clock,
    pub(super) mark: Option<&'a Mark>,
    pub(super) release: &'a str,
}

impl<'a> Expected<'a> {
    fn on(ports: &'a Ports, mark: Option<&'a Mark>, release: &'a str) -> Self {
        Self { site: &*ports.anywhere, clock: &*ports.clock, mark, release }
    }
}

/// Rounds until two in a row are green, or the attempts are used up, or nothing that is seen counts any more. Gives the last round.
async fn until_settled(
    visitor: Visitor<'_>,
    identity: Identity<'_>,
    spent: &dyn Fn() -> bool,
    io: &Io,
) -> HealthReport {
    let health = visitor.health;
    let mut report = HealthReport::default();
    let numbered = |attempt, round| HealthReport { attempt, of: health.attempts, ..round };
    for attempt in 1..=health.attempts {
        report = numbered(attempt, identified(visitor, identity).await).after(report);
        if report.healthy() {
            // One good answer can come from the only healthy worker (F71).
            report = numbered(attempt, identified(visitor, identity).await).after(report);
        }
        io.attempt(attempt, health.attempts, describe(&report));
        if report.healthy() {
            break;
        }
        if spent() {
            io.line("the site has failed for longer than `max-downtime` allows: the health check ends here");
            break;
        }
        if attempt < health.attempts {
            visitor.clock.sleep(health.interval).await;
        }
    }
    report
}

pub(super) async fn identified(visitor: Visitor<'_>, identity: Identity<'_>) -> HealthReport {
    let commit = match identity {
        Identity::Is(commit, _) => Some(commit),
        Identity::Any | Identity::IsNot(..) => None,
    };
    let mut report = visitor.look(commit).await;
    if let Identity::Is(_, Some(expected)) | Identity::IsNot(_, expected) = identity {
        report.identity = identity::ask((expected.site, expected.clock), expected.mark, expected.release).await;
    }
    if let Identity::IsNot(Some(failed), _) = identity {
        for endpoint in &mut report.endpoints {
            let answered = endpoint.answered_as.as_deref().filter(|answered| verdict::names(answered, failed));
            let still = answered
                .map(|answered| format!("still answers as {answered}, which was rolled back: stale code in OPcache"));
            endpoint.problem = endpoint.problem.take().or(still);
        }
    }
    report
}

/// The self-test of the probe: a page that does not exist, and a wrong token, must fail. Gives what was seen.
async fn seen_to_fail(visitor: Visitor<'_>, io: &Io) -> Result<String, Failure> {
    let nowhere = negative_control(visitor).await?;
    Ok(match wrong_token(visitor, io).await? {
        Some(wrong) => format!("{nowhere}, {wrong}"),
        None => nowhere,
    })
}

/// Whether a wrong token is refused, where there is a right one. One endpoint that refuses it is enough: others may be public. Public ones
/// usually come first, so the last is asked first: mostly that is one request, which matters to a site that limits requests.
async fn wrong_token(visitor: Visitor<'_>, io: &Io) -> Result<Option<String>, Failure> {
    if visitor.health.token.is_none() {
        return Ok(None);
    }
    let health = HealthPolicy { token: Some(Secret::new(WRONG_TOKEN)), ..visitor.health.clone() };
    let mut silent = None;
    for path in health.paths.iter().rev() {
        let Endpoint { status, problem, .. } =
            ask(visitor.site, &health, visitor.clock, path, None, visitor.quotes).await;
        match (status, problem) {
            (Some(status), Some(_)) if status != TOO_MANY => {
                return Ok(Some(format!("{status} with a wrong token at {path}")));
            }
            // Neither a yes nor a no.
            (_, Some(problem)) => silent = Some(format!("{path}: {problem}")),
            (_, None) => {}
        }
    }
    if !takes_token(&health) {
        return Ok(None);
    }
    if let Some(silent) = silent {
        io.warning(errors::health::token_untested(&silent));
        return Ok(None);
    }
    Err(errors::health::token_unchecked(&health.paths))
}

/// Whether a health path may ask for the token. The framework's own route and a page do not.
pub fn takes_token(health: &HealthPolicy) -> bool {
    health.paths.iter().any(|path| asks_for_token(health, path))
}

fn asks_for_token(health: &HealthPolicy, path: &str) -> bool {
    !matches!(health.answers.get(path), Some(HealthAnswer::Status(_) | HealthAnswer::Contains(_)))
}

/// The self-test: a probe that cannot fail proves nothing (F69).
pub(super) async fn negative_control(visitor: Visitor<'_>) -> Result<String, Failure> {
    for health in nowhere(visitor.health) {
        let endpoint = ask(visitor.site, &health, visitor.clock, NOWHERE, None, visitor.quotes).await;
        if let Some(problem) = endpoint.problem.as_ref().filter(|_| endpoint.not_asked) {
            return Err(errors::health::nowhere_unreachable(problem, endpoint.hint.clone()));
        }
        if endpoint.problem.is_some() {
            let answer = endpoint.status.map_or("no answer".to_owned(), |status| status.to_string());
            return Ok(format!("{answer} at a page that does not exist"));
        }
    }
    Err(errors::health::blind(NOWHERE))
}

/// The rules by which a page that does not exist is judged: each that a health path has, the strictest first. One that it fails is enough,
/// because a release has to pass them all.
pub fn nowhere(health: &HealthPolicy) -> Vec<HealthPolicy> {
    let mut answers: Vec<Option<&HealthAnswer>> = Vec::new();
    for answer in health.paths.iter().map(|path| health.answers.get(path)) {
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    answers.sort_by_key(|answer| match answer {
        None => 0,
        Some(HealthAnswer::Fields(_)) => 1,
        Some(HealthAnswer::Contains(_)) => 2,
        Some(HealthAnswer::Status(_)) => 3,
    });
    let only = |answer: Option<&HealthAnswer>| HealthPolicy {
        paths: vec![NOWHERE.to_owned()],
        answers: answer.map(|answer| (NOWHERE.to_owned(), answer.clone())).into_iter().collect(),
        ..health.clone()
    };
    answers.into_iter().map(only).collect()
}

pub(super) fn unhealthy(doing: &str, report: &HealthReport) -> Failure {
    let problems = report.asked().filter_map(|endpoint| {
        let problem = endpoint.problem.as_ref()?;
        let who = endpoint.answered_as.as_ref().map(|who| format!(" [answered as {who}]")).unwrap_or_default();
        Some(format!("{}: {problem}{who}", endpoint.path))
    });
    let failure = errors::health::unhealthy(doing, report, problems.collect());
    let hint = |endpoint: &Endpoint| endpoint.problem.as_ref().and(endpoint.hint.clone());
    let well = report.endpoints.iter().all(|endpoint| endpoint.problem.is_none());
    // Where the app is down, the home page needs no hint of its own.
    let known = report.endpoints.iter().find_map(hint).or_else(|| report.home.as_ref().filter(|_| well).and_then(hint));
    known.into_iter().fold(failure, Failure::hint)
}

/// Adds a hint, unless there is a better one already. `log`: the application's.
pub(super) fn advised(failure: Failure, report: &HealthReport, log: &str) -> Failure {
    if failure.hint.is_some() {
        return failure;
    }
    if report.asked().any(|endpoint| endpoint.problem.as_ref().is_some_and(|problem| problem.contains("stale code"))) {
        return failure.hint(
            "Check that `php-fpm-service` is the service that serves the site, and that its reload empties OPcache. Check whether a cache in \
             front of the site answers",
        );
    }
    let silent = report.endpoints.iter().all(|endpoint| endpoint.status.is_none());
    failure.hint(match silent {
        true => "Check that this runner can reach the site: curl -i URL, with the `url` of the environment (and its `health-address`)"
            .to_owned(),
        false => format!("Read PHP-FPM's log on the server, and {log}"),
    })
}

fn refused_token(report: &HealthReport, health: &HealthPolicy) -> bool {
    let refused =
        |endpoint: &Endpoint| matches!(endpoint.status, Some(401 | 403)) && asks_for_token(health, &endpoint.path);
    report.endpoints.iter().any(refused)
}

/// From where it was asked, where that is not as the inputs say.
fn vantage(report: &HealthReport) -> Option<&str> {
    report.asked().find_map(|endpoint| endpoint.vantage.as_deref())
}

pub fn describe(report: &HealthReport) -> String {
    let score = report.score();
    let mut text = format!("{}/{}", score.passed, score.total);
    for endpoint in report.asked() {
        if let Some(problem) = &endpoint.problem {
            text.push_str(&format!("; {}: {problem}", endpoint.path));
        }
    }
    if let Some(name) = report.asked().find_map(|endpoint| endpoint.answered_as.as_deref()).filter(|_| report.healthy())
    {
        text.push_str(&format!(", answered as {name}"));
    }
    if let Some(vantage) = vantage(report) {
        text.push_str(&format!(", {vantage}"));
    }
    text
}
