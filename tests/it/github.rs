//! GitHub, as the action asks it: what it reads, what it asks again, what it refuses, and what a person reads then.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    net::TcpListener,
    rc::Rc,
    sync::LazyLock,
    thread,
    time::Duration,
};

use gated_deploy::{
    bundle::artifact,
    domain::{Failure, FailureKind, Sha256Digest, bundle, record},
    engine::step::{cleanup, hold},
    github::{Api, Github as _, GithubError},
};
use gated_deploy_lab::github::{
    Artifact, Digest, Fault, GitHub, Host, Options, Phase, Refusal, Run, Source, Times, artifact_zip,
};

use crate::rows::{self, OTHER, Patience, Ran, SHA, Stage, api, commit};

const RUN: &str = "/repos/acme/shop/actions/runs/4711";
const ZIP: &str = "/repos/acme/shop/actions/artifacts/11/zip";

fn github() -> GitHub {
    GitHub::start([127, 0, 0, 1].into())
}

pub(crate) fn asked(github: &GitHub) -> (Api, Rc<Patience>) {
    let clock = Rc::new(Patience::default());
    (api(github, clock.clone()), clock)
}

fn seconds(clock: &Patience) -> Vec<u64> {
    clock.slept().iter().map(Duration::as_secs).collect()
}

// ---- Reading ----

#[tokio::test]
async fn f4_null_is_not_a_value_and_not_an_error_where_the_api_allows_it() {
    let github = github();
    let run = Run { head_branch: None, name: None, ..Run::green(4711, SHA) };
    github.add_run(Run { phase: Phase { status: None, conclusion: None }, ..run });

    let run = asked(&github).0.run(4711).await.expect("a run with nulls is a run");
    assert_eq!((run.head_branch, run.name, run.status, run.conclusion), (None, None, None, None));
}

#[tokio::test]
async fn f4_an_id_that_is_null_or_a_word_is_refused() {
    for broken in [serde_json::Value::Null, "null".into(), "".into()] {
        let github = github();
        github.add_run(Run::green(4711, SHA));
        github.fault("GET", RUN, Times::Always, Fault::edit(move |run| run["id"] = broken.clone()));
        let error = asked(&github).0.run(4711).await.expect_err("that is no id");
        assert!(matches!(&error, GithubError::Unexpected(why) if why.contains(RUN)), "{error}");
    }
}

#[tokio::test]
async fn f4_a_missing_conclusion_is_not_read_as_null() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    let forget = |run: &mut serde_json::Value| drop(run.as_object_mut().expect("a run").remove("conclusion"));
    github.fault("GET", RUN, Times::Always, Fault::edit(forget));
    let error = asked(&github).0.run(4711).await.expect_err("half an answer");
    assert!(error.to_string().contains("conclusion"), "{error}");
}

#[tokio::test]
async fn a_run_says_what_built_it() {
    let github = github();
    let path = format!("{}@refs/heads/main", gated_deploy_lab::github::BUILD_WORKFLOW);
    github.add_run(Run { path, run_attempt: 3, head_repository_id: 99, ..Run::green(4711, SHA) });
    let run = asked(&github).0.run(4711).await.expect("a run");
    assert_eq!(run.path, ".github/workflows/build.yml");
    assert_eq!((run.attempt, run.own_repository, run.head_sha), (3, false, commit()));
}

#[tokio::test]
async fn every_request_is_one_that_github_wants_and_enterprise_paths_work() {
    let github = GitHub::start_with(Options { base_path: "/api/v3".into(), ..Options::default() });
    github.add_run(Run::green(4711, SHA));
    for id in 1..=150 {
        github.add_artifact(Artifact::zip(id, 4711, "bundle", vec![1]));
    }
    let (api, _) = asked(&github);
    assert_eq!(api.runs_for("build.yml", &commit()).await.expect("runs").len(), 1);
    let artifacts = api.artifacts(4711, "bundle").await.expect("two pages of artifacts");
    assert_eq!((artifacts.len(), artifacts[0].id), (150, 150), "all pages, the newest first");
    for request in github.requests() {
        assert!(request.missing_headers().is_empty(), "{request:?}");
        assert_eq!(request.header("x-github-api-version"), Some("2022-11-28"));
        assert!(request.had_authorization);
    }
}

#[tokio::test]
async fn f3_only_runs_of_this_commit_and_this_workflow_count() {
    let github = github();
    github.add_run(Run::green(1, SHA));
    github.add_run(Run::green(2, OTHER));
    github.add_run(Run {
        name: Some("Other".into()),
        path: ".github/workflows/other.yml".into(),
        ..Run::green(3, SHA)
    });
    let (api, _) = asked(&github);
    for workflow in ["build.yml", ".github/workflows/build.yml", "Build"] {
        let runs = api.runs_for(workflow, &commit()).await.expect("runs");
        assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [1], "{workflow}");
    }
    // A list that ignores its filter is not believed.
    let lie = |list: &mut serde_json::Value| list["workflow_runs"][0]["head_sha"] = OTHER.into();
    github.fault("GET", "*/runs", Times::Always, Fault::edit(lie));
    assert_eq!(api.runs_for("build.yml", &commit()).await.expect("no runs"), []);
}

#[tokio::test]
async fn a_workflow_that_is_not_there_is_named_with_those_that_are() {
    let github = github();
    github.add_workflow("Build", ".github/workflows/build.yml");
    let error = asked(&github).0.runs_for("Bulid", &commit()).await.expect_err("no such workflow");
    assert_eq!(error, GithubError::NotFound("no workflow is named `Bulid`; there are build.yml".into()));
}

// ---- Asking again ----

