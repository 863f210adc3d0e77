//! `fix`: one named thing a run, with the phrase, seen before and after.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
};

use gated_deploy::domain::fix::FixName;
use gated_deploy_lab::{
    github::{Dispatch, Fault, Phase, Protection, Refusal, Times},
    runner::Finished,
    story::Story,
};
use serde_json::{Value, json};

use crate::{
    audit::{BUILD, GATES, PRODUCTION, Repository, STAGING, bundle, checks, fill, head, reviews, run},
    support::{BINARY, assert_ended, assert_says, output, story},
};

/// The phrase that opens the door to a fix.
pub(crate) const FIX_PHRASE: &str = "PROD-FIX FREIGEGEBEN";

const PROTECTION: &str = "/repos/acme/shop/branches/main/protection";

/// What a fix did and said.
pub(crate) struct Fixed {
    pub(crate) finished: Finished,
    pub(crate) document: Value,
    report: String,
}

impl Fixed {
    pub(crate) fn of(runner: gated_deploy_lab::runner::Runner) -> Self {
        let finished = runner.run_binary(BINARY);
        let read = |name: &str| {
            let path = output(&finished, name);
            assert!(!path.is_empty(), "no output {name}:\n{}", finished.raw_log);
            fs::read_to_string(runner.workspace().join(path)).expect("a report")
        };
        let document: Value = serde_json::from_str(&read("report-json")).expect("JSON");
        crate::evidence::valid(&document);
        let report = read("report");
        Self { finished, document, report }
    }

    /// The value of a setting among `before` or `after`.
    #[track_caller]
    pub(crate) fn recorded(&self, when: &str, what: &str) -> &str {
        let settings =
            self.document["fix"][when].as_array().unwrap_or_else(|| panic!("no {when}: {:#}", self.document["fix"]));
        let found = settings.iter().find(|setting| setting["what"] == what);
        found.and_then(|setting| setting["value"].as_str()).unwrap_or_else(|| panic!("no `{what}` in {settings:#?}"))
    }
}

/// The same on the lab's server: staging, with these inputs more.
pub(crate) fn fix_on(story: &Story, name: &str, approval: &str, inputs: &[(&str, &str)]) -> Fixed {
    fix_with(story, name, approval, inputs, "")
}

/// The same with a policy.
fn fix_with(story: &Story, name: &str, approval: &str, inputs: &[(&str, &str)], policy: &str) -> Fixed {
    let files = Repository::new();
    let mut runner = files
        .runner()
        .file(".github/gated-deploy.yml", policy)
        .api_url(story.github.api_url())
        .secret(story.github.token());
    runner = runner.secret(story.lab.private_key()).secret(&story.staging_site().health_token);
    let mut given = story.staging_inputs();
    given.retain(|name, _| !["grace-period", "healthcheck-token"].contains(name));
    given.extend([
        ("stage", "fix".to_owned()),
        ("environment", "staging".to_owned()),
        ("approval", approval.to_owned()),
    ]);
    for (name, value) in given {
        runner = runner.input(name, &value);
    }
    Fixed::of(inputs.iter().fold(runner.input("fix", name), |runner, (name, value)| runner.input(name, value)))
}

fn fix(repository: &Repository, name: &str, approval: &str) -> Fixed {
    Fixed::of(repository.runner().input("stage", "fix").input("fix", name).input("approval", approval))
}

/// A repository whose token is an administrator's and whose main branch is not protected.
fn unprotected() -> Repository {
    let repository = Repository::new();
    repository.github.administrator(true);
    repository.github.protect("main", None);
    repository
}

