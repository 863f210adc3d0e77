//! Workflow commands: the lines of a log that the runner acts upon.
//!
//! Follows `src/Runner.Common/ActionCommand.cs` of actions/runner 2.336.0: `TryParseV2` (`::name k=v::data`,
//! only at the start of a line) and then `TryParse` (`##[name k=v]data`, anywhere in a line).

use std::collections::BTreeMap;

/// The commands that the runner knows before a step adds its `stop-commands` token.
const REGISTERED: [&str; 15] = [
    "stop-commands",
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "warning",
];

/// How a command was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `::name key=value,key=value::data`
    V2,
    /// `##[name key=value;key=value]data`
    Legacy,
}

/// One parsed workflow command, unescaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Which of the two forms it had.
    pub(super) syntax: Syntax,
    /// The name as written; names are compared without regard to case.
    pub(super) name: String,
    /// The properties as written; empty ones are dropped by the runner.
    pub(super) properties: BTreeMap<String, String>,
    /// Everything after the header.
    pub(super) data: String,
}

impl Command {
    /// Parses a line, without its line end, the way the runner does. `stop_token` is the token of a
    /// `stop-commands` in force, which counts as a command name.
    pub(super) fn parse(line: &str, stop_token: Option<&str>) -> Option<Command> {
        parse_v2(line, stop_token).or_else(|| parse_legacy(line, stop_token))
    }

    /// The value of a property, whatever the case of its name.
    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Whether the runner takes `name` for a command of its own.
pub(super) fn is_registered(name: &str) -> bool {
    REGISTERED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn parse_v2(line: &str, stop_token: Option<&str>) -> Option<Command> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (header, data) = rest.split_once("::")?;
    let (name, properties) = split_header(header, stop_token)?;
    Some(Command {
        syntax: Syntax::V2,
        name: name.to_owned(),
        properties: parse_properties(properties.trim(), ',', &PROPERTY_ESCAPES),
        data: unescape(data, &DATA_ESCAPES),
    })
}

fn parse_legacy(line: &str, stop_token: Option<&str>) -> Option<Command> {
    let (_, rest) = line.split_once("##[")?;
    let (header, data) = rest.split_once(']')?;
    let (name, properties) = split_header(header, stop_token)?;
    Some(Command {
        syntax: Syntax::Legacy,
        name: name.to_owned(),
        properties: parse_properties(properties, ';', &LEGACY_ESCAPES),
        data: unescape(data, &LEGACY_ESCAPES),
    })
}

fn split_header<'a>(header: &'a str, stop_token: Option<&str>) -> Option<(&'a str, &'a str)> {
    let (name, properties) = header.split_once(' ').unwrap_or((header, ""));
    let known = is_registered(name) || stop_token.is_some_and(|token| token.eq_ignore_ascii_case(name));
    known.then_some((name, properties))
}

fn parse_properties(text: &str, separator: char, escapes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut properties: BTreeMap<String, String> = BTreeMap::new();
    for property in text.split(separator) {
        // .NET's Split with RemoveEmptyEntries swallows runs of `=` before and after the name.
        let Some((key, value)) = property.trim_start_matches('=').split_once('=') else {
            continue;
        };
        let value = value.trim_start_matches('=');
        if !value.is_empty() {
            properties.retain(|known, _| !known.eq_ignore_ascii_case(key));
            properties.insert(key.to_owned(), unescape(value, escapes));
        }
    }
    properties
}

const DATA_ESCAPES: [(&str, &str); 3] = [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];
const PROPERTY_ESCAPES: [(&str, &str); 5] = [("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")];
const LEGACY_ESCAPES: [(&str, &str); 5] = [("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%")];

/// Undoes the escapes one after the other, as the runner does; `%25` comes last so that `%250A` stays `%0A`.
fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}
