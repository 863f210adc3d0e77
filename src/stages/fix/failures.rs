//! `staging-failures`: reads the logs of the last failed runs of the staging workflow, and names the causes that are known. It only reads, so there is
//! nothing to approve.

use serde_json::json;

use super::{Fix, Proposal, refusal};
use crate::{
    domain::{
        fix::Setting,
        record::{Diagnosis, key},
    },
    engine::step::{Io, StepResult},
    errors,
    github::{GithubError, RepositoryRead},
    stages::shared::diagnose,
};

pub async fn look(cx: &Fix<()>, io: &Io) -> StepResult {
    let github = cx.github()?;
    let workflow = &cx.world.inputs.staging_workflow;
    let doing = format!("listing the runs of {workflow}");
    let reader: &dyn RepositoryRead = github;
    let found = diagnose::failures_of(reader, workflow, io).await.map_err(|error| match error {
        GithubError::NotFound(what) => errors::fix::workflow_unknown(&doing, workflow, &what, "staging-workflow"),
        error => refusal(&doing, &error, "actions=read"),
    })?;
    io.record(key::DIAGNOSES, &found);
    let known = found.iter().filter(|one| one.signature.is_some()).count();
    let nothing = match found.len() {
        0 => format!("no run of {workflow} among the newest failed"),
        1 => format!("1 failed run was read; the cause of {known} is known"),
        runs => format!("{runs} failed runs were read; the cause of {known} is known"),
    };
    let proposal = Proposal {
        subject: format!("{workflow} of {}", github.repository()),
        before: found.iter().flat_map(settings).collect(),
        wanted: Vec::new(),
        sends: Vec::new(),
        needs: "actions=read".to_owned(),
        nothing: Some(nothing),
        bound: json!(null),
    };
    cx.propose(io, proposal, ())
}

/// What is known of one run: where it failed, why, the line that shows it, and what to do.
fn settings(one: &Diagnosis) -> Vec<Setting> {
    let run = format!("run {}", one.run);
    let mut place: Vec<&str> = vec![one.url.as_str()];
    place.extend(one.job.as_deref());
    place.extend(one.step.as_deref());
    let class = one.class.as_deref().map(|class| format!(" ({class})")).unwrap_or_default();
    let mut settings = vec![
        Setting::new(&run, place.join(", ")),
        Setting::new(format!("{run}: cause"), format!("{}{class}", one.cause)),
    ];
    settings.extend(one.line.as_ref().map(|line| Setting::new(format!("{run}: line"), line)));
    settings.push(Setting::new(format!("{run}: what to do"), &one.to_do));
    settings
}
