//! Finds secrets where people or other programs could read them.

use std::fmt;

use super::finished::Finished;
use super::masker::{base64_shifted, json_escape, lines_of, uri_escape};

/// Lines of a secret that are shorter say too little to be looked for, in bytes.
const SHORTEST_LINE: usize = 8;

/// A place where a seeded secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// `log`, `raw log`, `output url`, `state phase`, `summary`, ...
    pub place: String,
    /// `value`, `base64`, `JSON` or `URI`.
    pub form: &'static str,
    /// The text around it: one line.
    pub text: String,
}

impl fmt::Display for Leak {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}): {}", self.place, self.form, self.text)
    }
}

pub(super) fn find(finished: &Finished) -> Vec<Leak> {
    let needles: Vec<Needle> = finished.secrets.iter().flat_map(|secret| needles(secret)).collect();
    let mut leaks = Vec::new();
    for (place, text) in places(finished) {
        for needle in &needles {
            if let Some(at) = text.find(&needle.text) {
                let leak = Leak { place: place.clone(), form: needle.form, text: line_around(&text, at) };
                if !leaks.contains(&leak) {
                    leaks.push(leak);
                }
            }
        }
    }
    leaks
}

fn places(finished: &Finished) -> Vec<(String, String)> {
    let mut places = vec![
        ("log".to_owned(), finished.log.clone()),
        ("raw log".to_owned(), without_masks(&finished.raw_log)),
        ("summary".to_owned(), finished.written_summary.clone()),
        ("command line".to_owned(), finished.argv.join(" ")),
    ];
    for (kind, pairs) in [("output", &finished.outputs), ("state", &finished.state), ("env", &finished.env)] {
        places.extend(pairs.iter().map(|(name, value)| (format!("{kind} {name}"), value.clone())));
    }
    for annotation in &finished.annotations {
        let title = annotation.title.as_deref().unwrap_or_default();
        places.push(("annotation".to_owned(), format!("{title} {}", annotation.message)));
    }
    places.extend(finished.left.iter().map(|(name, text)| (format!("file {name}"), text.clone())));
    places
}

/// The raw log without the lines that hand a secret to the runner, which is what they are for.
fn without_masks(raw_log: &str) -> String {
    let lines = raw_log.split(['\n', '\r']);
    lines.filter(|line| !line.trim_start().starts_with("::add-mask::")).collect::<Vec<_>>().join("\n")
}

/// A secret in every form in which it is looked for, for places that only the caller can look into.
pub fn forms_of(secret: &str) -> Vec<String> {
    needles(secret).into_iter().map(|needle| needle.text).collect()
}

struct Needle {
    form: &'static str,
    text: String,
}

fn needles(secret: &str) -> Vec<Needle> {
    let lines = lines_of(secret).filter(|line| line.len() >= SHORTEST_LINE && !is_armour(line));
    let whole = Some(secret.trim()).filter(|secret| !secret.is_empty());
    whole.into_iter().chain(lines).flat_map(forms).collect()
}

/// The first and last line of every PEM file are the same in all of them.
fn is_armour(line: &str) -> bool {
    line.starts_with("-----BEGIN ") || line.starts_with("-----END ")
}

/// The value and its encoded forms, as far as those look different.
fn forms(value: &str) -> Vec<Needle> {
    let mut forms = vec![Needle { form: "value", text: value.to_owned() }];
    for (form, text) in [("JSON", json_escape(value)), ("URI", uri_escape(value))] {
        if text != value {
            forms.push(Needle { form, text });
        }
    }
    let shifted = (0..3).map(|shift| base64_core(value, shift)).filter(|text| text.len() >= SHORTEST_LINE);
    forms.extend(shifted.map(|text| Needle { form: "base64", text }));
    forms
}

/// Base64 without the last, incomplete group, which looks different when more text follows.
fn base64_core(value: &str, shift: usize) -> String {
    let encoded = base64_shifted(value, shift);
    if encoded.ends_with('=') { encoded[..encoded.len() - 4].to_owned() } else { encoded }
}

fn line_around(text: &str, at: usize) -> String {
    let start = text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
    let end = text[at..].find(['\n', '\r']).map_or(text.len(), |end| at + end);
    text[start..end].to_owned()
}
