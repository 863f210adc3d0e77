//! Whether releases work on the schema that migrations left.

use super::codes;
use crate::domain::{Failure, ReleaseName, Warning, format};

codes! {
    SCHEMA_UNHEALTHY = "schema-unhealthy", Refused {
        meaning: "Migrations of this run ran. Since then the live release is unhealthy, and the new release is unhealthy before the switch, too. `current` was not switched: neither release works on the new schema.",
        cause: "A migration took from the schema what the live code reads (a column, a table), and the new code fails as well.",
        action: "Correct the new release, and release again: the migrations that ran do not run again. Or restore the database from the backup that this run made: the error has the commands. What was written since that backup is lost.",
    }
    LIVE_UNHEALTHY_ON_SCHEMA = "live-unhealthy-on-schema", Warning {
        meaning: "Migrations of this run ran, and the live release is unhealthy since then. The run switches to the new release at once, because that one knows the new schema.",
        cause: "A migration took from the schema what the live code reads (a column, a table).",
        action: "Do not roll back to the earlier release: its code fails on the new schema. Correct faults with a new release. If the new release fails after the switch, the run rolls back and says so (`rollback-onto-unhealthy-schema`). Next time, remove a column in the release after the one that stops reading it.",
    }
    ROLLED_BACK_TO_UNHEALTHY_SCHEMA = "rollback-onto-unhealthy-schema", Warning {
        meaning: "The run rolls back to a release that is known to be unhealthy on the schema that the migrations of this run left.",
        cause: "A migration took from the schema what the earlier code reads, and the new release failed after the switch.",
        action: "Correct the new release, and release again. Or restore the database from the backup that this run made: the warning has the commands.",
    }
    SCHEMA_VERDICT_UNHEALTHY = "schema-verdict-unhealthy", Refused {
        meaning: "The target of the rollback is known to be unhealthy on the present schema: it was asked while it was live, after migrations had run. Nothing was changed.",
        cause: "A migration took from the schema what the code of the target reads.",
        action: "Correct the fault with a new release. Or restore the database from the backup that the run with the migrations made (docs/recovery.md). To roll back all the same, set `ignore-schema-verdict: true` for this run: the health check after the switch decides.",
    }
    SCHEMA_VERDICT_IGNORED = "schema-verdict-ignored", Warning {
        meaning: "The target of the rollback is known to be unhealthy on the present schema, and `ignore-schema-verdict` lets the rollback go on.",
        cause: "The input `ignore-schema-verdict` is `true`.",
        action: "Watch the health check. If the target is unhealthy, the run switches back to the release that was live before.",
    }
    SCHEMA_VERDICT_UNKNOWN = "schema-verdict-unknown", Warning {
        meaning: "A release that was live after the target of the rollback is known to be unhealthy on the present schema. The target itself was not asked on that schema.",
        cause: "A migration took from the schema what the code of that time reads. The target is older.",
        action: "Check that the code of the target works with the present schema. If it does not, correct the fault with a new release instead.",
    }
}

/// What migrations took from the live release.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    /// Its first unhealthy page, with the answer.
    pub problem: String,
    /// Those that ran; empty where that is not known.
    pub migrations: Vec<String>,
    /// The folder of the backup from before them, and its age in seconds.
    pub backup: Option<(String, Option<i64>)>,
    /// What to type to have its database again.
    pub restore: Vec<String>,
    /// Where the password of the database stands.
    pub env_file: String,
}

impl Lost {
    fn migrations(&self) -> String {
        match self.migrations.as_slice() {
            [] => "the migrations of this run".to_owned(),
            ran => ran.join(", "),
        }
    }