#[tokio::test]
async fn server_errors_are_asked_again_later_and_later() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    github.fault("GET", RUN, Times::Next(3), Fault::server_error(502));
    let (api, clock) = asked(&github);
    api.run(4711).await.expect("the fourth answer");
    assert_eq!(seconds(&clock).iter().zip([1, 2, 4]).filter(|(slept, least)| **slept >= *least).count(), 3);
    assert!(clock.slept().iter().sum::<Duration>() < Duration::from_secs(9));

    github.fault("GET", RUN, Times::Always, Fault::server_error(503));
    let error = api.run(4711).await.expect_err("an API that is down");
    assert_eq!(error.to_string(), format!("GitHub answered 503 Service Unavailable to GET {RUN}, 4 times"));
    assert_eq!(github.requests().len(), 8);
}

#[tokio::test]
async fn dropped_connections_and_cut_answers_are_asked_again() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    github.fault("GET", RUN, Times::Next(1), Fault::Reset);
    github.fault("GET", RUN, Times::Next(1), Fault::Truncate { keep: 10 });
    let (api, clock) = asked(&github);
    api.run(4711).await.expect("the third answer");
    assert_eq!(clock.slept().len(), 2);

    github.fault("GET", RUN, Times::Always, Fault::Reset);
    let error = api.run(4711).await.expect_err("nobody there").to_string();
    assert!(error.starts_with(&format!("GET {RUN} got no answer, 4 times: ")), "{error}");
}

#[tokio::test]
async fn a_rate_limit_that_ends_soon_is_waited_for() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    let limit = |seconds| Fault::refusal(Refusal::SecondaryRateLimit { retry_after: seconds });
    github.fault("GET", RUN, Times::Next(1), limit(Some(7)));
    github.fault("GET", RUN, Times::Next(1), limit(None));
    let (api, clock) = asked(&github);
    api.run(4711).await.expect("an answer after the limit");
    assert_eq!(seconds(&clock), [7, 60], "what GitHub asks for, and a minute where it does not say");
}

#[tokio::test]
async fn a_rate_limit_that_lasts_is_told() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    github.rate_limit_remaining(0);
    let (api, clock) = asked(&github);
    let GithubError::RateLimited { retry_after } = api.run(4711).await.expect_err("no requests left") else {
        panic!("a rate limit must be told as one");
    };
    assert!((3590..=3600).contains(&retry_after.as_secs()), "{retry_after:?}");
    assert_eq!(clock.slept(), []);
}

#[tokio::test]
async fn refusals_say_what_is_missing() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    let needs = "actions=read".to_owned();
    github.fault("GET", RUN, Times::Next(1), Fault::refusal(Refusal::IntegrationForbidden { needs }));
    github.fault("GET", RUN, Times::Next(1), Fault::refusal(Refusal::BadCredentials));
    let (api, _) = asked(&github);
    let error = api.run(4711).await.expect_err("a token without rights").to_string();
    assert_eq!(
        error,
        "the token has no right for this request (Resource not accessible by integration); it needs actions=read"
    );
    let error = api.run(4711).await.expect_err("a wrong token").to_string();
    assert_eq!(error, "the token has no right for this request (Bad credentials)");
    assert_eq!(github.requests().len(), 2, "a refusal is not asked again");
    assert!(matches!(api.run(1).await, Err(GithubError::NotFound(_))));
}

// ---- Downloads ----

async fn download(github: &GitHub) -> (Result<(Sha256Digest, u64), GithubError>, Vec<u8>, Rc<Patience>) {
    let (api, clock) = asked(github);
    let artifact = api.artifacts(4711, "bundle").await.expect("a list").remove(0);
    let mut file = tempfile::tempfile().expect("a temporary file");
    let result = api.download(&artifact, file.try_clone().expect("the same file again"), &mut |_, _| {}).await;
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("read the download");
    (result, bytes, clock)
}

fn with_artifact(content: Vec<u8>) -> GitHub {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    github.add_artifact(Artifact::zip(11, 4711, "bundle", content));
    github
}

fn links(github: &GitHub) -> usize {
    github.requests().iter().filter(|request| request.path == ZIP).count()
}

#[tokio::test]
async fn f40_the_token_never_reaches_the_blob_storage() {
    let content = vec![7; 300_000];
    let github = with_artifact(content.clone());
    let (result, bytes, _) = download(&github).await;
    assert_eq!(result.expect("a download"), (Sha256Digest::of(&content), 300_000));
    assert_eq!(bytes, content);
    let blobs: Vec<_> = github.requests().into_iter().filter(|request| request.host == Host::Blob).collect();
    assert_eq!(blobs.len(), 1);
    assert!(!blobs[0].had_authorization, "{blobs:?}");
}

#[tokio::test]
async fn a_download_that_breaks_off_begins_again_with_a_new_link() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    let github = with_artifact(content.clone());
    github.fault("GET", "/actions-results/11", Times::Next(1), Fault::Truncate { keep: 100_000 });
    github.fault("GET", "/actions-results/11", Times::Next(1), Fault::Reset);
    let (result, bytes, clock) = download(&github).await;
    assert_eq!(result.expect("the third download").0, Sha256Digest::of(&content));
    assert_eq!(bytes, content, "nothing of the broken downloads stays");
    assert_eq!((links(&github), clock.slept().len()), (3, 2));
}

#[tokio::test]
async fn a_download_that_always_breaks_off_says_where() {
    let github = with_artifact(vec![7; 200_000]);
    github.fault("GET", "/actions-results/11", Times::Always, Fault::Truncate { keep: 1000 });
    let told = download(&github).await.0.expect_err("a broken download").to_string();
    assert!(told.starts_with("ended after 1000 of 200000 bytes, 3 times"), "{told}");
    assert_eq!(github.signatures().len(), 3);
    assert!(github.signatures().iter().all(|signature| !told.contains(signature)));
}

