//! Room on the server's disk, and the backups that lie there.

use chrono::TimeDelta;

use super::{in_place, problems, sheet::Sheet};
use crate::{
    context::Survey,
    domain::{Failure, ReleaseName, Warning, bundle::Manifest, format},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        backup::offsite,
        database::{self, Described},
        inspect::About,
        remote,
        survey::{self, last_part},
    },
    transport::shell::{Answer, Script},
};

/// A verified backup that is older than this is no fresh one.
const STALE: TimeDelta = TimeDelta::days(7);

/// A block of the file system: what the smallest file takes.
const BLOCK: u64 = 4096;

/// `program` asks the database for its size; empty does not ask.
async fn ask(cx: &Survey, io: &Io, doing: &str, program: &str) -> Result<Answer, Failure> {
    let layout = &cx.inputs.layout;
    let script =
        Script::new("room", concat!(include_str!("../../../server/database/described.sh"), include_str!("room.sh")))
            .repeatable()
            .var("BASE", layout.base().as_str())
            .var("BACKUPS", layout.backups().as_str())
            .var("ENV_FILE", layout.env_file().as_str())
            .var("PHP", &cx.inputs.server.php)
            .var("DATABASE_PHP", program)
            .hiding(layout.env_file());
    remote::run(&*cx.ports.shell, io, script, doing).await
}

/// What a release takes on the disk: the bundle and what it unpacks to, and the backup of what is live.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    release: u64,
    backup: u64,
    inodes: u64,
}

impl Need {
    /// Bytes. The bundle lies beside the tree it unpacks to, and the tree gets caches of its own: twice the sum of its files is on
    /// the safe side.
    fn of(manifest: &Manifest, live: u64, database: u64) -> Self {
        let files: u64 = manifest.files.values().map(|file| file.size.div_ceil(BLOCK) * BLOCK).sum();
        // Folders need inodes too; a tree has fewer folders than files.
        Self { release: 2 * files, backup: live + database, inodes: 2 * manifest.files.len() as u64 + 64 }
    }
}

/// Whether bundle, release and backup fit.
pub async fn room(cx: &Survey, io: &Io) -> StepResult {
    let looked = match in_place(cx) {
        Ok(looked) => looked,
        Err(skipped) => return Ok(skipped),
    };
    let base = cx.inputs.layout.base();
    let doing = format!("checking the disk space on {base}");
    let Some(manifest) = cx.state.borrow().manifest() else {
        // By the size of the live release.
        let mut sheet = Sheet::new(cx, io, &doing);
        for problem in problems(cx, &looked, About::Room) {
            sheet.failed(format!("disk space on {base}"), problem.what);
        }
        return match sheet.is_clean() {
            true => Ok(Done::skipped("skipped: there is no bundle")),
            false => sheet.end("not enough disk space"),
        };
    };
    let driver = cx.state.borrow().database_driver.clone();
    let asked = matches!(driver.as_deref(), Some("mysql" | "mariadb" | "pgsql"));
    let answer = ask(cx, io, &doing, if asked { database::PROGRAM } else { "" }).await?;
    let kib = |answer: &Answer, key: &str| answer.get(key).and_then(remote::kib);
    let mut sheet = Sheet::new(cx, io, &doing);
    let sqlite = cx.state.borrow().sqlite_kib;
    let mut described = Described::read(&answer, cx.inputs.layout.env_file());
    let database = described.kib.or(sqlite);
    if cx.state.borrow().dump_judged {
        described = Described { tables: described.tables, kib: described.kib, ..Described::default() };
    }
    can_be_dumped(&mut sheet, driver.as_deref(), &answer, (described, looked.current().is_some()));
    if let Some(warning) = survey::size_unknown(&cx.inputs, &looked.answer) {
        let text = format!("{}; the space for its backup is not checked", warning.text);
        sheet.warned("size of the live release", Warning { text, ..warning });
    }
    let live = kib(&looked.answer, "live-kib").unwrap_or(0);
    let need = Need::of(&manifest, live * 1024, database.unwrap_or(0) * 1024);
    let described = format!(
        "{} for the release and {} for the backup of app and database",
        format::bytes(need.release),
        format::bytes(need.backup)
    );
    let backups = cx.inputs.layout.backups();
    let places = if same_disk(&answer) {
        vec![(base.as_str(), kib(&looked.answer, "free-kib"), need.release + need.backup)]
    } else {
        vec![
            (base.as_str(), kib(&looked.answer, "free-kib"), need.release),
            (backups.as_str(), kib(&answer, "backups-free-kib"), need.backup),
        ]
    };
    for (place, free, need) in places {
        let check = format!("disk space on {place}");
        match free.map(|kib| kib * 1024) {
            Some(free) if free >= need => {
                sheet.passed(
                    check,
                    format!("{} free, about {} needed ({described})", format::bytes(free), format::bytes(need)),
                );
            }
            Some(free) => sheet.failed(
                check,
                errors::preflight::no_room(&format::bytes(free), place, &format::bytes(need), &described),
            ),
            None => sheet.failed(check, errors::preflight::room_unknown(place)),
        }
    }
    match survey::free_inodes(&looked.answer, "free-inodes") {
        None => sheet.passed("inodes", "this file system has no fixed number of inodes"),
        Some(free) if free >= need.inodes => {
            sheet.passed("inodes", format!("{free} free, about {} needed", need.inodes));
        }
        Some(free) => sheet.failed("inodes", errors::preflight::no_inodes(free, &base, need.inodes)),
    }
    sheet.end(described)
}

