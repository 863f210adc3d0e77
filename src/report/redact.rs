//! Takes secrets out of text.

use std::{cell::RefCell, fmt::Write as _, rc::Rc};

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::clean;
use crate::{
    domain::{Failure, Outcome, Secret, command},
    engine::event::{Body, Event},
};

/// What stands where a secret stood.
pub const STARS: &str = "***";

/// Base64 of fewer characters than this is found in ordinary words too often to mean anything.
const SHORTEST_FRAGMENT: usize = 6;

/// RFC 3986, 2.3: everything but the unreserved characters is written as `%XX`.
const URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What JavaScript's `encodeURIComponent` leaves as it is, beyond that.
const URI_COMPONENT: &AsciiSet = &URI.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Knows every secret of the run, as it is and in the encodings in which it could come back from somewhere, and replaces
/// each by `***` (F40). It fails closed: where in doubt, stars.
///
/// The runner masks too, but only the log, only there, and only what it was told (runner-contract.md C.5).
#[derive(Clone, Default)]
pub struct Redactor {
    /// All clones know the same.
    known: Rc<RefCell<Known>>,
}

#[derive(Default)]
struct Known {
    needles: Vec<String>,
    search: Option<Rc<AhoCorasick>>,
}

impl Redactor {
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Takes in a secret that was not known when the run began.
    pub fn learn(&self, secret: &Secret) {
        self.add([secret]);
    }

    fn add<'a>(&self, secrets: impl IntoIterator<Item = &'a Secret>) {
        let mut known = self.known.borrow_mut();
        known.needles.extend(secrets.into_iter().flat_map(forms).filter(|form| !form.trim().is_empty()));
        known.needles.sort_unstable();
        known.needles.dedup();
        if !known.needles.is_empty() {
            // It fails above two thousand million states; secrets come from the environment, which the kernel limits to megabytes, or
            // are a line of a file.
            let search = AhoCorasick::new(&known.needles).expect("a search for the secrets of one run can be built");
            known.search = Some(Rc::new(search));
        }
    }

    fn search(&self) -> Option<Rc<AhoCorasick>> {
        self.known.borrow().search.clone()
    }

    /// Whether any secret stands in `text`.
    pub fn finds(&self, text: &str) -> bool {
        self.search().is_some_and(|needles| needles.is_match(text))
    }

    /// `text` with stars where secrets stood. Secrets that overlap go together, so that no end of one is left over.
    pub fn text(&self, text: &str) -> String {
        let Some(needles) = self.search() else { return text.to_owned() };
        let mut spans: Vec<(usize, usize)> =
            needles.find_overlapping_iter(text).map(|found| (found.start(), found.end())).collect();
        spans.sort_unstable();
        let mut clear = String::with_capacity(text.len());
        let mut at = 0;
        let mut spans = spans.into_iter().peekable();
        while let Some((start, mut end)) = spans.next() {
            while let Some((_, further)) = spans.next_if(|(next, _)| *next < end) {
                end = end.max(further);
            }
            clear.push_str(&text[at..start]);
            clear.push_str(STARS);
            at = end;
        }
        clear.push_str(&text[at..]);
        clear
    }

    /// Every text in a JSON value, keys of objects left alone: they are ours. A number that is a secret becomes stars.
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.as_shown(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, field)| (key.clone(), self.value(field))).collect(),
            Value::Number(number) if self.finds(&number.to_string()) => Value::String(STARS.to_owned()),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// An event without secrets. Done before anything is escaped or cut, because an escaped secret is not found any more.
    /// Names of steps stay: they are ours, and readers find rows by them.
    pub fn event(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if self.search().is_some() {
            self.body(&mut event.body);
        }
        event
    }

    fn body(&self, body: &mut Body) {
        match body {
            Body::RunStarted { stage, rows } => {
                self.on(stage);
                for row in rows {
                    self.on(&mut row.title);
                    self.on_all(&mut row.undo);
                }
            }
            Body::Started { .. } | Body::Committed { .. } => {}
            Body::Line { text, .. } | Body::Attempt { text, .. } | Body::UndoStarted { text, .. } => self.on(text),
            Body::Progress { what, .. } => self.on(what),
            Body::Fact { key, value, .. } => {
                self.on(key);
                *value = self.value(value);
            }
            Body::Warned { text, hint, .. } => {
                self.on(text);
                self.on_all(hint);
            }
            Body::Finished { text, failure, .. }
            | Body::UndoFinished { text, failure, .. }
            | Body::Released { text, failure, .. } => {
                self.on(text);
                failure.iter_mut().for_each(|failure| self.failure(failure));
            }
            Body::Planned { because, previews } => {
                self.on(because);
                self.on_all(previews.iter_mut().flat_map(|preview| &mut preview.lines));
            }
            Body::RunFinished { outcome } => self.outcome(outcome),
        }
    }

    fn outcome(&self, outcome: &mut Outcome) {
        match outcome {
            Outcome::Planned | Outcome::Passed | Outcome::Live { .. } => {}
            Outcome::Refused { cause, stays, .. } | Outcome::RolledBack { cause, stays, .. } => {
                self.failure(cause);
                self.on_all(stays);
            }
            Outcome::Stuck { cause, undo_cause, by_hand, stays, .. } => {
                self.failure(cause);
                self.failure(undo_cause);
                self.on_all(by_hand);
                self.on_all(stays);
            }
        }
    }

    fn failure(&self, failure: &mut Failure) {
        self.on(&mut failure.doing);
        self.on(&mut failure.cause);
        self.on_all(&mut failure.hint);
        self.on_all(&mut failure.details);
    }

    fn on(&self, text: &mut String) {
        *text = self.as_shown(text);
    }

    /// A text without the secrets in it, and without those that would only be seen when its control characters are gone
    /// or its lines are joined: readers do both before they show it.
    pub fn as_shown(&self, text: &str) -> String {
        let text = self.text(text);
        let shown = clean::lines(&text).join("\n");
        let joined = clean::one_line(&text);
        match (self.finds(&shown), self.finds(&joined)) {
            (_, true) => self.text(&joined),
            (true, false) => self.text(&shown),
            (false, false) => text,
        }
    }

    fn on_all<'t>(&self, texts: impl IntoIterator<Item = &'t mut String>) {
        texts.into_iter().for_each(|text| self.on(text));
    }
}

