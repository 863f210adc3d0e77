//! A rollback by hand: a release like any other from the gates on, with a target that is there already (F84).

use crate::{
    context::{Deploy, Survey},
    domain::ReleaseName,
    engine::{
        Table,
        step::{change, check, cleanup, commit, hold, lanes, no_undo, observe, undo, within},
    },
    server::{
        activation::current,
        health::{canary, identity, probe},
        hooks, ledger, lock, recovery,
        release_dir::{cache, tree, tree_digest},
        remote::{by_hand, previewed},
        services::{ready, reload, workers},
        survey, watchdog,
    },
    stages::rollback,
};

/// `to`: the release in `rollback-to`, if it is set.
///
/// No migration, no backup, no pruning: a rollback must be fast, and it never restores data (F63).
/// No availability sampler: the site may be failing now, and downtime of the failing release must not undo the rollback.
#[rustfmt::skip]
pub fn table(to: Option<ReleaseName>) -> Table<Survey, Deploy> {
    Table {
        survey: vec![
            observe("reach-server",   "7 Connect to the server",                                  survey::reach_site).into(),
            observe("survey-server",  "7 Survey the server",                                      survey::look).into(),
            lanes(vec![
                vec![observe("can-reload",     "7 Check that PHP-FPM and nginx can be reloaded",           ready::look)],
                vec![observe("live-tree",      "7 Compare the live release with its recorded tree digest", tree_digest::live).advisory()],
                vec![observe("present-health", "7 Check the site's current health",                        probe::present)],
            ]),
            observe("choose-release", "Choose the target release",                                rollback::Choose { named: to }).into(),
        ],
        apply: vec![
            hold  ("deploy-lock",        "Take the deploy lock",                                      lock::acquire,      cleanup("free it, or keep it for the next run", lock::release)).into(),
            change("finish-unconfirmed", "Roll back an unconfirmed release",                          recovery::finish,   no_undo("it was not confirmed")).into(),
            check ("nothing-moved",      "Check that `current` has not moved",                        current::unmoved).into(),
            hold  ("ledger",             "Open the ledger",                                           ledger::open,       cleanup("record the outcome", ledger::write).at_commit()).into(),
            check ("unchanged-tree",     "Compare it with its recorded tree digest",                  previewed(rollback::unchanged, rollback::unchanged_preview)).into(),
            check ("verify-tree",        "12 Nine pre-switch gates",                                  tree::gates).into(),
            check ("boot-release",       "12 Boot the app with the server's PHP",                     tree::boot).into(),
            change("build-caches",       "14 Rebuild the caches",                                     cache::build_again, no_undo("the new caches match the current .env")).advisory().into(),
            hold  ("name-release",       "Let the site report which release it serves",               previewed(identity::mark, identity::preview),
                                                                                                                          cleanup("remove the one-time file", identity::unmark)).into(),
            check ("canary",             "14 Ask the release through PHP-FPM before the switch",       previewed(canary::check, canary::preview)).into(),
            check ("can-still-reload",   "15 Check again that PHP-FPM and nginx can be reloaded",     ready::again).into(),
            hold  ("arm-hooks",          "Have the hooks after a rollback ready",                      previewed(hooks::arm, hooks::arm_preview),
                                                                                                                          cleanup("run them after an automatic rollback", hooks::rolled_back)).into(),
            hold  ("arm-watchdog",       "Arm the watchdog",                                          previewed(watchdog::arm, watchdog::preview),
                                                                                                                          cleanup("disarm it, unless the run is stuck", watchdog::disarm)).into(),
            change("switch",             "15 Switch `current` to the release",                        previewed(current::switch, current::switch_preview),
                                                                                                                          undo("switch back, reload, check the previous release's health", by_hand(current::roll_back, current::back_by_hand))).activates().into(),
            change("reload",             "17 Reload PHP-FPM and nginx",                               previewed(reload::reload, reload::preview),
                                                                                                                          within("reloaded again after the switch back")).into(),
            change("restart-workers",    "17 Restart the queue workers",                              workers::restart,   within("restarted again after the switch back")).advisory().into(),
            check ("grace",              "18 Grace period",                                           probe::grace).into(),
            check ("health",             "19 Check that the site is healthy and serves this release", previewed(probe::health, probe::health_preview)).into(),
            check ("assets",             "20 Check every Vite asset",                                 probe::assets).into(),
            check ("confirm",            "Confirm the release over a new connection",                 watchdog::confirm).decides().into(),
            commit("live",             "The release is confirmed").into(),
            change("after-rollback",     "Run the hooks after the rollback",                          previewed(hooks::after_rollback, hooks::after_rollback_preview),
                                                                                                                          no_undo("what they did after the rollback stays")).into(),
        ]
    }
}
