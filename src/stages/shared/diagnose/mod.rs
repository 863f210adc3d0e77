//! Why runs failed: their logs, matched against what releases are known to fail by, with the line that shows it.
//!
//! A log is foreign text and may be long, gone, or about an unknown failure. Nothing is guessed: a log that no signature recognises is reported
//! with its last error line, and one that cannot be read is reported as unread.

mod signatures;

pub use self::signatures::{SIGNATURES, Signature, recognise};
use crate::{
    domain::record::Diagnosis,
    engine::step::Io,
    github::{GithubError, Job, RepositoryRead, WorkflowRun},
};

/// Failed runs that are looked into: each costs two calls of the API.
pub const LOOKED_INTO: usize = 3;

/// The most of a line that is shown, in characters.
const LONGEST: usize = 300;

/// What a run ended in, for it to count as failed. A user or a newer run ended a cancelled one.
const FAILED: [&str; 3] = ["failure", "timed_out", "startup_failure"];

/// Looks into the newest failed runs of a workflow (its file name, or its name), newest first. For `fix: staging-failures` and every caller
/// without a list of runs; it reads only, with `actions: read`.
///
/// # Errors
/// The runs cannot be listed. What cannot be read of a single run stands in its diagnosis.
pub async fn failures_of(github: &dyn RepositoryRead, workflow: &str, io: &Io) -> Result<Vec<Diagnosis>, GithubError> {
    let runs = github.recent_runs(workflow).await?;
    Ok(failures_among(github, &runs, io).await)
}

/// The same for runs that were listed already, newest first.
pub async fn failures_among(github: &dyn RepositoryRead, runs: &[WorkflowRun], io: &Io) -> Vec<Diagnosis> {
    let mut described = Vec::new();
    for run in runs.iter().filter(|run| failed(run)).take(LOOKED_INTO) {
        let diagnosis = look_into(github, run).await;
        io.line(diagnosis.describe());
        described.push(diagnosis);
    }
    described
}

pub fn failed(run: &WorkflowRun) -> bool {
    run.finished() && run.conclusion.as_deref().is_some_and(|ended| FAILED.contains(&ended))
}

async fn look_into(github: &dyn RepositoryRead, run: &WorkflowRun) -> Diagnosis {
    let nothing = Diagnosis {
        run: run.id,
        attempt: run.attempt,
        url: run.html_url.clone(),
        job: None,
        step: None,
        line: None,
        signature: None,
        class: None,
        cause: String::new(),
        to_do: String::new(),
    };
    let by_hand = format!("gh run view {} --attempt {} --log-failed", run.id, run.attempt);
    let unread = |what: String| Diagnosis { cause: what, to_do: by_hand.clone(), ..nothing.clone() };
    let jobs = match github.jobs(run.id).await {
        Ok(jobs) => jobs,
        Err(error) => return unread(format!("the jobs of the run could not be listed: {error}")),
    };
    let Some(job) = jobs.iter().find(|job| ended_badly(job.conclusion.as_deref())) else {
        return Diagnosis {
            cause: "no job failed: GitHub could not start the run (the workflow file is not valid, or the runner is not available)"
                .to_owned(),
            to_do: format!("Open {} and read the reason at the top of the page.", run.html_url),
            ..nothing
        };
    };
    let step = job.steps.iter().find(|step| ended_badly(step.conclusion.as_deref())).map(|step| step.name.clone());
    let of_job = Diagnosis { job: Some(job.name.clone()), step, ..nothing.clone() };
    let log = match github.job_log(job.id).await {
        Ok(log) => log,
        Err(GithubError::Expired | GithubError::NotFound(_)) => {
            let cause = "its log was deleted: GitHub keeps logs for 90 days by default, and every user with write access can delete them";
            return Diagnosis {
                cause: cause.to_owned(),
                to_do: "Run it again, and read the new log.".to_owned(),
                ..of_job
            };
        }
        Err(error) => {
            return Diagnosis { cause: format!("its log could not be read: {error}"), to_do: by_hand, ..of_job };
        }
    };
    read(&log, job, of_job, by_hand)
}

