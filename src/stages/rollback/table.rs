//! Going back by hand: a release like any other from the gates on, with a target that is there already (F84).

use crate::{
    context::{Deploy, Survey},
    domain::ReleaseName,
    engine::{
        Table,
        step::{change, check, commit, hold, no_undo, observe, release, undo, within},
    },
    server::{
        activation::current,
        health::{identity, probe},
        ledger, lock, recovery,
        release_dir::{cache, seal, tree},
        remote::{by_hand, previewed},
        services::{ready, reload, workers},
        survey, watchdog,
    },
    stages::rollback,
};

/// `to`: the release that somebody named, if anybody did.
///
/// No migration, no backup, nothing pruned: whoever goes back is in a hurry, and data never goes back with the code (F63).
/// Nor is the site watched for downtime: it may be failing now, and going back must not be undone for what the release that is left did.
#[rustfmt::skip]
pub fn table(to: Option<ReleaseName>) -> Table<Survey, Deploy> {
    Table {
        survey: vec![
            observe("reach-server",    "7 Reach the server",                      survey::reach_site).into(),
            observe("survey-server",   "7 Look at the server",                    survey::look).into(),
            observe("can-reload",      "7 Check that PHP-FPM and nginx can be reloaded", ready::look).into(),
            observe("live-tree",       "7 Compare the live release with what was confirmed", seal::live).advisory().into(),
            observe("present-health",  "7 Ask the site how it is now",            probe::present).into(),
            observe("choose-release",  "Choose the release to go back to",        rollback::Choose { named: to }).into(),
        ],
        release: vec![
            hold  ("deploy-lock",      "Take the deploy lock",                    lock::acquire,            release("free it, unless stuck", lock::release)).into(),
            change("finish-unconfirmed", "Go back from what nobody confirmed",    recovery::finish,         no_undo("nobody had confirmed it")).into(),
            check ("nothing-moved",    "Nobody deployed while we looked",         current::unmoved).into(),
            hold  ("ledger",           "Open the ledger",                         ledger::open,             release("write down how it ended", ledger::write).at_commit()).into(),
            check ("unchanged-tree",   "It is still what was confirmed",          previewed(rollback::unchanged, rollback::unchanged_preview)).into(),
            check ("verify-tree",      "12 Nine pre-switch gates",                tree::gates).into(),
            check ("boot-release",     "12 Boot it on the server's own PHP",      tree::boot).into(),
            change("build-caches",     "14 Build its caches anew",                cache::build_again,       no_undo("they are its own, made from today's .env")).advisory().into(),
            hold  ("name-release",     "Let the site say which release answers",  previewed(identity::mark, identity::preview),
                                                                                                            release("remove the one-time file", identity::unmark)).into(),
            check ("can-still-reload", "15 Check again that PHP-FPM and nginx can be reloaded", ready::again).into(),
            hold  ("arm-watchdog",     "Let the server go back by itself",        previewed(watchdog::arm, watchdog::preview),
                                                                                                            release("take it off, unless stuck", watchdog::disarm)).into(),
            change("switch",           "15 Point current at it",                  previewed(current::switch, current::switch_preview),
                                                                                                            undo("point back, reload, ask what was live for its health", by_hand(current::go_back, current::back_by_hand))).pivot().into(),
            change("reload",           "17 Reload PHP-FPM and nginx",             previewed(reload::reload, reload::preview),
                                                                                                            within("reloaded again after pointing back")).into(),
            change("restart-workers",  "17 Restart the queue workers",            workers::restart,         within("told again after pointing back")).advisory().into(),
            check ("grace",            "18 Grace period",                         probe::grace).into(),
            check ("health",           "19 The site answers, healthy, as this release", probe::health).into(),
            check ("assets",           "20 Every Vite asset answers",             probe::assets).into(),
            check ("confirm",          "Confirm it over a fresh connection",      watchdog::confirm).decides().into(),
            commit("live",             "The release is confirmed").into(),
        ]
    }
}
