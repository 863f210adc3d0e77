//! From what the survey found to the plan of a release, and whether to go on.

use crate::{
    config::typed,
    context::{Build, Deploy, ReleasePlan, RunState, Staging, Survey, SurveyState},
    domain::{Approval, Failure, Move, ReleaseName, Sha256Digest, StepId, record, row},
    engine::{Decided, Decision, Events, event::Body},
    errors::{approval, release_dir},
    server::{inspect::ServerState, staging},
    stages::shared::approval::{by_approval, decide_by, found, reviewed, settings},
};

/// Fixes the facts and reads the approval against them.
pub async fn decide(survey: Survey, events: &Events) -> Result<Decided<Deploy>, Failure> {
    let (source, asked_for) = (survey.source()?, survey.asked_for()?.clone());
    let Survey { inputs, staging: asked_of_staging, ports, state, .. } = survey;
    let SurveyState { build, server, staging: proven, opened, change_preview, home, unhealthy, .. } =
        state.into_inner();
    let server = server.ok_or_else(|| Failure::bug("planning the release", "the server was not surveyed"))?;
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
        change_preview: change_preview.as_deref(),
    };
    if let (Some(ours), Some(proven)) = (plan.bundle, plan.proven.and_then(|staging| staging.bundle_sha256.as_ref())) {
        staging::compare(ours, proven)?;
    }
    let plan_digest = plan.digest();
    let known = plan.is_whole();
    let decision = match known {
        true => by_approval(&inputs, &plan_digest),
        false => decide_without_bundle(&inputs),
    };
    let decision = reviewed(decision, &inputs, &[&source.commit, &asked_for.commit], &ports).await;
    let step = StepId::new(row::PLAN);
    let tell = |key: &str, value: serde_json::Value| {
        events.emit(Body::Recorded { step: step.clone(), key: key.to_owned(), value })
    };
    if known {
        tell(record::key::PLAN_DIGEST, plan_digest.as_str().into());
    }
    tell(record::key::EXECUTED, matches!(decision, Decision::Go).into());
    tell(record::key::RELEASE, turn.to.as_str().into());
    let decided = ReleasePlan {
        turn,
        commit: source.commit.clone(),
        decided_at,
        server,
        build,
        change_preview,
        home,
        unhealthy,
        staging: proven,
        target: None,
        plan_digest,
    };
    Ok(Decided {
        cx: Deploy {
            inputs,
            source: Some(source),
            ports,
            plan: decided,
            state: RunState { opened, ..RunState::default() }.into(),
        },
        decision,
    })
}

/// The same where the bundle is not there yet. What would be released is unknown, so no digest approves it; the phrase alone does where the
/// policy takes it, and then approves whatever this commit's build makes.
pub(crate) fn decide_without_bundle(inputs: &typed::Target) -> Decision {
    match &inputs.approval {
        _ if inputs.plan_only => Decision::Plan { because: "plan-only is true".to_owned() },
        Approval::Missing => Decision::Plan {
            because: "the bundle does not exist yet, so there is nothing to approve; run this again when the build has finished".to_owned(),
        },
        Approval::Given { plan_digest: Some(_) } => Decision::Refuse(approval::plan_without_digest()),
        given => match decide_by(given, &inputs.phrase, inputs.plan_only, &Sha256Digest::of("")) {
            Decision::Refuse(failure) if matches!(given, Approval::Short { .. }) => Decision::Refuse(failure.hint(approval::AFTER_THE_BUILD)),
            decision => decision,
        },
    }
}

/// What an approval is bound to: every setting, and everything that was found and decides what runs. What was found and decides only the time
/// (free space, clocks) is not in it.
pub(crate) struct Plan<'a> {
    inputs: &'a typed::Target,
    source: &'a typed::Source,
    staging: Option<&'a Staging>,
    turn: &'a Move,
    server: &'a ServerState,
    build: Option<&'a Build>,
    bundle: Option<&'a Sha256Digest>,
    proven: Option<&'a record::Staging>,
    change_preview: Option<&'a record::ChangePreview>,
}

impl Plan<'_> {
    /// Whether it is known what would be released.
    pub(crate) fn is_whole(&self) -> bool {
        self.build.is_some() && self.bundle.is_some()
    }

    pub(crate) fn digest(&self) -> Sha256Digest {
        let Self { inputs, source, staging, turn, server, build, bundle, proven, change_preview } = self;
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
            "migrations": change_preview.map(|change_preview| {
                let pending = change_preview.migrations.iter().map(|migration| serde_json::json!([migration.name, migration.sha256]));
                (pending.collect::<Vec<_>>(), &change_preview.migrations_unknown)
            }),
        });
        Sha256Digest::of(plan.to_string())
    }
}
