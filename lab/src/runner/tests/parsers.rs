use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::commands::{Command, Syntax};
use super::super::file_commands::parse;
use super::super::masker::Masker;
use super::data;

#[derive(Deserialize)]
struct Vectors<T> {
    vectors: Vec<T>,
}

fn vectors<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let json = std::fs::read_to_string(data(file)).expect("the vectors are part of the repository");
    serde_json::from_str::<Vectors<T>>(&json).expect("the vectors are well-formed").vectors
}

#[derive(Deserialize)]
struct FileVector {
    name: String,
    file: String,
    pairs: Option<Vec<(String, String)>>,
    error: Option<String>,
}

#[test]
fn file_commands_parse_as_the_runner_parses_them() {
    let vectors: Vec<FileVector> = vectors("file-command-vectors.json");
    assert_eq!(vectors.len(), 28);
    for vector in vectors {
        let parsed = parse(vector.file.as_bytes());
        assert_eq!(parsed.error, vector.error, "{}", vector.name);
        if let Some(pairs) = vector.pairs {
            assert_eq!(parsed.pairs, pairs, "{}", vector.name);
        }
    }
}

#[test]
fn pairs_before_an_error_still_count_and_a_byte_order_mark_does_not() {
    let parsed = parse("\u{feff}a=1\nbroken\nb=2\n".as_bytes());
    assert_eq!(parsed.pairs, [("a".to_owned(), "1".to_owned())]);
    assert_eq!(parsed.error.as_deref(), Some("Invalid format 'broken'"));
}

#[derive(Deserialize)]
struct LineVector {
    line: String,
    parsed: Option<ParsedLine>,
}

#[derive(Deserialize)]
struct ParsedLine {
    syntax: String,
    command: String,
    properties: BTreeMap<String, String>,
    data: String,
}

#[test]
fn lines_parse_as_the_runner_parses_them() {
    let vectors: Vec<LineVector> = vectors("workflow-command-vectors.json");
    assert_eq!(vectors.len(), 18);
    for vector in vectors {
        let expected = vector.parsed.map(|parsed| Command {
            syntax: if parsed.syntax == "v2" { Syntax::V2 } else { Syntax::Legacy },
            name: parsed.command,
            properties: parsed.properties,
            data: parsed.data,
        });
        assert_eq!(Command::parse(&vector.line, None), expected, "{}", vector.line);
    }
}

#[test]
fn escapes_are_undone_once() {
    let command = Command::parse("::error title=100%253A::%250A", None).expect("a command");
    assert_eq!(command.property("TITLE"), Some("100%3A"));
    assert_eq!(command.data, "%0A");
}

#[test]
fn a_secret_is_masked_in_every_encoding_that_the_runner_knows() {
    let mut masker = Masker::default();
    masker.add("p\"a<ss'w&rd/1");
    for form in [
        "p\"a<ss'w&rd/1",
        // Base64 of the whole, and as it stands in base64 of `x:` and `xy:` and the secret.
        "cCJhPHNzJ3cmcmQvMQ==",
        "ImE8c3MndyZyZC8x",
        "YTxzcyd3JnJkLzE=",
        r#"p\"a<ss'w&rd/1"#,
        "p\"a<ss''w&rd/1",
        "p%22a%3Css%27w%26rd%2F1",
        "p&quot;a&lt;ss&apos;w&amp;rd/1",
    ] {
        assert_eq!(masker.mask(&format!("before {form} after")), "before *** after", "{form}");
    }
    assert_eq!(masker.mask("p\"a<ss"), "p\"a<ss", "a part of it is not the secret");
}

#[test]
fn each_line_of_a_secret_is_masked_and_neighbours_become_one() {
    let mut masker = Masker::default();
    masker.add("first-line\r\n  second-line  \n\n");
    assert_eq!(masker.mask("a first-line b"), "a *** b");
    assert_eq!(masker.mask("second-line"), "***");
    assert_eq!(masker.mask("first-linesecond-line!"), "***!");
    masker.add("aba");
    assert_eq!(masker.mask("ababa"), "***", "occurrences may overlap");
}
