//! What `cargo xtask tidy` checks of the Markdown files: that a line can be read beside the code, that a promise names a test that exists, and
//! that a document which a comment cites is there.

use std::collections::BTreeSet;

/// Columns of a line. Tables, code and links cannot be wrapped.
const WIDTH: usize = 140;

/// What is wrong with one document. `tests` are the names of all functions of the workspace.
pub(crate) fn complaints(name: &str, text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut in_code = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let fixed = in_code
            || line.starts_with("    ")
            || line.trim_start().starts_with(['|', '<'])
            || !line.trim().contains(' ');
        if !fixed && line.chars().count() > WIDTH {
            problems.push(format!("{name}:{}: more than {WIDTH} columns", number + 1));
        }
    }
    for (number, named) in promised(text) {
        if !tests.contains(named) {
            problems.push(format!("{name}:{number}: no test is called `{named}`"));
        }
    }
    problems
}

/// The tests that a document names as proof: in backticks, in the sentences after `Held by:` and `Tests:`. Those end at an empty line or at the
/// next item. Words in backticks that are no names of functions (`tidy`) count not.
fn promised(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let begins = ["Held by:", "Tests:"].iter().find_map(|mark| line.split_once(mark));
        let item = line.split_once(". ").is_some_and(|(first, _)| first.parse::<u32>().is_ok());
        let rest = match begins {
            Some((_, rest)) => rest,
            None if !inside || item || line.trim().is_empty() => {
                inside = false;
                continue;
            }
            None => line,
        };
        inside = true;
        let names = rest.split('`').skip(1).step_by(2);
        found.extend(
            names
                .filter(|name| name.contains('_') && !name.contains([' ', '/', ':', '.']))
                .map(|name| (number + 1, name)),
        );
    }
    found
}

/// The names of the functions in a source file.
pub(crate) fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ").strip_prefix("fn ")?;
        rest.split(['(', '<']).next()
    })
}

/// The documents that comments of a source file cite and that are not in the repository. `known` are the names of all documents, without folders.
pub(crate) fn missing(name: &str, text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
    let cited = comments.flat_map(|(number, line)| {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        words
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| word.ends_with(".md"))
            .map(move |word| (number, word))
    });
    cited
        .filter(|(_, document)| !known.contains(*document))
        .map(|(number, document)| format!("{name}:{}: the document {document} is not in the repository", number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cited_document_that_is_not_there_is_seen() {
        let known = BTreeSet::from(["here.md".to_owned()]);
        let text = "//! See docs/here.md and (gone.md, 3).\nlet file = \"of-an-app.md\";\n    // As `docs/too.md` has it: `here.md`.\n";
        assert_eq!(
            missing("a.rs", text, &known),
            [
                "a.rs:1: the document gone.md is not in the repository",
                "a.rs:3: the document too.md is not in the repository"
            ]
        );
    }

    #[test]
    fn a_promise_without_its_test_is_seen() {
        let tests = BTreeSet::from(["a_test".to_owned()]);
        let text = "1. **A promise.** With `code_of_it`.\n   Held by: `a_test`,\n   `no_test`; `tidy`.\n2. Another one, with `other_code`.\n\nTests: `gone_too`.\n";
        assert_eq!(
            complaints("A.md", text, &tests),
            ["A.md:3: no test is called `no_test`", "A.md:6: no test is called `gone_too`"]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_seen_unless_it_cannot_be_wrapped() {
        let long = "word ".repeat(30);
        let text = format!("{long}\n| {long} |\n    {long}\n```\n{long}\n```\n{}\n", "x".repeat(200));
        assert_eq!(complaints("A.md", &text, &BTreeSet::new()), ["A.md:1: more than 140 columns"]);
    }

    #[test]
    fn functions_are_found_whatever_stands_before_them() {
        let text = "fn one() {}\n    pub async fn two<T>(t: T) {}\n// fn three\nasync fn four() {}";
        assert_eq!(functions(text).collect::<Vec<_>>(), ["one", "two", "four"]);
    }
}
