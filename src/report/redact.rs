//! Takes secrets out of text.

use std::{cell::RefCell, fmt::Write as _, rc::Rc};

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::render::clean;
use crate::{
    domain::{Failure, Outcome, Secret, command},
    engine::event::{Body, Event},
};

/// What stands where a secret stood.
pub const STARS: &str = "***";

/// Base64 of fewer characters than this is found in ordinary words too often to mean anything.
const SHORTEST_FRAGMENT: usize = 6;

/// So many characters of a secret, and of an encoded one, are its own and not those of a word.
const OWN_PLAIN: usize = 12;
const OWN_ENCODED: usize = 8;

/// Tools wrap base64 and hexadecimal text at 60, 64 or 76 characters; the last line is shorter.
const LINE_OF_ITS_OWN: usize = 16;

/// Bytes of an argument in a trace of PHP 8.1 and earlier.
const TRACE: usize = 15;

/// RFC 3986, 2.3: everything but the unreserved characters is written as `%XX`.
const URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What JavaScript's `encodeURIComponent` leaves as it is, beyond that.
const URI_COMPONENT: &AsciiSet = &URI.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Knows every secret of the run, as it is and in the encodings in which it could come back from somewhere, and replaces
/// each by `***` (F40). It fails closed: where in doubt, stars.
///
/// The runner masks too, but only the log, only there, and only what it was told (actions/runner `HostContext.cs`).
#[derive(Clone, Default)]
pub struct Redactor {
    /// All clones know the same.
    known: Rc<RefCell<Known>>,
}

#[derive(Default)]
struct Known {
    needles: Vec<Needle>,
    search: Option<Rc<Search>>,
}

/// A way in which a secret could be written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Needle {
    text: String,
    /// So many of its characters are its own: with them a line that ends in its beginning, or begins with its end, is known to hold a part.
    own: usize,
}

/// What is looked for. All of it by the same numbers of needles.
struct Search {
    needles: Vec<Needle>,
    whole: AhoCorasick,
    /// The needles without line breaks, for texts that are wrapped.
    joined: Vec<String>,
    unwrapped: AhoCorasick,
    /// The first and the last characters of those that are long enough to be known by a part.
    parts: Vec<usize>,
    heads: AhoCorasick,
    tails: AhoCorasick,
}

impl Search {
    /// `None`: there is nothing to look for.
    fn of(needles: &[Needle]) -> Option<Self> {
        if needles.is_empty() {
            return None;
        }
        // It fails above two thousand million states; secrets come from the environment, which the kernel limits to megabytes, or
        // are a line of a file.
        let search =
            |texts: &[&str]| AhoCorasick::new(texts).expect("a search for the secrets of one run can be built");
        let joined: Vec<String> =
            needles.iter().map(|needle| pieces(&needle.text).map(|(_, piece)| piece).collect()).collect();
        let long = |index: &usize| joined[*index].len() > needles[*index].own;
        let parts: Vec<usize> = (0..needles.len()).filter(long).collect();
        let head = |index: &usize| joined[*index].get(..joined[*index].ceil_char_boundary(needles[*index].own));
        let tail = |index: &usize| {
            joined[*index].get(joined[*index].floor_char_boundary(joined[*index].len() - needles[*index].own)..)
        };
        let texts = |of: &[String]| search(&of.iter().map(String::as_str).collect::<Vec<_>>());
        Some(Self {
            whole: search(&needles.iter().map(|needle| needle.text.as_str()).collect::<Vec<_>>()),
            unwrapped: texts(&joined),
            heads: search(&parts.iter().filter_map(head).collect::<Vec<_>>()),
            tails: search(&parts.iter().filter_map(tail).collect::<Vec<_>>()),
            needles: needles.to_vec(),
            joined,
            parts,
        })
    }

