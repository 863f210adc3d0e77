//! An audit that we know: this is how GitHub and the server stood, and how they stand after each fix was done.

use std::collections::BTreeMap;

use gated_deploy_lab::{
    app::Variant,
    github::{Artifact, Branch, Dispatch, Job, Phase, Run},
    story::{Story, artifact, commit, green_run, run_id},
};

use crate::{
    audit::{Audited, BUILD, PRODUCTION, Repository, STAGING, head, on_server, run},
    fix::{FIX_PHRASE, fix_on},
    support::{assert_ended, assert_says, output, story},
};

/// Never expires while these tests run.
const LATE: &str = "2099-01-01T00:00:00Z";

const PHANTOM: &str = ".github/workflows/deploy-production-old.yml";

/// What is wrong, and how much hangs on it.
const FINDINGS: [(&str, &str); 14] = [
    ("build-of-develop", "P0"),
    ("develop-required-checks", "P1"),
    ("develop-review", "P1"),
    ("develop-up-to-date", "P1"),
    ("duplicate-workflows", "P1"),
    ("foreign-owner", "P1"),
    // The site refuses the workflow's token.
    ("health", "P0"),
    ("health-token-match", "P0"),
    ("main-protected", "P0"),
    ("main-required-checks", "P0"),
    ("newest-not-live", "P1"),
    ("phantom-workflow", "P2"),
    ("staging-failures", "P2"),
    ("staging-runs", "P1"),
];

/// What the logs of the three failed runs end in.
const FAILURES: [(u64, &str); 3] = [
    (2011, "2026-01-05T09:00:00.1234567Z Load key \"/tmp/key\": error in libcrypto\n"),
    (2012, "2026-01-05T09:10:00.1234567Z deploy@staging: Permission denied (publickey).\n"),
    (2013, "2026-01-05T09:20:00.1234567Z sudo: a password is required\n"),
];

/// Releases twice and goes back, as somebody did on that day.
fn server(story: &Story) {
    for word in ["the release that is live", "the release that was left"] {
        let sha = commit(word);
        let build = story.ship(&sha, Variant::Healthy).expect("the build");
        story.github.edit_artifact(build + 1, |artifact| artifact.expires_at = Some(LATE.to_owned()));
        assert_ended(&story.deploy(&sha), 0, "live");
    }
    let back =
        story.staging(&commit("the release that was left")).input("stage", "rollback").input("environment", "staging");
    assert_ended(&back.run_binary(story.binary()), 0, "live");
    story
        .lab
        .exec("mkdir /var/www/staging/current/public/docs && touch /var/www/staging/current/public/docs/index.html")
        .expect("as root");
}

/// Nothing is protected, a workflow has no file, and the last three runs failed.
fn github(story: &Story) {
    let main = commit("the head of main");
    story.github.add_commits(&[&main, &head()]);
    for (name, sha) in [("main", main.clone()), ("develop", head())] {
        story.github.add_branch(Branch { name: name.to_owned(), sha, protected: false });
        story.github.files(name, &[BUILD, STAGING, PRODUCTION]);
    }
    for id in 2000..2014 {
        let conclusion = if id < 2011 { "success" } else { "failure" };
        story
            .github
            .add_run(Run { phase: Phase::completed(conclusion), ..run(id, STAGING, "Deploy to staging", &main) });
    }
    for (id, log) in FAILURES {
        story.github.jobs(id, vec![Job::of("deploy", "failure", &[("Set up job", "success"), ("Release", "failure")])]);
        story.github.log(id, 0, log);
    }
    story.github.add_run(run(920, PRODUCTION, "Deploy to production", &main));
    story.github.add_workflow("Deploy to production", PHANTOM);
}

/// An audit of staging, which changes nothing anywhere.
fn audit(story: &Story, token: &str) -> Audited {
    audit_with(story, &[("healthcheck-token", token)])
}

fn audit_with(story: &Story, inputs: &[(&str, &str)]) -> Audited {
    let tree = || story.lab.tree_digest("/var/www").expect("the tree");
    let (asked, before) = (story.github.requests().len(), tree());
    let audited = on_server(story, &Repository::new(), inputs);
    assert_eq!(tree(), before, "not a byte of the server changed");
    let requests = &story.github.requests()[asked..];
    assert!(!requests.is_empty() && requests.iter().all(|request| request.method == "GET"), "an audit only reads");
    audited
}

fn not_met(audited: &Audited) -> BTreeMap<String, String> {
    let impact = |id: &str| audited.finding(id)["impact"].as_str().expect("an impact").to_owned();
    audited.with_status("not-met").into_iter().map(|id| (id.clone(), impact(&id))).collect()
}

fn left_of(audited: &Audited) -> Vec<String> {
    not_met(audited).into_keys().collect()
}

