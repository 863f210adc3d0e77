//! What stands in the way of a release on the server, before anything is changed.

use std::fmt::Display;

use super::activation::CURRENT_NOT_A_LINK;
use super::database::DATABASE_DRIVER_UNSUPPORTED;
use super::database::DUMP_PROGRAM_MISSING;
use super::release::RELEASE_NO_INODES;
use super::release::RELEASE_NO_ROOM;
use super::release_dir::PHP_TOO_OLD;
use super::server::ENV_FILE_MISSING;
use super::server::ENV_FILE_UNREADABLE;
use super::{
    Problem, codes,
    server::{DANGLING_LINK, NOT_A_FOLDER},
};
use crate::domain::{Failure, Layout, RemoteCommand};

codes! {
    SEVERAL_PROBLEMS = "several-problems", Refused {
        meaning: "The check found several problems. Each one prevents a release.",
        cause: "The details name each problem and its help.",
        action: "Fix all of them, then plan again.",
    }
    GATES_FAILED = "bundle-incomplete", Refused {
        meaning: "The bundle lacks files that every release needs, or they are empty.",
        cause: "The build did not install the dependencies, did not build the front end, or packed the wrong folder.",
        action: "Read the details, correct the build, and build again.",
    }
    TOOLS_MISSING = "server-tools-missing", Refused {
        meaning: "Programs that a release needs are not on the server.",
        cause: "The server has a minimal installation.",
        action: "Install them, on Debian and Ubuntu: `apt-get install coreutils tar gzip sudo`.",
    }
    PHP_MISSING = "server-php-missing", Refused {
        meaning: "The server cannot run PHP on the command line.",
        cause: "php-cli is not installed, or has another name.",
        action: "Install php-cli, or set the input `php`, for example to `/usr/bin/php8.2`.",
    }
    CLOCK_WRONG = "server-clock-wrong", Refused {
        meaning: "The server's clock differs from the runner's. Names of releases are times, so their order would be wrong.",
        cause: "No time service runs on the server.",
        action: "Set the clock: `systemctl restart systemd-timesyncd`.",
    }
    BASE_MISSING = "base-dir-missing", Refused {
        meaning: "The folder `base-dir` does not exist on the server.",
        cause: "The server was not prepared, or `base-dir` is misspelled.",
        action: "Correct `base-dir`, or create the folder: `install -d -o deploy /srv/shop`.",
    }
    BASE_READ_ONLY = "base-dir-not-writable", Refused {
        meaning: "The deploy user may not write to `base-dir`.",
        cause: "The folder belongs to another account.",
        action: "Give it to the deploy user: `chown deploy /srv/shop`.",
    }
    STATE_FOREIGN = "state-folder-foreign", Refused {
        meaning: "The folder `.gated-deploy` in `base-dir` belongs to another account.",
        cause: "Releases were made with another `ssh-user` before, or as root.",
        action: "Log in as the user that releases (`ssh-user`), or give the folder to it with `chown -R`.",
    }
    BASE_OF_ANOTHER = "base-dir-of-another-environment", Refused {
        meaning: "`base-dir` belongs to another environment.",
        cause: "`base-dir` or the environment is mixed up.",
        action: "Correct `base-dir` or the environment. If the folder really belongs to this environment, write its name into `.gated-deploy/environment`.",
    }
    BASE_UNMARKED = "base-dir-unmarked", Refused {
        meaning: "`base-dir` is in use, and nothing says that it belongs to this environment.",
        cause: "The folder has files of another site, or releases of another tool.",
        action: "If it is the right folder, mark it with the command of the help text. Otherwise correct `base-dir`.",
    }
    CURRENT_DANGLING = "current-dangling", Refused {
        meaning: "`current` points to a release that does not exist.",
        cause: "The folder of the live release was removed.",
        action: "Point `current` at a release that exists, or remove the link.",
    }
    ENV_LINK_WRONG = "env-link-wrong", Refused {
        meaning: "The live release does not read the `.env` of this environment.",
        cause: "`current/.env` is a file of its own, is missing, or points to another file.",
        action: "Compare the two files, then make the link with the command of the help text, or correct `env-file`.",
    }
    APP_KEY_UNFIT = "app-key-unfit", Refused {
        meaning: "`APP_KEY` in `.env` is missing, or has a length that no cipher of Laravel takes.",
        cause: "It was not set, or was cut when it was copied.",
        action: "Restore the key with which the app's data was encrypted. For a new app: `php artisan key:generate --show`.",
    }
    APP_ENV_MISMATCH = "app-env-mismatch", Refused {
        meaning: "`APP_ENV` in `.env` does not name this environment.",
        cause: "`env-file` or the environment is mixed up, or `.env` was copied from another environment.",
        action: "Correct the environment or `env-file`. If it is the right file, set `APP_ENV` in it.",
    }
    DATABASE_IN_RELEASE = "database-in-release", Refused {
        meaning: "The app's SQLite database lies in the release's folder. Every release would start with an empty database.",
        cause: "`DB_DATABASE` is not set, or names a path in the release.",
        action: "Copy the file below `shared`, and set `DB_DATABASE` to its path, as the help text says.",
    }
    SPECIAL_FILE = "storage-special-file", Refused {
        meaning: "A FIFO or a device lies in the shared storage. The app waits without end when it opens it.",
        cause: "A program or a person made it there.",
        action: "Remove it with the command of the help text.",
    }
    STORAGE_FULL = "storage-full", Refused {
        meaning: "The file system of the shared storage is full.",
        cause: "Logs, sessions or uploads took all space or all inodes.",
        action: "Find what fills it: `du -xsh /srv/shop/shared/storage/*`. Then free space.",
    }
    SHARED_NOT_WRITABLE = "shared-not-writable", Refused {
        meaning: "The deploy user or PHP-FPM's user may not write where the app keeps its files.",
        cause: "Owner, group or mode of a shared folder is wrong.",
        action: "Run the command of the help text on the server: it gives the folder a group of both users, and setgid.",
    }
    ROOM_UNKNOWN = "room-unknown", Refused {
        meaning: "The server does not say how much space is free, so it is not known whether the release has room.",
        cause: "`df` fails there: a network file system does not answer, or the folder cannot be read.",
        action: "Run `df -Pk` for the folder as the deploy user, and repair what it reports.",
    }
    BACKUP_COPY_IMPOSSIBLE = "backup-copy-impossible", Refused {
        meaning: "The off-site copy of a backup cannot be made, and the policy requires it.",
        cause: "`backup-copy-dir` is not mounted, is full, does not answer, or belongs to another account.",
        action: "See what is at `backup-copy-dir` on the server.",
    }
    PHP_VERSIONS_DIFFER = "php-versions-differ", Refused {
        meaning: "PHP on the command line and PHP-FPM have different versions. A release would be tested by one and served by the other.",
        cause: "Several versions of PHP are installed.",
        action: "Set the input `php` to the version of the pool, or set `php-fpm-service` to the service that serves the site.",
    }
    STAGING_URL_MISSING = "staging-url-missing", Refused {
        meaning: "It is not configured where staging is, so staging was not asked about the commit. A release would be refused.",
        cause: "Neither `staging-url` nor the section `environments.staging` of the policy has a URL.",
        action: "Set `staging-url`, or `url` in the section `environments.staging` of the policy.",
    }
}

