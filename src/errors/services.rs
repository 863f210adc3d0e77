//! PHP-FPM and nginx: which one serves the site, and whether it can be reloaded.

use super::{Problem, codes};
use crate::domain::{Failure, Warning};

codes! {
    FPM_UNKNOWN = "php-fpm-unknown", Refused {
        meaning: "It is not known which PHP-FPM service serves the site.",
        cause: "The web server's configuration cannot be read, or several services are possible.",
        action: "Set `php-fpm-service`, for example to `php8.2-fpm`.",
    }
    SUDO_RULE_MISSING = "sudo-rule-missing", Refused {
        meaning: "The deploy user may not run a command by sudo that a release needs.",
        cause: "The rule in /etc/sudoers.d is missing, has other words than the command, asks for a password, or sudo needs a terminal.",
        action: "Let an administrator add the line in the help to /etc/sudoers.d/gated-deploy: `visudo -f /etc/sudoers.d/gated-deploy`.",
    }
    SERVICE_STOPPED = "service-stopped", Refused {
        meaning: "PHP-FPM or nginx is not running, so a release cannot reload it.",
        cause: "The service was stopped, or ended with an error.",
        action: "Start it with the command in the help. The reason stands in its log: `sudo journalctl -u php8.2-fpm -n 50`.",
    }
    OTHER_SERVICE = "other-service-runs", Refused {
        meaning: "The service that a release reloads is not running, and another web server or PHP-FPM is.",
        cause: "Another service serves the site.",
        action: "Let nginx and the configured PHP-FPM serve the site, or set `php-fpm-service` to the service that does.",
    }
    SERVICE_CONFIG_BROKEN = "service-config-broken", Refused {
        meaning: "A reload would end PHP-FPM or nginx, or fail: its configuration is broken.",
        cause: "A configuration file was changed, a file, folder, account or address that it names is missing, or another program has its port.",
        action: "Correct what the message names, then test: `nginx -t` or `php-fpm8.2 -t`.",
    }
    PHP_VERSION_UNREADABLE = "php-version-unreadable", Refused {
        meaning: "The server's PHP prints something else than its version.",
        cause: "An extension or a file of `auto_prepend_file` prints text when PHP starts.",
        action: "Run `php -r 'echo PHP_VERSION_ID;'` on the server as the deploy user, and repair what else is printed.",
    }
    CONFIG_NOT_ACTIVE = "service-config-not-active", Warning {
        meaning: "A configuration file of PHP-FPM or nginx changed and is not active yet. The reload of this release activates it.",
        cause: "The file was changed, maybe for another site, and the service was not reloaded since.",
        action: "If the change is not wanted, restore the file before the release. Otherwise reload the service before it, so that the release does not activate a foreign change.",
    }
    CONFIG_UNVERIFIED = "service-config-unverified", Warning {
        meaning: "It is not known whether PHP-FPM survives a reload: a part of its configuration could not be checked. If that part has an error, PHP-FPM ends for every site.",
        cause: "The deploy user may not read a file, or cannot see which program listens on a port.",
        action: "Run the command of the help text on the server before the release.",
    }
    RELOAD_CUTS_REQUESTS = "reload-cuts-requests", Warning {
        meaning: "A reload of PHP-FPM cuts running requests, because its `process_control_timeout` is 0. This is PHP-FPM's default.",
        cause: "`process_control_timeout` is not set in php-fpm.conf.",
        action: "Add `process_control_timeout = 10s` to the section `[global]` of php-fpm.conf, then reload PHP-FPM.",
    }
    RELOAD_TIMEOUT_UNKNOWN = "reload-timeout-unknown", Warning {
        meaning: "It is not known whether a reload of PHP-FPM cuts running requests: its configuration cannot be read.",
        cause: "The deploy user may not read php-fpm.conf.",
        action: "Check that the section `[global]` of php-fpm.conf has `process_control_timeout = 10s`.",
    }
}

/// It is not known which PHP-FPM serves the site.
pub fn fpm_unknown(cause: &str) -> Problem {
    FPM_UNKNOWN.problem(cause, "Set `php-fpm-service`, for example to `php8.2-fpm`.")
}

/// Commands that sudo does not allow; what sudo says, and the line that would allow them.
pub fn sudo_rule_missing(cause: String, hint: String) -> Problem {
    SUDO_RULE_MISSING.problem(cause, hint)
}

/// A service that is not running; `beside`: what runs instead of it, or nothing.
pub fn stopped(service: &str, state: &str, start: &str, beside: &str) -> Problem {
    match beside {
        "" => SERVICE_STOPPED.problem(format!("{service} is not running{state}"), format!("Start it: {start}")),
        other => OTHER_SERVICE.problem(
            format!("{service} is not running{state}, but {other} is: a release reloads {service}, and never {other}"),
            format!("Let {service} serve the site: {start}. A site that {other} serves cannot be released."),
        ),
    }
}

/// What the server says of a configuration.
pub fn config_broken(what: &str, mend: &str) -> Problem {
    SERVICE_CONFIG_BROKEN.problem(what, mend)
}

/// PHP says something else than its version.
pub fn php_version_unreadable(doing: &str, text: &str) -> Failure {
    PHP_VERSION_UNREADABLE
        .failure(doing, format!("PHP answered `{text}` instead of its version"))
        .hint("On the server, run as the deploy user: php -r 'echo PHP_VERSION_ID;'. Repair what else it prints.")
}

/// What could end PHP-FPM at its next reload and could not be checked.
pub fn config_unverified(what: &str, action: &str) -> Warning {
    CONFIG_UNVERIFIED.warning(what, action)
}

/// A file that the next reload activates, and how long ago it changed.
pub fn config_not_active(service: &str, path: &str, ago: &str) -> Warning {
    CONFIG_NOT_ACTIVE.warning(
        format!("{path} changed {ago} ago and is not active yet: the reload will activate it"),
        format!("If the change is not wanted, restore the file before the release. Otherwise reload {service} first."),
    )
}

/// `file` is PHP-FPM's configuration.
pub fn reload_cuts_requests(fpm: &str, file: &str) -> Warning {
    RELOAD_CUTS_REQUESTS.warning(
        format!("a reload of {fpm} cuts running requests: its process_control_timeout is 0, PHP-FPM's default"),
        format!("Add this line to [global] in {file}: process_control_timeout = 10s"),
    )
}

pub fn reload_timeout_unknown(fpm: &str, file: &str) -> Warning {
    RELOAD_TIMEOUT_UNKNOWN.warning(
        format!("it is not known whether a reload of {fpm} cuts running requests: {file} cannot be read"),
        "Check that its section [global] has: process_control_timeout = 10s",
    )
}
