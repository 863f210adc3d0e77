//! `audit`: what GitHub and the server look like, as findings; only read, and never guessed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use gated_deploy::stages::{audit::catalogue::CHECKS, shared::diagnose::SIGNATURES};
use gated_deploy_lab::{
    Environment, Options,
    github::{Artifact, Branch, Fault, GitHub, Host, Job, Phase, Protection, Refusal, Run, Times},
    runner::{Finished, Runner, declared_from_action_yml},
    story::{Story, commit},
};
use serde_json::{Value, json};

use crate::support::{BINARY, assert_ended, assert_says, output, root, story, story_on};

pub(crate) const BUILD: &str = ".github/workflows/build-artifacts.yml";
pub(crate) const STAGING: &str = ".github/workflows/deploy-staging.yml";
pub(crate) const PRODUCTION: &str = ".github/workflows/deploy-production.yml";
pub(crate) const GATES: [&str; 6] =
    ["build-frontend", "build-backend", "static-analysis", "run-tests", "create-deployment-bundle", "check-staging"];

/// A repository in which nothing is wrong, and its checkout.
pub(crate) struct Repository {
    pub(crate) github: GitHub,
    pub(crate) files: BTreeMap<String, String>,
    pub(crate) inputs: BTreeMap<&'static str, String>,
}

pub(crate) fn head() -> String {
    commit("the head of develop")
}

pub(crate) fn build_file() -> String {
    let jobs: String = GATES
        .iter()
        .map(|gate| format!("  {gate}:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v4\n      - name: Do {gate}\n        run: make {gate}\n"))
        .collect();
    format!("name: Build artifacts\non:\n  push:\n  pull_request:\n  workflow_dispatch:\njobs:\n{jobs}")
}

pub(crate) fn deploy_file(name: &str) -> String {
    format!(
        "name: {name}\non:\n  workflow_dispatch:\nconcurrency:\n  group: deploy\njobs:\n  deploy:\n    runs-on: ubuntu-24.04\n    steps:\n      \
         - uses: acme/gated-deploy@v1\n        with:\n          ssh-private-key: ${{{{ secrets.DEPLOY_KEY }}}}\n      \
         - uses: someone/notify@0123456789abcdef0123456789abcdef01234567\n"
    )
}

pub(crate) fn run(id: u64, path: &str, name: &str, sha: &str) -> Run {
    Run {
        path: path.to_owned(),
        name: Some(name.to_owned()),
        head_branch: Some("develop".to_owned()),
        ..Run::green(id, sha)
    }
}

pub(crate) fn checks(names: &[&str], strict: bool) -> Value {
    let names: Vec<Value> = names.iter().map(|name| json!({ "context": name })).collect();
    json!({ "type": "required_status_checks", "parameters": { "required_status_checks": names, "strict_required_status_checks_policy": strict } })
}

pub(crate) fn reviews(count: u64) -> Value {
    json!({ "type": "pull_request", "parameters": {
        "dismiss_stale_reviews_on_push": true, "require_code_owner_review": false, "require_last_push_approval": false,
        "required_approving_review_count": count, "required_review_thread_resolution": false,
    } })
}

pub(crate) fn bundle(expires: &str) -> Artifact {
    let name = format!("deployment-bundle-{}", head());
    Artifact { expires_at: Some(expires.to_owned()), ..Artifact::zip(901, 900, &name, b"a zip".to_vec()) }
}

/// The jobs of a build, each of which did something.
pub(crate) fn jobs() -> Vec<Job> {
    GATES
        .iter()
        .map(|gate| Job::of(gate, "success", &[("Set up job", "success"), (&format!("Do {gate}"), "success")]))
        .collect()
}

impl Repository {
    pub(crate) fn new() -> Self {
        Self::on(GitHub::start([127, 0, 0, 1].into()))
    }

    fn on(github: GitHub) -> Self {
        fill(&github);
        let files = [
            (BUILD, build_file()),
            (STAGING, deploy_file("Deploy to staging")),
            (PRODUCTION, deploy_file("Deploy to production")),
        ];
        Self { github, files: files.map(|(path, text)| (path.to_owned(), text)).into(), inputs: BTreeMap::new() }
    }

    fn edit(&mut self, path: &str, from: &str, to: &str) {
        let text = self.files.get_mut(path).unwrap_or_else(|| panic!("no file {path}"));
        assert!(text.contains(from), "no `{from}` in {path}:\n{text}");
        *text = text.replacen(from, to, 1);
    }

    pub(crate) fn runner(&self) -> Runner {
        let declared = declared_from_action_yml(root().join("action.yml")).expect("action.yml");
        let runner = Runner::new()
            .declared(&declared)
            .sha(&head())
            .ref_name("develop")
            .api_url(self.github.api_url())
            .secret(self.github.token())
            .event("schedule", json!({ "schedule": "0 5 * * *" }))
            .input("stage", "audit")
            .input("github-token", self.github.token());
        let runner = self.inputs.iter().fold(runner, |runner, (name, value)| runner.input(name, value));
        self.files.iter().fold(runner, |runner, (path, text)| runner.file(path, text))
    }

    pub(crate) fn audit(&self) -> Audited {
        Audited::of(self.runner())
    }
}

