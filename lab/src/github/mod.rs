//! A stand-in for GitHub: the REST API of the repository `acme/shop` and the blob storage that artifact downloads are
//! redirected to, as real HTTP servers.
//!
//! Answers are built from GitHub's documented examples and held to its documented schemas (`data/github/`). Tests edit
//! the repository while the servers run, script what goes wrong with [`GitHub::fault`], and read what was asked with
//! [`GitHub::requests`].
//!
//! ```
//! use gated_deploy_lab::github::{Artifact, GitHub, Phase, Run, artifact_zip};
//!
//! let github = GitHub::start([127, 0, 0, 1].into());
//! let sha = "acb5820ced9479c074f688cc328bf03f341a511d";
//! github.add_run(Run::green(7, sha));
//! github.run_progress(7, vec![Phase::queued(), Phase::in_progress(), Phase::completed("success")]);
//! let zip = artifact_zip(&[("bundle.tar.gz", "...".into())]).expect("zip in memory");
//! github.add_artifact(Artifact::zip(11, 7, "deployment-bundle", zip));
//! assert!(github.api_url().starts_with("http://127.0.0.1:"));
//! ```

mod answers;
mod api;
mod artifact_zip;
mod blob;
mod fault;
mod model;
mod paging;
mod record;
mod refusal;
mod state;
mod wire;
mod writes;

#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request as HttpRequest, State as Shared},
    middleware::{self, Next},
    response::Response,
};
use tokio::runtime::Runtime;

use self::{answers::Answers, fault::Trap, state::State, wire::Cut};
pub use self::{
    artifact_zip::{Compression, Source, ZipFile, artifact_zip, write_artifact_zip},
    fault::{Fault, Times},
    model::{Artifact, Branch, Content, Digest, Job, Phase, Protection, Review, Run, Workflow},
    record::{Host, Request},
    refusal::Refusal,
    writes::Dispatch,
};

/// The owner of the only repository.
pub const OWNER: &str = "acme";
/// The name of the only repository.
pub const REPO: &str = "shop";
/// Its id.
pub const REPOSITORY_ID: u64 = 1_296_269;
/// The workflow of [`Run::green`].
pub const BUILD_WORKFLOW: &str = ".github/workflows/build.yml";

/// Where and as what the servers appear.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address to listen on; the ports are free ones.
    pub bind: IpAddr,
    /// The host in the URLs that the servers give out, when clients do not reach them by `bind`.
    pub host: Option<String>,
    /// Prefix of all API paths, `/api/v3` on GitHub Enterprise Server.
    pub base_path: String,
    /// The token that the API accepts.
    pub token: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            host: None,
            base_path: String::new(),
            token: "ghs_LabTokenThatMustNotAppearInAnyOutput".into(),
        }
    }
}

/// The running servers; dropping it stops them.
pub struct GitHub {
    lab: Arc<Lab>,
    runtime: Option<Runtime>,
}

impl GitHub {
    /// Starts both servers on free ports of `bind`.
    pub fn start(bind: IpAddr) -> Self {
        Self::start_with(Options { bind, ..Options::default() })
    }

    /// Starts both servers.
    pub fn start_with(options: Options) -> Self {
        let (api, api_address) = listen(options.bind);
        let (blob, blob_address) = listen(options.bind);
        let url = |address: SocketAddr| match &options.host {
            Some(host) => format!("http://{host}:{}", address.port()),
            None => format!("http://{address}"),
        };
        let api_url = format!("{}{}", url(api_address), options.base_path);
        let lab = Arc::new(Lab {
            answers: Answers::new(&api_url),
            api_url,
            blob_url: url(blob_address),
            rate_reset: unix_now() + 3600,
            options,
            state: Mutex::new(State::new()),
        });

        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lab-github")
            .enable_all()
            .build()
            .expect("start a thread for the lab's GitHub");
        serve(&runtime, api, front(Host::Api, &lab, based(&lab, api::routes(lab.clone()))));
        serve(&runtime, blob, front(Host::Blob, &lab, blob::routes(lab.clone())));
        Self { lab, runtime: Some(runtime) }
    }

    /// The API's address, for `GITHUB_API_URL`.
    pub fn api_url(&self) -> &str {
        &self.lab.api_url
    }

    /// The blob storage's address.
    pub fn blob_url(&self) -> &str {
        &self.lab.blob_url
    }

    /// The token that the API accepts.
    pub fn token(&self) -> &str {
        self.lab.token()
    }

    /// Adds a run, or replaces the one with its id. Its workflow and commit come into being with it.
    pub fn add_run(&self, run: Run) {
        self.lab.state().add_run(run);
    }

    /// Writes down what a reviewer said of a run.
    pub fn add_review(&self, run: u64, review: Review) {
        self.lab.state().reviews.push((run, review));
    }

