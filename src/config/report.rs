//! `gated-deploy report show`: the command line of a look at a stored report.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, Command, error::ErrorKind};

use super::flags::wrap;

/// The first word of this command line.
pub const WORD: &str = "report";

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// `None` is standard input.
    pub file: Option<PathBuf>,
}

/// Reads what follows the program's name. `Err` is a text to print, and whether it was asked for.
pub fn read(args: &[OsString]) -> Result<Show, (String, bool)> {
    let about = "Shows a stored report as text: how the run ended, what failed and what to do, what stays, the bundle's digest at each \
        place, criteria and next steps. It reads the JSON of this version and of those before it, and connects to nothing.";
    let example = "The newest one of this workspace:\n  gated-deploy report show \"$(ls -t .gated-deploy/reports/*.json | head -n 1)\"\n\n\
        Exit codes:\n  0  the report is shown, however its run ended\n  2  the command line or the file cannot be read, or it is of another version";
    let file = Arg::new("FILE").required(true).help("The output report-json of a run; `-` is standard input");
    let show = Command::new("show").about(wrap(about, 98)).after_help(example).arg(file);
    let report = Command::new(WORD).about("The report that a run left").subcommand_required(true).subcommand(show);
    let command = Command::new("gated-deploy").subcommand_required(true).subcommand(report);
    let matches = command
        .try_get_matches_from(args)
        .map_err(|error| (error.to_string(), matches!(error.kind(), ErrorKind::DisplayHelp)))?;
    let show = matches.subcommand_matches(WORD).and_then(|report| report.subcommand_matches("show"));
    let file = show.and_then(|show| show.get_one::<String>("FILE"));
    Ok(Show { file: file.filter(|file| *file != "-").map(PathBuf::from) })
}
