//! What a step leaves in `GITHUB_OUTPUT`, `GITHUB_ENV` and `GITHUB_STATE`.
//!
//! Follows `EnvFileKeyValuePairs` in `src/Runner.Worker/FileCommandManager.cs` of actions/runner 2.336.0, on Linux.

/// The pairs of a file in order, and the message of the error that ended the parse, if one did.
///
/// The runner applies what stands before an error and then fails the step, so both are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Name and value; the last one of a name wins.
    pub(super) pairs: Vec<(String, String)>,
    /// The runner's message.
    pub(super) error: Option<String>,
}

/// Parses the bytes of a file.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let text = String::from_utf8_lossy(bytes);
    let mut rest = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(&text) };
    let mut parsed = Parsed::default();
    while let Some(line) = rest.next_line() {
        if line.text.is_empty() {
            continue;
        }
        match parse_entry(line.text, &mut rest) {
            Ok(pair) => parsed.pairs.push(pair),
            Err(message) => {
                parsed.error = Some(message);
                break;
            }
        }
    }
    parsed
}

fn parse_entry(line: &str, rest: &mut Lines<'_>) -> Result<(String, String), String> {
    match (line.find('='), line.find("<<")) {
        (Some(equals), heredoc) if heredoc.is_none_or(|heredoc| equals < heredoc) => {
            Ok((line[..equals].to_owned(), line[equals + 1..].to_owned()))
        }
        (_, Some(heredoc)) => {
            let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
            if name.is_empty() || delimiter.is_empty() {
                return Err(format!("Invalid format '{line}'. Name must not be empty and delimiter must not be empty"));
            }
            Ok((name.to_owned(), heredoc_value(delimiter, rest)?))
        }
        _ => Err(format!("Invalid format '{line}'")),
    }
}

fn heredoc_value(delimiter: &str, rest: &mut Lines<'_>) -> Result<String, String> {
    let mut value: Vec<&str> = Vec::new();
    loop {
        match rest.next_line() {
            None => {
                return Err(format!("Invalid value. Matching delimiter not found '{delimiter}'"));
            }
            Some(line) if line.text == delimiter => return Ok(value.join("\n")),
            Some(line) if !line.ended => {
                return Err("Invalid value. EOF marker missing new line.".to_owned());
            }
            Some(line) => value.push(line.text),
        }
    }
}

/// Lines that end at `\n` alone: a `\r` belongs to the value.
struct Lines<'a> {
    rest: &'a str,
}

struct Line<'a> {
    text: &'a str,
    /// Whether a newline followed, as opposed to the end of the file.
    ended: bool,
}

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (text, rest, ended) = match self.rest.split_once('\n') {
            Some((text, rest)) => (text, rest, true),
            None => (self.rest, "", false),
        };
        self.rest = rest;
        Some(Line { text, ended })
    }
}
