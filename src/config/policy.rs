//! The policy file: what holds for every run, in the repository, where it is reviewed.
//!
//! Its keys are the names of the inputs, once for all environments and, under `environments`, for one of them; the
//! environment's section wins. A few keys are only there ([`table::POLICY_KEYS`]).

use std::{collections::BTreeMap, fs, io::Read as _, path::Path};

use serde_yaml::{Mapping, Value};

use super::{
    local,
    problem::{Location, Problem},
    table::{self, APPROVAL_PHRASE, ENVIRONMENTS, Input, Kind},
};
use crate::domain::{EnvironmentName, Secret, Sha256Digest, hook};

/// Where the file is when `config` does not say.
pub const DEFAULT_PATH: &str = ".github/gated-deploy.yml";
/// Bytes. A policy is a page of text; more is a mistake.
const LARGEST: u64 = 256 * 1024;

/// One key's value, as the text that an input would have, and where it stands.
#[derive(Debug, Clone)]
pub struct Entry {
    pub text: String,
    pub location: Location,
}

type Section = BTreeMap<&'static str, Entry>;

#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Its name relative to the workspace and the SHA-256 of its bytes, where there is a file.
    pub file: Option<(String, Sha256Digest)>,
    top: Section,
    environments: BTreeMap<String, Section>,
}

/// A policy as far as it could be read, and everything that is wrong with the file.
#[derive(Debug, Default)]
pub struct Reading {
    pub policy: Policy,
    /// There is a file, and what it says is not known.
    pub unread: bool,
    pub problems: Vec<Problem>,
    /// Values under the names of secrets. They are refused, and must not be shown again either.
    pub leaked: Vec<Secret>,
}

impl Policy {
    /// What the file says for an environment: its section first, then the top level.
    pub fn entry(&self, environment: Option<&str>, key: &str) -> Option<&Entry> {
        let section = environment.and_then(|name| self.environments.get(name));
        section.and_then(|section| section.get(key)).or_else(|| self.top.get(key))
    }

    /// Whether an environment's own section has one of these keys.
    pub fn section_has(&self, environment: &str, keys: &[&str]) -> bool {
        self.environments.get(environment).is_some_and(|section| keys.iter().any(|key| section.contains_key(key)))
    }

    /// Everything that stands in the file, for every environment.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Input, &Entry)> {
        let sections = std::iter::once(&self.top).chain(self.environments.values());
        sections.flatten().filter_map(|(name, entry)| Some((table::find_policy_key(name)?, entry)))
    }

    /// The environments that have a section.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.environments.keys().map(String::as_str)
    }
}

/// Reads the file at `config`, or the default one if it is there.
pub fn read(workspace: &Path, config: Option<&str>) -> Reading {
    match load(workspace, config) {
        Ok(None) => Reading::default(),
        Ok(Some((file, text))) => parse(&file, &text),
        Err(problem) => Reading { unread: true, problems: vec![problem], ..Reading::default() },
    }
}

/// The file's name relative to the workspace, and its text; `None` if there is none and none was named.
fn load(workspace: &Path, config: Option<&str>) -> Result<Option<(String, String)>, Problem> {
    let written = config.unwrap_or(DEFAULT_PATH);
    let problem = |problem: String, right: &str| Problem::new("config", problem, right).given(written);
    let path = local::resolve(workspace, written).map_err(|wrong| problem(wrong.problem, &wrong.right))?;
    let file = local::show(workspace, &path);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.is_none() => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let right = "name a file of the workspace, and run actions/checkout before this step";
            return Err(problem("does not exist".to_owned(), right));
        }
        Err(error) => return Err(problem(format!("cannot be read: {error}"), "make it readable")),
    };
    if !metadata.is_file() {
        return Err(problem("is not a file".to_owned(), "name a YAML file"));
    }
    let too_large =
        || problem(format!("is larger than {} KiB", LARGEST / 1024), "check that `config` names the policy file");
    let mut bytes = Vec::new();
    fs::File::open(&path)
        .and_then(|open| open.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| problem(format!("cannot be read: {error}"), "make it readable"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    let text = String::from_utf8(bytes).map_err(|_| problem("is not UTF-8 text".to_owned(), "save it as UTF-8"))?;
    Ok(Some((file, text)))
}

/// Reads the text of a policy; `file` is for locations.
pub fn parse(file: &str, text: &str) -> Reading {
    let mut reader = Reader { file, text, reading: Reading::default() };
    reader.reading.policy.file = Some((file.to_owned(), Sha256Digest::of(text)));
    match serde_yaml::from_str::<Value>(text) {
        Ok(Value::Null) => {}
        Ok(Value::Mapping(mapping)) => reader.top(&mapping),
        Ok(_) => {
            reader.reading.unread = true;
            reader.problem(
                &[],
                "config",
                "is not a mapping",
                "write `name: value` lines, such as `ssh-host: staging.example.com`",
            );
        }
        Err(error) => reader.broken(&error),
    }
    reader.reading
}

struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    reading: Reading,
}