#[test]
fn a_fix_says_what_it_would_send_and_sends_it_only_with_its_phrase() {
    let repository = unprotected();
    let planned = fix(&repository, "branch-protection-main", "");
    assert_ended(&planned.finished, 0, "planned");
    assert_eq!(output(&planned.finished, "executed"), "false");
    assert_says(
        &planned.finished.summary,
        &[
            "### Before and after",
            "Would be",
            "check-staging",
            "PUT /repos/acme/shop/branches/main/protection",
            "administration=write",
        ],
    );
    assert_says(
        &planned.finished.log,
        &["required checks: none -> build-backend", "undo: restore the earlier protection"],
    );
    assert_eq!(planned.recorded("before", "classic protection"), "no");
    assert!(planned.document["fix"]["after"].is_null());
    // Another door's phrase opens none here, and stopping is stopping.
    for words in ["PROD-DEPLOY FREIGEGEBEN", "ABBRECHEN", "PROD-FIX freigegeben"] {
        assert_ended(&fix(&repository, "branch-protection-main", words).finished, 1, "refused");
    }
    assert_eq!(repository.github.written(), [], "nothing was written so far");
    assert!(repository.github.requests().iter().all(|request| request.method == "GET"));

    let fixed = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&fixed.finished, 0, "passed");
    assert_eq!((output(&fixed.finished, "executed"), output(&fixed.finished, "decision")), ("true", "go"));
    assert_says(&fixed.finished.summary, &["Fixed: branch-protection-main, read back and verified"]);
    assert_says(&fixed.report, &["## Before and after", "| required checks | none | build-backend, build-frontend,"]);
    assert_eq!(
        (fixed.recorded("before", "required checks"), fixed.recorded("after", "classic protection")),
        ("none", "yes")
    );
    let set = repository.github.settings_of("main").expect("protection");
    let mut named: Vec<&str> = set["required_status_checks"]["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|check| check["context"].as_str())
        .collect();
    let mut gates = GATES;
    named.sort_unstable();
    gates.sort_unstable();
    assert_eq!(named, gates);
    assert!(output(&fixed.finished, "report").contains("/FIX_"), "{}", output(&fixed.finished, "report"));

    // The stored report says the same later on.
    let stored = tempfile::NamedTempFile::new().expect("a file");
    fs::write(stored.path(), fixed.document.to_string()).expect("the report");
    let shown =
        std::process::Command::new(BINARY).args(["report", "show"]).arg(stored.path()).output().expect("the report");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stdout));
    assert_says(
        &String::from_utf8_lossy(&shown.stdout),
        &["Fixed: branch-protection-main", "The fix was read back and verified"],
    );

    // Once more: nothing to do, with the phrase and without it.
    for words in [FIX_PHRASE, ""] {
        let again = fix(&repository, "branch-protection-main", words);
        assert_ended(&again.finished, 0, "passed");
        assert_eq!(output(&again.finished, "executed"), "false");
        assert_says(&again.finished.summary, &["already requires all of it; nothing was changed"]);
    }
    assert_eq!(repository.github.written().len(), 1, "once");
}