    /// Changes a run.
    pub fn edit_run(&self, id: u64, edit: impl FnOnce(&mut Run)) {
        edit(self.lab.state().run_mut(id).unwrap_or_else(|| panic!("there is no run {id} to edit")));
    }

    /// Makes the run take one of these steps with each answer that shows it, alone or in a list that asked for its
    /// commit, branch, event and workflow (whatever status was asked for). The last one stays.
    pub fn run_progress(&self, id: u64, phases: Vec<Phase>) {
        self.lab.state().script_run(id, phases);
    }

    /// Adds an artifact, or replaces the one with its id. Content in a file is read now for its digest and again at
    /// every download.
    pub fn add_artifact(&self, artifact: Artifact) {
        self.lab.state().add_artifact(artifact).unwrap_or_else(|problem| panic!("{problem:#}"));
    }

    /// Changes an artifact; the digest that counts as correct stays that of the content it was added with.
    pub fn edit_artifact(&self, id: u64, edit: impl FnOnce(&mut Artifact)) {
        edit(self.lab.state().artifact_mut(id).unwrap_or_else(|| panic!("there is no artifact {id} to edit")));
    }

    /// Adds a workflow that has no run yet.
    pub fn add_workflow(&self, name: &str, path: &str) {
        self.lab.state().add_workflow(name, path);
    }

    /// Adds or moves a branch.
    pub fn add_branch(&self, branch: Branch) {
        self.lab.state().add_branch(branch);
    }

    /// Puts a commit at the end of a branch, as a push or a merge does, unless it is on it already.
    pub fn push(&self, branch: &str, sha: &str) {
        self.lab.state().push(branch, sha);
    }

    /// Stores an attestation for a SHA-256: the in-toto statement that its bundle carries. Of null the API gives an address only.
    pub fn attest(&self, sha256: &str, statement: serde_json::Value) {
        self.lab.state().attestations.entry(sha256.into()).or_default().push(statement);
    }

    /// Gives a commit an author, by login.
    pub fn author(&self, sha: &str, login: &str) {
        self.lab.state().authors.insert(sha.into(), login.into());
    }

    /// Protects a branch in the classic way, or takes that away.
    pub fn protect(&self, branch: &str, protection: Option<Protection>) {
        let mut state = self.lab.state();
        state.writes.settings.remove(branch);
        match protection {
            Some(protection) => drop(state.protections.insert(branch.into(), protection)),
            None => drop(state.protections.remove(branch)),
        }
    }

    /// Makes the token an administrator's: it sees the details of classic protection.
    pub fn administrator(&self, yes: bool) {
        self.lab.state().administrator = yes;
    }

    /// The active rules of rulesets for a branch, each with `type` and perhaps `parameters`.
    pub fn rules(&self, branch: &str, rules: Vec<serde_json::Value>) {
        self.lab.state().rules.insert(branch.into(), rules);
    }

    /// Gives a run these jobs instead of the one that every run has.
    pub fn jobs(&self, run: u64, jobs: Vec<Job>) {
        self.lab.state().jobs.insert(run, jobs);
    }

    /// Gives a job of a run (by its place among the run's jobs) this log. Jobs without one answer 404.
    pub fn log(&self, run: u64, place: u64, text: &str) {
        self.lab.state().logs.insert(run * 10 + place, text.into());
    }

    /// Puts a file on a branch.
    pub fn file(&self, branch: &str, path: &str, text: &str) {
        self.lab.state().contents.insert((branch.into(), path.into()), text.into());
    }

    /// The files that a comparison of two references shows, each with its blob.
    pub fn compared(&self, basehead: &str, files: &[(&str, &str)]) {
        let files = files.iter().map(|(path, blob)| ((*path).into(), (*blob).into())).collect();
        self.lab.state().compared.insert(basehead.into(), files);
    }

    /// Lets the token see the names of these secrets.
    pub fn secrets(&self, names: &[&str]) {
        self.lab.state().secrets = Some(names.iter().map(|name| (*name).into()).collect());
    }

    /// Sets everything of a branch's protection, by the body of "Update branch protection".
    pub fn settings(&self, branch: &str, body: serde_json::Value) {
        self.lab.state().set(branch, body);
    }

    /// What a branch's protection was set to by the last such body.
    pub fn settings_of(&self, branch: &str) -> Option<serde_json::Value> {
        self.lab.state().writes.settings.get(branch).cloned()
    }

    /// What was sealed into a secret, opened.
    pub fn secret_value(&self, name: &str) -> Option<String> {
        self.lab.state().writes.values.get(name).map(|(value, _)| value.clone())
    }

    /// Gives an environment a secret of its own.
    pub fn environment_secret(&self, environment: &str, name: &str) {
        self.lab.state().writes.environment_secrets.push((environment.into(), name.into()));
    }

