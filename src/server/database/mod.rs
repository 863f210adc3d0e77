//! Forward migrations.

pub mod change_preview;

use std::time::Duration;

use super::{
    inspect::{About, Looked, Problem, problem},
    lock, remote,
};
use crate::{
    context::{Deploy, Survey},
    domain::{
        Failure, Layout, RemoteCommand, RemotePath, Warning,
        migration::{Migrated, lines, measured, without_sql},
        record,
    },
    engine::{
        Done, Undone,
        step::{Io, StepResult},
    },
    errors,
    transport::shell::{Answer, Script},
};

/// How often a run that is being rolled back asks whether its migration has ended, and for how long.
const LOOK: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(600);

const TIMEOUT: Duration = Duration::from_secs(3600);

/// Answers questions about the app's database, in PHP, on the server.
pub const PROGRAM: &str =
    concat!(include_str!("../../transport/dotenv.php"), include_str!("../app.php"), include_str!("database.php"));

/// What the app's database said of itself, before a backup of it is made.
#[derive(Debug, Default, PartialEq)]
pub struct Described {
    pub tables: Option<u64>,
    pub kib: Option<u64>,
    /// Why no backup can be made: the database gave no answer, or has objects that this account cannot dump.
    pub obstacles: Vec<errors::Problem>,
    /// What the account cannot see, so that no backup holds it, and the right that it lacks.
    pub unseen: Option<Warning>,
}

impl Described {
    /// Reads the records that `described.sh` sends.
    pub fn read(answer: &Answer, env_file: &RemotePath) -> Self {
        let number = |key: &str| {
            answer.get("database")?.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.parse().ok()
        };
        let mut obstacles = Vec::new();
        if let Some(why) = answer.get("database-unknown") {
            obstacles.push(errors::database::query_failed(why.trim(), env_file));
        }
        if let Some(objects) = answer.get("database-unreadable") {
            obstacles.push(errors::database::unreadable(objects.trim().lines()));
        }
        let unseen = answer.get("database-unseen").map(|said| {
            let (kinds, hint) = said.trim().split_once(". ").unwrap_or((said.trim(), ""));
            errors::database::objects_unseen(kinds, hint)
        });
        Self { tables: number("tables"), kib: number("kib"), obstacles, unseen }
    }
}

/// The source of the database's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The live release. Starting it needs a private folder. Before the first release it is `.env`.
    App,
    /// `.env` alone: nothing is written.
    Env,
}

/// What prevents a release about the database: it lies in the live release, which the next one does not have, or PHP has no driver for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The line of a pre-flight that says it.
    pub check: &'static str,
    pub problem: Problem,
    /// Whether a release refuses it. What `.env` names, the configuration of a live app can override: then the release asks the app.
    pub certain: bool,
}

/// Whether the app keeps its database in the release: then every release would start with an empty one (FD28). And whether PHP has the driver for
/// it: without, neither backup nor migration can reach it. Where this cannot be read, other rows say why.
pub async fn place(cx: &Survey, io: &Io, looked: &Looked, asked: Asked) -> Result<Vec<Obstacle>, Failure> {
    let Looked { answer, .. } = looked;
    let stops = ["special", "php-missing", "current-dangling"].iter().any(|key| answer.get(key).is_some());
    if stops || answer.get("env-file") != Some("yes") {
        return Ok(Vec::new());
    }
    let (layout, server) = (&cx.inputs.layout, &cx.inputs.server);
    let script = Script::new("place", include_str!("place.sh"))
        .repeatable()
        .var("ASK", if asked == Asked::App { "app" } else { "env" })
        .var("TREE", answer.get("current-is").unwrap_or_default())
        .var("ENV_FILE", layout.env_file().as_str())
        .var("PHP", &server.php)
        .var("DATABASE_PHP", PROGRAM)
        .hiding(layout.env_file());
    let said = remote::run(&*cx.ports.shell, io, script, "reading where the app keeps its database").await?;
    if said.get("driver").map(str::trim) == Some("none") && looked.current().is_none() && server.migrate {
        io.warning(errors::database::not_named(layout.env_file()));
    }
    let live = looked.current().is_some();
    if asked == Asked::App && live {
        // The app's own answer counts more than .env.
        cx.state.borrow_mut().app_driver =
            said.get("driver").map(str::trim).filter(|driver| *driver != "none").map(str::to_owned);
    }
    // Without a live app a release reads .env, too.
    let certain = asked == Asked::App || !live;
    let version = answer.get("php").and_then(|said| said.split_once(' ')).map_or("", |(_, version)| version);
    let lacking = without_driver(&said, (&server.php, version), server.migrate, certain);
    Ok(lacking.into_iter().chain(inside_the_release(&said, layout, &server.shared, server.migrate, certain)).collect())
}