#[test]
fn protection_never_gets_weaker_and_a_plan_for_other_settings_does_not_count() {
    let repository = unprotected();
    let strict = json!({
        "required_status_checks": { "strict": true, "checks": [{ "context": "lint", "app_id": 7 }, { "context": "run-tests", "app_id": -1 }] },
        "enforce_admins": true,
        "required_pull_request_reviews": {
            "required_approving_review_count": 2, "require_code_owner_reviews": true, "dismiss_stale_reviews": true, "require_last_push_approval": false,
            "dismissal_restrictions": { "users": ["ada"], "teams": [], "apps": [] },
        },
        "restrictions": { "users": ["ada"], "teams": ["core"], "apps": [] },
        "required_linear_history": true, "allow_force_pushes": false,
    });
    repository.github.settings("main", strict.clone());
    let planned = fix(&repository, "branch-protection-main", "");
    assert_ended(&planned.finished, 0, "planned");
    let words =
        planned.finished.summary.lines().find(|line| line.starts_with("PROD-FIX FREIGEGEBEN ")).expect("the phrase");

    // Somebody changes it meanwhile.
    let mut other = strict.clone();
    other["enforce_admins"] = json!(false);
    repository.github.settings("main", other);
    let refused = fix(&repository, "branch-protection-main", words);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.log, &["and the plan is now"]);
    assert_eq!(repository.github.written(), []);

    repository.github.settings("main", strict);
    assert_ended(&fix(&repository, "branch-protection-main", words).finished, 0, "passed");
    let set = repository.github.settings_of("main").expect("protection");
    assert_eq!(set["enforce_admins"], true);
    assert_eq!(set["required_status_checks"]["strict"], true);
    let checks = set["required_status_checks"]["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 7, "the six and lint");
    assert!(
        checks.contains(&json!({ "context": "lint", "app_id": 7 }))
            && checks.contains(&json!({ "context": "run-tests", "app_id": -1 }))
    );
    let review = &set["required_pull_request_reviews"];
    assert_eq!(
        (&review["required_approving_review_count"], &review["require_code_owner_reviews"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(review["dismissal_restrictions"]["users"], json!(["ada"]));
    assert_eq!(set["restrictions"], json!({ "users": ["ada"], "teams": ["core"], "apps": [] }));
    assert_eq!((&set["required_linear_history"], &set["allow_force_pushes"]), (&json!(true), &json!(false)));
}

#[test]
fn develop_gets_four_checks_an_up_to_date_branch_and_a_review_and_rulesets_count() {
    let repository = unprotected();
    repository.github.rules("develop", vec![checks(&["lint", "run-tests"], false)]);
    let fixed = fix(&repository, "branch-protection-develop", FIX_PHRASE);
    assert_ended(&fixed.finished, 0, "passed");
    let set = repository.github.settings_of("develop").expect("protection");
    let named: Vec<&str> = set["required_status_checks"]["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|check| check["context"].as_str())
        .collect();
    // Two are the ruleset's; the first two of required-checks are added.
    assert_eq!(named, ["build-backend", "build-frontend"]);
    assert_eq!(set["required_status_checks"]["strict"], true);
    assert_eq!(set["required_pull_request_reviews"]["required_approving_review_count"], 1);
    assert_eq!(fixed.recorded("after", "approving reviews"), "1");
    let audited = repository.audit();
    for id in ["develop-required-checks", "develop-up-to-date", "develop-review"] {
        assert_eq!(audited.status(id), "met", "{id}");
    }
    // What a ruleset asks for already is not asked for twice.
    let repository = unprotected();
    repository.github.rules("develop", vec![checks(&GATES[..4], true), reviews(1)]);
    let again = fix(&repository, "branch-protection-develop", FIX_PHRASE);
    assert_ended(&again.finished, 0, "passed");
    assert_says(&again.finished.summary, &["Nothing to do"]);
    assert_eq!(repository.github.written(), []);
}

#[test]
fn a_required_check_that_nothing_reports_is_told_before_it_blocks_everybody() {
    let mut repository = unprotected();
    let text = repository.files[BUILD].replace("  run-tests:", "  tests:");
    repository.files.insert(BUILD.to_owned(), text);
    let planned = fix(&repository, "branch-protection-main", "");
    assert_ended(&planned.finished, 0, "planned");
    assert_says(
        &planned.finished.summary,
        &["no workflow of this checkout reports run-tests for pull requests to", "every merge would be blocked"],
    );
}

#[test]
fn a_token_that_may_not_is_told_first_and_nothing_changes() {
    let repository = unprotected();
    repository.github.administrator(false);
    for words in ["", FIX_PHRASE] {
        let refused = fix(&repository, "branch-protection-main", words);
        assert_ended(&refused.finished, 1, "refused");
        assert_says(
            &refused.finished.summary,
            &[
                "Resource not accessible by integration",
                "No GITHUB_TOKEN can have administration=read",
                "pass it as <code>github-token:</code>",
                "nothing was changed",
            ],
        );
    }
    // A right that can be given is named as the job would have to give it; reading is allowed, and the answer comes when it is sent.
    repository.github.administrator(true);
    repository.github.add_workflow("Gone", ".github/workflows/gone.yml");
    files(&repository);
    let refusal = || Fault::refusal(Refusal::IntegrationForbidden { needs: "actions=write".to_owned() });
    repository.github.fault("PUT", "*/disable", Times::Always, refusal());
    let refused = fix(&repository, "phantom-workflow", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["Set <code>permissions: { actions: write }</code> in the job", "nothing was changed in the end"],
    );
    // 404 comes to people who may not see it, too: that is no "there is none". And a plan without protection is no matter of rights.
    repository.github.fault("GET", PROTECTION, Times::Next(1), Fault::refusal(Refusal::NotFound));
    let hidden = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&hidden.finished, 1, "refused");
    assert_says(&hidden.finished.summary, &["404, which GitHub also answers without the right to read it"]);
    let plan =
        br#"{"message":"Upgrade to GitHub Pro or make this repository public to enable this feature.","status":"403"}"#;
    let headers = vec![("content-type", "application/json".to_owned())];
    repository.github.fault(
        "GET",
        PROTECTION,
        Times::Next(1),
        Fault::Status { status: 403, headers, body: plan.to_vec() },
    );
    let poor = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&poor.finished, 1, "refused");
    assert_says(
        &poor.finished.summary,
        &["GitHub does not offer it for this repository", "make the repository public"],
    );
    // Reading only, as an administrator's token may be.
    let refusal = Refusal::IntegrationForbidden { needs: "administration=write".to_owned() };
    repository.github.fault("PUT", PROTECTION, Times::Always, Fault::refusal(refusal));
    let refused = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["No GITHUB_TOKEN can have administration=write", "the protection was not changed"],
    );
    repository.github.clear_faults();
    repository.github.fault(
        "GET",
        PROTECTION,
        Times::Always,
        Fault::refusal(Refusal::SecondaryRateLimit { retry_after: Some(600) }),
    );
    let failed = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&failed.finished, 5, "failed");
    assert_says(&failed.finished.summary, &["run this again in 10 minutes"]);
    assert_eq!(repository.github.written(), []);
}

