//! From text to the typed inputs of a stage, with everything that is wrong found in one go.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use url::Url;

use super::{
    event, local, policy,
    problem::{Problem, Problems},
    raw::{Given, Raw, Source},
    table::{self, INPUTS, Kind, Preset, REQUIRED, TUNNEL},
    typed::{
        self, BackupCopy, BuildGate, BuildSource, Common, Delivery, Deploy, GithubAccess, Grace, HealthPolicy,
        Interrupted, Provenance, Recover, Request, Rollback, Route, RunIdentity, ServerPolicy, SiteAccess, Smoke,
        SshAccess, Style, Target, Unreviewed, UnreviewedSetting, Warning,
    },
    value::{self, Wrong},
};
use crate::{
    domain::{
        Approval, EnvironmentName, Layout, RemotePath, Roots, STAGING, Secret, Stage,
        fix::FixName,
        gate::FrontEnd,
        hook::{Hooks, Moment},
        key::PrivateKey,
        known_hosts::{KnownHosts, LineProblem},
    },
    errors::{Code, general},
};

/// What every run needs, also with wrong inputs: a refused run is reported, too.
pub fn common(raw: &Raw<'_>) -> Common {
    let environment = raw.environment;
    let in_actions = environment.in_actions();
    let report_dir = raw.given("report-dir").and_then(|given| local::resolve(&raw.workspace, &given.text).ok());
    Common {
        stage: raw.given("stage").and_then(|given| given.text.parse().ok()),
        style: if in_actions { Style::Actions } else { Style::Plain },
        output: environment.path("GITHUB_OUTPUT"),
        state: environment.path("GITHUB_STATE"),
        step_summary: environment.path("GITHUB_STEP_SUMMARY"),
        workspace: raw.workspace.clone(),
        report_dir: report_dir.unwrap_or_else(|| raw.workspace.join(".gated-deploy/reports")),
        secrets: raw.secrets().cloned().collect(),
        unreviewed: None,
        debug: environment.text("RUNNER_DEBUG") == Some("1"),
        scratch: scratch(raw),
        most: None,
    }
}

