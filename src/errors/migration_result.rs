//! The result of the migrations.

use super::codes;
use crate::domain::Failure;

codes! {
    MIGRATION_FAILED = "migration-failed", Refused {
        meaning: "`php artisan migrate` failed. `current` was not switched; migrations that had run stay.",
        cause: "A statement of a migration failed, or the database cannot be reached with the settings in `.env`.",
        action: "Read the end of its output in the details, correct the migration, and release again.",
    }
    MIGRATION_UNSETTLED = "migration-unsettled", Cancelled {
        meaning: "A migration of this run may still be running on the server. It is not ended; the deploy lock stays until it has ended.",
        cause: "The run was cancelled, or lost its connection, during the migration.",
        action: "Run the stage again: it waits for the migration, then completes what this run left.",
    }
    MIGRATIONS_UNREADABLE = "migrations-unreadable", World {
        meaning: "The pending migrations cannot be read from the bundle on the runner.",
        cause: "The downloaded file is damaged, or was removed during the run.",
        action: "Run again. If it fails again, build the commit again.",
    }
}

/// Artisan ended with an error; `ran` before it; `tail` is the end of its output.
pub fn failed(doing: &str, status: &str, ran: &[String], tail: impl IntoIterator<Item = String>) -> Failure {
    let done = if ran.is_empty() {
        "no migration had run".to_owned()
    } else {
        format!("these migrations ran before it and stay: {}", ran.join(", "))
    };
    MIGRATION_FAILED
        .failure(doing, format!("php artisan migrate ended with status {status}; {done}"))
        .hint("The live release was not changed. Correct the migration, then release again.")
        .details(tail)
}

/// It may still be running.
pub fn unsettled(doing: &str, cause: String) -> Failure {
    MIGRATION_UNSETTLED.failure(doing, cause)
}

/// The bundle's archive cannot be read.
pub fn unreadable(doing: &str, path: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    MIGRATIONS_UNREADABLE.failure(doing, format!("{}: {error}", path.display()))
}
