//! The seam of a release: from what the survey found to the facts that hold from here on, and whether to go on.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    artifact::github_failure,
    context::{Build, Deploy, Facts, Found, Made, Ports, ServerFacts, Staging, Survey},
    staging,
};
use crate::{
    domain::{Approval, CommitSha, Failure, Move, ReleaseName, Sha256Digest, fact},
    engine::{Decision, Events, Seam, event::Body},
    errors::{approval, release_dir},
    inputs::typed,
    ports::github::Review,
};

/// Fixes the facts and reads the approval against them.
pub async fn settle(survey: Survey, events: &Events) -> Result<Seam<Deploy>, Failure> {
    let (source, asked_for) = (survey.source()?, survey.asked_for()?.clone());
    let Survey { inputs, staging: asked_of_staging, ports, found, .. } = survey;
    let Found { build, server, staging: proven, opened, outlook, home, .. } = found.into_inner();
    let server = server.ok_or_else(|| Failure::bug("planning the release", "nobody looked at the server"))?;
    let decided_at = ports.clock.now();
    let to = ReleaseName::new(decided_at, &source.commit);
    if let Some(newest) = server.releases.last().filter(|newest| **newest >= to) {
        let now = decided_at.format("%Y%m%d_%H%M%S").to_string();
        return Err(release_dir::from_future(newest.as_str(), &now));
    }
    let turn = Move { from: server.current.clone(), to };
    let plan = Plan {
        inputs: &inputs,
        source: &asked_for,
        staging: asked_of_staging.as_deref(),
        turn: &turn,
        server: &server,
        build: build.as_ref(),
        bundle: opened.as_ref().map(|opened| &opened.bundle.sha256),
        proven: proven.as_ref(),
        outlook: outlook.as_deref(),
    };
    if let (Some(ours), Some(proven)) = (plan.bundle, plan.proven.and_then(|staging| staging.bundle_sha256.as_ref())) {
        staging::compare(ours, proven)?;
    }
    let plan_digest = plan.digest();
    let known = plan.is_whole();
    let decision = match known {
        true => decide(&inputs, &plan_digest),
        false => decide_without_bundle(&inputs),
    };
    let decision = reviewed(decision, &inputs, &[&source.commit, &asked_for.commit], &ports).await;
    let step = crate::domain::StepId::new("plan");
    let tell = |key: &str, value: serde_json::Value| {
        events.tell(Body::Fact { step: step.clone(), key: key.to_owned(), value })
    };
    if known {
        tell(fact::key::PLAN_DIGEST, plan_digest.as_str().into());
    }
    tell(fact::key::EXECUTED, matches!(decision, Decision::Go).into());
    tell(fact::key::RELEASE, turn.to.as_str().into());
    let facts = Facts {
        turn,
        commit: source.commit.clone(),
        decided_at,
        server,
        build,
        outlook,
        home,
        staging: proven,
        target: None,
        plan_digest,
    };
    Ok(Seam {
        cx: Deploy { inputs, source: Some(source), ports, facts, made: Made { opened, ..Made::default() }.into() },
        decision,
    })
}

/// Whether to go on, by what somebody wrote into `approval` and the plan that there is now.
pub fn decide(inputs: &typed::Target, plan: &Sha256Digest) -> Decision {
    decide_by(&inputs.approval, &inputs.phrase, inputs.plan_only, plan)
}

/// The same where the bundle is not there yet. Nobody can say what would be released, so no digest approves it; the phrase alone does where the
/// policy takes it, and then approves whatever this commit's build makes.
fn decide_without_bundle(inputs: &typed::Target) -> Decision {
    match &inputs.approval {
        _ if inputs.plan_only => Decision::Plan { because: "plan-only is true".to_owned() },
        Approval::Missing => Decision::Plan {
            because: "the bundle is not there yet, so that there is nothing to approve: run this again when the build has ended".to_owned(),
        },
        Approval::Given { plan_digest: Some(_) } => Decision::Refuse(approval::plan_without_digest()),
        given => match decide_by(given, &inputs.phrase, inputs.plan_only, &Sha256Digest::of("")) {
            Decision::Refuse(failure) if matches!(given, Approval::Short { .. }) => Decision::Refuse(failure.hint(approval::AFTER_THE_BUILD)),
            decision => decision,
        },
    }
}

