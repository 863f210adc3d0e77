//! The double as a client sees it.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use reqwest::{Response, StatusCode, header, redirect};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{answers::ENDPOINTS, *};

const SHA: &str = "acb5820ced9479c074f688cc328bf03f341a511d";
const OTHER_SHA: &str = "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d";
const RUN: &str = "/repos/acme/shop/actions/runs/7";
const ARTIFACT: &str = "/repos/acme/shop/actions/artifacts/11";
const DOWNLOAD: &str = "/repos/acme/shop/actions/artifacts/11/zip";

/// A repository whose commit [`SHA`] was built by run 7 into artifact 11.
fn built() -> GitHub {
    let github = GitHub::start(Ipv4Addr::LOCALHOST.into());
    github.add_run(Run::green(7, SHA));
    github.add_artifact(Artifact::zip(11, 7, "deployment-bundle", bundle()));
    github
}

fn bundle() -> Vec<u8> {
    artifact_zip(&[("bundle.tar.gz", "not really a tarball".into())]).expect("make a zip in memory")
}

fn client() -> reqwest::Client {
    // Built together with the action, the client has TLS and wants to know whose. A second call finds it set.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent("lab-test")
        .build()
        .expect("build an HTTP client")
}

/// Asks as a well-behaved client does.
async fn get(github: &GitHub, path: &str) -> Response {
    try_get(github, path).await.unwrap_or_else(|problem| panic!("GET {path}: {problem}"))
}

async fn try_get(github: &GitHub, path: &str) -> reqwest::Result<Response> {
    client()
        .get(format!("{}{path}", github.api_url()))
        .bearer_auth(github.token())
        .header("accept", "application/vnd.github+json")
        .header("x-github-api-version", "2022-11-28")
        .send()
        .await
}

async fn get_json(github: &GitHub, path: &str) -> Value {
    let answer = get(github, path).await;
    assert_eq!(answer.status(), StatusCode::OK, "GET {path}");
    json_of(answer).await
}

async fn json_of(answer: Response) -> Value {
    let text = answer.text().await.expect("read an answer");
    serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{problem}: {text}"))
}

/// The link that a download is redirected to.
async fn link(github: &GitHub) -> String {
    let answer = get(github, DOWNLOAD).await;
    assert_eq!(answer.status(), StatusCode::FOUND);
    text_header(&answer, "location")
}

fn text_header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name} in {answer:?}"));
    value.to_str().expect("a header in ASCII").to_owned()
}

async fn follow(url: &str) -> Response {
    client().get(url).send().await.expect("ask the blob storage")
}

fn ids(list: &Value, key: &str) -> Vec<u64> {
    let items = list[key].as_array().expect("a list");
    items.iter().map(|item| item["id"].as_u64().expect("an id")).collect()
}

fn assert_holds(operation: &str, status: &str, body: &Value) {
    let schema = &ENDPOINTS[operation]["responses"][status]["schema"];
    assert!(schema.is_object(), "{operation} describes {status}");
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap_or_else(|problem| panic!("schema of {operation}: {problem}"));
    let problems: Vec<_> =
        validator.iter_errors(body).map(|problem| format!("{} at {}", problem, problem.instance_path())).collect();
    assert!(problems.is_empty(), "{operation} {status}: {problems:#?}\n{body:#}");
}

