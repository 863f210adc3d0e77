//! Plan and approval: from the survey to the plan facts, and whether the run continues.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    bundle::artifact::github_failure,
    config::typed,
    context::Ports,
    domain::{Approval, CommitSha, Failure, Sha256Digest},
    engine::Decision,
    errors::approval,
    github::Review,
    server::inspect::ServerState,
};

/// Whether the run continues, by the input `approval` and the present plan.
pub fn by_approval(inputs: &typed::Target, plan: &Sha256Digest) -> Decision {
    decide_by(&inputs.approval, &inputs.phrase, inputs.plan_only, plan)
}

/// The same for whatever has an approval and a phrase.
pub fn decide_by(given: &Approval, phrase: &str, plan_only: bool, plan: &Sha256Digest) -> Decision {
    if plan_only {
        return Decision::Plan { because: "plan-only is true".to_owned() };
    }
    match given {
        Approval::Missing => Decision::Plan { because: "`approval` is not set".to_owned() },
        Approval::Append => {
            Decision::Plan { because: "`approval` is APPEND MISSING INFO, which only completes the report".to_owned() }
        }
        Approval::Abort => Decision::Refuse(approval::aborted()),
        Approval::Wrong { given, expected } => Decision::Refuse(approval::phrase_wrong(given, expected)),
        Approval::Short { digest } => Decision::Refuse(approval::digest_short(digest, phrase, plan)),
        Approval::Given { plan_digest: None } => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } if Approval::matches_plan(digest, plan) => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } => Decision::Refuse(approval::outdated(digest, phrase, plan)),
    }
}

/// If the policy requires it, a run continues only with the approval of a reviewer at GitHub who is not its author.
pub async fn reviewed(decision: Decision, inputs: &typed::Target, commits: &[&CommitSha], ports: &Ports) -> Decision {
    let (Decision::Go, Some(environment)) = (&decision, &inputs.review) else { return decision };
    match review(environment, &inputs.run, commits, ports).await {
        Ok(()) => decision,
        Err(failure) => Decision::Refuse(failure),
    }
}

/// GitHub lists what reviewers said of a run without a date and without the attempt that it was said of. So a run that was started again cannot
/// be told from what it was before, and of two words of one reviewer the rejection counts.
async fn review(
    environment: &str,
    run: &typed::RunIdentity,
    commits: &[&CommitSha],
    ports: &Ports,
) -> Result<(), Failure> {
    let doing = format!("reading the reviews of this run for {environment} at GitHub");
    let Some(id) = run.id else { return Err(approval::review_outside_actions(doing)) };
    if let Some(attempt) = run.attempt.filter(|attempt| *attempt > 1) {
        return Err(approval::review_of_rerun(doing, attempt));
    }
    let github = ports.github()?;
    let reviews = github.reviews(id).await.map_err(|error| github_failure(&doing, &error))?;
    let mut people = Vec::new();
    for commit in commits.iter().collect::<BTreeSet<_>>() {
        people.extend(github.people_of(commit).await.map_err(|error| github_failure(&doing, &error))?);
    }
    let here: Vec<&Review> = reviews
        .iter()
        .filter(|review| review.environments.iter().any(|name| name.eq_ignore_ascii_case(environment)))
        .collect();
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let said = |state: &'static str| {
        here.iter().filter(move |review| review.state == state).filter_map(|review| review.user.as_deref())
    };
    let mut refused = Vec::new();
    for user in said("approved") {
        let why = if run.authors.iter().any(|author| is(author, user)) {
            "but also started it"
        } else if people.iter().any(|author| is(author, user)) {
            "but also wrote the commit"
        } else if said("rejected").any(|other| is(other, user)) {
            "but also rejected it"
        } else {
            return Ok(());
        };
        refused.push(format!("@{user} approved it, {why}"));
    }
    refused.dedup();
    Err(approval::review_missing(doing, environment, &refused))
}

/// What was found on the server and decides what runs there.
pub fn found(server: &ServerState) -> serde_json::Value {
    serde_json::json!({ "php": server.php_version, "fpm": server.services.fpm, "reload": server.services.reload })
}

/// Typed inputs, whole. A setting that is left out of their serialisation stands there with its reason.
pub fn settings(inputs: &impl Serialize) -> serde_json::Value {
    // No map of theirs has a key that is no text, so this is always JSON; anything else would give a plan that no approval can match.
    serde_json::to_value(inputs)
        .unwrap_or_else(|error| serde_json::json!([error.to_string(), uuid::Uuid::new_v4().to_string()]))
}
