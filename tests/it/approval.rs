//! What an approval is bound to, whose word counts, and which build: without a server. GitHub is played.

use std::{
    cell::RefCell,
    fs::File,
    io::{Read as _, Write as _},
    net::TcpListener,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use gated_deploy::{
    bundle::artifact,
    config::typed,
    context::{Staging, SurveyState},
    domain::{Approval, FailureKind, Outcome, RemotePath, Sha256Digest, bundle::Bundle, migration::Class, record},
    engine::event::Body,
    http::{Get, Reply, Site, Unanswered},
    server::{inspect, staging},
    stages::shared::checks,
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::{
    github::{Artifact, Branch, GitHub, Phase, Review, Run},
    runner::{Level, Runner},
};
use serde_json::json;

use crate::{
    github::{CONTENT, artifact_11, built, bundle_name, sum_line, zip_of},
    rows::{OTHER, Ran, SHA, Stage},
    support::{BINARY, assert_ended, assert_says, output},
};

// ---- What is approved is what runs (SE7) ----

/// What the survey of a release finds where the build is there.
async fn found(github: &GitHub) -> SurveyState {
    let look = Stage::with_github(github).survey(artifact::look).await;
    let mut stage = Stage::with_github(github);
    let server = stage.server.clone();
    stage.surveyed = look.surveyed;
    let read = stage.survey(artifact::read).await;
    SurveyState { server: Some(server), ..read.surveyed }
}

/// The same with one pending migration.
async fn stage(github: &GitHub) -> Stage {
    let found = found(github).await;
    let mut stage = Stage::with_github(github);
    stage.surveyed = found;
    stage.surveyed.change_preview = Some(Rc::new(change_preview("create")));
    stage
}

fn change_preview(migration: &str) -> record::ChangePreview {
    let pending = record::PendingMigration {
        name: "2031_01_01_000000_add".to_owned(),
        file: "database/migrations/2031_01_01_000000_add.php".to_owned(),
        sha256: Some(Sha256Digest::of(migration)),
        class: Class::Expand,
        calls: Vec::new(),
        connections: Vec::new(),
        measured: None,
    };
    record::ChangePreview {
        files: None,
        migrations: vec![pending],
        migrations_unknown: None,
        migrations_measured: false,
        backup: None,
        free_bytes: 1,
        confirm_within_seconds: 300,
        health: Vec::new(),
    }
}

fn digest(ran: &Ran) -> Sha256Digest {
    ran.record(record::key::PLAN_DIGEST)
}

fn has_digest(ran: &Ran) -> bool {
    ran.recorded(record::key::PLAN_DIGEST)
}

#[tokio::test]
async fn se7_the_digest_changes_with_everything_that_was_found() {
    let github = built();
    let plain = digest(&stage(&github).await.settled().await);
    assert_eq!(digest(&stage(&github).await.settled().await), plain, "the same plan has the same digest");

    type Change = fn(&mut Stage);
    let changes: [(&str, Change); 12] = [
        ("attempt of the build run", |stage| stage.surveyed.build.as_mut().expect("a build").run.attempt = 2),
        ("build run", |stage| stage.surveyed.build.as_mut().expect("a build").run.id = 4712),
        ("artifact", |stage| stage.surveyed.build.as_mut().expect("a build").artifact.id = 12),
        ("artifact's digest", |stage| stage.surveyed.build.as_mut().expect("a build").artifact.digest = None),
        ("bundle", |stage| {
            let opened = stage.surveyed.opened.as_mut().expect("a bundle");
            let other = Sha256Digest::of("another bundle");
            let bundle = Bundle::fetched(opened.bundle.path.clone(), opened.bundle.size, other.clone());
            let (size, tree) = (opened.bundle.size, opened.bundle.tree().clone());
            opened.bundle = Rc::new(bundle.verify(&other).expect("its own digest").written_anew(size, other, tree));
        }),
        ("migration's text", |stage| stage.surveyed.change_preview = Some(Rc::new(change_preview("drop")))),
        ("list of migrations", |stage| stage.surveyed.change_preview = None),
        ("live release", |stage| {
            stage.surveyed.server.as_mut().expect("a server").current =
                Some("releases/20261101_080000-fedcba98".to_owned());
        }),
        ("PHP", |stage| stage.surveyed.server.as_mut().expect("a server").php_version = "8.3.1".to_owned()),
        ("service", |stage| stage.surveyed.server.as_mut().expect("a server").services.fpm = "php8.3-fpm".to_owned()),
        ("command", |stage| {
            let reload = gated_deploy::domain::RemoteCommand::new(["sudo", "-n", "reboot"]);
            stage.surveyed.server.as_mut().expect("a server").services.reload = vec![reload];
        }),
        ("policy file", |stage| stage.inputs.policy = Some(Sha256Digest::of("a policy"))),
    ];
    for (what, change) in changes {
        let mut stage = stage(&github).await;
        change(&mut stage);
        assert_ne!(digest(&stage.settled().await), plain, "another {what} is another plan");
    }
    // What only decides the time is none.
    let mut stage = stage(&github).await;
    stage.surveyed.server.as_mut().expect("a server").free_bytes = 7;
    assert_eq!(digest(&stage.settled().await), plain);
}

#[tokio::test]
async fn se7_a_plan_whose_bundle_is_not_known_has_nothing_to_approve() {
    let github = built();
    let mut without = Stage::with_github(&github);
    without.inputs.approval = Approval::Missing;
    without.surveyed.server = Some(without.server.clone());
    let ran = without.settled().await;
    assert!(!has_digest(&ran), "{:?}", ran.events);
    assert_eq!(ran.outcome, Outcome::Planned);
    let because = ran.events.iter().find_map(|event| match &event.body {
        Body::Planned { because, .. } => Some(because),
        _ => None,
    });
    let because = because.expect("a reason");
    assert!(because.contains("the bundle does not exist yet") && !because.contains("FREIGEGEBEN"), "{because}");

    // A digest of any plan approves nothing then.
    let mut with = Stage::with_github(&github);
    with.inputs.approval = Approval::Given { plan_digest: Some("0123456789abcdef".to_owned()) };
    with.surveyed.server = Some(with.server.clone());
    let ran = with.settled().await;
    assert!(ran.failure().cause.contains("this plan has none: the bundle does not exist yet"), "{}", ran.failure());
    assert_eq!((&*ran.failure().code, ran.failure().kind), ("plan-without-digest", FailureKind::Refused));
}

#[tokio::test]
async fn se7_eight_digits_of_a_digest_approve_nothing() {
    let github = built();
    let plan = digest(&stage(&github).await.settled().await);
    let approved = async |digits: usize| {
        let mut stage = stage(&github).await;
        let phrase = stage.inputs.phrase.clone();
        stage.inputs.approval = Approval::read(&format!("{phrase} {}", &plan.as_str()[..digits]), &phrase);
        stage.settled().await
    };
    let ran = approved(8).await;
    let cause = format!("its digest {} has 8 digits, but at least 16 are needed", &plan.as_str()[..8]);
    assert_eq!((&*ran.failure().code, &ran.failure().cause), ("approval-digest-short", &cause));
    let right = format!("STAGING-TEST FREIGEGEBEN {}", &plan.as_str()[..16]);
    assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.ends_with(&right)), "{:?}", ran.failure());
    assert_eq!(approved(16).await.outcome.cause(), None);
}

