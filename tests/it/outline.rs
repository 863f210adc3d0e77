//! The tables: which rows, in which order, and how each change is undone.

use std::collections::BTreeSet;

use gated_deploy::{
    domain::{
        fix::FixName,
        row::{self, RowId},
    },
    engine::event::{RowInfo, RowKind},
    server::ledger::REACHED,
    stages::{audit, build_gate, deploy, fix, preflight, recover, rollback, verify},
};

fn outline(rows: &[RowInfo]) -> String {
    let lines = rows.iter().map(|row| {
        let number = row.number.map_or("  ".to_owned(), |number| format!("{number:>2}"));
        let kind = format!("{:?}", row.kind).to_lowercase();
        let undo = row.undo.as_deref().map_or(String::new(), |undo| format!(" ({undo})"));
        let lane = row.lane.map_or(String::new(), |lane| format!(" [lane {lane}]"));
        format!("{} {number} {kind:7} {}{undo}{lane}", if row.survey { "look" } else { "do  " }, row.step)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn f64_a_release_is_one_table_whatever_the_environment() {
    insta::assert_snapshot!(outline(&deploy::table().outline()), @r"
    look  6 observe find-build [lane 1]
    look    observe read-bundle [lane 1]
    look  7 observe reach-server [lane 2]
    look  7 observe survey-server [lane 2]
    look    observe bundle-gates
    look    observe php
    look  7 observe can-reload [lane 1]
    look  7 observe live-tree [lane 2]
    look  7 observe baseline-health [lane 3]
    look    observe look-ahead [lane 4]
    look    observe env-file [lane 5]
    look    observe shared-folders [lane 6]
    look    observe room
    do      hold    deploy-lock (free it, or keep it for the next run)
    do      change  finish-unconfirmed (not undone: it was not confirmed)
    do      check   nothing-moved
    do      hold    ledger (record the outcome)
    do    8 change  backup (remove an unfinished backup) [lane 1]
    do    8 change  copy-backup (remove an unfinished copy) [lane 1]
    do    9 check   await-build [lane 2]
    do   10 hold    fetch-bundle (remove it from the runner) [lane 2]
    do   11 change  upload (remove the uploaded file) [lane 2]
    do   11 change  unpack-release (remove that folder) [lane 2]
    do   12 check   verify-tree [lane 2]
    do   12 check   boot-release [lane 2]
    do   13 change  before-migrate (not undone: what they did before the migrations stays)
    do   13 change  migrate (wait for it to end; completed migrations stay)
    do   14 change  build-caches (removed with the new folder)
    do      check   seal-release
    do      hold    name-release (remove the one-time file)
    do   14 check   canary
    do   14 change  before-switch (not undone: what they did before the switch stays)
    do   14 check   warm-up
    do      hold    sample-site (stop the sampler)
    do   15 check   can-still-reload
    do      hold    arm-hooks (run them after an automatic rollback)
    do      hold    arm-watchdog (disarm it, unless the run is stuck)
    do   15 change  switch (switch back, reload, check the previous release's health)
    do   16 change  rebuild-caches (removed with the new folder)
    do   17 change  reload (reloaded again after the switch back)
    do   17 check   warm-up-again
    do   17 change  restart-workers (restarted again after the switch back)
    do   17 change  after-switch (not undone: what they did after the switch stays)
    do   18 check   grace
    do   19 check   health
    do   20 check   assets
    do      check   zero-downtime
    do      check   confirm
    do      commit  live
    do      change  prune (not undone: pruned files cannot be restored)
    ");
}

#[test]
fn f84_a_rollback_is_the_same_release_from_the_gates_on_with_another_target() {
    insta::assert_snapshot!(outline(&rollback::table(None).outline()), @r"
    look  7 observe reach-server
    look  7 observe survey-server
    look  7 observe can-reload [lane 1]
    look  7 observe live-tree [lane 2]
    look  7 observe present-health [lane 3]
    look    observe choose-release
    do      hold    deploy-lock (free it, or keep it for the next run)
    do      change  finish-unconfirmed (not undone: it was not confirmed)
    do      check   nothing-moved
    do      hold    ledger (record the outcome)
    do      check   unchanged-tree
    do   12 check   verify-tree
    do   12 check   boot-release
    do   14 change  build-caches (not undone: the new caches match the current .env)
    do      hold    name-release (remove the one-time file)
    do   14 check   canary
    do   15 check   can-still-reload
    do      hold    arm-hooks (run them after an automatic rollback)
    do      hold    arm-watchdog (disarm it, unless the run is stuck)
    do   15 change  switch (switch back, reload, check the previous release's health)
    do   17 change  reload (reloaded again after the switch back)
    do   17 change  restart-workers (restarted again after the switch back)
    do   18 check   grace
    do   19 check   health
    do   20 check   assets
    do      check   confirm
    do      commit  live
    do      change  after-rollback (not undone: what they did after the rollback stays)
    ");
    // From the gates on both have the same rows, but for what only a new release needs, and what only a rollback does.
    let steps = |rows: Vec<RowInfo>| -> Vec<String> {
        let steps = rows.into_iter().map(|row| row.step.to_string());
        steps.skip_while(|step| step != "verify-tree").collect()
    };
    let mut release = steps(deploy::table().outline());
    let of_a_release = [
        "before-migrate",
        "migrate",
        "seal-release",
        "before-switch",
        "warm-up",
        "warm-up-again",
        "sample-site",
        "rebuild-caches",
        "after-switch",
        "zero-downtime",
        "prune",
    ];
    release.retain(|step| !of_a_release.contains(&step.as_str()));
    let mut back = steps(rollback::table(None).outline());
    back.retain(|step| step != "after-rollback");
    assert_eq!(back, release);
}

#[test]
fn f89_how_far_an_attempt_came_is_read_from_rows_that_there_are() {
    let steps = |rows: Vec<RowInfo>| rows.into_iter().map(|row| row.step.to_string()).collect::<Vec<_>>();
    let (release, back) = (steps(deploy::table().outline()), steps(rollback::table(None).outline()));
    let places: Vec<Option<usize>> =
        REACHED.iter().map(|(row, _)| release.iter().position(|step| step == row.as_str())).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert!(REACHED.is_sorted_by_key(|(_, reached)| *reached));
    for (row, _) in &REACHED[1..] {
        assert!(back.iter().any(|step| step == row.as_str()), "{row:?}");
    }
}

/// What a report asks of a row, or the ledger, is asked of one that can be there.
#[test]
fn every_row_that_code_asks_for_stands_in_a_table() {
    let fixes = FixName::ALL.into_iter().flat_map(fix::outline);
    let rows: BTreeSet<String> = [
        audit::table().outline(),
        build_gate::table().outline(),
        deploy::production().outline(),
        preflight::table().outline(),
        verify::table().outline(),
        recover::table().outline(),
        rollback::table(None).outline(),
    ]
    .into_iter()
    .flatten()
    .chain(fixes)
    .map(|row| row.step.to_string())
    .collect();
    let missing: Vec<&RowId> = row::EVERY.iter().filter(|id| !rows.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_build_gate_is_a_table_too() {
    insta::assert_snapshot!(outline(&build_gate::table().outline()), @r"
    look  1 observe resolve-event
    look  4 observe pre-bundle-gates
    do    5 change  pack-bundle (remove the bundle's files)
    do      check   verify-bundle
    ");
}

#[test]
fn a_preflight_only_looks() {
    insta::assert_snapshot!(outline(&preflight::table().outline()), @r"
    look 22 observe staging-evidence
    look    observe find-build
    look    observe read-bundle
    look    observe reach-server
    look    observe survey-server
    look    observe privileges
    look    observe can-reload
    look    observe nginx
    look    observe reload
    look    observe bundle-gates
    look    observe php
    look    observe env-file [lane 1]
    look    observe shared-folders [lane 2]
    look    observe room
    look    observe backups
    look    observe baseline-health
    ");
}

#[test]
fn recovery_is_a_table_whose_way_back_is_the_undo_of_what_the_dead_run_did() {
    insta::assert_snapshot!(outline(&recover::table().outline()), @r"
    look    observe reach-server
    look    observe survey-server
    do      hold    deploy-lock (free it, or keep it for the next run)
    do      change  finish-unconfirmed (roll it back, remove the leftovers, check the site's health)
    do      check   health
    ");
}

#[test]
fn a_verification_only_looks() {
    insta::assert_snapshot!(outline(&verify::table().outline()), @r"
    look    observe reach-server
    look    observe survey-server
    look    observe ledger-chain
    look    observe live-tree
    look    observe backup-digests
    look    observe site-health
    ");
}

#[test]
fn an_audit_only_looks() {
    insta::assert_snapshot!(outline(&audit::table().outline()), @r"
    look    observe scope
    look    observe branch-protection
    look    observe listed-workflows
    look    observe last-runs
    look    observe newest-build
    look    observe branches-agree
    look    observe gate-integrity
    look    observe reach-server
    look    observe survey-server
    look    observe live-release
    look    observe site-health
    look    observe health-token
    ");
}

#[test]
fn each_fix_looks_changes_one_thing_and_looks_again() {
    let outlines: Vec<String> =
        FixName::ALL.into_iter().map(|name| format!("{name}\n{}", outline(&fix::outline(name)))).collect();
    insta::assert_snapshot!(outlines.join("\n"), @r"
    branch-protection-main
    look    observe branch-protection
    do      change  protect-branch (restore the earlier protection)
    do      check   branch-protected
    branch-protection-develop
    look    observe branch-protection
    do      change  protect-branch (restore the earlier protection)
    do      check   branch-protected
    build-head
    look    observe head-build
    do      change  start-build (not undone: a started build continues and changes nothing else)
    do      check   await-bundle
    health-token
    look    observe reach-server
    look    observe server-token
    do      change  write-secret (not undone: GitHub cannot return the earlier value; the secret may already hold the server's token)
    do      check   secret-written
    phantom-workflow
    look    observe listed-workflows
    do      change  disable-workflows (enable them again)
    do      check   workflows-disabled
    docs-ownership
    look    observe reach-server
    look    observe foreign-owners
    do      change  change-owner (not undone: the new owner stays; the report names the earlier one)
    do      check   owner-changed
    staging-failures
    look    observe failed-runs
    ");
}

#[test]
fn every_row_has_a_name_of_its_own_and_every_change_says_its_undo() {
    for rows in [
        deploy::table().outline(),
        rollback::table(None).outline(),
        build_gate::table().outline(),
        preflight::table().outline(),
        verify::table().outline(),
        audit::table().outline(),
        recover::table().outline(),
    ]
    .into_iter()
    .chain(FixName::ALL.into_iter().map(fix::outline))
    {
        let names: BTreeSet<&str> = rows.iter().map(|row| row.step.as_str()).collect();
        assert_eq!(names.len(), rows.len(), "each name once");
        for row in &rows {
            let kebab = row
                .step
                .as_str()
                .split('-')
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
            assert!(kebab, "{}", row.step);
            assert!(
                row.kind != RowKind::Change || row.undo.as_deref().is_some_and(|undo| undo.len() > 8),
                "{}",
                row.step
            );
            assert!(!row.survey || row.kind == RowKind::Observe, "{}: before the approval, rows only read", row.step);
        }
        // Steps come in the pipeline's order.
        let numbers: Vec<u8> = rows.iter().filter_map(|row| row.number).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}
