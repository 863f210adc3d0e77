//! `gated-deploy ledger verify`: the command line of a check that needs no stage.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command};

use super::flags::wrap;
use crate::domain::Sha256Digest;

/// The name of the sub-command.
pub const WORD: &str = "ledger";

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verify {
    /// `None` is standard input.
    pub file: Option<PathBuf>,
    /// What the last line must have.
    pub head: Option<Sha256Digest>,
}

pub fn command() -> Command {
    let about = "Checks the digest chain of a server's ledger and names the first line at which it breaks: a line was edited, removed, added or moved. The file is \
        BASE/.gated-deploy/ledger.jsonl on the server.";
    let example = "Over SSH:\n  ssh deploy@server cat /var/www/app/.gated-deploy/ledger.jsonl | gated-deploy ledger verify -\n\n\
        Exit codes:\n  0  the chain is valid\n  1  the chain is broken, or the head differs\n  2  the command line or the file cannot be read";
    let file = Arg::new("FILE").required(true).help("The ledger; `-` is standard input");
    let head = Arg::new("head").long("head").value_name("SHA256").help(wrap(
        "The expected digest of the last line: the output ledger-head of the last run. Without it, lines removed at the end are not detected.",
        88,
    ));
    let verify = Command::new("verify").about(wrap(about, 98)).after_help(example).arg(file).arg(head);
    let about = "Check the chain of a server's ledger: `gated-deploy ledger verify --help`";
    Command::new(WORD).about(about).subcommand_required(true).subcommand(verify)
}

/// What the words behind [`WORD`] ask for. `Err` is a text to print.
pub fn read(ledger: &ArgMatches) -> Result<Verify, String> {
    let verify = ledger.subcommand_matches("verify");
    let text = |name| verify.and_then(|verify| verify.get_one::<String>(name)).map(String::as_str);
    // Empty is no way to leave it out here: an output that was not written must not turn the check off.
    let head = text("head").map(str::parse).transpose();
    Ok(Verify {
        file: text("FILE").filter(|file| *file != "-").map(PathBuf::from),
        head: head.map_err(|error: String| format!("error: --head: {error}\n"))?,
    })
}