/// The failure of a row that found these; there is at least one.
pub fn refusal(doing: &str, mut problems: Vec<Problem>) -> Failure {
    if problems.len() == 1 {
        return problems.remove(0).failure(doing);
    }
    let lines = problems.iter().map(|problem| format!("{} ({})", problem.cause, problem.hint));
    SEVERAL_PROBLEMS
        .failure(doing, format!("{} problems found", problems.len()))
        .details(lines)
        .hint("fix all of them, then plan again")
}

/// Gates that the contents of the bundle do not pass.
pub fn gates_failed(score: &str, lines: Vec<String>) -> Failure {
    GATES_FAILED
        .failure("checking the nine gates in the bundle", format!("{score} gates passed"))
        .details(lines)
        .hint("the bundle is not whole: look at the build's own gates, and build again")
}

pub fn tools_missing(tools: &[&str]) -> Problem {
    TOOLS_MISSING.problem(
        format!("the server lacks {}", tools.join(", ")),
        "install them; on Debian: apt-get install coreutils tar gzip sudo",
    )
}

pub fn php_missing(php: &str) -> Problem {
    PHP_MISSING.problem(
        format!("the server cannot run `{php}`"),
        "install php-cli, or name the binary in the input php, e.g. /usr/bin/php8.2",
    )
}

/// `skew`: how many seconds the server is ahead.
pub fn clock_wrong(skew: i64) -> Problem {
    CLOCK_WRONG.problem(
        // The seconds are not worth telling: the answer took a while to come.
        format!(
            "the server's clock is about {} min {}",
            (skew.unsigned_abs() + 30) / 60,
            if skew > 0 { "ahead" } else { "behind" }
        ),
        "release names are times: set the clock, e.g. systemctl restart systemd-timesyncd",
    )
}

pub fn base_missing(base: &dyn Display, hint: impl Into<String>) -> Problem {
    BASE_MISSING.problem(format!("there is no folder {base}"), hint)
}

pub fn base_read_only(user: &str, base: &dyn Display) -> Problem {
    BASE_READ_ONLY.problem(format!("{user} may not write to {base}"), format!("chown {user} {base}"))
}

pub fn state_foreign(state: &dyn Display, hint: impl Into<String>) -> Problem {
    STATE_FOREIGN.problem(format!("{state} belongs to somebody else"), hint)
}