/// Every way in which a secret could be written: whole, each of its lines, and both in the encodings that tools use.
fn forms(secret: &Secret) -> Vec<String> {
    let whole = secret.expose();
    let mut plain = vec![whole, whole.trim()];
    plain.extend(secret.mask_lines());
    plain.sort_unstable();
    plain.dedup();
    plain.into_iter().flat_map(encodings).collect()
}

fn encodings(plain: &str) -> Vec<String> {
    let json = serde_json::Value::from(plain).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let uri = utf8_percent_encode(plain, URI).to_string();
    let mut all = vec![
        plain.to_owned(),
        plain.replace('\n', "\r\n"),
        command::quote(plain),
        json.replace('/', r"\/"),
        json,
        lower_case_escapes(&uri),
        utf8_percent_encode(plain, URI_COMPONENT).to_string(),
        uri.replace("%20", "+"),
        uri,
    ];
    all.extend((0..3).flat_map(|shift| base64_inside(plain, shift)));
    all
}

/// The part of base64 text that does not depend on what stands around `plain`, when `shift` bytes of a group of three
/// come before it.
fn base64_inside(plain: &str, shift: usize) -> Vec<String> {
    let padded = [&vec![0; shift], plain.as_bytes()].concat();
    // A group of three bytes is four characters; a character that shares bits with a neighbour is not the secret's own.
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    [STANDARD.encode(&padded), URL_SAFE.encode(&padded)]
        .into_iter()
        .filter_map(|text| text.get(first..last).filter(|inside| inside.len() >= SHORTEST_FRAGMENT).map(str::to_owned))
        .collect()
}

/// `%2F` as `%2f`: both are right (RFC 3986, 2.1).
fn lower_case_escapes(uri: &str) -> String {
    let mut lower = String::with_capacity(uri.len());
    let mut parts = uri.split('%');
    lower.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        // Writing into a String cannot fail.
        let _ = write!(lower, "%{}{rest}", digits.to_ascii_lowercase());
    }
    lower
}