pub(crate) fn fill(github: &GitHub) {
    let main = commit("the head of main");
    github.add_commits(&[&main, &head()]);
    for (name, sha) in [("main", main.clone()), ("develop", head())] {
        github.add_branch(Branch { name: name.to_owned(), sha, protected: false });
    }
    github.protect("main", Some(Protection { contexts: GATES.map(str::to_owned).to_vec(), strict: true, reviews: 1 }));
    github.rules("develop", vec![checks(&GATES[..4], true), reviews(1)]);
    github.add_run(run(900, BUILD, "Build artifacts", &head()));
    github.jobs(900, jobs());
    github.add_artifact(bundle("2099-01-01T00:00:00Z"));
    github.add_run(run(910, STAGING, "Deploy to staging", &main));
    github.add_run(run(920, PRODUCTION, "Deploy to production", &main));
}

/// What an audit said.
pub(crate) struct Audited {
    pub(crate) finished: Finished,
    pub(crate) document: Value,
    report: String,
    sarif: Value,
}

impl Audited {
    pub(crate) fn of(runner: Runner) -> Self {
        let finished = runner.run_binary(BINARY);
        let read = |name: &str| {
            let path = output(&finished, name);
            assert!(!path.is_empty(), "no output {name}:\n{}", finished.raw_log);
            fs::read_to_string(runner.workspace().join(path)).expect("a report")
        };
        let document: Value = serde_json::from_str(&read("report-json")).expect("JSON");
        crate::evidence::valid(&document);
        let (report, sarif) = (read("report"), serde_json::from_str(&read("report-sarif")).expect("SARIF"));
        Self { finished, document, report, sarif }
    }

    #[track_caller]
    pub(crate) fn finding(&self, id: &str) -> &Value {
        let all = self.document["audit"]["findings"].as_array().expect("findings");
        let found = all.iter().find(|finding| finding["id"] == id);
        found.unwrap_or_else(|| panic!("no finding {id} in {all:#?}\n{}", self.finished.raw_log))
    }

    pub(crate) fn status(&self, id: &str) -> &str {
        self.finding(id)["status"].as_str().unwrap_or_default()
    }

