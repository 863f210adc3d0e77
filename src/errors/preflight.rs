//! Blockers of a release on the server, found before any change.

use std::fmt::Display;

use super::database::DATABASE_DRIVER_UNSUPPORTED;
use super::database::DUMP_PROGRAM_MISSING;
use super::release::RELEASE_NO_INODES;
use super::release::RELEASE_NO_ROOM;
use super::release_dir::PHP_TOO_OLD;
use super::server::ENV_FILE_MISSING;
use super::server::ENV_FILE_UNREADABLE;
use super::server::PHP_MISSING;
use super::{
    Problem, codes,
    server::{DANGLING_LINK, NOT_A_FOLDER},
    word,
};
use crate::domain::{Failure, Layout, RemoteCommand, format};

codes! {
    SEVERAL_PROBLEMS = "several-problems", Refused {
        meaning: "The check found several problems. Each one prevents a release.",
        cause: "Server, build or settings have more than one fault. The details name each with its help.",
        action: "Fix all of them, then run the plan again.",
    }
    GATES_FAILED = "bundle-incomplete", Refused {
        meaning: "The bundle lacks files that every release needs, or they are empty.",
        cause: "The build did not install the dependencies, did not build the front end, or packed the wrong folder.",
        action: "Read the details, correct the build, and build again.",
    }
    TOOLS_MISSING = "server-tools-missing", Refused {
        meaning: "The server lacks programs that a release needs.",
        cause: "The server has a minimal installation.",
        action: "Install them, on Debian and Ubuntu: `apt-get install coreutils tar gzip sudo`.",
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
        meaning: "The deploy user cannot write to `base-dir`.",
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
        meaning: "`base-dir` is in use, and it is not marked as belonging to this environment.",
        cause: "The folder has files of another site, or releases of another tool.",
        action: "If it is the right folder, mark it with the command in the help. Otherwise correct `base-dir`.",
    }
    CURRENT_DANGLING = "current-dangling", Refused {
        meaning: "`current` points to a release that does not exist.",
        cause: "The folder of the live release was removed.",
        action: "Switch `current` to an existing release, or remove the link: see docs/recovery.md.",
    }
    ENV_LINK_WRONG = "env-link-wrong", Refused {
        meaning: "The live release does not read the `.env` of this environment.",
        cause: "`current/.env` is a file of its own, is missing, or points to another file.",
        action: "Compare the two files, then make the link with the command in the help, or correct `env-file`.",
    }
    APP_KEY_UNFIT = "app-key-unfit", Refused {
        meaning: "`APP_KEY` in `.env` is missing, or has a length that no Laravel cipher accepts.",
        cause: "It was not set, or was truncated when it was copied.",
        action: "Restore the key with which the app's data was encrypted. For a new app: `php artisan key:generate --show`.",
    }
    APP_ENV_MISMATCH = "app-env-mismatch", Refused {
        meaning: "`APP_ENV` in `.env` does not name this environment.",
        cause: "`env-file` or the environment is mixed up, or `.env` was copied from another environment.",
        action: "Correct the environment or `env-file`. If it is the right file, set `APP_ENV` in it.",
    }
    DATABASE_IN_RELEASE = "database-in-release", Refused {
        meaning: "The app's SQLite database is in the release's folder. Every release would start with an empty database.",
        cause: "`DB_DATABASE` is not set, or names a path in the release.",
        action: "Copy the file below `shared`, and set `DB_DATABASE` to its path, as the help says.",
    }
    SPECIAL_FILE = "storage-special-file", Refused {
        meaning: "The shared storage contains a FIFO or a device. The app hangs when it opens it.",
        cause: "A program or a user created it there.",
        action: "Remove it with the command in the help.",
    }
    STORAGE_FULL = "storage-full", Refused {
        meaning: "The file system of the shared storage is full.",
        cause: "Logs, sessions or uploads use all space or all inodes.",
        action: "Find the large files: `du -xsh /srv/shop/shared/storage/*`. Then free space.",
    }
    SHARED_NOT_WRITABLE = "shared-not-writable", Refused {
        meaning: "The deploy user or PHP-FPM's user cannot write to a shared folder of the app.",
        cause: "Owner, group or mode of a shared folder is wrong.",
        action: "Run the command in the help on the server: it gives the folder a common group of both users, and setgid.",
    }
    ROOM_UNKNOWN = "room-unknown", Refused {
        meaning: "The free disk space of the server is unknown, so the space for the release was not checked.",
        cause: "`df` fails there: a network file system does not answer, or the folder cannot be read.",
        action: "Run `df -Pk` for the folder as the deploy user, and correct the error that it reports.",
    }
    BACKUP_COPY_IMPOSSIBLE = "backup-copy-impossible", Refused {
        meaning: "The off-site backup is not possible, and the policy requires it.",
        cause: "`backup-copy-dir` is not mounted, is full, does not answer, or belongs to another account.",
        action: "Check `backup-copy-dir` on the server: `ls -ld DIR; df -h DIR`.",
    }
    PHP_VERSIONS_DIFFER = "php-versions-differ", Refused {
        meaning: "PHP on the command line and PHP-FPM have different versions. A release would be tested by one and served by the other.",
        cause: "Several versions of PHP are installed.",
        action: "Set the input `php` to the version of the pool, or set `php-fpm-service` to the service that serves the site.",
    }
    STAGING_URL_MISSING = "staging-url-missing", Refused {
        meaning: "The address of staging is not configured, so the commit was not checked there. A release would be refused.",
        cause: "Neither `staging-url` nor the section `environments.staging` of the policy has a URL.",
        action: "Set `staging-url`, or `url` in the section `environments.staging` of the policy.",
    }
}

