//! The app's database: its settings, its dump, its migrations.

use std::fmt::Display;

use super::{Problem, codes};
use crate::domain::{RemotePath, Warning};

codes! {
    DATABASE_SETTINGS_UNREADABLE = "database-settings-unreadable", Refused {
        meaning: "The app could not be started on the server to read the settings of its database.",
        cause: "PHP ended with an error in the app's configuration, or in the `.env` file.",
        action: "Read PHP's message in the lines of the step, and correct the configuration or the `.env` file.",
        script: "the database's settings could not be read on the server", "Read PHP's message in the lines of this step. The .env file is {env_file}",
    }
    DATABASE_QUERY_FAILED = "database-query-failed", Refused {
        meaning: "The app's database did not answer which tables it has.",
        cause: "The `DB_` settings are wrong, the database is stopped, or it does not accept this account.",
        action: "Check the `DB_` settings in the `.env` file, and that the database runs.",
        script: "the database did not answer which tables it has: {problem}",
            "Check the DB_ settings in {env_file}. If they are right, check that the database runs and accepts this account.",
    }
    DATABASE_DRIVER_UNSUPPORTED = "database-driver-unsupported", Refused {
        meaning: "The app uses a database that this version cannot back up, and no release is activated without a backup.",
        cause: "The app's default connection has a driver other than mysql, mariadb, pgsql and sqlite.",
        action: "Use one of these drivers.",
        script: "the app's database driver is {driver}; this version can back up mysql, mariadb, pgsql and sqlite", "Use one of these drivers for the app's default connection.",
    }
    DATABASE_COPY_FAILED = "database-copy-failed", Refused {
        meaning: "The SQLite database could not be copied into the backup.",
        cause: "The file is locked or damaged, or the disk is full.",
        action: "Read SQLite's message in the lines of the step.",
        script: "copying the database {database} failed", "Read SQLite's message in the lines of this step.",
    }
    DUMP_PROGRAM_MISSING = "dump-program-missing", Refused {
        meaning: "The server has no program to dump the app's database.",
        cause: "The database runs on another machine, and its client is not installed on this one.",
        action: "Install it: `apt-get install mariadb-client`, or `apt-get install postgresql-client`.",
        script: "{programs} on the server", "As root, run: apt-get install {package}",
    }
    DUMP_FAILED = "dump-failed", Refused {
        meaning: "The dump of the database ended with an error.",
        cause: "The database account lacks a privilege, the connection was lost, or a table is damaged.",
        action: "Read the message of the dump program (mariadb-dump, mysqldump or pg_dump), which is in the error, and correct what it names.",
        script: "dumping the database {database} failed with status {status}: {said}", "Correct what the message names, then run again.",
    }
    DUMP_OBJECT_UNREADABLE = "dump-object-unreadable", Refused {
        meaning: "The database has a view, a procedure or a function that its account cannot dump. The backup would lack it.",
        cause: "Another account defined it, or a view needs a table or an account that no longer exists.",
        action: "Run the command below each object in the error, or drop or create the object again.",
        script: "the dump of {database} would lack the objects below", "Correct each of them as its line says, then start the release again.",
    }
    DUMP_CONFIGURATION_NARROWS = "dump-configuration-narrows", Refused {
        meaning: "The configuration of the program for dumps leaves rows or tables out of every dump.",
        cause: "A section `[mysqldump]`, `[mariadb-dump]` or `[client]` in /etc/mysql has such an option.",
        action: "Remove the option, or put it into a file that only the script reads which needs it.",
        script: "the configuration of {program} on this server narrows every dump: {options}",
            "Find the options: grep -rnE 'where|no.data|no.create.info|ignore.|databases|tables' /etc/mysql. Remove them from [client], [mysqldump] and [mariadb-dump].",
    }
    DUMP_CONFIGURATION_UNREAD = "dump-configuration-unread", Warning {
        meaning: "The configuration of the dump program could not be read. An option there that leaves rows out of every dump would not be noticed.",
        cause: "`my_print_defaults` is not installed or failed, and the dump program does not answer `--print-defaults`.",
        action: "Install the tools of the client: `apt-get install mariadb-client`. Check that the dump program is no script of your own.",
    }
    DUMP_CORRUPT = "dump-corrupt", Refused {
        meaning: "The file of the dump cannot be read to its end: by gzip, or by pg_restore for PostgreSQL.",
        cause: "The disk is full or broken, or the dump program was replaced or ended early.",
        action: "Check the disk of the backups (`df -h`), then run again.",
        script: "the dump of {database} is incomplete: {program} cannot read all of it",
            "Read the message of {program} in the lines of this step, check the disk of the backups, then run again.",
    }
    DUMP_CUT_OFF = "dump-cut-off", Refused {
        meaning: "The dump of the database does not end in the line that a complete dump ends in.",
        cause: "The program for the dump was ended, or comments are switched off in its configuration (`skip-comments`).",
        action: "Check its configuration in /etc/mysql, then run again.",
        script: "the dump of {database} is incomplete: its last line is not '-- Dump completed'",
            "Check the configuration of the dump program in /etc/mysql, then run again.",
    }
    DUMP_OBJECTS_MISSING = "dump-objects-missing", Refused {
        meaning: "The dump lacks tables, views, sequences, routines, triggers or events that the catalogue of the database has.",
        cause: "The program for the dump was replaced or ended early, or an object was created during the dump.",
        action: "Run again. If the same objects are missing, dump the database by hand and read what the program says.",
        script: "the dump of {database} lacks: {objects}", "Run again. If the same objects are missing, dump the database by hand and read what the program says.",
    }
    DUMP_CHECK_BROKEN = "dump-check-broken", Refused {
        meaning: "The check of the dump accepts a dump that is empty or incomplete. Nothing is known about the real dump then.",
        cause: "A tool of the server (awk, cut, grep, head, sed, gzip, or pg_restore for PostgreSQL) was replaced, or is damaged.",
        action: "Check these tools: `command -v awk cut grep head sed gzip pg_restore`.",
        script: "the self-test of the dump check failed: it accepts {accepted} as complete",
            "Check these tools on the server: command -v awk cut grep head sed gzip pg_restore",
    }
    DRIVER_MISSING = "database-driver-missing", Refused {
        meaning: "PHP on the server's command line has no driver for the app's database. Neither a backup nor a migration can reach it.",
        cause: "The package of the driver is not installed, or not for this version of PHP.",
        action: "Install it. On Debian and Ubuntu for PHP 8.2: `apt-get install php8.2-mysql` (MySQL, MariaDB), `php8.2-pgsql` (PostgreSQL) or `php8.2-sqlite3` (SQLite). Then reload PHP-FPM.",
    }
    MIGRATION_LIST_UNREADABLE = "migration-list-unreadable", Refused {
        meaning: "The app could not read from the database which migrations have run. None was started.",
        cause: "The new release does not start, or the database does not answer.",
        action: "Read PHP's message in the lines of the step.",
        script: "the list of migrations could not be read from the database", "Read PHP's message in the lines of this step.",
    }
    DATABASE_NOT_NAMED = "database-not-named", Warning {
        meaning: "The `.env` file names no database, and the first release runs its migrations. Laravel 11 and later then creates a database inside the release, which the next release does not have.",
        cause: "`DB_CONNECTION` and `DB_DATABASE` are missing in `.env`.",
        action: "Set both in `.env`, or set `migrate: false` if the app has no database.",
    }
    MIGRATIONS_NOT_LISTED = "migrations-not-listed", Warning {
        meaning: "The plan cannot list the pending migrations, because the database did not answer which ones have run.",
        cause: "The live release cannot reach its database, or PHP ended while it started.",
        action: "Read the lines of the step, and check that the live release reaches its database.",
    }
    PACKAGE_MIGRATIONS_NOT_LISTED = "package-migrations-not-listed", Warning {
        meaning: "The plan lists only the app's own migrations, because the live release did not answer where its packages keep theirs.",
        cause: "PHP ended while the live release started.",
        action: "Read the lines of the step for the reason.",
    }
    DATABASE_OBJECTS_UNSEEN = "database-objects-unseen", Warning {
        meaning: "The database account cannot see whether the database has triggers, events or routines. A backup would lack them.",
        cause: "The account has rights on tables only.",
        action: "Grant the rights that the warning names, or make sure that the database has no such objects.",
    }
    NEW_PACKAGE_MIGRATES = "new-package-migrates", Warning {
        meaning: "A package is new in this release and has migrations. It is not known whether they will run.",
        cause: "The live release does not have the package, so it cannot answer.",
        action: "Read the migrations of the package before you approve the release.",
    }
}

