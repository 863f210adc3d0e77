//! From the runner's environment, the command line and the policy file to typed inputs. Only this module reads the environment.
//! [`read`] is the entry point. It opens no connection, prints nothing, and reports every problem in one run.

pub mod check;
pub mod environment;
pub mod event;
pub mod flags;
pub mod ledger;
pub mod local;
pub mod parse;
pub mod policy;
pub mod problem;
pub mod raw;
pub mod report;
pub mod table;
pub mod typed;
pub mod value;

use std::{ffi::OsString, time::Duration};

use clap::Command;

pub use crate::config::{
    environment::Environment,
    problem::{Location, Problem, Problems},
    typed::{Common, Request, Warning},
};

use self::typed::Interrupted;
use crate::domain::{Stage, state};

/// What the command line asked for.
#[derive(Debug)]
pub enum Asked {
    /// `--help` or `--version`: print this, end with 0.
    Print(String),
    /// The line of a sub-command that cannot be read: print this, end with 2.
    Unreadable(String),
    /// `ledger verify`
    Ledger(ledger::Verify),
    /// `policy check`
    Policy(check::Check),
    /// `report show`
    Report(report::Show),
    Run(Box<Inputs>),
}

/// A run: what it needs to report, and what it shall do, if that could be read.
#[derive(Debug)]
pub struct Inputs {
    pub common: Common,
    /// With warnings, which do not stop it.
    pub request: Result<(Request, Vec<Warning>), Problems>,
}

/// Reads everything that was given. `args` begins with the program's name.
///
/// Print [`Common::mask_commands`] before anything else, whether or not the request could be read.
pub fn read(environment: &Environment, args: impl IntoIterator<Item = OsString>) -> Asked {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = flags::command().subcommands([ledger::command(), check::command(), report::command()]);
    if let Some(asked) = sub_command(&command, &args) {
        return asked;
    }
    let post = post(environment, &args);
    if let Some(Post::Nothing(text)) = post {
        return Asked::Print(text);
    }
    let flags = match flags::read(&command, args, environment) {
        flags::Line::Print(text) => return Asked::Print(text),
        flags::Line::Run(flags) => flags,
    };
    let raw = raw::Raw::collect(environment, flags);
    let mut common = parse::common(&raw);
    let own = match post {
        Some(Post::Finish(own)) => Some(own),
        _ => None,
    };
    let is_post = own.is_some();
    let request = parse::parse(&raw, &mut common, own);
    if is_post {
        common.stage = Some(Stage::Recover);
        common.most = Some(POST_TIME);
    }
    Asked::Run(Box::new(Inputs { common, request }))
}

/// What a sub-command was asked for, if the line has one.
fn sub_command(command: &Command, args: &[OsString]) -> Option<Asked> {
    // Whatever else is wrong with the line: whose help and whose errors it gets is known by this.
    let lenient = command.clone().ignore_errors(true).try_get_matches_from(args).ok()?;
    lenient.subcommand_name()?;
    let matches = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return Some(Asked::Unreadable(error.to_string())),
    };
    let (name, words) = matches.subcommand()?;
    Some(match name {
        ledger::WORD => ledger::read(words).map_or_else(Asked::Unreadable, Asked::Ledger),
        check::WORD => Asked::Policy(check::read(words)),
        _ => Asked::Report(report::read(words)),
    })
}

/// The name by which the runner starts the program after the job's other steps (action.yml, `post-entrypoint`).
pub const POST: &str = "gated-deploy-post";

/// After a cancellation the runner gives all that still has to run five minutes together, and ends it 15 s before they are over
/// (actions/runner `JobDispatcher.cs`).
const POST_TIME: Duration = Duration::from_secs(180);

/// What is left to do after the main step.
enum Post {
    /// Nothing, as the text says.
    Nothing(String),
    Finish(Interrupted),
}

/// Reads the state of the main step, where this is its post step. An absent value means that its change did not begin: each is written before the
/// server is changed.
fn post(environment: &Environment, args: &[OsString]) -> Option<Post> {
    let name = args.first().map(std::path::Path::new)?.file_name()?;
    if name != POST {
        return None;
    }
    let state = |name: &str| environment.text(&format!("STATE_{name}"));
    let nothing = |why: &str| Some(Post::Nothing(format!("gated-deploy: no recovery needed: {why}")));
    let stage = environment.text("INPUT_STAGE").and_then(|text| text.parse::<Stage>().ok());
    if stage.is_some_and(|stage| !stage.can_leave_something()) {
        return nothing("this stage changes nothing on a server");
    }
    match state(state::PHASE) {
        None => nothing("the step ended before it changed anything"),
        Some(state::ENDED) => nothing("the step completed"),
        Some(phase) => Some(Post::Finish(Interrupted {
            phase: phase.to_owned(),
            lock: state(state::LOCK).map(str::to_owned),
            release: state(state::RELEASE).and_then(|name| name.parse().ok()),
        })),
    }
}