/// The failure of a row that found these; there is at least one.
pub fn refusal(doing: &str, mut problems: Vec<Problem>) -> Failure {
    if problems.len() == 1 {
        return problems.remove(0).failure(doing);
    }
    let count = problems.len();
    let lines = problems
        .into_iter()
        .flat_map(|problem| std::iter::once(format!("{} ({})", problem.cause, problem.hint)).chain(problem.details));
    SEVERAL_PROBLEMS
        .failure(doing, format!("{count} blockers found"))
        .details(lines)
        .hint("Fix all of them, then run the plan again.")
}

/// Gates that the contents of the bundle do not pass.
pub fn gates_failed(score: &str, lines: Vec<String>) -> Failure {
    GATES_FAILED
        .failure("checking the nine gates in the bundle", format!("{score} gates passed"))
        .details(lines)
        .hint("The bundle is incomplete. Correct the build, and build again.")
}

pub fn tools_missing(tools: &[&str]) -> Problem {
    TOOLS_MISSING.problem(
        format!("the server lacks {}", tools.join(", ")),
        "Install them, on Debian and Ubuntu: apt-get install coreutils tar gzip sudo",
    )
}

pub fn php_missing(php: &str) -> Problem {
    PHP_MISSING.problem(
        format!("the server cannot run `{php}`"),
        "Install php-cli, or set the input `php`, for example to /usr/bin/php8.2.",
    )
}

/// `skew`: how many seconds the server is ahead.
pub fn clock_wrong(skew: i64) -> Problem {
    CLOCK_WRONG.problem(
        // Minutes are enough: the answer itself took some seconds.
        format!(
            "the server's clock is about {} min {}",
            (skew.unsigned_abs() + 30) / 60,
            if skew > 0 { "ahead" } else { "behind" }
        ),
        "Release names are times. Set the clock: systemctl restart systemd-timesyncd",
    )
}

pub fn base_missing(base: &dyn Display, hint: impl Into<String>) -> Problem {
    BASE_MISSING.problem(format!("the folder {base} does not exist"), hint)
}

pub fn base_read_only(user: &str, base: &dyn Display) -> Problem {
    BASE_READ_ONLY
        .problem(format!("{user} cannot write to {base}"), format!("As root, run: chown {user} {}", word(base)))
}

pub fn state_foreign(state: &dyn Display, hint: impl Into<String>) -> Problem {
    STATE_FOREIGN.problem(format!("{state} belongs to another account"), hint)
}

/// The folder is marked as another environment's.
pub fn base_of_another(base: &dyn Display, named: &str, environment: &str, marker: &dyn Display) -> Problem {
    BASE_OF_ANOTHER.problem(
        format!("{base} belongs to the environment `{named}`, not to `{environment}`"),
        format!(
            "Correct `base-dir` or the stage. If the folder now belongs to {environment}, run on the server: echo {environment} > {}",
            word(marker)
        ),
    )
}

/// The folder is not empty, and not marked. `foreign`: files that are not part of releases.
pub fn base_unmarked(layout: &Layout, marker: &dyn Display, foreign: &[&str], environment: &str) -> Problem {
    let (base, state) = (layout.base(), layout.state());
    let cause = if foreign.is_empty() {
        format!("{base} already has releases, but {marker} does not assign them to `{environment}`")
    } else {
        format!("{base} contains files that are not part of releases: {}", foreign.join(", "))
    };
    let mend = format!(
        "If it is the right folder, run on the server: mkdir -p -m 700 {} && echo {environment} > {}",
        word(&state),
        word(marker)
    );
    BASE_UNMARKED.problem(cause, mend)
}

