//! Row 14, before the switch: the new release answers the health check, and no visitor is served by it. If migrations ran, the live release is asked
//! in the same script whether its code works on the new schema.
//!
//! It is asked through the site's own pool of PHP-FPM, with what the web server would say, and judged by the rules of row 19. Where the pool
//! says nothing, the run warns and goes on. It does not start the app in a program of its own: a page works on files and rows that the site's
//! account writes, so it must not run as the deploy user.

mod asker;
mod schema;
mod warm;

pub use self::warm::{warm_up, warm_up_preview};

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
        schema::SchemaVerdict,
    },
    engine::{
        Done,
        event::Verdict,
        step::{Io, StepResult},
    },
    errors::{self, Problem, health},
    http::Get,
};

/// What the pool says of the release.
enum Said {
    /// As the text describes.
    Healthy(String),
    Unhealthy(Failure),
    /// It says nothing, as the text explains.
    Nothing(String),
}

/// Asks the release that is to go live; and the live one, where migrations changed the schema under it.
pub async fn check(cx: &Deploy, io: &Io) -> StepResult {
    let gateway = match &cx.plan.server.services.gateway {
        Ok(gateway) => gateway,
        Err(why) => {
            let verdict = verdict(cx, io, &Err(why.clone())).await;
            return conclude(cx, io, (Said::Nothing(why.clone()), ""), verdict, Vec::new());
        }
    };
    let release = Asker::new(cx, io, gateway, cx.inputs.layout.release(&cx.plan.turn.to).to_string());
    let live = cx.plan.server.live_tree.clone().map(|tree| Asker::new(cx, io, gateway, tree));
    let on_schema = live.as_ref().filter(|_| schema::is_new(cx));
    let seen = look(cx, io, &release, on_schema).await?;
    let verdict = match on_schema {
        Some(_) => verdict(cx, io, &seen.live).await,
        None => verdict(cx, io, &Err(String::new())).await,
    };
    let said = match seen.release {
        Ok(report) => judge(cx, io, &release, report, (live.as_ref(), seen.live.ok()), verdict.as_ref()).await?,
        Err(why) => Said::Nothing(why),
    };
    let threw = live.map(|live| live.causes()).unwrap_or_default();
    conclude(cx, io, (said, &gateway.pool), verdict, threw)
}

/// What the live release makes of the schema, for ledger and report; `None` where no migration ran.
async fn verdict(cx: &Deploy, io: &Io, pool: &Result<HealthReport, String>) -> Option<SchemaVerdict> {
    if !schema::is_new(cx) {
        return None;
    }
    let verdict = schema::judge(cx, io, pool).await;
    io.record(key::SCHEMA, &verdict);
    cx.state.borrow_mut().schema = Some(verdict.clone());
    Some(verdict)
}

/// `threw`: what PHP and the app's log said while the live release was asked.
fn conclude(
    cx: &Deploy,
    io: &Io,
    (said, pool): (Said, &str),
    verdict: Option<SchemaVerdict>,
    threw: Vec<String>,
) -> StepResult {
    let on_schema =
        verdict.as_ref().map(|verdict| format!("; the live release on the new schema: {}", verdict.describe()));
    let on_schema = on_schema.unwrap_or_default();
    let broken = verdict.filter(SchemaVerdict::is_unhealthy);
    let done = match said {
        Said::Healthy(text) => {
            cx.state.borrow_mut().canary_healthy = true;
            Done::passed(format!("{text}; asked through the pool {pool}{on_schema}"))
        }
        Said::Unhealthy(failure) => match &broken {
            Some(verdict) => return Err(errors::schema::both_unhealthy(failure, &lost(cx, verdict), threw)),
            // A rollback by hand leaves something worse. The check after the switch decides, with an undo behind it.
            None if cx.plan.target.is_some() => {
                let text = format!("unhealthy: {}", failure.cause);
                io.warning(Problem::from(failure));
                Done::warned(text)
            }
            None => return Err(failure),
        },
        Said::Nothing(why) => {
            io.warning(health::canary_not_asked(&why, &cx.inputs.ssh.user));
            Done::warned(format!("not asked: {why}{on_schema}"))
        }
    };
    let Some(verdict) = broken else { return Ok(done) };
    // The switch is the way out: the code that runs behind it knows the schema.
    io.warning(errors::schema::live_unhealthy(&lost(cx, &verdict), &threw));
    Ok(Done { verdict: Verdict::Warned, ..done })
}

