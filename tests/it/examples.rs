//! The workflows in `examples/`, step by step as a user would copy them, against the lab.

use std::{collections::BTreeMap, fs};

use gated_deploy_lab::{
    app::{self, Variant},
    runner::Runner,
    story::{Built, STAGING_PHRASE, Story, commit, push, run_id},
};
use serde_yaml::Value;

use crate::support::{assert_ended, assert_says, output, root, story};

/// The steps of a workflow that use this action: what stands under `with`.
fn steps(file: &str) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(root().join("examples/workflows").join(file)).expect("the example");
    let workflow: Value = serde_yaml::from_str(&text).expect("YAML");
    let jobs = workflow["jobs"].as_mapping().expect("jobs");
    let steps = jobs.values().flat_map(|job| job["steps"].as_sequence().expect("steps"));
    let ours = steps.filter(|step| step["uses"].as_str().is_some_and(|uses| uses.starts_with("OWNER/gated-deploy@")));
    ours.map(|step| serde_yaml::from_value(step["with"].clone()).expect("texts under `with`")).collect()
}

/// Puts a step's inputs into a job. Expressions get the values that this story knows.
fn with(runner: Runner, step: &BTreeMap<String, String>, expressions: &[(&str, &str)]) -> Runner {
    step.iter().fold(runner, |runner, (name, given)| {
        let value = match given.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
            Some(expression) => {
                let known = expressions.iter().find(|(known, _)| *known == expression.trim());
                known.unwrap_or_else(|| panic!("no value for `{given}`")).1
            }
            None => given,
        };
        runner.input(name, value)
    })
}

/// The example's policy with this lab's names in it.
fn policy(story: &Story) -> String {
    let text = fs::read_to_string(root().join("examples/gated-deploy.yml")).expect("the example");
    let mut policy: Value = serde_yaml::from_str(&text).expect("YAML");
    let site = story.staging_site();
    policy["base-dir"] = site.base_dir.into();
    let staging = &mut policy["environments"]["staging"];
    staging["ssh-host"] = story.lab.ssh_addr().ip().to_string().into();
    staging["ssh-port"] = u64::from(story.lab.ssh_addr().port()).into();
    staging["ssh-known-hosts"] = story.lab.known_hosts().into();
    staging["url"] = site.url.into();
    staging["health-address"] = story.lab.http_addr().to_string().into();
    // Both sites are on one server here, and a release need not have been on staging for an hour.
    let site = story.production_site();
    policy["environments"]["staging"]["base-dir"] = policy["base-dir"].clone();
    let production = &mut policy["environments"]["production"];
    production["ssh-host"] = story.lab.ssh_addr().ip().to_string().into();
    production["ssh-port"] = u64::from(story.lab.ssh_addr().port()).into();
    production["base-dir"] = site.base_dir.into();
    production["url"] = site.url.into();
    production["health-address"] = story.lab.http_addr().to_string().into();
    production["grace-period"] = 1.into();
    production["staging-stable-for"] = 0.into();
    serde_yaml::to_string(&policy).expect("YAML")
}

/// The example for production: the merge plans, and the plan's own words release.
fn production(story: &Story, commit: &str) {
    let [deploy] = steps("deploy-production.yml").try_into().expect("one step");
    let (site, staging) = (story.production_site(), story.staging_site());
    let known_hosts = story.lab.known_hosts();
    let run = |event: &str, payload: serde_json::Value, approval: &str, sha: &str| {
        let runner = story.runner(commit).secret(story.lab.private_key()).event(event, payload);
        let runner = runner.secret(&site.health_token).secret(&staging.health_token);
        let expressions = [
            ("inputs.approval", approval),
            ("inputs.sha", sha),
            ("secrets.PRODUCTION_SSH_KEY", story.lab.private_key()),
            ("secrets.STAGING_SSH_KEY", story.lab.private_key()),
            ("vars.PRODUCTION_KNOWN_HOSTS", &known_hosts),
            ("secrets.PRODUCTION_HEALTHCHECK_TOKEN", &site.health_token),
            ("secrets.HEALTHCHECK_TOKEN", &staging.health_token),
        ];
        let runner = with(runner.input("github-token", story.github.token()), &deploy, &expressions);
        runner.file(".github/gated-deploy.yml", &policy(story)).run_binary(story.binary())
    };
    story.github.push("main", commit);
    let push = serde_json::json!({ "ref": "refs/heads/main", "after": commit, "head_commit": { "id": commit } });
    let planned = run("push", push, "", "");
    assert_ended(&planned, 0, "planned");
    let text = planned.summary.lines().find(|line| line.starts_with("PROD-DEPLOY FREIGEGEBEN ")).expect("the phrase");

    let dispatched = serde_json::json!({ "inputs": {}, "ref": "refs/heads/main" });
    // The policy wants the plan's digest.
    assert_ended(&run("workflow_dispatch", dispatched.clone(), "PROD-DEPLOY FREIGEGEBEN", commit), 2, "refused");
    assert_ended(&run("workflow_dispatch", dispatched, text, commit), 0, "live");
    assert_eq!(story.lab.served_commit(&site).expect("the site"), commit);
}