#[tokio::test]
async fn a_link_that_has_grown_old_is_asked_for_again_and_never_told() {
    let github = with_artifact(vec![7; 1000]);
    github.link_lifetime(Duration::ZERO);
    let told = download(&github).await.0.expect_err("links that are dead").to_string();
    assert_eq!(told, "127.0.0.1 answered 403 Forbidden");
    assert_eq!(links(&github), 3);
}

#[tokio::test]
async fn an_expired_artifact_is_told_as_expired() {
    let github = with_artifact(vec![7; 1000]);
    github.edit_artifact(11, |artifact| artifact.expired = true);
    assert_eq!(download(&github).await.0, Err(GithubError::Expired));
}

#[tokio::test]
async fn a_download_that_outgrows_what_was_said_is_stopped() {
    let github = with_artifact(vec![7; 3_000_000]);
    github.edit_artifact(11, |artifact| artifact.size = Some(1000));
    let (result, bytes, _) = download(&github).await;
    let told = result.expect_err("far too large").to_string();
    assert_eq!(told, "it has at least 3000000 bytes; at most 1049576 were expected");
    assert!(bytes.is_empty());
    assert_eq!(links(&github), 1, "it would not become smaller");
}

#[tokio::test]
async fn a_storage_that_announces_no_size_is_stopped_too() {
    let storage = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let link = format!("http://{}/", storage.local_addr().expect("the port"));
    thread::spawn(move || {
        let (mut connection, _) = storage.accept().expect("a connection");
        let mut asked = [0; 2048];
        let _ = connection.read(&mut asked).expect("read a request");
        connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").expect("write the head");
        let piece = [b"1000\r\n".as_slice(), &[7; 0x1000], b"\r\n"].concat();
        // 4 MB, if the other side does not hang up before.
        let _ = (0..1000).try_for_each(|_| connection.write_all(&piece));
    });
    let github = with_artifact(vec![7; 1000]);
    github.fault("GET", ZIP, Times::Next(1), Fault::redirect(&link));
    let told = download(&github).await.0.expect_err("no end of it").to_string();
    assert!(told.ends_with("bytes; at most 1049576 were expected"), "{told}");
}

#[tokio::test]
async fn redirects_go_round_in_circles_only_three_times() {
    let github = with_artifact(vec![7; 1000]);
    let round = format!("{}/actions-results/11?sig=round", github.blob_url());
    github.fault("GET", "/actions-results/11", Times::Always, Fault::redirect(&round));
    let told = download(&github).await.0.expect_err("a circle").to_string();
    assert_eq!(told, "more than 3 redirects, the last one by 127.0.0.1");
}

// ---- Step 6: is the build there? ----

pub(crate) fn bundle_name() -> String {
    bundle::file_name(&commit())
}

pub(crate) fn sum_line(content: &[u8]) -> String {
    format!("{}  {}\n", Sha256Digest::of(content), bundle_name())
}

pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let files: Vec<(&str, Source)> = files.iter().map(|(name, bytes)| (*name, Source::from(*bytes))).collect();
    artifact_zip(&files).expect("a zip in memory")
}

/// Our commit's bundle.
pub(crate) static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| rows::bundle(&commit(), FILES));

const FILES: &[(&str, &[u8])] = &[("artisan", b"#!/usr/bin/env php"), ("public/index.php", b"<?php")];

/// A GitHub whose run 4711 built our commit and left the artifact 11.
pub(crate) fn built() -> GitHub {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    github.add_artifact(artifact_11());
    github
}

pub(crate) fn artifact_11() -> Artifact {
    let sum = sum_line(&CONTENT);
    let name = bundle_name();
    let zip = zip_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), sum.as_bytes())]);
    Artifact::zip(11, 4711, &format!("deployment-bundle-{SHA}"), zip)
}

#[tokio::test]
async fn f3_the_build_is_resolved_once_and_printed_whole() {
    let github = built();
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert_eq!(ran.said().split(',').next(), Some("build run 4711 succeeded"));
    let build = ran.surveyed.build.as_ref().expect("the build is found");
    assert_eq!((build.run.id, build.artifact.id), (4711, 11));
    let told: record::BuildRun = ran.record(record::key::BUILD_RUN);
    assert_eq!((told.id, told.attempt, told.workflow.as_str()), (4711, 1, "build.yml"));
    let told: record::ArtifactRecord = ran.record(record::key::ARTIFACT);
    assert_eq!(told.digest, build.artifact.digest);
    let tuple = format!("workflow build.yml, run 4711 (attempt 1), commit {SHA}, artifact 11");
    assert!(ran.lines().iter().any(|line| line.starts_with(&tuple)), "{:?}", ran.lines());
}

#[tokio::test]
async fn a_build_that_is_still_running_is_no_reason_to_refuse_a_plan() {
    let github = built();
    github.edit_run(4711, |run| run.phase = Phase::in_progress());
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert_eq!(ran.said(), "not available yet (build run 4711 is in progress); the release would wait up to 4 x 10 s");
    assert!(ran.surveyed.build_is_coming);
}

#[tokio::test]
async fn fd3_a_commit_without_a_build_run_is_refused_before_anything_changes() {
    let github = github_with_workflow();
    let stage = Stage::with_github(&github);
    let clock = stage.clock.clone();
    let ran = stage.survey(artifact::look).await;
    assert_eq!(ran.failure().cause, format!("no successful build for {SHA}: no build run for this commit yet"));
    assert_eq!((ran.outcome.exit_code(), ran.surveyed.build_is_coming), (1, false));
    assert_eq!(seconds(&clock), [5, 5], "GitHub's list of runs lags behind");
    assert_eq!(ran.failure().code, "build-missing");

    // A run that appears meanwhile is found, and one that is green without an artifact is no build.
    let github = built();
    github.edit_run(4711, |run| run.listed_after = 2);
    assert!(Stage::with_github(&github).survey(artifact::look).await.surveyed.build.is_some());
    let github = self::github();
    github.add_run(Run::green(4711, SHA));
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert!(ran.failure().cause.contains("build run 4711 succeeded but has no artifact"), "{}", ran.failure());
    assert_eq!(ran.failure().code, "artifact-missing");
}