/// Where temporary files may lie. RUNNER_TEMP is not mounted in containers of runners before 2.331.
fn scratch(raw: &Raw<'_>) -> PathBuf {
    let environment = raw.environment;
    let usable = |path: &PathBuf| {
        path.is_dir() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    };
    let candidates = ["RUNNER_TEMP", "HOME", "TMPDIR"].into_iter().filter_map(|name| environment.path(name));
    candidates.into_iter().find(usable).unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Checks everything that was given and makes the stage's inputs of it.
///
/// `post` is what the main step of this run left, where this is its post step.
pub fn parse(
    raw: &Raw<'_>,
    common: &mut Common,
    post: Option<Interrupted>,
) -> Result<(Request, Vec<Warning>), Problems> {
    let mut reader = Reader { raw, problems: raw.problems.clone(), warnings: Vec::new(), secrets: Vec::new() };
    let stage = reader.read("stage", value::stage);
    let request = match stage {
        Some(Stage::BuildGate) => reader.build_gate().map(|request| Request::BuildGate(Box::new(request))),
        Some(stage @ Stage::Preflight) => reader.deploy(stage).map(|request| Request::Preflight(Box::new(request))),
        Some(Stage::Audit) => reader.audit().map(|request| Request::Audit(Box::new(request))),
        Some(stage @ Stage::Verify) => reader.target(stage).map(|target| Request::Verify(Box::new(target))),
        Some(Stage::Smoke) => reader.smoke().map(|request| Request::Smoke(Box::new(request))),
        // Post does what recover does, for the server folder of its own main step.
        Some(stage) if post.is_some() || stage == Stage::Recover => {
            reader.recover(stage, post).map(|request| Request::Recover(Box::new(request)))
        }
        Some(Stage::Fix) => reader.fix().map(|request| Request::Fix(Box::new(request))),
        Some(Stage::Rollback) => reader.rollback().map(|request| Request::Rollback(Box::new(request))),
        Some(stage) => reader.deploy(stage).map(|request| Request::Deploy(Box::new(request))),
        None => None,
    };
    reader.read("report-dir", |text| local::resolve(&raw.workspace, text));
    reader.look_at_the_rest(stage);
    common.secrets.append(&mut reader.secrets);
    common.unreviewed = stage.and_then(|stage| unreviewed(raw, stage));
    match request {
        Some(request) if reader.problems.is_empty() => Ok((request, reader.warnings)),
        _ => Err(Problems::new(reader.problems, &common.secrets)),
    }
}

/// What the policy decides of this run, where an author without write access may have written it.
fn unreviewed(raw: &Raw<'_>, stage: Stage) -> Option<Unreviewed> {
    // A build's own gate sends nothing and knows no secret.
    let event = event::opened_by_others(raw.environment).filter(|_| stage != Stage::BuildGate)?;
    let used = |name: &str| table::find_policy_key(name).is_some_and(|input| input.used_by(stage.as_str()));
    let counts = |asked: &UnreviewedSetting| match asked.text {
        Some(_) => !table::HARMLESS.contains(&asked.input),
        // A line that is left out decides, too: the default branch may have one that restricts.
        None => !table::HARMLESS.contains(&asked.input) && used(asked.input),
    };
    let settings: Vec<UnreviewedSetting> = raw.asked_of_policy().into_iter().filter(counts).collect();
    if settings.is_empty() {
        return None;
    }
    let file = raw.policy().file.as_ref().map(|(file, _)| file.clone());
    let file = file.or_else(|| raw.given("config").map(|given| given.text));
    let mut reader = Reader { raw, problems: Vec::new(), warnings: Vec::new(), secrets: Vec::new() };
    let mut github = reader.github();
    // The policy that is compared must not decide which certificates vouch for the default branch's file.
    if let Some(github) = github.as_mut().filter(|_| raw.directly("ca-certificates").is_none()) {
        github.roots = Roots::default();
    }
    Some(Unreviewed { event, file: file.unwrap_or_else(|| policy::DEFAULT_PATH.to_owned()), settings, github })
}

/// The problem of a needed input that is not set.
const MISSING: &str = "is missing";

struct Reader<'r, 'e> {
    raw: &'r Raw<'e>,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    /// Secrets in other forms than they were given in, to be masked as well.
    secrets: Vec<Secret>,
}

impl Reader<'_, '_> {
    /// One input by one rule. `None` is "not given" or "wrong"; what is wrong, or missing though needed, has been noted.
    fn read<T>(&mut self, name: &str, rule: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        let Some(given) = self.raw.given(name) else {
            self.missing(name);
            return None;
        };
        self.apply(name, &given, rule)
    }

    fn apply<T>(&mut self, name: &str, given: &Given, rule: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        rule(&given.text)
            .map_err(|wrong| {
                self.problems
                    .push(Problem::new(name, wrong.problem, wrong.right).given(&given.text).at(given.location()))
            })
            .ok()
    }

    fn duration(&mut self, name: &str) -> Option<Duration> {
        match table::find_policy_key(name).map(|input| input.kind) {
            Some(Kind::Duration { min, max }) => self.read(name, |text| value::duration(text, min, max)),
            _ => None,
        }
    }

    fn count<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        match table::find_policy_key(name).map(|input| input.kind) {
            Some(Kind::Count { min, max }) => {
                self.read(name, |text| value::count(text, min, max)).and_then(|count| count.try_into().ok())
            }
            _ => None,
        }
    }

    /// Notes an input that is needed and was not given.
    fn missing(&mut self, name: &str) {
        let Some(input) = table::find(name).filter(|input| matches!(input.preset, Preset::Required | Preset::Needed))
        else {
            return;
        };
        // What a policy file says that cannot be read is not known to be missing.
        if input.policy && self.raw.policy_unread {
            return;
        }
        let flag = format!("`--{name}`");
        let right = match (self.raw.environment.in_actions(), input.policy) {
            (true, true) => format!("give it as `{name}:` in the step's `with:`, or in the policy file"),
            (true, false) => format!("give it as `{name}:` in the step's `with:`"),
            (false, true) => format!("give it as {flag}, or in the policy file"),
            (false, false) => format!("give it as {flag}"),
        };
        self.problems.push(Problem::new(name, MISSING, right));
    }

    /// A secret that is needed. An empty one has a few well-known causes, which only this error names (F29, F30).
    fn needed_secret(&mut self, name: &str, example: &str) -> Option<Secret> {
        if let Some(secret) = self.raw.secret(name) {
            return Some(secret.clone());
        }
        let variable = table::find(name).map(|input| input.shell_variable()).unwrap_or_default();
        let (problem, right) = match (self.raw.environment.in_actions(), self.raw.was_empty(name)) {
            (true, true) => (
                "is empty",
                format!(
                    "pass `{name}: {example}` in the step's `with:`, check that the secret exists under this name, and name the \
                     `environment:` that holds it in the job"
                ),
            ),
            (true, false) => ("is missing", format!("pass `{name}: {example}` in the step's `with:`")),
            (false, empty) => {
                (if empty { "is empty" } else { "is missing" }, format!("set {variable}, or give `--{name} @file`"))
            }
        };
        self.problems.push(Problem::new(name, problem, right));
        None
    }

    fn build_gate(&mut self) -> Option<BuildGate> {
        let workspace = self.raw.workspace.clone();
        let trigger = self.trigger(Stage::BuildGate);
        let source = self.read("source-dir", |text| source_dir(&workspace, text));
        let output = self.read("output-dir", |text| local::resolve(&workspace, text));
        let artifact_name = self.read("artifact-name", value::artifact);
        let shared = self.read("shared", value::folders);
        let front_end = self.front_end();
        if let (Some(source), Some(output)) = (&source, &output) {
            self.output_apart(source, output);
        }
        let trigger = trigger?;
        Some(BuildGate {
            artifact_name: artifact_name?.replace("{sha}", trigger.commit.as_str()),
            commit: trigger.commit,
            event: trigger.event,
            source: source?,
            output: output?,
            shared: shared?,
            front_end: front_end?,
            workspace,
            run: run_identity(self.raw),
        })
    }

    /// The folder for the bundle is left out of the bundle, so it may lie below the source, and not around it (F17).
    fn output_apart(&mut self, source: &std::path::Path, output: &std::path::Path) {
        if source.starts_with(output) {
            let shown = local::show(&self.raw.workspace, output);
            let problem = Problem::new(
                "output-dir",
                "is the bundled folder or a parent of it",
                "name a separate folder, such as `.gated-deploy`",
            );
            self.problems.push(problem.given(if shown.is_empty() { "." } else { &shown }));
        }
    }

    fn deploy(&mut self, stage: Stage) -> Option<Deploy> {
        let source = self.source(stage);
        let target = self.target(stage);
        let staging = match stage {
            Stage::DeployProduction => Some(self.staging()?),
            Stage::Preflight if self.knows_staging() => Some(self.staging()?),
            _ => None,
        };
        let mut target = target?;
        if let Some(typed::StagingServer { ssh, .. }) = staging.as_ref().and_then(|staging| staging.server.as_ref()) {
            self.each_host_has_its_key(&target.ssh, ssh);
        }
        target.server.backup_nginx = stage == Stage::DeployProduction;
        Some(Deploy { target, source: source?, staging })
    }

    /// A fingerprint without a host counts for any, so that the key of one server would pass as the other's (SE18).
    fn each_host_has_its_key(&mut self, here: &SshAccess, staging: &SshAccess) {
        let place = |ssh: &SshAccess| (ssh.host.to_ascii_lowercase(), ssh.port);
        if place(here) == place(staging) || !(here.known_hosts.has_bare() || staging.known_hosts.has_bare()) {
            return;
        }
        let (here, staging) = (host_name(&here.host, here.port), host_name(&staging.host, staging.port));
        let problem = format!(
            "has a fingerprint without a host, and this run connects to two servers, {here} and {staging}: the fingerprint would be accepted for both"
        );
        let right = format!("write the host before it: `{here} SHA256:...` and `{staging} SHA256:...`");
        let location = self.raw.given("ssh-known-hosts").and_then(|given| given.location());
        self.problems.push(Problem::new("ssh-known-hosts", problem, right).at(location));
    }

    /// Whether the address of staging is configured and staging is not the environment of this run.
    fn knows_staging(&self) -> bool {
        let given = self.raw.directly("staging-url").is_some() || self.raw.policy().section_has(STAGING, &["url"]);
        given && self.raw.given("environment").is_none_or(|environment| environment.text != STAGING)
    }

    /// What production asks of staging: the policy's section of that name, and the inputs whose names begin with `staging-`.
    fn staging(&mut self) -> Option<typed::Staging> {
        let stable_for = self.duration("staging-stable-for");
        let workflow = self.read("staging-workflow", value::workflow);
        let policy = self.raw.policy();
        if self.raw.directly("staging-url").is_none() && !policy.section_has(STAGING, &["url"]) {
            let right =
                "give it as `staging-url:`, or as `url:` in the section environments.staging of the policy file";
            self.problems.push(Problem::new("staging-url", "is missing", right));
            return None;
        }
        // Folders are never shared with production; a host may be, and then the section names the folder alone.
        let reachable = policy.section_has(STAGING, &["ssh-host", "base-dir"]);
        let mut inputs = vec![("staging-url", "url"), ("ca-certificates", "ca-certificates")];
        // The step's own lines are production's; they do for both where the policy has none for staging.
        if policy.entry(Some(STAGING), "ssh-known-hosts").is_none() {
            inputs.push(("ssh-known-hosts", "ssh-known-hosts"));
        }
        let raw = self.raw.seen_from(
            STAGING,
            &inputs,
            &[
                ("staging-healthcheck-token", "healthcheck-token"),
                ("staging-ssh-private-key", "ssh-private-key"),
                ("staging-ssh-passphrase", "ssh-passphrase"),
                ("ssh-private-key", "ssh-private-key"),
                ("ssh-passphrase", "ssh-passphrase"),
            ],
        );
        let mut reader = Reader { raw: &raw, problems: Vec::new(), warnings: Vec::new(), secrets: Vec::new() };
        let site = reader.site();
        let health = reader.probe(STAGING);
        let provenance = reader.provenance(Stage::DeployStaging);
        let server = if reachable {
            let (ssh, layout) = (reader.ssh(), reader.layout(STAGING));
            ssh.zip(layout).map(|(ssh, layout)| typed::StagingServer { ssh, layout })
        } else {
            None
        };
        let described = |name: &str| format!("staging: {name}");
        // An input of the step is production's: what is missing for staging belongs into its section.
        let missing = format!("give it in the section environments.{STAGING} of the policy file");
        self.problems.extend(reader.problems.into_iter().map(|problem| {
            let right = if problem.problem == MISSING { missing.clone() } else { problem.right.clone() };
            Problem { input: described(&problem.input), right, ..problem }
        }));
        self.warnings
            .extend(reader.warnings.into_iter().map(|warning| Warning { input: described(&warning.input), ..warning }));
        self.secrets.extend(reader.secrets);
        if reachable && server.is_none() {
            return None;
        }
        Some(typed::Staging {
            environment: STAGING.parse().ok()?,
            site: site?,
            health: health?,
            stable_for: stable_for?,
            workflow: workflow?,
            branches: provenance?.branches,
            server,
        })
    }

    fn source(&mut self, stage: Stage) -> Option<typed::Source> {
        let trigger = self.trigger(stage);
        let github = self.github();
        let build = self.build(stage, trigger.as_ref().and_then(|trigger| trigger.build_run));
        Some(typed::Source { commit: trigger?.commit, github: github?, build: build? })
    }

    fn target(&mut self, stage: Stage) -> Option<Target> {
        let environment = self.environment(stage);
        let name = environment.as_ref().map_or("staging", EnvironmentName::as_str).to_owned();
        let phrase = if stage == Stage::Fix { self.fix_phrase(&name) } else { self.phrase(&name) };
        let approval = self.approval(stage, phrase.as_deref());
        let needs_digest = self.read("approval-needs-digest", value::boolean);
        let plan_only = self.read("plan-only", value::boolean);
        let review = match self.raw.given("approval-review") {
            Some(given) => self.apply("approval-review", &given, value::one_line).map(Some),
            None => Some(None),
        };
        let ssh = self.ssh();
        let layout = self.layout(&name);
        let site = self.site();
        let health = self.health(&name);
        let server = self.server();
        let front_end = self.front_end();
        let insists = stage == Stage::Rollback;
        let ignore_schema_verdict =
            if insists { self.read("ignore-schema-verdict", value::boolean) } else { Some(false) };
        if let (Some(health), Some(server)) = (&health, &server) {
            self.time_to_confirm(health, server);
        }
        Some(Target {
            environment: environment?,
            approval: approval?,
            phrase: phrase?,
            needs_digest: needs_digest?,
            plan_only: plan_only?,
            review: review?,
            ssh: ssh?,
            layout: layout?,
            site: site?,
            health: health?,
            server: server?,
            front_end: front_end?,
            ignore_schema_verdict: ignore_schema_verdict?,
            policy: self.raw.policy().file.as_ref().map(|(_, digest)| digest.clone()),
            run: run_identity(self.raw),
        })
    }

    fn rollback(&mut self) -> Option<Rollback> {
        let target = self.target(Stage::Rollback);
        let to = match self.raw.given("rollback-to") {
            Some(given) => self.apply("rollback-to", &given, value::release).map(Some),
            None => Some(None),
        };
        Some(Rollback { target: target?, to: to? })
    }

    fn recover(&mut self, stage: Stage, own: Option<Interrupted>) -> Option<Recover> {
        // The main step has read the approval; the rollback of the post step needs none.
        let mut target = self.target(stage)?;
        if own.is_some() {
            (target.approval, target.plan_only) = (Approval::Missing, false);
        }
        Some(Recover { target, own })
    }

    fn smoke(&mut self) -> Option<Smoke> {
        let environment = self.environment(Stage::Smoke);
        let name = environment.as_ref().map_or("staging", EnvironmentName::as_str).to_owned();
        let site = self.site();
        let probe = self.probe(&name);
        let tunnelled = self.raw.given("health-via").is_some_and(|given| given.text == TUNNEL);
        let ssh = if tunnelled { Some(self.ssh()?) } else { None };
        let front_end = self.front_end()?;
        let run = run_identity(self.raw);
        Some(Smoke { environment: environment?, site: site?, health: probe?, front_end, ssh, run })
    }

    fn audit(&mut self) -> Option<typed::Audit> {
        let environment = self.environment(Stage::Audit);
        let github = self.github();
        // A key, or a host in the step itself, asks for an audit of the server; a host in the policy is there for other stages as well.
        let server = self.raw.directly("ssh-host").is_some() || self.raw.secret("ssh-private-key").is_some();
        let target = if server { Some(self.target(Stage::Audit)) } else { None };
        let commit = match self.raw.given("sha") {
            Some(given) => Some(self.apply("sha", &given, value::commit)?),
            // Whatever starts an audit, a schedule too: there is always a commit that is checked out.
            None => self.raw.environment.text("GITHUB_SHA").and_then(|text| text.parse().ok()),
        };
        let build = self.read("build-workflow", value::workflow);
        let staging = self.read("staging-workflow", value::workflow);
        let production = self.read("production-workflow", value::workflow);
        let artifact_name = self.read("artifact-name", value::artifact);
        let required = self.read("required-checks", |text| Ok(value::lines(text).map(str::to_owned).collect()));
        let main = self.read("main-branch", value::one_line);
        let develop = self.read("develop-branch", value::one_line);
        Some(typed::Audit {
            environment: environment?,
            github: github?,
            target: match target {
                Some(target) => Some(target?),
                None => None,
            },
            commit,
            workspace: self.raw.workspace.clone(),
            workflows: typed::AuditedWorkflows { build: build?, staging: staging?, production: production? },
            artifact_name: artifact_name?,
            required_checks: required?,
            main: main?,
            develop: develop?,
            run: run_identity(self.raw),
        })
    }

    fn fix(&mut self) -> Option<typed::Fix> {
        let words = FixName::ALL.map(FixName::as_str);
        let name = self.read("fix", |text| value::one_of(text, &words).map(str::to_owned));
        let name: Option<FixName> = name.and_then(|name| name.parse().ok());
        let environment = self.environment(Stage::Fix);
        let of = environment.as_ref().map_or("production", EnvironmentName::as_str).to_owned();
        let (github, target) = match name {
            Some(name) => (
                if name.at_github() { Some(self.github()) } else { None },
                if name.on_server() { Some(self.target(Stage::Fix)) } else { None },
            ),
            None => (None, None),
        };
        // A target has read all of these.
        let needs_digest = self.read("approval-needs-digest", value::boolean);
        let (phrase, approval, plan_only) = match &target {
            Some(Some(target)) => (Some(target.phrase.clone()), Some(target.approval.clone()), Some(target.plan_only)),
            Some(None) => return None,
            None => {
                let phrase = self.fix_phrase(&of);
                let approval = self.approval(Stage::Fix, phrase.as_deref());
                (phrase, approval, self.read("plan-only", value::boolean))
            }
        };
        let build_workflow = self.read("build-workflow", value::workflow);
        let staging_workflow = self.read("staging-workflow", value::workflow);
        let artifact_name = self.read("artifact-name", value::artifact);
        let wait_attempts = self.count("build-wait-attempts");
        let wait_interval = self.duration("build-wait-interval");
        let required = self.read("required-checks", |text| Ok(value::lines(text).map(str::to_owned).collect()));
        let main = self.read("main-branch", value::one_line);
        let develop = self.read("develop-branch", value::one_line);
        let secret = match self.raw.given(table::HEALTH_SECRET) {
            Some(given) => self.apply(table::HEALTH_SECRET, &given, value::health_secret_name),
            // One secret for both sites would make each fix break the other.
            None if of == "production" => Some("PRODUCTION_HEALTHCHECK_TOKEN".to_owned()),
            None => Some("HEALTHCHECK_TOKEN".to_owned()),
        };
        Some(typed::Fix {
            name: name?,
            environment: environment?,
            approval: approval?,
            phrase: phrase?,
            needs_digest: needs_digest?,
            plan_only: plan_only?,
            github: match github {
                Some(github) => Some(github?),
                None => None,
            },
            target: target.flatten(),
            workspace: self.raw.workspace.clone(),
            build_workflow: build_workflow?,
            staging_workflow: staging_workflow?,
            artifact_name: artifact_name?,
            wait_attempts: wait_attempts?,
            wait_interval: wait_interval?,
            required_checks: required?,
            main: main?,
            develop: develop?,
            secret: secret?,
            run: run_identity(self.raw),
        })
    }

    /// The approval phrase of a fix, which must approve nothing else.
    fn fix_phrase(&mut self, environment: &str) -> Option<String> {
        let phrase = self.read(table::FIX_PHRASE, value::phrase)?;
        let policy = self.raw.policy();
        let others = policy.entries().filter(|(input, _)| input.name == table::APPROVAL_PHRASE);
        let mut taken: Vec<String> = others.map(|(_, entry)| entry.text.clone()).collect();
        taken.extend(self.phrase(environment));
        if taken.contains(&phrase) {
            let location = self.raw.given(table::FIX_PHRASE).and_then(|given| given.location());
            let right = format!("set {} or {} to another phrase", table::FIX_PHRASE, table::APPROVAL_PHRASE);
            let problem = Problem::new(table::FIX_PHRASE, "is also the approval phrase of a release", right);
            self.problems.push(problem.given(&phrase).at(location));
            return None;
        }
        Some(phrase)
    }

    fn trigger(&mut self, stage: Stage) -> Option<event::Trigger> {
        let sha = match self.raw.given("sha") {
            Some(given) => Some(self.apply("sha", &given, value::commit)?),
            None => None,
        };
        event::resolve(self.raw.environment, stage, sha).map_err(|problem| self.problems.push(problem)).ok()
    }

    fn environment(&mut self, stage: Stage) -> Option<EnvironmentName> {
        let default = stage.default_environment().unwrap_or_default();
        let known: Vec<&str> = self.raw.policy().environments().collect();
        let rule = |text: &str| {
            let name = value::environment(text)?;
            let right = |right: String| Wrong { problem: String::new(), right };
            let other = match (stage, text) {
                (Stage::DeployStaging, "production") => Some(Stage::DeployProduction),
                (Stage::DeployProduction, "staging") => Some(Stage::DeployStaging),
                _ => None,
            };
            if let Some(other) = other {
                return Err(Wrong {
                    problem: format!("is not an environment of {stage}"),
                    ..right(format!("use the stage {other} for {text}"))
                });
            }
            // Settings of the top level alone would send a mistyped environment to some server (F45).
            if !known.is_empty() && text != default && !known.contains(&text) {
                return Err(Wrong {
                    problem: "has no section in the policy file".to_owned(),
                    ..right(format!("name one of `{}`", known.join("`, `")))
                });
            }
            Ok(name)
        };
        match self.raw.given("environment") {
            Some(given) => self.apply("environment", &given, rule),
            None => default.parse().ok(),
        }
    }

    /// The approval phrase of this environment.
    fn phrase(&mut self, environment: &str) -> Option<String> {
        match self.raw.given(table::APPROVAL_PHRASE) {
            Some(given) => self.apply(table::APPROVAL_PHRASE, &given, value::phrase),
            None if environment == "production" => Some("PROD-DEPLOY FREIGEGEBEN".to_owned()),
            None => Some("STAGING-TEST FREIGEGEBEN".to_owned()),
        }
    }

    fn approval(&mut self, stage: Stage, phrase: Option<&str>) -> Option<Approval> {
        // A recovery only rolls back an unconfirmed release, so there is no plan to approve.
        let digest_needed = self.read("approval-needs-digest", value::boolean)? && stage != Stage::Recover;
        let given = self.raw.given("approval").map(|given| given.text).unwrap_or_default();
        let approval = Approval::read(&given, phrase?);
        if digest_needed && approval == (Approval::Given { plan_digest: None }) {
            let right = "run it without `approval`, then copy the phrase with the digest from the section `Approve this plan` of the job summary";
            self.problems
                .push(Problem::new("approval", "has no plan digest, and the policy requires one", right).given(&given));
            return None;
        }
        Some(approval)
    }

    /// Authorities that are trusted besides the public ones, as text or from a file of the workspace.
    fn roots(&mut self) -> Option<Roots> {
        const NAME: &str = "ca-certificates";
        let Some(given) = self.raw.given(NAME) else { return Some(Roots::default()) };
        let read = if given.text.contains("-----BEGIN") {
            Roots::parse(&given.text).map_err(|bad| (bad.to_string(), false))
        } else {
            self.roots_of_file(&given.text).map_err(|problem| (problem, true))
        };
        let (problem, shown) = match read {
            Ok(roots) => return Some(roots),
            Err(wrong) => wrong,
        };
        // The site and the API both read it; a mistake is reported once.
        if !self.problems.iter().any(|known| known.input == NAME) {
            let right = "give certificates in PEM (`-----BEGIN CERTIFICATE-----`), or the path of a file with them in the workspace";
            let problem = Problem::new(NAME, problem, right).at(given.location());
            self.problems.push(if shown { problem.given(&given.text) } else { problem });
        }
        None
    }

    fn roots_of_file(&self, text: &str) -> Result<Roots, String> {
        if let Some(event) = event::opened_by_others(self.raw.environment) {
            return Err(format!("names a file that an unreviewed branch may have written: this is {event}"));
        }
        let path = local::resolve(&self.raw.workspace, text).map_err(|wrong| wrong.problem)?;
        let bytes = fs::read(&path).map_err(|error| format!("cannot be read: {error}"))?;
        Roots::parse(&String::from_utf8_lossy(&bytes)).map_err(|bad| format!("is not a file of certificates: {bad}"))
    }

    fn github(&mut self) -> Option<GithubAccess> {
        let roots = self.roots();
        let token = self.needed_secret("github-token", "${{ github.token }}");
        let api = self.raw.environment.text("GITHUB_API_URL").unwrap_or("https://api.github.com").trim_end_matches('/');
        let api_url = Url::parse(api)
            .map_err(|error| format!("is not a URL ({error})"))
            .and_then(|url| match (url.scheme(), url.has_host()) {
                ("https" | "http", true) => Ok(url),
                _ => Err("is not an http or https address".to_owned()),
            })
            .map_err(|problem| {
                let problem = Problem::new(
                    "GITHUB_API_URL",
                    problem,
                    "set it to `https://api.github.com`, or to GitHub Enterprise's address with `/api/v3`",
                );
                self.problems.push(problem.given(api));
            })
            .ok();
        let repository = self.raw.environment.text("GITHUB_REPOSITORY").unwrap_or_default();
        let (owner, name) = match repository.split_once('/') {
            Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => {
                (owner.to_owned(), name.to_owned())
            }
            _ => {
                let problem = if repository.is_empty() { "is not set" } else { "is not a repository's full name" };
                let problem =
                    Problem::new("GITHUB_REPOSITORY", problem, "set this variable to owner/name, such as `acme/shop`");
                self.problems.push(if repository.is_empty() { problem } else { problem.given(repository) });
                return None;
            }
        };
        Some(GithubAccess { api_url: api_url?, roots: roots?, token: token?, owner, repository: name })
    }

    /// What a build must be of. What may go to production may go to staging, so that a repository with one branch needs no setting.
    fn provenance(&mut self, stage: Stage) -> Option<Provenance> {
        let main = self.read("main-branch", value::one_line);
        let develop = self.read("develop-branch", value::one_line);
        let branches = match self.raw.given("release-branches") {
            Some(given) => self.apply("release-branches", &given, value::refs).map(Some),
            None => Some(None),
        };
        let tags = match self.raw.given("release-tags") {
            Some(given) => self.apply("release-tags", &given, value::refs),
            None => Some(Vec::new()),
        };
        let attestation = self.read("require-attestation", value::boolean);
        let (main, develop) = (main?, develop?);
        let production = match stage {
            Stage::DeployProduction => true,
            Stage::DeployStaging => false,
            _ => self.raw.given("environment").is_none_or(|environment| environment.text != STAGING),
        };
        let default = if production { vec![main] } else { vec![develop.clone(), main] };
        Some(Provenance {
            branches: branches?.unwrap_or(default),
            built_on: if production { vec![develop] } else { Vec::new() },
            tags: tags?,
            attestation: attestation?,
        })
    }

    /// `of_event` is the build run that started this run.
    fn build(&mut self, stage: Stage, of_event: Option<u64>) -> Option<BuildSource> {
        let workflow = self.read("build-workflow", value::workflow);
        let artifact = self.read("artifact-name", value::artifact);
        let run_id = match self.raw.given("build-run-id") {
            Some(given) => self.apply("build-run-id", &given, value::run_id).map(Some),
            None => Some(of_event),
        };
        let wait_attempts = self.count("build-wait-attempts");
        let wait_interval = self.duration("build-wait-interval");
        let provenance = self.provenance(stage);
        Some(BuildSource {
            workflow: workflow?,
            run_id: run_id?,
            artifact_id: None,
            artifact_name: artifact?,
            wait_attempts: wait_attempts?,
            wait_interval: wait_interval?,
            provenance: provenance?,
        })
    }

    fn ssh(&mut self) -> Option<SshAccess> {
        let host = self.read("ssh-host", value::host);
        let port = self.count("ssh-port");
        let user = self.read("ssh-user", value::user);
        let key = self.private_key();
        let known_hosts = self.known_hosts();
        if let (Some(host), Some(port), Some(known_hosts)) = (&host, port, &known_hosts) {
            self.host_is_known(host, port, known_hosts);
        }
        Some(SshAccess { host: host?, port: port?, user: user?, key: key?, known_hosts: known_hosts? })
    }

    /// No line for the server is the same as a wrong key, and can be told before any connection (F38).
    fn host_is_known(&mut self, host: &str, port: u16, known_hosts: &KnownHosts) {
        if known_hosts.key_types_for(host, port).is_empty() {
            let name = host_name(host, port);
            let location = self.raw.given("ssh-known-hosts").and_then(|given| given.location());
            let right = format!(
                "add the line that begins with `{name}`, or the `SHA256:` fingerprint of the server's host key"
            );
            let problem = format!("has no host key of a usable type for {name}");
            self.problems.push(Problem::new("ssh-known-hosts", problem, right).at(location));
        }
    }

    fn layout(&mut self, environment: &str) -> Option<Layout> {
        let base = self.read("base-dir", value::base_dir);
        let env_file = match self.raw.given("env-file") {
            Some(given) => self.apply("env-file", &given, value::relative),
            None => Some(format!("shared/.env/{environment}.env")),
        };
        Some(Layout::new(base?, &env_file?))
    }

    fn site(&mut self) -> Option<SiteAccess> {
        let roots = self.roots();
        let url = self.read("url", value::site);
        if let Some(url) = url.as_ref().filter(|url| url.scheme() == "http") {
            let shown = url.as_str().trim_end_matches('/');
            let text = format!("`{shown}` is plain http: the health token and every page are sent unencrypted");
            let right = "Set `url` to the https address, unless the site is on this machine or network.";
            self.warned(&general::URL_UNENCRYPTED, "url", text, right);
        }
        let via = self.read("health-via", |text| value::one_of(text, &["direct", TUNNEL]));
        let address = match self.raw.given("health-address") {
            Some(given) => self.apply("health-address", &given, value::address).map(Some),
            None => Some(None),
        };
        let url = url?;
        let route = match (via?, address?) {
            (TUNNEL, Some(address)) => Route::Tunnel { host: address.ip().to_string(), port: address.port() },
            (TUNNEL, None) => Route::Tunnel { host: "127.0.0.1".to_owned(), port: url.port_or_known_default()? },
            (_, Some(address)) => Route::Address(address),
            (_, None) => Route::Direct,
        };
        Some(SiteAccess { url, route, roots: roots? })
    }

    fn front_end(&mut self) -> Option<FrontEnd> {
        let named = self.read("front-end", |text| value::one_of(text, &["vite", "none"]))?;
        Some(if named == "none" { FrontEnd::None } else { FrontEnd::Vite })
    }

    fn health(&mut self, environment: &str) -> Option<HealthPolicy> {
        let probe = self.probe(environment);
        let grace = self.grace();
        let repair = self.read("repair", value::boolean);
        // Failed requests of the grace period are allowed, unless the policy says otherwise.
        let max_downtime = match self.raw.given("max-downtime") {
            Some(_) => self.duration("max-downtime"),
            None => grace.map(|grace| grace.longest().max(LEAST_DOWNTIME)),
        };
        let sample_rate = self.count("sample-rate");
        let warm_up = match self.raw.given("warm-up") {
            Some(given) => self.apply("warm-up", &given, value::warm_up),
            None => Some(Vec::new()),
        };
        Some(HealthPolicy {
            grace: grace?,
            repair: repair?,
            max_downtime: max_downtime?,
            sample_rate: sample_rate?,
            warm_up: warm_up?,
            ..probe?
        })
    }

    fn grace(&mut self) -> Option<Grace> {
        let wait = match table::find("grace-period").map(|input| input.kind) {
            Some(Kind::Grace { min, max }) => self.read("grace-period", |text| value::grace(text, min, max)),
            _ => None,
        };
        let samples = self.count("stable-samples");
        let within = self.duration("stable-within");
        Some(match wait? {
            Some(time) => Grace::Wait(time),
            None => Grace::UntilStable { samples: samples?, within: within? },
        })
    }

    /// How a site is asked, without what only a release needs.
    fn probe(&mut self, environment: &str) -> Option<HealthPolicy> {
        let paths = match self.raw.given("health-paths") {
            Some(given) => self.apply("health-paths", &given, value::health_paths),
            None => Some(default_health_paths(environment)),
        };
        let (paths, answers): (Option<Vec<String>>, BTreeMap<_, _>) = match paths {
            Some(paths) => {
                let answers = paths.iter().filter_map(|(path, answer)| Some((path.clone(), answer.clone()?))).collect();
                (Some(paths.into_iter().map(|(path, _)| path).collect()), answers)
            }
            None => (None, BTreeMap::new()),
        };
        let home = self.read("home-path", value::home);
        let expect = self.read("health-expect", value::words);
        let attempts = self.count("health-attempts");
        let interval = self.duration("health-interval");
        Some(HealthPolicy {
            token: self.raw.secret("healthcheck-token").cloned(),
            paths: paths?,
            answers,
            home: home?,
            expect: expect?,
            attempts: attempts?,
            interval: interval?,
            grace: Grace::Wait(Duration::ZERO),
            repair: false,
            max_downtime: Duration::ZERO,
            sample_rate: 0,
            warm_up: Vec::new(),
        })
    }

    fn server(&mut self) -> Option<ServerPolicy> {
        let php = self.read("php", value::program);
        let fpm_service = self.read("php-fpm-service", value::service);
        let migrate = self.read("migrate", value::boolean);
        // Accepted and checked, without effect: a plan runs no code of the release.
        self.read("preview-sql", value::boolean)?;
        let keep_releases = self.count("keep-releases");
        let keep_backups = self.count("keep-backups");
        let backup_copy = self.backup_copy();
        let confirm_within = self.duration("confirm-within");
        let lock_wait = self.duration("lock-wait");
        let shared = self.read("shared", value::folders);
        let delivery = self.read("delivery", |text| value::one_of(text, &["auto", "full"]));
        let hooks = self.hooks();
        Some(ServerPolicy {
            php: php?,
            fpm_service: fpm_service?,
            migrate: migrate?,
            keep_releases: keep_releases?,
            keep_backups: keep_backups?,
            backup_copy: backup_copy?,
            confirm_within: confirm_within?,
            lock_wait: lock_wait?,
            backup_nginx: false,
            shared: shared?,
            delivery: if delivery? == "full" { Delivery::Full } else { Delivery::Auto },
            hooks: hooks?,
        })
    }

    /// The commands that run at certain moments. None of their words may have a secret of this run in it: words stand in plan, log and list of
    /// processes.
    fn hooks(&mut self) -> Option<Hooks> {
        let Some(given) = self.raw.given("hooks") else { return Some(Hooks::default()) };
        let hooks = self.apply("hooks", &given, value::hooks)?;
        let mut secrets = self.raw.secrets().flat_map(Secret::mask_lines).filter(|secret| secret.len() >= 4);
        if !secrets.any(|secret| hooks.words().any(|word| word.contains(secret))) {
            return Some(hooks);
        }
        let right = "put the value into the app's .env under a name, and pass that: `env: [NAME]`. Replace the secret, because it was readable in a file";
        self.problems
            .push(Problem::new("hooks", "has a word with a secret of this run in it", right).at(given.location()));
        None
    }

    /// Where off-site backups go. `required` without a folder is an error.
    fn backup_copy(&mut self) -> Option<Option<BackupCopy>> {
        let required = self.read("backup-copy", |text| value::one_of(text, &["advisory", REQUIRED]))? == REQUIRED;
        let within = self.duration("backup-copy-within")?;
        let Some(given) = self.raw.given("backup-copy-dir") else {
            if required {
                let location = self.raw.given("backup-copy").and_then(|given| given.location());
                let right = "set `backup-copy-dir` to a folder on another disk or machine, or remove `backup-copy`";
                let problem = Problem::new(
                    "backup-copy",
                    "needs a folder for the off-site backup, and `backup-copy-dir` is not set",
                    right,
                );
                self.problems.push(problem.given(REQUIRED).at(location));
                return None;
            }
            return Some(None);
        };
        let dir = self.apply("backup-copy-dir", &given, value::elsewhere)?;
        let base = self.raw.given("base-dir").and_then(|given| value::base_dir(&given.text).ok());
        let inside = |base: &RemotePath| dir.as_str() == base.as_str() || dir.as_str().starts_with(&format!("{base}/"));
        if base.as_ref().is_some_and(inside) {
            let right = "name a folder on another disk or machine, so that a lost disk does not lose both";
            self.problems.push(
                Problem::new("backup-copy-dir", "is inside base-dir", right).given(&given.text).at(given.location()),
            );
            return None;
        }
        Some(Some(BackupCopy { dir, required, within }))
    }

    /// The watchdog must not roll back while the health check may still run.
    fn time_to_confirm(&mut self, health: &HealthPolicy, server: &ServerPolicy) {
        let hooks = server.hooks.time(Moment::AfterSwitch);
        let asking = health
            .grace
            .longest()
            .saturating_add(health.interval.saturating_mul(health.attempts))
            .saturating_add(hooks)
            .saturating_add(WARM_UP_PAGE.saturating_mul(u32::try_from(health.warm_up.len()).unwrap_or(u32::MAX)));
        if server.confirm_within < asking {
            let shown = value::show_seconds(server.confirm_within.as_secs());
            let (and, or) = match hooks.is_zero() {
                true => ("", ""),
                false => (", plus the time limits of the hooks after the switch", ", or `within` of these hooks"),
            };
            let pages = if health.warm_up.is_empty() { "" } else { ", plus 10 s for each page of warm-up" };
            let right = format!(
                "set it to at least {}, or lower health-attempts or health-interval{or}",
                value::show_seconds(asking.as_secs())
            );
            let location = self.raw.given("confirm-within").and_then(|given| given.location());
            let problem = Problem::new(
                "confirm-within",
                format!("is shorter than grace-period plus health-attempts times health-interval{and}{pages}"),
                right,
            );
            self.problems.push(problem.given(&shown).at(location));
        }
    }

    fn private_key(&mut self) -> Option<PrivateKey> {
        let text = self.needed_secret("ssh-private-key", "${{ secrets.STAGING_SSH_KEY }}")?;
        match PrivateKey::parse(&text, self.raw.secret("ssh-passphrase")) {
            Ok(key) => {
                // A key that came in base64, or with `\n` as text, has lines of its own once it is repaired.
                self.secrets.push(key.pem().clone());
                Some(key)
            }
            Err(problem) => {
                self.problems.push(Problem::new("ssh-private-key", problem.to_string(), problem.hint()));
                None
            }
        }
    }

    fn known_hosts(&mut self) -> Option<KnownHosts> {
        let Some(given) = self.raw.given("ssh-known-hosts") else {
            self.missing("ssh-known-hosts");
            return None;
        };
        match KnownHosts::parse(&given.text) {
            Ok(hosts) => Some(hosts),
            Err(wrong) => {
                for LineProblem { line, problem } in wrong {
                    let problem = if line == 0 { problem } else { format!("line {line}: {problem}") };
                    self.problems.push(Problem::new("ssh-known-hosts", problem, "").at(given.location()));
                }
                None
            }
        }
    }

    fn warned(&mut self, code: &Code, input: &str, text: String, right: &str) {
        let location = self.raw.given(input).and_then(|given| given.location());
        let (input, right) = (input.to_owned(), right.to_owned());
        self.warnings.push(Warning { code: code.name, input, text, right, location });
    }

    /// What this stage does not use is checked all the same, so that a mistake does not wait for the stage that uses it.
    /// In the policy file it is expected; given to this step it is a warning.
    fn look_at_the_rest(&mut self, stage: Option<Stage>) {
        for input in INPUTS.iter().filter(|input| stage.is_none_or(|stage| !input.used_by(stage.as_str()))) {
            let Some(given) = self.raw.directly(input.name) else { continue };
            if input.kind != Kind::Stage {
                self.apply(input.name, given, |text| value::check(input.kind, text));
            }
            let to_this_step = match &given.source {
                Source::Flag => true,
                Source::Variable(name) => name.starts_with("INPUT_"),
                Source::Policy(_) | Source::Preset => false,
            };
            if let Some(stage) = stage.filter(|_| to_this_step) {
                let right = "Remove it, or move it to the policy file if another stage needs it.";
                self.warned(&general::INPUT_UNUSED, input.name, format!("{stage} does not use this input"), right);
            }
        }
        for (input, entry) in self.raw.policy().entries() {
            let described =
                |problem: &Problem| problem.input == input.name && problem.location.as_deref() == Some(&entry.location);
            if !self.problems.iter().any(described) {
                let given = Given { text: entry.text.clone(), source: Source::Policy(entry.location.clone()) };
                self.apply(input.name, &given, |text| value::check(input.kind, text));
            }
        }
    }
}