/// `env_file` is the site's.
pub fn not_named(env_file: &RemotePath) -> Warning {
    DATABASE_NOT_NAMED.warning(
        format!("{env_file} names no database, and the first release runs its migrations"),
        "Set DB_CONNECTION and DB_DATABASE there, or `migrate: false`. Otherwise Laravel 11 and later creates the database inside the release.",
    )
}

pub fn migrations_not_listed() -> Warning {
    MIGRATIONS_NOT_LISTED.warning(
        "the database did not answer which migrations have run: the plan cannot list the pending ones",
        "Read the lines of this step, and check that the live release reaches its database.",
    )
}

pub fn package_migrations_not_listed() -> Warning {
    PACKAGE_MIGRATIONS_NOT_LISTED.warning(
        "the live release did not answer where its packages keep migrations: the plan lists only those of the app itself",
        "Read the lines of this step for the reason.",
    )
}

/// `folder` is the package's in the bundle.
pub fn new_package_migrates(package: &str, folder: &str) -> Warning {
    NEW_PACKAGE_MIGRATES.warning(
        format!("the package {package} is new and has migrations: it is not known whether they will run"),
        format!("Read them before you approve: {folder}"),
    )
}

/// The database gave no answer; `why` is the driver's own message, or empty.
pub fn query_failed(why: &str, env_file: &dyn Display) -> Problem {
    let why = if why.is_empty() { "see the lines of this step" } else { why };
    DATABASE_QUERY_FAILED.problem(
        format!("the database does not answer which tables it has: {why}"),
        format!(
            "Check the DB_ settings in {env_file}. If they are right, check that the database runs and accepts this account."
        ),
    )
}

