//! Row 14, before the switch: the new release answers the health check, and no visitor is served by it.
//!
//! It is asked through the site's own pool of PHP-FPM, with what the web server would say, and judged by the rules of row 19. Where the pool
//! says nothing, the run warns and goes on. It does not start the app in a program of its own: a page works on files and rows that the site's
//! account writes, so it must not run as the deploy user.

mod asker;

use self::asker::Asker;
use super::{
    identity::{Mark, Trust},
    probe::{self, Expected, Identity, Visitor, round::ANSWER_TIMEOUT},
};
use crate::{
    config::typed::{HealthAnswer, HealthPolicy},
    context::Deploy,
    domain::{
        Failure,
        record::{Endpoint, HealthReport, SiteStatus, key},
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors::{Problem, health},
    http::Get,
    server::inspect::Gateway,
};

/// What the pool says of the release.
enum Said {
    /// As the text describes.
    Healthy(String),
    Unhealthy(Failure),
    /// It says nothing, as the text explains.
    Nothing(String),
}

/// Asks the release that is to go live.
pub async fn check(cx: &Deploy, io: &Io) -> StepResult {
    let why = match &cx.plan.server.services.gateway {
        Ok(gateway) => match ask(cx, io, gateway).await? {
            Said::Healthy(text) => {
                return Ok(Done::passed(format!("{text}; asked through the pool {}", gateway.pool)));
            }
            // A rollback by hand leaves something worse. The check after the switch decides, with an undo behind it.
            Said::Unhealthy(failure) if cx.plan.target.is_some() => {
                let text = format!("unhealthy: {}", failure.cause);
                io.warning(Problem::from(failure));
                return Ok(Done::warned(text));
            }
            Said::Unhealthy(failure) => return Err(failure),
            Said::Nothing(why) => why,
        },
        Err(why) => why.clone(),
    };
    io.warning(health::canary_not_asked(&why, &cx.inputs.ssh.user));
    Ok(Done::warned(format!("not asked: {why}")))
}

/// What the plan says.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let by = match &cx.plan.server.services.gateway {
        Ok(gateway) => format!("through the pool {} ({})", gateway.pool, gateway.address),
        Err(why) => return vec![format!("not asked: {why}")],
    };
    let health = &cx.inputs.health;
    let pages: Vec<&str> = health.paths.iter().chain(&health.home).map(String::as_str).collect();
    vec![format!("ask {dir} for {} {by}", pages.join(", "))]
}

/// Workers of a pool may differ.
const ROUNDS: usize = 2;

async fn ask(cx: &Deploy, io: &Io, gateway: &Gateway) -> Result<Said, Failure> {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let release = Asker::new(cx, io, gateway, dir.to_string());
    // The pool runs the file whatever the web server would do with it.
    let mark = cx.state.borrow().identity.clone();
    let mark = mark.filter(|mark| !matches!(mark.trust, Trust::Refused(_)));
    let pages = pages(cx, mark.as_ref());
    let mut gets: Vec<Get> = std::iter::repeat_n(&pages, ROUNDS).flatten().cloned().collect();
    // The strictest of the rules, which mostly is enough.
    gets.extend(probe::nowhere(&cx.inputs.health).first().map(|health| page(health, probe::NOWHERE)));
    let visitor = Visitor { site: &release, ..Visitor::after(cx) };
    let expected =
        Expected { site: &release, clock: visitor.clock, mark: mark.as_ref(), release: cx.plan.turn.to.as_str() };
    let identity = Identity::Is(&cx.plan.commit, Some(expected));
    let mut report = HealthReport::default();
    for attempt in 1..=probe::BASELINE_ROUNDS {
        if let Err(why) = release.fetch(&gets).await? {
            return Ok(Said::Nothing(why));
        }
        let numbered = |round| HealthReport { attempt, of: probe::BASELINE_ROUNDS, ..round };
        report = numbered(probe::identified(visitor, identity).await).after(report);
        if report.healthy() {
            report = numbered(probe::identified(visitor, identity).await).after(report);
        }
        io.attempt(attempt, probe::BASELINE_ROUNDS, probe::describe(&report));
        if report.healthy() {
            break;
        }
        if attempt < probe::BASELINE_ROUNDS {
            visitor.clock.sleep(probe::BASELINE_PAUSE).await;
        }
    }
    io.record(key::CANARY, &report);
    match report.standing() {
        SiteStatus::Healthy => {
            probe::negative_control(visitor).await?;
            return Ok(Said::Healthy(probe::describe(&report)));
        }
        SiteStatus::NotAsked => {
            let problem = report.asked().find_map(|endpoint| endpoint.problem.clone());
            return Ok(Said::Nothing(problem.unwrap_or_default()));
        }
        SiteStatus::Unhealthy => {}
    }
    let causes = release.causes();
    let current = cx.inputs.layout.current();
    if let Some(cause) = causes.iter().find(|cause| limited_to_current(cause, current.as_str())) {
        return Ok(Said::Nothing(cause.clone()));
    }
    if let Some(why) = not_comparable(cx, io, gateway, &report).await? {
        return Ok(Said::Nothing(why));
    }
    let failure = probe::unhealthy("checking whether the new release is healthy before the switch", &report);
    let failure = health::before_the_switch(probe::advised(failure, &report, &visitor.log()), &causes);
    Ok(Said::Unhealthy(failure))
}