pub fn current_dangling(current: &dyn Display, link: &str) -> Problem {
    CURRENT_DANGLING.problem(
        format!("{current} points to {link}, which does not exist"),
        "Switch it to an existing release, or remove the link.",
    )
}

pub fn env_file_unreadable(user: &str, file: &dyn Display) -> Problem {
    ENV_FILE_UNREADABLE.problem(
        format!("{user} cannot read {file}"),
        "Give the file a common group of the deploy user and PHP-FPM's user, and mode 0640.",
    )
}

pub fn env_file_missing(file: &dyn Display) -> Problem {
    ENV_FILE_MISSING.problem(format!("{file} does not exist"), "Create it (mode 0640), or set `env-file` to its path.")
}

/// `link` leads to `target` instead of the file.
pub fn env_link_elsewhere(link: &dyn Display, target: &str, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG.problem(
        format!("{link} points to {target}, not to {file}"),
        format!("Set `env-file` to that file, or compare the two files and run: ln -sfn {} {}", word(file), word(link)),
    )
}

pub fn env_link_not_a_link(link: &dyn Display, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG.problem(
        format!("{link} is a regular file, not a link to {file}: the next release would have other settings"),
        format!("Compare the two files, then run: ln -sfn {} {}", word(file), word(link)),
    )
}

pub fn env_link_missing(link: &dyn Display, file: &dyn Display) -> Problem {
    ENV_LINK_WRONG.problem(
        format!("{link} does not exist: the live release has no settings"),
        format!("Run: ln -s {} {}", word(file), word(link)),
    )
}

pub fn app_key_odd(file: &dyn Display) -> Problem {
    APP_KEY_UNFIT.problem(
        format!("APP_KEY in {file} has a length that no Laravel cipher accepts"),
        "Restore the key with which the app's data was encrypted. For a new app: php artisan key:generate --show",
    )
}

pub fn app_key_missing(file: &dyn Display) -> Problem {
    APP_KEY_UNFIT.problem(
        format!("APP_KEY is not set in {file}"),
        "Restore the key with which the app's data was encrypted. For a new app: php artisan key:generate --show",
    )
}

/// `named`: what the file says, if that is a plain word.
pub fn app_env_mismatch(file: &dyn Display, named: Option<&str>, odd: bool, environment: &str) -> Problem {
    let cause = match named {
        Some(name) => format!("APP_ENV is `{name}` in {file}, but the environment is `{environment}`"),
        None if odd => format!("APP_ENV in {file} is not a plain word"),
        None => format!("APP_ENV is not set in {file}"),
    };
    APP_ENV_MISMATCH.problem(
        cause,
        format!("Correct `environment` or `env-file`. If the file is the right one, set in it: APP_ENV={environment}"),
    )
}

/// `mend`: what to do with the file or its folder. `limits`: why this is not certain.
pub fn database_in_release(file: &str, limits: &str, mend: &str, env: &dyn Display, to: &str) -> Problem {
    DATABASE_IN_RELEASE.problem(
        format!(
            "the app's SQLite database {file} is in the release: every release would start with an empty \
             database{limits}"
        ),
        format!("{mend}Then set in {env}: DB_DATABASE={to}"),
    )
}

pub fn shared_dangling(path: &str, whole: &str) -> Problem {
    DANGLING_LINK.problem(format!("{path} is a link without an existing target"), format!("Correct or remove {whole}."))
}

pub fn shared_not_a_folder(path: &str, whole: &str) -> Problem {
    NOT_A_FOLDER.problem(format!("{path} is not a folder"), format!("Move {whole} to another place."))
}

/// `remove`: the command.
pub fn special_file(path: &str, remove: &dyn Display) -> Problem {
    SPECIAL_FILE
        .problem(format!("{path} is a FIFO or a device: the app hangs when it opens it"), format!("Run: {remove}"))
}

pub fn storage_full(shared: &dyn Display) -> Problem {
    STORAGE_FULL.problem(
        format!("{shared}/storage is full: the app cannot write its logs, sessions and views"),
        format!("Find the large files: du -xsh {}/storage/*", word(shared)),
    )
}

pub fn shared_not_writable(who: &str, path: &str, hint: impl Into<String>) -> Problem {
    SHARED_NOT_WRITABLE.problem(format!("{who} cannot write to {path}"), hint)
}