fn github_with_workflow() -> GitHub {
    let github = github();
    github.add_workflow("Build", ".github/workflows/build.yml");
    github
}

#[tokio::test]
async fn f6_a_failed_build_ends_the_run_at_once() {
    for (conclusion, words) in [("failure", "failure"), ("cancelled", "cancelled"), ("timed_out", "timed out")] {
        let github = built();
        github.edit_run(4711, |run| run.phase = Phase::completed(conclusion));
        let ran = Stage::with_github(&github).survey(artifact::look).await;
        let failure = ran.failure();
        assert_eq!(failure.cause, format!("build run 4711 ended in {words}"));
        assert!(failure.details[0].ends_with("/actions/runs/4711"), "{failure:?}");
        assert_eq!(failure.code, "build-failed");
        assert_eq!(ran.outcome.exit_code(), 1);

        let stage = Stage::with_github(&github);
        let clock = stage.clock.clone();
        let ran = stage.release(artifact::await_build).await;
        assert_eq!(ran.failure().cause, format!("build run 4711 ended in {words}"));
        assert_eq!(clock.slept(), [], "nobody waits for a build that has ended");
    }
}

#[tokio::test]
async fn the_newest_run_decides_and_an_older_good_one_is_named() {
    let github = built();
    github.add_run(Run { phase: Phase::completed("failure"), ..Run::green(4712, SHA) });
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert_eq!(ran.failure().cause, "build run 4712 ended in failure");
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("Run 4711 of the same commit succeeded")));

    let mut stage = Stage::with_github(&github);
    stage.source.build.run_id = Some(4711);
    let ran = stage.survey(artifact::look).await;
    assert_eq!(ran.surveyed.build.map(|build| build.run.id), Some(4711));
}

#[tokio::test]
async fn f3_a_named_run_must_be_one_of_ours() {
    type Spoil = fn(&mut Run);
    let cases: [(Spoil, &str); 5] = [
        (|run| run.head_repository_id = 99, "it ran on the code of a fork"),
        (|run| run.head_sha = OTHER.into(), "it built 0123456789abcdef0123456789abcdef01234567, not acb5820"),
        (
            |run| run.path = ".github/workflows/other.yml".into(),
            "it is a run of .github/workflows/other.yml, not of .github/workflows/build.yml",
        ),
        (|run| run.event = "pull_request".into(), "it was started by pull_request; allowed are push, "),
        (|run| run.event = "pull_request_target".into(), "it was started by pull_request_target; allowed are push, "),
    ];
    for (spoil, why) in cases {
        let github = built();
        github.edit_run(4711, spoil);
        let mut stage = Stage::with_github(&github);
        stage.source.build.run_id = Some(4711);
        let ran = stage.survey(artifact::look).await;
        assert!(ran.failure().cause.starts_with(&format!("build run 4711 cannot be used: {why}")), "{}", ran.failure());
        assert_eq!((&*ran.failure().code, ran.failure().kind), ("build-run-not-usable", FailureKind::Refused));
    }
}

#[tokio::test]
async fn runs_of_strangers_do_not_hide_our_own() {
    let github = built();
    github.add_run(Run { head_repository_id: 99, event: "pull_request".into(), ..Run::green(4712, SHA) });
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert_eq!(ran.surveyed.build.map(|build| build.run.id), Some(4711));
}

#[tokio::test]
async fn a_run_or_a_workflow_that_does_not_exist_is_a_wrong_input() {
    let mut stage = Stage::with_github(&built());
    stage.source.build.run_id = Some(1);
    let github = built();
    stage.github = Stage::with_github(&github).github;
    let ran = stage.survey(artifact::look).await;
    assert_eq!((ran.failure().cause.as_str(), ran.outcome.exit_code()), ("there is no run 1 in this repository", 2));
    assert_eq!(ran.failure().code, "build-run-unknown");

    let mut stage = Stage::with_github(&github);
    stage.source.build.workflow = "nope.yml".into();
    let ran = stage.survey(artifact::look).await;
    assert!(ran.failure().cause.starts_with("there is no workflow `nope.yml`"), "{}", ran.failure());
    assert_eq!(ran.failure().code, "workflow-unknown");
    assert_eq!(ran.outcome.exit_code(), 2);
}

#[tokio::test]
async fn a_token_without_rights_is_told_with_the_line_that_gives_them() {
    let github = built();
    let needs = "actions=read".to_owned();
    github.fault("GET", "*", Times::Always, Fault::refusal(Refusal::IntegrationForbidden { needs }));
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert!(ran.failure().cause.ends_with("it needs actions=read"));
    assert_eq!(ran.failure().code, "github-forbidden");
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("actions: read")));
    assert_eq!(ran.outcome.exit_code(), 2);
}

#[tokio::test]
async fn an_api_that_is_down_is_the_worlds_fault() {
    let github = built();
    github.fault("GET", "*", Times::Always, Fault::server_error(502));
    let ran = Stage::with_github(&github).survey(artifact::look).await;
    assert_eq!((ran.failure().kind, ran.outcome.exit_code()), (FailureKind::World, 5));
    assert_eq!(ran.failure().code, "github-unavailable");
}

// ---- Step 9: waiting for it ----

