//! Files that readers write.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::report::render::log::Log;

/// Appends one entry to a file that the runner reads (`GITHUB_OUTPUT`, `GITHUB_STATE`).
pub(crate) fn append_command(path: &Path, key: &str, value: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(entry(key, value)?.as_bytes())
}

/// One entry of the file, in the form that no value can break out of (packages/core/src/file-command.ts in actions/toolkit):
/// the delimiter is random, and an entry whose value contains it is refused.
pub(crate) fn entry(key: &str, value: &str) -> io::Result<String> {
    let delimiter = format!("ghadelimiter_{}", Uuid::new_v4());
    if value.contains(&delimiter) {
        return Err(io::Error::other(format!("the value of `{key}` contains the delimiter {delimiter}")));
    }
    Ok(format!("{key}<<{delimiter}\n{value}\n{delimiter}\n"))
}

/// Says once that a file cannot be written, and lets the run go on.
pub(crate) struct Complaint {
    /// What the file is to a reader: "the job summary".
    what: &'static str,
    log: Log,
    made: bool,
}

impl Complaint {
    pub(crate) fn new(what: &'static str, log: Log) -> Self {
        Self { what, log, made: false }
    }

    /// The value, or `None` and a warning for the first failure.
    pub(crate) fn unless_ok<T>(&mut self, path: &Path, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if !self.made {
                    self.made = true;
                    let text =
                        format!("writing {} to {}: {error}\nThe run goes on without it.", self.what, path.display());
                    self.log.warning(&format!("No access to {}", self.what), &text);
                }
                None
            }
        }
    }
}

/// The end of a file, from where it ended when we came: rewritten as often as need be, with what stood before left alone.
pub(crate) struct OwnPart {
    path: PathBuf,
    complaint: Complaint,
    open: Option<Open>,
}

struct Open {
    file: File,
    from: u64,
}

impl OwnPart {
    pub(crate) fn new(path: PathBuf, what: &'static str, log: Log) -> Self {
        Self { path, complaint: Complaint::new(what, log), open: None }
    }

    pub(crate) fn write(&mut self, text: &str) {
        let result = self.try_write(text);
        self.complaint.unless_ok(&self.path, result);
    }

    fn try_write(&mut self, text: &str) -> io::Result<()> {
        if self.open.is_none() {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
            let from = file.metadata()?.len();
            self.open = Some(Open { file, from });
        }
        let Some(Open { file, from }) = &self.open else { return Ok(()) };
        // Written over before it is shortened: a run that is killed in between leaves a summary, not an empty file.
        file.write_all_at(text.as_bytes(), *from)?;
        file.set_len(*from + text.len() as u64)
    }
}
