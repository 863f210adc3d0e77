//! What a migration does to a database that the old code still uses.

use serde::{Deserialize, Serialize};

use super::Sha256Digest;

pub use crate::domain::migration::source::{Reading, read};

mod source;

/// How much a statement asks of the code that is live while it runs, and of a rollback. Later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Adds what the old code does not see: both releases work on it.
    Expand,
    /// The table is copied or checked row by row; while that goes on, writing to it may wait.
    LongLock,
    /// Takes away or narrows what the old code may rely on: a rollback to it may not work.
    Contract,
    /// The source does not show what it does.
    Unknown,
    /// Data is gone or overwritten: only a backup brings it back.
    Destructive,
}

impl Class {
    /// The word that plan and report use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::LongLock => "long lock",
            Self::Contract => "contract",
            Self::Unknown => "unknown",
            Self::Destructive => "destructive",
        }
    }

    /// What that means for the approval.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Expand => "the old and the new code work with it",
            Self::LongLock => "writes to the table may wait while it is copied or checked",
            Self::Contract => "the old code may not work with it: check this before a rollback",
            Self::Unknown => "its effect is not visible in its source: read the migration",
            Self::Destructive => "data is deleted or overwritten: only the backup has the earlier data",
        }
    }
}

/// What a migration made a database do where it really ran, by the events of the framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The file's name without `.php`.
    pub name: String,
    /// Of the file; `None` where the release's manifest does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    pub statements: u64,
    /// The time that the database took for them.
    pub milliseconds: u64,
    /// Rows of the largest table that they name, as the database estimates it; `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The first statements, without literals. In evidence only: a ledger's line has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
}

impl Measured {
    /// One line for a table or a plan.
    pub fn summary(&self) -> String {
        let statements = if self.statements == 1 { "statement" } else { "statements" };
        let rows = self.rows.map(|rows| format!(", about {rows} rows in the largest table")).unwrap_or_default();
        let Self { milliseconds, .. } = self;
        format!("{} {statements}, {}.{} s{rows}", self.statements, milliseconds / 1000, milliseconds % 1000 / 100)
    }
}

/// The class of one SQL statement, as MySQL and MariaDB run it; the worst of its parts counts.
pub fn classify(sql: &str) -> Class {
    let text = normal(sql);
    let begins = |words: &str| text.starts_with(words);
    if begins("create table") || begins("insert ") || begins("create view") || begins("create or replace view") {
        return Class::Expand;
    }
    if begins("create unique index") {
        return Class::Contract;
    }
    if begins("create index") || begins("create fulltext index") || begins("create spatial index") {
        return Class::Expand;
    }
    if ["drop table", "drop database", "truncate", "delete ", "update ", "replace "].iter().any(|words| begins(words)) {
        return Class::Destructive;
    }
    if begins("rename table") || begins("drop index") || begins("drop view") {
        return Class::Contract;
    }
    if begins("select ") || begins("show ") || begins("set ") {
        return Class::Expand;
    }
    match text.strip_prefix("alter table ") {
        Some(rest) => {
            // Behind the table's name.
            let changes = rest.split_once(' ').map_or("", |(_, changes)| changes);
            parts(changes).into_iter().map(|part| alteration(&part)).max().unwrap_or(Class::Unknown)
        }
        None => Class::Unknown,
    }
}

fn alteration(part: &str) -> Class {
    let begins = |words: &str| part.starts_with(words);
    if begins("drop ") {
        let named = ["drop index", "drop key", "drop foreign key", "drop primary key", "drop constraint", "drop check"];
        return if named.iter().any(|words| begins(words)) { Class::Contract } else { Class::Destructive };
    }
    if begins("rename") {
        return Class::Contract;
    }
    if begins("modify") || begins("change") || begins("convert to") || begins("engine") || begins("alter column") {
        return Class::LongLock;
    }
    if begins("add constraint") || begins("add foreign key") || begins("add check") || begins("add primary key") {
        return Class::LongLock;
    }
    if begins("add unique") {
        return Class::Contract;
    }
    if begins("add ") {
        let index = ["add index", "add key", "add fulltext", "add spatial"].iter().any(|words| begins(words));
        // In strict mode the old code's INSERT fails on a column that it does not know and that has no default.
        let demands = part.contains(" not null") && !part.contains(" default ") && !part.contains(" auto_increment");
        let computed = part.contains(" generated ") || part.contains(" as (");
        return if index || !demands || computed { Class::Expand } else { Class::Contract };
    }
    Class::Unknown
}

/// Lower case, single blanks, no quotes around names.
fn normal(sql: &str) -> String {
    let words: Vec<String> =
        sql.split_whitespace().map(|word| word.replace(['`', '"'], "").to_ascii_lowercase()).collect();
    words.join(" ")
}

