//! The runner's secret masker: which texts it replaces by `***`.
//!
//! Follows `src/Sdk/DTLogging/Logging/{SecretMasker,ValueEncoders}.cs` of actions/runner 2.336.0 and the
//! encoders registered in `src/Runner.Common/HostContext.cs`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything that is masked from now on: registered values and their encoded forms.
#[derive(Clone, Debug, Default)]
pub(super) struct Masker {
    forms: BTreeSet<String>,
}

impl Masker {
    /// Registers a value as `add-mask` and the job's own secrets do: whole, and each trimmed line of it.
    pub(super) fn add(&mut self, value: &str) {
        self.add_value(value);
        for line in lines_of(value) {
            self.add_value(line);
        }
    }

    /// Registers exactly one value with its encoded forms.
    pub(super) fn add_value(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        self.forms.insert(value.to_owned());
        self.forms.extend(encoded_forms(value).into_iter().filter(|form| !form.is_empty()));
    }

    /// Replaces every run of overlapping or adjacent secrets by `***`.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut hits: Vec<(usize, usize)> = self.forms.iter().flat_map(|form| occurrences(text, form)).collect();
        if hits.is_empty() {
            return text.to_owned();
        }
        hits.sort_unstable();
        let mut masked = String::with_capacity(text.len());
        let mut kept_to = 0;
        for (start, end) in merge(hits) {
            masked.push_str(&text[kept_to..start]);
            masked.push_str("***");
            kept_to = end;
        }
        masked.push_str(&text[kept_to..]);
        masked
    }
}

/// The trimmed, non-empty lines of a secret, which the runner registers one by one.
pub(super) fn lines_of(value: &str) -> impl Iterator<Item = &str> {
    value.split(['\r', '\n']).map(str::trim).filter(|line| !line.is_empty())
}

/// Base64 of a value without its first `shift` bytes: the form it takes inside a longer encoded text.
pub(super) fn base64_shifted(value: &str, shift: usize) -> String {
    let bytes = value.as_bytes();
    BASE64.encode(if bytes.len() > shift { &bytes[shift..] } else { bytes })
}

/// The inside of a JSON string literal.
pub(super) fn json_escape(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `Uri.EscapeDataString`: everything but RFC 3986's unreserved characters.
pub(super) fn uri_escape(value: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(value, RESERVED).to_string()
}

fn encoded_forms(value: &str) -> [String; 11] {
    [
        base64_shifted(value, 0),
        base64_shifted(value, 1),
        base64_shifted(value, 2),
        value.replace('"', "\\\""),
        value.replace('\'', "''"),
        json_escape(value),
        uri_escape(value),
        xml_escape(value),
        without_quotes(value),
        before_ampersand(value),
        after_ampersand(value),
    ]
}

fn xml_escape(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}

fn without_quotes(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| inner.len() > 6).unwrap_or_default().to_owned()
}

/// PowerShell prints a failed command in sections that end at an ampersand.
const SHORTEST_SECTION: usize = 6;

fn before_ampersand(value: &str) -> String {
    let end = value.find("&+").map(|at| at + 2).or_else(|| value.rfind('&').map(|at| at + 1));
    end.map(|end| &value[..end]).filter(|section| section.len() >= SHORTEST_SECTION).unwrap_or_default().to_owned()
}

fn after_ampersand(value: &str) -> String {
    let section = match value.find("&+") {
        // The letter after `&+` is coloured on its own, so the section starts one later.
        Some(at) => {
            let mut rest = value[at + 2..].chars();
            rest.next();
            rest.as_str()
        }
        None => value.rfind('&').map_or("", |at| &value[at + 1..]),
    };
    if section.len() >= SHORTEST_SECTION { section.to_owned() } else { String::new() }
}

/// All places where `needle` stands in `text`, overlapping ones too.
fn occurrences(text: &str, needle: &str) -> Vec<(usize, usize)> {
    let step = needle.chars().next().map_or(1, char::len_utf8);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(needle)) {
        let start = from + at;
        found.push((start, start + needle.len()));
        from = start + step;
    }
    found
}

fn merge(sorted: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}