#[test]
fn the_example_workflows_build_a_bundle_and_release_it() {
    let story = story();
    let commit = commit("by the examples");

    // Build artifacts, on a push.
    let [gate] = steps("build-artifacts.yml").try_into().expect("one step");
    let runner = with(story.runner(&commit).event("push", push(&commit)), &gate, &[]);
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    let built = Built::run(runner, &commit, &tree, story.binary()).expect("the gate passes");
    assert_eq!(output(&built.finished, "artifact-name"), format!("deployment-bundle-{commit}"));
    story.publish(&built).expect("the artifact");

    // Deploy to staging, after that build and by hand.
    let [deploy] = steps("deploy-staging.yml").try_into().expect("one step");
    let site = story.staging_site();
    let known_hosts = story.lab.known_hosts();
    let completed = serde_json::json!({
        "action": "completed",
        "workflow_run": {
            "id": run_id(&commit), "head_sha": commit, "head_branch": "develop", "event": "push",
            "status": "completed", "conclusion": "success", "path": ".github/workflows/build-artifacts.yml",
            "name": "Build artifacts", "run_attempt": 1,
            "repository": { "full_name": "acme/shop" }, "head_repository": { "full_name": "acme/shop" },
        },
    });
    let dispatched = serde_json::json!({ "inputs": { "approval": "" }, "ref": "refs/heads/develop" });
    for (event, payload, approval, outcome) in
        [("workflow_dispatch", dispatched, "", "planned"), ("workflow_run", completed, STAGING_PHRASE, "live")]
    {
        let runner = story.runner(&commit).secret(story.lab.private_key()).secret(&site.health_token);
        let runner = runner.event(event, payload).input("github-token", story.github.token());
        let expressions = [
            ("github.event_name == 'workflow_run' && 'STAGING-TEST FREIGEGEBEN' || inputs.approval", approval),
            ("secrets.STAGING_SSH_KEY", story.lab.private_key()),
            ("vars.STAGING_KNOWN_HOSTS", &known_hosts),
            ("secrets.HEALTHCHECK_TOKEN", &site.health_token),
        ];
        let runner = with(runner, &deploy, &expressions);
        fs::create_dir_all(runner.workspace().join(".github")).expect("a folder");
        fs::write(runner.workspace().join(".github/gated-deploy.yml"), policy(&story)).expect("the policy");

        let finished = runner.run_binary(story.binary());

        assert_ended(&finished, 0, outcome);
        for report in ["report", "report-json"] {
            let path = runner.workspace().join(output(&finished, report));
            assert!(path.is_file(), "the output `{report}` can be uploaded: {}", path.display());
        }
    }
    assert_eq!(story.served().expect("the site"), commit);

    production(&story, &commit);

    // Smoke, by the clock.
    let [smoke] = steps("smoke.yml").try_into().expect("one step");
    let runner = story.runner(&commit).secret(&site.health_token);
    let runner = runner.event("schedule", serde_json::json!({ "schedule": "17 */6 * * *" }));
    let runner = with(runner, &smoke, &[("secrets.HEALTHCHECK_TOKEN", &site.health_token)]);
    fs::create_dir_all(runner.workspace().join(".github")).expect("a folder");
    fs::write(runner.workspace().join(".github/gated-deploy.yml"), policy(&story)).expect("the policy");
    assert_ended(&runner.run_binary(story.binary()), 0, "passed");
}

