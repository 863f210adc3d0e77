//! What the pre-flight warns of: it does not prevent a release.

use std::fmt::Display;

use super::{codes, word};
use crate::domain::{RemoteCommand, Warning};

codes! {
    MODES_OPEN = "release-modes-open", Warning {
        meaning: "Other accounts of the server can read or change files of the releases that are as secret as `.env`.",
        cause: "The umask of the deploy user, or a `chmod` on the server, gave rights to all accounts.",
        action: "Run the command of the help text on the server.",
    }
    APP_DEBUG_ON = "app-debug-on", Warning {
        meaning: "`APP_DEBUG` is true in production. An error page shows the app's settings to every visitor.",
        cause: "The `.env` was copied from a development machine, or debugging was left on.",
        action: "Set `APP_DEBUG=false` in the `.env` of this environment, and release again.",
    }
    ENV_FILE_OPEN = "env-file-mode-open", Warning {
        meaning: "Every account of the server can read or change the `.env` of this environment.",
        cause: "The file has rights for all other accounts.",
        action: "Run `chmod 640 FILE` on the server.",
    }
    ENV_FILE_CLOSED = "env-file-closed-to-php-fpm", Warning {
        meaning: "PHP-FPM's user cannot read the `.env` of this environment. Wherever the configuration is not cached, the app has no settings.",
        cause: "The file's group is not a group of PHP-FPM's user.",
        action: "Run the command of the help text on the server.",
    }
    SUDO_PASSWORD_UNKNOWN = "sudo-password-unknown", Warning {
        meaning: "Sudo allows a command of the release, but its list does not show whether it asks for a password.",
        cause: "The server's sudo prints its rules in another form.",
        action: "Add the line of the help text to the sudo rules with `visudo`.",
    }
    SERVICE_CONFIG_UNTESTED = "service-config-untested", Warning {
        meaning: "The configuration of nginx or PHP-FPM was not tested, so a reload can fail because of it.",
        cause: "Sudo does not allow the test, or the test ended without a result.",
        action: "Add the line of the help text to the sudo rules, or run the test as root before the release.",
    }
    VIRTUAL_HOST_UNKNOWN = "virtual-host-unknown", Warning {
        meaning: "No readable virtual host of nginx has its root below `current`, so it is unknown what serves the site.",
        cause: "The virtual host has another root, or the deploy user cannot read its file.",
        action: "Set `root` in the virtual host to the folder `public` of `current`.",
    }
    FPM_VERSION_UNKNOWN = "php-fpm-version-unknown", Warning {
        meaning: "The PHP version of PHP-FPM is unknown, so it was not compared with that of the command line.",
        cause: "The name of the service does not contain its version.",
        action: "Set `php-fpm-service` to a name with the version, such as `php8.3-fpm`.",
    }
    FPM_USER_UNKNOWN = "php-fpm-user-unknown", Warning {
        meaning: "It is unknown whether PHP-FPM's user can write in the shared folders.",
        cause: "The pool of the site, or the account of the pool, was not found.",
        action: "Set `php-fpm-service` to the service that serves the site.",
    }
    SHARED_PATH_UNKNOWN = "shared-folder-unread", Warning {
        meaning: "It is unknown who can write to a shared folder, because its real location could not be read.",
        cause: "The path is a link to a place that is unreadable, or whose name has unusual characters.",
        action: "Find the target with `readlink -f`, then make the path a folder, or a link to a folder with a plain path.",
    }
    SHARED_ACCESS_LIST = "shared-folder-access-list", Warning {
        meaning: "It is unknown whether PHP-FPM's user can write to a shared folder, because an access control list decides it.",
        cause: "A folder on the way has an access control list, which the file modes do not show.",
        action: "Read the list with `getfacl`, and check that it lets PHP-FPM's user write.",
    }
    LOG_CLOSED = "log-not-writable", Warning {
        meaning: "The deploy user or PHP-FPM's user cannot write to a log of the app. Requests or commands that log then fail.",
        cause: "The other of the two created the log for itself alone.",
        action: "Give the log the common group of both users, then run `chmod g+w FILE`.",
    }
    BACKUP_MISSING = "backup-missing", Warning {
        meaning: "The server has no verified backup of the live release.",
        cause: "No release was made with this action yet, or the backups were removed.",
        action: "Release once: a release makes a backup before its first change.",
    }
    BACKUP_OLD = "backup-old", Warning {
        meaning: "The newest verified backup is old.",
        cause: "No release was made for a longer time, or the last ones ended before their backup.",
        action: "Check why the last release is so old. A release makes a backup before its first change.",
    }
}

pub fn modes_open(cause: String, command: String) -> Warning {
    MODES_OPEN.warning(cause, command)
}

