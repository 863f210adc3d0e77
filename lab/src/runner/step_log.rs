//! What the runner makes of a step's output, line by line: annotations, groups, masks and the log that people read.
//!
//! Follows `OutputManager.cs`, `ActionCommandManager.cs` and `ExecutionContext.AddIssue` of actions/runner 2.336.0.

use std::collections::BTreeMap;

use super::commands::{self, Command};
use super::masker::Masker;
use super::paths::PathMap;

/// The runner keeps ten annotations of each level per step and drops the rest (`_maxCountPerIssueType`).
pub const ANNOTATIONS_PER_LEVEL: usize = 10;
/// Longer annotation messages are cut (`_maxIssueMessageLength`, in characters).
pub const ANNOTATION_LENGTH: usize = 4096;
/// A stop token longer than this is registered as a secret.
const UNMASKED_TOKEN_LENGTH: usize = 6;

/// How bad an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `::error::`
    Error,
    /// `::warning::`
    Warning,
    /// `::notice::`
    Notice,
}

impl Level {
    fn tag(self) -> &'static str {
        match self {
            Level::Error => "##[error]",
            Level::Warning => "##[warning]",
            Level::Notice => "##[notice]",
        }
    }
}

/// An annotation as shown on the run's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    /// How bad it is.
    pub level: Level,
    /// The `title` property.
    pub title: Option<String>,
    /// The `file` property, relative to the workspace where it lies in it.
    pub file: Option<String>,
    /// The `line` property, or `endLine` where only that was given.
    pub line: Option<u32>,
    /// The masked message, cut to [`ANNOTATION_LENGTH`].
    pub message: String,
}

/// A foldable part of the log. Groups do not nest: a new one ends the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The masked title.
    pub title: String,
    /// The masked lines inside.
    pub lines: Vec<String>,
    /// Whether `::endgroup::` came before the next group or the end of the step.
    pub closed: bool,
}

/// Why a command fails the step.
struct CommandError(String);

/// The state of one step's log.
#[derive(Debug, Default)]
pub(super) struct StepLog {
    pub(super) masker: Masker,
    pub(super) annotations: Vec<Annotation>,
    pub(super) dropped_annotations: usize,
    pub(super) groups: Vec<Group>,
    pub(super) masks: Vec<String>,
    pub(super) outputs: BTreeMap<String, String>,
    pub(super) state: BTreeMap<String, String>,
    pub(super) lines: Vec<String>,
    /// Set by a command that could not be carried out; fails the step whatever its exit code.
    pub(super) command_failed: bool,
    debug: bool,
    echo: bool,
    stop_token: Option<String>,
    paths: PathMap,
}

impl StepLog {
    pub(super) fn new(masker: Masker, paths: PathMap, debug: bool) -> StepLog {
        // With step debugging on, the runner echoes commands from the start.
        StepLog { masker, paths, debug, echo: debug, ..StepLog::default() }
    }

    /// Takes one line of the step's output, without its line end.
    pub(super) fn take(&mut self, line: &str) {
        let Some(command) = Command::parse(line, self.stop_token.as_deref()) else {
            return self.write_output(line);
        };
        if let Some(token) = self.stop_token.as_deref() {
            if command.name.eq_ignore_ascii_case(token) {
                self.stop_token = None;
            }
            return self.write_output(line);
        }
        let name = command.name.to_ascii_lowercase();
        let omit_echo = matches!(name.as_str(), "add-mask" | "debug" | "error" | "warning" | "notice");
        if self.echo && !omit_echo {
            self.write_output(line);
        }
        if let Err(CommandError(reason)) = self.carry_out(&name, &command, line) {
            let shown = if omit_echo { name.as_str() } else { line };
            self.fail(&format!("Unable to process command '{shown}' successfully."), &reason);
        }
    }

    /// Adds an annotation of the runner's own.
    pub(super) fn annotate(&mut self, level: Level, message: &str) {
        self.add_annotation(Annotation { level, title: None, file: None, line: None, message: message.to_owned() });
    }

    /// Two error annotations and a failed step: what the runner does when a command cannot be carried out.
    pub(super) fn fail(&mut self, what: &str, reason: &str) {
        self.annotate(Level::Error, what);
        self.annotate(Level::Error, reason);
        self.command_failed = true;
    }

