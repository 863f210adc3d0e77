//! The rows that check whether both services can be reloaded.

use crate::{
    context::{Deploy, Survey},
    domain::Failure,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::{
        inspect,
        services::ready::{DOING, Ready, ask},
    },
};

/// What the survey of a release, of a rollback and of a pre-flight asks. `None` where it is not known which PHP-FPM serves the site.
pub async fn survey(cx: &Survey, io: &Io) -> Result<Option<Ready>, Failure> {
    let looked = cx.state.borrow().looked.clone();
    let Some(Ok(serving)) = looked.as_ref().map(|looked| looked.serving.as_ref()) else { return Ok(None) };
    let current = cx.inputs.layout.current();
    ask(&*cx.ports.shell, io, &serving.fpm, (current.as_str(), ""), DOING).await.map(Some)
}

/// Before anything changes.
pub async fn look(cx: &Survey, io: &Io) -> StepResult {
    let Some(ready) = survey(cx, io).await? else {
        return Ok(Done::skipped("not checked: which PHP-FPM serves the site is not known"));
    };
    judge(&ready, io)
}

/// Right before the switch: finds what was broken since the survey.
pub async fn again(cx: &Deploy, io: &Io) -> StepResult {
    let (current, next) = (cx.inputs.layout.current(), cx.inputs.layout.release(&cx.plan.turn.to));
    let fpm = &cx.plan.server.services.fpm;
    judge(&ask(&*cx.ports.shell, io, fpm, (current.as_str(), next.as_str()), DOING).await?, io)
}

pub(crate) fn judge(ready: &Ready, io: &Io) -> StepResult {
    ready.tell(io);
    let problems = ready.problems();
    if !problems.is_empty() {
        return Err(inspect::refusal(DOING, problems));
    }
    Ok(match ready.changed.as_slice() {
        [] => Done::passed("both are running and can be reloaded"),
        changed => {
            let files: Vec<&str> = changed.iter().map(|changed| changed.path.as_str()).collect();
            Done::warned(format!("both are running; the reload will activate {}", files.join(", ")))
        }
    })
}
