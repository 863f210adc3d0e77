//! The command line: every input as a flag of the same name.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    environment::Environment,
    problem::Problem,
    table::{EXIT_CODES, INPUTS, Input, Kind, Subject},
};
use crate::domain::Secret;

/// What the command line gave.
#[derive(Debug, Default)]
pub struct Flags {
    pub values: Vec<(&'static Input, String)>,
    pub secrets: Vec<(&'static Input, Secret)>,
    pub problems: Vec<Problem>,
    /// Secrets that were given literally. They are refused, and must not be shown again either.
    pub leaked: Vec<Secret>,
}

/// What the command line asked for.
#[derive(Debug)]
pub enum Line {
    /// `--help` or `--version`: print this and end.
    Print(String),
    Run(Flags),
}

/// Bytes. Keys, tokens and known_hosts are far smaller.
const LARGEST_FILE: u64 = 64 * 1024;
/// The argument without a name; the input `stage` by another way.
const STAGE_WORD: &str = "STAGE";
/// What is wrong with a second word.
const TOO_MANY: &str = "has an extra argument after the stage";
/// Columns of the help text, its indentation left out.
const HELP_WIDTH: usize = 88;

/// Reads the command line, whose first word is the program's name, by what [`command`] gives.
pub fn read(command: &Command, mut args: Vec<OsString>, environment: &Environment) -> Line {
    let mut flags = Flags::default();
    let matches = loop {
        let error = match command.clone().try_get_matches_from(&args) {
            Ok(matches) => break matches,
            Err(error) => error,
        };
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Line::Print(error.to_string());
        }
        let late = command.get_subcommands().map(Command::get_name).find(|name| args.iter().any(|arg| arg == name));
        flags.problems.push(unreadable(&error, late));
        // One unknown flag must not hide what else is wrong: the rest is read without it.
        if error.kind() != ErrorKind::UnknownArgument || !take_away(&mut args, &error) {
            return Line::Run(flags);
        }
    };
    for input in INPUTS {
        let words: Vec<&str> =
            matches.get_many::<String>(input.name).into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() {
            continue;
        }
        let text = words.join("\n");
        if input.secret {
            flags.secret(input, &text, environment);
        } else if let Some(file) = named_file(input, &text) {
            flags.lines(input, file, environment);
        } else {
            flags.values.push((input, text));
        }
    }
    if let Some(word) = matches.get_one::<String>(STAGE_WORD) {
        flags.stage_word(word);
    }
    Line::Run(flags)
}

/// Takes the flag that an error is about out of the arguments, with its value. False if it is not there.
fn take_away(args: &mut Vec<OsString>, error: &clap::Error) -> bool {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return false };
    let name = flag.split('=').next().unwrap_or(flag);
    let is_it = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.split('=').next() == Some(name));
    let Some(at) = args.iter().position(is_it) else { return false };
    let with_value = args[at].to_str().is_some_and(|arg| arg.contains('='));
    args.remove(at);
    if !with_value && args.get(at).is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
        args.remove(at);
    }
    true
}

impl Flags {
    fn stage_word(&mut self, word: &str) {
        match self.values.iter().find(|(input, _)| input.kind == Kind::Stage) {
            Some((_, flag)) if flag != word => {
                let problem = format!("is given twice: `{word}` and `--stage {flag}`");
                self.problems.push(Problem::new("stage", problem, "name one"));
            }
            Some(_) => {}
            None => self
                .values
                .extend(INPUTS.iter().find(|input| input.kind == Kind::Stage).map(|input| (input, word.to_owned()))),
        }
    }

    /// A secret by `@file`. Every user of the machine can read the argument list of a process (F40).
    fn secret(&mut self, input: &'static Input, text: &str, environment: &Environment) {
        let flag = format!("--{}", input.name);
        let right = format!("write `{flag} @file`, or set {}", input.shell_variable());
        let Some(file) = text.strip_prefix('@') else {
            if !text.is_empty() {
                self.leaked.push(Secret::new(text));
                let problem = "is a secret, and every user of the machine can read a command line";
                self.problems.push(Problem::new(flag, problem, right));
            }
            return;
        };
        match file_text(&located(file, environment)) {
            Ok(text) => self.secrets.push((input, Secret::new(text.trim()))),
            Err(problem) => self.problems.push(Problem::new(flag, problem, right).given(text)),
        }
    }

    fn lines(&mut self, input: &'static Input, file: &str, environment: &Environment) {
        match file_text(&located(file, environment)) {
            Ok(text) => self.values.push((input, text.trim().to_owned())),
            Err(problem) => {
                let right = "write the lines themselves, or `@file`";
                self.problems
                    .push(Problem::new(format!("--{}", input.name), problem, right).given(&format!("@{file}")));
            }
        }
    }
}

/// The file of `@file`, which long lists may come in as well. A line of known_hosts can begin with `@`, too, but has blanks.
fn named_file<'t>(input: &Input, text: &'t str) -> Option<&'t str> {
    let file = text.strip_prefix('@').filter(|_| input.kind == Kind::Lines)?;
    (!file.contains(char::is_whitespace)).then_some(file)
}