#[tokio::test]
async fn f6_the_wait_is_for_one_run_and_ends_when_it_succeeds() {
    let github = built();
    github.edit_run(4711, |run| run.phase = Phase::queued());
    // Each look asks twice at first (the list and the run), then for the run alone.
    let (queued, running) = (Phase::queued(), Phase::in_progress());
    github.run_progress(4711, vec![queued.clone(), queued, running, Phase::completed("success")]);
    let stage = Stage::with_github(&github);
    let clock = stage.clock.clone();
    let ran = stage.release(artifact::await_build).await;
    let attempts = ran.attempts();
    assert_eq!(attempts[..2], ["build run 4711 is queued", "build run 4711 is in progress"]);
    assert!(attempts[2].starts_with("build run 4711 succeeded, artifact 11 has "), "{attempts:?}");
    assert_eq!(seconds(&clock), [10, 10]);
    assert_eq!(ran.state.build.map(|build| build.artifact.id), Some(11));
    let lists = github.requests().iter().filter(|request| request.path.ends_with("/build.yml/runs")).count();
    assert_eq!(lists, 1, "a newer run must not starve the one we wait for");
}

#[tokio::test]
async fn f7_a_green_build_without_artifact_is_no_build() {
    let github = github();
    github.add_run(Run::green(4711, SHA));
    let stage = Stage::with_github(&github);
    let clock = stage.clock.clone();
    let ran = stage.release(artifact::await_build).await;
    let failure = ran.failure();
    let why = format!("build run 4711 succeeded but has no artifact deployment-bundle-{SHA}");
    assert_eq!(failure.cause, format!("no successful build for {SHA}: {why}"));
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("Check that every job of build.yml ran")));
    assert_eq!((seconds(&clock), ran.outcome.exit_code()), (vec![10, 10, 10], 1));
}

#[tokio::test]
async fn f6_an_artifact_that_is_listed_late_is_waited_for() {
    let github = built();
    github.edit_artifact(11, |artifact| artifact.listed_after = 2);
    let ran = Stage::with_github(&github).release(artifact::await_build).await;
    assert_eq!(ran.attempts().len(), 3);
    assert!(ran.said().starts_with("build run 4711 succeeded"));
}

#[tokio::test]
async fn no_build_at_all_says_how_to_start_one() {
    let ran = Stage::with_github(&github_with_workflow()).release(artifact::await_build).await;
    let failure = ran.failure();
    assert_eq!(failure.cause, format!("no successful build for {SHA}: no build run for this commit yet"));
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("gh workflow run build.yml")), "{failure:?}");
    assert_eq!(ran.attempts().len(), 4);
}

#[tokio::test]
async fn f7_artifacts_that_are_no_use_end_the_wait_at_once() {
    type Spoil = fn(&mut Artifact);
    let other = format!("was built from {OTHER}, not from {SHA}");
    let cases: [(Spoil, &str, &str); 3] = [
        (|artifact| artifact.expired = true, "has expired on 2026-04-05T09:05:00Z", "artifact-gone"),
        (|artifact| artifact.size = Some(0), "is empty", "artifact-unusable"),
        (|artifact| artifact.head_sha = Some(OTHER.into()), &other, "artifact-unusable"),
    ];
    for (spoil, why, code) in cases {
        let github = built();
        github.edit_artifact(11, spoil);
        let stage = Stage::with_github(&github);
        let clock = stage.clock.clone();
        let ran = stage.release(artifact::await_build).await;
        let cause = format!("artifact 11 (deployment-bundle-{SHA}) of build run 4711 {why}");
        assert_eq!((ran.failure().cause.as_str(), clock.slept()), (cause.as_str(), vec![]));
        assert_eq!(ran.failure().code, code);
    }
}

#[tokio::test]
async fn a_wait_survives_an_api_that_is_down_for_a_while() {
    let github = built();
    github.fault("GET", "*", Times::Next(4), Fault::server_error(502));
    let ran = Stage::with_github(&github).release(artifact::await_build).await;
    assert!(ran.attempts()[0].starts_with("GitHub did not answer: "), "{:?}", ran.attempts());
    assert!(ran.said().starts_with("build run 4711 succeeded"));
}

// ---- Step 10: the bundle ----

/// Waits for the build and fetches it, as the table does.
pub(crate) async fn fetched(github: &GitHub) -> Ran {
    let look = Stage::with_github(github).survey(artifact::look).await;
    let mut stage = Stage::with_github(github);
    stage.surveyed.build = look.surveyed.build;
    stage.release(artifact::fetch).await
}

#[tokio::test]
async fn f27_the_bundle_is_compared_with_github_and_with_the_file_beside_it() {
    let ran = fetched(&built()).await;
    let told: record::BundleRecord = ran.record(record::key::BUNDLE);
    assert_eq!((told.file, told.size, told.sha256), (bundle_name(), CONTENT.len() as u64, Sha256Digest::of(&*CONTENT)));
    assert_eq!(told.verified_at, ["GitHub's artifact digest", "the .sha256 beside it"]);
    assert_eq!((told.files, told.commit), (2, commit()));
    assert_eq!(ran.state.manifest.as_deref(), Some(&rows::manifest(&commit(), FILES)));
    let bundle = ran.state.bundle.as_ref().expect("a verified bundle");
    assert_eq!(std::fs::read(&bundle.path).expect("the bundle's file"), *CONTENT);
    assert_eq!(std::fs::read_dir(ran.scratch.path()).expect("the scratch folder").count(), 1, "the zip is gone");
    assert!(ran.events.iter().any(|event| matches!(event.body, gated_deploy::engine::event::Body::Progress { .. })));
}

#[tokio::test]
async fn the_download_is_taken_away_when_the_run_ends() {
    let github = built();
    let look = Stage::with_github(&github).survey(artifact::look).await;
    let mut stage = Stage::with_github(&github);
    stage.surveyed.build = look.surveyed.build;
    let ran = stage.release_row(hold("row", "The row", artifact::fetch, cleanup("remove it", artifact::discard))).await;
    assert!(ran.said().contains("SHA-256"));
    assert_eq!(std::fs::read_dir(ran.scratch.path()).expect("the scratch folder").count(), 0);
}

