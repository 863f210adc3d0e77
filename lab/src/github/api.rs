//! The routes of the REST API. A new endpoint is one more row in [`routes`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Query as QueryPairs, Request as HttpRequest, State as Shared},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    Lab, OWNER, REPO,
    model::{Artifact, Run},
    paging::{self, Query},
    refusal::Refusal,
    state::State,
    writes,
};

type Answer = Result<Response, Refusal>;
type Pairs = QueryPairs<Vec<(String, String)>>;

/// The API without its base path; answers only with the right token.
pub(super) fn routes(lab: Arc<Lab>) -> Router {
    let at = |path: &str| format!("/repos/{OWNER}/{REPO}{path}");
    Router::new()
        .route("/rate_limit", get(rate_limit))
        .route(&at(""), get(repository))
        .route(&at("/actions/workflows"), get(workflows))
        .route(&at("/actions/workflows/{workflow}"), get(workflow))
        .route(&at("/actions/workflows/{workflow}/runs"), get(workflow_runs))
        .route(&at("/actions/runs"), get(runs))
        .route(&at("/actions/runs/{run}"), get(run))
        .route(&at("/actions/runs/{run}/attempts/{attempt}"), get(run_attempt))
        .route(&at("/actions/runs/{run}/jobs"), get(jobs))
        .route(&at("/actions/jobs/{job}/logs"), get(job_log))
        .route(&at("/actions/runs/{run}/artifacts"), get(run_artifacts))
        .route(&at("/actions/runs/{run}/approvals"), get(approvals))
        .route(&at("/attestations/{digest}"), get(attestations))
        .route(&at("/actions/artifacts"), get(artifacts))
        .route(&at("/actions/artifacts/{artifact}"), get(artifact))
        .route(&at("/actions/artifacts/{artifact}/{format}"), get(download))
        .route(&at("/actions/secrets"), get(secrets))
        .route(&at("/branches/{branch}/protection"), get(protection))
        .route(&at("/rules/branches/{branch}"), get(rules))
        .route(&at("/branches/{branch}"), get(branch))
        .route(&at("/commits/{reference}"), get(commit))
        .route(&at("/compare/{basehead}"), get(compare))
        .merge(writes::routes())
        .fallback(async || Refusal::NotFound)
        .layer(middleware::from_fn_with_state(lab.clone(), admit))
        .with_state(lab)
}

/// What GitHub does before it looks at a request: credentials, then the rate limit.
async fn admit(Shared(lab): Shared<Arc<Lab>>, request: HttpRequest, next: Next) -> Response {
    if !has_token(request.headers(), lab.token()) {
        return Refusal::BadCredentials.into_response();
    }
    // Asking for the limit is free.
    let free = request.uri().path() == "/rate_limit";
    let remaining = {
        let mut state = lab.state();
        if state.rate_remaining == 0 && !free {
            return Refusal::PrimaryRateLimit { reset: lab.rate_reset() }.into_response();
        }
        state.rate_remaining -= u64::from(!free);
        state.rate_remaining
    };
    let mut answer = next.run(request).await;
    let numbers = [
        ("x-ratelimit-limit", State::RATE_LIMIT),
        ("x-ratelimit-remaining", remaining),
        ("x-ratelimit-used", State::RATE_LIMIT - remaining),
        ("x-ratelimit-reset", lab.rate_reset()),
    ];
    for (name, number) in numbers {
        answer.headers_mut().insert(name, number.into());
    }
    answer.headers_mut().insert("x-ratelimit-resource", HeaderValue::from_static("core"));
    answer
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|value| value.split_once(' ')).is_some_and(|(scheme, given)| {
        given == token && ["bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str())
    })
}

async fn repository(Shared(lab): Shared<Arc<Lab>>) -> Json<Value> {
    Json(lab.answers.repository())
}

async fn workflows(Shared(lab): Shared<Arc<Lab>>, uri: Uri, QueryPairs(pairs): Pairs) -> Response {
    let all = lab.state().workflows.iter().map(|workflow| lab.answers.workflow(workflow)).collect();
    list("workflows", all, &Query::new(pairs), &lab, &uri)
}

