//! `stage: verify`: whether a server still has what was confirmed on it.

use gated_deploy_lab::{
    app::Variant,
    runner::Runner,
    server::SEED_RELEASE,
    story::{Story, commit},
};

use crate::support::{assert_ended, assert_says, output, story};

const BASE: &str = "/var/www/staging";

/// The step, on a schedule. It gets what `examples/workflows/audit.yml` gives it.
fn verify(story: &Story) -> Runner {
    let site = story.staging_site();
    let unused = ["stage", "approval", "github-token", "grace-period"];
    let inputs = story.staging_inputs();
    let needed = |name: &&str| !name.starts_with("build-") && !unused.contains(name);
    let step = story
        .runner(&commit("wherever the workflow stands"))
        .secret(story.lab.private_key())
        .secret(&site.health_token)
        .event("schedule", serde_json::json!({ "schedule": "43 */6 * * *" }))
        .input("stage", "verify")
        .input("environment", "staging");
    inputs.iter().filter(|(name, _)| needed(name)).fold(step, |step, (name, value)| step.input(name, value))
}

#[test]
fn a_server_that_has_what_was_confirmed_is_go_and_whatever_differs_is_named() {
    let story = story();
    let step = verify(&story);
    let run = || step.run_binary(story.binary());
    let on = |script: &str| story.lab.exec(&format!("set -eu; cd {BASE}\n{script}")).expect("the change");

    // Nothing was released by this action yet: there is nothing to compare, and that is no fault.
    let finished = run();
    assert_ended(&finished, 0, "passed");
    assert_says(&finished.log, &["verify-tree-unknown", "has no confirmed release yet", "verify-backups-missing"]);

    for word in ["verified one", "verified two"] {
        let commit = commit(word);
        story.ship(&commit, Variant::Healthy).expect("the build");
        assert_ended(&story.deploy(&commit), 0, "live");
    }
    let release = story.current().expect("current").expect("a release");
    let before = story.lab.tree_digest("/var/www").expect("the tree");
    let finished = run();
    assert_ended(&finished, 0, "passed");
    assert_eq!(output(&finished, "decision"), "go");
    assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "a verification changes nothing");
    assert_says(
        &finished.summary,
        &["GO, with 1 warning: 7 of 7 checks passed, nothing was changed", "url-unencrypted"],
    );
    assert_says(
        &finished.log,
        &[
            "2 lines, each with the digest of the one before it",
            "as confirmed 20",
            "2 as their SHA256SUMS say",
            &format!("it answers as {release}"),
        ],
    );
    assert!(output(&finished, "report-json").contains("/VERIFICATION_"), "{}", output(&finished, "report-json"));

    // Everything at once, and one run names all of it.
    on("cp .gated-deploy/ledger.jsonl /tmp/ledger; sed -i '1s/{/{ /' .gated-deploy/ledger.jsonl
        cd current/
        echo '// changed' >>routes/web.php; rm artisan; ln -sfn /etc public/link
        for number in $(seq 30); do echo added >public/added-$number.txt; done
        sed -i \"s/'commit' => '[0-9a-f]*'/'commit' => '0123456789012345678901234567890123456789'/\" bootstrap/cache/config.php
        cd /var/www/staging
        newest=$(ls backups | tail -n 1); printf x >>backups/$newest/database.sql.gz; rm backups/$newest/app.tar.gz
        oldest=$(ls backups | head -n 1); : >backups/$oldest/SHA256SUMS
        service php8.2-fpm restart");
    let finished = run();
    assert_ended(&finished, 1, "refused");
    assert_eq!(output(&finished, "decision"), "no-go");
    assert_says(&finished.summary, &["NO-GO: 4 checks failed, nothing was changed"]);
    let report = std::fs::read_to_string(step.workspace().join(output(&finished, "report-json"))).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let findings = report["facts"]["findings"].to_string();
    for code in ["verify-ledger-broken", "verify-tree-changed", "verify-backup-damaged"] {
        assert!(findings.contains(code), "{code} in {findings}");
    }
    assert_says(
        &finished.log,
        &[
            "the chain of /var/www/staging/.gated-deploy/ledger.jsonl is broken: line 2",
            "1 changed, 31 added, 1 missing",
            "changed: routes/web.php",
            "added: public/added-1.txt",
            "added: and 11 more",
            "missing: artisan",
            "database.sql.gz: FAILED",
            "app.tar.gz",
            "SHA256SUMS is empty",
            "answers as 0123456789012345678901234567890123456789",
        ],
    );

    // A switch by hand, to a release that was never confirmed.
    on(&format!(
        "cp /tmp/ledger .gated-deploy/ledger.jsonl; ln -sfn releases/{SEED_RELEASE} current; service php8.2-fpm reload"
    ));
    let finished = run();
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.log, &["verify-live-unconfirmed", "the ledger does not have it as confirmed"]);
}