#[tokio::test]
async fn f27_bytes_that_changed_on_their_way_are_refused() {
    let github = built();
    github.edit_artifact(11, |artifact| artifact.digest = Digest::Wrong);
    let ran = fetched(&github).await;
    let failure = ran.failure();
    assert_eq!(failure.doing, "checking artifact 11 of build run 4711");
    assert!(failure.cause.contains(", but GitHub recorded "), "{failure}");
    assert_eq!(failure.code, "artifact-digest-mismatch");
    assert!(ran.state.bundle.is_none());
    assert_eq!(ran.outcome.exit_code(), 1);
}

#[tokio::test]
async fn f27_without_a_digest_at_github_somebody_is_told() {
    for digest in [Digest::Null, Digest::Absent] {
        let github = built();
        github.edit_artifact(11, |artifact| artifact.digest = digest);
        let ran = fetched(&github).await;
        assert!(ran.warnings()[0].starts_with("GitHub has no digest of this artifact"));
        assert_eq!(ran.record::<record::BundleRecord>(record::key::BUNDLE).verified_at, ["the .sha256 beside it"]);
    }
}

/// What is said of an artifact with these files in it.
async fn refusal_of(files: &[(&str, &[u8])]) -> String {
    refusal_of_content(zip_of(files)).await
}

pub(crate) async fn refusal_of_content(content: Vec<u8>) -> String {
    refused_content(content).await.cause
}

async fn refused_content(content: Vec<u8>) -> Failure {
    let github = built();
    github.add_artifact(Artifact { content: content.into(), ..artifact_11() });
    let ran = fetched(&github).await;
    assert_eq!(ran.outcome.exit_code(), 1, "{}", ran.failure());
    assert!(ran.failure().hint.is_some(), "{}", ran.failure());
    assert!(ran.state.bundle.is_none());
    ran.failure().clone()
}

#[tokio::test]
async fn each_way_in_which_an_artifact_is_wrong_has_a_code() {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let beside = format!("{name}.sha256");
    let with = |content: &[u8]| zip_of(&[(&name, content), (&beside, sum_line(content).as_bytes())]);
    let damaged = {
        let mut zip = with(&CONTENT);
        let end = zip.len();
        zip[end - 20..].fill(0);
        zip
    };
    let cases = [
        (CONTENT.to_vec(), "artifact-not-a-zip"),
        (damaged, "artifact-zip-unreadable"),
        (with(&vec![0; 20_000_000]), "artifact-zip-unsafe"),
        (zip_of(&[(&beside, sum.as_bytes())]), "bundle-missing"),
        (zip_of(&[(&name, &CONTENT), (&beside, b"no digest")]), "bundle-sha256-malformed"),
        (zip_of(&[(&name, &CONTENT), (&beside, sum_line(b"other").as_bytes())]), "bundle-digest-mismatch"),
        (with(&CONTENT[..CONTENT.len() / 2]), "bundle-damaged"),
        (with(&rows::bundle(&OTHER.parse().expect("a commit"), FILES)), "bundle-of-another-commit"),
    ];
    for (content, code) in cases {
        let failure = refused_content(content).await;
        assert_eq!(failure.code, code, "{failure}");
    }
}

#[tokio::test]
async fn f9_the_artifact_must_hold_exactly_the_named_files() {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let beside = format!("{name}.sha256");
    let cause = refusal_of(&[("deploy-bundle-old.tar.gz", &CONTENT), (&beside, sum.as_bytes())]).await;
    assert_eq!(cause, format!("it contains deploy-bundle-old.tar.gz, {beside}, but not {name}"));
    let cause = refusal_of(&[(&name, &CONTENT)]).await;
    assert_eq!(cause, format!("it contains {name}, but not {beside}"));
    let cause = refusal_of(&[]).await;
    assert_eq!(cause, format!("it is empty: {name} is missing"));
}

#[tokio::test]
async fn f27_a_bundle_and_a_sum_that_do_not_belong_together_are_refused() {
    let (name, other) = (bundle_name(), sum_line(b"something else"));
    let cause = refusal_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), other.as_bytes())]).await;
    let sha = Sha256Digest::of(&*CONTENT);
    assert!(cause.starts_with(&format!("its SHA-256 is {sha}, but the .sha256 file beside it says ")), "{cause}");
}

/// What is said of a bundle with these bytes that is otherwise in order.
async fn refusal_of_bundle(content: &[u8]) -> String {
    let (name, sum) = (bundle_name(), sum_line(content));
    refusal_of(&[(&name, content), (&format!("{name}.sha256"), sum.as_bytes())]).await
}

#[tokio::test]
async fn f3_a_bundle_of_another_commit_is_refused_whatever_its_name() {
    let cause = refusal_of_bundle(&rows::bundle(&OTHER.parse().expect("a commit"), FILES)).await;
    assert_eq!(cause, format!("its manifest says that it was built from {OTHER}, not from {SHA}"));
}

#[tokio::test]
async fn f9_a_bundle_is_read_whole_before_it_is_sent_anywhere() {
    let cause = refusal_of_bundle(&CONTENT[..CONTENT.len() / 2]).await;
    assert!(cause.starts_with("it is incomplete"), "{cause}");
    let cause = refusal_of_bundle(b"not an archive").await;
    assert!(cause.starts_with("it is not a gzip-compressed tar archive"), "{cause}");
}

/// What `tar -czf X -C tree .` makes of these files.
fn plain_tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    for (name, bytes) in files {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, bytes).expect("a file");
    }
    let plain = folder.path().join("plain.tar.gz");
    let packed = std::process::Command::new("tar").arg("-czf").arg(&plain).arg("-C").arg(&tree).arg(".").status();
    assert!(packed.expect("tar runs").success());
    std::fs::read(&plain).expect("the bundle")
}