/// The place is marked as another environment's.
pub fn base_of_another(base: &dyn Display, named: &str, environment: &str, marker: &dyn Display) -> Problem {
    BASE_OF_ANOTHER.problem(
        format!("{base} belongs to the environment `{named}`, not to `{environment}`"),
        format!(
            "correct base-dir or the stage; if the place was meant to change hands, write `{environment}` into {marker}"
        ),
    )
}

/// The place is not empty, and not marked. `foreign`: what no release place has.
pub fn base_unmarked(layout: &Layout, marker: &dyn Display, foreign: &[&str], environment: &str) -> Problem {
    let (base, state) = (layout.base(), layout.state());
    let cause = if foreign.is_empty() {
        format!("{base} has releases already, and {marker} does not say that they are of `{environment}`")
    } else {
        format!("{base} holds things that no release place has: {}", foreign.join(", "))
    };
    let mend = format!("if it is the right place: mkdir -p -m 700 {state} && echo {environment} > {marker}");
    BASE_UNMARKED.problem(cause, mend)
}

pub fn current_not_a_link(current: &dyn Display, hint: &str) -> Problem {
    CURRENT_NOT_A_LINK.problem(format!("{current} is not a link"), hint)
}

pub fn current_dangling(current: &dyn Display, link: &str) -> Problem {
    CURRENT_DANGLING.problem(
        format!("{current} points to {link}, which is not there"),
        "point it at a release that is there, or remove the link",
    )
}

pub fn env_file_unreadable(user: &str, file: &dyn Display) -> Problem {
    ENV_FILE_UNREADABLE.problem(
        format!("{user} may not read {file}"),
        "give the file a group that both the deploy user and PHP-FPM have, mode 0640",
    )
}

pub fn env_file_missing(file: &dyn Display) -> Problem {
    ENV_FILE_MISSING.problem(format!("there is no {file}"), "create it (mode 0640), or name it in the input env-file")
}

/// `link` leads to `target` instead of the file.
pub fn env_link_elsewhere(link: &dyn Display, target: &str, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG.problem(
        format!("{link} leads to {target}, and not to {file}"),
        format!("name that file in the input env-file, or compare the two, then: ln -sfn {file} {link}"),
    )
}

pub fn env_link_not_a_link(link: &dyn Display, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG.problem(
        format!("{link} is a file of its own, and not a link to {file}: the next release would see other settings"),
        format!("compare the two, then: ln -sfn {file} {link}"),
    )
}

pub fn env_link_missing(link: &dyn Display, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG
        .problem(format!("there is no {link}: the live release has no settings"), format!("ln -s {file} {link}"))
}

pub fn app_key_odd(file: &dyn Display) -> Problem {
    APP_KEY_UNFIT.problem(
        format!("APP_KEY in {file} has a length that no cipher of Laravel takes"),
        "restore the key that the app's data was encrypted with; a new one: php artisan key:generate --show",
    )
}

pub fn app_key_missing(file: &dyn Display) -> Problem {
    APP_KEY_UNFIT.problem(
        format!("APP_KEY is not set in {file}"),
        "restore the key that the app's data was encrypted with; for a new app: php artisan key:generate --show",
    )
}

/// `named`: what the file says, if that is a plain word.
pub fn app_env_mismatch(file: &dyn Display, named: Option<&str>, odd: bool, environment: &str) -> Problem {
    let cause = match named {
        Some(name) => format!("APP_ENV is `{name}` in {file}, and the environment is `{environment}`"),
        None if odd => format!("APP_ENV in {file} is not a plain word"),
        None => format!("APP_ENV is not set in {file}"),
    };
    APP_ENV_MISMATCH.problem(
        cause,
        format!("correct `environment` or `env-file`; if the file is the right one, set in it: APP_ENV={environment}"),
    )
}

/// `mend`: what to do with the file or its folder. `limits`: why this is not certain.
pub fn database_in_release(file: &str, limits: &str, mend: &str, env: &dyn Display, to: &str) -> Problem {
    DATABASE_IN_RELEASE.problem(
        format!(
            "the app's SQLite database {file} lies in the release: every release would start with an empty \
             database{limits}"
        ),
        format!("{mend}Then set in {env}: DB_DATABASE={to}"),
    )
}

pub fn shared_dangling(path: &str, whole: &str) -> Problem {
    DANGLING_LINK.problem(format!("{path} is a link that leads nowhere"), format!("repair or remove {whole}"))
}

pub fn shared_not_a_folder(path: &str, whole: &str) -> Problem {
    NOT_A_FOLDER.problem(format!("{path} is not a folder"), format!("move {whole} away"))
}

