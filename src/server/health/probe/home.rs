//! The home page. It is no health endpoint: its answer is compared with the answer of the live release.

use crate::{
    domain::{CommitSha, record::HealthReport},
    server::health::probe::round,
};
use futures_util::future;

use super::{
    Visitor,
    help::help,
    round::{ANSWER_TIMEOUT, millis},
    verdict,
};
use crate::{
    domain::record::Endpoint,
    http::{Get, Reply, Unanswered},
};

/// Redirects within the site that are followed.
const HOPS: u32 = 5;

/// Asks as a visitor does, without a token. `None` where the policy has no home.
pub(super) async fn ask(visitor: Visitor<'_>) -> Option<Endpoint> {
    let path = visitor.health.home.clone()?;
    let began = visitor.clock.elapsed();
    let answer = follow(visitor, &path).await;
    let took_ms = millis(visitor.clock.elapsed().saturating_sub(began));
    let asked = Endpoint { path, took_ms, ..Endpoint::default() };
    Some(match answer {
        Ok((reply, turns)) => {
            let problem = match turns {
                true => Some(verdict::in_a_circle(HOPS)),
                false => verdict::judge_home(&reply, visitor.home_before, &visitor.log()),
            };
            let (problem, hint) = visitor.quotes.described(problem, visitor.clock).await.unzip();
            Endpoint { status: Some(reply.status), problem, hint: hint.flatten(), vantage: reply.vantage, ..asked }
        }
        Err(unanswered) => Endpoint {
            not_asked: !unanswered.why.reached(),
            hint: help(unanswered.why).map(str::to_owned),
            problem: Some(unanswered.text),
            ..asked
        },
    })
}

/// The last answer, and whether it still leads on within the site.
async fn follow(visitor: Visitor<'_>, path: &str) -> Result<(Reply, bool), Unanswered> {
    let mut path = path.to_owned();
    let mut hops = 0;
    loop {
        let get = Get { path: path.clone(), timeout: ANSWER_TIMEOUT, page: true, ..Get::default() };
        let reply = visitor.site.get(get).await?;
        let next = reply.redirect().and_then(|location| visitor.site.within(&path, location));
        match next {
            Some(next) if hops < HOPS => path = next,
            next => return Ok((reply, next.is_some())),
        }
        hops += 1;
    }
}

impl<'a> Visitor<'a> {
    /// Every endpoint and the home page, once.
    pub(crate) async fn look(self, commit: Option<&CommitSha>) -> HealthReport {
        let round = round(self.site, self.health, self.clock, commit, self.quotes);
        let (report, home) = future::join(round, ask(self)).await;
        HealthReport { home, ..report }
    }
}