#[tokio::test]
async fn each_approval_that_does_not_count_has_a_code() {
    let github = built();
    let approved = async |text: &str| {
        let mut stage = stage(&github).await;
        stage.inputs.approval = Approval::read(text, &stage.inputs.phrase);
        stage.settled().await
    };
    for (text, code) in [
        ("ABBRECHEN", "approval-aborted"),
        ("PROD-DEPLOY FREIGEGEBEN", "approval-phrase-wrong"),
        ("STAGING-TEST FREIGEGEBEN 0123456789abcdef", "approval-outdated"),
    ] {
        let ran = approved(text).await;
        assert_eq!((&*ran.failure().code, ran.outcome.exit_code()), (code, 1), "{text}");
    }
}

#[tokio::test]
async fn a_release_folder_from_the_future_is_refused() {
    let github = built();
    let mut stage = stage(&github).await;
    let name = "29991231_235959-acb58201";
    stage.surveyed.server.as_mut().expect("a server").releases.push(name.parse().expect("a name"));
    let ran = stage.settled().await;
    assert_eq!(ran.failure().code, "release-from-future");
    assert!(ran.failure().cause.starts_with(&format!("releases/{name} is not older than now")), "{}", ran.failure());
}

#[tokio::test]
async fn fd3_a_plan_for_production_offers_no_phrase_for_a_bundle_that_staging_has_not_confirmed() {
    let github = built();
    let proven = async |bundle: Sha256Digest| {
        let mut stage = stage(&github).await;
        stage.inputs.approval = Approval::Missing;
        stage.surveyed.staging = Some(record::Staging {
            commit: SHA.parse().expect("a commit"),
            asked_for: None,
            release: None,
            bundle_sha256: Some(bundle),
            since: None,
            stable_seconds: None,
            measured: None,
            needed_seconds: 0,
            said: Vec::new(),
            against: Vec::new(),
        });
        stage.settled().await
    };
    let ran = proven(Sha256Digest::of("what staging has")).await;
    assert!(
        ran.failure().to_string().starts_with("comparing the bundle with staging's: this bundle has"),
        "{}",
        ran.failure()
    );
    assert_eq!(ran.failure().code, "staging-bundle-differs");
    assert!(!has_digest(&ran) && ran.outcome.exit_code() == 1);
    let ran = proven(Sha256Digest::of(&*CONTENT)).await;
    assert_eq!(ran.outcome, Outcome::Planned);
    assert!(has_digest(&ran));
}