/// A server as a line of known hosts begins with it.
fn host_name(host: &str, port: u16) -> String {
    if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }
}

fn source_dir(workspace: &std::path::Path, text: &str) -> Result<PathBuf, Wrong> {
    let path = local::resolve(workspace, text)?;
    match path.is_dir() {
        true => Ok(path),
        false => Err(Wrong {
            problem: "is not a folder".to_owned(),
            right: "name the folder of the built app, and check out and build it before this step".to_owned(),
        }),
    }
}

/// So long one page of `warm-up` may take after the reload.
const WARM_UP_PAGE: Duration = Duration::from_secs(10);
/// The least default of max-downtime.
const LEAST_DOWNTIME: Duration = Duration::from_secs(5);

fn default_health_paths(environment: &str) -> Vec<value::HealthPath> {
    let paths: &[&str] =
        if environment == "production" { &["/health"] } else { &["/health", "/api/health-check", "/healthcheck.php"] };
    paths.iter().map(|path| ((*path).to_owned(), None)).collect()
}

fn run_identity(raw: &Raw<'_>) -> RunIdentity {
    let environment = raw.environment;
    if !environment.in_actions() {
        let actor = environment.text("USER").or_else(|| environment.text("LOGNAME")).map(str::to_owned);
        return RunIdentity { actor, ..RunIdentity::default() };
    }
    let id = environment.text("GITHUB_RUN_ID").and_then(|text| text.parse().ok());
    let url = match (environment.text("GITHUB_SERVER_URL"), environment.text("GITHUB_REPOSITORY"), id) {
        (Some(server), Some(repository), Some(id)) => {
            Some(format!("{}/{repository}/actions/runs/{id}", server.trim_end_matches('/')))
        }
        _ => None,
    };
    let actor =
        environment.text("GITHUB_TRIGGERING_ACTOR").or_else(|| environment.text("GITHUB_ACTOR")).map(str::to_owned);
    let authors = ["GITHUB_ACTOR", "GITHUB_TRIGGERING_ACTOR"].into_iter().filter_map(|name| environment.text(name));
    let authors = authors.map(str::to_owned).collect();
    RunIdentity {
        url,
        authors,
        id,
        attempt: environment.text("GITHUB_RUN_ATTEMPT").and_then(|text| text.parse().ok()),
        actor,
    }
}
