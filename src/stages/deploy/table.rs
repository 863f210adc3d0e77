//! The whole release on one screen: one row per step, with the pipeline's step numbers.
//!
//! Every environment runs this table; they differ in configuration only (F64).

use crate::{
    bundle::artifact,
    context::{Deploy, Survey},
    domain::row::{self, RowId},
    engine::{
        Table,
        step::{Entry, change, check, cleanup, commit, hold, no_undo, observe, undo, within},
    },
    server::{
        activation::current,
        backup::{self, offsite, retention},
        database::{self, change_preview},
        health::{canary, identity, probe, sampler},
        ledger, lock, recovery,
        release_dir::{cache, tree, tree_digest},
        remote::{by_hand, previewed},
        services::{ready, reload, workers},
        staging, survey, watchdog,
    },
    stages::shared::checks::list::checks,
};

/// The same for production, which takes only what staging has proven.
pub fn production() -> Table<Survey, Deploy> {
    let mut table = table();
    let after = |rows: &[Entry<Deploy>], row: RowId| {
        rows.iter().position(|entry| entry.has(row)).map_or(rows.len(), |at| at + 1)
    };
    // Before the build is looked for: it is the one that staging confirmed.
    table.survey.insert(
        0,
        observe(
            "staging-evidence",
            "22 Check that staging is healthy and has confirmed this commit",
            staging::evidence,
        )
        .run_on()
        .into(),
    );
    let fetched = after(&table.apply, row::FETCH_BUNDLE);
    table.apply.insert(
        fetched,
        check(
            "same-bundle",
            "22 Check that staging confirmed this bundle",
            previewed(staging::same_bundle, staging::bundle_preview),
        )
        .into(),
    );
    table
}

/// Every row before the approval also runs after a failed one, so that one run names every problem. A row whose input is missing, because an earlier
/// row failed, skips.
#[rustfmt::skip]
pub fn table() -> Table<Survey, Deploy> {
    let mut table = Table {
        survey: vec![
            observe("find-build",      "6 Find the build of this commit",                          artifact::look)    .run_on().into(),
            observe("reach-server",    "7 Connect to the server",                                  survey::reach)     .run_on().into(),
            observe("survey-server",   "7 Survey the server",                                      survey::look)      .run_on().into(),
            observe("can-reload",      "7 Check that PHP-FPM and nginx can be reloaded",           ready::look).run_on().into(),
            observe("live-tree",       "7 Compare the live release with its recorded tree digest", tree_digest::live).advisory().into(),
            observe("baseline-health", "7 Check the site's current health",                        probe::baseline)   .run_on().into(),
            observe("read-bundle",     "Download and read the bundle",                             artifact::read)    .run_on().into(),
            observe("look-ahead",      "Preview the changes",                                      change_preview::look)     .run_on().into(),
        ],
        apply: vec![
            hold  ("deploy-lock",        "Take the deploy lock",                                      lock::acquire,    cleanup("free it, or keep it for the next run", lock::release)).into(),
            change("finish-unconfirmed", "Roll back an unconfirmed release",                          recovery::finish, no_undo("it was not confirmed")).into(),
            check ("nothing-moved",      "Check that `current` has not moved",                        current::unmoved).into(),
            hold  ("ledger",             "Open the ledger",                                           ledger::open,     cleanup("record the outcome", ledger::write).at_commit()).into(),
            change("backup",             "8 Back up the app and its database",                        previewed(backup::make, backup::preview),
                                                                                                                        undo("remove an unfinished backup", by_hand(backup::unmake, backup::unmake_by_hand))).into(),
            change("copy-backup",        "8 Copy the backup off-site",                                previewed(offsite::make, offsite::preview), undo("remove an unfinished copy", by_hand(offsite::unmake, offsite::unmake_by_hand))).into(),
            check ("await-build",        "9 Wait for the build of this commit",                       artifact::await_build).into(),
            hold  ("fetch-bundle",       "10 Download and verify the bundle",                         artifact::fetch,  cleanup("remove it from the runner", artifact::discard)).into(),
            change("upload",             "11 Upload the bundle and verify it",                        tree::upload,     undo("remove the uploaded file", by_hand(tree::remove_upload, tree::remove_upload_by_hand))).into(),
            change("unpack-release",     "11 Unpack into releases/<name>",                            previewed(tree::unpack, change_preview::files_preview), undo("remove that folder", by_hand(tree::remove, tree::remove_by_hand))).into(),
            check ("verify-tree",        "12 Nine pre-switch gates",                                  tree::gates).into(),
            check ("boot-release",       "12 Boot the app with the server's PHP",                     tree::boot).into(),
            change("migrate",            "13 Run forward migrations",                                 previewed(database::migrate, database::preview),
                                                                                                                        undo("wait for it to end; completed migrations stay", by_hand(database::settled, tree::remove_by_hand))).into(),
            change("build-caches",       "14 Build the caches",                                       cache::build,     within("removed with the new folder")).advisory().into(),
            check ("seal-release",       "Record the tree digest",                                    tree_digest::record).into(),
            hold  ("name-release",       "Let the site report which release it serves",               previewed(identity::mark, identity::preview),
                                                                                                                        cleanup("remove the one-time file", identity::unmark)).into(),
            check ("canary",             "14 Ask the release through PHP-FPM before the switch",       previewed(canary::check, canary::preview)).into(),
            check ("warm-up",            "14 Warm up the release",                                    previewed(canary::warm_up, canary::warm_up_preview)).advisory().into(),
            hold  ("sample-site",        "Sample availability during the switch",                     sampler::start,   cleanup("stop the sampler", sampler::end)).into(),
            check ("can-still-reload",   "15 Check again that PHP-FPM and nginx can be reloaded",     ready::again).into(),
            hold  ("arm-watchdog",       "Arm the watchdog",                                          previewed(watchdog::arm, watchdog::preview),
                                                                                                                        cleanup("disarm it, unless the run is stuck", watchdog::disarm)).into(),
            change("switch",             "15 Switch `current` to the release",                        previewed(current::switch, current::switch_preview),
                                                                                                                        undo("switch back, reload, check the previous release's health", by_hand(current::roll_back, current::back_by_hand))).activates().into(),
            change("rebuild-caches",     "16 Rebuild the caches",                                     cache::rebuild,   within("removed with the new folder")).advisory().into(),
            change("reload",             "17 Reload PHP-FPM and nginx",                               previewed(reload::reload, reload::preview),
                                                                                                                        within("reloaded again after the switch back")).into(),
            check ("warm-up-again",      "17 Warm up the release after the reload",                   previewed(canary::warm_up, canary::warm_up_preview)).advisory().into(),
            change("restart-workers",    "17 Restart the queue workers",                              workers::restart, within("restarted again after the switch back")).advisory().into(),
            check ("grace",              "18 Grace period",                                           probe::grace).into(),
            check ("health",             "19 Check that the site is healthy and serves this release", previewed(probe::health, probe::health_preview)).into(),
            check ("assets",             "20 Check every Vite asset",                                 probe::assets).into(),
            check ("zero-downtime",      "Check the downtime against max-downtime",                   sampler::check).into(),
            check ("confirm",            "Confirm the release over a new connection",                 watchdog::confirm).decides().into(),
            commit("live",             "The release is confirmed").into(),
            change("prune",              "Prune old releases and backups",                            retention::prune, no_undo("pruned files cannot be restored")).into(),
        ]
    };
    table.survey.extend(checks());
    table
}
