//! The endpoints that change something, and those that only whoever changes something asks.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query as QueryPairs, State as Shared},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crypto_box::{SecretKey, aead::OsRng};
use serde_json::{Value, json};

use super::{
    Lab, OWNER, REPO,
    model::{Artifact, Phase, Protection, Run},
    refusal::Refusal,
    state::State,
};

type Answer = Result<Response, Refusal>;

/// The number under which the repository's public key is known.
const KEY_ID: &str = "568250167242549743";

/// The app that GitHub takes for a check that names none.
const ACTIONS_APP: i64 = 15368;

/// What has been written, and what answers to it.
pub(super) struct Writes {
    /// Bodies of "Update branch protection", by branch.
    pub(super) settings: BTreeMap<String, Value>,
    /// Secrets that were written: value and time.
    pub(super) values: BTreeMap<String, (String, String)>,
    pub(super) key: SecretKey,
    /// What a dispatch of a workflow (by its path) starts.
    pub(super) dispatches: BTreeMap<String, Dispatch>,
    /// Workflow files by branch.
    pub(super) files: BTreeMap<String, Vec<String>>,
    /// Environment and name.
    pub(super) environment_secrets: Vec<(String, String)>,
    /// Method, path and body of what came.
    pub(super) bodies: Vec<(String, String, Value)>,
    clock: u32,
}

/// The run that a dispatch starts: its steps, and what it leaves.
#[derive(Debug, Clone)]
pub struct Dispatch {
    pub run: Run,
    pub phases: Vec<Phase>,
    pub artifacts: Vec<Artifact>,
}

impl Writes {
    pub(super) fn new() -> Self {
        Self {
            settings: BTreeMap::new(),
            values: BTreeMap::new(),
            key: SecretKey::generate(&mut OsRng),
            dispatches: BTreeMap::new(),
            files: BTreeMap::new(),
            environment_secrets: Vec::new(),
            bodies: Vec::new(),
            clock: 0,
        }
    }

    fn now(&mut self) -> String {
        self.clock += 1;
        format!("2026-02-01T00:{:02}:{:02}Z", self.clock / 60, self.clock % 60)
    }
}

pub(super) fn routes() -> Router<Arc<Lab>> {
    let at = |path: &str| format!("/repos/{OWNER}/{REPO}{path}");
    Router::new()
        .route(&at("/branches/{branch}/protection"), put(protect).delete(unprotect))
        .route(&at("/actions/secrets/public-key"), get(public_key))
        .route(&at("/actions/secrets/{name}"), get(secret).put(write_secret))
        .route(&at("/environments/{environment}/secrets/{name}"), get(environment_secret))
        .route(&at("/actions/workflows/{workflow}/dispatches"), post(dispatch))
        .route(&at("/actions/workflows/{workflow}/disable"), put(disable))
        .route(&at("/actions/workflows/{workflow}/enable"), put(enable))
        .route(&at("/contents/{*path}"), get(contents))
}