#[test]
fn fd3_a_plan_names_every_blocker_in_one_run_and_offers_no_phrase() {
    let github = GitHub::start([127, 0, 0, 1].into());
    github.add_workflow("Build", ".github/workflows/build-artifacts.yml");
    let (url, visits) = site();
    // No program listens on that port any more.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let (key, known) = (crate::rows::some_key(), "127.0.0.1 SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
    let known = known.replace("127.0.0.1", &format!("[127.0.0.1]:{port}"));
    let port = port.to_string();
    let release = |approval: &str| {
        [
            ("stage", "deploy-staging"),
            ("github-token", github.token()),
            ("ssh-host", "127.0.0.1"),
            ("ssh-port", &port),
            ("ssh-private-key", key),
            ("ssh-known-hosts", &known),
            ("base-dir", "/var/www/app"),
            ("url", &url),
            ("healthcheck-token", "the-token-of-the-site"),
            ("build-wait-interval", "1s"),
            ("approval", approval),
        ]
        .into_iter()
        .fold(
            Runner::new()
                .must_not_leak()
                .api_url(github.api_url())
                .secret(github.token())
                .secret(key)
                .secret("the-token-of-the-site")
                .sha(SHA)
                .event("workflow_dispatch", json!({ "inputs": {}, "ref": "refs/heads/develop" })),
            |runner, (name, value)| runner.input(name, value),
        )
        .run_binary(BINARY)
    };
    let blockers = ["no build run for this commit", "connection refused", "404 instead of 200"];
    for approval in ["", "STAGING-TEST FREIGEGEBEN"] {
        let finished = release(approval);
        assert_ended(&finished, 1, "refused");
        assert_eq!((output(&finished, "decision"), output(&finished, "plan-digest")), ("no-go", ""));
        assert_says(&finished.summary, &["Refused, 3 blockers: the site is untouched"]);
        assert_says(&finished.summary, &blockers);
        assert!(!finished.summary.contains("FREIGEGEBEN"), "no phrase is offered:\n{}", finished.summary);
        let list = finished.log.split_once("3 blockers found").expect("one list at the end").1;
        assert_says(list, &blockers);
        let last = finished.annotations_of(Level::Error).into_iter().next_back().expect("an annotation");
        assert_says(&last.message, &blockers);
    }
    assert!(visits.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn fd3_while_the_build_is_not_there_room_is_judged_by_the_live_release() {
    let github = built();
    let room = async |free_kib: &str| {
        let records = [("base", "yes"), ("env-file", "yes"), ("live-kib", "200000"), ("free-kib", free_kib)];
        let looked = inspect::Looked {
            answer: Answer::new(records.map(|(key, text)| (key.to_owned(), text.to_owned())).to_vec()),
            user: "deploy".to_owned(),
            clock_skew_seconds: 0,
            serving: Err("skipped: it is unknown what staging confirmed".to_owned()),
        };
        let mut stage = Stage::with_github(&github);
        stage.surveyed.looked = Some(Rc::new(looked));
        stage.survey(checks::room).await
    };
    let ran = room("100000").await;
    assert_eq!(ran.failure().code, "release-no-room");
    assert!(ran.failure().cause.starts_with("not enough disk space: 102.4 MB free"), "{}", ran.failure());
    assert_eq!(room("900000").await.said(), "skipped: there is no bundle");
}

/// After the approval, with the build that the plan named.
async fn awaited(github: &GitHub, change: impl FnOnce(&GitHub)) -> Ran {
    let found = found(github).await;
    change(github);
    let mut stage = Stage::with_github(github);
    stage.surveyed.build = found.build;
    stage.release(artifact::await_build).await
}

#[tokio::test]
async fn se7_a_build_that_is_run_again_after_the_approval_is_refused() {
    let github = built();
    assert!(awaited(&github, |_| ()).await.said().starts_with("build run 4711 succeeded"));

    let ran = awaited(&github, |github| github.edit_run(4711, |run| run.run_attempt = 2)).await;
    assert_eq!(ran.failure().cause, "the plan has attempt 1 of build run 4711, but the run is now at attempt 2");
    assert_eq!(ran.failure().code, "build-changed-since-plan");
    assert_eq!(ran.failure().kind, FailureKind::Refused);

    // The run begins anew and has not ended: nobody waits for what was not approved.
    let github = built();
    let ran = awaited(&github, |github| {
        github.edit_run(4711, |run| (run.run_attempt, run.phase) = (2, Phase::in_progress()));
    });
    assert!(ran.await.failure().cause.contains("the run is now at attempt 2"));

    let github = built();
    let ran = awaited(&github, |github| github.add_artifact(Artifact { id: 12, ..artifact_11() })).await;
    assert_eq!(ran.failure().cause, "the plan has artifact 11 of build run 4711, but the run now has artifact 12");
    assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.contains("Read a new plan")));
}

#[tokio::test]
async fn se7_what_is_fetched_after_the_approval_is_what_the_plan_read() {
    let github = built();
    let found = found(&github).await;
    let mut stage = Stage::with_github(&github);
    stage.surveyed.build.clone_from(&found.build);
    stage.state.opened = found.opened;
    let mut other = found.build.expect("a build");
    other.artifact.id = 12;
    stage.state.build = Some(other);
    let ran = stage.release(artifact::fetch).await;
    assert_eq!(ran.failure().cause, "the plan has artifact 11, but the build has artifact 12");
    assert_eq!(ran.failure().code, "build-changed-since-plan");
}

// ---- Reviews (SE12) ----

