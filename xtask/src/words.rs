//! `cargo xtask words`: every text that a user may read, on one page; and the words that `cargo xtask tidy` refuses in them.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result, anyhow};
use gated_deploy::errors;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::tidy::files;

/// Words that are out of every text for good, and the term of the field that is used instead. A word is compared as a whole, in any case.
const OUT: [(&str, &str); 28] = [
    ("change hands", "switch"),
    ("changes hands", "switch"),
    ("dead man", "watchdog"),
    ("dead run", "interrupted run"),
    ("dead-man", "watchdog"),
    ("estate", "leftovers"),
    ("go back", "roll back"),
    ("goes back", "rolls back"),
    ("going back", "rolling back"),
    ("gone back", "rolled back"),
    ("heir", "the next run"),
    ("house", "the component's name"),
    ("inherited", "taken over"),
    ("look-ahead", "change preview"),
    ("mended", "corrected, repaired"),
    ("mends", "corrects, repairs"),
    ("not well", "unhealthy"),
    ("riddle", "what it is"),
    ("seen to fail", "self-test"),
    ("sick", "unhealthy"),
    ("stands in the way", "blocks"),
    ("take back", "roll back"),
    ("taken back", "rolled back"),
    ("takes back", "rolls back"),
    ("took back", "rolled back"),
    ("wants a password", "asks for a password"),
    ("way back", "rollback"),
    ("went back", "rolled back"),
];

/// Where one of them may stand, and why.
const ALLOWED: [(&str, &str); 3] = [
    // The name of a script.
    ("src/server/recovery/mod.rs", "inherited"),
    // The id of a signature, which stands in reports.
    ("src/stages/shared/diagnose/signatures.rs", "sick"),
    // The id of the row.
    ("src/stages/deploy/table.rs", "look-ahead"),
];

/// The same for names in code: the words that a name is made of.
const NAMES: [(&str, &str); 19] = [
    ("amend", "write"),
    ("chapter", "the type's own name"),
    ("door", "route, listener"),
    ("ear", "idle channel"),
    ("estate", "leftovers"),
    ("fact", "record"),
    ("facts", "records, plan"),
    ("fate", "treatment, note"),
    ("heir", "takeover"),
    ("house", "place, server"),
    ("inherited", "interrupted"),
    ("inventory", "read"),
    ("nobody", "none"),
    ("outlook", "change preview"),
    ("pivot", "activates, switch"),
    ("seam", "approval, decided"),
    ("sick", "unhealthy"),
    ("tally", "samples"),
    ("told", "described, recorded"),
];

/// Prints the page: errors by their codes, and the other texts (rows, verdicts, inputs, help) by file and line.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut page = String::from("# Errors\n");
    let mut codes: Vec<_> = errors::all().collect();
    codes.sort_by_key(|code| code.name);
    for code in codes {
        page += &format!("\n{}\n  {}\n  {}\n  {}\n", code.name, code.meaning, code.cause, code.action);
        if let Some((cause, help)) = code.template {
            page += &format!("  > {cause}\n  > {help}\n");
        }
    }
    page += "\n# Other texts\n";
    for (file, texts) in sources(root)?.into_iter().filter(|(file, _)| !file.starts_with("src/errors/")) {
        let shown: Vec<&Text> =
            texts.iter().filter(|text| text.is_shown() && text.words.trim().contains(' ')).collect();
        if !shown.is_empty() {
            page += &format!("\n{file}\n");
        }
        for text in shown {
            page += &format!("  {:>4}  {}\n", text.line, text.words.replace('\n', "\n        "));
        }
    }
    std::io::stdout().write_all(page.as_bytes()).context("printing")
}

/// What is wrong with the words of the sources, the scripts and the documents.
pub(crate) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (file, texts) in sources(root)? {
        for text in texts.into_iter().filter(|text| !text.documents) {
            problems.extend(judge(&file, &[(text.line, &text.words.replace("\\\n", " "))]));
        }
    }
    for folder in ["src", "lab/src", "lab/tests", "xtask/src"] {
        for path in files(&root.join(folder), "rs")? {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let comments: Vec<(usize, &str)> = numbered(&text).filter(|(_, line)| line.starts_with("//")).collect();
            problems.extend(judge(&name, &comments));
        }
    }
    for path in files(&root.join("src"), "rs")? {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        names(tokens, &mut |line, ident| {
            let words: Vec<String> = ident.split('_').flat_map(humps).collect();
            let out = NAMES.iter().filter(|(word, _)| words.iter().any(|part| part == word));
            problems.extend(out.map(|(_, instead)| format!("{name}:{line}: the name `{ident}`: use {instead}")));
        });
    }
    let mut plain = files(&root.join("docs"), "md")?;
    for (folder, extension) in [("src", "sh"), ("src", "php"), ("examples", "yml"), ("lab", "sh"), ("lab", "md")] {
        plain.extend(files(&root.join(folder), extension)?);
    }
    plain.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "action.yml"].map(|name| root.join(name)),
    );
    for path in plain {
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        problems.extend(judge(&name, &numbered(&text).collect::<Vec<_>>()));
    }
    Ok(problems)
}