/// A GitHub whose build left this as the bundle.
fn built_as(content: &[u8]) -> GitHub {
    let (name, sum) = (bundle_name(), sum_line(content));
    let zip = zip_of(&[(&name, content), (&format!("{name}.sha256"), sum.as_bytes())]);
    let github = built();
    github.add_artifact(Artifact { content: zip.into(), ..artifact_11() });
    github
}

/// FD5: a plan says which health paths the bundle has, by the text of its files.
#[tokio::test]
async fn fd5_a_plan_knows_which_health_paths_the_bundle_names() {
    let files: &[(&str, &[u8])] = &[
        ("artisan", b"#!/usr/bin/env php"),
        ("bootstrap/app.php", b"<?php return Application::configure()->withRouting(health: '/up')->create();"),
        ("public/healthcheck.php", b"<?php"),
        ("routes/web.php", b"<?php\n// Route::get('/gone', fn () => 1);\nRoute::get('/health-check', fn () => 1);"),
        ("vendor/acme/panel/routes/web.php", b"<?php Route::get('/panel', fn () => 1);"),
    ];
    let github = built_as(&plain_tar(files));
    let look = Stage::with_github(&github).survey(artifact::look).await;
    let mut stage = Stage::with_github(&github);
    stage.surveyed = look.surveyed;
    let read = stage.survey(artifact::read).await;
    let mut stage = Stage::with_github(&github);
    stage.inputs.health.paths = ["/up", "/healthcheck.php", "/gone", "/panel"].map(str::to_owned).to_vec();
    let server = gated_deploy::server::inspect::ServerState { live_tree: None, ..stage.server.clone() };
    (stage.surveyed.opened, stage.surveyed.server) = (read.surveyed.opened.clone(), Some(server));
    let ran = stage.survey(gated_deploy::server::database::change_preview::look).await;
    let change_preview: record::ChangePreview = ran.record(record::key::CHANGE_PREVIEW);
    let routes: Vec<(&str, Option<&str>)> =
        change_preview.health.iter().map(|route| (route.path.as_str(), route.file.as_deref())).collect();
    let wanted = [
        ("/up", Some("bootstrap/app.php")),
        ("/healthcheck.php", Some("public/healthcheck.php")),
        ("/gone", None),
        ("/panel", None),
    ];
    assert_eq!(routes, wanted);
}

/// FD20: both digests are recorded; staging, production and the ledger know the bundle by the one that the build published.
#[tokio::test]
async fn fd20_a_bundle_of_plain_tar_is_sent_in_canonical_form_and_both_digests_are_recorded() {
    let content = plain_tar(FILES);
    let github = built_as(&content);

    let ran = fetched(&github).await;
    let bundle = ran.state.bundle.as_ref().expect("a bundle to send");
    let sent = Sha256Digest::of(std::fs::read(&bundle.path).expect("the bundle's file"));
    assert_eq!((&bundle.sha256, bundle.sent_sha256()), (&Sha256Digest::of(&content), &sent));
    assert_ne!(bundle.sha256, sent);
    let recorded: record::BundleRecord = ran.record(record::key::BUNDLE);
    assert_eq!((recorded.sha256, recorded.sent_sha256), (bundle.sha256.clone(), Some(sent.clone())));
    let line = format!(
        "the bundle was rewritten in canonical form: SHA-256 {} as downloaded, {sent} as uploaded",
        bundle.sha256
    );
    assert!(ran.lines().contains(&line.as_str()), "{:?}", ran.lines());
    let warned =
        ran.warnings().iter().any(|warning| warning.contains("was not made by `build-gate`: it has no manifest"));
    assert!(warned, "{:?}", ran.warnings());
    assert_eq!(ran.state.manifest.as_deref(), Some(&rows::manifest(&commit(), FILES)));
    assert_eq!(std::fs::read_dir(ran.scratch.path()).expect("the scratch folder").count(), 1, "nothing else is left");
}

/// SE3, FD21: refused on the runner, before anything is uploaded.
#[tokio::test]
async fn se3_fd21_a_bundle_with_a_link_above_a_shared_folder_is_refused_before_the_upload() {
    let mut manifest = rows::manifest(&commit(), FILES);
    manifest.links.insert("public/media".to_owned(), "../storage/app/media".to_owned());
    let shared = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    assert_eq!(bundle::written_through_a_link(&manifest, &shared(&["storage", "public/uploads"])), None);

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("public")).expect("a folder");
    std::os::unix::fs::symlink("../storage/app/media", folder.path().join("public/media")).expect("a link");
    let tar = std::process::Command::new("tar").arg("-cz").arg("-C").arg(folder.path()).arg(".").output();
    let content = tar.expect("tar runs").stdout;
    let (name, sum) = (bundle_name(), sum_line(&content));
    let zip = zip_of(&[(&name, &content), (&format!("{name}.sha256"), sum.as_bytes())]);
    let github = built();
    github.add_artifact(Artifact { content: zip.into(), ..artifact_11() });
    let look = Stage::with_github(&github).survey(artifact::look).await;
    let mut stage = Stage::with_github(&github);
    stage.surveyed.build = look.surveyed.build;
    stage.inputs.server.shared = shared(&["storage", "public/media/uploads"]);
    let ran = stage.release(artifact::fetch).await;
    assert_eq!(
        ran.failure().cause,
        "`public/media` is a link to `../storage/app/media`, and the shared folder `public/media/uploads` is below it"
    );
    assert_eq!(ran.failure().code, "bundle-path-not-a-folder");
    assert!(ran.state.bundle.is_none());
}

