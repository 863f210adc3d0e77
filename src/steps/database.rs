//! Forward migrations.

use std::time::Duration;

use super::{context::Deploy, lock, outlook, remote};
use crate::{
    domain::{Failure, RemoteCommand, fact, migration::Measured},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    ports::shell::{Answer, Script},
};

const TIMEOUT: Duration = Duration::from_secs(3600);

/// Answers questions about the app's database, in PHP, on the server.
pub const PROGRAM: &str =
    concat!(include_str!("sh/dotenv.php"), include_str!("sh/app.php"), include_str!("sh/database.php"));

/// Runs `migrate --force`, the only form of migration there is here (F28). Says what ran, also when a later one failed.
pub async fn migrate(cx: &Deploy, io: &Io) -> StepResult {
    if !cx.inputs.server.migrate {
        return Ok(Done::skipped("the policy says migrate: false"));
    }
    let doing = "running the migrations";
    let script =
        lock::fenced(cx, Script::new("migrate", include_str!("sh/migrate.sh")).detached(&cx.inputs.layout.jobs()))
            .var("DIR", cx.inputs.layout.release(&cx.facts.turn.to).as_str())
            .var("PHP", &cx.inputs.server.php)
            .var("APP_PHP", remote::APP)
            .var("SQL_PHP", include_str!("sh/sql.php"))
            .var("MIGRATE_PHP", include_str!("sh/migrate.php"))
            .hiding(cx.inputs.layout.env_file())
            .timeout(TIMEOUT);
    let mut tail = Tail::default();
    cx.made.borrow_mut().migrations = None;
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
    cx.made.borrow_mut().migrations = answer.get("unsure").is_none().then(|| ran.clone());
    if !ran.is_empty() {
        let measured = measured(cx, io, &answer);
        let strip = |one: &Measured| Measured { sql: Vec::new(), ..one.clone() };
        cx.made.borrow_mut().measured = measured.iter().map(strip).collect();
        io.fact(fact::key::MIGRATIONS, fact::Migrations { ran: ran.clone(), measured });
    }
    match remote::required(&answer, "status", doing)? {
        "0" if ran.is_empty() => Ok(Done::skipped("nothing to migrate")),
        "0" => Ok(Done::passed(ran.join(", "))),
        status => {
            let done = if ran.is_empty() {
                "none had run".to_owned()
            } else {
                format!("these had run before it and stay: {}", ran.join(", "))
            };
            Err(Failure::refused(doing, format!("php artisan migrate ended with status {status}; {done}"))
                .hint("the live release was never touched; repair the migration and release again")
                .details(tail.lines))
        }
    }
}

/// What the framework's events told of each migration. The digest of its file is what another environment's run is found by.
fn measured(cx: &Deploy, io: &Io, answer: &Answer) -> Vec<Measured> {
    /// As `migrate.php` tells it.
    #[derive(serde::Deserialize)]
    struct Told {
        name: String,
        statements: u64,
        milliseconds: f64,
        rows: Option<u64>,
        sql: Vec<String>,
    }
    let manifest = cx.made.borrow().manifest.clone();
    let digest = |name: &str| {
        let files = &manifest.as_ref()?.files;
        let is_it =
            |path: &&String| path.rsplit_once('/').is_some_and(|(_, file)| file.strip_suffix(".php") == Some(name));
        // A file of that name that is no migration makes it unknown which one ran.
        let mut found = files.keys().filter(is_it);
        let path = found.next().filter(|_| found.next().is_none())?;
        files.get(path).map(|file| file.sha256.clone())
    };
    let read = |text| match serde_json::from_str::<Told>(text) {
        Ok(told) => Some(Measured {
            sha256: digest(&told.name),
            name: told.name,
            statements: told.statements,
            milliseconds: told.milliseconds.max(0.0).round() as u64,
            rows: told.rows,
            sql: told.sql,
        }),
        Err(error) => {
            io.line(format!("what a migration cost could not be read: {error}"));
            None
        }
    };
    answer.all("measured").filter_map(read).collect()
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    if cx.inputs.server.migrate {
        let command =
            RemoteCommand::new([cx.inputs.server.php.as_str(), "artisan", "migrate", "--force", "--no-interaction"]);
        std::iter::once(command.to_string()).chain(outlook::migrations_preview(cx)).collect()
    } else {
        vec!["nothing: migrate is false".to_owned()]
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

/// The end of what a command printed.
#[derive(Default)]
struct Tail {
    lines: Vec<String>,
}

impl Tail {
    const LENGTH: usize = 20;

    fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == Self::LENGTH {
            self.lines.remove(0);
        }
        self.lines.push(line.to_owned());
    }
}