/// The lines say of each object what it is, why it cannot be dumped, and what to do; a command is a line of its own.
pub fn unreadable<'a>(lines: impl Iterator<Item = &'a str>) -> Problem {
    DUMP_OBJECT_UNREADABLE
        .problem(
            "a dump of the database would lack the objects below",
            "Correct each of them as its line says, then start the release again.",
        )
        .details(lines)
}

/// PHP lacks this extension. `version` is its whole version, or empty.
pub fn driver_missing(extension: &str, php: &str, version: &str) -> Problem {
    let short: Vec<&str> = version.splitn(3, '.').take(2).collect();
    let name = match extension {
        "pdo_sqlite" => "sqlite3",
        other => other.trim_start_matches("pdo_"),
    };
    DRIVER_MISSING.problem(
        format!("{php} has no driver for the database of the app: the extension {extension} is missing"),
        format!(
            "On Debian or Ubuntu, run as root: apt-get install php{}-{name}. Then reload PHP-FPM.",
            short.join(".")
        ),
    )
}

/// `program` is the one for dumps.
pub fn dump_configuration_unread(program: &str) -> Warning {
    DUMP_CONFIGURATION_UNREAD.warning(
        format!(
            "the configuration of {program} could not be read: an option there that leaves rows out of the dump would not be noticed"
        ),
        "Look for such options on the server: grep -rnE 'where|no.data|no.create.info|ignore.|databases|tables' /etc/mysql",
    )
}

/// `kinds` are the kinds of objects; `hint` has the right that is missing.
pub fn objects_unseen(kinds: &str, hint: &str) -> Warning {
    DATABASE_OBJECTS_UNSEEN.warning(format!("a backup would lack {kinds}, if the database has any"), hint)
}