#[test]
fn what_is_not_seen_afterwards_is_no_fix_and_is_put_back() {
    // GitHub says yes and does nothing.
    let repository = unprotected();
    let yes =
        Fault::Status { status: 200, headers: vec![("content-type", "application/json".into())], body: b"{}".to_vec() };
    repository.github.fault("PUT", PROTECTION, Times::Next(1), yes);
    let refused = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &[
            "GitHub has other settings than were sent",
            "`check-staging` is no longer required",
            "nothing was changed in the end",
        ],
    );

    // What comes back is weaker than what was there: the old settings are put back.
    let before = json!({
        "required_status_checks": { "strict": true, "checks": [{ "context": "lint", "app_id": -1 }] },
        "enforce_admins": true, "required_pull_request_reviews": null, "restrictions": null,
    });
    repository.github.settings("main", before.clone());
    let asked = AtomicU32::new(0);
    let edit = Fault::edit(move |body| {
        // Looked at once before the approval, once before it is sent, and then to verify it.
        if asked.fetch_add(1, Ordering::SeqCst) == 2 {
            body["enforce_admins"]["enabled"] = json!(false);
        }
    });
    repository.github.fault("GET", PROTECTION, Times::Always, edit);
    let refused = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.summary, &["administrators are exempt", "what was changed was put back"]);
    assert_eq!(
        repository.github.settings_of("main").map(|set| set["required_status_checks"].clone()),
        Some(before["required_status_checks"].clone())
    );
    assert_eq!(refused.recorded("after", "required checks"), "lint", "what is there now");
    repository.github.clear_faults();

    // The answer is lost after the work was done: the way back finds it.
    repository.github.protect("main", None);
    repository.github.fault("PUT", PROTECTION, Times::Next(1), Fault::Truncate { keep: 10 });
    let failed = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&failed.finished, 5, "failed");
    assert_says(&failed.finished.summary, &["what was changed was put back"]);
    assert_eq!(repository.github.settings_of("main"), None);
    let last = repository.github.written().pop().expect("requests");
    assert_eq!(last.0, "DELETE");

    // And where that fails, too, help is called with what to type.
    repository.github.fault("PUT", PROTECTION, Times::Next(1), Fault::Truncate { keep: 10 });
    repository.github.fault("DELETE", PROTECTION, Times::Always, Fault::server_error(502));
    let stuck = fix(&repository, "branch-protection-main", FIX_PHRASE);
    assert_ended(&stuck.finished, 4, "stuck");
    assert_says(
        &stuck.finished.summary,
        &[
            "Manual action required: the rollback failed at ",
            "gh api --method DELETE repos/acme/shop/branches/main/protection",
        ],
    );
}

