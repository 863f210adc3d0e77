//! Production releases what staging confirmed, whatever the commit is called on the release branch (FD2). GitHub, staging's server and its
//! site are doubles.

use std::{fs::File, rc::Rc, time::Duration};

use async_trait::async_trait;
use gated_deploy::{
    bundle::artifact,
    config::typed,
    context::Staging,
    domain::{Approval, CommitSha, FailureKind, Outcome, RemotePath, Sha256Digest, record},
    engine::event::Body,
    http::{Get, Reply, Site, Unanswered},
    server::staging,
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::github::{Artifact, GitHub, Review, Run};
use serde_json::{Value, json};

use crate::{
    github::{CONTENT, artifact_11, bundle_name, sum_line, zip_of},
    rows::{OTHER, Ran, SHA, Stage, bundle, commit},
};

/// What `main` had before.
const BEFORE: &str = "00000000000000000000000000000000000000aa";

/// Staging's server, whose ledger has this line.
struct Ledger(Value);

#[async_trait(?Send)]
impl Shell for Ledger {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("reading connects by itself");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        let release = self.0["release"].as_str().expect("a release");
        let (key, text) = match script.name() {
            "ledger-read" => ("ledger", format!("{}\n", self.0)),
            "current" => ("current", format!("releases/{release}")),
            other => panic!("production must not run {other} on staging's server"),
        };
        Ok(Answer::new(vec![(key.to_owned(), text)]))
    }

    async fn send(&self, _: File, _: u64, to: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("nothing is sent to staging's server: {to}");
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        panic!("no tunnel to {host}:{port} is needed");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("one connection is enough");
    }
}

/// Staging's site, which answers as this commit or release.
struct AnswersAs(String);

#[async_trait(?Send)]
impl Site for AnswersAs {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let status = if get.path.contains("no-such-page") { 404 } else { 200 };
        let body = format!("{{\"status\":\"ok\",\"release\":\"{}\"}}", self.0).into_bytes();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Reply { status, headers, length: body.len() as u64, body, took: Duration::from_millis(1), vantage: None })
    }

    fn within(&self, _: &str, location: &str) -> Option<String> {
        panic!("this site redirects to nowhere: {location}");
    }
}

/// The line of the release that staging confirmed: our commit, from artifact 11 of run 4711.
fn line() -> Value {
    json!({
        "v": 2, "prev": "0".repeat(64), "at": "2026-01-01T08:00:00Z", "environment": "staging", "attempt": "release",
        "release": format!("20260101_080000-{}", &SHA[..8]), "from": null, "sha": SHA,
        "bundle_sha256": Sha256Digest::of(&*CONTENT), "build": { "run": 4711, "attempt": 1, "artifact": 11 },
        "outcome": "live", "migrations": [], "run": "https://github.com/acme/shop/actions/runs/1",
    })
}

/// A repository whose `develop` has our commit, built; `main` is elsewhere.
fn on_develop() -> GitHub {
    let github = GitHub::start([127, 0, 0, 1].into());
    github.add_commits(&[BEFORE, SHA]);
    github.push("main", BEFORE);
    github.add_run(Run { head_branch: Some("develop".to_owned()), ..Run::green(4711, SHA) });
    github.add_artifact(artifact_11());
    let staging = Run {
        name: Some("Deploy to staging".to_owned()),
        path: ".github/workflows/deploy-staging.yml".to_owned(),
        event: "workflow_run".to_owned(),
        ..Run::green(1, SHA)
    };
    github.add_run(staging);
    github
}

