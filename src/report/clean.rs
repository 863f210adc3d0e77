//! Makes foreign text fit for a log.
//!
//! The runner reads our log for commands: `::name::` at the start of a line (after Unicode white space) and `##[name]`
//! anywhere in it, and lines end at `\n`, `\r\n` or a bare `\r` (runner-contract.md C.4). What a server prints must
//! neither become a command nor move the cursor.

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

/// Without escape sequences (ECMA-48: ESC, then a control sequence or a string), without other control characters, and
/// without the marks that turn the direction of writing: with them a line can read as something else than it is.
fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\t' => text.push_str("    "),
            '\u{2028}' | '\u{2029}' => text.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {}
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
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