fn review(user: &str, state: &str) -> Review {
    Review { state: state.to_owned(), user: user.to_owned(), environment: "Staging".to_owned() }
}

/// A release of run 777 that needs a review.
async fn reviewed(reviews: &[(&str, &str)], attempt: u64) -> Ran {
    let github = built();
    github.author(SHA, "grace");
    for (user, state) in reviews {
        github.add_review(777, review(user, state));
    }
    let mut stage = stage(&github).await;
    stage.inputs.review = Some("Staging".to_owned());
    stage.inputs.run = typed::RunIdentity {
        id: Some(777),
        attempt: Some(attempt),
        authors: vec!["ada".to_owned(), "linus".to_owned()],
        ..typed::RunIdentity::default()
    };
    stage.settled().await
}

#[tokio::test]
async fn se12_only_a_reviewer_who_has_nothing_to_do_with_the_run_and_stands_by_it_counts() {
    assert_eq!(reviewed(&[("reviewer", "approved")], 1).await.outcome.cause(), None);
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "no reviewer approved it"),
        (&[("reviewer", "rejected")], "no reviewer approved it"),
        (&[("ADA", "approved")], "only @ADA approved it, but also started it"),
        (&[("grace", "approved")], "only @grace approved it, but also wrote the commit"),
        (&[("reviewer", "approved"), ("reviewer", "rejected")], "only @reviewer approved it, but also rejected it"),
        // GitHub says neither when nor in which order.
        (&[("reviewer", "rejected"), ("reviewer", "approved")], "only @reviewer approved it, but also rejected it"),
    ];
    for (reviews, cause) in cases {
        let ran = reviewed(reviews, 1).await;
        assert_eq!((ran.failure().cause.as_str(), ran.outcome.exit_code()), (cause, 1), "{reviews:?}");
        assert_eq!(ran.failure().code, "review-missing");
    }
    let both = [("reviewer", "rejected"), ("reviewer", "approved"), ("another", "approved")];
    assert_eq!(reviewed(&both, 1).await.outcome.cause(), None);
}

#[tokio::test]
async fn se12_an_approval_of_an_earlier_attempt_does_not_count() {
    let ran = reviewed(&[("reviewer", "approved")], 2).await;
    assert!(ran.failure().cause.starts_with("this is attempt 2 of the run"), "{}", ran.failure());
    assert_eq!(ran.failure().code, "review-of-rerun");
    assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.starts_with("Start a new run")));
}

// ---- Which build counts (SE13, SE14) ----

async fn looked(github: &GitHub, change: impl FnOnce(&mut Stage)) -> Ran {
    let mut stage = Stage::with_github(github);
    change(&mut stage);
    stage.survey(artifact::look).await
}

#[tokio::test]
async fn se13_a_workflow_is_its_file_and_not_what_it_calls_itself() {
    for by in ["build.yml", "Build"] {
        let github = built();
        github.edit_run(4711, |run| run.path = ".github/workflows/evil.yml".to_owned());
        github.edit_run(4711, |run| run.name = Some(by.to_owned()));
        let ran = looked(&github, |stage| {
            stage.source.build.run_id = Some(4711);
            stage.source.build.workflow = by.to_owned();
        });
        let cause = ran.await.failure().cause.clone();
        let why = "it is a run of .github/workflows/evil.yml, not of .github/workflows/build.yml";
        assert_eq!(cause, format!("build run 4711 cannot be used: {why}"));
    }
}

#[tokio::test]
async fn se13_a_second_workflow_of_one_name_takes_nothing_from_the_reviewed_one() {
    let by_name = |stage: &mut Stage| stage.source.build.workflow = "Build".to_owned();
    let github = built();
    github.add_workflow("Build", ".github/workflows/evil.yml");
    github.file("main", ".github/workflows/build.yml", "on: push\n");
    let ran = looked(&github, by_name).await;
    assert_eq!(ran.surveyed.build.as_ref().map(|build| build.run.id), Some(4711), "{:?}", ran.outcome);

    // Where both are on the default branch somebody has to say which is meant; nothing is broken.
    github.file("main", ".github/workflows/evil.yml", "on: push\n");
    let ran = looked(&github, by_name).await;
    assert_eq!((ran.failure().kind, ran.outcome.exit_code()), (FailureKind::Input, 2));
    assert!(ran.failure().cause.contains("several workflows are named `Build`"), "{}", ran.failure());
    assert_eq!(ran.failure().code, "workflow-ambiguous");
}

/// A build of `SHA` on this branch, in a repository whose `main` and `develop` are elsewhere.
fn built_on(branch: &str) -> GitHub {
    let github = built();
    github.edit_run(4711, |run| run.head_branch = Some(branch.to_owned()));
    for name in ["main", "develop"] {
        github.add_branch(Branch { name: name.to_owned(), sha: OTHER.to_owned(), protected: true });
    }
    github
}

