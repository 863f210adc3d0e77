//! `preflight`: what a release would meet on the server, and whether it would go through.

pub mod proof;
pub mod table;

pub use self::table::table;

use crate::{
    context::Survey,
    domain::Failure,
    engine::{
        Decided, Decision, Done,
        step::{Io, StepResult},
    },
    server::{inspect::NO_SERVER, survey},
    stages::shared::checks::sheet::Sheet,
};

/// The place itself: tools, clock, base folder, marker, link, lock.
pub async fn place(cx: &Survey, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let doing = format!("surveying {} on the server", layout.base());
    // A server that could not be reached was told by the row that tried.
    if !cx.state.borrow().reached {
        return Ok(Done::skipped(NO_SERVER));
    }
    let looked = survey::look_around(cx, io, &doing).await?;
    let mut sheet = Sheet::new(cx, io, doing);
    let of_the_place = survey::problems(&cx.inputs, &looked).into_iter();
    for problem in of_the_place.filter(|problem| !problem.about.has_a_row()) {
        sheet.failed(layout.base().as_str(), problem.what);
    }
    let live = looked.current().map_or("nothing", survey::last_part).to_owned();
    if sheet.is_clean() {
        sheet.passed(layout.base().as_str(), format!("{live} is live"));
    }
    sheet.end(format!("{live} is live"))
}

/// GO, when every row has looked and none failed. There is nothing to approve: nothing follows.
pub fn decide(survey: Survey) -> Result<Decided<()>, Failure> {
    let found = survey.state.into_inner();
    // A row that did not look must have had a reason that failed (F69).
    if found.looked.is_none() || found.opened.is_none() {
        return Err(Failure::bug("deciding GO or NO-GO", "a row was skipped, and none failed"));
    }
    Ok(Decided { cx: (), decision: Decision::Go })
}
