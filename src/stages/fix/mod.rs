//! `fix`: one finding of an audit, corrected by name. It reads, says what it would send, and sends it only with the phrase. Then it reads again,
//! because a request that was accepted need not be in effect.

pub mod table;

pub use self::table::{carry_out, outline};

pub mod build_head;
pub mod failures;
pub mod health_token;
pub mod ownership;
pub mod phantom;
pub mod protection;

use std::{cell::RefCell, rc::Rc};

use super::shared::approval;
use crate::{
    clock::Clock,
    config::typed,
    context::Survey,
    domain::{
        Approval, Failure, Secret, Sha256Digest, StepId,
        fix::{FixRecord, Setting},
        record::key,
        row,
    },
    engine::{
        Decided, Decision, Done, Events,
        event::Body,
        step::{Io, StepResult},
    },
    errors,
    github::{GithubError, RepositoryWrite},
    server::survey,
};

/// The world, as far as a fix touches it.
#[derive(Clone)]
pub struct Repository {
    pub inputs: Rc<typed::Fix>,
    /// `None` where the fix is none of GitHub's.
    pub github: Option<Rc<dyn RepositoryWrite>>,
    pub clock: Rc<dyn Clock>,
    /// Makes runner and log hide a secret that was learnt on the way. To be called before anything else is done with it.
    pub hide: Rc<dyn Fn(&Secret)>,
}

/// Before the approval. `K` is what the fix knows once it has looked.
pub struct Fix<K> {
    pub world: Repository,
    /// `None` where the fix needs no server.
    pub server: Option<Survey>,
    state: RefCell<Option<(Proposal, K)>>,
}

/// What a fix would do.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub subject: String,
    pub before: Vec<Setting>,
    pub wanted: Vec<Setting>,
    pub sends: Vec<String>,
    pub needs: String,
    /// Why there is nothing to do, where there is not.
    pub nothing: Option<String>,
    /// What decides the effect: with another one, a plan's digest counts no more.
    pub bound: serde_json::Value,
}

/// After the approval.
pub struct FixPlan<K> {
    pub world: Repository,
    pub server: Option<Survey>,
    /// Fixed from here on.
    pub known: K,
    pub proposal: Proposal,
    pub state: RefCell<FixState>,
}

/// What later rows need of what was done.
#[derive(Default)]
pub struct FixState {
    /// The run that was started.
    run: Option<u64>,
}

fn github(world: &Repository) -> Result<&dyn RepositoryWrite, Failure> {
    world.github.as_deref().ok_or_else(|| Failure::bug("reading GitHub", "this fix has no access to GitHub"))
}

fn on_server(server: &Option<Survey>) -> Result<&Survey, Failure> {
    server.as_ref().ok_or_else(|| Failure::bug("reading the server", "this fix has no access to a server"))
}

impl<K> Fix<K> {
    pub fn new(world: Repository, server: Option<Survey>) -> Self {
        Self { world, server, state: RefCell::new(None) }
    }

    pub fn github(&self) -> Result<&dyn RepositoryWrite, Failure> {
        github(&self.world)
    }

    pub fn server(&self) -> Result<&Survey, Failure> {
        on_server(&self.server)
    }

    /// Ends the row that looked: tells what would be done.
    fn propose(&self, io: &Io, proposal: Proposal, known: K) -> StepResult {
        io.record(key::FIX, describe(&self.world, &proposal, None));
        let text = match &proposal.nothing {
            Some(why) => format!("no change needed: {why}"),
            None => shown(&proposal.before),
        };
        *self.state.borrow_mut() = Some((proposal, known));
        Ok(Done::passed(text))
    }
}

impl<K> FixPlan<K> {
    pub fn github(&self) -> Result<&dyn RepositoryWrite, Failure> {
        github(&self.world)
    }

    pub fn server(&self) -> Result<&Survey, Failure> {
        on_server(&self.server)
    }

    /// Tells what was seen after the change.
    fn seen(&self, io: &Io, after: Vec<Setting>) {
        io.record(key::FIX, describe(&self.world, &self.proposal, Some(after)));
    }

    /// Whether no change is needed; rows after the approval check this first.
    fn idle(&self) -> Option<Done> {
        self.proposal.nothing.as_ref().map(Done::skipped)
    }

    /// What a row says that has nothing to carry out.
    fn nothing_to_do(&self) -> Done {
        self.idle().unwrap_or_else(|| Done::skipped("nothing to do"))
    }