async fn workflow(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    let state = lab.state();
    let workflow = state.workflow(&id).ok_or(Refusal::NotFound)?;
    Ok(Json(lab.answers.workflow(workflow)).into_response())
}

async fn workflow_runs(
    Shared(lab): Shared<Arc<Lab>>,
    Path(id): Path<String>,
    uri: Uri,
    QueryPairs(pairs): Pairs,
) -> Answer {
    let path = lab.state().workflow(&id).ok_or(Refusal::NotFound)?.path.clone();
    Ok(list_runs(&lab, &Query::new(pairs), &uri, |run| run.workflow_path() == path))
}

async fn runs(Shared(lab): Shared<Arc<Lab>>, uri: Uri, QueryPairs(pairs): Pairs) -> Response {
    list_runs(&lab, &Query::new(pairs), &uri, |_| true)
}

fn list_runs(lab: &Lab, query: &Query, uri: &Uri, of_workflow: impl Fn(&Run) -> bool) -> Response {
    if let Some(filter) = ["actor", "check_suite_id", "created"].into_iter().find(|name| query.get(name).is_some()) {
        return unsupported(&format!("filtering runs by {filter}"));
    }
    let is = |name: &str, value: Option<&str>| query.get(name).is_none_or(|wanted| Some(wanted) == value);
    let mut state = lab.state();
    let mut runs = state.list_runs(|run| {
        of_workflow(run)
            && is("head_sha", Some(&run.head_sha))
            && is("branch", run.head_branch.as_deref())
            && is("event", Some(&run.event))
    });
    // The API's `status` takes a status or a conclusion.
    runs.retain(|run| is("status", run.phase.status.as_deref()) || is("status", run.phase.conclusion.as_deref()));
    if ["head_sha", "branch", "event", "status"].into_iter().any(|name| query.get(name).is_some()) {
        const MOST_RESULTS_OF_A_FILTERED_LIST: usize = 1000;
        runs.truncate(MOST_RESULTS_OF_A_FILTERED_LIST);
    }
    let bodies = runs.iter().map(|run| lab.answers.run(run, state.workflow_of(run))).collect();
    list("workflow_runs", bodies, query, lab, uri)
}

async fn run(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    show_run(&lab, &id, |_| true)
}

async fn run_attempt(Shared(lab): Shared<Arc<Lab>>, Path((id, attempt)): Path<(String, String)>) -> Answer {
    show_run(&lab, &id, |run| run.run_attempt.to_string() == attempt)
}

fn show_run(lab: &Lab, id: &str, wanted: impl Fn(&Run) -> bool) -> Answer {
    let mut state = lab.state();
    let id = number(id)?;
    state.run(id).filter(|run| wanted(run)).ok_or(Refusal::NotFound)?;
    let run = state.look_at_run(id).cloned().ok_or(Refusal::NotFound)?;
    Ok(Json(lab.answers.run(&run, state.workflow_of(&run))).into_response())
}

async fn jobs(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>, uri: Uri, QueryPairs(pairs): Pairs) -> Answer {
    let jobs = {
        let state = lab.state();
        let run = state.run(number(&id)?).ok_or(Refusal::NotFound)?;
        match state.jobs.get(&run.id) {
            Some(jobs) => {
                jobs.iter().enumerate().map(|(index, job)| lab.answers.written_job(run, job, index)).collect()
            }
            None => vec![lab.answers.job(run)],
        }
    };
    Ok(list("jobs", jobs, &Query::new(pairs), &lab, &uri))
}

