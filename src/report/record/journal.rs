//! Every event of the run, as JSON lines: what a story can be told from again.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::file::Complaint;
use crate::{
    domain::{ReleaseName, record::key},
    engine::event::{Body, Event, Reader},
    report::{ReportDir, render::log::Log},
};

/// Writes `<stage>-events.jsonl` in the report folder, and calls it `<release>-events.jsonl` once the release has a name.
pub struct Journal {
    dir: Option<PathBuf>,
    log: Log,
    complaint: Complaint,
    open: Option<(File, PathBuf)>,
    /// Lines that are not written yet: the inputs warn before the run begins and the file has a name.
    unwritten: String,
}

impl Journal {
    pub fn new(reports: Option<ReportDir>, log: Log) -> Self {
        let complaint = Complaint::new("the journal", log.clone());
        Self { dir: reports.map(|reports| reports.path), log, complaint, open: None, unwritten: String::new() }
    }
}

impl Reader for Journal {
    fn read(&mut self, event: &Event) {
        let Some(dir) = self.dir.clone() else { return };
        let result = self.write(&dir, event);
        if self.complaint.unless_ok(&dir, result).is_none() {
            self.dir = None;
        }
    }
}

impl Journal {
    fn write(&mut self, dir: &Path, event: &Event) -> io::Result<()> {
        if let Body::RunStarted { stage, .. } = &event.body {
            fs::create_dir_all(dir)?;
            let path = dir.join(file_name(stage));
            self.open = Some((File::create(&path)?, path));
        }
        let event_json = serde_json::to_value(self.log.redactor().event(event))?;
        self.unwritten.push_str(&format!("{}\n", self.log.redactor().value(&event_json)));
        let Some((file, _)) = &mut self.open else { return Ok(()) };
        file.write_all(std::mem::take(&mut self.unwritten).as_bytes())?;
        match &event.body {
            Body::Recorded { key, value, .. } if key == key::RELEASE => {
                match serde_json::from_value::<ReleaseName>(value.clone()) {
                    Ok(release) => self.rename(dir, release.as_str()),
                    Err(_) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn rename(&mut self, dir: &Path, release: &str) -> io::Result<()> {
        let Some((_, path)) = &mut self.open else { return Ok(()) };
        let named = dir.join(file_name(release));
        fs::rename(&*path, &named)?;
        *path = named;
        Ok(())
    }
}

pub(crate) fn file_name(subject: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    format!("{}-events.jsonl", subject.chars().map(plain).collect::<String>())
}