impl Reader<'_> {
    fn top(&mut self, mapping: &Mapping) {
        for (key, value) in mapping {
            match key.as_str() {
                Some(ENVIRONMENTS) => self.environments(value),
                Some(APPROVAL_PHRASE) => {
                    let right = format!(
                        "move it to {ENVIRONMENTS}.staging.{APPROVAL_PHRASE}, so that no phrase approves two environments"
                    );
                    self.problem(
                        &[APPROVAL_PHRASE],
                        APPROVAL_PHRASE,
                        "is allowed only in the section of an environment",
                        right,
                    );
                }
                _ => {
                    if let Some((name, entry)) = self.entry(&[], key, value) {
                        self.reading.policy.top.insert(name, entry);
                    }
                }
            }
        }
    }

    fn environments(&mut self, value: &Value) {
        let right = "write a section of the same keys for each, such as `staging:`";
        let Value::Mapping(sections) = value else {
            if !value.is_null() {
                self.problem(&[ENVIRONMENTS], ENVIRONMENTS, "is not a mapping", right);
            }
            return;
        };
        for (name, section) in sections {
            let name = name.as_str().unwrap_or_default();
            if name.parse::<EnvironmentName>().is_err() {
                let right = "write lower-case letters, digits and hyphens, such as `staging`";
                self.problem(&[ENVIRONMENTS, name], name, "is not an environment's name", right);
                continue;
            }
            let mut entries = Section::new();
            match section {
                Value::Null => {}
                Value::Mapping(section) => {
                    for (key, value) in section {
                        entries.extend(self.entry(&[ENVIRONMENTS, name], key, value));
                    }
                }
                _ => self.problem(&[ENVIRONMENTS, name], name, "is not a mapping", right),
            }
            self.reading.policy.environments.insert(name.to_owned(), entries);
        }
    }

    /// One key with its value; `None` if nothing stands there, or if it is wrong and was reported.
    fn entry(&mut self, parents: &[&str], key: &Value, value: &Value) -> Option<(&'static str, Entry)> {
        let Some(key) = key.as_str() else {
            self.problem(parents, &show(key), "is not the name of an input", "write names as in action.yml");
            return None;
        };
        let path: Vec<&str> = parents.iter().copied().chain([key]).collect();
        let Some(input) = table::find_policy_key(key) else {
            self.problem(&path, key, "is not known", unknown(key));
            return None;
        };
        if input.secret {
            self.reading.leaked.extend(value.as_str().map(Secret::new));
            let right = format!(
                "pass it as `{key}: ${{{{ secrets.NAME }}}}` in the workflow, and replace the secret, because it was readable in a file"
            );
            self.problem(&path, key, "is a secret and is not allowed in the policy file", right);
            return None;
        }
        if !input.policy {
            self.problem(
                &path,
                key,
                "belongs to one run and is not allowed in the policy file",
                "give it as an input of the step",
            );
            return None;
        }
        let location = self.location(&path);
        if input.kind == Kind::Hooks {
            self.reading.leaked.extend(texts(value).filter(|text| hook::looks_secret(text)).map(Secret::new));
        }
        match text_of(input, value) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some((input.name, Entry { text, location })),
            Err((problem, right)) => {
                let problem = Problem::new(key, problem, right).given(&show(value)).at(Some(location));
                self.reading.problems.push(problem);
                None
            }
        }
    }

    fn problem(&mut self, path: &[&str], key: &str, problem: &str, right: impl Into<String>) {
        let location = self.location(path);
        self.reading.problems.push(Problem::new(key, problem, right).at(Some(location)));
    }

    /// A file that is no YAML. The library points at the start of a mapping with a key that stands twice, so we look for it.
    fn broken(&mut self, error: &serde_yaml::Error) {
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default().to_owned();
        let (line, problem, right) = match duplicate(self.text) {
            Some((line, key)) if text.contains("duplicate") => {
                (Some(line), format!("has `{key}` twice"), "keep one of them")
            }
            _ if text.contains("more than one document") => {
                (None, "has several documents".to_owned(), "keep one, without `---` between")
            }
            _ if text.contains("limit exceeded") => (
                error.location().map(|at| at.line()),
                format!("is too deep or repeats too much: {text}"),
                "write it without anchors",
            ),
            _ => (
                error.location().map(|at| at.line()),
                format!("is not YAML that can be read: {text}"),
                "indent with blanks, and quote texts with `: ` or `#` in them",
            ),
        };
        self.reading.unread = true;
        let location = Location { file: self.file.to_owned(), line };
        self.reading.problems.push(Problem::new("config", problem, right).at(Some(location)));
    }

    fn location(&self, path: &[&str]) -> Location {
        Location { file: self.file.to_owned(), line: line_of(self.text, path) }
    }
}

fn unknown(key: &str) -> String {
    let inputs = table::INPUTS.iter().filter(|input| input.policy);
    let names = inputs.chain(table::POLICY_KEYS).map(|input| input.name).chain([ENVIRONMENTS]);
    match table::nearest(key, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "docs/inputs.md lists the keys".to_owned(),
    }
}

