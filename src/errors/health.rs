//! Whether the site is healthy, and whether the health check can tell.

use std::fmt::Display;

use super::codes;
use crate::domain::{
    Failure, Warning,
    record::{HealthReport, Score, SiteStatus},
};

codes! {
    SITE_UNHEALTHY = "site-unhealthy", Refused {
        meaning: "At least one health endpoint, or the home page, did not answer as healthy. After the switch the release is rolled back.",
        cause: "The application fails (configuration, database, missing extension), PHP-FPM runs old code, or a health endpoint refuses the token.",
        action: "Read the details: each endpoint has its answer. Look at `shared/storage/logs/laravel.log` and at PHP-FPM's log on the server. If this release repairs an unhealthy site, set `repair: true` in the policy.",
    }
    CANARY_UNHEALTHY = "canary-unhealthy", Refused {
        meaning: "The release was asked before the switch, and at least one health endpoint, or the home page, did not answer as healthy, where the live release does. A release is refused, and no visitor was served by it; a rollback by hand warns and goes on.",
        cause: "The application fails: the first words of the error are what PHP or the application's log said.",
        action: "Correct what the error names, and release again. Each page has its answer in the details.",
    }
    CANARY_NOT_ASKED = "canary-not-asked", Warning {
        meaning: "The release could not be asked before the switch. Its health is checked after it, and an unhealthy release is rolled back then.",
        cause: "The deploy user may not connect to the socket of the pool; the pool is not known, full, or allowed to open only the live release; a page hangs; or the live release, asked the same way, is unhealthy at the same pages.",
        action: "Read why in the message. A page that hangs keeps one worker of the pool until it ends: set `request_terminate_timeout` in the pool. If the deploy user may not connect to the socket of the pool, add it to the group of `listen.group`, for example `sudo usermod -aG www-data deploy`.",
    }
    WARM_UP_FAILED = "warm-up-failed", Warning {
        meaning: "A page of `warm-up` did not answer, or answered with a status of 500 and above. The release goes on.",
        cause: "The page fails in the app, needs what only a visitor has, or takes longer than 10 s.",
        action: "Correct the path in `warm-up`, or leave it out. If the page is one that visitors open, look at the application's log.",
    }
    SITE_UNREACHABLE = "site-unreachable", World {
        meaning: "The runner could not reach the site. This says nothing of the site's health.",
        cause: "The name cannot be resolved, a network, proxy or firewall stands between them, or the SSH connection is lost.",
        action: "Check that this runner can reach `url` (or `health-address`): `curl -i https://shop.example.com/`. A site that only the server can reach needs `health-via: tunnel`.",
    }
    SITE_NO_ANSWER = "site-no-answer", Refused {
        meaning: "The address of the site was reached, and no web server gave an answer there.",
        cause: "The web server is stopped, listens elsewhere, or has a certificate that is not valid for `url`.",
        action: "Check the web server and its error log on the server: `systemctl status nginx; ss -tln`.",
    }
    SITE_REDIRECTS = "site-redirects", Refused {
        meaning: "The site redirects to another site. It is not known whether this is the right one.",
        cause: "The site moved, or the web server has another site at this address.",
        action: "If the site moved, set `url` to its new address. Otherwise correct the web server's configuration.",
    }
    SITE_PROTECTED = "site-protected", Refused {
        meaning: "The web server asks for a user name and password (basic auth), so no health check reaches the app.",
        cause: "The site is protected as a whole, also at its health endpoints.",
        action: "Except the health endpoints from basic auth, or set `health-via: tunnel` and `health-address` to an address without it.",
    }
    HEALTH_TOKEN_UNCHECKED = "health-token-unchecked", Refused {
        meaning: "The site answers as healthy to a wrong token. The health endpoints do not check `healthcheck-token`.",
        cause: "The health route does not compare the token, or another page answers at its path.",
        action: "Let the health route compare the token (`hash_equals`) and answer 401 otherwise. Or remove `healthcheck-token`.",
    }
    HEALTH_CHECK_BLIND = "health-check-cannot-fail", Refused {
        meaning: "A page that does not exist answers as healthy. So a healthy answer proves nothing.",
        cause: "A catch-all route or the web server answers status 200 at every path.",
        action: "Give each path in `health-paths` a route of its own, and answer 404 to unknown pages.",
    }
    DOWNTIME_EXCEEDED = "downtime-exceeded", Refused {
        meaning: "More requests failed during the release than `max-downtime` allows. The release is rolled back.",
        cause: "A reload cut requests, PHP-FPM was short of workers, the new release failed at first, or the server limits requests.",
        action: "Look at the logs of the web server and of PHP-FPM at the times in the details. If the server limits requests (`limit_req`), set a lower `sample-rate` in the policy.",
    }
    ASSETS_BROKEN = "assets-broken", Refused {
        meaning: "Files of the front end (Vite) that the release has are missing on the site, or are wrong there.",
        cause: "The web server's root is not `current/public`, or a cache or CDN answers for `/build`.",
        action: "Check the web server's `root`, and purge or correct the cache. The details name each file.",
    }
    ASSET_MANIFEST_WRONG = "asset-manifest-wrong", Refused {
        meaning: "The site's `/build/manifest.json` is missing, cannot be read, or is not the one of this release.",
        cause: "The web server's root is not `current/public`, or a cache keeps an older manifest.",
        action: "Check the web server's `root`. Exclude `/build/manifest.json` from caches.",
    }
    REQUESTS_FAILED = "requests-failed", Warning {
        meaning: "Some requests of the availability sampler failed during the release, for less time than `max-downtime` allows.",
        cause: "A reload cut running requests, or PHP-FPM was short of workers.",
        action: "Set `process_control_timeout = 10s` in php-fpm.conf. Read the logs of the web server and of PHP-FPM at the times in the report.",
    }
    SAMPLES_MISSING = "samples-missing", Warning {
        meaning: "Some requests of the availability sampler did not reach the site, so the availability during that time is not known.",
        cause: "The network of the runner, a proxy, or the SSH connection of the tunnel broke.",
        action: "Check the connection between the runner and the site.",
    }
    HEALTH_TOKEN_REFUSED = "health-token-refused", Warning {
        meaning: "The site refuses the health token. If the target release refuses it too, the rollback fails and is undone.",
        cause: "`healthcheck-token` is not the value that the application checks, or the live release fails at the check.",
        action: "Set `healthcheck-token` to the value that the application checks.",
    }
    WRONG_TOKEN_UNTESTED = "wrong-token-untested", Warning {
        meaning: "It could not be tested that the site refuses a wrong token, because no endpoint gave an answer to it.",
        cause: "The site limits requests, or the connection broke.",
        action: "Run again. If the site limits requests, allow more for the health endpoints.",
    }
    IDENTITY_NOT_PROVEN = "identity-not-proven", Warning {
        meaning: "The site is healthy, but no answer proves that the new release answers and not the old one.",
        cause: "No health endpoint answers with a commit or a release, and the web server does not run the one-time file in `public`.",
        action: "Let a health endpoint answer with its commit (JSON field `commit` or `release`), or let the web server run `public/gated-deploy-*.php`.",
    }
}