/// A release to production of this commit, which asks staging.
fn production(github: &GitHub, asked_for: &str, ledger: Option<Value>, answers_as: &str) -> Stage {
    let mut stage = Stage::with_github(github);
    stage.source.commit = asked_for.parse().expect("a commit");
    stage.inputs.approval = Approval::Missing;
    let server = typed::StagingServer { ssh: stage.inputs.ssh.clone(), layout: stage.inputs.layout.clone() };
    let inputs = typed::Staging {
        environment: "staging".parse().expect("a name"),
        site: stage.inputs.site.clone(),
        health: typed::HealthPolicy { attempts: 1, ..stage.inputs.health.clone() },
        stable_for: Duration::from_secs(3600),
        workflow: "deploy-staging.yml".to_owned(),
        branches: vec!["develop".to_owned(), "main".to_owned()],
        server: ledger.is_some().then_some(server),
    };
    let shell = ledger.map(|line| Rc::new(Ledger(line)) as Rc<dyn Shell>);
    stage.staging = Some(Rc::new(Staging { inputs, site: Rc::new(AnswersAs(answers_as.to_owned())), shell }));
    stage
}

/// The survey of such a release as far as it is about the build, and the plan.
struct Planned {
    evidence: Ran,
    look: Ran,
    plan: Ran,
}

async fn planned(stage: impl Fn() -> Stage) -> Planned {
    let mut evidence = stage().survey(staging::evidence).await;
    assert_eq!(evidence.outcome.cause(), None, "staging has proven it");
    let mut next = stage();
    next.surveyed = std::mem::take(&mut evidence.surveyed);
    let mut look = next.survey(artifact::look).await;
    assert_eq!(look.outcome.cause(), None, "there is a build");
    let mut next = stage();
    next.surveyed = std::mem::take(&mut look.surveyed);
    look.surveyed.build.clone_from(&next.surveyed.build);
    let read = next.survey(artifact::read).await;
    assert_eq!(read.outcome.cause(), None, "there is a bundle");
    let mut next = stage();
    next.surveyed = read.surveyed;
    next.surveyed.server = Some(next.server.clone());
    Planned { evidence, look, plan: next.settled().await }
}

#[tokio::test]
async fn fd2_a_commit_with_the_tree_of_the_confirmed_one_is_released_whatever_the_kind_of_merge() {
    for merge_commit in [true, false] {
        let github = on_develop();
        // A merge has both parents; a squash or a rebase knows nothing of develop.
        if merge_commit {
            github.add_commits(&[SHA, OTHER]);
        }
        github.push("main", OTHER);
        github.same_tree(OTHER, SHA);
        // The release branch builds, too, and started this run: that build is not what staging confirmed.
        github.add_run(Run::green(4800, OTHER));
        let stage = || {
            let mut stage = production(&github, OTHER, Some(line()), SHA);
            stage.source.build.run_id = Some(4800);
            stage
        };
        let Planned { evidence, look, plan } = planned(stage).await;

        let equality = "main 01234567 has the same tree as develop acb5820c, which staging confirmed ";
        assert!(evidence.said().starts_with(equality) && evidence.said().contains(" ago"), "{}", evidence.said());
        let build = look.surveyed.build.as_ref().expect("a build");
        assert_eq!((build.run.id, build.artifact.id), (4711, 11));
        assert!(look.record::<CommitSha>(record::key::SHA) == commit(), "the commit is the one that was built");
        let not_used = "build run 4800 is not used: staging confirmed what build run 4711 made";
        assert!(evidence.lines().contains(&not_used), "{:?}", evidence.lines());
        assert_eq!(plan.outcome, Outcome::Planned);
        assert!(plan.record::<String>(record::key::RELEASE).ends_with(&SHA[..8]));
        let told: record::Staging = evidence.record(record::key::STAGING);
        assert_eq!((told.commit, told.asked_for.map(|asked| asked.commit)), (commit(), OTHER.parse().ok()));

        // Neither of the two commits is approved by its own author.
        for (wrote, author) in [(SHA, "grace"), (OTHER, "linus")] {
            github.author(wrote, author);
            github
                .add_review(777, Review { state: "approved".into(), user: author.into(), environment: "Live".into() });
        }
        let reviewed = || {
            let mut stage = stage();
            stage.inputs.approval = Approval::Given { plan_digest: None };
            stage.inputs.review = Some("Live".to_owned());
            stage.inputs.run = typed::RunIdentity { id: Some(777), attempt: Some(1), ..typed::RunIdentity::default() };
            stage
        };
        let refused = planned(reviewed).await.plan;
        assert_eq!(
            refused.failure().cause,
            "only @grace approved it, but also wrote the commit; @linus approved it, but also wrote the commit"
        );

        // The approval is bound to both commits.
        let third = "00000000000000000000000000000000000000bb";
        github.push("main", third);
        github.same_tree(third, SHA);
        let other = planned(|| production(&github, third, Some(line()), SHA)).await.plan;
        let digest = |ran: &Ran| ran.record::<Sha256Digest>(record::key::PLAN_DIGEST);
        assert_ne!(digest(&other), digest(&plan));
    }
}