/// Tells the double which workflow files the branches have.
fn files(repository: &Repository) {
    for branch in ["main", "develop"] {
        repository.github.files(branch, &[BUILD, STAGING, PRODUCTION]);
    }
}

#[test]
fn a_workflow_without_a_file_is_disabled_and_one_that_another_branch_has_is_not() {
    let repository = Repository::new();
    // More than one page of them.
    let many: Vec<String> = (0..120).map(|number| format!(".github/workflows/w{number}.yml")).collect();
    for path in &many {
        repository.github.add_workflow(path, path);
    }
    let (gone, young) = (".github/workflows/production-old.yml", ".github/workflows/young.yml");
    repository.github.add_workflow("Deploy to production", gone);
    repository.github.add_workflow("Young", young);
    repository.github.add_workflow("CodeQL", "dynamic/github-code-scanning/codeql");
    let all: Vec<&str> = many.iter().map(String::as_str).chain([BUILD, STAGING, PRODUCTION]).collect();
    repository.github.files("main", &all);
    repository.github.files("develop", &[BUILD, STAGING, PRODUCTION, young]);
    let planned = fix(&repository, "phantom-workflow", "");
    assert_ended(&planned.finished, 0, "planned");
    assert_says(&planned.finished.summary, &["production-old.yml", "/disable", "actions=write"]);
    assert_eq!(repository.github.written(), []);

    let fixed = fix(&repository, "phantom-workflow", FIX_PHRASE);
    assert_ended(&fixed.finished, 0, "passed");
    assert_eq!(repository.github.workflow_state(gone).as_deref(), Some("disabled_manually"));
    assert_eq!(repository.github.written().len(), 1, "no other was touched: {:?}", repository.github.written());
    assert_eq!(fixed.recorded("after", &format!("workflow `Deploy to production` ({gone})")), "disabled_manually");
    let again = fix(&repository, "phantom-workflow", FIX_PHRASE);
    assert_ended(&again.finished, 0, "passed");
    assert_says(&again.finished.summary, &["Nothing to do"]);

    // Two of them, and one is not seen disabled: both are enabled again.
    let other = ".github/workflows/second.yml";
    for path in [".github/workflows/first.yml", other] {
        repository.github.add_workflow(path, path);
    }
    let listed = AtomicU32::new(0);
    let edit = Fault::edit(move |body| {
        // Each list has two pages: the survey reads both, and then the check, which shall see one still at work.
        if (2..4).contains(&listed.fetch_add(1, Ordering::SeqCst)) {
            for one in body["workflows"].as_array_mut().into_iter().flatten().filter(|one| one["path"] == other) {
                one["state"] = json!("active");
            }
        }
    });
    repository.github.fault("GET", "*/actions/workflows", Times::Always, edit);
    let refused = fix(&repository, "phantom-workflow", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["still active: .github/workflows/second.yml", "what was changed was put back"],
    );
    assert_eq!(repository.github.workflow_state(".github/workflows/first.yml").as_deref(), Some("active"));

    // Without any file nobody can say what a phantom is.
    let repository = Repository::new();
    let refused = fix(&repository, "phantom-workflow", FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.summary, &["has a workflow file"]);
}

