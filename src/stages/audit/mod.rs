//! `audit`: how GitHub and the server stand, as findings. Only GET requests, and on the server only what reads.
//!
//! What cannot be read is reported as such, with the permission that would show it; it is never guessed.

pub mod table;

pub use self::table::table;

pub mod catalogue;
mod history;
mod integrity;
mod machine;
mod protection;
mod site;

use std::{cell::RefCell, rc::Rc};

use self::catalogue::About;
pub use self::{
    history::{branches_agree, builds, runs, workflows},
    integrity::integrity,
    machine::{live, look, reach},
    protection::branches,
    site::{health, token},
};
use super::shared::workflow::Files;
use crate::{
    clock::Clock,
    config::typed,
    context::Survey,
    domain::{
        Failure,
        audit::{AuditFinding, Impact, Status},
        record::key,
    },
    engine::{
        Decided, Decision, Done,
        step::{Io, StepResult},
    },
    errors,
    github::{GithubError, RepositoryRead, Workflow},
    stages::shared::workflow,
};

/// What the rows know.
pub struct Audit {
    pub inputs: Rc<typed::Audit>,
    pub github: Rc<dyn RepositoryRead>,
    /// `None` where nothing says how to reach the server.
    pub server: Option<Survey>,
    pub clock: Rc<dyn Clock>,
    pub state: RefCell<AuditState>,
}

/// What the rows found so far.
#[derive(Default)]
pub struct AuditState {
    findings: Vec<AuditFinding>,
    /// The checks that GitHub requires, each with its branch.
    required: Vec<(String, String)>,
    /// The head of the branch of staging.
    develop: Option<crate::domain::CommitSha>,
    listed: Vec<Workflow>,
    /// The workflow files of the checkout, read once.
    files: Option<Rc<Files>>,
}

impl Audit {
    /// The workflow files of the checkout.
    fn files(&self) -> Rc<Files> {
        let mut found = self.state.borrow_mut();
        found.files.get_or_insert_with(|| Rc::new(workflow::read(&self.inputs.workspace))).clone()
    }
}

/// Tells the environment, and that the server is not looked at where nothing says how to reach it.
pub async fn scope(cx: &Audit, io: &Io) -> StepResult {
    io.record(key::ENVIRONMENT, cx.inputs.environment.as_str());
    if let Some(commit) = &cx.inputs.commit {
        io.record(key::SHA, commit);
    }
    let mut sheet = Sheet::new(cx, io, "resolving what to audit");
    match &cx.server {
        Some(survey) => {
            io.record(key::URL, survey.inputs.site.url.as_str());
            sheet.met("server-looked-at", format!("{} on {}", survey.inputs.layout.base(), survey.inputs.ssh.host), "the inputs");
        }
        None => sheet.unseen(
            "server-looked-at",
            "neither ssh-private-key nor ssh-host is set in this step: only GitHub was audited",
            "Pass `ssh-host`, `ssh-private-key`, `ssh-known-hosts`, `base-dir` and `url`. A secret is often empty because it belongs to another `environment:`.",
            "the inputs",
        ),
    }
    sheet.end()
}

/// What one row found. A P0 that speaks against the environment that was asked for fails the row; the rows after it look all the same.
struct Sheet<'a> {
    cx: &'a Audit,
    io: &'a Io,
    doing: String,
    findings: Vec<AuditFinding>,
    /// A finding that the catalogue does not know. It must not vanish: an audit without it would be greener than it is.
    unknown: Option<String>,
}

impl<'a> Sheet<'a> {
    /// `doing` is what the row does, for its failure.
    fn new(cx: &'a Audit, io: &'a Io, doing: impl Into<String>) -> Self {
        Self { cx, io, doing: doing.into(), findings: Vec::new(), unknown: None }
    }

    fn met(&mut self, id: &str, actual: impl Into<String>, source: impl Into<String>) {
        self.add(id, Status::Met, actual.into(), None, source.into());
    }

    fn not_met(&mut self, id: &str, actual: impl Into<String>, fix: impl Into<String>, source: impl Into<String>) {
        self.add(id, Status::NotMet, actual.into(), Some(fix.into()), source.into());
    }

    /// `why` it could not be seen, and what would show it.
    fn unseen(&mut self, id: &str, why: impl Into<String>, shows: impl Into<String>, source: impl Into<String>) {
        self.add(id, Status::Unseen, why.into(), Some(shows.into()), source.into());
    }

    /// Met when nothing speaks against it.
    fn judge(&mut self, id: &str, against: &[String], met: &str, fix: &str, source: &str) {
        if against.is_empty() {
            self.met(id, met, source);
        } else {
            self.not_met(id, against.join("; "), fix, source);
        }
    }

    /// The workflow file that the last finding is about.
    fn in_file(&mut self, file: Option<&str>) {
        if let Some(last) = self.findings.last_mut() {
            last.file = file.map(str::to_owned);
        }
    }

