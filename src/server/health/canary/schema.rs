//! What the live release makes of the schema that this run's migrations left.
//!
//! Its pages are asked for through the pool, in the same script as those of the new release. If all are healthy there, that is the verdict. Anything
//! else is asked of the site: that is how the pages were asked before the migrations, so only there an answer that became worse can be seen.

use super::asker::Asker;
use crate::{
    context::Deploy,
    domain::{
        record::{Endpoint, HealthReport},
        schema::SchemaVerdict,
    },
    engine::step::Io,
    server::health::probe::{self, Visitor},
};

/// Whether this run's migrations ran, or may have. Without them the schema is what it was.
pub(super) fn is_new(cx: &Deploy) -> bool {
    cx.state.borrow().migrations.as_deref() != Some(&[])
}

/// What the live release answered, from what the script fetched.
pub(super) async fn look(cx: &Deploy, live: &Asker<'_>) -> HealthReport {
    Visitor { site: live, ..Visitor::after(cx) }.look(None).await
}

/// `pool`: what the pool said of the live release, or why it said nothing.
pub(super) async fn judge(cx: &Deploy, io: &Io, pool: &Result<HealthReport, String>) -> SchemaVerdict {
    if cx.plan.server.live_tree.is_none() {
        return SchemaVerdict::not_asked("nothing is live yet");
    }
    let failing = match pool {
        Ok(report) if report.healthy() => return SchemaVerdict::healthy(),
        Ok(report) => match worse(cx, report) {
            Some(problem) => Some(problem),
            None => return as_before(report),
        },
        Err(_) => None,
    };
    // An answer of the pool is the first of two that have to agree. Where there is none, the site is asked twice.
    let looks = if failing.is_some() { 1 } else { 2 };
    let mut verdict = SchemaVerdict::not_asked("it gave no answer");
    for look in 1..=looks {
        let site = Visitor::after(cx).look(None).await;
        io.line(format!("the live release on the new schema, asked at the site: {}", probe::describe(&site)));
        verdict = match (worse(cx, &site), &failing) {
            (Some(problem), _) => SchemaVerdict::unhealthy(problem),
            (None, None) if site.healthy() => return SchemaVerdict::healthy(),
            (None, Some(problem)) if site.healthy() => {
                return SchemaVerdict::not_asked(format!(
                    "through the pool {problem}, and the web server gets a healthy answer"
                ));
            }
            (None, _) => as_before(&site),
        };
        if look < looks {
            cx.ports.clock.sleep(probe::BASELINE_PAUSE).await;
        }
    }
    verdict
}

/// The first page that is unhealthy and was not before the migrations. What did not reach the site says nothing.
fn worse(cx: &Deploy, report: &HealthReport) -> Option<String> {
    let new = |endpoint: &&Endpoint| !endpoint.not_asked && !cx.plan.unhealthy.contains(&endpoint.path);
    report.asked().filter(new).find_map(described)
}

/// Nothing became worse, and not all is well.
fn as_before(report: &HealthReport) -> SchemaVerdict {
    let unasked = report.asked().find(|endpoint| endpoint.not_asked).and_then(described);
    let same =
        || report.asked().find_map(described).map(|problem| format!("unhealthy before the migrations, too: {problem}"));
    SchemaVerdict::not_asked(unasked.or_else(same).unwrap_or_else(|| "it gave no answer".to_owned()))
}

fn described(endpoint: &Endpoint) -> Option<String> {
    Some(format!("{}: {}", endpoint.path, endpoint.problem.as_ref()?))
}
