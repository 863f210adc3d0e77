//! The backup of what is live, before anything changes.

pub mod offsite;
pub mod old;
pub mod retention;

mod restore;

use std::time::Duration;

use super::{database, lock, remote};
use crate::{
    context::Deploy,
    domain::{Failure, RemoteCommand, format, record},
    engine::{
        Done, Undone,
        step::{Io, StepResult},
    },
    errors,
    transport::shell::Script,
};

/// A big database takes its time; an hour is the limit.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The names of dumps in a backup: of MySQL and MariaDB, and of PostgreSQL.
const DUMPS: [&str; 2] = ["database.sql.gz", "database.dump"];

/// Backs up app and database, each verified; the folder gets its name only when all of it was (F56 to F60).
pub async fn make(cx: &Deploy, io: &Io) -> StepResult {
    let layout = &cx.inputs.layout;
    let dir = layout.backup(&cx.plan.turn.to);
    let doing = format!("backing up into {dir}");
    let script = Script::new("backup", include_str!("backup.sh"))
        .detached(&layout.jobs())
        .var("BACKUPS", layout.backups().as_str())
        .var("DIR", dir.as_str())
        .var("TREE", cx.plan.server.live_tree.as_deref().unwrap_or_default())
        .var("ENV_FILE", layout.env_file().as_str())
        .var("PHP", &cx.inputs.server.php)
        .var("NGINX", if cx.inputs.server.backup_nginx { "/etc/nginx" } else { "" })
        .var("RELEASE", cx.plan.turn.to.as_str())
        .var("DATABASE_PHP", database::PROGRAM)
        .hiding(layout.env_file())
        .timeout(TIMEOUT);
    let answer = remote::run(&*cx.ports.shell, io, lock::under(cx, script), &doing).await?;
    let counted: Vec<(&str, &str)> = answer.all("file").filter_map(|record| record.split_once(' ')).collect();
    let mut files = Vec::new();
    for sum in answer.all("sum") {
        files.push(
            backup_file(sum, &counted)
                .ok_or_else(|| Failure::bug(&doing, format!("the script's record `{sum}` cannot be read")))?,
        );
    }
    if let Some(program) = answer.get("unread") {
        io.warning(errors::database::dump_configuration_unread(program));
    }
    let skipped: Vec<String> = answer.all("skipped").map(str::to_owned).collect();
    let mut text = if files.is_empty() { skipped.join("; ") } else { summary(&files) };
    if files.iter().any(|file| DUMPS.contains(&file.name.as_str())) {
        // A check that cannot fail proves nothing (F69).
        remote::required(&answer, "seen-to-fail", &doing)?;
        text.push_str("; dump check self-tested");
    }
    let restore = restore::commands(layout, &dir, &cx.inputs.server.php, &files, &answer);
    let described = record::BackupRecord { path: dir.to_string(), files, skipped, elsewhere: None, restore };
    io.record(record::key::BACKUP, &described);
    let mut made = cx.state.borrow_mut();
    (made.backup, made.backed_up) = (Some(described), Some(cx.ports.clock.now()));
    Ok(Done::passed(text))
}

/// `<sha256> <bytes> <name>`
fn backup_file(sum: &str, counted: &[(&str, &str)]) -> Option<record::BackupFile> {
    let mut parts = sum.splitn(3, ' ');
    let (sha256, size, name) = (parts.next()?.parse().ok()?, parts.next()?.trim().parse().ok()?, parts.next()?);
    let counted = counted.iter().find(|(file, _)| *file == name)?.1.to_owned();
    Some(record::BackupFile { name: name.to_owned(), size, sha256, counted })
}

fn summary(files: &[record::BackupFile]) -> String {
    files
        .iter()
        .map(|file| format!("{} ({}, {})", file.name, file.counted, format::bytes(file.size)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Removes an unfinished backup. A whole one was verified; it is kept, and retention counts it.
pub async fn unmake(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    let dir = cx.inputs.layout.backup(&cx.plan.turn.to);
    let script = Script::new("backup-undo", include_str!("backup-undo.sh")).repeatable().var("DIR", dir.as_str());
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("removing the unfinished backup {dir}")).await?;
    Ok(match answer.get("found") {
        Some("part") => Undone::Done("removed the unfinished backup".to_owned()),
        Some("whole") => Undone::Stays(format!("the verified backup is kept in {dir}")),
        _ => Undone::Nothing("there is no unfinished backup".to_owned()),
    })
}

/// The commands for manual action if it could not be removed.
pub fn unmake_by_hand(cx: &Deploy) -> Vec<RemoteCommand> {
    let part = format!("{}.part", cx.inputs.layout.backup(&cx.plan.turn.to));
    vec![RemoteCommand::new(["rm", "-rf", &part]), lock::free_by_hand(cx)]
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let dir = cx.inputs.layout.backup(&cx.plan.turn.to);
    let mut lines = match &cx.plan.server.live_tree {
        Some(tree) => {
            vec![format!("{tree} into {dir}/app.tar.gz"), format!("a dump of the app's database into {dir}")]
        }
        None => vec![format!("nothing is live; a dump of the database, if it has tables, into {dir}")],
    };
    if let Some(estimate) = cx.plan.change_preview.as_ref().and_then(|change_preview| change_preview.backup.as_ref()) {
        let database = estimate.database_bytes.map_or_else(
            || "a database of unknown size".to_owned(),
            |bytes| format!("{} of tables", format::bytes(bytes)),
        );
        lines.push(format!(
            "at most {} of files and {database} before compression; {} are free",
            format::bytes(estimate.app_bytes),
            format::bytes(cx.plan.server.free_bytes)
        ));
    }
    if cx.inputs.server.backup_nginx {
        lines.push(format!("/etc/nginx into {dir}/nginx.tar.gz"));
    }
    lines
}