    fn add(&mut self, id: &str, status: Status, actual: String, fix: Option<String>, source: String) {
        let Some(check) = catalogue::find(id) else {
            self.unknown = Some(id.to_owned());
            return;
        };
        let environment = match check.about {
            About::Every => None,
            About::Production => Some("production".to_owned()),
            About::Staging => Some("staging".to_owned()),
            About::Here => Some(self.cx.inputs.environment.to_string()),
        };
        self.findings.push(AuditFinding {
            step: self.io.step().clone(),
            id: check.id.to_owned(),
            title: check.title.to_owned(),
            target: check.target.to_owned(),
            actual,
            impact: check.impact,
            status,
            environment,
            fix,
            source,
            file: None,
            unix_ms: self.cx.clock.now().timestamp_millis(),
        });
    }

    /// Tells what was found and ends the row.
    fn end(self) -> StepResult {
        let environment = self.cx.inputs.environment.as_str();
        if let Some(id) = self.unknown {
            return Err(Failure::bug(self.doing, format!("the finding {id} is not in the catalogue")));
        }
        let open = self.findings.iter().filter(|finding| finding.status != Status::Met);
        let open: Vec<String> = open.map(|finding| format!("{}: {}", finding.id, finding.actual)).collect();
        let total = self.findings.len();
        let against: Vec<&AuditFinding> = self.findings.iter().filter(|finding| finding.forbids(environment)).collect();
        let failure = against.first().map(|first| {
            let cause = match against.len() {
                1 => first.describe(),
                several => format!("{several} findings forbid a release to {environment}"),
            };
            let details = against
                .iter()
                .map(|finding| format!("{}: {}", finding.describe(), finding.fix.as_deref().unwrap_or_default()));
            errors::fix::findings_forbid(&self.doing, cause, details.collect(), first.fix.clone())
        });
        let worth = self.findings.iter().any(|finding| {
            finding.status == Status::NotMet && finding.impact < Impact::P2 || finding.status == Status::Unseen
        });
        let mut found = self.cx.state.borrow_mut();
        found.findings.extend(self.findings);
        self.io.record(key::AUDIT, &found.findings);
        let mut text = format!("{} of {total} passed", total - open.len());
        if !open.is_empty() {
            text = format!("{text}; {}", open.join("; "));
        }
        match failure {
            Some(failure) => Err(failure),
            None if worth => Ok(Done::warned(text)),
            None => Ok(Done::passed(text)),
        }
    }
}

/// What an answer is worth: a value, or the reason why it cannot be seen.
enum Seen<T> {
    Yes(T),
    /// There is no such thing.
    Nothing,
    /// The token may not ask; with what it would need.
    Forbidden {
        why: String,
        shows: String,
    },
}

/// What a job's `permissions:` can give to its token, as far as an audit asks for it.
const GRANTED: [&str; 3] = ["actions", "contents", "metadata"];

/// Sorts an answer of GitHub's.
///
/// # Errors
/// GitHub did not answer, or not as documented: that says nothing of the repository.
fn seen<T>(answer: Result<T, GithubError>, doing: &str, permission: &str) -> Result<Seen<T>, Failure> {
    match answer {
        Ok(value) => Ok(Seen::Yes(value)),
        Err(GithubError::NotFound(_)) => Ok(Seen::Nothing),
        Err(GithubError::Forbidden { message, needs }) => {
            let needs = needs.unwrap_or_else(|| permission.to_owned());
            Ok(Seen::Forbidden {
                why: format!("the token has no right to read it ({message})"),
                shows: match needs.split_once('=').filter(|(key, _)| GRANTED.contains(key)) {
                    Some((key, right)) => format!("Set `permissions: {{ {key}: {right} }}` in the job."),
                    None => {
                        format!(
                            "Use the token of an app or a user with `{needs}`. No GITHUB_TOKEN can have that right."
                        )
                    }
                },
            })
        }
        Err(error) => Err(unanswered(doing, &error)),
    }
}

fn unanswered(doing: &str, error: &GithubError) -> Failure {
    match error {
        GithubError::Ambiguous(cause) => errors::fix::workflow_ambiguous(doing, cause),
        GithubError::RateLimited { .. } => {
            errors::fix::github_rate_limited(doing, error, "Run the audit again after that.")
        }
        _ => errors::fix::github_unavailable(doing, error, "Run the audit again."),
    }
}

/// GO, when every row has looked and none failed. There is nothing to approve: nothing follows.
pub fn decide(cx: Audit) -> Result<Decided<()>, Failure> {
    let found = cx.state.into_inner();
    let environment = cx.inputs.environment.as_str();
    // A row that did not look must have had a reason that failed (F69).
    if found.findings.is_empty() || found.findings.iter().any(|finding| finding.forbids(environment)) {
        return Err(Failure::bug("deciding GO or NO-GO", "a finding forbids a release, and no row failed"));
    }
    Ok(Decided { cx: (), decision: Decision::Go })
}
