//! Row 14, after the canary: pages of the new release are asked for through the pool, so that PHP has compiled what they run before a visitor asks.
//! And row 17, because the reload empties OPcache: what was compiled before the switch serves the visitors until then.
//!
//! Only a release that the canary found healthy is asked: what fails there has failed already, and where the pool cannot be reached nothing can be
//! warmed. No page is judged: a redirect to the login runs the code as well.

use super::asker::Asker;
use crate::{
    context::Deploy,
    domain::format,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors::health,
    http::{Get, Site as _},
    server::health::probe::round::ANSWER_TIMEOUT,
};

/// Asks for the pages of policy `warm-up`, one after the other: before the switch, and after the reload.
pub async fn warm_up(cx: &Deploy, io: &Io) -> StepResult {
    let paths = &cx.inputs.health.warm_up;
    if paths.is_empty() {
        return Ok(Done::skipped("`warm-up` is not set"));
    }
    let healthy = cx.state.borrow().canary_healthy;
    let gateway = match &cx.plan.server.services.gateway {
        Ok(gateway) if healthy => gateway,
        _ => return Ok(Done::skipped("the canary has not found the release healthy")),
    };
    let release = Asker::new(cx, io, gateway, cx.inputs.layout.release(&cx.plan.turn.to).to_string());
    let gets: Vec<Get> = paths
        .iter()
        .map(|path| Get { path: path.clone(), timeout: ANSWER_TIMEOUT, page: true, ..Get::default() })
        .collect();
    if let Err(why) = release.fetch(&gets).await? {
        io.warning(health::warm_up_failed(&why));
        return Ok(Done::warned(why));
    }
    let (mut took, mut problems) = (Vec::new(), Vec::new());
    for get in gets {
        let path = get.path.clone();
        match release.get(get).await {
            Ok(reply) if reply.status < 500 => took.push(format!("{path} {}", format::duration(reply.took))),
            Ok(reply) => problems.push(format!("{path}: {}", reply.status)),
            Err(unanswered) => problems.push(format!("{path}: {unanswered}")),
        }
    }
    if problems.is_empty() {
        return Ok(Done::passed(took.join(", ")));
    }
    let problems = problems.join(", ");
    io.warning(health::warm_up_failed(&problems));
    Ok(Done::warned(problems))
}

/// What the plan says.
pub fn warm_up_preview(cx: &Deploy) -> Vec<String> {
    match cx.inputs.health.warm_up.as_slice() {
        [] => vec!["nothing (`warm-up` is not set)".to_owned()],
        paths => vec![format!("ask {} for {}", cx.inputs.layout.release(&cx.plan.turn.to), paths.join(", "))],
    }
}
