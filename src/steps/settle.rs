//! The seam of a release: from what the survey found to the facts that hold from here on, and whether to go on.

use super::{
    artifact::github_failure,
    context::{Deploy, Facts, Found, Made, Ports, Survey},
};
use crate::{
    domain::{Approval, Failure, Move, ReleaseName, Sha256Digest, fact},
    engine::{Decision, Events, Seam, event::Body},
    inputs::typed,
};

/// Fixes the facts and reads the approval against them.
pub async fn settle(survey: Survey, events: &Events) -> Result<Seam<Deploy>, Failure> {
    let source = survey.source()?.clone();
    let Survey { inputs, source: sought, staging: _, ports, found } = survey;
    let Found { build, server, staging, opened, outlook, .. } = found.into_inner();
    let server = server.ok_or_else(|| Failure::bug("planning the release", "nobody looked at the server"))?;
    let decided_at = ports.clock.now();
    let to = ReleaseName::new(decided_at, &source.commit);
    if let Some(newest) = server.releases.last().filter(|newest| **newest >= to) {
        return Err(Failure::refused(
            "naming the release",
            format!("releases/{newest} is not older than now, {}", decided_at.format("%Y%m%d_%H%M%S")),
        )
        .hint(
            "release names are UTC times and must come in order: if that folder's time is wrong, rename or remove it",
        ));
    }
    let turn = Move { from: server.current.clone(), to };
    let plan_digest =
        plan_digest(&inputs, &source, &turn, &server, build.as_ref(), staging.as_ref(), outlook.as_deref());
    let decision = reviewed(decide(&inputs, &plan_digest), &inputs, &ports).await;
    let step = crate::domain::StepId::new("plan");
    let tell = |key: &str, value: serde_json::Value| {
        events.tell(Body::Fact { step: step.clone(), key: key.to_owned(), value })
    };
    tell(fact::key::PLAN_DIGEST, plan_digest.as_str().into());
    tell(fact::key::EXECUTED, matches!(decision, Decision::Go).into());
    tell(fact::key::RELEASE, turn.to.as_str().into());
    let facts =
        Facts { turn, commit: source.commit, decided_at, server, build, outlook, staging, target: None, plan_digest };
    Ok(Seam {
        cx: Deploy { inputs, source: sought, ports, facts, made: Made { opened, ..Made::default() }.into() },
        decision,
    })
}

/// Whether to go on, by what somebody wrote into `approval` and the plan that there is now.
pub fn decide(inputs: &typed::Target, plan: &Sha256Digest) -> Decision {
    decide_by(&inputs.approval, &inputs.phrase, inputs.plan_only, plan)
}

/// The same for whatever has an approval and a phrase.
pub fn decide_by(approval: &Approval, phrase: &str, plan_only: bool, plan: &Sha256Digest) -> Decision {
    if plan_only {
        return Decision::Plan { because: "plan-only is true".to_owned() };
    }
    let doing = "reading the approval";
    match approval {
        Approval::Missing => Decision::Plan { because: format!("no approval was given; `{phrase}` approves it") },
        Approval::Append => Decision::Plan { because: "the approval asks for the missing information only".to_owned() },
        Approval::Abort => {
            Decision::Refuse(Failure::refused(doing, "it says ABBRECHEN: stopped here; nothing was changed"))
        }
        Approval::Wrong { given, expected } => Decision::Refuse(
            Failure::refused(doing, format!("`{given}` opens no door here"))
                .hint(format!("to go ahead, write exactly: {expected}")),
        ),
        Approval::Given { plan_digest: None } => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } if Approval::matches_plan(digest, plan) => Decision::Go,
        Approval::Given { plan_digest: Some(digest) } => Decision::Refuse(
            Failure::refused(doing, format!("it is for the plan {digest}, and the plan is now {}", plan.short())).hint(
                format!(
                    "the server, the build or the settings changed since; read the new plan, then write: {} {}",
                    phrase,
                    plan.short()
                ),
            ),
        ),
    }
}

/// Where the policy asks for it, a run goes on only if somebody else than its author has approved it at GitHub.
pub async fn reviewed(decision: Decision, inputs: &typed::Target, ports: &Ports) -> Decision {
    let (Decision::Go, Some(environment)) = (&decision, &inputs.review) else { return decision };
    match review(environment, &inputs.run, ports).await {
        Ok(()) => decision,
        Err(failure) => Decision::Refuse(failure),
    }
}

async fn review(environment: &str, run: &typed::RunIdentity, ports: &Ports) -> Result<(), Failure> {
    let doing = format!("asking GitHub who approved this run for {environment}");
    let hint = format!(
        "give the job `environment: {environment}`, give that environment required reviewers, and let one of them approve the run"
    );
    let Some(id) = run.id else {
        return Err(Failure::refused(
            doing,
            "this is no run of GitHub Actions, and approval-review asks for a review there",
        )
        .hint("release from the workflow"));
    };
    let reviews = ports.github()?.reviews(id).await.map_err(|error| github_failure(&doing, &error))?;
    let own = |user: &str| run.authors.iter().any(|author| author.eq_ignore_ascii_case(user));
    let approvals = reviews.iter().filter(|review| {
        review.state == "approved" && review.environments.iter().any(|name| name.eq_ignore_ascii_case(environment))
    });
    let users: Vec<&str> = approvals.filter_map(|review| review.user.as_deref()).collect();
    if users.iter().any(|user| !own(user)) {
        return Ok(());
    }
    let cause = match users.first() {
        Some(user) => format!("only @{user} did, who also started it"),
        None => "nobody did".to_owned(),
    };
    Err(Failure::refused(doing, cause).hint(hint))
}

/// What the approval is bound to: everything that decides the effect, and nothing that only decides the time.
fn plan_digest(
    inputs: &typed::Target,
    source: &typed::Source,
    turn: &Move,
    server: &super::context::ServerFacts,
    build: Option<&super::context::Build>,
    staging: Option<&fact::Staging>,
    outlook: Option<&fact::Outlook>,
) -> Sha256Digest {
    let reload: Vec<String> = server.services.reload.iter().map(ToString::to_string).collect();
    let mut plan = serde_json::json!({
        "version": 1,
        "environment": inputs.environment,
        "server": format!("{}@{}:{}", inputs.ssh.user, inputs.ssh.host, inputs.ssh.port),
        "base": inputs.layout.base(),
        "env-file": inputs.layout.env_file(),
        "url": inputs.site.url.as_str(),
        "from": turn.from,
        "sha": source.commit,
        "build": build.map(|build| serde_json::json!({
            "run": build.run.id,
            "attempt": build.run.attempt,
            "artifact": build.artifact.id,
            "digest": build.artifact.digest,
        })),
        "staging": staging.map(|staging| serde_json::json!({
            "release": staging.release,
            "bundle": staging.bundle_sha256,
        })),
        "php": server.php_version,
        "reload": reload,
        "migrations": outlook.map(|outlook| {
            let pending = outlook.migrations.iter().map(|migration| serde_json::json!([migration.name, migration.sha256]));
            (pending.collect::<Vec<_>>(), &outlook.migrations_unknown)
        }),
        "migrate": inputs.server.migrate,
        "shared": inputs.server.shared,
        "keep": [inputs.server.keep_releases, inputs.server.keep_backups],
        "health": inputs.health.paths,
    });
    if let Some(copy) = &inputs.server.backup_copy {
        plan["backup-copy"] = serde_json::json!([copy.dir, copy.required]);
    }
    Sha256Digest::of(plan.to_string())
}
