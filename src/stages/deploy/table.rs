//! The whole release on one screen: one row per step, with the pipeline's step numbers.
//!
//! Every environment runs this table; they differ in configuration only (F64).

use crate::{
    bundle::artifact,
    context::{Deploy, Survey},
    domain::row,
    engine::{
        Table,
        step::{change, check, cleanup, commit, hold, insert_after, lanes, no_undo, observe, undo, within},
    },
    server::{
        activation::current,
        backup::{self, offsite, retention},
        database::{self, change_preview},
        health::{canary, identity, probe, sampler},
        hooks, ledger, lock, recovery,
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
    insert_after(
        &mut table.apply,
        row::FETCH_BUNDLE,
        check(
            "same-bundle",
            "22 Check that staging confirmed this bundle",
            previewed(staging::same_bundle, staging::bundle_preview),
        ),
    );
    table
}

/// Every row before the approval also runs after a failed one, so that one run names every problem. A row whose input is missing, because an earlier
/// row failed, skips.
#[rustfmt::skip]
pub fn table() -> Table<Survey, Deploy> {
    let mut table = Table {
        survey: vec![
            // GitHub and the server are asked at the same time.
            lanes(vec![
                vec![
            observe("find-build",      "6 Find the build of this commit",                          artifact::look)    .run_on(),
            observe("read-bundle",     "Download and read the bundle",                             artifact::read)    .run_on(),
                ],
                vec![
            observe("reach-server",    "7 Connect to the server",                                  survey::reach)     .run_on(),
            observe("survey-server",   "7 Survey the server",                                      survey::look)      .run_on(),
                ],
            ]),
        ],
        apply: vec![
            hold  ("deploy-lock",        "Take the deploy lock",                                      lock::acquire,    cleanup("free it, or keep it for the next run", lock::release)).into(),
            change("finish-unconfirmed", "Roll back an unconfirmed release",                          recovery::finish, no_undo("it was not confirmed")).into(),
            check ("nothing-moved",      "Check that `current` has not moved",                        current::unmoved).into(),
            hold  ("ledger",             "Open the ledger",                                           ledger::open,     cleanup("record the outcome", ledger::write).at_commit()).into(),
            // The backup needs nothing of the new release, which needs nothing of the backup. Migrations need both.
            lanes(vec![
                vec![
            change("backup",             "8 Back up the app and its database",                        previewed(backup::make, backup::preview),
                                                                                                                        undo("remove an unfinished backup", by_hand(backup::unmake, backup::unmake_by_hand))),
            change("copy-backup",        "8 Copy the backup off-site",                                previewed(offsite::make, offsite::preview), undo("remove an unfinished copy", by_hand(offsite::unmake, offsite::unmake_by_hand))),
                ],
                vec![
            check ("await-build",        "9 Wait for the build of this commit",                       artifact::await_build),
            hold  ("fetch-bundle",       "10 Download and verify the bundle",                         artifact::fetch,  cleanup("remove it from the runner", artifact::discard)),
            change("upload",             "11 Upload the bundle and verify it",                        tree::upload,     undo("remove the uploaded file", by_hand(tree::remove_upload, tree::remove_upload_by_hand))),
            change("unpack-release",     "11 Unpack into releases/<name>",                            previewed(tree::unpack, change_preview::files_preview), undo("remove that folder", by_hand(tree::remove, tree::remove_by_hand))),
            check ("verify-tree",        "12 Nine pre-switch gates",                                  tree::gates),
            check ("boot-release",       "12 Boot the app with the server's PHP",                     tree::boot),
                ],
            ]),
            change("before-migrate",     "13 Run the hooks before the migrations",                    previewed(hooks::before_migrate, hooks::before_migrate_preview),
                                                                                                                        no_undo("what they did before the migrations stays")).into(),
            change("migrate",            "13 Run forward migrations",                                 previewed(database::migrate, database::preview),
                                                                                                                        undo("wait for it to end; completed migrations stay", by_hand(database::settled, tree::remove_by_hand))).into(),
            change("build-caches",       "14 Build the caches",                                       cache::build,     within("removed with the new folder")).advisory().into(),
            check ("seal-release",       "Record the tree digest",                                    tree_digest::record).into(),
            hold  ("name-release",       "Let the site report which release it serves",               previewed(identity::mark, identity::preview),
                                                                                                                        cleanup("remove the one-time file", identity::unmark)).into(),
            check ("canary",             "14 Ask the release through PHP-FPM before the switch",       previewed(canary::check, canary::preview)).into(),
            change("before-switch",      "14 Run the hooks before the switch",                        previewed(hooks::before_switch, hooks::before_switch_preview),
                                                                                                                        no_undo("what they did before the switch stays")).into(),
            check ("warm-up",            "14 Warm up the release",                                    previewed(canary::warm_up, canary::warm_up_preview)).advisory().into(),
            hold  ("sample-site",        "Sample availability during the switch",                     sampler::start,   cleanup("stop the sampler", sampler::end)).into(),
            check ("can-still-reload",   "15 Check again that PHP-FPM and nginx can be reloaded",     ready::again).into(),
            hold  ("arm-hooks",          "Have the hooks after a rollback ready",                      previewed(hooks::arm, hooks::arm_preview),
                                                                                                                        cleanup("run them after an automatic rollback", hooks::rolled_back)).into(),
            hold  ("arm-watchdog",       "Arm the watchdog",                                          previewed(watchdog::arm, watchdog::preview),
                                                                                                                        cleanup("disarm it, unless the run is stuck", watchdog::disarm)).into(),
            change("switch",             "15 Switch `current` to the release",                        previewed(current::switch, current::switch_preview),
                                                                                                                        undo("switch back, reload, check the previous release's health", by_hand(current::roll_back, current::back_by_hand))).activates().into(),
            change("rebuild-caches",     "16 Rebuild the caches",                                     cache::rebuild,   within("removed with the new folder")).advisory().into(),
            change("reload",             "17 Reload PHP-FPM and nginx",                               previewed(reload::reload, reload::preview),
                                                                                                                        within("reloaded again after the switch back")).into(),
            check ("warm-up-again",      "17 Warm up the release after the reload",                   previewed(canary::warm_up, canary::warm_up_preview)).advisory().into(),
            change("restart-workers",    "17 Restart the queue workers",                              workers::restart, within("restarted again after the switch back")).advisory().into(),
            change("after-switch",       "17 Run the hooks after the switch",                         previewed(hooks::after_switch, hooks::after_switch_preview),
                                                                                                                        no_undo("what they did after the switch stays")).into(),
            check ("grace",              "18 Grace period",                                           probe::grace).into(),
            check ("health",             "19 Check that the site is healthy and serves this release", previewed(probe::health, probe::health_preview)).into(),
            check ("assets",             "20 Check every Vite asset",                                 probe::assets).into(),
            check ("zero-downtime",      "Check the downtime against max-downtime",                   sampler::check).into(),
            check ("confirm",            "Confirm the release over a new connection",                 watchdog::confirm).decides().into(),
            commit("live",             "The release is confirmed").into(),
            change("prune",              "Prune old releases and backups",                            retention::prune, no_undo("pruned files cannot be restored")).into(),
        ]
    };
    table.survey.extend(checks(vec![
        vec![observe("can-reload",      "7 Check that PHP-FPM and nginx can be reloaded",           ready::look)          .run_on()],
        vec![observe("live-tree",       "7 Compare the live release with its recorded tree digest", tree_digest::live)    .advisory()],
        vec![observe("baseline-health", "7 Check the site's current health",                        probe::baseline)      .run_on()],
        vec![observe("look-ahead",      "Preview the changes",                                      change_preview::look) .run_on()],
    ]));
    table
}