/// A folder above it is closed.
pub fn shared_not_reachable(user: &str, closed: &str, folder: &str) -> Problem {
    SHARED_NOT_WRITABLE.problem(
        format!("PHP-FPM's user {user} cannot enter {closed} on the way to {folder}"),
        format!("Run: {}", RemoteCommand::new(["chmod", "o+x", closed])),
    )
}

/// It does not exist, and the deploy user cannot create it.
pub fn shared_not_creatable(path: &str, user: &str, folder: &str, hint: String) -> Problem {
    SHARED_NOT_WRITABLE.problem(format!("{path} does not exist, and {user} cannot create it in {folder}"), hint)
}

/// It does not exist, and PHP-FPM's user could not write to it if the deploy user created it.
pub fn shared_closed_when_made(path: &str, user: &str, folder: &str, hint: String) -> Problem {
    SHARED_NOT_WRITABLE.problem(
        format!(
            "{path} does not exist; if the release created it in {folder}, PHP-FPM's user {user} could not write to it"
        ),
        hint,
    )
}

const MAKE_ROOM: &str = "Free disk space there, or lower `keep-releases` and `keep-backups`.";

pub fn no_room_kib(free: u64, base: &dyn Display, need: u64) -> Problem {
    let of = |kib: u64| format::bytes(kib.saturating_mul(1024));
    RELEASE_NO_ROOM
        .problem(format!("not enough disk space: {} free on {base}, about {} needed", of(free), of(need)), MAKE_ROOM)
}

/// `told`: what the need is made of.
pub fn no_room(free: &str, place: &str, need: &str, described: &str) -> Problem {
    RELEASE_NO_ROOM.problem(format!("{free} free on {place}, about {need} needed ({described})"), MAKE_ROOM)
}

pub fn no_inodes(free: u64, base: &dyn Display, need: u64) -> Problem {
    RELEASE_NO_INODES.problem(
        format!("{free} inodes free on {base}, about {need} needed"),
        "Remove unused files there. To find the full file system, run: df -Pi",
    )
}

pub fn room_unknown(place: &str) -> Problem {
    ROOM_UNKNOWN.problem(
        format!("df does not report the free space on {place}"),
        format!("Run as the deploy user: df -Pk {}", word(place)),
    )
}

pub fn dump_program_missing(postgres: bool) -> Problem {
    let (programs, package) = match postgres {
        true => ("pg_dump or pg_restore is not installed", "postgresql-client"),
        false => ("neither mariadb-dump nor mysqldump is installed", "mariadb-client"),
    };
    DUMP_PROGRAM_MISSING.problem(
        format!("{programs} on the server: the database cannot be backed up"),
        format!("Run on the server as root: apt-get install {package}"),
    )
}

pub fn database_driver_unsupported(driver: &str) -> Problem {
    DATABASE_DRIVER_UNSUPPORTED.problem(
        format!("the app's database is {driver}: this version only backs up mysql, mariadb, pgsql and sqlite, and a release needs a backup"),
        "Check DB_CONNECTION in the app's .env.",
    )
}

pub fn backup_copy_impossible(failure: &Failure, dir: &dyn Display) -> Problem {
    BACKUP_COPY_IMPOSSIBLE.problem(
        format!("an off-site backup is not possible: {failure}"),
        failure.hint.clone().unwrap_or_else(|| format!("Check {dir} on the server: ls -ld {}", word(dir))),
    )
}

/// `pool`: major and minor version.
pub fn php_versions_differ(fpm: &str, pool: (u32, u32), php: &str, version: &str) -> Problem {
    let (major, minor) = pool;
    PHP_VERSIONS_DIFFER.problem(
        format!("{fpm} serves the site with PHP {major}.{minor}, but `{php}` is PHP {version}"),
        format!(
            "Set the input `php` to /usr/bin/php{major}.{minor}. If another service serves the site, set `php-fpm-service` to it."
        ),
    )
}

pub fn php_too_old(needed: &str, too_old: &[String]) -> Problem {
    PHP_TOO_OLD.problem(
        format!("the bundle's vendor folder needs {needed}, but {}", too_old.join(" and ")),
        "Upgrade the server's PHP, set `php` and `php-fpm-service` to a newer version, or build for the server's version.",
    )
}

pub fn staging_url_missing() -> Problem {
    STAGING_URL_MISSING.problem(
        "the address of staging is not configured; a release would be refused",
        "Set `staging-url`, or `url` in the section environments.staging of the policy file.",
    )
}
