//! The rows that start the sampler, read it, and stop it.

use crate::{
    config::typed::{Grace, Route},
    context::Deploy,
    domain::{
        Failure, format,
        record::{DowntimeReport, key},
        schema::SchemaVerdict,
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    errors,
    server::health::{
        naming,
        sampler::{ANSWER_TIMEOUT, Inner, LAST_WAIT, MOST_THROUGH_TUNNEL, Question, Quiet, Sides, describe, over},
    },
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

/// Answers that are waited for before the switch: only a sampler that works measures downtime.
pub(crate) const FIRST: u64 = 4;

/// Starts the sampler, right before the switch.
pub async fn start(cx: &Deploy, _io: &Io) -> StepResult {
    if cx.plan.turn.from.is_none() {
        return Ok(Done::skipped("nothing is live yet, so there is no availability to sample"));
    }
    if cx.state.borrow().schema.as_ref().is_some_and(SchemaVerdict::is_unhealthy) {
        // What visitors meet before the switch would count against the release that ends it.
        return Ok(Done::warned("downtime is not measured: the live release is unhealthy on the new schema"));
    }
    let health = &cx.inputs.health;
    let mut rate = health.sample_rate.max(1);
    let sampler = Quiet::of(cx);
    if matches!(cx.inputs.site.route, Route::Tunnel { .. }) && rate > MOST_THROUGH_TUNNEL {
        sampler.inner.samples.borrow_mut().remark(format!(
            "sampled {MOST_THROUGH_TUNNEL} times a second instead of {rate}: through the SSH tunnel each request needs a channel of its own"
        ));
        rate = MOST_THROUGH_TUNNEL;
    }
    let sampler = Rc::new(sampler.begin(rate));
    sampler.counted(FIRST, ANSWER_TIMEOUT).await;
    let first = sampler.downtime_report();
    if first.requests == 0 || first.failures == first.requests {
        sampler.stop().await;
        let cause = first.first_failures.first().map_or("no answer in time", |failed| failed.cause.as_str());
        let paths = first.paths.join(" and ");
        return Ok(Done::warned(match first.not_asked {
            0 => format!("downtime is not measured: {paths} fails before the switch ({cause})"),
            _ => format!("downtime is not measured: requests to {paths} do not reach the site"),
        }));
    }
    let text =
        format!("{} about {rate} times a second, over new and kept connections in turn", first.paths.join(" and "));
    cx.state.borrow_mut().sampler = Some(sampler);
    Ok(Done::passed(text))
}

/// Reads the downtime report before the release is confirmed: more downtime than the policy allows causes a rollback.
pub async fn check(cx: &Deploy, io: &Io) -> StepResult {
    let Some(sampler) = cx.state.borrow().sampler.clone() else {
        return Ok(Done::skipped("downtime was not measured"));
    };
    sampler.counted(sampler.inner.asked.get(), ANSWER_TIMEOUT + LAST_WAIT).await;
    let mut downtime_report = sampler.downtime_report();
    if !over(&downtime_report) {
        // Within its budget: the measurement ends here. Otherwise it goes on, so that the rollback is measured too.
        downtime_report = sampler.finish().await;
    }
    io.record(key::RECEIPT, &downtime_report);
    if over(&downtime_report) {
        return Err(too_much(&downtime_report));
    }
    if downtime_report.failures > 0 {
        io.warning(errors::health::requests_failed(&describe(&downtime_report), advice(cx)));
        return Ok(Done::warned(describe(&downtime_report)));
    }
    if downtime_report.not_asked > 0 {
        io.warning(errors::health::samples_missing(&describe(&downtime_report)));
        return Ok(Done::warned(describe(&downtime_report)));
    }
    Ok(Done::passed(describe(&downtime_report)))
}

/// Whether the site has failed for longer than the policy allows: no later answer can change that.
pub fn is_spent(cx: &Deploy) -> bool {
    cx.state.borrow().sampler.as_ref().is_some_and(|sampler| over(&sampler.downtime_report()))
}

/// Resolves when that is so; never, where nothing is measured.
pub async fn spent(cx: &Deploy) -> Failure {
    let sampler = cx.state.borrow().sampler.clone();
    if let Some(sampler) = sampler {
        let mut counted = sampler.counted.clone();
        while counted.changed().await.is_ok() {
            let downtime_report = sampler.downtime_report();
            if over(&downtime_report) {
                return too_much(&downtime_report);
            }
        }
    }
    std::future::pending().await
}

/// Resolves once so many requests in a row, asked from now on, were answered by the new release. Never, where that is not waited for, or
/// nothing is sampled.
pub async fn stable(cx: &Deploy, wanted: Option<u64>) -> String {
    let sampler = cx.state.borrow().sampler.clone();
    if let (Some(sampler), Some(wanted)) = (sampler, wanted) {
        let Inner { clock, samples, .. } = &*sampler.inner;
        let began = clock.elapsed();
        samples.borrow_mut().settling(began);
        let mut counted = sampler.counted.clone();
        while counted.changed().await.is_ok() {
            if samples.borrow().steady() >= wanted {
                let took = format::duration(clock.elapsed().saturating_sub(began));
                return format!("stable after {took}: {wanted} requests in a row were answered by the new release");
            }
        }
    }
    std::future::pending().await
}

/// What is to be said where [`stable`] was waited for in vain.
pub fn unstable(cx: &Deploy) -> Option<String> {
    let Grace::UntilStable { samples: wanted, .. } = cx.inputs.health.grace else { return None };
    let state = cx.state.borrow();
    let Some(sampler) = &state.sampler else { return Some("no availability is sampled".to_owned()) };
    let steady = sampler.inner.samples.borrow().steady();
    Some(format!(
        "not stable: of {wanted} requests in a row the new release answered the last {steady}; the health check decides"
    ))
}

pub(crate) fn too_much(downtime_report: &DowntimeReport) -> Failure {
    let details = downtime_report.first_failures.iter().map(ToString::to_string);
    errors::health::downtime(
        &describe(downtime_report),
        &format::duration(Duration::from_millis(downtime_report.budget_ms)),
        details,
    )
}

/// However the run ends: stops the sampler. After a rollback the downtime report includes the rollback.
pub async fn end(cx: &Deploy, io: &Io, _ending: &Ending) -> Result<String, Failure> {
    let sampler = cx.state.borrow_mut().sampler.take();
    let Some(sampler) = sampler else { return Ok("downtime was not measured".to_owned()) };
    let already_reported = sampler.finished.get();
    let downtime_report = sampler.finish().await;
    if !already_reported {
        io.record(key::RECEIPT, &downtime_report);
    }
    Ok(format!("stopped: {}", describe(&downtime_report)))
}

/// Before the link is renamed.
pub fn switching(cx: &Deploy) {
    if let Some(sampler) = &cx.state.borrow().sampler {
        sampler.inner.samples.borrow_mut().switching(sampler.inner.clock.elapsed());
    }
}

/// PHP-FPM was reloaded.
pub fn reloaded(cx: &Deploy) {
    if let Some(sampler) = &cx.state.borrow().sampler {
        sampler.inner.samples.borrow_mut().reloaded(sampler.inner.clock.elapsed());
    }
}

/// Before the link is renamed back.
pub fn turning_back(cx: &Deploy) {
    if let Some(sampler) = &cx.state.borrow().sampler {
        sampler.inner.samples.borrow_mut().turning_back(sampler.inner.clock.elapsed());
    }
}

pub(crate) fn advice(cx: &Deploy) -> String {
    match cx.plan.server.services.process_control_timeout {
        Some(0) => {
            "A reload cuts running requests, because PHP-FPM's `process_control_timeout` is 0. Set it to 10s".to_owned()
        }
        _ => "Read the logs of the web server and of PHP-FPM at these times".to_owned(),
    }
}

impl Quiet {
    pub(crate) fn of(cx: &Deploy) -> Self {
        let health = &cx.inputs.health;
        let first = health.paths.first().cloned().unwrap_or_else(|| "/".to_owned());
        let mut questions = vec![Question { path: first, bearer: health.token.clone(), lenient: false }];
        // Where the app names no release, the one-time file does.
        let file =
            cx.state.borrow().identity.as_ref().filter(|seen| seen.needed_to_tell()).map(|seen| seen.path.clone());
        questions.extend(file.map(|path| Question { path, bearer: None, lenient: true }));
        let turn = &cx.plan.turn;
        let sides = Sides {
            old: turn.from.as_deref().map(|from| naming::folder(from).to_owned()),
            new: turn.to.clone(),
            commit: cx.plan.commit.clone(),
            same_commit: turn.from.as_deref().is_none_or(|from| naming::same_commit(from, &cx.plan.commit)),
        };
        let clock = cx.ports.clock.clone();
        Self {
            inner: Rc::new(Inner {
                site: cx.ports.site.clone(),
                began: clock.elapsed(),
                clock,
                questions,
                sides,
                budget: health.max_downtime,
                rate: Cell::new(0),
                pace: Cell::new(Duration::ZERO),
                samples: RefCell::default(),
                asked: Cell::new(0),
                open: RefCell::default(),
                ended: Cell::new(None),
            }),
        }
    }
}