    /// The backup, and the commands below it.
    fn restore(&self) -> String {
        let Some((path, age)) = &self.backup else {
            return "This run made no backup of the database.".to_owned();
        };
        let age = age.map(|age| format!("{} old", format::age(age))).unwrap_or_else(|| "of this run".to_owned());
        let commands: String = self.restore.iter().map(|line| format!("\n{line}")).collect();
        // A file has no password.
        let password = match self.restore.iter().any(|line| line.contains("database.sqlite.gz")) {
            true => String::new(),
            false => format!("The password that the client asks for is `DB_PASSWORD` in {}. ", self.env_file),
        };
        format!(
            "The backup {path} is {age}; how long it takes to restore it was not measured. What was written since then is lost. \
             {password}To restore the database, run these commands on the server as the deploy user:{commands}"
        )
    }
}

/// `failure`: of the new release. `threw`: what the live release threw.
pub fn both_unhealthy(failure: Failure, lost: &Lost, threw: Vec<String>) -> Failure {
    let cause = format!(
        "neither release works on the new schema. Since {} ran, the live release is unhealthy ({}). The new release: {}",
        lost.migrations(),
        lost.problem,
        failure.cause
    );
    SCHEMA_UNHEALTHY
        .failure(failure.doing, cause)
        .details(failure.details)
        .details(threw.into_iter().map(|cause| format!("the live release: {cause}")))
        .hint(format!("Correct the new release, and release again, or restore the database. {}", lost.restore()))
}

/// The new release is healthy. `threw`: what the live release threw.
pub fn live_unhealthy(lost: &Lost, threw: &[String]) -> Warning {
    let threw = threw.first().map(|cause| format!("; it says: {cause}")).unwrap_or_default();
    LIVE_UNHEALTHY_ON_SCHEMA.warning(
        format!(
            "the live release is unhealthy since {} ran ({}){threw}. The run switches to the new release at once: visitors meet errors until then",
            lost.migrations(),
            lost.problem
        ),
        "Do not roll back to the earlier release: its code fails on the new schema. Correct faults with a new release.",
    )
}

/// The switch is undone.
pub fn rolled_back(lost: &Lost) -> Warning {
    ROLLED_BACK_TO_UNHEALTHY_SCHEMA.warning(
        format!(
            "the release that the run rolls back to is known to be unhealthy on the new schema, since {} ran ({})",
            lost.migrations(),
            lost.problem
        ),
        format!("Correct the new release, and release again, or restore the database. {}", lost.restore()),
    )
}

/// What the ledger says of the target of a rollback, and of which moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub release: ReleaseName,
    pub problem: String,
    pub at: String,
    /// Those that had run before it was asked.
    pub migrations: Vec<String>,
    /// The release whose run asked: its backup is from before them.
    pub asked_by: ReleaseName,
}

impl Known {
    fn describe(&self) -> String {
        let ran = if self.migrations.is_empty() { "migrations".to_owned() } else { self.migrations.join(", ") };
        format!("{} was unhealthy after {ran} had run, at {} ({})", self.release, self.at, self.problem)
    }
}

/// `backups`: the folder of backups.
pub fn refused(doing: &str, known: &Known, backups: &dyn std::fmt::Display) -> Failure {
    SCHEMA_VERDICT_UNHEALTHY
        .failure(doing, format!("the code of the target is known to fail on the present schema: {}", known.describe()))
        .hint(format!(
            "Correct the fault with a new release. Or restore the database from {backups}/{}, which was made before these migrations: see \
             docs/recovery.md. To roll back all the same, set `ignore-schema-verdict: true` for this run.",
            known.asked_by
        ))
}

pub fn ignored(known: &Known) -> Warning {
    SCHEMA_VERDICT_IGNORED.warning(
        format!("the rollback goes on, although {}", known.describe()),
        "Watch the health check. If the target is unhealthy, the run switches back to the release that was live before.",
    )
}

/// The target is older than the release that was asked.
pub fn unknown(target: &ReleaseName, known: &Known) -> Warning {
    SCHEMA_VERDICT_UNKNOWN.warning(
        format!("it is not known whether {target} works with the present schema: {}", known.describe()),
        "Check that the code of the target works with the present schema. If it does not, correct the fault with a new release instead.",
    )
}