/// "Download job logs for a workflow run": a link to plain text at the storage.
async fn job_log(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    let mut state = lab.state();
    let id = number(&id)?;
    if !state.logs.contains_key(&id) {
        return Err(Refusal::NotFound);
    }
    let signature = state.sign(id);
    let location = format!("{}/actions-logs/{id}?sp=r&sr=b&sv=2025-11-05&sig={signature}", lab.blob_url);
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

async fn run_artifacts(
    Shared(lab): Shared<Arc<Lab>>,
    Path(id): Path<String>,
    uri: Uri,
    QueryPairs(pairs): Pairs,
) -> Answer {
    let id = number(&id)?;
    lab.state().run(id).ok_or(Refusal::NotFound)?;
    Ok(list_artifacts(&lab, Query::new(pairs), &uri, |artifact| artifact.run_id == id))
}

/// The shape that GitHub documents for "Get the review history for a workflow run"; a run without reviews has an empty list,
/// whether or not this double knows it.
async fn approvals(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    let id = number(&id)?;
    let state = lab.state();
    let reviews = state.reviews.iter().filter(|(run, _)| *run == id).map(|(_, review)| {
        json!({
            "state": review.state,
            "comment": "",
            "user": { "login": review.user, "id": 1, "type": "User", "site_admin": false },
            "environments": [{ "id": 161_171_787, "name": review.environment, "html_url": "", "created_at": "2026-01-01T00:00:00Z" }],
        })
    });
    Ok(Json(reviews.collect::<Vec<Value>>()).into_response())
}

/// "List attestations", with the bundle in the answer, as this version of the API has it. A digest that nobody attested is answered 404.
async fn attestations(Shared(lab): Shared<Arc<Lab>>, Path(digest): Path<String>) -> Answer {
    let state = lab.state();
    let stored = digest.strip_prefix("sha256:").and_then(|hex| state.attestations.get(hex)).ok_or(Refusal::NotFound)?;
    let all: Vec<Value> = stored.iter().map(|statement| lab.answers.attestation(statement)).collect();
    Ok(Json(json!({ "attestations": all })).into_response())
}

async fn artifacts(Shared(lab): Shared<Arc<Lab>>, uri: Uri, QueryPairs(pairs): Pairs) -> Response {
    list_artifacts(&lab, Query::new(pairs), &uri, |_| true)
}

fn list_artifacts(lab: &Lab, query: Query, uri: &Uri, of_run: impl Fn(&Artifact) -> bool) -> Response {
    let mut state = lab.state();
    let mut artifacts =
        state.list_artifacts(|artifact| of_run(artifact) && query.get("name").is_none_or(|name| name == artifact.name));
    if query.get("direction") == Some("asc") {
        artifacts.reverse();
    }
    let bodies = artifacts
        .iter()
        .map(|(artifact, measured)| lab.answers.artifact(artifact, measured, state.run(artifact.run_id)))
        .collect();
    list("artifacts", bodies, &query, lab, uri)
}

async fn artifact(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    let state = lab.state();
    let (artifact, measured) = state.artifact(number(&id)?).ok_or(Refusal::NotFound)?;
    Ok(Json(lab.answers.artifact(artifact, measured, state.run(artifact.run_id))).into_response())
}

async fn download(Shared(lab): Shared<Arc<Lab>>, Path((id, format)): Path<(String, String)>) -> Answer {
    let mut state = lab.state();
    let id = number(&id)?;
    let (artifact, _) = state.artifact(id).filter(|_| format == "zip").ok_or(Refusal::NotFound)?;
    if artifact.expired {
        return Err(Refusal::ArtifactExpired);
    }
    let signature = state.sign(id);
    let location = format!("{}/actions-results/{id}?sp=r&sr=b&sv=2025-11-05&sig={signature}", lab.blob_url);
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}

async fn branch(Shared(lab): Shared<Arc<Lab>>, Path(name): Path<String>) -> Answer {
    let state = lab.state();
    let branch = state.branches.get(&name).ok_or(Refusal::BranchNotFound)?;
    let by_rules = state.rules.get(&name).is_some_and(|rules| !rules.is_empty());
    Ok(Json(lab.answers.branch(branch, &state.tree(&branch.sha), state.protections.get(&name), by_rules))
        .into_response())
}

/// 403 to everybody but an administrator, whether or not there is any; then 404 where there is none.
async fn protection(Shared(lab): Shared<Arc<Lab>>, Path(name): Path<String>) -> Answer {
    let state = lab.state();
    state.branches.get(&name).ok_or(Refusal::BranchNotFound)?;
    if !state.administrator {
        return Err(Refusal::IntegrationForbidden { needs: "administration=read".into() });
    }
    if let Some(settings) = state.writes.settings.get(&name) {
        return Ok(Json(lab.answers.settings(&name, settings)).into_response());
    }
    let protection = state.protections.get(&name).ok_or(Refusal::BranchNotProtected)?;
    Ok(Json(lab.answers.protection(&name, protection)).into_response())
}

async fn rules(
    Shared(lab): Shared<Arc<Lab>>,
    Path(name): Path<String>,
    uri: Uri,
    QueryPairs(pairs): Pairs,
) -> Response {
    let all = lab.state().rules.get(&name).cloned().unwrap_or_default().into_iter().map(|mut rule| {
        rule["ruleset_source_type"] = json!("Repository");
        rule["ruleset_source"] = json!(format!("{OWNER}/{REPO}"));
        rule["ruleset_id"] = json!(42);
        rule
    });
    let (items, links) = paging::page(all.collect(), &Query::new(pairs), &lab.api_url, &uri);
    (links, Json(Value::Array(items))).into_response()
}

async fn secrets(Shared(lab): Shared<Arc<Lab>>, uri: Uri, QueryPairs(pairs): Pairs) -> Answer {
    let names = lab.state().secrets.clone().ok_or(Refusal::IntegrationForbidden { needs: "secrets=read".into() })?;
    let dates = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    let all = names.iter().map(|name| json!({"name": name, "created_at": dates.0, "updated_at": dates.1})).collect();
    Ok(list("secrets", all, &Query::new(pairs), &lab, &uri))
}

async fn commit(Shared(lab): Shared<Arc<Lab>>, Path(reference): Path<String>) -> Answer {
    let state = lab.state();
    let Some(sha) = state.resolve(&reference) else {
        return Ok(writes::invalid(format!("No commit found for SHA: {reference}")));
    };
    let mut body = lab.answers.commit(sha, &state.tree(sha), state.parents(sha));
    if let Some(login) = state.authors.get(sha) {
        body["author"]["login"] = json!(login);
    }
    Ok(Json(body).into_response())
}

async fn compare(Shared(lab): Shared<Arc<Lab>>, Path(basehead): Path<String>) -> Answer {
    let state = lab.state();
    let (base, head) = basehead.split_once("...").ok_or(Refusal::NotFound)?;
    let base = state.resolve(base).ok_or(Refusal::NotFound)?;
    let head = state.resolve(head).ok_or(Refusal::NotFound)?;
    let (before_base, before_head) = (state.history(base), state.history(head));
    // Without a common commit GitHub has nothing to compare and answers 404.
    let merge_base = before_head.iter().find(|sha| before_base.contains(sha)).ok_or(Refusal::NotFound)?;
    let ahead: Vec<_> = before_head.iter().rev().filter(|sha| !before_base.contains(sha)).cloned().collect();
    let behind = before_base.iter().filter(|sha| !before_head.contains(sha)).count();
    let mut body = lab.answers.comparison((base, head), merge_base, &ahead, behind, |sha| state.tree(sha));
    // The example's file is nobody's; a comparison has those that the test wrote.
    let like = body["files"][0].take();
    let files = state.compared.get(&basehead).into_iter().flatten().map(|(path, blob)| {
        let mut file = like.clone();
        file["filename"] = json!(path);
        file["sha"] = json!(blob);
        file["status"] = json!("modified");
        file
    });
    body["files"] = json!(files.collect::<Vec<_>>());
    Ok(Json(body).into_response())
}

async fn rate_limit(Shared(lab): Shared<Arc<Lab>>) -> Json<Value> {
    let used = State::RATE_LIMIT - lab.state().rate_remaining;
    Json(lab.answers.rate_limit(State::RATE_LIMIT, used, lab.rate_reset()))
}

fn list(key: &str, items: Vec<Value>, query: &Query, lab: &Lab, uri: &Uri) -> Response {
    let total = items.len();
    let (items, links) = paging::page(items, query, &lab.api_url, uri);
    (links, Json(json!({"total_count": total, key: items}))).into_response()
}

fn number(id: &str) -> Result<u64, Refusal> {
    id.parse().map_err(|_| Refusal::NotFound)
}

/// A loud answer where the double would have to pretend.
fn unsupported(what: &str) -> Response {
    let message = format!("the lab's GitHub does not know {what}; teach it in lab/src/github/api.rs");
    (StatusCode::NOT_IMPLEMENTED, Json(json!({"message": message}))).into_response()
}