#[tokio::test]
async fn se14_a_build_of_any_branch_is_no_source() {
    let ran = looked(&built_on("feature/x"), |_| ()).await;
    assert_eq!(ran.surveyed.build, None);
    let said = "not used: run 4711, because it ran on feature/x; allowed are main, develop";
    assert!(ran.failure().cause.contains(said), "{}", ran.failure());

    // Named, it is refused; and so is one that does not say where it ran.
    let named = |stage: &mut Stage| stage.source.build.run_id = Some(4711);
    let ran = looked(&built_on("feature/x"), named).await;
    assert!(ran.failure().cause.starts_with("build run 4711 cannot be used: it ran on feature/x"), "{}", ran.failure());
    let github = built();
    github.edit_run(4711, |run| run.head_branch = None);
    let ran = looked(&github, named).await;
    assert!(ran.failure().cause.ends_with("its branch is unknown"), "{}", ran.failure());
}

#[tokio::test]
async fn se14_a_tag_with_the_name_of_a_branch_is_not_that_branch() {
    for name in ["main", "develop"] {
        let ran = looked(&built_on(name), |_| ()).await;
        assert_eq!(ran.failure().cause, format!("{SHA} is not reachable from main"), "{name}");
        assert_eq!(ran.failure().code, "commit-not-on-release-branch");
        assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.contains("release-branches")));
        assert_eq!(ran.outcome.exit_code(), 1);
    }
    // Once it is merged it may be released.
    let github = built_on("develop");
    github.push("main", SHA);
    assert!(looked(&github, |_| ()).await.surveyed.build.is_some());
    let ran = looked(&github, |stage| stage.source.build.provenance.branches = vec!["production".to_owned()]).await;
    assert_eq!(ran.failure().cause, "this repository has no branch production");
    assert_eq!(ran.failure().code, "release-branch-missing");
}

#[tokio::test]
async fn se14_tags_count_where_the_policy_names_them_and_the_commit_is_reviewed() {
    let tags = |stage: &mut Stage| stage.source.build.provenance.tags = vec!["v*".to_owned()];
    let github = built_on("v1.2.3");
    let ran = looked(&github, tags).await;
    assert_eq!(ran.failure().cause, format!("{SHA} is not reachable from main"));
    github.push("main", SHA);
    assert!(looked(&github, tags).await.surveyed.build.is_some());
    assert!(looked(&github, |_| ()).await.surveyed.build.is_none(), "without the pattern it does not");

    let github = built_on("gh-readonly-queue/main/pr-7-0123");
    github.edit_run(4711, |run| run.event = "merge_group".to_owned());
    github.push("main", SHA);
    assert!(looked(&github, |_| ()).await.surveyed.build.is_some(), "a merge queue builds what becomes main");
}

/// The statement that GitHub's own action makes of a build.
fn statement(subject: &str, change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
    let mut statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": bundle_name(), "digest": { "sha256": subject } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://actions.github.io/buildtypes/workflow/v1",
                "externalParameters": { "workflow": {
                    "ref": "refs/heads/main",
                    "repository": "https://github.com/acme/shop",
                    "path": ".github/workflows/build.yml",
                } },
                "resolvedDependencies": [{
                    "uri": "git+https://github.com/acme/shop@refs/heads/main",
                    "digest": { "gitCommit": SHA },
                }],
            },
            "runDetails": {
                "builder": { "id": "https://github.com/actions/runner/github-hosted" },
                "metadata": { "invocationId": "https://github.com/acme/shop/actions/runs/4711/attempts/1" },
            },
        },
    });
    change(&mut statement);
    statement
}

async fn attested(statements: &[serde_json::Value]) -> Ran {
    attested_in(&built(), statements).await
}

async fn attested_in(github: &GitHub, statements: &[serde_json::Value]) -> Ran {
    let sha = Sha256Digest::of(&*CONTENT);
    for statement in statements {
        github.attest(sha.as_str(), statement.clone());
    }
    let look = Stage::with_github(github).survey(artifact::look).await;
    let mut stage = Stage::with_github(github);
    stage.source.build.provenance.attestation = true;
    stage.surveyed.build = look.surveyed.build;
    stage.release(artifact::fetch).await
}

/// The build run was run again, as a whole or where it had failed.
#[tokio::test]
async fn se14_a_required_attestation_names_the_attempt_whose_artifact_is_released() {
    let sha = Sha256Digest::of(&*CONTENT);
    let of_attempt = |attempt: u64| {
        statement(sha.as_str(), |statement| {
            let run = format!("https://github.com/acme/shop/actions/runs/4711/attempts/{attempt}");
            statement["predicate"]["runDetails"]["metadata"]["invocationId"] = json!(run);
        })
    };
    // When the second attempt began, and when the artifact was made; which attempt made it.
    for (began, made, by) in [
        ("2026-01-05T10:00:00Z", "2026-01-05T10:05:00Z", 2),
        // Only the jobs that failed were run again: the build was none of them.
        ("2026-01-05T10:00:00Z", "2026-01-05T09:05:00Z", 1),
    ] {
        for attempt in 1..=3 {
            let github = built();
            github.edit_run(4711, |run| (run.run_attempt, run.started_at) = (2, Some(began.to_owned())));
            github.edit_artifact(11, |artifact| artifact.created_at = made.to_owned());
            let ran = attested_in(&github, &[of_attempt(attempt)]).await;
            if attempt == by {
                assert_eq!(ran.outcome.cause(), None, "attempt {attempt}, made {made}");
                continue;
            }
            let why =
                "it names another attempt of the build run: https://github.com/acme/shop/actions/runs/4711/attempts/";
            assert_eq!(ran.failure().details, [format!("{why}{attempt}")], "made {made}");
            assert_eq!(ran.outcome.exit_code(), 1);
        }
    }
}