#[test]
fn the_head_of_develop_is_built_once_and_its_bundle_is_waited_for() {
    let repository = Repository::new();
    let there = fix(&repository, "build-head", FIX_PHRASE);
    assert_ended(&there.finished, 0, "passed");
    assert_says(&there.finished.summary, &["Nothing to do: run 900 succeeded and has its bundle"]);
    assert_eq!(repository.github.written(), []);

    // Green without an artifact is no build; the newest run of the head is started anew and leaves one.
    let build = |repository: &Repository, ends: &str, artifacts| {
        repository.github.edit_artifact(901, |artifact| artifact.name = "logs".to_owned());
        let phases = vec![Phase::queued(), Phase::in_progress(), Phase::completed(ends)];
        let started = run(990, BUILD, "Build artifacts", &head());
        repository.github.on_dispatch(BUILD, Dispatch { run: started, phases, artifacts });
    };
    let artifact = gated_deploy_lab::github::Artifact { id: 991, run_id: 990, ..bundle("2099-01-01T00:00:00Z") };
    build(&repository, "success", vec![artifact]);
    let wait = |repository: &Repository, words: &str| {
        let runner = repository.runner().input("stage", "fix").input("fix", "build-head").input("approval", words);
        Fixed::of(runner.input("build-wait-interval", "1s").input("build-wait-attempts", "6"))
    };
    let planned = wait(&repository, "");
    assert_ended(&planned.finished, 0, "planned");
    assert_says(&planned.finished.summary, &["run 900 succeeded but has no artifact", "/dispatches"]);
    assert_eq!(repository.github.written(), []);
    let fixed = wait(&repository, FIX_PHRASE);
    assert_ended(&fixed.finished, 0, "passed");
    let written = repository.github.written();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].2["ref"], "develop");
    assert_says(&fixed.finished.summary, &["run 990 succeeded and has its bundle"]);
    assert_eq!(repository.audit().status("build-of-develop"), "met");

    // A build that fails is no fix, and what was started is told.
    let repository = Repository::new();
    build(&repository, "failure", Vec::new());
    let refused = wait(&repository, FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.summary, &["build run 990 ended in failure", "Correct the build", "What stays"]);
    assert_says(&refused.finished.log, &["code: build-failed"]);
    // One that is still at work when the waiting time is over.
    let repository = Repository::new();
    repository.github.edit_artifact(901, |artifact| artifact.name = "logs".to_owned());
    let started = run(990, BUILD, "Build artifacts", &head());
    repository
        .github
        .on_dispatch(BUILD, Dispatch { run: started, phases: vec![Phase::queued()], artifacts: Vec::new() });
    let runner = repository.runner().input("stage", "fix").input("fix", "build-head").input("approval", FIX_PHRASE);
    let refused = Fixed::of(runner.input("build-wait-interval", "1s").input("build-wait-attempts", "2"));
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.log, &["no bundle after 2 attempts", "code: build-unfinished"]);
    // A workflow that nobody can start by hand.
    let repository = Repository::new();
    repository.github.edit_artifact(901, |artifact| artifact.name = "logs".to_owned());
    let refused = wait(&repository, FIX_PHRASE);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["Add the trigger <code>workflow_dispatch:</code> to build-artifacts.yml on", "a started build continues"],
    );
}

#[test]
fn f45_there_is_no_fix_for_everything_and_its_door_has_words_of_its_own() {
    let mut repository = Repository::new();
    repository.github.protect("main", Some(Protection::default()));
    let refused = |repository: &Repository, name: &str| {
        let runner = repository.runner().input("stage", "fix").input("fix", name).input("approval", FIX_PHRASE);
        let finished = runner.run_binary(BINARY);
        assert_ended(&finished, 2, "refused");
        finished.log
    };
    assert_says(
        &refused(&repository, "all"),
        &["fix: `all` is not one of the possible values", "write `branch-protection-main`"],
    );
    assert_says(&refused(&repository, "branch-protection"), &["did you mean `branch-protection-main`?"]);
    assert_says(&refused(&repository, ""), &["fix: is missing"]);
    // A fix that works on the server wants to know which.
    assert_says(&refused(&repository, "docs-ownership"), &["ssh-host: is missing", "base-dir: is missing"]);
    let policy =
        "fix-phrase: ONE FOR ALL OF IT\nenvironments:\n  production:\n    approval-phrase: ONE FOR ALL OF IT\n";
    repository.files.insert(".github/gated-deploy.yml".to_owned(), policy.to_owned());
    assert_says(&refused(&repository, "build-head"), &["fix-phrase", "is also the approval phrase of a release"]);
    assert!(repository.github.requests().is_empty());
    repository.files.insert(".github/gated-deploy.yml".to_owned(), "fix-phrase: MENDED BY US\n".to_owned());
    let runner = repository.runner().input("stage", "fix").input("fix", "build-head").input("approval", "MENDED BY US");
    assert_ended(&runner.run_binary(BINARY), 0, "passed");
}

