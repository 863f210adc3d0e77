//! The site: whether it is healthy, whether the check can say otherwise, and whether the health token is one and the same everywhere.

use std::time::Duration;

use super::{
    Audit, Sheet,
    machine::{self, NOT_ASKED},
};
use crate::{
    config::typed::HealthPolicy,
    context::Survey,
    domain::{
        Secret, Sha256Digest,
        record::{HealthReport, key},
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::health::probe::{self, Quotes},
};

/// Rounds of asking, and the time between two of them.
const ROUNDS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

fn refused(report: &HealthReport) -> bool {
    report.endpoints.iter().any(|endpoint| matches!(endpoint.status, Some(401 | 403)))
}

/// With the token, without it, with a wrong one, and a page that does not exist.
pub async fn health(cx: &Audit, io: &Io) -> StepResult {
    let Some(survey) = &cx.server else { return Ok(Done::skipped(NOT_ASKED)) };
    if tunnelled(survey) && !survey.state.borrow().reached {
        return Ok(Done::skipped(machine::NO_ANSWER));
    }
    if survey.state.borrow().nothing_is_live() {
        return Ok(Done::skipped("nothing is live yet"));
    }
    let policy = &survey.inputs.health;
    let url = survey.inputs.site.url.as_str().trim_end_matches('/').to_owned();
    let source = format!("GET {url} {}", policy.paths.join(", "));
    let mut sheet = Sheet::new(cx, io, "checking the site's health");
    let mut report = ask(survey, policy).await;
    // As before a release: a site that is healthy in one of three rounds is healthy, and a refused token stays refused.
    for _ in 1..ROUNDS {
        if report.healthy() || refused(&report) {
            break;
        }
        survey.ports.clock.sleep(PAUSE).await;
        report = ask(survey, policy).await;
    }
    io.record(key::BASELINE, &report);
    let described = describe(&report);
    match report.healthy() {
        true => sheet.met("health", &described, &source),
        false => sheet.not_met(
            "health",
            &described,
            "Read the application's log (shared/storage/logs) and PHP-FPM's log on the server.",
            &source,
        ),
    }
    let mut control = HealthReport::default();
    for rule in probe::nowhere(policy) {
        control = ask(survey, &rule).await;
        if !control.healthy() {
            break;
        }
    }
    match control.healthy() {
        false => sheet.met("probe-can-fail", self::describe(&control), format!("GET {url}{}", probe::NOWHERE)),
        true => sheet.not_met(
            "probe-can-fail",
            "a page that does not exist answers as healthy, so a healthy answer proves nothing",
            "Give each path in `health-paths` its own route, and answer 404 to unknown pages.",
            format!("GET {url}{}", probe::NOWHERE),
        ),
    }
    guards(&mut sheet, survey, policy, &source).await;
    sheet.end()
}

async fn guards(sheet: &mut Sheet<'_>, survey: &Survey, policy: &HealthPolicy, source: &str) {
    if !probe::takes_token(policy) {
        sheet.met("token-guards", "no health path takes a token", source);
        return;
    }
    if policy.token.is_none() {
        sheet.unseen("token-guards", "healthcheck-token is empty in this step", "Pass `healthcheck-token`.", source);
        return;
    }
    let without = ask(survey, &HealthPolicy { token: None, ..policy.clone() }).await;
    let wrong = ask(survey, &HealthPolicy { token: Some(Secret::new(probe::WRONG_TOKEN)), ..policy.clone() }).await;
    let described = format!("without a token: {}; with a wrong one: {}", describe(&without), describe(&wrong));
    match refused(&without) && refused(&wrong) {
        true => sheet.met("token-guards", described, source),
        false => sheet.not_met(
            "token-guards",
            described,
            "Let the health route compare the token (hash_equals) and answer 401 otherwise, or remove `healthcheck-token`.",
            source,
        ),
    }
}

/// The token's SHA-256 on both sides. No token is ever shown, and of the digests no more than the first eight digits.
pub async fn token(cx: &Audit, io: &Io) -> StepResult {
    let survey = match machine::reached(cx) {
        Ok(survey) => survey,
        Err(skipped) => return Ok(skipped),
    };
    let doing = "comparing the health token with the server's";
    let file = survey.inputs.layout.env_file();
    let source = format!("SHA-256 of healthcheck-token, and of HEALTHCHECK_TOKEN in {file}");
    let mut sheet = Sheet::new(cx, io, doing);
    let answer = machine::ask(survey, io, doing).await?;
    let ours = survey.inputs.health.token.as_ref().map(|token| Sha256Digest::of(token.expose()));
    let theirs = match answer.get("token").map(str::trim) {
        None => {
            let shows = format!("Give the file a group of the deploy user, then run: chmod 640 {file}");
            sheet.unseen("health-token-match", format!("{file} does not exist or cannot be read"), shows, source);
            return sheet.end();
        }
        Some(said) => said.parse::<Sha256Digest>().ok(),
    };
    let digests =
        |ours: &Sha256Digest, theirs: &Sha256Digest| format!("workflow {}, .env {}", ours.short(), theirs.short());
    match (ours, theirs) {
        // An app may well be open about its health.
        (None, None) => sheet.met("health-token-match", "neither side has a token", source),
        (None, Some(theirs)) => sheet.not_met(
            "health-token-match",
            format!("{file} has one ({}), and healthcheck-token is empty in this step", theirs.short()),
            "Pass `healthcheck-token`. A secret is often empty because it belongs to another `environment:`.",
            source,
        ),
        (Some(_), None) => sheet.not_met(
            "health-token-match",
            format!("HEALTHCHECK_TOKEN is not set in {file}"),
            format!("Set HEALTHCHECK_TOKEN in {file} to the value of the workflow's secret."),
            source,
        ),
        (Some(ours), Some(theirs)) if ours != theirs => {
            let site = match site_takes(survey).await {
                Takes::Yes => {
                    "does not refuse the workflow's token: it runs with an older configuration, or checks no token"
                }
                Takes::No => "refuses the workflow's token",
                Takes::NotAsked => "does not show which token it accepts, because no path in health-paths takes one",
                Takes::Unknown => "does not show which token it accepts",
            };
            sheet.not_met(
                "health-token-match",
                format!("{}: they differ, and the site {site}", digests(&ours, &theirs)),
                "Write the server's token into the workflow's secret, or run the fix `health-token`.",
                source,
            );
        }
        (Some(ours), Some(theirs)) => {
            let same = format!("{}: the same", digests(&ours, &theirs));
            if survey.state.borrow().nothing_is_live() {
                sheet.met("health-token-match", format!("{same}; nothing is live yet"), source);
                return sheet.end();
            }
            match site_takes(survey).await {
                Takes::Yes => sheet.met("health-token-match", format!("{same}, and the site accepts it"), source),
                Takes::NotAsked => {
                    let remark = "no path in health-paths takes a token, so the site was not asked for it";
                    sheet.met("health-token-match", format!("{same}; {remark}"), source);
                }
                Takes::No => sheet.not_met(
                    "health-token-match",
                    format!("{same}, and the site refuses it: it runs with an older configuration"),
                    "Release again, which rebuilds the configuration cache.",
                    source,
                ),
                Takes::Unknown => sheet.unseen(
                    "health-token-match",
                    format!("{same}, but the site does not show whether it accepts it"),
                    "Correct the finding `health` first.",
                    source,
                ),
            }
        }
    }
    sheet.end()
}

/// What the site makes of the workflow's token.
#[derive(Debug, PartialEq, Eq)]
enum Takes {
    Yes,
    No,
    /// No health path takes a token.
    NotAsked,
    /// It is down, or unhealthy.
    Unknown,
}

async fn site_takes(survey: &Survey) -> Takes {
    let policy = &survey.inputs.health;
    judge_token(policy, &ask(survey, policy).await)
}

/// Only the answer of a path that takes a token says something of the token.
fn judge_token(policy: &HealthPolicy, report: &HealthReport) -> Takes {
    let takes = |path: &str| probe::takes_token(&HealthPolicy { paths: vec![path.to_owned()], ..policy.clone() });
    if !probe::takes_token(policy) {
        Takes::NotAsked
    } else if refused(report) {
        Takes::No
    } else if report.endpoints.iter().any(|endpoint| endpoint.problem.is_none() && takes(&endpoint.path)) {
        Takes::Yes
    } else {
        Takes::Unknown
    }
}

async fn ask(survey: &Survey, policy: &HealthPolicy) -> HealthReport {
    let quotes = match survey.state.borrow().reached {
        true => Quotes::of(&survey.ports, &survey.inputs),
        false => Quotes::Plain,
    };
    probe::round(&*survey.ports.site, policy, &*survey.ports.clock, None, quotes).await
}

fn tunnelled(survey: &Survey) -> bool {
    matches!(survey.inputs.site.route, crate::config::typed::Route::Tunnel { .. })
}

fn describe(report: &HealthReport) -> String {
    let each = report.endpoints.iter().map(|endpoint| match &endpoint.problem {
        None => format!("{} {}", endpoint.path, endpoint.status.map_or("-".to_owned(), |status| status.to_string())),
        Some(problem) => format!("{}: {problem}", endpoint.path),
    });
    each.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        config::typed::{Grace, HealthAnswer},
        domain::record::Endpoint,
    };

    fn policy(paths: &[&str], answers: BTreeMap<String, HealthAnswer>) -> HealthPolicy {
        HealthPolicy {
            token: Some(Secret::new("a token")),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            answers,
            home: None,
            expect: vec!["ok".to_owned()],
            attempts: 1,
            interval: Duration::ZERO,
            grace: Grace::Wait(Duration::ZERO),
            repair: false,
            max_downtime: Duration::ZERO,
            sample_rate: 1,
            warm_up: Vec::new(),
        }
    }

    fn report(answers: &[(&str, u16, bool)]) -> HealthReport {
        let endpoints = answers.iter().map(|(path, status, healthy)| Endpoint {
            path: (*path).to_owned(),
            status: Some(*status),
            problem: (!healthy).then(|| "unhealthy".to_owned()),
            hint: None,
            not_asked: false,
            vantage: None,
            answered_as: None,
            took_ms: 1,
        });
        HealthReport { endpoints: endpoints.collect(), ..HealthReport::default() }
    }

    #[test]
    fn the_token_is_judged_by_the_healthy_answer_of_a_path_that_takes_one() {
        let up = || BTreeMap::from([("/up".to_owned(), HealthAnswer::Status(204))]);
        let both = policy(&["/up", "/health"], up());
        for (health, up_status, takes) in [
            ((200, true), (204, true), Takes::Yes),
            // Whatever status counts as healthy there, and whatever page answers 200 without being healthy.
            ((202, true), (204, true), Takes::Yes),
            ((200, false), (204, true), Takes::Unknown),
            ((503, false), (204, true), Takes::Unknown),
            ((401, false), (204, true), Takes::No),
            ((403, false), (200, true), Takes::No),
        ] {
            let answers = report(&[("/up", up_status.0, up_status.1), ("/health", health.0, health.1)]);
            assert_eq!(judge_token(&both, &answers), takes, "{answers:?}");
        }
        let open = policy(&["/up"], up());
        assert_eq!(judge_token(&open, &report(&[("/up", 204, true)])), Takes::NotAsked);
        assert_eq!(judge_token(&open, &report(&[("/up", 200, true)])), Takes::NotAsked);
    }
}