/// What the server adds to a release must not be reached by another name: a bundle that plain tar made passed no check of its links before.
#[tokio::test]
async fn se2_a_bundle_with_a_link_to_what_the_server_adds_is_refused() {
    for (link, target, problem) in [
        ("public/env.txt", "../.env", "it points to ../.env, which is not in the bundle"),
        ("public/logs", "../storage/logs", ""),
        ("public/index", "index.php", ""),
        ("public/cached", "../bootstrap/cache", "it points to the folder of the caches"),
        ("public/boot", "../bootstrap", "it points to the folder of the caches"),
        ("public/config.txt", "../bootstrap/cache/config.php", "it points to the folder of the caches"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("public")).expect("a folder");
        std::fs::create_dir_all(folder.path().join("bootstrap/cache")).expect("a folder");
        std::fs::write(folder.path().join("public/index.php"), "<?php").expect("a file");
        std::os::unix::fs::symlink(target, folder.path().join(link)).expect("a link");
        let tar = std::process::Command::new("tar").arg("-cz").arg("-C").arg(folder.path()).arg(".").output();
        let github = built_as(&tar.expect("tar runs").stdout);
        let look = Stage::with_github(&github).survey(artifact::look).await;
        let mut stage = Stage::with_github(&github);
        stage.surveyed.build = look.surveyed.build;
        stage.inputs.server.shared = vec!["storage".to_owned()];
        let ran = stage.release(artifact::fetch).await;
        if problem.is_empty() {
            assert!(ran.state.bundle.is_some(), "{link} -> {target}");
        } else {
            assert_eq!(ran.failure().code, "bundle-link-unusable", "{link} -> {target}");
            assert!(
                ran.failure().cause.starts_with(&format!("the link `{link}`: {problem}")),
                "{}",
                ran.failure().cause
            );
            assert!(ran.state.bundle.is_none());
        }
    }
}

#[tokio::test]
async fn a_sum_file_is_one_line_of_the_usual_form() {
    let name = bundle_name();
    let sha = Sha256Digest::of(&*CONTENT);
    for text in [
        format!("{sha}\n"),
        format!("{sha}  other.tar.gz\n"),
        format!("{sha}  {name}\n{sha}  {name}\n"),
        format!("{}  {name}\n", sha.to_string().to_uppercase()),
        String::new(),
    ] {
        let cause = refusal_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), text.as_bytes())]).await;
        assert!(cause.contains("is not the line"), "{text:?}: {cause}");
    }
}

#[tokio::test]
async fn f27_a_zip_that_leads_outside_is_refused_whole() {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let beside = format!("{name}.sha256");
    for outside in ["../evil", "/etc/evil", "a/../../evil", "..\\evil"] {
        let cause = refusal_of(&[(&name, &CONTENT), (&beside, sum.as_bytes()), (outside, b"x")]).await;
        assert!(cause.ends_with("has a name outside the target folder"), "{outside}: {cause}");
    }
    let cause = refusal_of(&[(&name, &CONTENT), (&beside, sum.as_bytes()), (&name.to_uppercase(), b"x")]).await;
    assert!(cause.ends_with("exists twice"), "{cause}");
}

#[tokio::test]
async fn f27_a_bomb_is_refused() {
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let cause = refusal_of(&[(&name, &vec![0; 20_000_000]), (&format!("{name}.sha256"), sum.as_bytes())]).await;
    assert!(cause.ends_with("bytes in the zip become 20000000"), "{cause}");
}

#[tokio::test]
async fn other_files_in_the_artifact_are_left_where_they_are() {
    let github = built();
    let (name, sum) = (bundle_name(), sum_line(&CONTENT));
    let zip = zip_of(&[(&name, &CONTENT), (&format!("{name}.sha256"), sum.as_bytes()), ("reports/build.md", b"x")]);
    github.add_artifact(Artifact { content: zip.into(), ..artifact_11() });
    let ran = fetched(&github).await;
    assert!(ran.lines().contains(&"also in the artifact, not used: reports/build.md"), "{:?}", ran.lines());
    assert!(ran.state.bundle.is_some());
}

#[tokio::test]
async fn a_raw_file_and_a_damaged_zip_are_told_apart() {
    assert_eq!(refusal_of_content(CONTENT.to_vec()).await, "the artifact is one raw file, not a zip");
    let name = bundle_name();
    let mut zip = zip_of(&[(&name, &CONTENT)]);
    zip.truncate(zip.len() - 30);
    assert!(refusal_of_content(zip).await.starts_with("the zip cannot be read: "));
}

#[tokio::test]
async fn downloads_that_fail_say_what_to_do() {
    let github = built();
    let look = Stage::with_github(&github).survey(artifact::look).await;
    let fetch = async |github: &GitHub| {
        let mut stage = Stage::with_github(github);
        stage.surveyed.build = look.surveyed.build.clone();
        stage.release(artifact::fetch).await
    };
    github.fault("GET", "/actions-results/11", Times::Next(3), Fault::Truncate { keep: 7 });
    let ran = fetch(&github).await;
    assert!(ran.failure().to_string().starts_with("downloading artifact 11 of build run 4711: ended after 7 of "));
    assert_eq!(ran.outcome.exit_code(), 5);
    assert!(github.signatures().iter().all(|signature| !ran.everything().contains(signature)));
    assert!(!ran.everything().contains(github.token()));

    github.edit_artifact(11, |artifact| artifact.expired = true);
    let ran = fetch(&github).await;
    assert_eq!(ran.failure().cause, "it has expired");
    assert_eq!(ran.failure().code, "artifact-gone");
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("gh workflow run build.yml")));
}

#[tokio::test]
async fn a_full_disk_is_the_worlds_fault() {
    let github = built();
    let (api, _) = asked(&github);
    let artifact = api.artifacts(4711, &format!("deployment-bundle-{SHA}")).await.expect("a list").remove(0);
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let told = api.download(&artifact, full, &mut |_, _| {}).await.expect_err("nothing fits").to_string();
    assert!(
        told.contains("/dev/full") || told.starts_with("clearing the file") || told.starts_with("writing after"),
        "{told}"
    );
}