#[tokio::test]
async fn se14_a_required_attestation_names_repository_workflow_commit_run_and_file() {
    type Change = fn(&mut serde_json::Value);
    let sha = Sha256Digest::of(&*CONTENT);
    let good = statement(sha.as_str(), |_| ());
    let ran = attested(std::slice::from_ref(&good)).await;
    let told: record::BundleRecord = ran.record(record::key::BUNDLE);
    assert_eq!(told.verified_at.last().map(String::as_str), Some("GitHub's build provenance attestation"));

    let ran = attested(&[]).await;
    assert!(ran.failure().cause.starts_with("there is none for SHA-256 "), "{}", ran.failure());
    assert_eq!(ran.failure().code, "attestation-missing");
    let at = |path: &'static str, value: &'static str| {
        move |statement: &mut serde_json::Value| *statement.pointer_mut(path).expect(path) = json!(value)
    };
    let wrong: [(serde_json::Value, &str); 5] = [
        (
            statement(
                sha.as_str(),
                at("/subject/0/digest/sha256", "0000000000000000000000000000000000000000000000000000000000000000"),
            ),
            "it is about another file",
        ),
        (
            statement(
                sha.as_str(),
                at("/predicate/buildDefinition/externalParameters/workflow/repository", "https://github.com/evil/shop"),
            ),
            "it names another repository",
        ),
        (
            statement(
                sha.as_str(),
                at("/predicate/buildDefinition/externalParameters/workflow/path", ".github/workflows/evil.yml"),
            ),
            "it names another workflow",
        ),
        (
            statement(sha.as_str(), at("/predicate/buildDefinition/resolvedDependencies/0/digest/gitCommit", OTHER)),
            "it names another commit",
        ),
        (
            statement(
                sha.as_str(),
                at(
                    "/predicate/runDetails/metadata/invocationId",
                    "https://github.com/acme/shop/actions/runs/47/attempts/1",
                ),
            ),
            "it names another run",
        ),
    ];
    let all: Vec<serde_json::Value> = wrong.iter().map(|(statement, _)| statement.clone()).collect();
    let ran = attested(&all).await;
    let details: Vec<&str> = ran.failure().details.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(details, wrong.iter().map(|(_, why)| *why).collect::<Vec<_>>());
    assert_eq!(ran.failure().code, "attestation-mismatch");
    assert_eq!(ran.failure().kind, FailureKind::Refused);
    // Another sort of statement about the same file says nothing of its build.
    let other: Change = |statement| statement["predicateType"] = json!("https://spdx.dev/Document/v2.3");
    assert!(attested(&[statement(sha.as_str(), other)]).await.failure().cause.starts_with("there is none"));
    // One good one among them is enough.
    let with_good: Vec<serde_json::Value> = all.into_iter().chain([good]).collect();
    assert_eq!(attested(&with_good).await.outcome.cause(), None);

    // As the API's example has it, with an address in the place of the bundle: named, without the key that the address holds.
    let ran = attested(&[serde_json::Value::Null]).await;
    assert_eq!(ran.failure().kind, FailureKind::Refused);
    let words = format!("{}", ran.failure());
    assert!(words.contains("by its address only (bundle_url, on tmastaging.blob.core.windows.net)"), "{words}");
    assert_eq!(ran.failure().code, "attestation-unreadable");
    assert!(!words.contains("sig="), "{words}");
    assert!(ran.failure().hint.as_ref().is_some_and(|hint| hint.contains("gh attestation verify")), "{words}");
    assert_eq!(attested(&[serde_json::Value::Null, statement(sha.as_str(), |_| ())]).await.outcome.cause(), None);

    // Attested as the artifact, it counts as well.
    let github = built();
    let name = bundle_name();
    let zip = zip_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), sum_line(&CONTENT).as_bytes())]);
    let of_the_zip = Sha256Digest::of(&zip);
    github.attest(of_the_zip.as_str(), statement(of_the_zip.as_str(), |_| ()));
    let look = Stage::with_github(&github).survey(artifact::look).await;
    let mut stage = Stage::with_github(&github);
    stage.source.build.provenance.attestation = true;
    stage.surveyed.build = look.surveyed.build;
    assert_eq!(stage.release(artifact::fetch).await.outcome.cause(), None);
}

// ---- A policy that somebody else wrote (SE11) ----