    fn carry_out(&mut self, name: &str, command: &Command, line: &str) -> Result<(), CommandError> {
        match name {
            "error" => self.add_issue(Level::Error, command),
            "warning" => self.add_issue(Level::Warning, command),
            "notice" => self.add_issue(Level::Notice, command),
            "debug" if self.debug => self.write_output(&format!("##[debug]{}", command.data)),
            "debug" => {}
            "add-mask" => self.add_mask(&command.data),
            "group" => self.open_group(&command.data),
            "endgroup" => self.close_group(),
            "echo" => self.echo = echo_switch(&command.data)?,
            "stop-commands" => self.stop(&command.data, line)?,
            "set-output" => {
                let name = required_name(command)?;
                self.warn_deprecated("set-output");
                self.outputs.insert(name, command.data.clone());
            }
            "save-state" => {
                let name = required_name(command)?;
                self.warn_deprecated("save-state");
                self.state.insert(name, command.data.clone());
            }
            "set-env" | "add-path" => {
                return Err(CommandError(format!(
                    "The `{name}` command is disabled. Please upgrade to using Environment Files or opt into unsecure command execution by setting the `ACTIONS_ALLOW_UNSECURE_COMMANDS` environment variable to `true`."
                )));
            }
            other => {
                return Err(CommandError(format!("problem matchers (`{other}`) are not part of this emulation")));
            }
        }
        Ok(())
    }

    fn add_issue(&mut self, level: Level, command: &Command) {
        let property = |name| command.property(name).map(str::to_owned);
        let number = |name| command.property(name).and_then(|text| text.trim().parse::<u32>().ok());
        let line = match (number("line"), number("endLine")) {
            (Some(line), Some(end)) if end < line => None,
            (line, end) => line.or(end),
        };
        self.add_annotation(Annotation {
            level,
            title: property("title"),
            file: command.property("file").map(|file| self.paths.relative_to_workspace(file)),
            line,
            message: command.data.clone(),
        });
    }

    fn add_annotation(&mut self, mut annotation: Annotation) {
        annotation.message = self.masker.mask(&annotation.message).chars().take(ANNOTATION_LENGTH).collect();
        annotation.title = annotation.title.map(|title| self.masker.mask(&title));
        if !annotation.message.is_empty() {
            self.write_output(&format!("{}{}", annotation.level.tag(), annotation.message));
        }
        let same_level = self.annotations.iter().filter(|known| known.level == annotation.level).count();
        if same_level < ANNOTATIONS_PER_LEVEL {
            self.annotations.push(annotation);
        } else {
            self.dropped_annotations += 1;
        }
    }

    fn add_mask(&mut self, value: &str) {
        if value.trim().is_empty() {
            return self.annotate(Level::Warning, "Can't add secret mask for empty string in ##[add-mask] command.");
        }
        if self.echo {
            self.write_output("::add-mask::***");
        }
        self.masker.add(value);
        self.masks.push(value.to_owned());
    }

    fn open_group(&mut self, title: &str) {
        self.write_line(format!("##[group]{title}"));
        self.groups.push(Group { title: self.masker.mask(title), lines: Vec::new(), closed: false });
    }

    fn close_group(&mut self) {
        if let Some(open) = self.groups.last_mut() {
            open.closed = true;
        }
        self.write_line("##[endgroup]".to_owned());
    }

    fn stop(&mut self, token: &str, line: &str) -> Result<(), CommandError> {
        if token.is_empty() || commands::is_registered(token) || token.eq_ignore_ascii_case("pause-logging") {
            return Err(CommandError(
                "You cannot use a endToken that is an empty string, the string 'pause-logging', or another workflow command.".to_owned(),
            ));
        }
        if token.chars().count() > UNMASKED_TOKEN_LENGTH {
            self.masker.add_value(token);
        }
        self.stop_token = Some(token.to_owned());
        self.write_output(line);
        Ok(())
    }

    fn warn_deprecated(&mut self, name: &str) {
        self.annotate(
            Level::Warning,
            &format!("The `{name}` command is deprecated and will be disabled soon. Please upgrade to using Environment Files."),
        );
    }

    /// Writes a line to the masked log and to the group that is open.
    fn write_output(&mut self, line: &str) {
        let masked = self.masker.mask(line);
        if let Some(group) = self.groups.last_mut().filter(|group| !group.closed) {
            group.lines.push(masked.clone());
        }
        self.lines.push(masked);
    }

    fn write_line(&mut self, line: String) {
        let masked = self.masker.mask(&line);
        self.lines.push(masked);
    }
}

fn required_name(command: &Command) -> Result<String, CommandError> {
    command
        .property("name")
        .map(str::to_owned)
        .ok_or_else(|| CommandError(format!("Required field 'name' is missing in ##[{}] command.", command.name)))
}

fn echo_switch(data: &str) -> Result<bool, CommandError> {
    match data.trim().to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(CommandError(format!(
            "Invalid echo command value. Possible values can be: 'on', 'off'. Current value is: '{data}'."
        ))),
    }
}
