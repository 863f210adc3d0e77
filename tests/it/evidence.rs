//! The report for programs and its schema.

use std::{fs, sync::LazyLock};

use serde_json::Value;

use crate::support::root;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let text = fs::read_to_string(root().join("docs/evidence.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::meta::validate(&schema).expect("the schema is one");
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema compiles")
});

/// The document is what the schema says.
#[track_caller]
pub(crate) fn valid(document: &Value) {
    let problems: Vec<String> =
        SCHEMA.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{}\nin: {document:#}", problems.join("\n"));
}