    /// Lets a workflow (by its path) be started by hand, and says what it does then.
    pub fn on_dispatch(&self, path: &str, dispatch: Dispatch) {
        self.lab.state().writes.dispatches.insert(path.into(), dispatch);
    }

    /// The files of a branch.
    pub fn files(&self, branch: &str, paths: &[&str]) {
        self.lab.state().writes.files.insert(branch.into(), paths.iter().map(|path| (*path).into()).collect());
    }

    /// A workflow's state, by its path.
    pub fn workflow_state(&self, path: &str) -> Option<String> {
        self.lab.state().workflows.iter().find(|one| one.path == path).map(|one| one.state.clone())
    }

    /// Everything that was written: method, path below the repository, and body.
    pub fn written(&self) -> Vec<(String, String, serde_json::Value)> {
        self.lab.state().writes.bodies.clone()
    }

    /// Adds commits, oldest first, each the parent of the next.
    pub fn add_commits(&self, shas: &[&str]) {
        let mut state = self.lab.state();
        let mut parent = None;
        for sha in shas {
            state.add_commit(sha, parent);
            parent = Some(sha);
        }
    }

    /// Gives a commit the tree of another one, as a merge, a squash or a rebase without other changes does.
    pub fn same_tree(&self, sha: &str, other: &str) {
        let mut state = self.lab.state();
        let tree = state.tree(other);
        state.set_tree(sha, &tree);
    }

    /// Makes the requests with this method and path go wrong. The path has no base path and no query; `*` in it stands
    /// for any characters. Paths of the blob storage begin with `/actions-results/`.
    ///
    /// The fault added first wins, until its `times` are used up; delays add to whatever else strikes.
    pub fn fault(&self, method: &str, path: &str, times: Times, fault: Fault) {
        let trap = Trap { method: method.into(), path: path.into(), times, fault: Arc::new(fault) };
        self.lab.state().traps.push(trap);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.lab.state().traps.clear();
    }

    /// How long the links to artifacts' bytes are valid: a minute unless set.
    pub fn link_lifetime(&self, lifetime: Duration) {
        self.lab.state().link_lifetime = lifetime;
    }

    /// How many requests are answered before the primary rate limit strikes: 1000 unless set.
    pub fn rate_limit_remaining(&self, requests: u64) {
        self.lab.state().rate_remaining = requests.min(State::RATE_LIMIT);
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.lab.state().requests.clone()
    }

    /// The signatures of all links given out, as they stand in the links. They are secrets.
    pub fn signatures(&self) -> Vec<String> {
        self.lab.state().signatures()
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        // An ordinary drop of a runtime blocks, which is not allowed where tests are async themselves.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What all handlers share.
struct Lab {
    options: Options,
    answers: Answers,
    api_url: String,
    blob_url: String,
    rate_reset: u64,
    state: Mutex<State>,
}

impl Lab {
    fn token(&self) -> &str {
        &self.options.token
    }

    /// When the rate limit's hour ends (seconds since the Unix epoch).
    fn rate_reset(&self) -> u64 {
        self.rate_reset
    }

    /// A handler that panicked has spoiled one answer, not the repository.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records every request and lets the faults strike before anything else happens.
fn front(host: Host, lab: &Arc<Lab>, routes: Router) -> Router {
    routes.layer(middleware::from_fn_with_state((host, lab.clone()), receive))
}

async fn receive(
    Shared((host, lab)): Shared<(Host, Arc<Lab>)>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let fate = {
        let (method, uri) = (request.method(), request.uri());
        let path = uri.path().strip_prefix(&lab.options.base_path).unwrap_or(uri.path());
        let mut state = lab.state();
        state.requests.push(Request::new(host, method, path, uri.query(), request.headers()));
        fault::fate(&mut state.traps, method, path)
    };
    tokio::time::sleep(fate.delay).await;
    match fate.fault {
        Some(fault) => fault::spoil(&fault, cut, next.run(request)).await,
        None => next.run(request).await,
    }
}

fn based(lab: &Lab, routes: Router) -> Router {
    match lab.options.base_path.as_str() {
        "" => routes,
        base => Router::new().nest(base, routes),
    }
}

fn listen(bind: IpAddr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((bind, 0)).unwrap_or_else(|problem| panic!("listening on {bind}: {problem}"));
    listener.set_nonblocking(true).expect("make a listener non-blocking");
    let address = listener.local_addr().expect("ask a listener for its port");
    (listener, address)
}

fn serve(runtime: &Runtime, listener: TcpListener, routes: Router) {
    let _guard = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).expect("hand a listener to the runtime");
    runtime.spawn(async move {
        axum::serve(wire::Lines(listener), routes.into_make_service_with_connect_info::<Cut>()).await
    });
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