#[test]
fn f40_the_servers_token_becomes_the_secret_and_is_seen_nowhere() {
    let story = story();
    fill(&story.github);
    let token = story.staging_site().health_token;
    let old = ("healthcheck-token", "the-token-of-last-year");
    // Without an administrator's token it is said so before anything else, and what may be done about it.
    let refused = fix_on(&story, "health-token", FIX_PHRASE, &[old]);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.summary, &["No GITHUB_TOKEN can have secrets=read", "nothing was changed"]);

    story.github.administrator(true);
    let planned = fix_on(&story, "health-token", "", &[old]);
    assert_ended(&planned.finished, 0, "planned");
    assert_says(&planned.finished.summary, &["secret HEALTHCHECK_TOKEN", "not set", "sealed for the key"]);
    assert_eq!(story.github.written(), []);

    let fixed = fix_on(&story, "health-token", FIX_PHRASE, &[old]);
    assert_ended(&fixed.finished, 0, "passed");
    let written = story.github.secret_value("HEALTHCHECK_TOKEN").expect("a secret");
    assert_eq!(written, token, "what the repository's private key opens is the server's token");
    let sent = story.github.written().pop().expect("a request").2.to_string();
    assert!(!sent.contains(&token), "it went sealed");
    // Neither a log, nor a file of the run, nor an annotation has it; the runner was told to hide it before anything else.
    for run in [&planned, &fixed] {
        let log = run.finished.raw_log.replace(&format!("::add-mask::{token}\n"), "");
        assert!(!log.contains(&token), "the log has the token:\n{log}");
        let told = [&run.report, &run.finished.summary, &run.document.to_string()];
        assert!(told.iter().all(|text| !text.contains(&token)));
        assert!(run.finished.raw_log.contains(&format!("::add-mask::{token}")), "it is masked");
    }
    assert_says(fixed.recorded("before", "token on the server"), &["SHA-256 "]);
    assert_says(fixed.recorded("after", "secret HEALTHCHECK_TOKEN"), &["written 2026-02-01"]);

    // With the secret that was written there is nothing to do, and the audit agrees.
    let again = fix_on(&story, "health-token", FIX_PHRASE, &[("healthcheck-token", &written)]);
    assert_ended(&again.finished, 0, "passed");
    assert_says(&again.finished.summary, &["Nothing to do: the workflow already passes the server's token"]);
    assert_eq!(story.github.written().len(), 1);

    // A secret of the environment would win over the one that is written.
    story.github.environment_secret("staging", "HEALTHCHECK_TOKEN");
    let refused = fix_on(&story, "health-token", FIX_PHRASE, &[old]);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["has its own secret HEALTHCHECK_TOKEN", "gh secret delete HEALTHCHECK_TOKEN --env staging"],
    );

    // GitHub takes it and keeps the old one: that is seen.
    let yes = Fault::Status { status: 204, headers: Vec::new(), body: Vec::new() };
    story.github.fault("PUT", "*/actions/secrets/*", Times::Next(1), yes);
    let refused = fix_with(&story, "health-token", FIX_PHRASE, &[], "healthcheck-token-secret: OTHER_HEALTH_TOKEN\n");
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["it was not written: not set", "the secret may already hold the server's token"],
    );

    // A token that the site does not take yet helps nobody.
    story
        .lab
        .exec("sed -i 's/^HEALTHCHECK_TOKEN=.*/HEALTHCHECK_TOKEN=quite-another-token/' /var/www/staging/shared/.env/staging.env")
        .expect("another token");
    let refused =
        fix_with(&story, "health-token", FIX_PHRASE, &[old], "healthcheck-token-secret: OTHER_HEALTH_TOKEN\n");
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["the site refuses it: the live release has an older configuration", "Release again"],
    );
    assert!(!refused.finished.raw_log.replace("::add-mask::quite-another-token\n", "").contains("quite-another-token"));
    assert_eq!(story.github.written().len(), 1);
}