pub fn app_debug_on(file: &dyn Display) -> Warning {
    APP_DEBUG_ON.warning(
        format!("APP_DEBUG is true in {file}: an error page shows the app's settings to every visitor"),
        format!("Set in {file}: APP_DEBUG=false"),
    )
}

pub fn env_file_open(file: &dyn Display, mode: &str) -> Warning {
    ENV_FILE_OPEN.warning(
        format!("{file} has mode {mode}: every account of the server can read or change it"),
        format!("Run: chmod 640 {}", word(file)),
    )
}

/// `real`: the file or folder that decides it.
pub fn env_file_closed(user: &str, group: &str, file: &str, real: &str) -> Warning {
    let because = if real == file { String::new() } else { format!(", because of {real}") };
    ENV_FILE_CLOSED.warning(
        format!("PHP-FPM's user {user} cannot read {file}{because}"),
        format!("Run: chgrp {group} {0} && chmod g+rX {0}", word(real)),
    )
}

/// `line`: for the sudo rules.
pub fn sudo_password_unknown(user: &str, command: &str, line: String) -> Warning {
    SUDO_PASSWORD_UNKNOWN.warning(
        format!("sudo allows {user} `{command}`, but its list does not show whether a password is required"),
        line,
    )
}

pub fn service_config_untested(test: &str, said: &str, hint: String) -> Warning {
    SERVICE_CONFIG_UNTESTED.warning(format!("the configuration could not be tested: {test}: {said}"), hint)
}

pub fn virtual_host_unknown(user: &str, current: &dyn Display) -> Warning {
    VIRTUAL_HOST_UNKNOWN.warning(
        format!("{user} can read no virtual host of nginx with its root below {current}"),
        format!("Set in the virtual host: root {current}/public;"),
    )
}

pub fn fpm_version_unknown(fpm: &str) -> Warning {
    FPM_VERSION_UNKNOWN.warning(
        format!("the service name {fpm} does not contain its PHP version: it was not compared with the command line"),
        "Set `php-fpm-service` to a name with the version, such as php8.3-fpm.",
    )
}

pub fn fpm_user_unknown() -> Warning {
    FPM_USER_UNKNOWN.warning(
        "it is unknown whether PHP-FPM's user can write in the shared folders: its pool, or the account of the pool, was not found",
        "Set `php-fpm-service` to the service that serves the site.",
    )
}

pub fn shared_path_unknown(path: &str) -> Warning {
    SHARED_PATH_UNKNOWN.warning(
        format!("it is unknown who can write to {path}: its real location could not be read"),
        format!(
            "Make it a folder, or a link to a folder with a short, plain path. To find its target, run: {}",
            RemoteCommand::new(["readlink", "-f", path])
        ),
    )
}

pub fn shared_access_list(user: &str, folder: &str, real: &str) -> Warning {
    SHARED_ACCESS_LIST.warning(
        format!("it is unknown whether PHP-FPM's user {user} can write to {folder}: {real} has an access control list"),
        format!("Read the list: {}", RemoteCommand::new(["getfacl", real])),
    )
}

/// `more`: how many further logs are closed.
pub fn log_closed(user: &str, log: &str, more: usize) -> Warning {
    let others = match more {
        0 => String::new(),
        1 => " and 1 more log".to_owned(),
        more => format!(" and {more} more logs"),
    };
    LOG_CLOSED.warning(
        format!("{user} cannot write to {log}{others}"),
        format!(
            "Check that its group is common to both users, then run: {}",
            RemoteCommand::new(["chmod", "g+w", log])
        ),
    )
}

pub fn backup_missing(live: &str, folder: &dyn Display) -> Warning {
    BACKUP_MISSING.warning(
        format!("there is no verified backup of {live} in {folder}"),
        "Release once: a release makes a backup before its first change.",
    )
}

/// `described`: the backup and its age.
pub fn backup_old(described: &str, days: i64) -> Warning {
    BACKUP_OLD.warning(
        format!("{described}, more than {days} days"),
        "Check why the last release is so old. A release makes a backup before its first change.",
    )
}

#[cfg(test)]
mod tests {
    use super::log_closed;

    #[test]
    fn several_closed_logs_are_counted_in_one_sentence() {
        let said = |more| log_closed("www-data", "/srv/shop/laravel.log", more).text;
        assert_eq!(said(0), "www-data cannot write to /srv/shop/laravel.log");
        assert_eq!(said(1), "www-data cannot write to /srv/shop/laravel.log and 1 more log");
        assert_eq!(said(2), "www-data cannot write to /srv/shop/laravel.log and 2 more logs");
    }
}