/// The health paths, the home page, and the one-time file, as row 19 asks for them.
fn pages(cx: &Deploy, mark: Option<&Mark>) -> Vec<Get> {
    let health = &cx.inputs.health;
    let paths = health.paths.iter().map(|path| page(health, path));
    let home = health.home.iter().map(|path| Get { page: true, bearer: None, ..page(health, path) });
    paths.chain(home).chain(mark.map(|mark| Get { bearer: None, page: false, ..page(health, &mark.path) })).collect()
}

fn page(health: &HealthPolicy, path: &str) -> Get {
    let page = matches!(health.answers.get(path), Some(HealthAnswer::Contains(_)));
    Get { path: path.to_owned(), bearer: health.token.clone(), timeout: ANSWER_TIMEOUT, page, ..Get::default() }
}

/// PHP names the folders that it may open. Until the switch the link leads to the live release, and PHP may open no other; after it this one.
fn limited_to_current(cause: &str, current: &str) -> bool {
    let folders =
        cause.split_once("open_basedir restriction in effect").and_then(|(_, rest)| rest.split_once("path(s): ("));
    let folders = folders.map_or("", |(_, rest)| rest.split_once(')').map_or(rest, |(folders, _)| folders));
    folders
        .split(':')
        .any(|folder| folder.strip_prefix(current).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The check of the check: a release is refused only if the live one, asked the same way, is healthy at the pages at which it fails. Gives why
/// that cannot be said: what fails there for every release says nothing of the new one (a parameter that only nginx has, a pool that is full).
async fn not_comparable(
    cx: &Deploy,
    io: &Io,
    gateway: &Gateway,
    report: &HealthReport,
) -> Result<Option<String>, Failure> {
    let problem = || report.asked().find_map(|endpoint| endpoint.problem.clone()).unwrap_or_default();
    let Some(tree) = cx.plan.server.live_tree.clone() else {
        return Ok(Some(format!("{}, and no release is live with which to compare that", problem())));
    };
    let live = Asker::new(cx, io, gateway, tree);
    if let Err(why) = live.fetch(&pages(cx, None)).await? {
        return Ok(Some(format!("the live release, asked the same way: {why}")));
    }
    let beside = Visitor { site: &live, ..Visitor::after(cx) }.look(None).await;
    let failing =
        |endpoint: &Endpoint| report.asked().any(|failing| failing.path == endpoint.path && failing.problem.is_some());
    let mut compared = beside.asked().filter(|endpoint| failing(endpoint)).peekable();
    if compared.peek().is_none() {
        return Ok(Some(format!("{}, and the live release has no such page with which to compare that", problem())));
    }
    let too = compared.find_map(|endpoint| Some((endpoint, endpoint.problem.clone()?)));
    Ok(too.map(|(endpoint, problem)| {
        format!("the live release is unhealthy, too, when it is asked this way ({}: {problem})", endpoint.path)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_php_may_open_until_the_switch_is_no_fault_of_a_release() {
        let said = |folders: &str| {
            format!(
                "PHP Warning: Unknown: open_basedir restriction in effect. File(/srv/a/releases/x/public/index.php) is not within the \
                 allowed path(s): ({folders}) in Unknown on line 0"
            )
        };
        for (folders, limited) in [
            ("/srv/a/current:/tmp", true),
            ("/tmp:/srv/a/current/", true),
            ("/srv/a/currently", false),
            ("/srv/other:/tmp", false),
        ] {
            assert_eq!(limited_to_current(&said(folders), "/srv/a/current"), limited, "{folders}");
        }
        assert!(!limited_to_current("RuntimeException: /srv/a/current is gone", "/srv/a/current"));
    }
}