#[tokio::test]
async fn every_answer_holds_to_its_documented_schema() {
    let github = built();
    github.add_run(Run {
        head_branch: None,
        name: None,
        phase: Phase { status: None, conclusion: None },
        head_repository_id: 99,
        run_attempt: 2,
        path: format!("{BUILD_WORKFLOW}@refs/heads/main"),
        ..Run::green(8, OTHER_SHA)
    });
    github.add_run(Run { phase: Phase::in_progress(), ..Run::green(9, OTHER_SHA) });
    github.add_artifact(Artifact { digest: Digest::Null, expires_at: None, ..Artifact::zip(12, 8, "logs", bundle()) });
    github.add_artifact(Artifact {
        digest: Digest::Absent,
        expired: true,
        ..Artifact::zip(13, 42, "orphan", bundle())
    });
    github.add_branch(Branch { name: "main".into(), sha: SHA.into(), protected: true });
    github.add_commits(&[OTHER_SHA, SHA]);
    github.protect("main", Some(Protection { contexts: vec!["run-tests".into()], strict: true, reviews: 1 }));
    github.administrator(true);
    let checks =
        json!({"required_status_checks": [{"context": "run-tests"}], "strict_required_status_checks_policy": true});
    github.rules("main", vec![json!({"type": "required_status_checks", "parameters": checks})]);
    github.secrets(&["DEPLOY_KEY"]);
    github.jobs(8, vec![Job::of("run-tests", "success", &[("Set up job", "success"), ("Tests", "skipped")])]);
    github.compared(&format!("{OTHER_SHA}...{SHA}"), &[(".github/workflows/build.yml", SHA)]);

    let repository = "/repos/acme/shop";
    for (operation, path) in [
        ("repos/get", String::new()),
        ("actions/list-repo-workflows", "/actions/workflows".into()),
        ("actions/get-workflow", "/actions/workflows/build.yml".into()),
        ("actions/list-workflow-runs", "/actions/workflows/build.yml/runs".into()),
        ("actions/list-workflow-runs-for-repo", "/actions/runs".into()),
        ("actions/get-workflow-run", "/actions/runs/7".into()),
        ("actions/get-workflow-run", "/actions/runs/8".into()),
        ("actions/get-workflow-run-attempt", "/actions/runs/8/attempts/2".into()),
        ("actions/list-jobs-for-workflow-run", "/actions/runs/7/jobs".into()),
        ("actions/list-jobs-for-workflow-run", "/actions/runs/9/jobs".into()),
        ("actions/list-workflow-run-artifacts", "/actions/runs/7/artifacts".into()),
        ("actions/list-artifacts-for-repo", "/actions/artifacts".into()),
        ("actions/get-artifact", "/actions/artifacts/11".into()),
        ("actions/get-artifact", "/actions/artifacts/12".into()),
        ("actions/get-artifact", "/actions/artifacts/13".into()),
        ("repos/get-branch", "/branches/main".into()),
        ("repos/get-branch-protection", "/branches/main/protection".into()),
        ("repos/get-branch-rules", "/rules/branches/main".into()),
        ("actions/list-repo-secrets", "/actions/secrets".into()),
        ("actions/list-jobs-for-workflow-run", "/actions/runs/8/jobs".into()),
        ("repos/get-commit", "/commits/main".into()),
        ("repos/compare-commits-with-basehead", format!("/compare/{OTHER_SHA}...{SHA}")),
    ] {
        assert_holds(operation, "200", &get_json(&github, &format!("{repository}{path}")).await);
    }
    assert_holds("rate-limit/get", "200", &get_json(&github, "/rate_limit").await);

    let gone = get(&github, &format!("{repository}/actions/artifacts/13/zip")).await;
    assert_eq!(gone.status(), StatusCode::GONE);
    assert_holds("actions/download-artifact", "410", &json_of(gone).await);
    let nowhere = get(&github, &format!("{repository}/branches/nowhere")).await;
    assert_eq!(nowhere.status(), StatusCode::NOT_FOUND);
    assert_holds("repos/get-branch", "404", &json_of(nowhere).await);
}

#[tokio::test]
async fn answers_speak_of_our_repository_and_link_to_this_server() {
    let github = built();
    let run = get_json(&github, RUN).await;
    assert_eq!(run["repository"]["full_name"], "acme/shop");
    assert_eq!(run["repository"]["id"], run["head_repository"]["id"]);
    assert_eq!(run["url"], format!("{}{RUN}", github.api_url()));
    assert_eq!(run["head_sha"], SHA);
    let everything = run.to_string();
    assert!(!everything.contains("api.github.com/") && !everything.contains("octo-repo"), "{run:#}");

    github.edit_run(7, |run| run.head_repository_id = 99);
    let run = get_json(&github, RUN).await;
    assert_eq!(run["head_repository"]["full_name"], "fork/shop");
    assert_ne!(run["repository"]["id"], run["head_repository"]["id"]);
}