/// 422 with the reason.
pub(super) fn invalid(message: impl Into<String>) -> Response {
    let body =
        json!({ "message": message.into(), "documentation_url": "https://docs.github.com/rest", "status": "422" });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

fn note(state: &mut State, method: &str, path: String, body: &Value) {
    state.writes.bodies.push((method.to_owned(), path, body.clone()));
}

fn administrator(state: &State, right: &str) -> Result<(), Refusal> {
    match state.administrator {
        true => Ok(()),
        false => Err(Refusal::IntegrationForbidden { needs: format!("administration={right}") }),
    }
}

fn sees_secrets(state: &State, right: &str) -> Result<(), Refusal> {
    match state.administrator || state.secrets.is_some() {
        true => Ok(()),
        false => Err(Refusal::IntegrationForbidden { needs: format!("secrets={right}") }),
    }
}

/// Four keys must be there, whatever they hold; of `contexts` and `checks` exactly one (google/go-github#2276).
fn complaint(body: &Value) -> Option<String> {
    const MUST: [&str; 4] =
        ["required_status_checks", "enforce_admins", "required_pull_request_reviews", "restrictions"];
    const MAY: [&str; 7] = [
        "required_linear_history",
        "allow_force_pushes",
        "allow_deletions",
        "block_creations",
        "required_conversation_resolution",
        "lock_branch",
        "allow_fork_syncing",
    ];
    let Some(fields) = body.as_object() else { return Some("Problems parsing JSON".to_owned()) };
    if let Some(missing) = MUST.iter().find(|key| !fields.contains_key(**key)) {
        return Some(format!("Invalid request.\n\n\"{missing}\" wasn't supplied."));
    }
    if let Some(odd) = fields.keys().find(|key| !MUST.contains(&key.as_str()) && !MAY.contains(&key.as_str())) {
        return Some(format!("Invalid request.\n\n\"{odd}\" is not a permitted key."));
    }
    let checks = &body["required_status_checks"];
    let both = checks.get("contexts").is_some() == checks.get("checks").is_some();
    let unclear = !checks.is_null() && (both || !checks["strict"].is_boolean());
    unclear.then(|| "Invalid request.\n\nNo subschema in \"anyOf\" matched.".to_owned())
}

/// The names of the required checks in a body.
fn names(body: &Value) -> Vec<String> {
    let checks = &body["required_status_checks"];
    let named = checks["checks"].as_array().into_iter().flatten().map(|check| &check["context"]);
    let named = named.chain(checks["contexts"].as_array().into_iter().flatten());
    named.filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn protect(Shared(lab): Shared<Arc<Lab>>, Path(branch): Path<String>, Json(body): Json<Value>) -> Answer {
    let mut state = lab.state();
    state.branches.get(&branch).ok_or(Refusal::BranchNotFound)?;
    administrator(&state, "write")?;
    if let Some(complaint) = complaint(&body) {
        return Ok(invalid(complaint));
    }
    note(&mut state, "PUT", format!("/branches/{branch}/protection"), &body);
    state.set(&branch, body.clone());
    Ok(Json(lab.answers.settings(&branch, &body)).into_response())
}

async fn unprotect(Shared(lab): Shared<Arc<Lab>>, Path(branch): Path<String>) -> Answer {
    let mut state = lab.state();
    administrator(&state, "write")?;
    state.protections.remove(&branch).ok_or(Refusal::BranchNotProtected)?;
    state.writes.settings.remove(&branch);
    note(&mut state, "DELETE", format!("/branches/{branch}/protection"), &Value::Null);
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl State {
    /// What "Update branch protection" leaves.
    pub(super) fn set(&mut self, branch: &str, body: Value) {
        let reviews = &body["required_pull_request_reviews"];
        let protection = Protection {
            contexts: names(&body),
            strict: body["required_status_checks"]["strict"].as_bool().unwrap_or(false),
            reviews: reviews["required_approving_review_count"].as_u64().unwrap_or(u64::from(!reviews.is_null())),
        };
        self.protections.insert(branch.to_owned(), protection);
        self.writes.settings.insert(branch.to_owned(), body);
    }
}

impl super::answers::Answers {
    /// Classic protection as an administrator sees it after it was set.
    pub(super) fn settings(&self, branch: &str, put: &Value) -> Value {
        let like = self.protection(branch, &Protection { reviews: 1, ..Protection::default() });
        let example = self.example("repos/get-branch-protection");
        let url = like["url"].clone();
        let mut body = json!({ "url": url });
        if !like["required_signatures"].is_null() {
            body["required_signatures"] = like["required_signatures"].clone();
        }
        let people = |given: &Value| {
            let mut people = example["restrictions"].clone();
            for (list, key) in [("users", "login"), ("teams", "slug"), ("apps", "slug")] {
                let named = given[list].as_array().into_iter().flatten().map(|name| {
                    let mut one = people[list][0].clone();
                    one[key] = name.clone();
                    one
                });
                people[list] = json!(named.collect::<Vec<_>>());
            }
            people
        };
        let checks = &put["required_status_checks"];
        if !checks.is_null() {
            let apps: BTreeMap<&str, Value> = checks["checks"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|check| {
                    let app = match check["app_id"].as_i64() {
                        Some(-1) => Value::Null,
                        Some(id) => json!(id),
                        None => json!(ACTIONS_APP),
                    };
                    Some((check["context"].as_str()?, app))
                })
                .collect();
            let mut told = like["required_status_checks"].clone();
            let names = names(put);
            let each = names.iter().map(
                |name| json!({ "context": name, "app_id": apps.get(name.as_str()).unwrap_or(&json!(ACTIONS_APP)) }),
            );
            told["checks"] = json!(each.collect::<Vec<_>>());
            told["contexts"] = json!(names);
            told["strict"] = checks["strict"].clone();
            body["required_status_checks"] = told;
        }
        body["enforce_admins"] = json!({ "url": format!("{}/enforce_admins", url.as_str().unwrap_or_default()), "enabled": put["enforce_admins"].as_bool().unwrap_or(false) });
        let reviews = &put["required_pull_request_reviews"];
        if !reviews.is_null() {
            let mut told = like["required_pull_request_reviews"].clone();
            for key in ["dismissal_restrictions", "bypass_pull_request_allowances"] {
                drop(told.as_object_mut().map(|told| told.remove(key)));
            }
            for (key, value) in reviews.as_object().into_iter().flatten() {
                told[key] = if value.is_object() { people(value) } else { value.clone() };
            }
            body["required_pull_request_reviews"] = told;
        }
        if !put["restrictions"].is_null() {
            body["restrictions"] = people(&put["restrictions"]);
        }
        for (key, value) in put.as_object().into_iter().flatten() {
            if value.is_boolean() && key != "enforce_admins" {
                body[key] = json!({ "enabled": value });
            }
        }
        body
    }
}

async fn public_key(Shared(lab): Shared<Arc<Lab>>) -> Answer {
    let state = lab.state();
    sees_secrets(&state, "read")?;
    let key = STANDARD.encode(state.writes.key.public_key().as_bytes());
    Ok(Json(json!({ "key_id": KEY_ID, "key": key })).into_response())
}

async fn secret(Shared(lab): Shared<Arc<Lab>>, Path(name): Path<String>) -> Answer {
    let state = lab.state();
    sees_secrets(&state, "read")?;
    let listed = state.secrets.as_ref().is_some_and(|names| names.contains(&name));
    let written = state.writes.values.get(&name).map(|(_, at)| at.clone());
    let updated = written.or_else(|| listed.then(|| "2026-01-01T00:00:00Z".to_owned())).ok_or(Refusal::NotFound)?;
    Ok(Json(json!({ "name": name, "created_at": "2026-01-01T00:00:00Z", "updated_at": updated })).into_response())
}

/// Opens what came, as GitHub does; what it cannot open it refuses.
async fn write_secret(Shared(lab): Shared<Arc<Lab>>, Path(name): Path<String>, Json(body): Json<Value>) -> Answer {
    let mut state = lab.state();
    sees_secrets(&state, "write")?;
    if body["key_id"] != KEY_ID {
        return Ok(invalid("Validation Failed: the key is not the current one"));
    }
    let sealed = body["encrypted_value"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let opened = sealed.and_then(|sealed| state.writes.key.unseal(&sealed).ok());
    let Some(value) = opened.and_then(|value| String::from_utf8(value).ok()) else {
        return Ok(invalid("Validation Failed: the value cannot be opened"));
    };
    note(&mut state, "PUT", format!("/actions/secrets/{name}"), &body);
    let now = state.writes.now();
    let new = state.writes.values.insert(name, (value, now)).is_none();
    Ok(if new { StatusCode::CREATED.into_response() } else { StatusCode::NO_CONTENT.into_response() })
}

async fn environment_secret(
    Shared(lab): Shared<Arc<Lab>>,
    Path((environment, name)): Path<(String, String)>,
) -> Answer {
    let state = lab.state();
    sees_secrets(&state, "read")?;
    state
        .writes
        .environment_secrets
        .iter()
        .find(|known| **known == (environment.clone(), name.clone()))
        .ok_or(Refusal::NotFound)?;
    let date = "2026-01-01T00:00:00Z";
    Ok(Json(json!({ "name": name, "created_at": date, "updated_at": date })).into_response())
}

async fn dispatch(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>, Json(body): Json<Value>) -> Answer {
    let mut state = lab.state();
    let workflow = state.workflow(&id).ok_or(Refusal::NotFound)?.clone();
    let Some(branch) = body["ref"].as_str().filter(|name| state.branches.contains_key(*name)) else {
        return Ok(invalid("No ref found"));
    };
    let Some(started) = state.writes.dispatches.get(&workflow.path).cloned() else {
        return Ok(invalid("Workflow does not have 'workflow_dispatch' trigger"));
    };
    if workflow.state != "active" {
        return Ok(invalid("Cannot trigger a 'workflow_dispatch' on a disabled workflow"));
    }
    let path = format!("/actions/workflows/{id}/dispatches");
    let run = Run { event: "workflow_dispatch".into(), head_branch: Some(branch.to_owned()), ..started.run };
    note(&mut state, "POST", path, &body);
    let id = run.id;
    state.add_run(run);
    if !started.phases.is_empty() {
        state.script_run(id, started.phases);
    }
    for artifact in started.artifacts {
        if let Err(problem) = state.add_artifact(artifact) {
            return Ok(invalid(format!("{problem:#}")));
        }
    }
    if body["return_run_details"] != true {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(json!({
        "workflow_run_id": id,
        "run_url": format!("{}/repos/{OWNER}/{REPO}/actions/runs/{id}", lab.api_url),
        "html_url": format!("https://github.com/{OWNER}/{REPO}/actions/runs/{id}"),
    }))
    .into_response())
}

async fn disable(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    turn(&lab, &id, "disable", "disabled_manually")
}

async fn enable(Shared(lab): Shared<Arc<Lab>>, Path(id): Path<String>) -> Answer {
    turn(&lab, &id, "enable", "active")
}

fn turn(lab: &Lab, id: &str, verb: &str, to: &str) -> Answer {
    let mut state = lab.state();
    let number = state.workflow(id).ok_or(Refusal::NotFound)?.id;
    for workflow in state.workflows.iter_mut().filter(|workflow| workflow.id == number) {
        workflow.state = to.to_owned();
    }
    note(&mut state, "PUT", format!("/actions/workflows/{id}/{verb}"), &Value::Null);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// "Get repository content": a file with its base64 in lines, as GitHub sends it; else a folder of a branch.
async fn contents(
    Shared(lab): Shared<Arc<Lab>>,
    Path(path): Path<String>,
    QueryPairs(pairs): QueryPairs<Vec<(String, String)>>,
) -> Answer {
    let state = lab.state();
    let branch = pairs.iter().find(|(key, _)| key == "ref").map_or("main", |(_, value)| value.as_str());
    if let Some(text) = state.contents.get(&(branch.to_owned(), path.clone())) {
        let packed = STANDARD.encode(text);
        let lines: Vec<_> = packed.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
        let (name, content) = (path.rsplit('/').next().unwrap_or_default(), format!("{}\n", lines.join("\n")));
        let body = json!({ "type": "file", "encoding": "base64", "size": text.len(), "name": name, "path": path, "content": content });
        return Ok(Json(body).into_response());
    }
    let files = state.writes.files.get(branch).ok_or(Refusal::NotFound)?;
    let inside: Vec<Value> = files
        .iter()
        .filter_map(|file| Some((file, file.strip_prefix(&format!("{path}/"))?)))
        .map(|(file, name)| json!({ "type": "file", "name": name, "path": file, "sha": "", "size": 1 }))
        .collect();
    if inside.is_empty() {
        return Err(Refusal::NotFound);
    }
    Ok(Json(Value::Array(inside)).into_response())
}