/// The value as the text of an input. Null is the same as nothing.
fn text_of(input: &Input, value: &Value) -> Result<String, (String, String)> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Bool(truth) if input.kind == Kind::Boolean => Ok(truth.to_string()),
        Value::Number(number) if number.is_u64() && takes_numbers(input.kind) => Ok(number.to_string()),
        Value::Sequence(items) if input.kind == Kind::UrlPaths => {
            let entries = items.iter().map(|item| match item {
                Value::String(line) if !line.trim().is_empty() && !line.contains('\n') => Ok(line.trim().to_owned()),
                Value::Mapping(_) => one_line(item),
                _ => Err((
                    "has an entry that is neither one line of text nor a mapping".to_owned(),
                    "quote it".to_owned(),
                )),
            });
            Ok(entries.collect::<Result<Vec<_>, _>>()?.join("\n"))
        }
        Value::Mapping(_) if matches!(input.kind, Kind::UrlPaths | Kind::Hooks) => one_line(value),
        Value::Sequence(items) if input.kind.is_list() => {
            let lines: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            match lines {
                Some(lines) if lines.iter().all(|line| !line.trim().is_empty() && !line.contains('\n')) => {
                    Ok(lines.join("\n"))
                }
                _ => Err(("has an entry that is not one line of text".to_owned(), "quote it".to_owned())),
            }
        }
        Value::Sequence(_) if input.kind == Kind::Hooks => {
            Err(("is a list".to_owned(), "write it below a moment, such as `after-switch:`".to_owned()))
        }
        Value::Sequence(_) => Err(("is a list".to_owned(), "write one value".to_owned())),
        // YAML reads 8.10 as 8.1: what was meant is lost unless it is quoted.
        Value::Number(_) | Value::Bool(_) => Err(("is not text here".to_owned(), "quote it".to_owned())),
        Value::Mapping(_) => Err(("is a mapping".to_owned(), "write one value".to_owned())),
        Value::Tagged(tagged) => {
            Err((format!("has the YAML tag `{}`", tagged.tag), "write the value without the tag".to_owned()))
        }
    }
}

/// Every text in a value, at whatever depth, and its words.
fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str()).chain(text.split_whitespace())),
        Value::Sequence(items) => Box::new(items.iter().flat_map(texts)),
        Value::Mapping(entries) => Box::new(entries.values().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A mapping as the line of text that an input would have.
fn one_line(mapping: &Value) -> Result<String, (String, String)> {
    serde_json::to_string(mapping)
        .map_err(|_| ("has a mapping with a key that is no text".to_owned(), "write the names of its keys".to_owned()))
}

fn takes_numbers(kind: Kind) -> bool {
    matches!(kind, Kind::Count { .. } | Kind::Duration { .. } | Kind::Grace { .. })
}

fn show(value: &Value) -> String {
    serde_yaml::to_string(value).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Indentation and key of a line such as `  ssh-port: 22`.
fn key_of(line: &str) -> Option<(usize, &str)> {
    let trimmed = line.trim_start();
    if trimmed.starts_with(['#', '-']) {
        return None;
    }
    let (key, rest) = trimmed.split_once(':')?;
    let key = key.trim_end();
    let key = ['"', '\''].iter().find_map(|quote| key.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(key);
    (rest.is_empty() || rest.starts_with([' ', '\t'])).then_some((line.len() - trimmed.len(), key))
}

/// The line, counted from 1, on which the key at `path` stands, or the nearest of its parents.
fn line_of(text: &str, path: &[&str]) -> Option<usize> {
    let keys: Vec<(usize, (usize, &str))> =
        text.lines().enumerate().filter_map(|(line, text)| Some((line + 1, key_of(text)?))).collect();
    let mut found: Option<usize> = None;
    let mut level = keys.as_slice();
    for wanted in path {
        let Some(&(_, (indent, _))) = level.first() else { break };
        let Some(at) = level.iter().position(|&(_, (depth, key))| depth == indent && key == *wanted) else { break };
        found = Some(level[at].0);
        let below = &level[at + 1..];
        let end = below.iter().position(|&(_, (depth, _))| depth <= indent).unwrap_or(below.len());
        level = &below[..end];
    }
    found
}

/// The second line of the first key that stands twice in one mapping.
fn duplicate(text: &str) -> Option<(usize, &str)> {
    let mut levels: Vec<(usize, Vec<&str>)> = Vec::new();
    for (line, (indent, key)) in text.lines().enumerate().filter_map(|(line, text)| Some((line + 1, key_of(text)?))) {
        levels.retain(|(depth, _)| *depth <= indent);
        match levels.last_mut() {
            Some((depth, keys)) if *depth == indent => {
                if keys.contains(&key) {
                    return Some((line, key));
                }
                keys.push(key);
            }
            _ => levels.push((indent, vec![key])),
        }
    }
    None
}
