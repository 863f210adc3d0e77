//! The new release's folder on the server: its name, what is unpacked into it, and whether it starts.

use super::{codes, rollback};
use crate::domain::{Failure, ReleaseName, RemoteCommand, Sha256Digest, Warning};

codes! {
    RELEASE_FROM_FUTURE = "release-from-future", Refused {
        meaning: "A folder in `releases` has a name that is not older than now. The new release would not be the newest.",
        cause: "The folder was made by hand, or the clock of the machine that made it was wrong.",
        action: "Check the clock of the runner. If the time in the folder's name is wrong, rename or remove the folder.",
    }
    RELEASE_DIFFERS = "release-differs-from-bundle", Refused {
        meaning: "After unpacking, the release's folder is not what the bundle holds.",
        cause: "The server's `tar` or its disk changed something, or another process writes there.",
        action: "Find out what differs (the error lists the paths) and why, before the next release.",
    }
    RELEASE_INCOMPLETE = "release-gates-failed", Refused {
        meaning: "The release's folder on the server lacks a file or folder that every release needs.",
        cause: "The build made an incomplete bundle, or the target of a rollback is not whole.",
        action: "Check the build's gates, or name another release in `rollback-to`. The live release was not changed.",
    }
    PHP_TOO_OLD = "php-too-old", Refused {
        meaning: "The server's PHP is older than the installed packages need.",
        cause: "The bundle was built for a newer PHP than the one that the input `php` names on the server.",
        action: "Upgrade the server's PHP, name a newer binary in the input `php`, or build for the server's version.",
    }
    RELEASE_DOES_NOT_START = "release-does-not-start", Refused {
        meaning: "The new release does not start on the server's PHP.",
        cause: "A PHP extension is missing, the PHP version differs from the build's, or the app fails while it starts.",
        action: "Read the lines below the error. Compare `php -v` and `php -m` of the build and the server.",
    }
    HEALTH_ROUTE_BROKEN = "health-route-broken", Refused {
        meaning: "The release cannot answer a path of `health-paths`: its route exists but cannot be run.",
        cause: "The route's controller, class or middleware is missing or fails.",
        action: "Repair the route. Show it: `php artisan route:list`.",
    }
    TREE_UNREADABLE = "release-unreadable", Refused {
        meaning: "The deploy user cannot read all of a release's folder, so that its digest cannot be taken.",
        cause: "The site's account or root made files in the folder that others must not read.",
        action: "Correct owner or mode of the files that the step's lines name, so that the deploy user can read them.",
    }
    TREE_DIGEST_INVALID = "release-digest-invalid", Refused {
        meaning: "The server did not answer with a SHA-256 for a release's folder.",
        cause: "`sha256sum` on the server is missing or prints something else.",
        action: "Check on the server: `sha256sum --version`.",
    }
    REMOVAL_INCOMPLETE = "removal-incomplete", Warning {
        meaning: "A folder of a release was not removed completely: another account owns files in it.",
        cause: "The site's account wrote to the release, for example compiled views or logs.",
        action: "As root, run the command in the help.",
    }
    PART_DIFFERS = "delivery-part-differs", Warning {
        meaning: "The release that the server completed from the live release was not what the bundle holds, so the whole bundle was sent.",
        cause: "A file of the live release was changed while it was copied, or the server's `cp` or PHP failed (the lines of the step say so).",
        action: "Nothing for this release. If it comes again, find out what changes files in the live release, or set `delivery: full`.",
    }
    CACHES_NOT_BUILT = "caches-not-built", Warning {
        meaning: "One or more of Laravel's caches could not be built. The site works without them, but slower.",
        cause: "The app cannot cache it (such as a closure in a configuration file), the disk is full, or `.env` has an owner or mode that the cache cannot have.",
        action: "Read the lines of the step: they name the reason and the command.",
    }
    HEALTH_ROUTE_MISSING = "health-route-missing", Warning {
        meaning: "The release has no route for a path of `health-paths`.",
        cause: "The path is misspelled, the route was removed, or the web server answers the path itself.",
        action: "Correct `health-paths`. List the routes: `php artisan route:list`.",
    }
    HEALTH_ROUTE_UNKNOWN = "health-route-unknown", Warning {
        meaning: "It is not known whether the release has a route for a path of `health-paths`. The health check after the switch decides.",
        cause: "The app did not answer the question while it started.",
        action: "Nothing, if the health check passes. List the routes: `php artisan route:list`.",
    }
    LIVE_UNCONFIRMED = "live-release-unconfirmed", Warning {
        meaning: "The ledger has no confirmation of the live release.",
        cause: "`current` was switched by hand, or a run was interrupted.",
        action: "See the last lines of `.gated-deploy/ledger.jsonl`: they name the confirmed releases. The next release replaces the live one.",
    }
}