/// PHP lacks the extension for this database. An SQLite file that is not there is opened by a migration only.
fn without_driver(said: &Answer, (php, version): (&str, &str), migrate: bool, certain: bool) -> Option<Obstacle> {
    let extension = said.get("needs")?.trim();
    let opened = match said.get("driver").map(str::trim) {
        Some("sqlite") => migrate || said.get("there").is_some(),
        Some("memory") => migrate,
        _ => true,
    };
    let problem = || problem(About::EnvFile, errors::database::driver_missing(extension, php, version));
    opened.then(|| Obstacle { check: "driver of the database", problem: problem(), certain })
}

fn inside_the_release(
    said: &Answer,
    layout: &Layout,
    shared: &[impl AsRef<str>],
    migrate: bool,
    certain: bool,
) -> Option<Obstacle> {
    let file = said.get("file").filter(|_| said.get("driver").map(str::trim) == Some("sqlite"))?.trim();
    // An app that has no database names Laravel's own file, too. Only a migration would make it.
    if !migrate && said.get("there").is_none() {
        return None;
    }
    let below = |folder: &str| file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let is_shared =
        |path: &str| shared.iter().any(|one| path.strip_prefix(one.as_ref()).is_some_and(|rest| rest.starts_with('/')));
    // Without a live release no link can be followed; the shared folders are links in the one that comes.
    let inside = match file.strip_prefix(&format!("{}/", layout.current())) {
        Some(path) => !is_shared(path),
        None if file.starts_with('/') => said.get("inside").is_some() || below(layout.releases().as_str()),
        None => !is_shared(file),
    };
    let name = file.rsplit('/').next().unwrap_or("database.sqlite");
    let to = format!("{}/database/{name}", layout.shared());
    let copy = match said.get("there") {
        Some(_) => format!("Copy the file to {to}. "),
        None => format!("Create the folder {}/database. ", layout.shared()),
    };
    let limits = match certain {
        true => String::new(),
        false => format!(
            ". This is what {} says. The app's configuration can name another database: a release reads it from the app",
            layout.env_file()
        ),
    };
    inside.then(|| Obstacle {
        check: "location of the database",
        problem: problem(
            About::EnvFile,
            errors::preflight::database_in_release(file, &limits, &copy, &layout.env_file(), to.as_str()),
        ),
        certain,
    })
}