/// What the migrations of this run took from the live release, and what brings it back.
pub fn lost(cx: &Deploy, verdict: &SchemaVerdict) -> errors::schema::Lost {
    let made = cx.state.borrow();
    let age = made.backed_up.map(|at| (cx.ports.clock.now() - at).num_seconds());
    let backup = made.backup.as_ref().filter(|backup| !backup.restore.is_empty());
    errors::schema::Lost {
        problem: verdict.why.clone().unwrap_or_default(),
        migrations: made.migrations.clone().unwrap_or_default(),
        backup: backup.map(|backup| (backup.path.clone(), age)),
        restore: backup.map(|backup| backup.restore.clone()).unwrap_or_default(),
        env_file: cx.inputs.layout.env_file().to_string(),
    }
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
    let ask = format!("ask {dir} for {} {by}", pages.join(", "));
    match &cx.plan.server.live_tree {
        Some(live) if cx.plan.target.is_none() && cx.inputs.server.migrate => {
            vec![ask, format!("if a migration ran: ask {live} for the same pages")]
        }
        _ => vec![ask],
    }
}

/// Workers of a pool may differ.
const ROUNDS: usize = 2;

/// The last round of the new release with those before it, and the round of the live one; or why the pool said nothing.
struct Seen {
    release: Result<HealthReport, String>,
    live: Result<HealthReport, String>,
}