#[tokio::test]
async fn fd2_after_a_fast_forward_the_confirmed_bundle_is_released_and_not_the_newest() {
    let github = on_develop();
    github.push("main", SHA);
    // Its bundle differs by a branch's name.
    let other = bundle(&commit(), &[("artisan", b"#!/usr/bin/env php"), ("public/index.php", b"<?php // dev-main")]);
    let zip = zip_of(&[(&bundle_name(), &other), (&format!("{}.sha256", bundle_name()), sum_line(&other).as_bytes())]);
    github.add_run(Run::green(4800, SHA));
    github.add_artifact(Artifact::zip(20, 4800, &format!("deployment-bundle-{SHA}"), zip));

    let Planned { look, plan, .. } = planned(|| production(&github, SHA, Some(line()), SHA)).await;
    let build = look.surveyed.build.as_ref().expect("a build");
    assert_eq!((build.run.id, build.artifact.id), (4711, 11));
    assert_eq!(plan.outcome, Outcome::Planned);

    // The build run was run again since: its first artifact is still the one.
    github.add_artifact(Artifact { id: 12, ..artifact_11() });
    github.edit_run(4711, |run| run.run_attempt = 2);
    let again = planned(|| production(&github, SHA, Some(line()), SHA)).await;
    assert_eq!(again.look.surveyed.build.as_ref().map(|build| build.artifact.id), Some(11));

    // A ledger line of an earlier version names no build: the newest is tried, compared and refused.
    let mut old = line();
    drop(old.as_object_mut().expect("a line").remove("build"));
    let refused = planned(|| production(&github, SHA, Some(old.clone()), SHA)).await.plan;
    assert!(refused.failure().cause.starts_with("this bundle has SHA-256 "), "{}", refused.failure());
    let named = || {
        let mut stage = production(&github, SHA, Some(old.clone()), SHA);
        stage.source.build.run_id = Some(4711);
        stage
    };
    assert_eq!(planned(named).await.plan.outcome, Outcome::Planned, "the input build-run-id names it");

    // While staging does not say what it confirmed, no build is said to be missing.
    let silent = production(&github, SHA, Some(line()), SHA).survey(artifact::look).await;
    assert_eq!(silent.said(), "skipped: it is unknown what staging confirmed");
    assert_eq!(silent.surveyed.build, None);

    // A run that died before it wrote its line left none of the bundle: nothing could be compared.
    let mut unknown = line();
    unknown["bundle_sha256"] = json!(null);
    let ran = production(&github, SHA, Some(unknown), SHA).survey(staging::evidence).await;
    assert!(ran.failure().cause.contains("does not say which bundle"), "{:?}", ran.failure());
    assert_eq!(ran.failure().code, "staging-bundle-unknown");

    // What staging confirmed is gone.
    github.edit_artifact(11, |artifact| artifact.expired = true);
    let mut stage = production(&github, SHA, Some(line()), SHA);
    stage.surveyed = production(&github, SHA, Some(line()), SHA).survey(staging::evidence).await.surveyed;
    let gone = stage.survey(artifact::look).await;
    assert!(gone.failure().cause.contains("artifact 11 (") && gone.failure().cause.contains("has expired"));
    assert!(gone.failure().hint.as_ref().is_some_and(|hint| hint.contains("release that build to staging first")));
}

