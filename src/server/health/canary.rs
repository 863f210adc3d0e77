//! Row 14, before the switch: the new release answers the health check, and no visitor is served by it.
//!
//! It is asked through the site's own pool of PHP-FPM, with what the web server would say, and judged by the rules of row 19. Where this
//! account cannot reach the pool, the app is started in a program of the command-line PHP: other settings, another account, no OPcache.

mod asker;

use self::asker::{Asker, Way};
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
    errors::health,
    http::{Get, Site},
};

/// What a way of asking says of the release.
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
        Ok(gateway) => match ask(cx, io, &Way::Pool(gateway.clone())).await? {
            Said::Healthy(text) => {
                return Ok(Done::passed(format!("{text}; asked through the pool {}", gateway.pool)));
            }
            Said::Unhealthy(failure) => return Err(failure),
            Said::Nothing(why) => why,
        },
        Err(why) => why.clone(),
    };
    match ask(cx, io, &Way::Kernel).await? {
        Said::Healthy(text) => {
            io.warning(health::canary_by_cli(&why, &cx.inputs.ssh.user));
            Ok(Done::warned(format!("{text}; asked by the command-line PHP: {why}")))
        }
        Said::Unhealthy(failure) => {
            io.warning(health::canary_by_cli(&why, &cx.inputs.ssh.user));
            Err(failure)
        }
        Said::Nothing(other) => {
            let why = if why == other { why } else { format!("{why}; by the command-line PHP: {other}") };
            io.warning(health::canary_not_asked(&why));
            Ok(Done::warned(format!("not asked: {why}")))
        }
    }
}

/// What the plan says.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let by = match &cx.plan.server.services.gateway {
        Ok(gateway) => format!("through the pool {} ({})", gateway.pool, gateway.address),
        Err(why) => format!("by the command-line PHP: {why}"),
    };
    let health = &cx.inputs.health;
    let pages: Vec<&str> = health.paths.iter().chain(&health.home).map(String::as_str).collect();
    vec![format!("ask {dir} for {} {by}", pages.join(", "))]
}

async fn ask(cx: &Deploy, io: &Io, way: &Way) -> Result<Said, Failure> {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let release = Asker::new(cx, io, way, dir.to_string(), false);
    // The pool runs the file whatever the web server would do with it. A program of its own has no code of before.
    let mark = cx.state.borrow().identity.clone();
    let mark = mark.filter(|mark| *way != Way::Kernel && !matches!(mark.trust, Trust::Refused(_)));
    let pages = pages(cx, mark.as_ref());
    // Workers of a pool may differ; each program is a new one.
    let rounds = if *way == Way::Kernel { 1 } else { 2 };
    let mut gets: Vec<Get> = std::iter::repeat_n(&pages, rounds).flatten().cloned().collect();
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
        if report.healthy() && rounds > 1 {
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
    if let Some(why) = unlike_the_web_server(cx, io, way, &report).await? {
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

/// The check of the check: whether the live release fails at the same pages when it is asked this way, although the web server serves them
/// as healthy. Then the way says nothing of the new one, as the text explains.
async fn unlike_the_web_server(
    cx: &Deploy,
    io: &Io,
    way: &Way,
    report: &HealthReport,
) -> Result<Option<String>, Failure> {
    let Some(tree) = cx.plan.server.live_tree.clone() else { return Ok(None) };
    let live = Asker::new(cx, io, way, tree, true);
    if live.fetch(&pages(cx, None)).await?.is_err() {
        return Ok(None);
    }
    let beside = look(cx, &live).await;
    let unlike = |of: &HealthReport, path: &str, healthy: bool| {
        of.asked().any(|endpoint| endpoint.path == path && endpoint.problem.is_none() == healthy && !endpoint.not_asked)
    };
    let failing: Vec<&Endpoint> = report.asked().filter(|endpoint| endpoint.problem.is_some()).collect();
    if !failing.iter().all(|endpoint| unlike(&beside, &endpoint.path, false)) {
        return Ok(None);
    }
    let served = look(cx, &*cx.ports.anywhere).await;
    if !failing.iter().all(|endpoint| unlike(&served, &endpoint.path, true)) {
        return Ok(None);
    }
    let said = beside.asked().find(|endpoint| failing.iter().any(|failing| failing.path == endpoint.path));
    let said = said.map(|endpoint| format!("{}: {}", endpoint.path, endpoint.problem.clone().unwrap_or_default()));
    Ok(Some(format!(
        "the live release, which the web server serves as healthy, is unhealthy when it is asked this way ({})",
        said.unwrap_or_default()
    )))
}

async fn look(cx: &Deploy, site: &dyn Site) -> HealthReport {
    Visitor { site, ..Visitor::after(cx) }.look(None).await
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
