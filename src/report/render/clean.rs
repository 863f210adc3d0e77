//! Makes foreign text fit for a log.
//!
//! The runner reads our log for commands: `::name::` at the start of a line (after Unicode white space) and `##[name]`
//! anywhere in it, and lines end at `\n`, `\r\n` or a bare `\r` (actions/runner `ActionCommand.cs`). What a server prints must
//! neither become a command nor move the cursor.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};

/// Longest line in the log, in bytes. The live log shows 1024 characters; nobody reads more than this.
pub const LONGEST_LINE: usize = 4096;

/// The lines of a text, each without control characters. Empty lines at the end are left out, and so is what stands
/// between two bare `\r`: programs that overwrite their own line begin or end with one.
pub fn lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.replace("\r\n", "\n").split('\n') {
        let mut parts = line.split('\r').filter(|part| !part.is_empty()).map(printable).peekable();
        if parts.peek().is_none() {
            lines.push(String::new());
        }
        lines.extend(parts);
    }
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    lines
}

/// The text as one line that keeps its indentation.
pub fn line(text: &str) -> String {
    printable(&text.replace(['\r', '\n'], " "))
}

/// The whole text on one line, without the white space around its lines.
pub fn one_line(text: &str) -> String {
    lines(text).iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A line that the runner takes as text, whatever it was.
pub fn harmless(line: &str) -> String {
    let line = line.replace("##[", "# #[");
    if line.trim_start().starts_with("::") { format!("| {line}") } else { line }
}

/// At most `longest` bytes, with a note of what was left out.
pub fn cut(line: &str, longest: usize) -> String {
    if line.len() <= longest {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(longest);
    format!("{} … (cut: {} bytes more)", &line[..end], line.len() - end)
}

/// Without escape sequences (ECMA-48: ESC, then a control sequence or a string) and without other control characters. Characters that are
/// not seen themselves, but turn the direction of writing, join what stands around them or carry text of their own, are written as
/// `<U+202E>`: with them a line can read as something else than it is.
fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\t' => text.push_str("    "),
            '\u{2028}' | '\u{2029}' => text.push(' '),
            c if c.is_control() => {}
            c if invisible(c) => text.push_str(&format!("<U+{:04X}>", u32::from(c))),
            c => text.push(c),
        }
    }
    text
}

/// The text without characters that are not seen: what stands around them may be a secret.
pub fn visible(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !(c.is_control() || invisible(*c))).collect()
}

/// Whether a reader cannot see the character: by its category (format, private use, surrogates, unassigned, which a font may draw as
/// nothing) or because programs that do not know it are to draw nothing (Unicode, 5.21). So a character that a later Unicode adds counts,
/// too.
fn invisible(c: char) -> bool {
    // Nearly all text, and quicker than the tables.
    if c.is_ascii() {
        return c.is_control();
    }
    use GeneralCategory::{Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(category, Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        // Braille's empty cell is a symbol, and looks like a blank.
        || c == '\u{2800}'
}

/// Drops the rest of an escape sequence: `[` up to a final byte, `]`, `P`, `X`, `^` or `_` up to BEL or `ESC \`, else one
/// character. A sequence that does not end takes no more than the line, which is split off before.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|c| matches!(c, '\u{40}'..='\u{7e}'));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                if c == '\u{7}' || (c == '\u{1b}' && rest.next() == Some('\\')) {
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_made_visible() {
        for (name, c) in [
            ("Arabic letter mark", '\u{61c}'),
            ("soft hyphen", '\u{ad}'),
            ("combining grapheme joiner", '\u{34f}'),
            ("Hangul filler", '\u{3164}'),
            ("zero width space", '\u{200b}'),
            ("zero width joiner", '\u{200d}'),
            ("left-to-right mark", '\u{200e}'),
            ("right-to-left override", '\u{202e}'),
            ("pop directional isolate", '\u{2069}'),
            ("word joiner", '\u{2060}'),
            ("invisible plus", '\u{2064}'),
            ("byte order mark", '\u{feff}'),
            ("interlinear annotation anchor", '\u{fff9}'),
            ("variation selector 16", '\u{fe0f}'),
            ("variation selector 17", '\u{e0100}'),
            ("tag A", '\u{e0041}'),
            ("an unassigned character beside the tags", '\u{e0fff}'),
            ("private use", '\u{e000}'),
            ("musical symbol begin beam", '\u{1d173}'),
        ] {
            let shown = line(&format!("a{c}b"));
            assert_eq!(shown, format!("a<U+{:04X}>b", u32::from(c)), "{name}");
            assert_eq!(visible(&format!("a{c}b")), "ab", "{name}");
        }
    }

    #[test]
    fn what_is_seen_stays() {
        for text in
            ["Grüße, Zürich", "日本語", "العربية", "עברית", "e\u{301}", "emoji 🚀", "naïve – “quotes” … €", "a\u{a0}b"]
        {
            assert_eq!(line(text), text);
        }
    }
}
