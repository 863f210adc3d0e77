//! The whole release on one screen: one row per step, with the pipeline's step numbers.
//!
//! Every environment runs this table; they differ in configuration only (F64).

use crate::{
    bundle::artifact,
    context::{Deploy, Survey},
    engine::{
        Table,
        step::{Entry, change, check, commit, hold, no_undo, observe, release, undo, within},
    },
    server::{
        activation::current,
        backup::{self, copy, retention},
        database::{self, outlook},
        health::{identity, probe, sampler},
        ledger, lock, recovery,
        release_dir::{cache, seal, tree},
        remote::{by_hand, previewed},
        services::{ready, reload, workers},
        staging, survey, watchdog,
    },
    stages::shared::checks::list::checks,
};

/// The same for production, which takes only what staging has proven.
pub fn production() -> Table<Survey, Deploy> {
    let mut table = table();
    let after = |rows: &[Entry<Deploy>], row: &str| {
        rows.iter().position(|entry| entry.has(row)).map_or(rows.len(), |at| at + 1)
    };
    // Before the build is looked for: it is the one that staging confirmed.
    table.survey.insert(
        0,
        observe("staging-evidence", "22 Staging is healthy, and has proven this commit", staging::evidence)
            .run_on()
            .into(),
    );
    let fetched = after(&table.release, "fetch-bundle");
    table.release.insert(
        fetched,
        check(
            "same-bundle",
            "22 It is the bundle that staging confirmed",
            previewed(staging::same_bundle, staging::bundle_preview),
        )
        .into(),
    );
    table
}

/// Every row before the seam runs on when one failed, so that one run names every problem. A row whose input is missing, because an earlier
/// row failed, skips.
#[rustfmt::skip]
pub fn table() -> Table<Survey, Deploy> {
    let mut table = Table {
        survey: vec![
            observe("find-build",      "6 Find the build of this commit",         artifact::look)    .run_on().into(),
            observe("reach-server",    "7 Reach the server",                      survey::reach)     .run_on().into(),
            observe("survey-server",   "7 Look at the server",                    survey::look)      .run_on().into(),
            observe("can-reload",      "7 Check that PHP-FPM and nginx can be reloaded", ready::look).run_on().into(),
            observe("live-tree",       "7 Compare the live release with what was confirmed", seal::live).advisory().into(),
            observe("baseline-health", "7 Ask the site how it is now",            probe::baseline)   .run_on().into(),
            observe("read-bundle",     "Download the bundle and read it",         artifact::read)    .run_on().into(),
            observe("look-ahead",      "What the release would change",           outlook::look)     .run_on().into(),
        ],
        release: vec![
            hold  ("deploy-lock",      "Take the deploy lock",                    lock::acquire,            release("free it, unless stuck", lock::release)).into(),
            change("finish-unconfirmed", "Go back from what nobody confirmed",    recovery::finish,         no_undo("nobody had confirmed it")).into(),
            check ("nothing-moved",    "Nobody deployed while we looked",         current::unmoved).into(),
            hold  ("ledger",           "Open the ledger",                         ledger::open,             release("write down how it ended", ledger::write).at_commit()).into(),
            change("backup",           "8 Back up the app and its database",      previewed(backup::make, backup::preview),
                                                                                                            undo("remove it if it is unfinished", by_hand(backup::unmake, backup::unmake_by_hand))).into(),
            change("copy-backup",      "8 Copy the backup elsewhere",             previewed(copy::make, copy::preview), undo("remove an unfinished copy", by_hand(copy::unmake, copy::unmake_by_hand))).into(),
            check ("await-build",      "9 Wait for the build of this commit",     artifact::await_build).into(),
            hold  ("fetch-bundle",     "10 Download and verify the bundle",       artifact::fetch,          release("remove it from the runner", artifact::discard)).into(),
            change("upload",           "11 Upload it and check it there",         tree::upload,             undo("remove the uploaded file", by_hand(tree::remove_upload, tree::remove_upload_by_hand))).into(),
            change("unpack-release",   "11 Unpack into releases/<name>",          previewed(tree::unpack, outlook::files_preview), undo("remove that folder", by_hand(tree::remove, tree::remove_by_hand))).into(),
            check ("verify-tree",      "12 Nine pre-switch gates",                tree::gates).into(),
            check ("boot-release",     "12 Boot it on the server's own PHP",      tree::boot).into(),
            change("migrate",          "13 Run forward migrations",               previewed(database::migrate, database::preview),
                                                                                                            undo("wait for it to end; what ran stays", by_hand(database::settled, tree::remove_by_hand))).into(),
            change("build-caches",     "14 Build its caches",                     cache::build,             within("goes with the new folder")).advisory().into(),
            check ("seal-release",     "Take the digest of its tree",             seal::seal).into(),
            hold  ("name-release",     "Let the site say which release answers",  previewed(identity::mark, identity::preview),
                                                                                                            release("remove the one-time file", identity::unmark)).into(),
            hold  ("sample-site",      "Watch the site while it changes hands",   sampler::start,           release("stop watching", sampler::end)).into(),
            check ("can-still-reload", "15 Check again that PHP-FPM and nginx can be reloaded", ready::again).into(),
            hold  ("arm-watchdog",  "Let the server go back by itself",        previewed(watchdog::arm, watchdog::preview),
                                                                                                            release("take it off, unless stuck", watchdog::disarm)).into(),
            change("switch",           "15 Point current at it",                  previewed(current::switch, current::switch_preview),
                                                                                                            undo("point back, reload, ask the old release for its health", by_hand(current::go_back, current::back_by_hand))).pivot().into(),
            change("rebuild-caches",   "16 Build its caches again",               cache::rebuild,           within("goes with the new folder")).advisory().into(),
            change("reload",           "17 Reload PHP-FPM and nginx",             previewed(reload::reload, reload::preview),
                                                                                                            within("reloaded again after pointing back")).into(),
            change("restart-workers",  "17 Restart the queue workers",            workers::restart,         within("told again after pointing back")).advisory().into(),
            check ("grace",            "18 Grace period",                         probe::grace).into(),
            check ("health",           "19 The site answers, healthy, as this release", probe::health).into(),
            check ("assets",           "20 Every Vite asset answers",             probe::assets).into(),
            check ("zero-downtime",    "Visitors met no more than max-downtime",  sampler::check).into(),
            check ("confirm",       "Confirm it over a fresh connection",      watchdog::confirm).decides().into(),
            commit("live",             "The release is confirmed").into(),
            change("prune",            "Keep the newest confirmed releases and verified backups", retention::prune, no_undo("what is pruned is gone")).into(),
        ]
    };
    table.survey.extend(checks());
    table
}