/// `newest` is the folder; `now` is written as the names of releases are.
pub fn from_future(newest: &str, now: &str) -> Failure {
    RELEASE_FROM_FUTURE.failure("naming the release", format!("releases/{newest} is not older than now, {now}")).hint(
        "Release names are UTC times and must come in order. If the time of that folder is wrong, rename or remove it.",
    )
}

pub fn differs(doing: &str, dir: &str, paths: Vec<String>) -> Failure {
    RELEASE_DIFFERS.failure(doing, format!("{dir} is not what the bundle holds")).details(paths).hint(
        "Find out why before the next release: the server's `tar` or its disk changed something, or another process writes there.",
    )
}

/// `score` is as `7/9`; `lines` name the gates that failed. `is_new` where the release comes from a build.
pub fn gates_failed(doing: String, score: &str, lines: Vec<String>, is_new: bool) -> Failure {
    RELEASE_INCOMPLETE.failure(doing, format!("{score} gates passed")).details(lines).hint(match is_new {
        true => "The bundle is incomplete: check the gates of the build. The live release was not changed",
        false => "Name another release in `rollback-to`. The live release was not changed",
    })
}

/// `minimum` is PHP's own number of a version, such as 80300.
pub fn php_too_old(doing: &str, minimum: u32) -> Failure {
    PHP_TOO_OLD
        .failure(
            doing,
            format!("the bundle's vendor folder needs PHP {}.{} or newer", minimum / 10_000, minimum / 100 % 100),
        )
        .hint("Upgrade the server's PHP, name a newer binary in the input `php`, or build for the server's version.")
}

/// `problem` is what the script said; `lines` are the end of what PHP printed.
pub fn does_not_start(doing: &str, problem: Option<&str>, lines: impl IntoIterator<Item = String>) -> Failure {
    RELEASE_DOES_NOT_START.failure(doing, problem.unwrap_or("the script gave no reason")).details(lines).hint(
        "Read the lines below. Compare the PHP versions and extensions of the build and the server: php -v; php -m",
    )
}

pub fn health_route_broken(doing: &str, path: &str, why: &str) -> Failure {
    HEALTH_ROUTE_BROKEN
        .failure(doing, format!("the health path {path} cannot be answered: {why}"))
        .hint("Repair the route: without it the health check fails, and the release is rolled back.")
}

pub fn unreadable(doing: String) -> Failure {
    TREE_UNREADABLE.failure(doing, "not all files in it could be read").hint(
        "Correct owner or mode of the files that the lines of this step name, so that the deploy user can read them.",
    )
}

/// `command` removes what is left of `path`.
pub fn removal_incomplete(path: &str, command: &RemoteCommand) -> Warning {
    REMOVAL_INCOMPLETE.warning(
        format!("{path} was not removed completely: another account owns files in it"),
        format!("As root, run: {command}"),
    )
}

pub fn part_differs() -> Warning {
    PART_DIFFERS.warning(
        "the release that the server completed from the live release is not what the bundle holds",
        "The whole bundle is sent instead.",
    )
}

pub fn caches_not_built(failed: &[&str]) -> Warning {
    CACHES_NOT_BUILT.warning(
        format!("these caches could not be built: {}", failed.join(", ")),
        "The site works without them, but slower. The lines of this step say why.",
    )
}

pub fn health_route_missing(path: &str) -> Warning {
    HEALTH_ROUTE_MISSING.warning(
        format!("the release has no route for the health path {path}"),
        "Correct `health-paths`, unless the web server answers this path itself.",
    )
}

pub fn health_route_unknown(path: &str) -> Warning {
    HEALTH_ROUTE_UNKNOWN.warning(
        format!("it is not known whether the release has a route for the health path {path}"),
        "The health check decides. List the routes of the release: php artisan route:list",
    )
}

/// `current` is what the link says.
pub fn live_unconfirmed(current: &str) -> Warning {
    LIVE_UNCONFIRMED.warning(
        format!("{current} is live, but the ledger has no confirmation of it"),
        "`current` was switched by hand, or a run was interrupted. The last lines of the ledger name the confirmed releases.",
    )
}

/// The live release is not what was confirmed.
pub fn live_changed(live: &ReleaseName, expected: &Sha256Digest, found: &Sha256Digest) -> Warning {
    rollback::RELEASE_TREE_CHANGED.warning(
        format!(
            "the files of {live} changed on the server after it was confirmed: the tree digest was SHA-256 {}, and is {}",
            expected.short(),
            found.short()
        ),
        "If the change is wanted, commit it to the repository: the next release replaces these files. .gated-deploy-manifest.json in the \
         release has the digest of each file as it was built.",
    )
}