const CHECKING: &str = "checking that the health check can fail";

/// What a round of requests found. `problems` are one line an endpoint.
pub fn unhealthy(doing: &str, report: &HealthReport, problems: Vec<String>) -> Failure {
    let first = problems.first().map_or_else(|| "no endpoint was checked".to_owned(), Clone::clone);
    // A site that could not be reached says nothing of its health (exit code 5).
    if report.standing() == SiteStatus::NotAsked {
        return SITE_UNREACHABLE.failure(doing, format!("the site could not be reached: {first}")).details(problems);
    }
    let cause = match report.score() {
        Score { passed, total } if passed == total && total > 0 => format!("every endpoint is healthy, but {first}"),
        Score { passed, total } => format!("{passed} of {total} endpoints are healthy; {first}"),
    };
    SITE_UNHEALTHY.failure(doing, cause).details(problems)
}

/// The release that is to go live is unhealthy. `failure` is what a round of requests found, `causes` what PHP and the app's log said meanwhile.
pub fn before_the_switch(failure: Failure, causes: &[String]) -> Failure {
    let first = causes.first().map(|cause| format!("{cause}; ")).unwrap_or_default();
    let unhealthy = CANARY_UNHEALTHY.failure(failure.doing, format!("{first}{}", failure.cause));
    let details = failure.details.iter().chain(causes.iter().skip(1)).cloned();
    failure.hint.into_iter().fold(unhealthy.details(details), Failure::hint)
}

/// `why` nothing could be asked.
pub fn canary_not_asked(why: &str, user: &str) -> Warning {
    CANARY_NOT_ASKED.warning(
        format!("the release could not be asked before the switch: {why}"),
        format!("The health check after the switch decides. Where {user} may not connect to the socket of the pool, add it to the group of `listen.group`, for example: sudo usermod -aG www-data {user}"),
    )
}

/// `problem`: the pages with their answers.
pub fn warm_up_failed(problem: &str) -> Warning {
    WARM_UP_FAILED.warning(
        format!("the new release was not warmed up as `warm-up` asks: {problem}"),
        "Correct the path in `warm-up`, or leave it out. If the page is one that visitors open, read the application's log.",
    )
}