fn ended_badly(conclusion: Option<&str>) -> bool {
    matches!(conclusion, Some("failure" | "timed_out"))
}

fn read(log: &str, job: &Job, of_job: Diagnosis, by_hand: String) -> Diagnosis {
    let lines = output(log);
    match recognise(&lines) {
        Some((signature, line)) => Diagnosis {
            line: Some(shown(line)),
            signature: Some(signature.id.to_owned()),
            class: signature.class.map(str::to_owned),
            cause: signature.cause.to_owned(),
            to_do: signature.to_do.to_owned(),
            ..of_job
        },
        None => {
            let cause = match lines.is_empty() {
                true => format!("the log of `{}` is empty: the runner may have been lost", job.name),
                false => "the cause is unknown".to_owned(),
            };
            Diagnosis { line: last_error(&lines).map(shown), cause, to_do: by_hand, ..of_job }
        }
    }
}

/// The lines that programs printed, without the runner's time stamps and escape sequences, and without the scripts that the runner prints before
/// it runs them: a script that mentions a failure is none.
fn output(log: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut in_script = false;
    for line in log.lines() {
        let line = plain(without_time(line));
        if line.starts_with("##[group]Run ") {
            in_script = true;
        }
        if !in_script && !line.trim().is_empty() {
            lines.push(line.clone());
        }
        if line.starts_with("##[endgroup]") {
            in_script = false;
        }
    }
    lines
}

/// `2026-01-05T09:00:00.1234567Z ` stands before every line of a log.
fn without_time(line: &str) -> &str {
    let line = line.trim_start_matches('\u{feff}');
    match line.split_once(' ') {
        Some((time, rest)) if time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok() => rest,
        _ if line.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(line).is_ok() => "",
        _ => line,
    }
}

/// Without control sequences (ECMA-48, 5.4: `ESC [` up to a byte from `@` to `~`) and other control characters. Programs colour their
/// words, and a word that is cut by a colour is not found.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if rest.next() == Some('[') {
                    rest.find(|c| matches!(c, '@'..='~'));
                }
            }
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

/// The last line that the runner marked as an error, but for the one that only gives an exit code; else the last line of all.
fn last_error(lines: &[String]) -> Option<&str> {
    let marked = lines
        .iter()
        .rev()
        .find(|line| line.contains("##[error]") && !line.contains("Process completed with exit code"));
    marked.or_else(|| lines.iter().rev().find(|line| !line.starts_with("##["))).or(lines.last()).map(String::as_str)
}

fn shown(line: &str) -> String {
    let line = line.trim().trim_start_matches("##[error]");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_without_its_time_its_colours_and_the_script_before_it() {
        let log = "\u{feff}2026-01-05T09:00:00.1234567Z ##[group]Run echo 'Host key verification failed.'\n\
            2026-01-05T09:00:00.1234567Z echo 'Host key verification failed.'\n\
            2026-01-05T09:00:00.1234567Z ##[endgroup]\n\
            2026-01-05T09:00:01.1234567Z \u{1b}[31mPermission \u{1b}[1mdenied\u{1b}[0m (publickey).\n\
            2026-01-05T09:00:02.1234567Z\n\
            2026-01-05T09:00:02.1234567Z ##[error]Process completed with exit code 255.\n";
        let lines = output(log);
        assert_eq!(lines, ["Permission denied (publickey).", "##[error]Process completed with exit code 255."]);
        assert_eq!(recognise(&lines).map(|(signature, _)| signature.id), Some("key-not-accepted"));
        assert_eq!(last_error(&lines), Some("Permission denied (publickey)."));
        assert_eq!(shown(&"x".repeat(400)).chars().count(), LONGEST + 1);
    }
}
