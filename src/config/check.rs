//! `gated-deploy policy check`: whether a policy file can be used, without a run, a server or a token.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use super::{
    flags::wrap,
    policy::{self, DEFAULT_PATH},
    problem::{Problem, Problems},
    table, value,
};

/// The name of the sub-command.
pub const WORD: &str = "policy";

/// What to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `None` is standard input.
    pub file: Option<PathBuf>,
}

pub fn command() -> Command {
    let about = "Checks a policy file as a run would: unknown keys, values that no input takes, secrets, and keys that stand twice. Each \
        problem has its file, line and column, and the line itself. It connects to nothing.";
    let example = "In an editor that reads JSON Schemas, this line at the top of the file does the same while you type:\n  \
        # yaml-language-server: $schema=https://raw.githubusercontent.com/OWNER/gated-deploy/vX/schema/policy.schema.json\n\n\
        Exit codes:\n  0  the file can be used\n  1  something in it is wrong\n  2  the command line or the file cannot be read";
    let file = Arg::new("FILE").default_value(DEFAULT_PATH).help("The policy file; `-` is standard input");
    let check = Command::new("check").about(wrap(about, 98)).after_help(example).arg(file);
    let about = "Check a policy file: `gated-deploy policy check --help`";
    Command::new(WORD).about(about).subcommand_required(true).subcommand(check)
}

/// What the words behind [`WORD`] ask for.
pub fn read(policy: &ArgMatches) -> Check {
    let file = policy.subcommand_matches("check").and_then(|check| check.get_one::<String>("FILE"));
    Check { file: file.filter(|file| *file != "-").map(PathBuf::from) }
}

/// Everything that is wrong with a policy's text, in the order of its lines: one text for each, with the line that it is about below it.
///
/// What depends on two inputs, or on the stage, is checked by a run.
pub fn problems(file: &str, text: &str) -> Vec<String> {
    let reading = policy::parse(file, text);
    let wrong = reading.policy.entries().filter_map(|(input, entry)| {
        let wrong = value::check(input.kind, &entry.text).err()?;
        let problem = Problem::new(input.name, wrong.problem, wrong.right).given(&entry.text);
        Some(problem.at(Some(entry.location.clone())))
    });
    let mut problems: Vec<Problem> = wrong.collect();
    problems.extend(reading.problems);
    problems.sort_by_key(|problem| problem.location.as_ref().and_then(|location| location.line));
    let mut problems: Vec<Problem> = Problems::new(problems, &reading.leaked).iter().cloned().collect();
    problems.iter_mut().map(|problem| shown(file, text, problem, !reading.leaked.is_empty())).collect()
}

/// `FILE:LINE:COLUMN: KEY: what is wrong; what would be right`, and the line. It is not shown where the file has a secret, nor where its key is not
/// known: that may be a secret's, mistyped.
fn shown(file: &str, text: &str, problem: &mut Problem, has_secret: bool) -> String {
    let line = problem.location.take().and_then(|location| location.line);
    let Some((number, line)) = line.and_then(|number| Some((number, text.lines().nth(number - 1)?))) else {
        return format!("{file}: {problem}");
    };
    let column = line.chars().take_while(|char| char.is_whitespace()).count() + 1;
    let place = format!("{file}:{number}:{column}: {problem}");
    let is_known = problem.input == "config" || table::find_policy_key(&problem.input).is_some();
    if has_secret || !is_known || line.chars().any(|char| char.is_control() && char != '\t') {
        return place;
    }
    format!("{place}\n  {}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_has_its_place_and_its_line() {
        let text = "ssh-host: staging.example.com\nhealth-pathz: [/up]\nenvironments:\n  staging:\n    keep-releases: many\n    grace-period: 15s\n";
        assert_eq!(
            problems("p.yml", text),
            [
                "p.yml:2:1: health-pathz: is not known; did you mean `health-paths`?",
                "p.yml:5:5: keep-releases: `many` is not a whole number; write a number from 1 to 1000\n      keep-releases: many",
            ]
        );
    }

    #[test]
    fn a_file_without_a_problem_has_none_and_one_that_is_no_yaml_has_its_line() {
        assert_eq!(problems("p.yml", "# nothing yet\n"), Vec::<String>::new());
        let broken = problems("p.yml", "a: b\n\tc: [\n");
        assert!(broken.len() == 1 && broken[0].starts_with("p.yml:2:"), "{broken:?}");
    }

    #[test]
    fn a_secret_in_the_file_is_named_and_not_shown() {
        let found = problems("p.yml", "healthcheck-token: hunter2hunter2\n");
        assert!(found.len() == 1 && found[0].contains("is a secret") && !found[0].contains("hunter2"), "{found:?}");
        let found = problems("p.yml", "healthcheck-tokn: hunter2hunter2\n");
        assert!(found.len() == 1 && !found[0].contains("hunter2"), "{found:?}");
    }
}