/// No answer at all before the first release. `reached`: the request came to the place where the site should be.
pub fn no_answer(doing: &str, path: &str, unanswered: &dyn Display, reached: bool, help: Option<&str>) -> Failure {
    let code = if reached { SITE_NO_ANSWER } else { SITE_UNREACHABLE };
    code.failure(doing, format!("{path}: {unanswered}"))
        .hint(help.unwrap_or("Check the web server of the site and its error log"))
}

/// The web server sends visitors to another site.
pub fn redirects(doing: &str, path: &str, text: &str, hint: Option<String>) -> Failure {
    hint.into_iter().fold(SITE_REDIRECTS.failure(doing, format!("{path}: {text}")), Failure::hint)
}

/// The web server asks for a password before the app is asked.
pub fn protected(doing: &str, path: &str, text: &str, hint: Option<String>) -> Failure {
    hint.into_iter().fold(SITE_PROTECTED.failure(doing, format!("{path}: {text}")), Failure::hint)
}

/// The site accepts a wrong token.
pub fn token_unchecked(paths: &[String]) -> Failure {
    HEALTH_TOKEN_UNCHECKED
        .failure(
            CHECKING,
            format!(
                "a wrong token gets a healthy answer from {}: the token proves nothing",
                paths.join(" and from ")
            ),
        )
        .hint(
            "Let the health route compare the token (`hash_equals`) and answer 401 otherwise. Or remove `healthcheck-token`.",
        )
}

/// The self-test of the check did not reach the site.
pub fn nowhere_unreachable(problem: &str, hint: Option<String>) -> Failure {
    let failure = SITE_UNREACHABLE
        .failure(CHECKING, format!("the request for a page that does not exist did not reach the site: {problem}"));
    hint.into_iter().fold(failure, Failure::hint)
}

/// A page that does not exist is healthy.
pub fn blind(path: &str) -> Failure {
    HEALTH_CHECK_BLIND
        .failure(
            CHECKING,
            format!("a page that does not exist ({path}) answers as healthy, so a healthy answer proves nothing"),
        )
        .hint("Give each path in `health-paths` a route of its own that fails if the application fails, and answer 404 to unknown pages.")
}

/// The site failed for longer than allowed.
pub fn downtime(described: &str, budget: &str, failures: impl IntoIterator<Item = String>) -> Failure {
    DOWNTIME_EXCEEDED
        .failure("comparing the downtime with `max-downtime`", format!("{described}; `max-downtime` is {budget}"))
        .details(failures)
        .hint(
            "Read the logs of the web server and of PHP-FPM at these times. If the server limits requests (`limit_req`), set a lower \
             `sample-rate` in the policy.",
        )
}

/// Files that the manifest names are not as they should be; `problems` has at least one.
pub fn assets(score: Score, first: &str, problems: &[String]) -> Failure {
    ASSETS_BROKEN
        .failure(
            "checking the site's Vite assets",
            format!("{} of {} files are correct; {first}", score.passed, score.total),
        )
        .hint("Check that the web server's `root` is `current/public`, and whether a cache or CDN answers for /build.")
        .details(problems)
}

/// The site's Vite manifest is not usable.
pub fn asset_manifest(cause: impl Into<String>) -> Failure {
    ASSET_MANIFEST_WRONG
        .failure("reading the site's /build/manifest.json", cause)
        .hint("Check that the site serves `current/public`, and whether a cache keeps an older manifest.")
}

/// Requests failed, for less time than is allowed; `told` are the numbers.
pub fn requests_failed(described: &str, hint: String) -> Warning {
    REQUESTS_FAILED.warning(described, hint)
}

/// Requests did not reach the site; `told` are the numbers.
pub fn samples_missing(described: &str) -> Warning {
    SAMPLES_MISSING.warning(
        described,
        "Check the connection between this runner and the site. The availability during that time is not known.",
    )
}

/// Before a rollback.
pub fn token_refused() -> Warning {
    HEALTH_TOKEN_REFUSED.warning(
        "the site refuses the health token. If the target release refuses it too, this rollback fails and is undone",
        "Check that `healthcheck-token` is the value that the application checks.",
    )
}

/// `silent` says which endpoint gave no answer, and why.
pub fn token_untested(silent: &str) -> Warning {
    WRONG_TOKEN_UNTESTED.warning(
        format!("the refusal of a wrong token could not be tested: {silent}"),
        "Run again. If the site limits requests, allow more for the health endpoints.",
    )
}

/// `note` says why the one-time file proves nothing, where that is known.
pub fn identity_not_proven(note: Option<&str>) -> Warning {
    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
    IDENTITY_NOT_PROVEN.warning(
        format!("identity not proven: no answer distinguishes the new release from the old one{note}"),
        "Let a health endpoint answer with its commit (JSON field `commit` or `release`), or let the web server run public/gated-deploy-*.php.",
    )
}