#[tokio::test]
async fn a_run_makes_progress_with_every_look_at_it() {
    let github = built();
    github.run_progress(7, vec![Phase::queued(), Phase::in_progress(), Phase::completed("failure")]);
    let mut seen = Vec::new();
    for path in [RUN, "/repos/acme/shop/actions/runs/7/attempts/1", RUN, RUN] {
        let run = get_json(&github, path).await;
        seen.push((run["status"].clone(), run["conclusion"].clone()));
    }
    let failed = (json!("completed"), json!("failure"));
    let expected = vec![(json!("queued"), Value::Null), (json!("in_progress"), Value::Null), failed.clone(), failed];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_client_that_only_lists_sees_progress_too() {
    let github = built();
    github.run_progress(7, vec![Phase::in_progress(), Phase::completed("success")]);
    let green = "/repos/acme/shop/actions/workflows/build.yml/runs?status=success";
    assert_eq!(get_json(&github, green).await["total_count"], 0);
    assert_eq!(ids(&get_json(&github, green).await, "workflow_runs"), [7]);
}

#[tokio::test]
async fn run_lists_filter_and_lag() {
    let github = built();
    github.add_run(Run { event: "pull_request".into(), ..Run::green(8, SHA) });
    github.add_run(Run { phase: Phase::completed("cancelled"), ..Run::green(9, OTHER_SHA) });
    github.add_run(Run { head_branch: Some("develop".into()), listed_after: 1, ..Run::green(10, OTHER_SHA) });
    github.add_run(Run { path: ".github/workflows/other.yml".into(), ..Run::green(5, SHA) });

    for (query, expected) in [
        ("", vec![9, 8, 7, 5]),
        ("?branch=develop", vec![10]),
        ("?status=cancelled", vec![9]),
        ("?status=completed&event=push", vec![10, 9, 7, 5]),
        (&*format!("?head_sha={SHA}"), vec![8, 7, 5]),
    ] {
        let list = get_json(&github, &format!("/repos/acme/shop/actions/runs{query}")).await;
        assert_eq!(ids(&list, "workflow_runs"), expected, "{query}");
    }

    let other = get_json(&github, "/repos/acme/shop/actions/workflows/other.yml").await;
    let by_id = format!("/repos/acme/shop/actions/workflows/{}/runs", other["id"]);
    assert_eq!(ids(&get_json(&github, &by_id).await, "workflow_runs"), [5]);
    let unknown = get(&github, "/repos/acme/shop/actions/workflows/deploy.yml/runs").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unknown_filter_is_not_silently_ignored() {
    let answer = get(&built(), "/repos/acme/shop/actions/runs?actor=octocat").await;
    assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn lists_come_in_pages_that_link_to_each_other() {
    let github = built();
    for id in 20..24 {
        github.add_artifact(Artifact::zip(id, 7, "logs", bundle()));
    }
    let mut url = format!("{}{RUN}/artifacts?per_page=2&name=logs", github.api_url());
    let mut pages = Vec::new();
    loop {
        let answer = client().get(&url).bearer_auth(github.token()).send().await.expect("ask for a page");
        let links = answer.headers().get("link").cloned();
        let list = json_of(answer).await;
        assert_eq!(list["total_count"], 4);
        pages.push(ids(&list, "artifacts"));
        let links = links.as_ref().and_then(|links| links.to_str().ok()).unwrap_or_default();
        let next = links.split(", ").find_map(|link| link.strip_suffix("; rel=\"next\""));
        let Some(next) = next else { break };
        url = next.trim_matches(['<', '>']).to_owned();
    }
    assert_eq!(pages, [[23, 22], [21, 20]]);
    assert!(!get(&github, RUN).await.headers().contains_key("link"));
}

#[tokio::test]
async fn an_artifact_is_listed_later_than_its_run_is_green() {
    let github = built();
    github.edit_artifact(11, |artifact| artifact.listed_after = 2);
    let list = format!("{RUN}/artifacts?name=deployment-bundle");
    for _ in 0..2 {
        assert_eq!(get(&github, ARTIFACT).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(get_json(&github, &list).await["total_count"], 0);
    }
    assert_eq!(ids(&get_json(&github, &list).await, "artifacts"), [11]);
    assert_eq!(get_json(&github, ARTIFACT).await["name"], "deployment-bundle");
}

#[tokio::test]
async fn a_green_run_can_have_no_artifact() {
    let github = built();
    github.add_run(Run::green(8, SHA));
    assert_eq!(get_json(&github, "/repos/acme/shop/actions/runs/8/artifacts").await["total_count"], 0);
}

#[tokio::test]
async fn a_download_is_redirected_to_another_origin_that_wants_no_token() {
    let github = built();
    let link = link(&github).await;
    assert!(link.starts_with(github.blob_url()) && !link.starts_with(github.api_url()), "{link}");
    assert!(link.contains(&github.signatures()[0]), "{link}");

    let refused = client().get(&link).bearer_auth(github.token()).send().await.expect("ask the blob storage");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.expect("read an error").contains("InvalidAuthenticationInfo"));

    let answer = follow(&link).await;
    assert_eq!(text_header(&answer, "content-type"), "application/zip");
    let bytes = answer.bytes().await.expect("download an artifact");
    let artifact = get_json(&github, ARTIFACT).await;
    assert_eq!(artifact["digest"], format!("sha256:{:x}", Sha256::digest(&bytes)));
    assert_eq!(artifact["size_in_bytes"], bytes.len());
}

#[tokio::test]
async fn a_link_dies_of_age_and_of_a_changed_signature() {
    let github = built();
    let link = link(&github).await;
    let forged = follow(&link.replace("sig=", "sig=0")).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    assert_eq!(follow(&link).await.status(), StatusCode::OK);

    github.link_lifetime(Duration::ZERO);
    let late = follow(&link).await;
    assert_eq!(late.status(), StatusCode::FORBIDDEN);
    assert!(late.text().await.expect("read an error").contains("AuthenticationFailed"));
}

#[tokio::test]
async fn an_expired_artifact_is_listed_but_gone() {
    let github = built();
    github.edit_artifact(11, |artifact| artifact.expired = true);
    assert_eq!(get_json(&github, ARTIFACT).await["expired"], true);
    assert_eq!(get(&github, DOWNLOAD).await.status(), StatusCode::GONE);
}

#[tokio::test]
async fn digests_can_be_wrong_null_absent_or_nonsense() {
    let github = built();
    let truth = get_json(&github, ARTIFACT).await["digest"].clone();
    for (digest, expected) in [
        (Digest::Wrong, Some(json!(format!("sha256:{}", "0".repeat(64))))),
        (Digest::Null, Some(Value::Null)),
        (Digest::Absent, None),
        (Digest::Given("md5:1".into()), Some(json!("md5:1"))),
        (Digest::Correct, Some(truth)),
    ] {
        github.edit_artifact(11, |artifact| artifact.digest = digest);
        assert_eq!(get_json(&github, ARTIFACT).await.get("digest"), expected.as_ref());
    }
}

#[tokio::test]
async fn an_artifact_can_be_a_raw_file() {
    let github = built();
    github.add_artifact(Artifact::raw_file(11, 7, "bundle.tar.gz", b"raw".to_vec()));
    let answer = follow(&link(&github).await).await;
    assert_eq!(text_header(&answer, "content-type"), "application/octet-stream");
    assert_eq!(text_header(&answer, "content-disposition"), "attachment; filename=\"bundle.tar.gz\"");
    assert_eq!(answer.text().await.expect("download a file"), "raw");
}

#[tokio::test]
async fn an_artifact_on_disk_is_streamed() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let path = folder.path().join("artifact.zip");
    let content = vec![7; 300_000];
    std::fs::write(&path, &content).expect("write an artifact");
    let github = built();
    github.add_artifact(Artifact::zip(11, 7, "big", path));
    let answer = follow(&link(&github).await).await;
    assert_eq!(answer.content_length(), Some(300_000));
    assert_eq!(answer.bytes().await.expect("download an artifact"), content);
    assert_eq!(get_json(&github, ARTIFACT).await["size_in_bytes"], 300_000);
}

#[tokio::test]
async fn a_download_breaks_off_after_the_bytes_that_it_keeps() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let path = folder.path().join("artifact.zip");
    std::fs::write(&path, vec![7; 300_000]).expect("write an artifact");
    let github = built();
    for (content, size) in [(Content::from(vec![7; 1000]), 1000), (path.into(), 300_000)] {
        github.add_artifact(Artifact::zip(11, 7, "big", content));
        for keep in [0, 10, size - 1] {
            github.fault("GET", "/actions-results/*", Times::Next(1), Fault::Truncate { keep });
            let received = raw_get(&link(&github).await).expect("an orderly end");
            let (head, body) = received.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.to_lowercase().contains(&format!("content-length: {size}")), "{head}");
            assert_eq!(body.len(), keep);
        }
        github.fault("GET", "/actions-results/*", Times::Next(1), Fault::Truncate { keep: 10 });
        let broken = follow(&link(&github).await).await.bytes().await;
        assert!(broken.is_err(), "a client notices: {broken:?}");
    }
}