#[test]
fn the_example_workflow_looks_before_a_release_to_production() {
    let story = story();
    let commit = commit("before production");
    story.ship(&commit, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&commit), 0, "live");
    story.github.push("main", &commit);
    let [preflight] = steps("preflight.yml").try_into().expect("one step");
    let token = story.production_site().health_token;
    let staging = story.staging_site().health_token;
    let known_hosts = story.lab.known_hosts();
    let expressions = [
        ("inputs.sha", ""),
        ("secrets.PRODUCTION_SSH_KEY", story.lab.private_key()),
        ("vars.PRODUCTION_KNOWN_HOSTS", &known_hosts),
        ("secrets.PRODUCTION_HEALTHCHECK_TOKEN", &token),
        ("secrets.HEALTHCHECK_TOKEN", &staging),
        ("secrets.STAGING_SSH_KEY", story.lab.private_key()),
    ];
    let runner = story.runner(&commit).secret(story.lab.private_key()).secret(&token).secret(&staging);
    let runner = runner.event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/main" }));
    let runner = with(runner.input("github-token", story.github.token()), &preflight, &expressions);
    fs::create_dir_all(runner.workspace().join(".github")).expect("a folder");
    fs::write(runner.workspace().join(".github/gated-deploy.yml"), policy(&story)).expect("the policy");

    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "passed");
    assert_eq!(output(&finished, "decision"), "go");
    assert!(runner.workspace().join(output(&finished, "report")).is_file(), "the report can be uploaded");
    assert_says(&finished.summary, &["the ledger on its server", "3/3 healthy"]);
}

#[test]
fn the_example_for_a_rollback_plans_first_and_then_goes_back() {
    let story = story();
    let commits = ["to go back to", "to leave"].map(commit);
    let releases = commits.each_ref().map(|commit| {
        story.ship(commit, Variant::Healthy).expect("the build");
        let finished = story.deploy(commit);
        assert_ended(&finished, 0, "live");
        output(&finished, "release").to_owned()
    });
    let [rollback] = steps("rollback.yml").try_into().expect("one step");
    let site = story.staging_site();
    let known_hosts = story.lab.known_hosts();
    let run = |approval: &str| {
        let payload = serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" });
        let runner = story.runner(&commits[1]).secret(story.lab.private_key()).secret(&site.health_token);
        let by_environment = |kind: &str, name: &str, production: &str| {
            format!("inputs.environment == 'production' && {kind}.PRODUCTION_{production} || {kind}.{name}")
        };
        let key = by_environment("secrets", "STAGING_SSH_KEY", "SSH_KEY");
        let hosts = by_environment("vars", "STAGING_KNOWN_HOSTS", "KNOWN_HOSTS");
        let token = by_environment("secrets", "HEALTHCHECK_TOKEN", "HEALTHCHECK_TOKEN");
        let expressions = [
            ("inputs.environment", "staging"),
            ("inputs.approval", approval),
            ("inputs.rollback-to", ""),
            ("inputs.ignore-schema-verdict", "false"),
            (key.as_str(), story.lab.private_key()),
            (hosts.as_str(), &known_hosts),
            (token.as_str(), &site.health_token),
        ];
        let runner = with(runner.event("workflow_dispatch", payload), &rollback, &expressions);
        runner.file(".github/gated-deploy.yml", &policy(&story)).run_binary(story.binary())
    };
    let planned = run("");
    assert_ended(&planned, 0, "planned");
    let text = planned.summary.lines().find(|line| line.starts_with(STAGING_PHRASE)).expect("the phrase");

    let finished = run(text);

    assert_ended(&finished, 0, "live");
    assert_eq!([output(&finished, "release"), output(&finished, "previous-release")], releases);
    assert_eq!(story.served().expect("the site"), commits[0]);
}