/// A release is refused when it cannot back the database up; that can be said now.
fn can_be_dumped(sheet: &mut Sheet<'_>, driver: Option<&str>, answer: &Answer, (described, live): (Described, bool)) {
    const CHECK: &str = "dump of the database";
    // Before the first migration there is nothing to dump.
    let empty = described.tables == Some(0);
    let can = described.obstacles.is_empty() && described.unseen.is_none();
    for obstacle in described.obstacles {
        match live {
            // The app that is live may connect in another way. A plan and a release ask it, and decide.
            true => sheet.warned(CHECK, obstacle),
            false => sheet.failed(CHECK, obstacle),
        }
    }
    if let Some(unseen) = described.unseen {
        sheet.warned(CHECK, unseen);
    }
    match driver {
        Some("mysql" | "mariadb") if answer.get("dump").is_none() && !empty => {
            sheet.failed(CHECK, errors::preflight::dump_program_missing(false));
        }
        Some("pgsql") if answer.get("pg-dump").is_none() && !empty => {
            sheet.failed(CHECK, errors::preflight::dump_program_missing(true));
        }
        Some("mysql" | "mariadb" | "pgsql" | "sqlite") if can => sheet.passed(CHECK, "possible"),
        Some("mysql" | "mariadb" | "pgsql" | "sqlite") => {}
        Some("none") => sheet.passed(CHECK, "the app has no database"),
        Some(other) => sheet.failed(CHECK, errors::preflight::database_driver_unsupported(other)),
        // The row that reads .env has said why.
        None => {}
    }
}

fn same_disk(answer: &Answer) -> bool {
    answer.get("device") == answer.get("backups-device")
}

/// How old the newest verified backup is, and where it lies (F61, F62). A release makes a new one first.
pub async fn backups(cx: &Survey, io: &Io) -> StepResult {
    let looked = match in_place(cx) {
        Ok(looked) => looked,
        Err(skipped) => return Ok(skipped),
    };
    let folder = cx.inputs.layout.backups();
    let doing = format!("checking the backups in {folder}");
    let answer = ask(cx, io, &doing, "").await?;
    let mut sheet = Sheet::new(cx, io, &doing);
    let place =
        if same_disk(&answer) { "the same disk as the site" } else { "another file system of the same machine" };
    sheet.passed(
        "location of the backups",
        format!("in {folder}, on {place}: they are lost with the machine; no restore of them is recorded"),
    );
    copies(cx, io, &mut sheet).await;
    let newest = answer.all("backup").filter_map(|name| name.parse::<ReleaseName>().ok()).max();
    let Some(newest) = newest else {
        match looked.current() {
            Some(live) => sheet.warned("newest backup", errors::checks::backup_missing(last_part(live), &folder)),
            None => sheet.passed("newest backup", "none, and nothing is live yet"),
        }
        return sheet.end("none yet");
    };
    let age = cx.ports.clock.now() - newest.made_at();
    let described = format!("the newest verified backup, {newest}, is {} old", format::age(age.num_seconds()));
    if age > STALE {
        sheet.warned("newest backup", errors::checks::backup_old(&described, STALE.num_days()));
    } else {
        sheet.passed("newest backup", &described);
    }
    sheet.end(described)
}

/// Whether each backup gets a copy elsewhere, and whether that place is usable (F61). A place that hangs costs a minute, and is reported.
async fn copies(cx: &Survey, io: &Io, sheet: &mut Sheet<'_>) {
    const CHECK: &str = "off-site backup";
    let Some(policy) = &cx.inputs.server.backup_copy else {
        return sheet.passed(CHECK, "off-site copy is off (`backup-copy-dir` is not set)");
    };
    match offsite::look(&*cx.ports.shell, io, &cx.inputs, policy).await {
        Ok(answer) => {
            let kind = answer.get("type").map(|kind| format!(" ({kind})")).unwrap_or_default();
            let newest = offsite::there(&answer).into_iter().max();
            let newest =
                newest.map_or("no copy exists yet".to_owned(), |newest| format!("the newest copy is {newest}"));
            sheet.passed(CHECK, format!("to {}, on another file system{kind}; {newest}", policy.dir));
        }
        Err(failure) => {
            let problem = errors::preflight::backup_copy_impossible(&failure, &policy.dir);
            match policy.required {
                true => sheet.failed(CHECK, problem),
                false => sheet.warned(CHECK, problem),
            }
        }
    }
}