#[tokio::test]
async fn fd2_another_tree_is_no_go_with_what_differs_and_where_to_see_it() {
    let github = on_develop();
    github.add_commits(&[SHA, OTHER]);
    github.push("main", OTHER);
    github.compared(&format!("{SHA}...{OTHER}"), &[("config/app.php", SHA), ("routes/web.php", SHA)]);
    let ran = production(&github, OTHER, Some(line()), SHA).survey(staging::evidence).await;
    let cause = format!(
        "staging's last confirmed release is 20260101_080000-{} of {}, not of {OTHER}, and their files differ: 1 further commit (01234567 \
         Fix all the bugs); 2 files (config/app.php, routes/web.php); see https://github.com/acme/shop/compare/{SHA}...{OTHER}",
        &SHA[..8],
        &SHA[..8]
    );
    assert_eq!((ran.failure().cause.as_str(), ran.outcome.exit_code()), (cause.as_str(), 1), "and nothing else");
    assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.starts_with("Release this commit to staging first")));
    assert_eq!(ran.failure().code, "staging-other-commit");

    // GitHub does not know what staging runs.
    let mut foreign = line();
    foreign["sha"] = json!("00000000000000000000000000000000000000cc");
    let ran = production(&github, OTHER, Some(foreign), "00000000").survey(staging::evidence).await;
    let said = format!("{:?}", ran.failure());
    assert!(said.contains("GitHub does not know that commit"), "{said}");

    // Nor what was asked for.
    let unknown = "00000000000000000000000000000000000000dd";
    let ran = production(&github, unknown, Some(line()), SHA).survey(staging::evidence).await;
    assert_eq!(ran.failure().cause, format!("the repository at GitHub has no commit {unknown}"));
    assert_eq!(ran.failure().code, "commit-unknown");
    assert_eq!((ran.failure().kind, ran.outcome.exit_code()), (FailureKind::Input, 2));
}

#[tokio::test]
async fn fd2_equal_trees_count_only_on_branches_that_are_released_from() {
    // The same files on a branch that production is not released from.
    let github = on_develop();
    github.push("feature/x", OTHER);
    github.same_tree(OTHER, SHA);
    let ran = production(&github, OTHER, Some(line()), SHA).survey(staging::evidence).await;
    assert_eq!(ran.failure().cause, format!("{OTHER} is not reachable from main"));
    assert_eq!(ran.failure().code, "commit-not-on-release-branch");

    // What staging confirmed is on no branch that staging is released from.
    let github = on_develop();
    github.push("main", OTHER);
    github.same_tree(OTHER, SHA);
    let mut stage = production(&github, OTHER, Some(line()), SHA);
    let staging = stage.staging.as_mut().and_then(Rc::get_mut).expect("staging");
    staging.inputs.branches = vec!["release".to_owned()];
    let ran = stage.survey(staging::evidence).await;
    assert_eq!(
        ran.failure().cause,
        format!("{SHA} is not reachable from main"),
        "this repository has no branch release"
    );
}

#[tokio::test]
async fn fd2_without_its_ledger_staging_is_known_by_the_commit_that_its_site_names() {
    let github = on_develop();
    github.push("main", OTHER);
    github.same_tree(OTHER, SHA);
    for named in [SHA.to_owned(), SHA[..7].to_uppercase(), format!("20260101_080000-{}", &SHA[..8])] {
        let Planned { evidence, look, plan } = planned(|| production(&github, OTHER, None, &named)).await;
        assert!(
            evidence.said().starts_with("main 01234567 has the same tree as develop acb5820c"),
            "{}",
            evidence.said()
        );
        assert_eq!(look.surveyed.build.as_ref().map(|build| build.run.id), Some(4711));
        assert_eq!(plan.outcome, Outcome::Planned);
        assert!(plan.events.iter().any(|event| matches!(&event.body, Body::Planned { .. })));
    }
    // It names no commit of this repository.
    let ran = production(&github, OTHER, None, "feedfacefeedface").survey(staging::evidence).await;
    assert!(format!("{:?}", ran.failure()).contains("answers as feedfacefeedface"), "{:?}", ran.failure());
    assert_eq!(ran.failure().code, "staging-unhealthy");
}