/// A site that counts who comes.
fn site() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = listener.local_addr().expect("the port");
    let visits = Arc::new(AtomicUsize::new(0));
    let count = visits.clone();
    thread::spawn(move || {
        for connection in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let Ok(mut connection) = connection else { return };
            let mut asked = [0; 4096];
            let _ = connection.read(&mut asked);
            let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (format!("http://{address}"), visits)
}

const POLICY: &str = ".github/gated-deploy.yml";

fn smoke(github: &GitHub, event: &str, payload: serde_json::Value) -> Runner {
    let runner = Runner::new()
        .must_not_leak()
        .api_url(github.api_url())
        .secret(github.token())
        .secret("the-token-of-the-site")
        .event(event, payload);
    [
        ("stage", "smoke"),
        ("github-token", github.token()),
        ("healthcheck-token", "the-token-of-the-site"),
        ("health-attempts", "1"),
        ("health-interval", "1s"),
        ("environment", "staging"),
    ]
    .into_iter()
    .fold(runner, |runner, (name, value)| runner.input(name, value))
}

#[test]
fn se11_no_token_goes_where_the_policy_of_a_pull_request_says() {
    let of_pull_request = json!({ "workflow_run": { "event": "pull_request", "repository": { "full_name": "acme/shop" }, "head_repository": { "full_name": "acme/shop" } } });
    let of_fork = json!({ "workflow_run": { "event": "push", "repository": { "full_name": "acme/shop" }, "head_repository": { "full_name": "evil/shop" } } });
    let events = [
        ("pull_request", json!({})),
        ("pull_request_target", json!({})),
        ("issue_comment", json!({})),
        ("workflow_run", of_pull_request),
        ("workflow_run", of_fork),
        ("workflow_run", json!({})),
    ];
    for (event, payload) in events {
        let github = GitHub::start([127, 0, 0, 1].into());
        let (url, visits) = site();
        let theirs = format!("health-attempts: 2\nenvironments:\n  staging:\n    url: {url}\n    health-via: direct\n");
        let start = || smoke(&github, event, payload.clone());

        // The default branch has no policy; then another one.
        for ours in
            [None, Some("environments:\n  staging:\n    url: https://shop.example.com\n    health-via: direct\n")]
        {
            if let Some(ours) = ours {
                github.file("main", POLICY, ours);
            }
            let finished = start().file(POLICY, &theirs).run_binary(BINARY);
            assert_ended(&finished, 1, "refused");
            let names = if ours.is_some() { "url differs from" } else { "health-via, url differs from" };
            assert_says(&finished.log, &[names, event, "Give ", "in the step's `with:`", "into the default branch"]);
            assert_eq!(visits.load(Ordering::SeqCst), 0, "{event}: the site in their policy was asked");
        }

        // The same settings on the default branch: somebody has reviewed them. What decides nothing may differ.
        let reviewed = format!("environments:\n  staging:\n    url: {url}\n    health-via: direct\n");
        github.file("main", POLICY, &reviewed);
        let finished = start().file(POLICY, &theirs).run_binary(BINARY);
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.log, &["404"]);
        assert!(visits.load(Ordering::SeqCst) > 0, "{event}");
    }
}

#[test]
fn se11_what_the_step_itself_says_needs_no_review_and_neither_does_a_push() {
    let github = GitHub::start([127, 0, 0, 1].into());
    let (url, visits) = site();
    let finished = smoke(&github, "pull_request", json!({})).input("url", &url).run_binary(BINARY);
    assert_says(&finished.log, &["404"]);
    assert!(visits.load(Ordering::SeqCst) > 0);
    // A line that their branch leaves out restricts nobody, and the default branch's would.
    github.file("main", POLICY, "environments:\n  staging:\n    health-paths: [/strict]\n");
    let asked = visits.load(Ordering::SeqCst);
    let finished = smoke(&github, "pull_request", json!({})).input("url", &url).run_binary(BINARY);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["health-paths"]);
    assert_eq!(visits.load(Ordering::SeqCst), asked, "the site was not asked");
    // A run that a push started is not compared.

    let (url, visits) = site();
    let policy = format!("environments:\n  staging:\n    url: {url}\n");
    let own = json!({ "workflow_run": { "event": "push", "repository": { "full_name": "acme/shop" }, "head_repository": { "full_name": "acme/shop" } } });
    for (event, payload) in [("push", json!({})), ("schedule", json!({})), ("workflow_run", own)] {
        let before = visits.load(Ordering::SeqCst);
        let finished = smoke(&github, event, payload).file(POLICY, &policy).run_binary(BINARY);
        assert_eq!(output(&finished, "outcome"), "refused");
        assert!(visits.load(Ordering::SeqCst) > before, "{event}");
    }
    // Without a token nobody can compare.
    let finished =
        smoke(&github, "pull_request", json!({})).input("github-token", "").file(POLICY, &policy).run_binary(BINARY);
    assert_ended(&finished, 1, "refused");
    assert_says(
        &finished.log,
        &["url would come from the policy of a run that was started by `pull_request`", "policy-unreviewed"],
    );
}