    /// Where secrets stand in `text`: whole, over several lines, and in parts where a line ends.
    fn spans(&self, text: &str) -> Vec<(usize, usize)> {
        let mut spans: Vec<(usize, usize)> =
            self.whole.find_overlapping_iter(text).map(|found| (found.start(), found.end())).collect();
        let pieces: Vec<(usize, &str)> = pieces(text).collect();
        if pieces.len() > 1 {
            self.wrapped(&pieces, &mut spans);
        }
        for (place, piece) in pieces {
            let of = |number: usize| self.joined[self.parts[number]].as_str();
            for found in self.heads.find_overlapping_iter(piece) {
                if of(found.pattern().as_usize()).starts_with(&piece[found.start()..]) {
                    spans.push((place + found.start(), place + piece.len()));
                }
            }
            for found in self.tails.find_overlapping_iter(piece) {
                if of(found.pattern().as_usize()).ends_with(&piece[..found.end()]) {
                    spans.push((place, place + found.end()));
                }
            }
            // A line of its own out of the middle of an encoded secret.
            let encoded = |needle: &Needle| needle.own == OWN_ENCODED;
            if piece.len() >= LINE_OF_ITS_OWN
                && self
                    .needles
                    .iter()
                    .zip(&self.joined)
                    .any(|(needle, joined)| encoded(needle) && joined.contains(piece))
            {
                spans.push((place, place + piece.len()));
            }
        }
        spans.sort_unstable();
        spans
    }

    fn wrapped(&self, pieces: &[(usize, &str)], spans: &mut Vec<(usize, usize)>) {
        let text: String = pieces.iter().map(|(_, piece)| *piece).collect();
        for found in self.unwrapped.find_overlapping_iter(&text) {
            let mut begin = 0;
            for (place, piece) in pieces {
                let end = begin + piece.len();
                let (from, to) = (found.start().max(begin), found.end().min(end));
                if from < to {
                    spans.push((place + from - begin, place + to - begin));
                }
                begin = end;
            }
        }
    }
}

