//! From the runner's environment, the command line and the policy file to typed inputs. Only this room reads the environment.
//!
//! [`read`] is the door. It connects to nothing, prints nothing, and finds everything that is wrong in one go.

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

use std::ffi::OsString;

pub use environment::Environment;
pub use problem::{Location, Problem, Problems};
pub use typed::{Common, Request, Warning};

/// What somebody asked of the program.
#[derive(Debug)]
pub enum Asked {
    /// `--help` or `--version`: print this, end with 0.
    Print(String),
    /// `ledger verify`, or why its command line cannot be read.
    Ledger(Result<ledger::Verify, String>),
    /// `report show`, or why its command line cannot be read.
    Report(Result<report::Show, String>),
    Run(Box<Inputs>),
}

/// A run: what it needs to report, and what it shall do, if that could be read.
#[derive(Debug)]
pub struct Inputs {
    pub common: Common,
    /// With what is odd about it and does not stop it.
    pub request: Result<(Request, Vec<Warning>), Problems>,
}

/// Reads everything that was given. `args` begins with the program's name.
///
/// Print [`Common::mask_commands`] before anything else, whether or not the request could be read.
pub fn read(environment: &Environment, args: impl IntoIterator<Item = OsString>) -> Asked {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| word == ledger::WORD) {
        return match ledger::read(&args) {
            Err((text, true)) => Asked::Print(text),
            Err((text, false)) => Asked::Ledger(Err(text)),
            Ok(verify) => Asked::Ledger(Ok(verify)),
        };
    }
    if args.get(1).is_some_and(|word| word == report::WORD) {
        return match report::read(&args) {
            Err((text, true)) => Asked::Print(text),
            Err((text, false)) => Asked::Report(Err(text)),
            Ok(show) => Asked::Report(Ok(show)),
        };
    }
    let flags = match flags::read(args, environment) {
        flags::Line::Print(text) => return Asked::Print(text),
        flags::Line::Run(flags) => flags,
    };
    let raw = raw::Raw::collect(environment, flags);
    let mut common = parse::common(&raw);
    let request = parse::parse(&raw, &mut common);
    Asked::Run(Box::new(Inputs { common, request }))
}
