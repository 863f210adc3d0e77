//! Every error and warning that a user can meet: its stable code, what it means, and its words.
//!
//! A code never changes its meaning: scripts of users, searches and `docs/errors.md` refer to it. The words beside it may. One file a subject;
//! what a script of the server refuses is in the same file as what this program refuses of the subject.
//!
//! A server's script sends a code and values (`refuse no-room path="$BASE" free_kib="$free"`), and no sentence.

pub mod activation;
pub mod activation_checks;
pub mod approval;
pub mod artifact;
pub mod backup;
pub mod build;
pub mod checks;
pub mod database;
pub mod fix;
pub mod general;
pub mod github;
pub mod health;
pub mod hook;
pub mod lock;
pub mod migration_result;
pub mod preflight;
pub mod recovery;
pub mod release;
pub mod release_dir;
pub mod reload;
pub mod rollback;
pub mod schema;
pub mod server;
pub mod services;
pub mod ssh;
pub mod staging;
pub mod verify;
pub mod watchdog;

use std::{
    borrow::Cow,
    fmt::{Display, Write as _},
};

use crate::domain::{Failure, FailureKind, Warning, command::quote};

/// One error, or one warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Kebab-case; an anchor in `docs/errors.md`.
    pub name: &'static str,
    pub kind: FailureKind,
    /// It is never a failure: the run goes on. (`kind` then says nothing.)
    pub only_warns: bool,
    /// What it says of the run or the server, in a sentence.
    pub meaning: &'static str,
    /// What usually leads to it.
    pub cause: &'static str,
    /// What to do, with commands.
    pub action: &'static str,
    /// For what a script of the server refuses: cause and help of the failure, with `{name}` for the values that the script sends.
    pub template: Option<(&'static str, &'static str)>,
}

impl Code {
    /// A failure with this code: what was being done (a gerund with its object), and why it failed.
    pub fn failure(&self, doing: impl Into<String>, cause: impl Into<String>) -> Failure {
        Failure::new(self.kind, doing, cause).code(self.name)
    }

    /// A warning with this code: what happened and what it means, and what to do. `Io::warning` takes it.
    pub fn warning(&self, text: impl Into<String>, hint: impl Into<String>) -> Warning {
        Warning::new(self.name, text, hint)
    }

    /// One of several things that a check found.
    pub fn problem(&self, cause: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { code: Cow::Borrowed(self.name), cause: cause.into(), hint: hint.into(), details: Vec::new() }
    }

    /// The failure that a script's refusal stands for; `None` where it is no refusal of a script.
    fn of_script(&self, doing: &str, values: &[(String, String)]) -> Option<Failure> {
        let (cause, help) = self.template?;
        // Lines that belong below the error, such as commands to copy.
        let details = values.iter().filter(|(name, _)| name == "details").flat_map(|(_, lines)| lines.lines());
        let failure = self.failure(doing, filled(cause, values)).details(details);
        // What to do has commands to copy, and a path may have blanks.
        let quoted: Vec<_> = values.iter().map(|(name, value)| (name.clone(), path_quoted(value))).collect();
        Some(if help.is_empty() { failure } else { failure.hint(filled(help, &quoted)) })
    }
}

/// Something that a check found and that prevents a release. A check names all of them, so that one run is enough to fix all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub code: Cow<'static, str>,
    pub cause: String,
    pub hint: String,
    /// Lines below it, such as commands to copy.
    pub details: Vec<String>,
}

impl Problem {
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.details.extend(details.into_iter().map(Into::into));
        self
    }

    /// A problem that is alone.
    pub fn failure(self, doing: impl Into<String>) -> Failure {
        let failure = Failure::refused(doing, self.cause).hint(self.hint).details(self.details);
        Failure { code: self.code, ..failure }
    }
}

/// A problem that does not stop the run.
impl From<Problem> for Warning {
    fn from(problem: Problem) -> Self {
        let help: Vec<String> = std::iter::once(problem.hint).chain(problem.details).collect();
        Self::new(problem.code, problem.cause, help.join("\n"))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let hint = failure.hint.unwrap_or_default();
        Self { code: failure.code, cause: failure.cause, hint, details: failure.details }
    }
}

/// Every code, in the order of its file and of the files' names.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [
        activation::CODES,
        activation_checks::CODES,
        approval::CODES,
        artifact::CODES,
        backup::CODES,
        build::CODES,
        checks::CODES,
        database::CODES,
        fix::CODES,
        general::CODES,
        github::CODES,
        health::CODES,
        hook::CODES,
        lock::CODES,
        migration_result::CODES,
        preflight::CODES,
        recovery::CODES,
        release::CODES,
        release_dir::CODES,
        reload::CODES,
        rollback::CODES,
        schema::CODES,
        server::CODES,
        services::CODES,
        ssh::CODES,
        staging::CODES,
        verify::CODES,
        watchdog::CODES,
    ]
    .into_iter()
    .flatten()
}

/// The failure that a script's refusal stands for. A code that this version does not know is told as it came.
pub fn of_script(name: &str, doing: &str, values: &[(String, String)]) -> Failure {
    let known = all().find(|code| code.name == name).and_then(|code| code.of_script(doing, values));
    known.unwrap_or_else(|| {
        let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        Failure::refused(doing, format!("the server refused: {name}")).details(values)
    })
}

/// A path as a word of a command to copy; anything else as it is.
fn path_quoted(value: &str) -> String {
    if value.starts_with('/') { quote(value) } else { value.to_owned() }
}

/// A word of a command to copy. A path with a blank would be two words: `rm -r` would remove another folder.
fn word(text: impl Display) -> String {
    quote(&text.to_string())
}

/// A template with its values. A name without a value stays as it stands there.
fn filled(template: &str, values: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, behind)| Some((before, behind.split_once('}')?)))
    {
        text.push_str(before);
        match values.iter().find(|(given, _)| given == name) {
            Some((_, value)) => text.push_str(value),
            None => _ = write!(text, "{{{name}}}"),
        }
        rest = after;
    }
    text + rest
}

/// Defines codes, and the list `CODES` of them. `Warning` in the place of a failure's kind stands for a code that only warns.
macro_rules! codes {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $kind:ident {
        meaning: $meaning:literal, cause: $cause:literal, action: $action:literal $(, script: $text:literal, $help:literal)? $(,)?
    })+) => {
        $($(#[$doc])* pub const $constant: $crate::errors::Code = $crate::errors::Code {
            name: $name,
            kind: $crate::errors::kind!($kind),
            only_warns: $crate::errors::only_warns!($kind),
            meaning: $meaning,
            cause: $cause,
            action: $action,
            template: $crate::errors::template!($($text, $help)?),
        };)+
        pub const CODES: &[$crate::errors::Code] = &[$($constant),+];
    };
}
macro_rules! template {
    () => {
        None
    };
    ($text:literal, $help:literal) => {
        Some(($text, $help))
    };
}
macro_rules! kind {
    (Warning) => {
        $crate::domain::FailureKind::Refused
    };
    ($kind:ident) => {
        $crate::domain::FailureKind::$kind
    };
}
macro_rules! only_warns {
    (Warning) => {
        true
    };
    ($kind:ident) => {
        false
    };
}
use {codes, kind, only_warns, template};

#[cfg(test)]
mod tests;