/// The lines of a text without the blanks around their breaks, and where each begins.
fn pieces(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split_inclusive(['\n', '\r']).filter_map(move |line| {
        let begin = at;
        at += line.len();
        let blank = |c| matches!(c, ' ' | '\t' | '\n' | '\r');
        let rest = line.trim_start_matches(blank);
        let piece = rest.trim_end_matches(blank);
        (!piece.is_empty()).then(|| (begin + line.len() - rest.len(), piece))
    })
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
        known.needles.extend(secrets.into_iter().flat_map(forms).filter(|needle| !needle.text.trim().is_empty()));
        known.needles.sort_unstable();
        known.needles.dedup();
        if !known.needles.is_empty() {
            known.search = Search::of(&known.needles).map(Rc::new);
        }
    }

    fn search(&self) -> Option<Rc<Search>> {
        self.known.borrow().search.clone()
    }

    /// Whether any secret stands in `text`.
    pub fn finds(&self, text: &str) -> bool {
        self.search().is_some_and(|search| search.whole.is_match(text))
    }

    /// `text` with stars where secrets stood, also where characters that are not seen stood between theirs.
    pub fn text(&self, text: &str) -> String {
        let Some(search) = self.search() else { return text.to_owned() };
        let clear = Self::stars(&search, text);
        if clear.is_ascii() {
            return clear;
        }
        let visible = clean::visible(&clear);
        if visible != clear && !search.spans(&visible).is_empty() { Self::stars(&search, &visible) } else { clear }
    }

    /// Secrets that overlap go together, so that no end of one is left over.
    fn stars(search: &Search, text: &str) -> String {
        let spans = search.spans(text);
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
            Body::Recorded { key, value, .. } => {
                self.on(key);
                *value = self.value(value);
            }
            Body::Warned { text, hint, .. } => {
                self.on(text);
                self.on_all(hint);
            }
            Body::Finished { text, failure, .. }
            | Body::UndoFinished { text, failure, .. }
            | Body::CleanedUp { text, failure, .. } => {
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
fn forms(secret: &Secret) -> Vec<Needle> {
    let whole = secret.expose();
    let mut plain = vec![whole, whole.trim()];
    plain.extend(secret.mask_lines());
    plain.sort_unstable();
    plain.dedup();
    plain.into_iter().flat_map(encodings).collect()
}

fn encodings(plain: &str) -> Vec<Needle> {
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
    // PHP 8.1 and earlier cut an argument in a trace after 15 bytes.
    if let Some(cut) = plain.get(..TRACE).filter(|_| plain.len() > TRACE) {
        all.push(format!("{cut}..."));
    }
    let hex = plain.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let mut encoded: Vec<String> = (0..3).flat_map(|shift| base64_inside(plain, shift)).collect();
    // Shorter ones are found in digests and numbers too often to mean anything.
    if plain.len() * 2 >= OWN_ENCODED {
        encoded.extend([hex.to_ascii_uppercase(), hex]);
    }
    let needle = |own| move |text| Needle { text, own };
    all.into_iter().map(needle(OWN_PLAIN)).chain(encoded.into_iter().map(needle(OWN_ENCODED))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Tr0ub4dor&3-correct/horse+battery-staple";

    fn wrapped(text: &str, columns: usize) -> Vec<String> {
        text.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A file with the secret in it, as tools print it; whole and line by line, as a log comes.
    #[test]
    fn a_secret_that_an_encoding_wraps_over_lines_is_hidden() {
        let redactor = Redactor::new([&Secret::new(SECRET)]);
        for before in ["", "x", "DB_PASSWORD=", "APP_NAME=shop\nAPP_ENV=production\nDB_PASSWORD=\"", &"y".repeat(50)] {
            let file = format!("{before}{SECRET}\"\nDB_HOST=localhost\n");
            for columns in [60, 64, 76] {
                for text in [STANDARD.encode(&file), hex(file.as_bytes()), hex(file.as_bytes()).to_ascii_uppercase()] {
                    let lines = wrapped(&text, columns);
                    let whole = redactor.text(&lines.join("\r\n"));
                    let alone: Vec<String> = lines.iter().map(|line| redactor.text(line)).collect();
                    // Put together again, neither has more of the secret than a few characters where a line ends.
                    for shown in [whole.replace("\r\n", ""), alone.join("")] {
                        for part in [STANDARD.encode(SECRET), hex(SECRET.as_bytes())] {
                            let parts =
                                part.as_bytes().windows(12).map(|part| String::from_utf8_lossy(part).into_owned());
                            for part in parts {
                                assert!(
                                    !shown.to_lowercase().contains(&part.to_lowercase()),
                                    "{columns} {before:?}: {part} in {shown}"
                                );
                            }
                        }
                        let left = shown.split(STARS).map(str::len).sum::<usize>();
                        assert!(left + 40 < text.len(), "{columns} {before:?}: {shown}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_part_of_a_secret_is_hidden_where_it_was_cut() {
        let redactor = Redactor::new([&Secret::new(SECRET)]);
        // PHP 8.1 and earlier.
        let trace = format!("#1 connect('shop', '{}...')", &SECRET[..15]);
        assert_eq!(redactor.text(&trace), "#1 connect('shop', '***')");
        assert_eq!(redactor.text(&format!("password: {}", &SECRET[..20])), "password: ***");
        assert_eq!(redactor.text(&format!("{}  \nnext", &SECRET[20..])), "***  \nnext");
        assert_eq!(redactor.text(&format!("key {}\n  {} done", &SECRET[..9], &SECRET[9..])), "key ***\n  *** done");
        // A few letters are anybody's.
        assert_eq!(redactor.text("a Tr0ub4"), "a Tr0ub4");
    }

    #[test]
    fn characters_that_are_not_seen_hide_no_secret() {
        let redactor = Redactor::new([&Secret::new(SECRET)]);
        for between in ["\u{200b}", "\u{61c}", "\u{e0041}", "\u{feff}"] {
            let text = format!("key {} done", SECRET.chars().map(|c| format!("{c}{between}")).collect::<String>());
            assert_eq!(redactor.text(&text), "key *** done", "{between:?}");
        }
    }
}
