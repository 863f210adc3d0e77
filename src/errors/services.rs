//! PHP-FPM and nginx: which one serves the site, and whether it can be reloaded.

use super::{Problem, codes};
use crate::domain::Failure;

codes! {
    FPM_UNKNOWN = "php-fpm-unknown", Refused {
        meaning: "It is not known which PHP-FPM service serves the site.",
        cause: "The web server's configuration cannot be read, or several services are possible.",
        action: "Set `php-fpm-service`, for example to `php8.2-fpm`.",
    }
    SUDO_RULE_MISSING = "sudo-rule-missing", Refused {
        meaning: "The deploy user may not run a command by sudo that a release needs.",
        cause: "The rule in /etc/sudoers.d is missing, has other words than the command, asks for a password, or sudo needs a terminal.",
        action: "Let an administrator add the line of the help text to /etc/sudoers.d/gated-deploy: `visudo -f /etc/sudoers.d/gated-deploy`.",
    }
    SERVICE_STOPPED = "service-stopped", Refused {
        meaning: "PHP-FPM or nginx is not running, so a release cannot reload it.",
        cause: "The service was stopped, or ended with an error.",
        action: "Start it with the command of the help text. The reason stands in its log: `sudo journalctl -u php8.2-fpm -n 50`.",
    }
    OTHER_SERVICE = "other-service-runs", Refused {
        meaning: "The service that a release reloads is not running, and another web server or PHP-FPM is.",
        cause: "Another service serves the site.",
        action: "Let nginx and the configured PHP-FPM serve the site, or set `php-fpm-service` to the service that does.",
    }
    SERVICE_CONFIG_BROKEN = "service-config-broken", Refused {
        meaning: "A reload would end PHP-FPM or nginx, or fail: its configuration is broken.",
        cause: "A configuration file was changed, or a file, folder or account that it names is missing.",
        action: "Correct what the message names, then test: `nginx -t` or `php-fpm8.2 -t`.",
    }
    PHP_VERSION_UNREADABLE = "php-version-unreadable", Refused {
        meaning: "The server's PHP prints something else than its version.",
        cause: "An extension or a file of `auto_prepend_file` prints text when PHP starts.",
        action: "Run `php -r 'echo PHP_VERSION_ID;'` on the server as the deploy user, and repair what else is printed.",
    }
}

/// It is not known which PHP-FPM serves the site.
pub fn fpm_unknown(cause: &str) -> Problem {
    FPM_UNKNOWN.problem(cause, "Set `php-fpm-service`, for example to `php8.2-fpm`")
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
            format!("Let {service} serve the site: {start}. A site that {other} serves cannot be released"),
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
        .hint("On the server, run as the deploy user: php -r 'echo PHP_VERSION_ID;'. Repair what else it prints")
}