#[test]
fn the_example_for_recovery_says_what_there_is_to_do_and_does_it() {
    let story = story();
    let [recover] = steps("recover.yml").try_into().expect("one step");
    let site = story.staging_site();
    let known_hosts = story.lab.known_hosts();
    let run = |plan_only: &str| {
        let runner = story.runner(&commit("recovering")).secret(story.lab.private_key()).secret(&site.health_token);
        let by_environment = |kind: &str, name: &str, production: &str| {
            format!("inputs.environment == 'production' && {kind}.PRODUCTION_{production} || {kind}.{name}")
        };
        let key = by_environment("secrets", "STAGING_SSH_KEY", "SSH_KEY");
        let hosts = by_environment("vars", "STAGING_KNOWN_HOSTS", "KNOWN_HOSTS");
        let token = by_environment("secrets", "HEALTHCHECK_TOKEN", "HEALTHCHECK_TOKEN");
        let expressions = [
            ("inputs.environment", "staging"),
            ("inputs.plan-only", plan_only),
            (key.as_str(), story.lab.private_key()),
            (hosts.as_str(), &known_hosts),
            (token.as_str(), &site.health_token),
        ];
        with(runner, &recover, &expressions)
            .file(".github/gated-deploy.yml", &policy(&story))
            .run_binary(story.binary())
    };
    // What a run leaves that died before its switch.
    let remains = "backups/20250202_000000-0badc0de.part";
    story.lab.exec_as("deploy", &format!("mkdir -p /var/www/staging/{remains}")).expect("a half backup");
    let planned = run("true");
    assert_ended(&planned, 0, "planned");
    assert_says(&planned.log, &[&format!("remove /var/www/staging/{remains}")]);

    let finished = run("false");

    assert_ended(&finished, 0, "passed");
    assert_says(&finished.summary, &["recovery is complete; the site is healthy"]);
    story.lab.exec(&format!("test ! -e /var/www/staging/{remains}")).expect("it is gone");
}

#[test]
fn the_example_for_the_audit_looks_at_both_places_and_keeps_one_issue() {
    let story = story();
    let sha = commit("the head of develop");
    crate::audit::fill(&story.github);
    let steps = steps("audit.yml");
    let stages: Vec<(&str, &str)> =
        steps.iter().map(|step| (step["stage"].as_str(), step["environment"].as_str())).collect();
    let all = |environment| ["audit", "smoke", "verify"].map(|stage| (stage, environment));
    assert_eq!(stages, [all("staging"), all("production")].concat());
    let (site, staging) = (story.production_site(), story.staging_site());
    let known_hosts = story.lab.known_hosts();
    let files = crate::audit::Repository::new().files;
    let mut decisions = Vec::new();
    for step in &steps {
        let runner =
            story.runner(&sha).secret(story.lab.private_key()).secret(&site.health_token).secret(&staging.health_token);
        let runner = runner.event("schedule", serde_json::json!({ "schedule": "43 */6 * * *" }));
        let expressions = [
            ("secrets.PRODUCTION_SSH_KEY", story.lab.private_key()),
            ("secrets.STAGING_SSH_KEY", story.lab.private_key()),
            ("vars.PRODUCTION_KNOWN_HOSTS", known_hosts.as_str()),
            ("vars.STAGING_KNOWN_HOSTS", &known_hosts),
            ("secrets.PRODUCTION_HEALTHCHECK_TOKEN", &site.health_token),
            ("secrets.HEALTHCHECK_TOKEN", &staging.health_token),
        ];
        let mut runner = with(runner, step, &expressions);
        if step["stage"] == "audit" {
            runner = runner.input("github-token", story.github.token());
        }
        let runner = files.iter().fold(runner, |runner, (path, text)| runner.file(path, text));
        let finished = runner.file(".github/gated-deploy.yml", &policy(&story)).run_binary(story.binary());
        assert_ended(&finished, 0, "passed");
        decisions.push(output(&finished, "decision").to_owned());
        if step["stage"] == "audit" {
            assert!(runner_has(&finished, "report"), "the issue's text is there");
        }
    }
    assert_eq!(decisions, ["go"; 6]);
    assert!(story.github.requests().iter().all(|request| request.method == "GET"));
}