#[test]
fn f65_what_root_left_in_the_release_is_given_back_path_by_path_or_the_command_is_printed() {
    let story = story();
    let root = |script: &str| story.lab.exec(&format!("set -e; cd /var/www/staging; {script}")).expect("as root");
    let owners = || root("stat -c '%U %n' current/public/docs current/public/docs/* /etc/hostname");
    root(
        "mkdir current/public/docs; echo api >'current/public/docs/the api.html'; ln -s /etc/hostname current/public/docs/host; chown -hR root current/public/docs",
    );
    let before = owners();

    // sudo does not allow it: the command for an administrator, and nothing else.
    let refused = fix_on(&story, "docs-ownership", FIX_PHRASE, &[]);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &[
            "sudo does not allow deploy to change 3 of 3 paths",
            "Run on the server as root: find",
            "nothing was changed",
        ],
    );
    assert_eq!(owners(), before);
    let command = refused.document["ending"]["cause"]["hint"]
        .as_str()
        .expect("a hint")
        .replace("Run on the server as root: ", "");

    // A rule that wants a password is none.
    root("echo 'deploy ALL=(root) PASSWD: /usr/bin/chown -h deploy /var/www/staging/releases/*' >/etc/sudoers.d/docs");
    let refused = fix_on(&story, "docs-ownership", FIX_PHRASE, &[]);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(
        &refused.finished.summary,
        &["sudo does not allow deploy to change 3 of 3 paths", "nothing was changed"],
    );
    root(
        "echo 'deploy ALL=(root) NOPASSWD: /usr/bin/chown -h deploy /var/www/staging/releases/*' >/etc/sudoers.d/docs",
    );
    // A second name of a file elsewhere would change hands, too.
    root("ln 'current/public/docs/the api.html' shared/another");
    let refused = fix_on(&story, "docs-ownership", FIX_PHRASE, &[]);
    assert_ended(&refused.finished, 1, "refused");
    assert_says(&refused.finished.summary, &["has hard links"]);
    root("rm shared/another");

    let planned = fix_on(&story, "docs-ownership", "", &[]);
    assert_ended(&planned.finished, 0, "planned");
    assert_says(&planned.finished.summary, &["chown -h deploy", "owner of public/docs", "'/var/www/staging/releases/"]);
    assert_eq!(owners(), before, "a plan changes nothing");
    let fixed = fix_on(&story, "docs-ownership", FIX_PHRASE, &[]);
    assert_ended(&fixed.finished, 0, "passed");
    assert_eq!(
        (fixed.recorded("before", "owner of public/docs"), fixed.recorded("after", "owner of public/docs")),
        ("root", "deploy")
    );
    let after = owners();
    assert_eq!(after.matches("deploy ").count(), 3, "{after}");
    assert!(after.contains("root /etc/hostname"), "what the link leads to stays as it was: {after}");
    let again = fix_on(&story, "docs-ownership", FIX_PHRASE, &[]);
    assert_ended(&again.finished, 0, "passed");
    assert_says(&again.finished.summary, &["Nothing to do: every file of the live release belongs to deploy"]);

    // And the command that was printed does the same.
    root("chown -hR root current/public/docs");
    root(&command);
    assert_eq!(owners(), after);
}

#[test]
fn each_fix_has_a_chapter_and_each_that_the_audit_recommends_is_one() {
    let page = fs::read_to_string(crate::support::root().join("docs/fix.md")).expect("docs/fix.md");
    let chapters: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let names = FixName::ALL.map(FixName::as_str);
    assert_eq!(chapters[1..], names, "one chapter for each, in their order, after the one on tokens");
    for name in names {
        assert!(page.contains(&format!("| [`{name}`](#{name}) |")), "{name}");
    }
    let mut repository = Repository::new();
    repository.github.protect("main", None);
    repository.github.rules("develop", Vec::new());
    repository.github.edit_artifact(901, |artifact| artifact.expired = true);
    repository.github.add_workflow("Gone", ".github/workflows/gone.yml");
    repository.inputs.clear();
    let all = repository.audit().document["audit"]["findings"].to_string();
    let recommended: Vec<&str> = all.split("the fix `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    assert!(recommended.len() >= 4, "{recommended:?}");
    assert!(recommended.iter().all(|name| names.contains(name)), "{recommended:?}");
}
