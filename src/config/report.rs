//! `gated-deploy report show`: the command line of a look at a stored report.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use super::flags::wrap;

/// The name of the sub-command.
pub const WORD: &str = "report";

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// `None` is standard input.
    pub file: Option<PathBuf>,
}

pub fn command() -> Command {
    let about = "Shows a stored report as text: how the run ended, what failed and what to do, what stays, the bundle's digest at each \
        place, criteria and next steps. It reads the JSON of this version and of those before it, and connects to nothing.";
    let example = "The newest one of this workspace:\n  gated-deploy report show \"$(ls -t .gated-deploy/reports/*.json | head -n 1)\"\n\n\
        Exit codes:\n  0  the report is shown, however its run ended\n  2  the command line or the file cannot be read, or it is of another version";
    let file = Arg::new("FILE").required(true).help("The output report-json of a run; `-` is standard input");
    let show = Command::new("show").about(wrap(about, 98)).after_help(example).arg(file);
    let about = "Read the JSON report of an earlier run: `gated-deploy report show --help`";
    Command::new(WORD).about(about).subcommand_required(true).subcommand(show)
}

/// What the words behind [`WORD`] ask for.
pub fn read(report: &ArgMatches) -> Show {
    let file = report.subcommand_matches("show").and_then(|show| show.get_one::<String>("FILE"));
    Show { file: file.filter(|file| *file != "-").map(PathBuf::from) }
}
