//! Every health endpoint, asked once.

use crate::{
    clock::Clock,
    config::typed::{HealthAnswer, HealthPolicy},
    domain::{
        CommitSha,
        record::{Endpoint, HealthReport},
    },
    http::{Get, Site},
    server::health::probe::{
        help,
        quotes::Quotes,
        verdict::{answered_as, judge_as},
    },
};
use futures_util::future;
use std::time::Duration;

/// How long one answer may take. A site that needs longer is unhealthy.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks every endpoint at once. With `commit`, an endpoint that names a release must name that one (F74).
pub async fn round(
    site: &dyn Site,
    health: &HealthPolicy,
    clock: &dyn Clock,
    commit: Option<&CommitSha>,
    quotes: Quotes<'_>,
) -> HealthReport {
    let unix_ms = Some(clock.now().timestamp_millis());
    let endpoints = health.paths.iter().map(|path| ask(site, health, clock, path, commit, quotes));
    HealthReport { attempt: 1, of: 1, endpoints: future::join_all(endpoints).await, unix_ms, ..HealthReport::default() }
}

pub(crate) async fn ask(
    site: &dyn Site,
    health: &HealthPolicy,
    clock: &dyn Clock,
    path: &str,
    commit: Option<&CommitSha>,
    quotes: Quotes<'_>,
) -> Endpoint {
    let began = clock.elapsed();
    let answer = health.answers.get(path);
    // A text is looked for in what visitors get.
    let page = matches!(answer, Some(HealthAnswer::Contains(_)));
    let bearer = health.token.clone();
    let get = Get { path: path.to_owned(), bearer, timeout: ANSWER_TIMEOUT, page, ..Get::default() };
    let asked = Endpoint { path: path.to_owned(), ..Endpoint::default() };
    match site.get(get).await {
        Ok(reply) => {
            let problem = judge_as(&reply, answer, &health.expect, commit);
            let (problem, hint) = quotes.described(problem, clock).await.unzip();
            Endpoint {
                status: Some(reply.status),
                problem,
                hint: hint.flatten(),
                answered_as: answered_as(&reply),
                took_ms: millis(reply.took),
                vantage: reply.vantage,
                ..asked
            }
        }
        Err(unanswered) => Endpoint {
            not_asked: !unanswered.why.reached(),
            hint: help::help(unanswered.why).map(str::to_owned),
            problem: Some(unanswered.text),
            took_ms: millis(clock.elapsed().saturating_sub(began)),
            ..asked
        },
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