fn runner_has(finished: &gated_deploy_lab::runner::Finished, name: &str) -> bool {
    output(finished, name).contains("/AUDIT_")
}

/// The program that keeps the issue, with a `gh` that notes down how it is called.
#[test]
fn the_issue_of_the_audit_is_opened_once_edited_in_place_and_closed_when_all_is_well() {
    let text = fs::read_to_string(root().join("examples/workflows/audit.yml")).expect("the example");
    let workflow: Value = serde_yaml::from_str(&text).expect("YAML");
    let steps = workflow["jobs"]["audit"]["steps"].as_sequence().expect("steps");
    let program = steps.last().and_then(|step| step["run"].as_str()).expect("a program");
    assert!(!program.contains("${{"), "no expression becomes part of the program");
    let folder = tempfile::tempdir().expect("a folder");
    let gh = folder.path().join("gh");
    fs::write(&gh, "#!/bin/sh\necho \"$*\" >>\"$CALLS\"\ncase $* in *'issue list'*) printf '%s' \"$NUMBER\" ;; *--body-file*) for last; do :; done; cat \"$last\" >>\"$BODY\" ;; esac\n").expect("gh");
    fs::set_permissions(&gh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let report = folder.path().join("report.md");
    fs::write(&report, "# The report\n").expect("a report");
    let calls_of = |decisions: [&str; 6], number: &str| {
        let (calls, body) = (folder.path().join("calls"), folder.path().join("body"));
        for file in [&calls, &body] {
            fs::write(file, "").expect("a file");
        }
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("PATH"));
        let status = std::process::Command::new("bash")
            .args(["-e", "-c", program])
            .env("PATH", path)
            .env("CALLS", &calls)
            .env("BODY", &body)
            .env("NUMBER", number)
            .env("RUN", "https://github.com/acme/shop/actions/runs/1")
            .env("REPORTS", format!("{} ", report.display()))
            .envs(
                ["STAGING", "PRODUCTION", "SMOKE_STAGING", "SMOKE_PRODUCTION", "VERIFY_STAGING", "VERIFY_PRODUCTION"]
                    .into_iter()
                    .zip(decisions),
            )
            .status()
            .expect("bash");
        assert!(status.success());
        let calls = fs::read_to_string(calls).expect("calls");
        let verbs = calls.lines().filter(|line| line.starts_with("issue") && !line.contains("list"));
        let verbs = verbs.map(|line| line.split(" --").next().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        (verbs, fs::read_to_string(body).expect("a body"))
    };
    let (well, sick) = (["go"; 6], ["go", "go", "no-go", "go", "go", "no-go"]);
    let (calls, body) = calls_of(sick, "");
    assert_eq!(calls, ["issue create"]);
    assert_says(
        &body,
        &[
            "Sites: staging no-go, production go. Servers as confirmed: staging go, production no-go",
            "# The report",
            "actions/runs/1",
        ],
    );
    assert_eq!(calls_of(sick, "7").0, ["issue edit 7", "issue reopen 7"]);
    assert_eq!(calls_of(well, "7").0, ["issue edit 7", "issue close 7"]);
    assert_eq!(calls_of(well, "").0, Vec::<String>::new(), "nothing to tell, and nothing is told");
}

#[test]
fn the_example_workflows_have_least_permissions_and_pinned_actions() {
    for entry in fs::read_dir(root().join("examples/workflows")).expect("the examples") {
        let text = fs::read_to_string(entry.expect("an example").path()).expect("text");
        let workflow: Value = serde_yaml::from_str(&text).expect("YAML");
        assert_eq!(workflow["permissions"], Value::Mapping(serde_yaml::Mapping::new()), "nothing by default");
        assert_eq!(
            workflow["concurrency"]["cancel-in-progress"],
            Value::Bool(false),
            "F15: a running release is never cancelled by the next"
        );
        for line in text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("uses: ")) {
            let (name, version) = line.split_once('@').expect("a version");
            let sha = version
                .split(' ')
                .next()
                .is_some_and(|sha| sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit()));
            assert!(sha || name == "OWNER/gated-deploy", "F14: {line} is not pinned to a commit");
        }
    }
}