#[tokio::test]
async fn a_connection_is_reset() {
    let github = built();
    github.fault("GET", "/rate_limit", Times::Next(1), Fault::Reset);
    let url = format!("{}/rate_limit", github.api_url());
    let reset = raw_get(&url).expect_err("a reset, not an answer");
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    assert_eq!(get(&github, "/rate_limit").await.status(), StatusCode::OK);
}

/// All bytes that come back, until the connection ends.
fn raw_get(url: &str) -> std::io::Result<String> {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an http URL");
    let mut connection = TcpStream::connect(host)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(connection, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n")?;
    let mut received = Vec::new();
    connection.read_to_end(&mut received)?;
    Ok(String::from_utf8_lossy(&received).into_owned())
}

#[tokio::test]
async fn a_slow_body_arrives_whole() {
    let github = built();
    let pause = Duration::from_millis(2);
    github.fault("GET", "/actions-results/*", Times::Always, Fault::Trickle { piece: 16, pause });
    let started = Instant::now();
    let bytes = follow(&link(&github).await).await.bytes().await.expect("download an artifact");
    assert_eq!(bytes, bundle());
    assert!(started.elapsed() >= pause * (bytes.len() as u32 / 16));
}

#[tokio::test]
async fn answers_come_late_and_delays_add_to_other_faults() {
    let github = built();
    let delay = Duration::from_millis(30);
    github.fault("GET", "/rate_limit", Times::Always, Fault::Delay(delay));
    github.fault("GET", "/rate_limit", Times::Next(1), Fault::server_error(503));
    github.fault("GET", "/rate_limit", Times::Always, Fault::Delay(delay));
    for expected in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::OK] {
        let started = Instant::now();
        assert_eq!(get(&github, "/rate_limit").await.status(), expected);
        assert!(started.elapsed() >= 2 * delay);
    }
}

