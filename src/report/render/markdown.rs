//! Makes foreign text fit for Markdown as GitHub renders it.

use super::clean;

/// Foreign text as text: on one line, no markup, no HTML, no links, nobody mentioned, and no cell of a table broken.
///
/// What closes a cell, a code span or a tag, or opens mathematics, is written as an HTML entity, because backslashes
/// before it mean different things to different renderers. A zero-width space behind `@` keeps GitHub from notifying
/// an account of every release; entities would not, as mentions are looked for after they are resolved. Behind a letter,
/// a digit or `_` (`user@host`) GitHub sees no mention, and the text must stay fit to be copied.
pub fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let line = clean::one_line(text);
    let mut before = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        let inside_a_word = |other: Option<char>| other.is_some_and(char::is_alphanumeric);
        match c {
            // Within a word it means nothing (GitHub Flavored Markdown, 6.4), and names stay as one copies them.
            '_' if inside_a_word(before) && inside_a_word(rest.peek().copied()) => safe.push(c),
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '|' => safe.push_str("&#124;"),
            '`' => safe.push_str("&#96;"),
            '\\' => safe.push_str("&#92;"),
            '$' => safe.push_str("&#36;"),
            '@' if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') => safe.push(c),
            '@' => safe.push_str("@\u{200b}"),
            '*' | '_' | '[' | ']' | '~' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
        before = Some(c);
    }
    // Bare addresses become links on their own (GitHub Flavored Markdown, 6.9).
    safe.replace("://", "&#58;//").replace("www.", "www&#46;")
}

/// A sentence of at most `longest` characters: as [`inline`], but what it has between backticks is shown as code.
pub fn short(text: &str, longest: usize) -> String {
    let line = clean::one_line(text);
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", sentence(&line[..end])),
        None => sentence(&line),
    }
}

/// A title or a headline, whole: as [`short`].
pub fn title(text: &str) -> String {
    sentence(&clean::one_line(text))
}

/// What to do, as a paragraph. Lines behind the first are there to be copied: they stand in a block.
pub fn help(text: &str, longest: usize) -> String {
    let (first, copied) = first_line(text);
    let copied = if copied.is_empty() { String::new() } else { format!("\n{}", block(&copied, 40, longest)) };
    format!("{HELP} {}\n{copied}", short(&first, longest))
}

/// The same in a cell or an entry of a list, which hold no block.
pub fn help_in_cell(text: &str, longest: usize) -> String {
    format!("{HELP} {}", in_cell(text, longest))
}

pub fn in_cell(text: &str, longest: usize) -> String {
    let (first, copied) = first_line(text);
    let copied: String = copied.iter().map(|line| format!("<br>{}", code(line.trim()))).collect();
    format!("{}{copied}", short(&first, longest))
}

const HELP: &str = "**Help:**";

fn first_line(text: &str) -> (String, Vec<String>) {
    let mut lines = clean::lines(text).into_iter().filter(|line| !line.trim().is_empty());
    (lines.next().unwrap_or_default(), lines.collect())
}

/// Backticks count only where they come in pairs around something.
fn sentence(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').collect();
    let paired = parts.len() % 2 == 1 && parts.iter().skip(1).step_by(2).all(|part| !part.trim().is_empty());
    if !paired {
        return inline(line);
    }
    let shown = parts.iter().enumerate().map(|(index, part)| if index % 2 == 1 { code(part) } else { text(part) });
    shown.collect()
}

/// As [`inline`], with the spaces at both ends that separate it from what stands beside it.
fn text(part: &str) -> String {
    let start = if part.starts_with(' ') { " " } else { "" };
    let end = if part.len() > 1 && part.ends_with(' ') { " " } else { "" };
    format!("{start}{}{end}", inline(part))
}

/// A value to be read letter by letter. Not a code span: an entity is no entity in there, and a pipe would break the table.
pub fn code(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ');
    if !text.trim().is_empty() && text.chars().all(plain) {
        format!("`{text}`")
    } else {
        // Nobody is mentioned in code, and what is copied from it must be what it looks like.
        format!("<code>{}</code>", inline(text).replace("@\u{200b}", "@"))
    }
}

/// Lines to be read letter by letter or copied, as they are: at most `most`, each cut after `longest` bytes.
pub fn block(lines: &[String], most: usize, longest: usize) -> String {
    let lines: Vec<String> = lines.iter().flat_map(|line| clean::lines(line)).collect();
    let mut shown: Vec<String> = lines.iter().take(most).map(|line| clean::cut(line, longest)).collect();
    if lines.len() > most {
        shown.push(format!("… ({} lines more)", lines.len() - most));
    }
    let fence = "`".repeat(longest_run(&shown).max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", shown.join("\n"))
}

/// A link to a place that GitHub or our own configuration named. Only plain web addresses become links.
pub fn link(text: &str, url: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#%=&+,;".contains(c);
    if (url.starts_with("https://") || url.starts_with("http://")) && url.chars().all(plain) {
        format!("[{text}](<{url}>)")
    } else {
        text.to_owned()
    }
}

/// One row of a table, from cells that are safe already.
pub fn row<'c>(cells: impl IntoIterator<Item = &'c str>) -> String {
    format!("| {} |\n", cells.into_iter().collect::<Vec<_>>().join(" | "))
}

/// The head of a table; `columns` are our own words.
pub fn head(columns: &[&str]) -> String {
    format!("{}{}", row(columns.iter().copied()), row(columns.iter().map(|_| "---")))
}

/// The longest run of backticks: a fence must be longer (CommonMark 4.5).
fn longest_run(lines: &[String]) -> usize {
    lines.iter().flat_map(|line| line.split(|c| c != '`')).map(str::len).max().unwrap_or(0)
}

/// Most entries of a list (migrations, warnings, failing gates).
pub(crate) const ENTRIES: usize = 20;

pub(crate) fn list(lines: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    let mut left_out = 0;
    for (index, line) in lines.into_iter().enumerate() {
        if index < ENTRIES {
            text.push_str(&format!("- {line}\n"));
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        text.push_str(&format!("- … and {left_out} more\n"));
    }
    text
}

/// A table of names and values. The first pair is its head: Markdown knows no table without one, and an empty one is a blank row.
pub(crate) fn table_of_pairs(lines: &[(&str, String)]) -> String {
    let mut rows = lines.iter().map(|(name, value)| row([format!("**{name}**").as_str(), value]));
    match (lines, rows.next()) {
        (_, None) => String::new(),
        // A head without a row is no table.
        ([(name, value)], _) => format!("**{name}**: {value}\n"),
        (_, Some(head)) => head + &row([":--", ":--"]) + &rows.collect::<String>(),
    }
}

/// What is folded away below its title, which is safe already.
pub(crate) fn folded(title: &str, text: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{}\n\n</details>\n\n", text.trim_end())
}