/// The lines with their numbers, without the blanks around them.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()))
}

/// Every name of a source file, with its line.
fn names(tokens: TokenStream, each: &mut dyn FnMut(usize, &str)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => names(group.stream(), each),
            TokenTree::Ident(ident) => each(ident.span().start().line, &ident.to_string()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The words of `SeveralWords`, in small letters.
fn humps(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if letter.is_lowercase() || word.chars().all(char::is_uppercase) => word.push(letter),
            _ => words.push(letter.to_string()),
        }
    }
    words.into_iter().map(|word| word.to_lowercase()).collect()
}

/// What is wrong with lines of one file. A phrase may begin on a line and end on the next.
fn judge(file: &str, lines: &[(usize, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, (number, line)) in lines.iter().enumerate() {
        let next = lines.get(at + 1).filter(|(next, _)| *next == number + 1).map_or("", |(_, next)| *next);
        let next = next.trim_start_matches(['/', '!', '#', '*', '>', ' ']);
        let (here, there) = (line.to_lowercase(), next.to_lowercase());
        let both = format!("{here} {there}");
        // What stands on the next line alone is found there.
        let out = OUT.iter().filter(|(word, _)| stands(word, &here) || stands(word, &both) && !stands(word, &there));
        let out = out.filter(|(word, _)| !ALLOWED.contains(&(file, *word)));
        problems.extend(out.map(|(word, instead)| format!("{file}:{number}: `{word}`: write {instead}")));
    }
    problems
}

/// Whether a text has the word as a whole. Both are in small letters.
fn stands(word: &str, text: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let beside = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        !beside(text[..at].chars().next_back()) && !beside(text[at + word.len()..].chars().next())
    })
}

/// A text in a source file.
struct Text {
    line: usize,
    words: String,
    /// It documents the code, and is no value.
    documents: bool,
}

impl Text {
    /// Patterns of regular expressions, paths and formats without a word are no sentences.
    fn is_shown(&self) -> bool {
        !self.documents && self.words.chars().filter(|letter| letter.is_alphabetic()).count() > 3
    }
}

/// The string literals and the documentation of every Rust file of the action, but for its tests.
fn sources(root: &Path) -> Result<BTreeMap<String, Vec<Text>>> {
    let mut found = BTreeMap::new();
    for path in files(&root.join("src"), "rs")? {
        if path.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let mut texts = Vec::new();
        collect(tokens, false, &mut texts);
        found.insert(path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned(), texts);
    }
    Ok(found)
}

/// Walks the tokens, macros included. The body of what is only compiled for tests is passed over.
fn collect(tokens: TokenStream, documents: bool, found: &mut Vec<Text>) {
    let mut of_tests = false;
    let mut doc = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let inside = group.stream();
                if group.delimiter() == Delimiter::Bracket {
                    let text = inside.to_string();
                    of_tests |= text == "cfg (test)" || text == "test";
                    collect(inside, text.starts_with("doc "), found);
                } else if group.delimiter() == Delimiter::Brace && std::mem::take(&mut of_tests) {
                } else {
                    collect(inside, false, found);
                }
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let Some(first) = text.find('"').filter(|_| text.ends_with(['"', '#'])) else { continue };
                let last = text.rfind('"').unwrap_or(first);
                let words = text[first + 1..last.max(first + 1)].to_owned();
                found.push(Text { line: literal.span().start().line, words, documents: documents || doc });
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => of_tests = false,
            TokenTree::Ident(ident) => doc = ident == "doc",
            TokenTree::Punct(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_once_also_across_a_line_break() {
        let text = "/// A release that may go\n/// back, or roll back.\nlet a = 1;\n// go\n\n// back\n// go back\n";
        let comments: Vec<(usize, &str)> = numbered(text).filter(|(_, line)| line.starts_with("//")).collect();
        let told = ["a.rs:1: `go back`: write roll back", "a.rs:7: `go back`: write roll back"];
        assert_eq!(judge("a.rs", &comments), told);
    }

    #[test]
    fn texts_in_macros_and_documentation_are_found_and_those_of_tests_are_not() {
        let text = r##"/// What it does.
fn one() { let a = format!("{b} is {}", "held"); r#"raw "one""#; 'x'; }
#[cfg(test)]
mod tests { fn x() { "not this"; } }
#[test]
fn y() { "nor this"; }
fn two() -> &'static str { "after" }
"##;
        let mut found = Vec::new();
        collect(text.parse().expect("tokens"), false, &mut found);
        let told: Vec<(usize, &str, bool)> =
            found.iter().map(|text| (text.line, text.words.as_str(), text.documents)).collect();
        assert_eq!(
            told,
            [
                (1, " What it does.", true),
                (2, "{b} is {}", false),
                (2, "held", false),
                (2, "raw \"one\"", false),
                (7, "after", false)
            ]
        );
    }
}