    /// What the plan prints for the row that changes something.
    pub fn preview(&self) -> Vec<String> {
        let Proposal { before, wanted, sends, needs, .. } = &self.proposal;
        let line = |setting: &Setting| {
            let now = before.iter().find(|old| old.what == setting.what).map_or("nothing", |old| old.value.as_str());
            format!("{}: {now} -> {}", setting.what, setting.value)
        };
        let sends = sends.iter().cloned();
        wanted.iter().map(line).chain(sends).chain([format!("needs {needs}")]).collect()
    }
}

/// For [`crate::server::remote::previewed`].
pub fn preview<K>(cx: &FixPlan<K>) -> Vec<String> {
    cx.preview()
}

fn describe(world: &Repository, proposal: &Proposal, after: Option<Vec<Setting>>) -> FixRecord {
    FixRecord {
        name: world.inputs.name,
        subject: proposal.subject.clone(),
        before: proposal.before.clone(),
        wanted: proposal.wanted.clone(),
        after,
        sends: proposal.sends.clone(),
        needs: proposal.needs.clone(),
        nothing: proposal.nothing.clone(),
    }
}

fn shown(settings: &[Setting]) -> String {
    settings.iter().map(|setting| format!("{}: {}", setting.what, setting.value)).collect::<Vec<_>>().join("; ")
}

fn listed<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Connects and logs in.
pub async fn reach<K>(cx: &Fix<K>, io: &Io) -> StepResult {
    let survey = cx.server()?;
    io.record(key::ENVIRONMENT, survey.inputs.environment.as_str());
    io.record(key::URL, survey.inputs.site.url.as_str());
    survey::reach(survey, io).await
}

/// Fixes what is known and reads the approval against it.
pub fn decide<K>(cx: Fix<K>, events: &Events) -> Result<Decided<FixPlan<K>>, Failure> {
    let Fix { world, server, state: found } = cx;
    let (proposal, known) =
        found.into_inner().ok_or_else(|| Failure::bug("planning the fix", "the present state was not read"))?;
    let inputs = world.inputs.clone();
    let plan = serde_json::json!({
        "version": 2,
        "action": env!("CARGO_PKG_VERSION"),
        "settings": approval::settings(&*inputs),
        "bound": proposal.bound,
        "sends": proposal.sends,
    });
    let plan_digest = Sha256Digest::of(plan.to_string());
    // Where there is nothing to do there is nothing to approve, and a phrase for the plan that was carried out is no mistake.
    let decision = match (&proposal.nothing, &inputs.approval) {
        (Some(_), Approval::Missing | Approval::Append | Approval::Given { .. }) => Decision::Go,
        _ => approval::decide_by(&inputs.approval, &inputs.phrase, inputs.plan_only, &plan_digest),
    };
    let step = StepId::new(row::PLAN);
    let tell = |key: &str, value: serde_json::Value| {
        events.emit(Body::Recorded { step: step.clone(), key: key.to_owned(), value })
    };
    if proposal.nothing.is_none() {
        tell(key::PLAN_DIGEST, plan_digest.as_str().into());
    }
    tell(key::EXECUTED, (matches!(decision, Decision::Go) && proposal.nothing.is_none()).into());
    Ok(Decided { cx: FixPlan { world, server, known, proposal, state: FixState::default().into() }, decision })
}

/// The keys that a job's `permissions:` may name, as far as fixes need them.
const GRANTED: [&str; 3] = ["actions", "contents", "metadata"];

/// What GitHub's refusal means here. A right that is missing is a "no" and not a mistake of the inputs: the user may not have that right either.
fn refusal(doing: &str, error: &GithubError, permission: &str) -> Failure {
    match error {
        // No right of any token helps here.
        GithubError::Forbidden { message, .. } if message.contains("Upgrade to GitHub") => {
            errors::fix::plan_missing(doing, message)
        }
        GithubError::Forbidden { message, needs } => {
            let needs = needs.clone().unwrap_or_else(|| permission.to_owned());
            // Where GitHub names several sets of permissions, `;` stands between them.
            let granted = needs
                .split([';', ','])
                .filter_map(|need| need.trim().split_once('='))
                .find(|(key, _)| GRANTED.contains(key));
            errors::fix::right_missing(doing, message, &needs, permission, granted)
        }
        GithubError::RateLimited { retry_after } => {
            let minutes = retry_after.as_secs().div_ceil(60);
            errors::fix::github_rate_limited(doing, error, format!("Run this again in {minutes} minutes."))
        }
        GithubError::Ambiguous(cause) => errors::fix::workflow_ambiguous(doing, cause),
        // 422 and the like: GitHub has looked and says no.
        GithubError::Unexpected(cause) if cause.starts_with('4') => errors::fix::github_refused(doing, cause),
        _ => errors::fix::github_unavailable(doing, error, "Run this again: it reads the present state first."),
    }
}