/// Runs `migrate --force`, the only form of migration that a release uses (F28). Says which ones ran, also if a later one failed.
pub async fn migrate(cx: &Deploy, io: &Io) -> StepResult {
    if !cx.inputs.server.migrate {
        return Ok(Done::skipped("`migrate` is false"));
    }
    let doing = "running the migrations";
    let script =
        lock::fenced(cx, Script::new("migrate", include_str!("migrate.sh")).detached(&cx.inputs.layout.jobs()))
            .var("DIR", cx.inputs.layout.release(&cx.plan.turn.to).as_str())
            .var("PHP", &cx.inputs.server.php)
            .var("APP_PHP", remote::APP)
            .var("SQL_PHP", include_str!("../../transport/sql.php"))
            .var("MIGRATE_PHP", include_str!("migrate.php"))
            .hiding(cx.inputs.layout.env_file())
            .never_ended(&lock::nonce(cx))
            .timeout(TIMEOUT);
    let mut tail = remote::Tail::default();
    {
        let mut made = cx.state.borrow_mut();
        (made.migrations, made.migrating) = (None, true);
    }
    let answer = cx
        .ports
        .shell
        .run(script, &mut |line| {
            tail.push(&line);
            io.line(line);
        })
        .await
        .map_err(|error| error.failure(doing))?;
    let before: Vec<&str> = lines(remote::required(&answer, "before", doing)?).collect();
    let ran: Vec<String> = lines(remote::required(&answer, "after", doing)?)
        .filter(|name| !before.contains(name))
        .map(str::to_owned)
        .collect();
    {
        let mut made = cx.state.borrow_mut();
        (made.migrations, made.migrating) = (answer.get("unsure").is_none().then(|| ran.clone()), false);
    }
    if !ran.is_empty() {
        let measured = measured(answer.all("measured-name").zip(answer.all("measured")));
        cx.state.borrow_mut().measured = without_sql(&measured);
        io.record(record::key::MIGRATIONS, record::Migrations { ran: ran.clone(), measured });
    }
    match remote::required(&answer, "status", doing)? {
        "0" if answer.get("unsure").is_some() => Ok(Done::warned(
            "the migrations succeeded, but the list of those that ran could not be read. Run: php artisan migrate:status",
        )),
        "0" if ran.is_empty() => Ok(Done::skipped("nothing to migrate")),
        "0" => Ok(Done::passed(ran.join(", "))),
        status => Err(errors::migration_result::failed(doing, status, &ran, tail.lines)),
    }
}

/// A migration is never ended, and never rolled back. Nothing else is undone, such as the folder that it runs in, before it has ended. If
/// this run has no time for that, the rollback is left to the next holder of the lock, which waits for it.
pub async fn settled(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    let doing = "waiting for the migration to end";
    let began = cx.ports.clock.elapsed();
    let left = |cause: String| errors::migration_result::unsettled(doing, cause);
    let mut described = false;
    while cx.state.borrow().migrating {
        let layout = &cx.inputs.layout;
        let script = Script::new("migrated", include_str!("migrated.sh"))
            .repeatable()
            .var("JOBS", layout.jobs().as_str())
            .var("LOCK", layout.lock().as_str())
            .var("LOCK_NONCE", lock::nonce(cx));
        let answer = remote::run(&*cx.ports.shell, io, script, doing).await;
        let answer = answer.map_err(|error| left(format!("it may still be running: {}", error.cause)))?;
        if answer.get("state") == Some("running") {
            if cx.ports.clock.elapsed().saturating_sub(began) >= PATIENCE {
                return Err(left(format!("it is still running after {} s", PATIENCE.as_secs())));
            }
            if !std::mem::replace(&mut described, true) {
                io.line("the migration is still running on the server and is never ended; waiting for it");
            }
            cx.ports.clock.sleep(LOOK).await;
            continue;
        }
        let migrated = answer.get("migrated").and_then(Migrated::read);
        let (ran, measured) = match migrated {
            Some(migrated) => (migrated.ran, migrated.measured),
            // Another run has the lock, and removed the leftovers of this one.
            None if answer.get("state") == Some("lost") => (None, Vec::new()),
            None => (Some(Vec::new()), Vec::new()),
        };
        if let Some(ran) = ran.clone().filter(|ran| !ran.is_empty()) {
            io.record(record::key::MIGRATIONS, record::Migrations { ran, measured: measured.clone() });
        }
        let mut made = cx.state.borrow_mut();
        (made.migrations, made.measured, made.migrating) = (ran, measured, false);
    }
    let ran = cx.state.borrow().migrations.clone();
    Ok(match ran.as_deref() {
        Some([]) => Undone::Nothing("no migration ran".to_owned()),
        Some(ran) => Undone::Stays(format!("{} ran; the old code runs on the new schema", ran.join(", "))),
        None => Undone::Stays(
            "it is not known which migrations ran, and the old code may run on a new schema. Run: php artisan migrate:status".to_owned(),
        ),
    })
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    if cx.inputs.server.migrate {
        let command =
            RemoteCommand::new([cx.inputs.server.php.as_str(), "artisan", "migrate", "--force", "--no-interaction"]);
        std::iter::once(command.to_string()).chain(migrations_preview(cx)).collect()
    } else {
        vec!["nothing (`migrate` is false)".to_owned()]
    }
}