#[tokio::test]
async fn server_errors_strike_the_first_n_requests() {
    let github = built();
    github.fault("GET", "/repos/*", Times::Next(2), Fault::server_error(502));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(get(&github, RUN).await.status().as_u16());
    }
    assert_eq!(seen, [502, 502, 200]);

    github.fault("GET", "/repos/*", Times::Always, Fault::server_error(500));
    assert_eq!(get(&github, RUN).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    github.clear_faults();
    assert_eq!(get(&github, RUN).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn refusals_have_github_s_bodies_and_headers() {
    let catalogue: Value =
        serde_json::from_str(include_str!("../../data/github/errors.json")).expect("errors.json is JSON");
    for (id, refusal, expected) in [
        ("not_found", Refusal::NotFound, None),
        ("branch_not_found", Refusal::BranchNotFound, None),
        ("branch_not_protected", Refusal::BranchNotProtected, None),
        ("bad_credentials", Refusal::BadCredentials, None),
        ("artifact_expired", Refusal::ArtifactExpired, None),
        (
            "integration_forbidden",
            Refusal::IntegrationForbidden { needs: "actions=read".into() },
            Some(("x-accepted-github-permissions", "actions=read")),
        ),
        ("primary_rate_limit", Refusal::PrimaryRateLimit { reset: 17 }, Some(("x-ratelimit-reset", "17"))),
        ("secondary_rate_limit", Refusal::SecondaryRateLimit { retry_after: Some(3) }, Some(("retry-after", "3"))),
    ] {
        let github = built();
        github.fault("GET", RUN, Times::Next(1), Fault::refusal(refusal));
        let answer = get(&github, RUN).await;
        let entries = catalogue["errors"].as_array().expect("a list of errors");
        let entry = entries.iter().find(|entry| entry["id"] == id).expect("an entry for every refusal");
        assert_eq!(answer.status().as_u16(), entry["status"], "{id}");
        if let Some((name, value)) = expected {
            assert_eq!(text_header(&answer, name), value, "{id}");
        }
        let body = json_of(answer).await;
        assert_eq!(body, entry["body"], "{id}");
        assert_holds("repos/get-branch", "404", &body);
    }
}

#[tokio::test]
async fn only_the_token_opens_the_api() {
    let github = built();
    let url = format!("{}{RUN}", github.api_url());
    for (authorization, expected) in [
        (None, 401),
        (Some("Bearer wrong".to_owned()), 401),
        (Some(format!("Basic {}", github.token())), 401),
        (Some(format!("token {}", github.token())), 200),
        (Some(format!("Bearer {}", github.token())), 200),
    ] {
        let mut request = client().get(&url);
        if let Some(value) = &authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let answer = request.send().await.expect("ask the API");
        assert_eq!(answer.status().as_u16(), expected, "{authorization:?}");
    }
}

#[tokio::test]
async fn the_rate_limit_counts_down_and_strikes() {
    let github = built();
    github.rate_limit_remaining(1);
    let last = get(&github, RUN).await;
    assert_eq!(text_header(&last, "x-ratelimit-remaining"), "0");
    let limited = get(&github, RUN).await;
    assert_eq!(limited.status(), StatusCode::FORBIDDEN);
    assert_eq!(text_header(&limited, "x-ratelimit-remaining"), "0");
    let rate = get_json(&github, "/rate_limit").await;
    assert_eq!(rate["rate"]["remaining"], 0);
    assert_eq!(rate["rate"]["reset"].to_string(), text_header(&limited, "x-ratelimit-reset"));
}

#[tokio::test]
async fn json_can_be_edited_or_garbage() {
    let github = built();
    github.fault("GET", RUN, Times::Next(1), Fault::edit(|run| run["id"] = json!("seven")));
    github.fault("GET", RUN, Times::Next(1), Fault::Body(b"{\"id\": 7,".to_vec()));
    assert_eq!(get_json(&github, RUN).await["id"], "seven");
    let garbage = get(&github, RUN).await;
    assert_eq!(garbage.status(), StatusCode::OK);
    assert_eq!(text_header(&garbage, "content-type"), "application/json");
    assert_eq!(garbage.text().await.expect("read an answer"), "{\"id\": 7,");
}

#[tokio::test]
async fn a_redirect_can_lead_elsewhere_or_in_a_circle() {
    let github = built();
    let elsewhere = "http://other.example/artifact.zip";
    let circle = format!("{}{DOWNLOAD}", github.api_url());
    github.fault("GET", DOWNLOAD, Times::Next(1), Fault::redirect(elsewhere));
    github.fault("GET", DOWNLOAD, Times::Always, Fault::redirect(&circle));
    assert_eq!(link(&github).await, elsewhere);
    assert_eq!(link(&github).await, circle);
    assert_eq!(link(&github).await, circle);
}

#[tokio::test]
async fn every_request_is_recorded_without_the_token() {
    let github = built();
    follow(&link(&github).await).await;
    let _refused = client().get(format!("{}/nowhere?a=b", github.api_url())).send().await.expect("ask the API");

    let requests = github.requests();
    let [download, blob, nowhere] = &requests[..] else { panic!("three requests: {requests:#?}") };
    assert_eq!((download.host, &*download.method, &*download.path), (Host::Api, "GET", DOWNLOAD));
    assert!(download.had_authorization);
    assert_eq!(download.header("x-github-api-version"), Some("2022-11-28"));
    assert!(download.missing_headers().is_empty());
    assert_eq!(blob.host, Host::Blob);
    assert!(!blob.had_authorization);
    assert!(blob.query.as_deref().is_some_and(|query| query.contains("sig=")));
    assert_eq!((&*nowhere.path, nowhere.query.as_deref()), ("/nowhere", Some("a=b")));
    assert!(nowhere.missing_headers().contains(&"x-github-api-version"), "{nowhere:?}");
    assert!(!format!("{requests:?}").contains(github.token()));
}

#[tokio::test]
async fn the_api_can_live_under_a_base_path() {
    let github = GitHub::start_with(Options { base_path: "/api/v3".into(), ..Options::default() });
    github.add_run(Run::green(7, SHA));
    assert!(github.api_url().ends_with("/api/v3"));
    let run = get_json(&github, RUN).await;
    assert_eq!(run["url"], format!("{}{RUN}", github.api_url()));
    assert_eq!(github.requests()[0].path, RUN);
    github.fault("GET", RUN, Times::Next(1), Fault::server_error(500));
    assert_eq!(get(&github, RUN).await.status(), StatusCode::INTERNAL_SERVER_ERROR);

    let outside = github.api_url().replace("/api/v3", RUN);
    assert_eq!(follow(&outside).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn links_name_the_host_that_clients_know() {
    let host = Some("localhost".to_owned());
    let github = GitHub::start_with(Options { host, ..Options::default() });
    github.add_run(Run::green(7, SHA));
    github.add_artifact(Artifact::zip(11, 7, "bundle", bundle()));
    assert!(github.api_url().starts_with("http://localhost:"));
    assert!(link(&github).await.starts_with("http://localhost:"));
}

#[tokio::test]
async fn other_repositories_and_odd_ids_are_not_found() {
    let github = built();
    for path in ["/repos/acme/other", "/repos/acme/shop/actions/runs/null", "/repos/acme/shop/actions/runs/8", "/x"] {
        let answer = get(&github, path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(json_of(answer).await["message"], "Not Found");
    }
}

#[tokio::test]
async fn branches_and_commits_tell_what_contains_what() {
    let github = GitHub::start(Ipv4Addr::LOCALHOST.into());
    let [root, left, right] = ["a", "b", "c"].map(|digit| digit.repeat(40));
    github.add_commits(&[&root, &left]);
    github.add_commits(&[&root, &right]);
    github.add_branch(Branch { name: "feature/x".into(), sha: left.clone(), protected: false });

    let branch = get_json(&github, "/repos/acme/shop/branches/feature%2Fx").await;
    assert_eq!((&branch["name"], &branch["commit"]["sha"]), (&json!("feature/x"), &json!(left)));
    let commit = get_json(&github, "/repos/acme/shop/commits/bbbbbbbb").await;
    assert_eq!((&commit["sha"], &commit["parents"][0]["sha"]), (&json!(left), &json!(root)));

    let unknown = get(&github, &format!("/repos/acme/shop/commits/{}", "d".repeat(40))).await;
    assert_eq!(
        unknown.status(),
        StatusCode::UNPROCESSABLE_ENTITY,
        "as GitHub answers for a commit that it does not have"
    );
    let unknown = json_of(unknown).await;
    assert_holds("repos/get-commit", "422", &unknown);
    assert_eq!(unknown["message"], format!("No commit found for SHA: {}", "d".repeat(40)));

    // No two commits have the same tree, unless one was made without other changes.
    let tree = async |sha: &str| {
        get_json(&github, &format!("/repos/acme/shop/commits/{sha}")).await["commit"]["tree"]["sha"].clone()
    };
    assert_eq!(branch["commit"]["commit"]["tree"]["sha"], tree(&left).await);
    assert_ne!(tree(&left).await, tree(&right).await);
    github.same_tree(&right, &left);
    assert_eq!(tree(&left).await, tree(&right).await);

    for (base, head, expected) in [
        (&*left, "feature%2Fx", ("identical", 0, 0)),
        (&root, &left, ("ahead", 1, 0)),
        (&left, &root, ("behind", 0, 1)),
        (&left, &right, ("diverged", 1, 1)),
    ] {
        let answer = get_json(&github, &format!("/repos/acme/shop/compare/{base}...{head}")).await;
        let (status, ahead, behind) = expected;
        assert_eq!(answer["status"], status, "{base}...{head}");
        assert_eq!((&answer["ahead_by"], &answer["behind_by"]), (&json!(ahead), &json!(behind)));
    }
}

#[test]
fn zips_are_those_of_upload_artifact() {
    let file = |name: &str, text: &str, mode| ZipFile { mode, ..ZipFile::new(name, text) };
    let files = [
        file("file.txt", "hi\n", 0o600),
        file("dir/run.sh", "#!/bin/sh\necho x\n", 0o755),
        file("link.txt", "hi\n", 0o600),
    ];
    for (compression, theirs) in [
        (Compression::Deflated, &include_bytes!("../../data/github/artifact-v4-level6.zip")[..]),
        (Compression::Stored, &include_bytes!("../../data/github/artifact-v4-level0-stored.zip")[..]),
    ] {
        let ours = write_artifact_zip(Vec::new(), &files, compression).expect("make a zip in memory");
        assert_eq!(without_versions(&ours), without_versions(theirs), "{compression:?}");
    }
}

/// Zeroes the ZIP versions that made, or are needed to read, each entry: upload-artifact claims 4.5 and 2.0 throughout,
/// we claim the lowest that does. No reader of such zips minds.
fn without_versions(zip: &[u8]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    for at in 0..zip.len() - 8 {
        match &zip[at..at + 4] {
            b"PK\x01\x02" => (zip[at + 4], zip[at + 6]) = (0, 0),
            b"PK\x03\x04" => zip[at + 4] = 0,
            _ => {}
        }
    }
    zip
}

#[test]
fn files_go_into_a_zip_from_disk() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let path = folder.path().join("source");
    std::fs::write(&path, vec![b'x'; 100_000]).expect("write a file");
    let bytes = artifact_zip(&[("größe/big.txt", path.into())]).expect("make a zip in memory");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a zip");
    let mut text = String::new();
    archive.by_name("größe/big.txt").expect("the file").read_to_string(&mut text).expect("its text");
    assert_eq!(text.len(), 100_000);
}

/// Sends what changes something.
async fn send(github: &GitHub, method: reqwest::Method, path: &str, body: &Value) -> Response {
    client()
        .request(method, format!("{}/repos/acme/shop{path}", github.api_url()))
        .bearer_auth(github.token())
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

#[tokio::test]
async fn what_is_written_is_kept_and_what_github_refuses_is_refused() {
    use reqwest::Method;
    let github = built();
    github.add_branch(Branch { name: "main".into(), sha: SHA.into(), protected: false });
    let protection = "/branches/main/protection";
    let whole = json!({
        "required_status_checks": { "strict": true, "checks": [{ "context": "lint", "app_id": -1 }] },
        "enforce_admins": true, "required_pull_request_reviews": null, "restrictions": null, "allow_deletions": false,
    });
    assert_eq!(
        send(&github, Method::PUT, protection, &whole).await.status(),
        StatusCode::FORBIDDEN,
        "no administrator"
    );
    github.administrator(true);
    let mut three = whole.clone();
    three.as_object_mut().map(|three| three.remove("restrictions"));
    let mut both = whole.clone();
    both["required_status_checks"]["contexts"] = json!(["lint"]);
    let mut odd = whole.clone();
    odd["required_signatures"] = json!(true);
    for body in [three, both, odd] {
        let answer = send(&github, Method::PUT, protection, &body).await;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(github.written(), [], "what was refused is not kept");
    let set = send(&github, Method::PUT, protection, &whole).await;
    assert_eq!(set.status(), StatusCode::OK);
    assert_holds("repos/update-branch-protection", "200", &json_of(set).await);
    let told = get_json(&github, &format!("/repos/acme/shop{protection}")).await;
    assert_eq!(
        (&told["enforce_admins"]["enabled"], &told["allow_deletions"]["enabled"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(told["required_status_checks"]["checks"], json!([{ "context": "lint", "app_id": null }]));
    assert!(get_json(&github, "/repos/acme/shop/branches/main").await["protected"].as_bool().expect("a flag"));
    assert_eq!(send(&github, Method::DELETE, protection, &Value::Null).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(github.settings_of("main"), None);

    let (secret, key) = ("/actions/secrets/TOKEN", "/repos/acme/shop/actions/secrets/public-key");
    let key = get_json(&github, key).await;
    let garbage = json!({ "encrypted_value": "AAAA", "key_id": key["key_id"] });
    assert_eq!(send(&github, Method::PUT, secret, &garbage).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(get(&github, "/repos/acme/shop/actions/secrets/TOKEN").await.status(), StatusCode::NOT_FOUND);
    github.secrets(&["TOKEN"]);
    assert_holds("actions/get-repo-secret", "200", &get_json(&github, "/repos/acme/shop/actions/secrets/TOKEN").await);

    let dispatches = "/actions/workflows/build.yml/dispatches";
    let body = json!({ "ref": "main", "return_run_details": true });
    let refused = send(&github, Method::POST, dispatches, &body).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "nobody let it be started by hand");
    let run = Run::green(99, SHA);
    github.on_dispatch(BUILD_WORKFLOW, Dispatch { run, phases: Vec::new(), artifacts: Vec::new() });
    let started = json_of(send(&github, Method::POST, dispatches, &body).await).await;
    assert_holds("actions/create-workflow-dispatch", "200", &started);
    assert_eq!(get_json(&github, "/repos/acme/shop/actions/runs/99").await["event"], "workflow_dispatch");
    let disable = "/actions/workflows/build.yml/disable";
    assert_eq!(send(&github, Method::PUT, disable, &Value::Null).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(github.workflow_state(BUILD_WORKFLOW).as_deref(), Some("disabled_manually"));
    assert_eq!(send(&github, Method::POST, dispatches, &body).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