/// Shells leave the `~` of `@~/file` as it is.
fn located(file: &str, environment: &Environment) -> PathBuf {
    match (file.strip_prefix("~/"), environment.path("HOME")) {
        (Some(below), Some(home)) => home.join(below),
        _ => environment.directory().join(file),
    }
}

fn file_text(path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    let size = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > LARGEST_FILE {
        return Err(format!("is a file of more than {} KiB", LARGEST_FILE / 1024));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    if text.trim().is_empty() { Err("is an empty file".to_owned()) } else { Ok(zeroize::Zeroizing::new(text)) }
}

/// Why the command line cannot be read, without clap's text: what follows an unknown flag may be a secret.
/// `late`: the sub-command that stands behind other arguments, if there is one.
fn unreadable(error: &clap::Error, late: Option<&str>) -> Problem {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    let name = argument.split(['=', ' ']).next().unwrap_or_default();
    let help = "`gated-deploy --help` lists the flags".to_owned();
    let right = match context(ContextKind::SuggestedArg) {
        Some(near) => format!("did you mean `{near}`?"),
        None => help.clone(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument if name.starts_with('-') => Problem::new(name, "is not a known flag", right),
        ErrorKind::UnknownArgument => Problem::new("command line", TOO_MANY, help),
        // Behind a stage or a flag clap takes any word for a sub-command that comes too late.
        ErrorKind::ArgumentConflict if name.is_empty() => match late {
            Some(late) => {
                Problem::new("command line", "has a sub-command after other arguments", format!("put `{late}` first"))
            }
            None => Problem::new("command line", TOO_MANY, help),
        },
        ErrorKind::ArgumentConflict => Problem::new(name, "is given twice", "give it once"),
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::NoEquals => {
            Problem::new(name, "has no value", help)
        }
        ErrorKind::InvalidUtf8 => Problem::new("command line", "is not UTF-8 text", help),
        _ => Problem::new("command line", "cannot be read", help),
    }
}

/// The stages. Sub-commands that need none are added by [`super::read`].
pub fn command() -> Command {
    let stage = Arg::new(STAGE_WORD).help("What to do; the same as --stage").value_name(STAGE_WORD);
    let order =
        Subject::ALL.into_iter().flat_map(|subject| INPUTS.iter().filter(move |input| input.subject == subject));
    Command::new("gated-deploy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Releases Laravel apps to ordinary servers over SSH, gated at every step, and rolls back by itself.")
        .override_usage("gated-deploy <STAGE> [--INPUT VALUE]...")
        .after_help(after_help())
        .next_line_help(true)
        .args_conflicts_with_subcommands(true)
        .arg(stage)
        .args(order.map(flag))
}

fn flag(input: &'static Input) -> Arg {
    let arg = Arg::new(input.name)
        .long(input.name)
        .help(help(input))
        .help_heading(input.subject.to_string())
        .value_name(value_name(input));
    match input.kind {
        // `--plan-only` alone means yes.
        Kind::Boolean => arg.num_args(0..=1).default_missing_value("true"),
        kind if kind.is_list() => arg.action(ArgAction::Append),
        _ => arg,
    }
}

fn value_name(input: &Input) -> &'static str {
    match input.kind {
        _ if input.secret => "@FILE",
        Kind::Boolean => "BOOLEAN",
        Kind::Duration { .. } | Kind::Grace { .. } => "DURATION",
        Kind::Count { .. } | Kind::RunId => "NUMBER",
        Kind::Local | Kind::Relative | Kind::BaseDir | Kind::Elsewhere => "PATH",
        Kind::UrlPaths | Kind::Folders | Kind::Words => "LINE",
        Kind::Lines => "LINE|@FILE",
        Kind::Site => "URL",
        _ => "TEXT",
    }
}

fn help(input: &Input) -> String {
    let mut text = input.described();
    if input.secret {
        text.push_str(&format!(" SECRET: @file, or {}.", input.shell_variable()));
    }
    wrap(&text, HELP_WIDTH)
}

fn after_help() -> String {
    let codes: String = EXIT_CODES.iter().map(|(code, meaning)| format!("\n  {code}  {meaning}")).collect();
    let variables = "Each input can also be given as a variable: GATED_DEPLOY_SSH_HOST for --ssh-host, and so on. \
        The policy file .github/gated-deploy.yml can hold every input that is not a secret and does not belong to one run. \
        A flag beats a variable, a variable beats the file, the file beats the default. Empty is the same as not given. \
        Outside of GitHub Actions, GITHUB_REPOSITORY names the repository (owner/name) and GITHUB_API_URL its API.";
    format!("{}\n\nExit codes:{codes}", wrap(variables, HELP_WIDTH + 10))
}

/// Breaks at blanks so that no line is longer than `width`, where words allow.
pub fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}
