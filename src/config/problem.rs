//! Problems of inputs and policy file, with the correction.

use std::fmt;

use crate::{
    domain::{Failure, Secret},
    errors::general,
};

/// A line of a file in the workspace, as an annotation wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Relative to the workspace.
    pub file: String,
    /// Counted from 1; `None` when it is about the whole file.
    pub line: Option<usize>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The input, variable, key or file that is wrong.
    pub input: String,
    /// What was given, as it was; `None` for secrets and where nothing was.
    pub given: Option<String>,
    pub problem: String,
    /// What would be right.
    pub right: String,
    /// Boxed, so that a result with a problem stays small.
    pub location: Option<Box<Location>>,
}

impl Problem {
    pub fn new(input: impl Into<String>, problem: impl Into<String>, right: impl Into<String>) -> Self {
        Self { input: input.into(), given: None, problem: problem.into(), right: right.into(), location: None }
    }

    #[must_use]
    pub fn given(mut self, text: &str) -> Self {
        self.given = Some(text.to_owned());
        self
    }

    #[must_use]
    pub fn at(mut self, location: Option<Location>) -> Self {
        self.location = location.map(Box::new);
        self
    }

    fn without(mut self, secrets: &[Secret]) -> Self {
        let redact = |text: &mut String| {
            for shown in secrets.iter().flat_map(Secret::mask_lines).filter(|line| line.len() >= SHORTEST_SECRET) {
                if text.contains(shown) {
                    *text = text.replace(shown, "***");
                }
            }
        };
        redact(&mut self.input);
        redact(&mut self.problem);
        redact(&mut self.right);
        // A private key in a wrong place is not among the known secrets; nothing else has these words in it.
        self.given = self.given.take().filter(|given| !given.contains("PRIVATE KEY"));
        self.given.iter_mut().for_each(redact);
        self
    }
}

/// Replacing every occurrence of a letter or two would wreck the text and hide nothing.
const SHORTEST_SECRET: usize = 4;

impl fmt::Display for Problem {
    /// `ssh-port: `70000` is not a port; right is 1 to 65535 (.github/gated-deploy.yml:12)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key of a policy file can be anything, several lines too.
        write!(f, "{}: ", shown(&self.input))?;
        if let Some(given) = &self.given {
            write!(f, "`{}` ", shown(given))?;
        }
        // So can a key that a library's error quotes.
        f.write_str(&plain(&self.problem))?;
        if !self.right.is_empty() {
            write!(f, "; {}", plain(&self.right))?;
        }
        if let Some(location) = &self.location {
            write!(f, " ({location})")?;
        }
        Ok(())
    }
}

/// A text cut to a length that one can read, without control characters and without the password of a URL.
fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let text = match text.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (user, rest))) if user.contains(':') => format!("{scheme}://***@{rest}"),
        _ => text.to_owned(),
    };
    let cut = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    plain(&text.chars().take(LONGEST).collect::<String>()) + cut
}

/// With control characters written out, so that it stays one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// Every problem, found in one run, before any connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `secrets` are taken out of every text: a key pasted into the wrong input must not be shown either (F40).
    pub fn new(problems: impl IntoIterator<Item = Problem>, secrets: &[Secret]) -> Self {
        Self(problems.into_iter().map(|problem| problem.without(secrets)).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The failure that ends the run: exit code 2, one detail a problem.
    pub fn failure(&self) -> Failure {
        match self.0.as_slice() {
            [one] => general::input_invalid(one),
            many => general::inputs_invalid(many.iter().map(Problem::to_string)),
        }
    }
}