/// Asks for the pages. `live`: the live release, where it is asked in the first script, too.
async fn look(cx: &Deploy, io: &Io, release: &Asker<'_>, live: Option<&Asker<'_>>) -> Result<Seen, Failure> {
    // The pool runs the file whatever the web server would do with it.
    let mark = cx.state.borrow().identity.clone();
    let mark = mark.filter(|mark| !matches!(mark.trust, Trust::Refused(_)));
    let own = pages(cx, mark.as_ref());
    let mut gets: Vec<Get> = std::iter::repeat_n(&own, ROUNDS).flatten().cloned().collect();
    // The strictest of the rules, which mostly is enough.
    gets.extend(probe::nowhere(&cx.inputs.health).first().map(|health| page(health, probe::NOWHERE)));
    let of_live = pages(cx, None);
    let visitor = Visitor { site: release, ..Visitor::after(cx) };
    let expected =
        Expected { site: release, clock: visitor.clock, mark: mark.as_ref(), release: cx.plan.turn.to.as_str() };
    let identity = Identity::Is(&cx.plan.commit, Some(expected));
    let mut report = HealthReport::default();
    let mut seen_live = Err(String::new());
    for attempt in 1..=probe::BASELINE_ROUNDS {
        let beside = live.filter(|_| attempt == 1);
        let asked: Vec<(&Asker<'_>, &[Get])> =
            std::iter::once((release, &*gets)).chain(beside.map(|live| (live, &*of_live))).collect();
        let mut said = Asker::fetch_all(&asked).await?.into_iter();
        let of_release = said.next().unwrap_or_else(|| Err(String::new()));
        if let (Some(live), Some(said)) = (beside, said.next()) {
            seen_live = match said {
                Ok(()) => Ok(schema::look(cx, live).await),
                Err(why) => Err(why),
            };
        }
        if let Err(why) = of_release {
            return Ok(Seen { release: Err(why), live: seen_live });
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
    Ok(Seen { release: Ok(report), live: seen_live })
}

/// What the rounds say. `live`: the live release, and what it answered already.
async fn judge(
    cx: &Deploy,
    io: &Io,
    release: &Asker<'_>,
    mut report: HealthReport,
    live: (Option<&Asker<'_>>, Option<HealthReport>),
    verdict: Option<&SchemaVerdict>,
) -> Result<Said, Failure> {
    let visitor = Visitor { site: release, ..Visitor::after(cx) };
    let causes = release.causes();
    let mut aside = Vec::new();
    if report.standing() == SiteStatus::Unhealthy {
        let current = cx.inputs.layout.current();
        if let Some(cause) = causes.iter().find(|cause| limited_to_current(cause, current.as_str())) {
            return Ok(Said::Nothing(cause.clone()));
        }
        if causes.is_empty() && report.identity.as_ref().is_some_and(|file| file.problem.is_some()) {
            return Ok(Said::Nothing("PHP-FPM runs no file of the release, and does not say why".to_owned()));
        }
        // That the live release fails as well is no doubt about the way where migrations did that to it.
        if !verdict.is_some_and(SchemaVerdict::is_unhealthy) {
            match set_aside(cx, live, &mut report).await? {
                Ok(pages) => aside = pages,
                Err(why) => return Ok(Said::Nothing(why)),
            }
            io.record(key::CANARY, &report);
        }
    }
    match report.standing() {
        SiteStatus::Healthy => {
            probe::negative_control(visitor).await?;
            let text = std::iter::once(probe::describe(&report)).chain(aside).collect::<Vec<_>>();
            return Ok(Said::Healthy(text.join("; ")));
        }
        SiteStatus::NotAsked => {
            let problem = report.asked().find_map(|endpoint| endpoint.problem.clone());
            return Ok(Said::Nothing(problem.unwrap_or_default()));
        }
        SiteStatus::Unhealthy => {}
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

/// The check of the check: a release is refused only for pages at which the live one, asked the same way, is healthy. What fails there for every
/// release says nothing of the new one: a file that the web server sends by itself, a parameter that only nginx has, a pool that is full. Such pages
/// are taken out of the report, and named; the others count. Gives why nothing can be said, where none is left.
async fn set_aside(
    cx: &Deploy,
    (live, said): (Option<&Asker<'_>>, Option<HealthReport>),
    report: &mut HealthReport,
) -> Result<Result<Vec<String>, String>, Failure> {
    let problem = || report.asked().find_map(|endpoint| endpoint.problem.clone()).unwrap_or_default();
    let Some(live) = live else {
        return Ok(Err(format!("{}, and no release is live with which to compare that", problem())));
    };
    let beside = match said {
        Some(said) => said,
        None => match live.fetch(&pages(cx, None)).await? {
            Ok(()) => schema::look(cx, live).await,
            Err(why) => return Ok(Err(format!("the live release, asked the same way: {why}"))),
        },
    };
    let fails = |endpoint: &&Endpoint| endpoint.problem.is_some();
    let failing: Vec<&str> = report.asked().filter(fails).map(|endpoint| endpoint.path.as_str()).collect();
    let mut compared = beside.asked().filter(|endpoint| failing.contains(&endpoint.path.as_str())).peekable();
    if compared.peek().is_none() {
        return Ok(Err(format!("{}, and the live release has no such page with which to compare that", problem())));
    }
    let too: Vec<(String, String)> =
        compared.filter_map(|endpoint| Some((endpoint.path.clone(), endpoint.problem.clone()?))).collect();
    let same = |endpoint: &Endpoint| endpoint.problem.is_some() && too.iter().any(|(path, _)| *path == endpoint.path);
    let health = report.endpoints.len();
    report.endpoints.retain(|endpoint| !same(endpoint));
    report.home = report.home.take().filter(|home| !same(home));
    let rest = report.endpoints.iter().chain(&report.home).find(fails);
    // Of the app itself the pool says too little then, but for a page at which this release alone fails.
    if let (true, None, Some((path, problem))) = (report.endpoints.len() < health, rest, too.first()) {
        return Ok(Err(format!("the live release is unhealthy, too, when it is asked this way ({path}: {problem})")));
    }
    if let (Some(file), None) = (report.identity.as_ref().and_then(|file| file.problem.as_ref()), rest) {
        return Ok(Err(format!("{file}, and the live release has no such page with which to compare that")));
    }
    Ok(Ok(too
        .iter()
        .map(|(path, problem)| format!("{path} not compared: so answers the live release ({problem})"))
        .collect()))
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
