//! GitHub's API, as nobody would want it.

use std::time::{Duration, Instant};

use gated_deploy::github::{Github as _, GithubError};
use gated_deploy_lab::github::{Fault, GitHub, Run, Times};
use serde_json::{Value, json};

use crate::{
    github::asked,
    rows::{SHA, commit},
};

const RUN: &str = "/repos/acme/shop/actions/runs/4711";
const RUNS: &str = "/repos/acme/shop/actions/workflows/build.yml/runs";

fn github() -> GitHub {
    let github = GitHub::start([127, 0, 0, 1].into());
    github.add_run(Run::green(4711, SHA));
    github
}

fn answer(body: Vec<u8>, headers: Vec<(&'static str, String)>) -> Fault {
    Fault::Status { status: 200, headers: [vec![("content-type", "application/json".into())], headers].concat(), body }
}

fn unexpected<T: std::fmt::Debug>(result: Result<T, GithubError>) -> String {
    match result {
        Err(GithubError::Unexpected(told)) => told,
        other => panic!("an answer that cannot be used was wanted, not {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_not_kept_in_memory() {
    let github = github();
    github.fault("GET", RUN, Times::Always, answer(vec![b'['; 40 << 20], Vec::new()));
    let (api, clock) = asked(&github);
    let told = unexpected(api.run(4711).await);
    assert!(told.ends_with("it is larger than 32 MiB"), "{told}");
    assert!(clock.slept().is_empty(), "it is not asked again");
}

#[tokio::test]
async fn json_that_is_nested_without_end_is_an_error_and_no_overflow() {
    let github = github();
    for body in ["[".repeat(1 << 20), r#"{"a":"#.repeat(1 << 18)] {
        github.fault("GET", RUN, Times::Next(1), answer(body.into_bytes(), Vec::new()));
        unexpected(asked(&github).0.run(4711).await);
    }
}

/// Every value of a real answer, replaced by every kind of value. What comes is a run or a refusal, and never another run.
#[tokio::test]
async fn f4_no_value_of_another_kind_is_taken_for_a_run() {
    let github = github();
    let real = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let seen = real.clone();
    github.fault(
        "GET",
        RUN,
        Times::Next(1),
        Fault::Edit(Box::new(move |body| *seen.lock().expect("one user") = body.clone())),
    );
    let (api, _) = asked(&github);
    let good = api.run(4711).await.expect("the run");
    let real = real.lock().expect("one user").clone();
    let fields: Vec<String> = real.as_object().expect("an object").keys().cloned().collect();
    assert!(fields.len() > 20, "a real answer: {fields:?}");
    let kinds = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!("null"),
        json!(""),
        json!("a\u{0}\n::b::"),
        json!([]),
        json!({}),
    ];
    for field in &fields {
        for kind in &kinds {
            let body = {
                let mut body = real.clone();
                body[field] = kind.clone();
                body
            };
            github.fault("GET", RUN, Times::Next(1), answer(body.to_string().into_bytes(), Vec::new()));
            match api.run(4711).await {
                Ok(run) => assert_eq!((run.id, &run.head_sha), (good.id, &good.head_sha), "{field}: {kind}"),
                Err(GithubError::Unexpected(_)) => {}
                Err(other) => panic!("{field}: {kind}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_never_ends_is_left_after_ten_pages() {
    let github = github();
    let page = json!({ "total_count": 1_000_000, "workflow_runs": [] }).to_string();
    let link = format!("<{}{RUNS}?page=2>; rel=\"next\"", github.api_url());
    github.fault("GET", RUNS, Times::Always, answer(page.into_bytes(), vec![("link", link)]));
    let began = Instant::now();
    let told = unexpected(asked(&github).0.runs_for("build.yml", &commit()).await);
    assert_eq!(told, "a list has more than 10 pages");
    assert_eq!(github.requests().len(), 10);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// The token would go wherever the link leads.
#[tokio::test]
async fn a_next_page_elsewhere_is_not_asked_for() {
    let github = github();
    let page = || json!({ "total_count": 1, "workflow_runs": [] }).to_string().into_bytes();
    let other_port = github.api_url().replace("127.0.0.1:", "127.0.0.1:1");
    for place in [
        "https://evil.example",
        "http://127.0.0.1:1",
        "//evil.example",
        "ftp://127.0.0.1",
        "http://[broken",
        &other_port,
    ] {
        let link = format!("<{place}/x?page=2>; rel=\"next\"");
        github.fault("GET", RUNS, Times::Next(1), answer(page(), vec![("link", link)]));
        let before = github.requests().len();
        let told = unexpected(asked(&github).0.runs_for("build.yml", &commit()).await);
        assert!(told.contains("next page"), "{place}: {told}");
        assert_eq!(github.requests().len(), before + 1, "{place}");
    }
}

/// GitHub redirects after a repository was renamed. The token does not follow, wherever that leads.
#[tokio::test]
async fn an_api_that_redirects_is_not_followed() {
    let github = github();
    for place in ["http://evil.example/", "https://evil.example/", &format!("{}{RUN}", github.api_url())] {
        let headers = vec![("location", place.to_owned())];
        github.fault("GET", RUN, Times::Next(1), Fault::Status { status: 301, headers, body: Vec::new() });
        let before = github.requests().len();
        let told = unexpected(asked(&github).0.run(4711).await);
        assert!(told.contains("check whether acme/shop was renamed"), "{place}: {told}");
        assert_eq!(github.requests().len(), before + 1, "{place}");
    }
}