/// The same for whatever has an approval and a phrase.
pub fn decide_by(given: &Approval, phrase: &str, plan_only: bool, plan: &Sha256Digest) -> Decision {
    if plan_only {
        return Decision::Plan { because: "plan-only is true".to_owned() };
    }
    match given {
        Approval::Missing => Decision::Plan { because: format!("no approval was given; `{phrase}` approves it") },
        Approval::Append => Decision::Plan { because: "the approval asks for the missing information only".to_owned() },
        Approval::Abort => Decision::Refuse(approval::aborted()),
        Approval::Wrong { given, expected } => Decision::Refuse(approval::phrase_wrong(given, expected)),
        Approval::Short { digest } => Decision::Refuse(approval::digest_short(digest, phrase, plan)),
        Approval::Given { plan_digest: None } => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } if Approval::matches_plan(digest, plan) => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } => Decision::Refuse(approval::outdated(digest, phrase, plan)),
    }
}

/// Where the policy asks for it, a run goes on only if somebody else than its author has approved it at GitHub.
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
    let doing = format!("asking GitHub who approved this run for {environment}");
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
            "who also started it"
        } else if people.iter().any(|author| is(author, user)) {
            "who wrote the commit"
        } else if said("rejected").any(|other| is(other, user)) {
            "who also rejected it"
        } else {
            return Ok(());
        };
        refused.push(format!("@{user} did, {why}"));
    }
    refused.dedup();
    Err(approval::review_missing(doing, environment, &refused))
}

/// What an approval is bound to: every setting, and everything that was found and decides what runs. What was found and decides only the time
/// (free space, clocks) is not in it.
struct Plan<'a> {
    inputs: &'a typed::Target,
    source: &'a typed::Source,
    staging: Option<&'a Staging>,
    turn: &'a Move,
    server: &'a ServerFacts,
    build: Option<&'a Build>,
    bundle: Option<&'a Sha256Digest>,
    proven: Option<&'a fact::Staging>,
    outlook: Option<&'a fact::Outlook>,
}

impl Plan<'_> {
    /// Whether it is known what would be released.
    fn is_whole(&self) -> bool {
        self.build.is_some() && self.bundle.is_some()
    }

    fn digest(&self) -> Sha256Digest {
        let Self { inputs, source, staging, turn, server, build, bundle, proven, outlook } = self;
        let plan = serde_json::json!({
            "version": 2,
            // Other versions may run other commands.
            "action": env!("CARGO_PKG_VERSION"),
            "settings": settings(&(inputs, source, staging.map(|staging| &staging.inputs))),
            "from": turn.from,
            "build": build.map(|build| serde_json::json!({
                "run": build.run.id,
                "attempt": build.run.attempt,
                "workflow": build.run.path,
                "artifact": build.artifact.id,
                "digest": build.artifact.digest,
            })),
            "bundle": bundle,
            "staging": proven.map(|staging| serde_json::json!({
                "commit": staging.commit,
                "asked for": staging.asked_for.as_ref().map(|asked| (&asked.commit, &asked.tree)),
                "release": staging.release,
                "bundle": staging.bundle_sha256,
            })),
            "server": found(server),
            "migrations": outlook.map(|outlook| {
                let pending = outlook.migrations.iter().map(|migration| serde_json::json!([migration.name, migration.sha256]));
                (pending.collect::<Vec<_>>(), &outlook.migrations_unknown)
            }),
        });
        Sha256Digest::of(plan.to_string())
    }
}

/// What was found on the server and decides what runs there.
pub fn found(server: &ServerFacts) -> serde_json::Value {
    serde_json::json!({ "php": server.php_version, "fpm": server.services.fpm, "reload": server.services.reload })
}

/// Typed inputs, whole. A setting that is left out of their serialisation stands there with its reason.
pub fn settings(inputs: &impl Serialize) -> serde_json::Value {
    // No map of theirs has a key that is no text, so this is JSON always; what were not, would be no plan that anybody could approve twice.
    serde_json::to_value(inputs)
        .unwrap_or_else(|error| serde_json::json!([error.to_string(), uuid::Uuid::new_v4().to_string()]))
}