    pub(crate) fn with_status(&self, status: &str) -> BTreeSet<String> {
        let all = self.document["audit"]["findings"].as_array().expect("findings");
        all.iter()
            .filter(|finding| finding["status"] == status)
            .filter_map(|finding| finding["id"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// GO or NO-GO, and the reasons.
    pub(crate) fn verdict(&self, environment: &str) -> (bool, String) {
        let all = self.document["audit"]["verdicts"].as_array().expect("verdicts");
        let found = all.iter().find(|verdict| verdict["environment"] == environment).expect("a verdict");
        (found["go"].as_bool().expect("a decision"), found["reasons"].to_string())
    }

    /// The finding is not met, says so everywhere, and decides as its impact says.
    #[track_caller]
    fn assert_not_met(&self, id: &str, says: &str) {
        let finding = self.finding(id);
        let actual = finding["actual"].as_str().unwrap_or_default();
        assert_eq!(finding["status"], "not-met", "{id}: {finding:#}");
        assert!(actual.contains(says), "{id}: `{says}` is missing in: {actual}");
        assert!(finding["fix"].as_str().is_some_and(|fix| fix.len() > 8), "{id} has no fix: {finding:#}");
        assert!(finding["source"].as_str().is_some_and(|source| source.len() > 4), "{id} has no source");
        assert!(
            self.report.contains(&format!("(`{id}`)")) && self.finished.summary.contains(&format!("(`{id}`)")),
            "{id}"
        );
        let results = self.sarif["runs"][0]["results"].as_array().expect("results");
        let result = results.iter().find(|result| result["ruleId"] == *id).expect("a result");
        assert_eq!(result["kind"], "fail", "{id}");
        let here = self.finding("server-looked-at")["environment"].as_str().expect("an environment").to_owned();
        let about = finding["environment"].as_str().map(str::to_owned);
        let forbids = finding["impact"] == "P0" && about.is_none_or(|about| about == here);
        let (go, reasons) = self.verdict(&here);
        assert_eq!(reasons.contains(&format!("({id})")), forbids, "{id}: {reasons}");
        if forbids {
            assert!(!go && self.finished.exit_code == 1, "{id} forbids a release: {}", self.finished.raw_log);
            assert_says(&self.finished.summary, &["NO-GO"]);
        }
    }
}

/// What comes to nobody's sight with a job's own token.
const HIDDEN: [&str; 2] = ["secret-names", "server-looked-at"];

/// What goes wrong in a repository, and the finding that says so.
type Breakage = (&'static str, &'static str, fn(&mut Repository));

const BREAKAGES: &[Breakage] = &[
    ("main-protected", "is not protected", |repository| repository.github.protect("main", None)),
    ("main-required-checks", "does not require check-staging", |repository| {
        let contexts = GATES[..5].iter().map(|gate| (*gate).to_owned()).collect();
        repository.github.protect("main", Some(Protection { contexts, strict: true, reviews: 1 }));
    }),
    ("develop-required-checks", "requires 3", |repository| {
        repository.github.rules("develop", vec![checks(&GATES[..3], true), reviews(1)]);
    }),
    ("develop-up-to-date", "accepts branches that are behind", |repository| {
        repository.github.administrator(true);
        repository.github.rules("develop", vec![checks(&GATES[..4], false), reviews(1)]);
    }),
    ("develop-review", "accepts merges without a review", |repository| {
        repository.github.administrator(true);
        repository.github.rules("develop", vec![checks(&GATES[..4], true), reviews(0)]);
    }),
    ("duplicate-workflows", "`Build artifacts` is", |repository| {
        repository.github.add_workflow("Build artifacts", ".github/workflows/build2.yml");
    }),
    ("phantom-workflow", ".github/workflows/gone.yml", |repository| {
        repository.github.add_workflow("Gone", ".github/workflows/gone.yml");
    }),
    ("build-runs", "ended in failure", |repository| {
        repository
            .github
            .add_run(Run { phase: Phase::completed("failure"), ..run(930, BUILD, "Build artifacts", &commit("x")) });
    }),
    ("staging-runs", "ended in failure", |repository| {
        repository.github.edit_run(910, |run| run.phase = Phase::completed("failure"));
    }),
    ("staging-failures", "the server does not accept the key (F35)", |repository| {
        let failed = Run { phase: Phase::completed("failure"), ..run(931, STAGING, "Deploy to staging", &commit("x")) };
        repository.github.add_run(failed);
        repository.github.jobs(931, vec![Job::of("deploy", "failure", &[("Release", "failure")])]);
        repository.github.log(931, 0, "2026-01-05T09:00:00.1234567Z deploy@staging: Permission denied (publickey).\n");
    }),
    ("production-runs", "1 of the last 2 failed", |repository| {
        repository.github.add_run(Run {
            phase: Phase::completed("failure"),
            ..run(919, PRODUCTION, "Deploy to production", &commit("x"))
        });
    }),
    ("build-of-develop", "succeeded but has no artifact", |repository| {
        repository.github.edit_artifact(901, |artifact| artifact.name = "logs".to_owned());
    }),
    ("bundles-kept", "expires 2026-01-01", |repository| repository.github.add_artifact(bundle("2026-01-01T00:00:00Z"))),
    ("build-differs", "build-artifacts.yml differs between `main` and `develop`", |repository| {
        repository.github.compared("main...develop", &[(BUILD, "0123456789abcdef0123456789abcdef01234567")]);
    }),
    ("action-versions-differ", "is v1 on `main` and v2 on `develop`", |repository| {
        differing(repository, &deploy_file("Deploy to staging").replace("gated-deploy@v1", "gated-deploy@v2"));
    }),
    ("workflow-files", "never runs", |repository| {
        repository.files.insert(".github/workflows/.github/workflows/tests.yml".to_owned(), build_file());
    }),
    ("hollow-check", "job run-tests (check `run-tests`) only prints", |repository| {
        repository.edit(BUILD, "run: make run-tests", "run: echo tests ok");
    }),
    ("gate-continue-on-error", "job run-tests (check `run-tests`), step `Do run-tests`", |repository| {
        repository.edit(BUILD, "run: make run-tests", "run: make run-tests\n        continue-on-error: true");
    }),
    ("gate-or-true", "make run-tests || true", |repository| {
        repository.edit(
            BUILD,
            "run: make run-tests",
            "run: |\n          make prepare\n          make run-tests || true",
        );
    }),
    ("check-never-reports", "requires `lint`, but no workflow", |repository| {
        let mut required = GATES[..4].to_vec();
        required.push("lint");
        repository.github.rules("develop", vec![checks(&required, true), reviews(1)]);
    }),
    ("callee-not-callable", "which has no workflow_call trigger", |repository| {
        repository.files.insert(
            ".github/workflows/nightly.yml".to_owned(),
            format!("name: Nightly\non: [schedule]\njobs:\n  build:\n    uses: ./{BUILD}\n"),
        );
    }),
    ("dispatch-blocked", "no job runs then", |repository| {
        repository.edit(PRODUCTION, "  deploy:\n", "  deploy:\n    if: github.event_name == 'push'\n");
    }),
    ("build-path-filter", "runs only for some paths", |repository| {
        repository.edit(BUILD, "  push:\n", "  push:\n    paths: ['app/**']\n");
    }),
    ("unpinned-action", "someone/notify@v2", |repository| {
        repository.edit(STAGING, "notify@0123456789abcdef0123456789abcdef01234567", "notify@v2");
    }),
    ("missing-concurrency", "deploy-production.yml has no `concurrency`", |repository| {
        repository.edit(PRODUCTION, "concurrency:\n  group: deploy\n", "");
    }),
];

#[test]
fn f92_a_repository_in_order_gets_a_go_and_says_what_it_could_not_see() {
    let repository = Repository::new();
    let audited = repository.audit();
    assert_ended(&audited.finished, 0, "passed");
    assert_eq!(output(&audited.finished, "decision"), "go");
    // A row that is not green says what it is about.
    assert_says(&audited.finished.summary, &["10 of 11 passed; secret-names: the token has no right to read it"]);
    assert_eq!(audited.with_status("not-met"), BTreeSet::new());
    // Not met is one thing, not seen another: a job's own token does not see everything, and the audit says what would.
    assert_eq!(audited.with_status("unseen"), HIDDEN.map(str::to_owned).into());
    let secrets = audited.finding("secret-names");
    assert_says(&secrets["actual"].to_string(), &["the token has no right to read it"]);
    assert_says(&secrets["fix"].to_string(), &["secrets=read"]);
    assert_says(
        &audited.finished.summary,
        &["GO for production, by GitHub alone (the server was not looked at)", "GET /repos/acme/shop/branches/main"],
    );
    assert_eq!(audited.verdict("staging"), (true, "[]".to_owned()));
    assert!(output(&audited.finished, "report").contains("/AUDIT_"), "{}", output(&audited.finished, "report"));
    // An alert for each thing to look at, and a rule for each that was looked at.
    let results = audited.sarif["runs"][0]["results"].as_array().expect("results").clone();
    assert!(results.iter().all(|result| result["kind"] == "open" && result["level"] == "none"), "{results:#?}");
    assert_eq!(results.len(), HIDDEN.len());
    let results = audited.sarif["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules").len();
    assert_eq!(results, audited.document["audit"]["findings"].as_array().expect("findings").len());
    // A token that sees the names of secrets sees what is missing.
    repository.github.secrets(&["DEPLOY_KEY"]);
    assert_eq!(repository.audit().status("secret-names"), "met");
    repository.github.secrets(&["STAGING_SSH_KEY"]);
    let finding = repository.audit();
    assert_says(
        &finding.finding("secret-names")["actual"].to_string(),
        &["DEPLOY_KEY", "may belong to an environment"],
    );
    // Nothing but GET, and no protection was asked to change.
    assert!(repository.github.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn f1_f2_f7_f8_f10_f11_f12_f13_f14_f15_f16_each_thing_that_is_wrong_in_a_repository_is_found() {
    for (id, says, breaks) in BREAKAGES {
        let mut repository = Repository::new();
        breaks(&mut repository);
        println!("{id}");
        repository.audit().assert_not_met(id, says);
    }
    let of_github: BTreeSet<&str> = CHECKS
        .iter()
        .filter(|check| !OF_THE_SERVER.contains(&check.id) && !HIDDEN.contains(&check.id))
        .map(|check| check.id)
        .collect();
    assert_eq!(
        BREAKAGES.iter().map(|(id, ..)| *id).collect::<BTreeSet<_>>(),
        of_github,
        "each finding of GitHub's is broken once"
    );
}

/// A failed run of the staging workflow, with one failed job and perhaps its log.
fn failed_run(github: &GitHub, id: u64, step: &str, log: Option<&str>) {
    let failed = Run { phase: Phase::completed("failure"), ..run(id, STAGING, "Deploy to staging", &commit("x")) };
    github.add_run(failed);
    github.jobs(
        id,
        vec![
            Job::of("check", "success", &[]),
            Job::of("deploy", "failure", &[("Set up job", "success"), (step, "failure")]),
        ],
    );
    if let Some(log) = log {
        github.log(id, 1, log);
    }
}

#[test]
fn failed_runs_are_told_with_the_line_that_shows_their_cause() {
    let repository = Repository::new();
    let github = &repository.github;
    let secret = repository.github.token().to_owned();
    let stamp = "2026-01-05T09:00:00.1234567Z ";
    failed_run(
        github,
        940,
        "Release",
        Some(&format!(
            "{stamp}\u{1b}[31msudo: a password is required\u{1b}[0m\n{stamp}##[error]Process completed with exit code 1.\n"
        )),
    );
    failed_run(
        github,
        941,
        "Upload",
        Some(&format!(
            "{stamp}something of {secret} that <b>nobody</b> has met\n{stamp}##[error]Process completed with exit code 9.\n"
        )),
    );
    // Deleted, as everybody who may write can do.
    failed_run(github, 942, "Release", None);
    // Older than the three that are looked into.
    failed_run(github, 930, "Release", Some("Connection refused\n"));
    let audited = repository.audit();

    assert_ended(&audited.finished, 0, "passed");
    let actual = audited.finding("staging-failures")["actual"].as_str().expect("a text").to_owned();
    assert_says(
        &actual,
        &[
            "/actions/runs/940 attempt 1, job deploy, step Release: sudo asks for a password, or does not allow the command (F67): sudo: a password is required",
            "/actions/runs/941 attempt 1, job deploy, step Upload: the cause is unknown: something of",
            "/actions/runs/942 attempt 1, job deploy, step Release: its log was deleted",
            "; 1 older ones were not read",
        ],
    );
    assert!(!actual.contains("runs/930") && !actual.contains('\u{1b}'), "{actual}");
    assert_says(
        &audited.finding("staging-failures")["fix"].to_string(),
        &["/etc/sudoers.d", "gh run view 941 --attempt 1 --log-failed"],
    );
    let told = &audited.document["facts"]["diagnoses"];
    assert_eq!((&told[0]["run"], &told[0]["signature"]), (&json!(942), &Value::Null));
    assert_eq!((&told[2]["signature"], &told[2]["class"]), (&json!("sudo-password"), &json!("F67")));
    // Foreign text does nothing, and what is secret stays so; the storage that has the logs is not told the token.
    for text in [&audited.finished.raw_log, &audited.report, &audited.finished.summary, &audited.document.to_string()] {
        assert!(!text.replace(&format!("::add-mask::{secret}"), "").contains(&secret), "the token can be read");
    }
    assert!(!audited.finished.summary.contains("<b>"), "{}", audited.finished.summary);
    let asked = github.requests();
    let logs: Vec<_> = asked.iter().filter(|request| request.path.starts_with("/actions-logs/")).collect();
    assert_eq!(logs.len(), 2, "two logs are there");
    assert!(asked.iter().filter(|request| request.host == Host::Api).count() < 40);
    audited.finished.assert_no_secret_leaks();
}

#[test]
fn what_cannot_be_read_of_a_failed_run_is_told_as_that() {
    let repository = Repository::new();
    failed_run(&repository.github, 940, "Release", Some("Host key verification failed.\n"));
    let logs = "/repos/acme/shop/actions/jobs/*/logs";
    let told = |repository: &Repository| repository.audit().finding("staging-failures")["actual"].to_string();
    for (fault, says) in [
        (Fault::refusal(Refusal::ArtifactExpired), "its log was deleted"),
        (
            Fault::refusal(Refusal::IntegrationForbidden { needs: "actions=read".to_owned() }),
            "its log could not be read: the token has no right for this request",
        ),
    ] {
        repository.github.fault("GET", logs, Times::Always, fault);
        assert_says(&told(&repository), &[says, "job deploy, step Release"]);
        repository.github.clear_faults();
    }
    repository.github.link_lifetime(Duration::ZERO);
    assert_says(&told(&repository), &["its log could not be read: ", "403"]);
    repository.github.link_lifetime(Duration::from_secs(60));
    assert_says(&told(&repository), &["is not in known_hosts (F38): Host key verification failed."]);
    // A workflow file that GitHub cannot read has no jobs.
    repository.github.jobs(940, Vec::new());
    assert_says(&told(&repository), &["no job failed: GitHub could not start the run"]);
    // A very long log costs no memory, and its end counts.
    let long = format!("{}Please provide a valid cache path.\n", "nothing to see\n".repeat(200_000));
    failed_run(&repository.github, 940, "Release", Some(&long));
    assert_says(&told(&repository), &["(F22)"]);
}

#[test]
fn each_class_that_a_signature_names_is_one() {
    let classes = fs::read_to_string(root().join("docs/failure-classes.md")).expect("the table");
    for signature in SIGNATURES {
        let row = signature.class.map(|class| format!("| {class} |"));
        assert!(row.as_ref().is_none_or(|row| classes.contains(row)), "{}: {row:?}", signature.id);
    }
}

/// The staging workflow of `develop` is this, and differs from that of `main`.
fn differing(repository: &mut Repository, develop: &str) {
    repository.github.compared("main...develop", &[(STAGING, "0123456789abcdef0123456789abcdef01234567")]);
    repository.github.file("main", STAGING, &deploy_file("Deploy to staging"));
    repository.github.file("develop", STAGING, develop);
}

#[test]
fn f16_versions_of_actions_are_compared_between_branches_and_nothing_else_is_taken_for_one() {
    let id = "action-versions-differ";
    let mut repository = Repository::new();
    assert_eq!(repository.audit().status(id), "met", "what is the same uses the same");
    // Another name, another order, an action more: no version differs.
    let same = deploy_file("Deploy to staging")
        .replace("name: Deploy", "name: Release")
        .replace("    steps:\n", "    steps:\n      - uses: actions/checkout@v4\n");
    differing(&mut repository, &same);
    let audited = repository.audit();
    assert_eq!((audited.status("build-differs"), audited.status(id)), ("not-met", "met"));
    // Both are told, each with its file.
    let other = deploy_file("Deploy to staging")
        .replace("gated-deploy@v1", "gated-deploy@v2")
        .replace("@0123456789abcdef0123456789abcdef01234567", "@fedcba9876543210fedcba9876543210fedcba98");
    differing(&mut repository, &other);
    let audited = repository.audit();
    audited.assert_not_met(id, "deploy-staging.yml: acme/gated-deploy is v1 on `main` and v2 on `develop`");
    audited.assert_not_met(id, "someone/notify is 0123456789abcdef0123456789abcdef01234567 on `main`");
    // What cannot be read is not the same.
    differing(&mut repository, "jobs: [");
    assert_eq!(repository.audit().status(id), "unseen");
    let repository = Repository::new();
    repository.github.compared("main...develop", &[(STAGING, "0123456789abcdef0123456789abcdef01234567")]);
    let audited = repository.audit();
    assert_eq!(audited.status(id), "unseen");
    assert_says(&audited.finding(id)["actual"].to_string(), &["deploy-staging.yml is not on `main`"]);
}

#[test]
fn f12_what_ran_counts_more_than_what_is_written() {
    let repository = Repository::new();
    // GitHub counts a skipped check as passed.
    let mut ran = jobs();
    ran[3] = Job::of("run-tests", "skipped", &[]);
    ran[2] = Job::of(
        "static-analysis",
        "success",
        &[
            ("Set up job", "success"),
            ("Do static-analysis", "skipped"),
            ("Run echo ok", "success"),
            ("Complete job", "success"),
        ],
    );
    ran[0] = Job::of("build-frontend", "success", &[]);
    repository.github.jobs(900, ran);
    let audited = repository.audit();
    audited.assert_not_met(
        "hollow-check",
        "check `run-tests` of https://github.com/acme/shop/actions/runs/900: was skipped",
    );
    audited.assert_not_met("hollow-check", "check `static-analysis`");
    assert!(!audited.finding("hollow-check")["actual"].to_string().contains("build-backend"));
    // A job whose steps are not told is not judged by them.
    assert!(!audited.finding("hollow-check")["actual"].to_string().contains("build-frontend"));
}

#[test]
fn f69_gates_that_nobody_can_look_at_are_not_green() {
    let mut repository = Repository::new();
    // The project calls its checks otherwise, and nobody told the audit.
    for path in [BUILD, STAGING, PRODUCTION] {
        let text = repository.files[path].replace("  run-tests:", "  tests:");
        repository.files.insert(path.to_owned(), text);
    }
    repository.github.jobs(900, vec![Job::of("tests", "success", &[("Do tests", "success")])]);
    repository
        .github
        .protect("main", Some(Protection { contexts: vec!["run-tests".to_owned()], strict: true, reviews: 1 }));
    repository.github.rules("develop", vec![checks(&["run-tests"], true), reviews(1)]);
    repository.files.insert(".github/gated-deploy.yml".to_owned(), "required-checks: [run-tests]\n".to_owned());
    let audited = repository.audit();
    assert_ended(&audited.finished, 1, "refused");
    for id in ["hollow-check", "gate-continue-on-error", "gate-or-true"] {
        assert_eq!(audited.status(id), "unseen", "{id}");
    }
    assert_says(
        &audited.verdict("production").1,
        &["no workflow file of the checkout reports a required check, and no check ran on this commit"],
    );
    audited.assert_not_met("check-never-reports", "requires `run-tests`, but no workflow");
    // By the right name it is a GO again.
    repository
        .github
        .protect("main", Some(Protection { contexts: vec!["tests".to_owned()], strict: true, reviews: 1 }));
    repository.github.rules("develop", vec![checks(&["tests"], true), reviews(1)]);
    repository.files.insert(".github/gated-deploy.yml".to_owned(), "required-checks: [tests]\n".to_owned());
    let audited = repository.audit();
    assert_ended(&audited.finished, 0, "passed");
    assert_eq!(audited.status("hollow-check"), "met");
}

#[test]
fn a_ruleset_is_protection_and_what_is_hidden_is_not_guessed() {
    // By a ruleset alone: the classic endpoint answers 403 or 404.
    let repository = Repository::new();
    repository.github.protect("main", None);
    repository.github.rules("main", vec![checks(&GATES, true), reviews(1)]);
    for administrator in [false, true] {
        repository.github.administrator(administrator);
        let audited = repository.audit();
        assert_eq!((audited.status("main-protected"), audited.status("main-required-checks")), ("met", "met"));
    }
    // 404 without those words comes to people who may not see it: that is no "there is none".
    repository.github.administrator(false);
    repository.github.rules("develop", vec![checks(&GATES[..4], true)]);
    repository.github.fault("GET", "*/branches/develop/protection", Times::Always, Fault::refusal(Refusal::NotFound));
    assert_eq!(repository.audit().status("develop-review"), "unseen");
    repository.github.clear_faults();
    repository.github.administrator(true);
    assert_eq!(repository.audit().status("develop-review"), "not-met");
    // Classic protection on develop: its checks are seen by everybody, its reviews by administrators alone.
    let repository = Repository::new();
    repository.github.rules("develop", Vec::new());
    repository
        .github
        .protect("develop", Some(Protection { contexts: GATES.map(str::to_owned).to_vec(), strict: true, reviews: 0 }));
    let audited = repository.audit();
    assert_ended(&audited.finished, 0, "passed");
    assert_eq!(audited.status("develop-required-checks"), "met");
    for id in ["develop-up-to-date", "develop-review"] {
        assert_eq!(audited.status(id), "unseen", "{id}");
        assert_says(&audited.finding(id)["fix"].to_string(), &["administration=read"]);
    }
    repository.github.administrator(true);
    let audited = repository.audit();
    assert_eq!((audited.status("develop-up-to-date"), audited.status("develop-review")), ("met", "not-met"));
    // A branch that nobody may look at: not met is a guess, and so is met. A P0 that was not seen is no GO.
    let refusal = Fault::refusal(Refusal::IntegrationForbidden { needs: "contents=read".to_owned() });
    repository.github.fault("GET", "/repos/acme/shop/branches/main", Times::Always, refusal);
    let audited = repository.audit();
    assert_ended(&audited.finished, 1, "refused");
    assert_eq!(audited.status("main-protected"), "unseen");
    assert_says(&audited.verdict("production").1, &["could not be read"]);
    assert!(audited.verdict("staging").0);
}

#[test]
fn a_large_repository_takes_few_calls_and_little_time() {
    let repository = Repository::new();
    for number in 0..60 {
        repository.github.add_workflow(&format!("Workflow {number}"), &format!(".github/workflows/w{number}.yml"));
    }
    for number in 0..500 {
        let (path, name) =
            [(BUILD, "Build artifacts"), (STAGING, "Deploy to staging"), (PRODUCTION, "Deploy to production")]
                [number % 3];
        repository.github.add_run(run(1000 + number as u64, path, name, &commit(&format!("old {number}"))));
    }
    repository.github.fault("GET", "*", Times::Always, Fault::Delay(Duration::from_millis(50)));
    let audited = repository.audit();
    assert_ended(&audited.finished, 0, "passed");
    let calls = repository.github.requests().len();
    assert!(calls < 40, "{calls} calls");
    assert!(audited.document["took_ms"].as_u64().expect("a time") < 10_000, "{}", audited.document["took_ms"]);
}

#[test]
fn what_github_does_not_answer_is_no_go_and_no_finding() {
    let repository = Repository::new();
    repository.github.fault(
        "GET",
        "/repos/acme/shop/actions/workflows",
        Times::Always,
        Fault::refusal(Refusal::SecondaryRateLimit { retry_after: Some(600) }),
    );
    let audited = repository.audit();
    assert_ended(&audited.finished, 5, "failed");
    assert_eq!(output(&audited.finished, "decision"), "no-go");
    assert_says(&audited.verdict("production").1, &["rate limit is reached", "600 s"]);
    assert_says(&audited.verdict("staging").1, &["rate limit is reached"]);
    // The others looked all the same.
    assert_eq!(audited.status("main-protected"), "met");
}

/// The findings of the server and of its site.
const OF_THE_SERVER: [&str; 15] = [
    "current-release",
    "last-releases",
    "newest-not-live",
    "nine-files",
    "env-link",
    "app-env",
    "sudo-rules",
    "foreign-owner",
    "open-modes",
    "disk-room",
    "inodes",
    "health",
    "probe-can-fail",
    "token-guards",
    "health-token-match",
];

pub(crate) fn on_server(story: &Story, files: &Repository, inputs: &[(&str, &str)]) -> Audited {
    let site = story.lab.site(Environment::Staging);
    let mut runner = files
        .runner()
        .api_url(story.github.api_url())
        .secret(story.lab.private_key())
        .secret(&site.health_token)
        .input("github-token", story.github.token());
    let mut given = story.staging_inputs();
    given.retain(|name, _| !["approval", "grace-period", "build-wait-attempts", "build-wait-interval"].contains(name));
    given.extend([("stage", "audit".to_owned()), ("environment", "staging".to_owned())]);
    for (name, value) in given {
        runner = runner.input(name, &value);
    }
    Audited::of(inputs.iter().fold(runner, |runner, (name, value)| runner.input(name, value)))
}

/// What goes wrong on a server, as root in /var/www/staging, how it is mended, and what is said.
const ON_THE_SERVER: &[(&str, &str, &str, &str)] = &[
    (
        "current-release",
        "does not exist",
        "cp -a current /current; ln -sfn releases/20000101_000000-00000000 current",
        "cp -aT --remove-destination /current current",
    ),
    (
        "newest-not-live",
        "20991231_235959-0badc0de is newer",
        "mkdir releases/20991231_235959-0badc0de",
        "rmdir releases/20991231_235959-0badc0de",
    ),
    ("nine-files", "artisan: missing", "mv current/artisan /artisan", "mv /artisan current/artisan"),
    (
        "env-link",
        "is a regular file",
        "cp -a current/.env /link; rm current/.env; cp -a shared/.env/staging.env current/.env",
        "cp -aT --remove-destination /link current/.env",
    ),
    (
        "app-env",
        "APP_ENV is `production`",
        "sed -i s/APP_ENV=staging/APP_ENV=production/ shared/.env/staging.env",
        "sed -i s/APP_ENV=production/APP_ENV=staging/ shared/.env/staging.env",
    ),
    (
        "sudo-rules",
        "php8.2-fpm reload",
        "cp /etc/sudoers.d/deploy /rules; sed -i '/php8.2-fpm/d' /etc/sudoers.d/deploy",
        "cp /rules /etc/sudoers.d/deploy",
    ),
    (
        "foreign-owner",
        "1 file belongs to another account, such as",
        "touch current/README.md; chown root current/README.md",
        "rm current/README.md",
    ),
    (
        "open-modes",
        "bootstrap/cache/config.php can be read by accounts that may not read",
        "chmod 664 current/bootstrap/cache/config.php",
        "su deploy --command \"find /var/www/staging/releases -path '*/bootstrap/cache/config.php' -type f -exec chgrp www-data {} + -exec chmod 640 {} +\"",
    ),
    ("disk-room", "MB free; the live release takes", "fallocate -l 490000000 shared/filler", "rm shared/filler"),
    (
        "inodes",
        "50 of 1000 free",
        "printf '#!/bin/sh\ncase $1 in -Pi) echo head; echo tmpfs 1000 950 50 95%% / ;; *) exec /usr/bin/df \"$@\" ;; esac\n' >/usr/local/bin/df; chmod 755 /usr/local/bin/df",
        "rm /usr/local/bin/df",
    ),
    ("health", "502", "service php8.2-fpm stop", "service php8.2-fpm start"),
    (
        "health-token-match",
        "they differ",
        "cp -a shared/.env/staging.env /env; sed -i 's/^HEALTHCHECK_TOKEN=.*/HEALTHCHECK_TOKEN=quite-another-token/' shared/.env/staging.env",
        "cp -a /env shared/.env/staging.env",
    ),
];

#[test]
fn f66_f67_each_thing_that_is_wrong_on_a_server_is_found_and_nothing_changes() {
    let story = story();
    fill(&story.github);
    let files = Repository::new();
    let tree = || story.lab.tree_digest("/var/www").expect("the tree");
    let before = tree();
    let audited = on_server(&story, &files, &[]);
    assert_eq!(tree(), before, "not a byte changed");
    assert_ended(&audited.finished, 0, "passed");
    assert_says(&audited.finished.summary, &["GO for staging"]);
    let met = audited.with_status("met");
    for id in OF_THE_SERVER.iter().filter(|id| **id != "last-releases") {
        assert!(met.contains(*id), "{id}: {:#}", audited.finding(id));
    }
    // Today's policy is that of the next release: the live one was built with Vite.
    let mut today = Repository::new();
    today.files.insert(".github/gated-deploy.yml".to_owned(), "front-end: none\nenvironments: {}\n".to_owned());
    assert_eq!(on_server(&story, &today, &[]).status("nine-files"), "met");
    let manifest = "/var/www/staging/current/public/build/manifest.json";
    story.lab.exec(&format!("mv {manifest} /manifest")).expect("without its manifest");
    on_server(&story, &today, &[]).assert_not_met("nine-files", "public/build/manifest.json: missing");
    story.lab.exec(&format!("mv /manifest {manifest}")).expect("with its manifest");
    // The image has one release, and there is nothing to go back to.
    audited.assert_not_met("last-releases", "only 20250101");
    assert!(story.github.requests().iter().all(|request| request.method == "GET"));
    let (go, _) = audited.verdict("production");
    assert!(go && audited.finished.summary.contains("run the audit with environment: production"));

    for (id, says, breaks, mends) in ON_THE_SERVER {
        let server = |script: &str| story.lab.exec(&format!("set -e; cd /var/www/staging; {script}"));
        server(breaks).unwrap_or_else(|problem| panic!("{id}: {problem:#}"));
        println!("{id}");
        let before = tree();
        let audited = on_server(&story, &files, &[]);
        audited.assert_not_met(id, says);
        assert_eq!(audited.status("last-releases") == "met", *id == "newest-not-live", "{id}: then there are two");
        assert_eq!(tree(), before, "{id}: not a byte changed");
        server(mends).unwrap_or_else(|problem| panic!("{id}: {problem:#}"));
    }
    let audited = on_server(&story, &files, &[]);
    assert_ended(&audited.finished, 0, "passed");
    let broken: BTreeSet<&str> = ON_THE_SERVER.iter().map(|(id, ..)| *id).collect();
    let elsewhere = ["last-releases", "probe-can-fail", "token-guards"];
    assert_eq!(
        broken.into_iter().chain(elsewhere).collect::<BTreeSet<_>>(),
        OF_THE_SERVER.into(),
        "each is broken once"
    );

    // A server that does not answer is no GO; what was seen of GitHub and of the site stays.
    let hosts = story.lab.known_hosts_for("127.0.0.1", 1);
    let audited = on_server(&story, &files, &[("ssh-port", "1"), ("ssh-known-hosts", &hosts)]);
    assert_ended(&audited.finished, 5, "failed");
    assert_says(&audited.verdict("staging").1, &["connecting to deploy@127.0.0.1:1"]);
    assert!(audited.verdict("production").0, "that server is not production's");
    assert_eq!((audited.status("health"), audited.status("main-protected")), ("met", "met"));
}

#[test]
fn f73_a_bare_server_is_no_reason_against_its_first_release() {
    let story = story_on(Options { seed: false, ..Options::default() });
    fill(&story.github);
    let audited = on_server(&story, &Repository::new(), &[]);
    assert_ended(&audited.finished, 0, "passed");
    assert_says(&audited.finding("current-release")["actual"].to_string(), &["nothing is live yet"]);
    assert_eq!(audited.status("health-token-match"), "met");
    assert_says(&audited.finished.summary, &["nothing is live yet"]);
}

#[test]
fn f29_github_alone_is_said_to_be_github_alone_and_a_lost_key_is_an_error() {
    // The policy says where the server is, for other stages; a job without the key audits GitHub.
    let mut repository = Repository::new();
    repository
        .files
        .insert(".github/gated-deploy.yml".to_owned(), "ssh-host: example.com\nbase-dir: /var/www/shop\n".to_owned());
    let audited = repository.audit();
    assert_ended(&audited.finished, 0, "passed");
    assert_eq!(audited.status("server-looked-at"), "unseen");
    assert_says(&audited.finished.summary, &["by GitHub alone (the server was not looked at)"]);
    // Named in the step, the server is meant, and an empty secret is no reason to leave it out.
    repository.inputs.insert("ssh-host", "example.com".to_owned());
    let finished = repository.runner().run_binary(BINARY);
    assert_ended(&finished, 2, "refused");
    assert_says(&finished.log, &["ssh-private-key: is empty", "url: is missing"]);
    assert!(repository.github.requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn f69_f70_a_probe_that_cannot_fail_and_a_token_that_is_not_one_are_found_without_showing_it() {
    let story = story();
    fill(&story.github);
    let files = Repository::new();
    let token = story.staging_site().health_token;
    let audited = on_server(&story, &files, &[]);
    assert_eq!(
        (audited.status("probe-can-fail"), audited.status("token-guards"), audited.status("health-token-match")),
        ("met", "met", "met")
    );
    for text in [&audited.finished.raw_log, &audited.report, &audited.finished.summary, &audited.sarif.to_string()] {
        assert!(!text.replace(&format!("::add-mask::{token}"), "").contains(&token), "the token can be read");
    }
    assert_says(
        &audited.finding("health-token-match")["actual"].to_string(),
        &["workflow ", ".env ", "the same, and the site accepts it"],
    );

    // Another token in the workflow than on the server.
    let audited = on_server(&story, &files, &[("healthcheck-token", "not-the-token-of-the-server")]);
    audited.assert_not_met("health-token-match", "they differ, and the site refuses the workflow's token");
    audited.assert_not_met("health", "the token is missing or wrong");

    // A site that says healthy to everything.
    story
        .lab
        .exec("sed -i 's/^\\( *\\)location \\/ {/\\1location ~ ^\\/(health|api|gated) { default_type text\\/plain; return 200 ok; }\\n&/' /etc/nginx/sites-enabled/staging* && nginx -t && nginx -s reload")
        .expect("a site that is always well");
    let audited = on_server(&story, &files, &[]);
    audited.assert_not_met("probe-can-fail", "a healthy answer proves nothing");
    audited.assert_not_met("token-guards", "without a token");
}

#[test]
fn every_finding_has_its_place_in_the_handbook() {
    let handbook = fs::read_to_string(root().join("docs/audit.md")).expect("docs/audit.md");
    let anchors: Vec<&str> = handbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(anchors, ids, "one heading for each finding, in their order");
    for check in CHECKS {
        let line = format!("{}. Target: {}. {}.", check.title, check.target, check.impact.as_str());
        assert!(handbook.contains(&line), "{}: `{line}` is missing", check.id);
    }
}