#[test]
fn se11_a_policy_of_a_pull_request_must_not_leave_out_who_approves() {
    let github = GitHub::start([127, 0, 0, 1].into());
    github.file("main", POLICY, "environments:\n  production:\n    approval-needs-digest: true\n");
    let key = crate::rows::some_key();
    let start = [
        ("stage", "fix"),
        ("fix", "branch-protection-main"),
        ("approval", "PROD-FIX FREIGEGEBEN"),
        ("github-token", github.token()),
        ("environment", "production"),
    ]
    .into_iter()
    .fold(
        Runner::new().api_url(github.api_url()).secret(github.token()).secret(key).event("issue_comment", json!({})),
        |runner, (name, value)| runner.input(name, value),
    );
    let finished = start.clone().file(POLICY, "environments:\n  production: {}\n").run_binary(BINARY);
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["approval-needs-digest differs from the default branch's policy"]);
    assert_eq!(github.written(), []);
}

// ---- What never had the lock (SE10) ----

/// A server whose ledger has one confirmed release.
struct Ledger(RefCell<usize>);

#[async_trait(?Send)]
impl Shell for Ledger {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("reading connects by itself");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        *self.0.borrow_mut() += 1;
        let release = format!("20260101_080000-{}", &SHA[..8]);
        let line = json!({
            "v": 2, "prev": "0".repeat(64), "at": "2026-01-01T08:00:00Z", "environment": "staging", "attempt": "release",
            "release": release, "from": null, "sha": SHA, "bundle_sha256": null, "outcome": "live", "migrations": [],
            "run": "https://github.com/acme/shop/actions/runs/1",
        });
        let record = match script.name() {
            "ledger-read" => ("ledger", format!("{line}\n")),
            "current" => ("current", format!("releases/{release}")),
            other => panic!("production must not run {other} on staging's server"),
        };
        Ok(Answer::new(vec![(record.0.to_owned(), record.1)]))
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

struct Well;

#[async_trait(?Send)]
impl Site for Well {
    fn within(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    async fn get(&self, _: Get) -> Result<Reply, Unanswered> {
        let body = format!("{{\"status\":\"ok\",\"commit\":\"{SHA}\"}}").into_bytes();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Reply {
            status: 200,
            headers,
            length: body.len() as u64,
            body,
            took: Duration::from_millis(1),
            vantage: None,
        })
    }
}

/// What speaks against production where these runs of the staging workflow came after the release that is proven.
async fn against(ledger: bool, runs: &[Run]) -> (Vec<String>, Vec<String>) {
    let github = built();
    let of_staging = |id: u64, conclusion: &str, ended: &str| Run {
        name: Some("Deploy to staging".to_owned()),
        path: ".github/workflows/deploy-staging.yml".to_owned(),
        created_at: ended.to_owned(),
        phase: Phase::completed(conclusion),
        ..Run::green(id, SHA)
    };
    github.add_run(of_staging(1, "success", "2026-01-01T08:00:00Z"));
    for run in runs {
        let late = of_staging(run.id, "failure", "2026-01-02T08:00:00Z");
        github.add_run(Run { event: run.event.clone(), head_repository_id: run.head_repository_id, ..late });
    }
    let mut stage = Stage::with_github(&github);
    let inputs = typed::Staging {
        environment: "staging".parse().expect("a name"),
        site: stage.inputs.site.clone(),
        health: typed::HealthPolicy { attempts: 1, ..stage.inputs.health.clone() },
        stable_for: Duration::from_secs(3600),
        workflow: "deploy-staging.yml".to_owned(),
        branches: vec!["develop".to_owned(), "main".to_owned()],
        server: ledger
            .then(|| typed::StagingServer { ssh: stage.inputs.ssh.clone(), layout: stage.inputs.layout.clone() }),
    };
    let shell = ledger.then(|| Rc::new(Ledger(RefCell::default())) as Rc<dyn Shell>);
    stage.staging = Some(Rc::new(Staging { inputs, site: Rc::new(Well), shell }));
    let ran = stage.survey(staging::evidence).await;
    let case: record::Staging = ran.record(record::key::STAGING);
    let about_runs = case.against.into_iter().filter(|cause| cause.contains("a run of deploy-staging.yml")).collect();
    (about_runs, ran.lines().into_iter().map(str::to_owned).collect())
}

#[tokio::test]
async fn se10_a_run_that_never_had_the_lock_blocks_nobody() {
    let fork = Run { event: "pull_request".to_owned(), head_repository_id: 99, ..Run::green(7, SHA) };
    let after_build = Run { event: "workflow_run".to_owned(), ..Run::green(8, SHA) };
    let by_hand = Run { event: "workflow_dispatch".to_owned(), ..Run::green(9, SHA) };

    // Staging's ledger has a line of each run that took the lock, and none of these.
    let (blocking, lines) = against(true, &[fork.clone(), after_build.clone(), by_hand.clone()]).await;
    assert_eq!(blocking, Vec::<String>::new());
    for run in [8, 9] {
        let told = lines
            .iter()
            .any(|line| line.contains("never took the deploy lock") && line.contains(&format!("runs/{run}")));
        assert!(told, "run {run} is named: {lines:?}");
    }

    // Without the ledger nobody knows, so our own runs count; what strangers start does not.
    let (blocking, _) = against(false, std::slice::from_ref(&fork)).await;
    assert_eq!(blocking, Vec::<String>::new());
    let (blocking, _) = against(false, &[by_hand]).await;
    assert_eq!(blocking.len(), 1, "{blocking:?}");
}