/// `remove`: the command.
pub fn special_file(path: &str, remove: &dyn Display) -> Problem {
    SPECIAL_FILE.problem(
        format!("{path} is a FIFO or a device: the app waits for ever when it opens it"),
        format!("remove it: {remove}"),
    )
}

pub fn storage_full(shared: &dyn Display) -> Problem {
    STORAGE_FULL.problem(
        format!("{shared}/storage is full: the app cannot write its logs, sessions and views"),
        format!("find what fills it: du -xsh {shared}/storage/*"),
    )
}

pub fn shared_not_writable(who: &str, path: &str, hint: impl Into<String>) -> Problem {
    SHARED_NOT_WRITABLE.problem(format!("{who} may not write to {path}"), hint)
}

/// A folder above it is closed.
pub fn shared_not_reachable(user: &str, closed: &str, folder: &str) -> Problem {
    SHARED_NOT_WRITABLE.problem(
        format!("PHP-FPM's user {user} may not pass through {closed} to {folder}"),
        RemoteCommand::new(["chmod", "o+x", closed]).to_string(),
    )
}

/// It is not there, and the deploy user may not make it.
pub fn shared_not_creatable(path: &str, user: &str, folder: &str, hint: String) -> Problem {
    SHARED_NOT_WRITABLE.problem(format!("there is no {path}, and {user} may not make it in {folder}"), hint)
}

/// It is not there, and what the deploy user makes would be closed to PHP-FPM's user.
pub fn shared_closed_when_made(path: &str, user: &str, folder: &str, hint: String) -> Problem {
    SHARED_NOT_WRITABLE.problem(
        format!("there is no {path}; made in {folder} by the release, PHP-FPM's user {user} could not write to it"),
        hint,
    )
}

const MAKE_ROOM: &str = "free disk space there, or lower keep-releases and keep-backups";

pub fn no_room_kib(free: u64, base: &dyn Display, need: u64) -> Problem {
    RELEASE_NO_ROOM
        .problem(format!("no room for a release: {free} KiB free on {base}, about {need} KiB needed"), MAKE_ROOM)
}

/// `told`: what the need is made of.
pub fn no_room(free: &str, place: &str, need: &str, told: &str) -> Problem {
    RELEASE_NO_ROOM.problem(format!("{free} free on {place}, about {need} needed ({told})"), MAKE_ROOM)
}

pub fn no_inodes(free: u64, base: &dyn Display, need: u64) -> Problem {
    RELEASE_NO_INODES.problem(
        format!("{free} inodes free on {base}, about {need} needed"),
        "remove what is not needed there; df -Pi says which file system is full",
    )
}

pub fn room_unknown(place: &str) -> Problem {
    ROOM_UNKNOWN.problem(format!("df does not say how much is free on {place}"), format!("see: df -Pk {place}"))
}

pub fn dump_program_missing(postgres: bool) -> Problem {
    let (programs, package) = match postgres {
        true => ("pg_dump or pg_restore is not", "postgresql-client"),
        false => ("neither mariadb-dump nor mysqldump is", "mariadb-client"),
    };
    DUMP_PROGRAM_MISSING.problem(
        format!("{programs} on the server: the database cannot be backed up"),
        format!("apt-get install {package}"),
    )
}

pub fn database_driver_unsupported(driver: &str) -> Problem {
    DATABASE_DRIVER_UNSUPPORTED.problem(
        format!("the app's database is {driver}: this version can back up mysql, mariadb, pgsql and sqlite, and releases nothing without a backup"),
        "see DB_CONNECTION in the app's .env",
    )
}

pub fn backup_copy_impossible(failure: &Failure, dir: &dyn Display) -> Problem {
    BACKUP_COPY_IMPOSSIBLE.problem(
        format!("no copy of a backup could be made: {failure}"),
        failure.hint.clone().unwrap_or_else(|| format!("see what {dir} is on the server")),
    )
}

/// `pool`: major and minor version.
pub fn php_versions_differ(fpm: &str, pool: (u32, u32), php: &str, version: &str) -> Problem {
    let (major, minor) = pool;
    PHP_VERSIONS_DIFFER.problem(
        format!("{fpm} serves the site with PHP {major}.{minor}, and `{php}` is PHP {version}"),
        format!(
            "set the input php to /usr/bin/php{major}.{minor}; or, if another service serves the site, set php-fpm-service to it"
        ),
    )
}

pub fn php_too_old(needed: &str, too_old: &[String]) -> Problem {
    PHP_TOO_OLD.problem(
        format!("the bundle's vendor folder needs {needed}, and {}", too_old.join(" and ")),
        "upgrade the server's PHP, name newer ones in php and php-fpm-service, or build for the server's version",
    )
}

pub fn staging_url_missing() -> Problem {
    STAGING_URL_MISSING.problem(
        "nobody said where staging is, so it was not asked; a release would be refused",
        "give staging-url, or url in the section environments.staging of the policy file",
    )
}