#[test]
fn f92_the_audit_that_we_know_is_found_again_and_each_fix_takes_its_finding_away() {
    let story = story();
    server(&story);
    github(&story);
    let old = "the-token-of-last-year";
    let audited = audit(&story, old);
    assert_ended(&audited.finished, 1, "refused");
    assert_eq!(output(&audited.finished, "decision"), "no-go");
    let known: BTreeMap<String, String> =
        FINDINGS.iter().map(|(id, impact)| ((*id).to_owned(), (*impact).to_owned())).collect();
    assert_eq!(not_met(&audited), known, "exactly these");
    assert_eq!(audited.with_status("unseen"), ["secret-names".to_owned()].into());
    for environment in ["staging", "production"] {
        assert!(!audited.verdict(environment).0, "NO-GO for {environment}");
    }

    // Why the runs failed is read without a phrase, and nothing is written for it.
    let read = fix_on(&story, "staging-failures", "", &[]);
    assert_ended(&read.finished, 0, "passed");
    assert_eq!(output(&read.finished, "executed"), "false");
    assert_says(
        &read.finished.summary,
        &[
            "Read: 3 failed runs were read; the cause of 3 is known",
            "run 2013: what to do",
            "error in libcrypto",
            "(F67)",
        ],
    );
    assert_eq!(read.document["facts"]["diagnoses"].as_array().map(Vec::len), Some(3));
    assert_eq!(story.github.written(), []);

    // What needs an administrator's token gets one; each is approved by itself, and takes away what it is for and nothing else.
    story.github.administrator(true);
    let mut left = known;
    let mut token = old.to_owned();
    let mend = |name: &str, token: &str| {
        let fixed = fix_on(&story, name, FIX_PHRASE, &[("healthcheck-token", token), ("build-wait-attempts", "6")]);
        assert_ended(&fixed.finished, 0, "passed");
        assert_eq!(output(&fixed.finished, "executed"), "true", "{name} had something to do");
        let again = fix_on(&story, name, FIX_PHRASE, &[("healthcheck-token", token)]);
        // Only what a workflow passes is not what was written until it passes it.
        if name != "health-token" {
            assert_ended(&again.finished, 0, "passed");
            assert_eq!(output(&again.finished, "executed"), "false", "{name} is done");
        }
    };
    let mut gone = |audited: &Audited, ids: &[&str]| {
        left.retain(|id, _| !ids.contains(&id.as_str()));
        assert_eq!(not_met(audited), left);
    };

    mend("branch-protection-main", &token);
    gone(&audit(&story, &token), &["main-protected", "main-required-checks"]);
    mend("branch-protection-develop", &token);
    gone(&audit(&story, &token), &["develop-required-checks", "develop-up-to-date", "develop-review"]);

    let built = story
        .build(&head(), &gated_deploy_lab::app::source(&head(), Variant::Healthy).expect("the app"))
        .expect("a bundle");
    let number = run_id(&head());
    let left_behind = Artifact { expires_at: Some(LATE.to_owned()), ..artifact(number, &built).expect("an artifact") };
    let phases = vec![Phase::queued(), Phase::in_progress(), Phase::completed("success")];
    story.github.on_dispatch(BUILD, Dispatch { run: green_run(&head()), phases, artifacts: vec![left_behind] });
    mend("build-head", &token);
    gone(&audit(&story, &token), &["build-of-develop"]);

    mend("health-token", &token);
    token = story.github.secret_value("HEALTHCHECK_TOKEN").expect("the secret");
    gone(&audit(&story, &token), &["health", "health-token-match"]);

    mend("phantom-workflow", &token);
    gone(&audit(&story, &token), &["phantom-workflow", "duplicate-workflows"]);

    story
        .lab
        .exec("echo 'deploy ALL=(root) NOPASSWD: /usr/bin/chown -h deploy /var/www/staging/releases/*' >/etc/sudoers.d/docs")
        .expect("a rule");
    mend("docs-ownership", &token);
    gone(&audit(&story, &token), &["foreign-owner"]);

    // For the rest there is no fix but what the finding recommends: the newest build released, by a run that ends well.
    assert_ended(&story.deploy(&head()), 0, "live");
    story.github.add_run(run(2014, STAGING, "Deploy to staging", &head()));
    let audited = audit(&story, &token);
    gone(&audited, &["newest-not-live", "staging-runs"]);
    // That there were failures stays worth knowing until twenty runs have passed.
    assert_eq!(left_of(&audited), ["staging-failures"]);
    assert_ended(&audited.finished, 0, "passed");
    for environment in ["staging", "production"] {
        assert_eq!(audited.verdict(environment), (true, "[]".to_owned()), "GO for {environment}");
    }

    // With the token of a job, and production's own server: GO for both as well.
    story.github.administrator(false);
    assert_ended(&audit(&story, &token).finished, 0, "passed");
    let site = story.production_site();
    let production = audit_with(
        &story,
        &[
            ("environment", "production"),
            ("base-dir", &site.base_dir),
            ("url", &site.url),
            ("healthcheck-token", &site.health_token),
        ],
    );
    assert_ended(&production.finished, 0, "passed");
    assert!(production.verdict("production").0 && production.verdict("staging").0);
    assert_eq!(left_of(&production), ["last-releases", "staging-failures"], "both are P2");
}