/// Why the pending migrations are not listed.
pub(crate) const NO_MIGRATION: &str = "no migration runs (`migrate` is false)";

/// What the plan prints for the migrations.
pub fn migrations_preview(cx: &Deploy) -> Vec<String> {
    let Some(change_preview) = &cx.plan.change_preview else { return Vec::new() };
    let mut lines: Vec<String> = change_preview.migrations_unknown.iter().cloned().collect();
    for migration in &change_preview.migrations {
        lines.push(format!("{} [{}]: {}", migration.name, migration.class.word(), migration.class.meaning()));
        let sha256 = migration.sha256.as_ref().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("    {}, SHA-256 {sha256}", migration.file));
        lines.push(format!("    its source {}", migration.calls.join("; ")));
        match &migration.measured {
            Some(measured) => lines.push(format!("    on staging this file took: {}", measured.summary())),
            None if change_preview.migrations_measured => {
                lines.push("    staging has not run this file, or did not measure it".to_owned());
            }
            None => {}
        }
        for connection in &migration.connections {
            lines.push(format!("    it names another database connection: {connection}; the backup does not cover it"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Sha256Digest;
    use crate::domain::migration::Migrated;

    #[test]
    fn fd28_a_database_in_the_release_is_named_with_the_line_for_env() {
        let layout = Layout::new("/srv/shop".parse().expect("a path"), "shared/.env");
        let judge = |driver: &str, file: &str, more: &[&str], migrate: bool| {
            let records = [("driver", driver), ("file", file)].into_iter().chain(more.iter().map(|key| (*key, "yes")));
            let answer = Answer::new(records.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
            let judge = |certain| inside_the_release(&answer, &layout, &["storage", "database/data"], migrate, certain);
            let (certain, by_env) = (judge(true), judge(false));
            // One text for both: what .env alone says names its limits.
            if let (Some(certain), Some(by_env)) = (&certain, &by_env) {
                assert!(certain.certain && !by_env.certain);
                let limits =
                    by_env.problem.what.cause.strip_prefix(&certain.problem.what.cause).expect("the same text");
                assert!(limits.ends_with("a release reads it from the app"), "{limits}");
                assert_eq!(certain.problem.what.hint, by_env.problem.what.hint);
            }
            assert_eq!(certain.is_some(), by_env.is_some());
            certain.map(|obstacle| obstacle.problem)
        };
        // Laravel's default, said by .env and by a live release.
        let coming = judge("sqlite", "database/database.sqlite", &["inside"], true).expect("a problem");
        assert!(coming.what.cause.contains("every release would start with an empty database"), "{coming:?}");
        assert!(coming.what.hint.ends_with(": DB_DATABASE=/srv/shop/shared/database/database.sqlite"), "{coming:?}");
        let live = "/srv/shop/releases/20251102_154900-f0959baf/database/database.sqlite";
        let live = judge("sqlite", live, &["there", "inside"], false).expect("a problem");
        assert!(live.what.hint.starts_with("Copy the file to /srv/shop/shared/database/database.sqlite."), "{live:?}");
        assert!(judge("sqlite", "/srv/shop/current/database/x.sqlite", &[], true).is_some());
        assert!(judge("sqlite", "/srv/shop/releases/x/x.sqlite", &["there"], true).is_some());
        for (driver, file, more, migrate) in [
            ("mysql", "shop", &[][..], true),
            ("memory", ":memory:", &[], true),
            ("none", "", &[], true),
            ("sqlite", "/srv/shop/shared/database/x.sqlite", &["there"], true),
            ("sqlite", "/srv/shop/current/storage/x.sqlite", &[], true),
            ("sqlite", "database/data/x.sqlite", &["inside"], true),
            // An app without a database.
            ("sqlite", "database/database.sqlite", &["inside"], false),
        ] {
            assert_eq!(judge(driver, file, more, migrate), None, "{driver} {file}");
        }
    }

    #[test]
    fn a_driver_that_php_lacks_is_named_with_its_package() {
        let judge = |records: &[(&str, &str)], migrate: bool| {
            let records = records.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            without_driver(&Answer::new(records.collect()), ("php8.2", "8.2.29"), migrate, true)
        };
        for (driver, extension, package) in [
            ("mysql", "pdo_mysql", "php8.2-mysql"),
            ("pgsql", "pdo_pgsql", "php8.2-pgsql"),
            ("sqlite", "pdo_sqlite", "php8.2-sqlite3"),
        ] {
            let found = judge(&[("driver", driver), ("needs", extension)], true).expect("a problem");
            assert_eq!(found.problem.what.code, "database-driver-missing");
            assert!(found.problem.what.cause.contains(extension), "{found:?}");
            assert!(found.problem.what.hint.contains(&format!("apt-get install {package}.")), "{found:?}");
        }
        assert_eq!(judge(&[("driver", "mysql")], true), None);
        // The backup opens what is there, and only a migration makes what is not.
        let sqlite = [("driver", "sqlite"), ("needs", "pdo_sqlite"), ("there", "yes")];
        assert!(judge(&sqlite, false).is_some() && judge(&sqlite[..2], false).is_none());
        assert!(judge(&[("driver", "mysql"), ("needs", "pdo_mysql")], false).is_some());
    }

    fn read(records: &[&str]) -> Migrated {
        Migrated::read(&records.join("\u{1e}")).expect("a migration")
    }

    #[test]
    fn fd32_what_a_migration_came_to_is_read_as_far_as_it_came() {
        assert_eq!(Migrated::read(""), None, "none was begun");
        let ended = read(&["begin=1:2", "before=a", "after=a\nb\nc", "status=0", "end=1:0"]);
        assert_eq!(ended.ran, Some(vec!["b".to_owned(), "c".to_owned()]));
        assert!(ended.describe().contains("ran to its end"));
        let described = r#"{"sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","statements":3,"milliseconds":2.6,"rows":7,"sql":["alter"]}"#;
        let measured =
            read(&["before=a", "after=a\nb", "status=0", &format!("measured={described}"), "measured-name=b"]).measured;
        let [one] = measured.as_slice() else { panic!("{measured:?}") };
        assert_eq!((one.name.as_str(), one.statements, one.milliseconds, one.rows), ("b", 3, 3, Some(7)));
        assert_eq!((&one.sha256, one.sql.is_empty()), (&Some(Sha256Digest::of("test")), true), "without statements");
        let failed = read(&["before=a", "after=a\nb", "status=1", "end=1:0"]);
        assert_eq!((failed.ran.as_deref(), failed.status.as_deref()), (Some(&["b".to_owned()][..]), Some("1")));
        assert_eq!(read(&["begin=1:2"]).ran, Some(Vec::new()), "the list is read before the first one runs");
        for unknown in [&["before=a"][..], &["before=a", "unsure=yes", "after=a", "status=1"]] {
            assert_eq!(read(unknown).ran, None);
        }
        assert!(read(&["before=a"]).describe().contains("did not run to its end"));
    }
}
