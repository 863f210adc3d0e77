//! What staging has shown of the commit.

use crate::{
    context::Survey,
    domain::STAGING,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::staging,
    stages::shared::checks::sheet::Sheet,
};

/// Asks staging as a release to production would.
pub async fn staging(cx: &Survey, io: &Io) -> StepResult {
    let doing = "checking whether staging has confirmed this commit";
    let mut sheet = Sheet::new(cx, io, doing);
    if cx.inputs.environment.as_str() == STAGING {
        return Ok(Done::skipped("skipped: this is staging"));
    }
    let Some(staging) = &cx.staging else {
        sheet.failed("staging", errors::preflight::staging_url_missing());
        return sheet.end("skipped");
    };
    let case = staging::gather(cx, staging, io).await?;
    for said in &case.record.said {
        sheet.passed(&said.place, &said.text);
    }
    for against in &case.against {
        sheet.failed("staging", errors::Problem::from(against.clone()));
    }
    sheet.end(case.summary())
}