/// The changes of an `ALTER TABLE`: separated by commas that stand in no parentheses and no text.
fn parts(changes: &str) -> Vec<String> {
    let (mut all, mut part, mut depth, mut quoted) = (Vec::new(), String::new(), 0_usize, false);
    for letter in changes.chars() {
        match letter {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                all.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    all.push(part.trim().to_owned());
    all.retain(|part| !part.is_empty());
    all
}

/// What the framework's events said of each migration, by its name and as JSON. The digest of its file is what another environment's run is
/// found by. What cannot be read is left out.
pub(crate) fn measured<'a>(described: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<Measured> {
    /// As `migrate.php` reports it.
    #[derive(serde::Deserialize)]
    struct Input {
        #[serde(default)]
        sha256: Option<Sha256Digest>,
        statements: u64,
        milliseconds: f64,
        rows: Option<u64>,
        sql: Vec<String>,
    }
    let read = |(name, text): (&str, &str)| {
        let described: Input = serde_json::from_str(text).ok()?;
        Some(Measured {
            name: name.to_owned(),
            sha256: described.sha256,
            statements: described.statements,
            milliseconds: described.milliseconds.max(0.0).round() as u64,
            rows: described.rows,
            sql: described.sql,
        })
    };
    described.filter_map(read).collect()
}

/// Without the text of statements, as a line of the ledger has it.
pub(crate) fn without_sql(measured: &[Measured]) -> Vec<Measured> {
    measured.iter().map(|one| Measured { sql: Vec::new(), ..one.clone() }).collect()
}

/// What became of a migration that its run did not hear the end of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// `None` if it is not known.
    pub ran: Option<Vec<String>>,
    /// What they made the database do, without the text of statements.
    pub measured: Vec<Measured>,
    /// Of artisan, where it came that far.
    pub status: Option<String>,
}

impl Migrated {
    /// What migrate.sh answered, as far as it came, with record separators (036) for its own. `None` if no migration was begun.
    pub fn read(records: &str) -> Option<Self> {
        let records: Vec<(&str, &str)> =
            records.split('\u{1e}').filter_map(|record| record.trim_matches('\0').split_once('=')).collect();
        records.first()?;
        let get = |key: &str| records.iter().rev().find(|(name, _)| *name == key).map(|(_, value)| *value);
        let ran = match (get("before"), get("after").filter(|_| get("unsure").is_none())) {
            // It is asked for before the first one runs.
            (None, _) => Some(Vec::new()),
            (Some(_), None) => None,
            (Some(before), Some(after)) => {
                let before: Vec<&str> = lines(before).collect();
                Some(lines(after).filter(|name| !before.contains(name)).map(str::to_owned).collect())
            }
        };
        let all = |key: &'static str| records.iter().filter(move |(name, _)| *name == key).map(|(_, value)| *value);
        let measured = without_sql(&measured(all("measured-name").zip(all("measured"))));
        Some(Self { ran, measured, status: get("status").map(str::to_owned) })
    }

    /// For the cause in a ledger's line.
    pub fn describe(&self) -> String {
        match self.status.as_deref() {
            Some("0") => "its migration ran to its end on the server".to_owned(),
            Some(status) => format!("its migration ended with status {status}"),
            None if self.ran.as_ref().is_some_and(Vec::is_empty) => "no migration had run".to_owned(),
            None => "its migration did not run to its end: compare `php artisan migrate:status`".to_owned(),
        }
    }
}

pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f63_each_statement_is_classified_by_what_it_does_to_the_old_code_and_to_the_data() {
        for (class, statements) in [
            (
                Class::Expand,
                &[
                    "create table `drafts` (`id` bigint unsigned not null auto_increment primary key)",
                    "alter table `posts` add `note` varchar(255) null",
                    "alter table `posts` add `state` varchar(20) not null default 'new, or drop it'",
                    "alter table `posts` add index `posts_note_index`(`note`)",
                    "alter table `posts` add `both` int generated always as (`a` + `b`) stored not null",
                    "insert into `settings` (`name`) values (?)",
                ][..],
            ),
            (
                Class::LongLock,
                &[
                    "ALTER TABLE `posts` MODIFY `body` longtext not null",
                    "alter table `posts` change `body` `body` text",
                    "alter table `posts` add constraint `fk` foreign key (`user_id`) references `users` (`id`)",
                    "alter table `posts` convert to character set utf8mb4",
                ][..],
            ),
            (
                Class::Contract,
                &[
                    "alter table `posts` rename column `a` to `b`",
                    "rename table `posts` to `articles`",
                    "alter table `posts` drop index `posts_note_index`",
                    "alter table `posts` drop foreign key `fk`",
                    "alter table `posts` add `owner` bigint not null",
                    "alter table `posts` add unique `posts_slug`(`slug`)",
                ][..],
            ),
            (
                Class::Destructive,
                &[
                    "drop table if exists `drafts`",
                    "alter table `posts` drop `note`",
                    "alter table `posts` add `a` int null, drop column `b`",
                    "truncate table `jobs`",
                    "delete from `jobs` where `id` > ?",
                    "update `posts` set `state` = ?",
                ][..],
            ),
            (Class::Unknown, &["call something()", "alter table `posts`", ""][..]),
        ] {
            for sql in statements {
                assert_eq!(classify(sql), class, "{sql}");
            }
        }
    }
}
