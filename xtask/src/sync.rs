//! The files that are made from the table of inputs, so that none of them can say something else.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use gated_deploy::{
    config::{
        POST,
        flags::wrap,
        table::{
            APPROVAL_PHRASE, ENVIRONMENTS, EXIT_CODES, INPUTS, Input, Kind, OUTPUTS, POLICY_KEYS, Preset, Subject,
        },
    },
    domain::hook::Moment,
    errors,
};

use serde_json::{Map, Value, json};

const MADE: &str = "Made by `cargo xtask sync` from src/config/table.rs; do not edit.";
/// Columns of text in action.yml.
const WIDTH: usize = 110;

/// Writes the files, or, to check, fails and says what is different.
pub(crate) fn run(root: &Path, check: bool) -> anyhow::Result<()> {
    let mut stale = Vec::new();
    for (name, text) in files()? {
        let path = root.join(name);
        let there = fs::read_to_string(&path).unwrap_or_default();
        if there == text {
            continue;
        }
        stale.push(format!("{name}: {}", difference(&there, &text)));
        if !check {
            write(&path, &text)?;
            println!("wrote {name}");
        }
    }
    anyhow::ensure!(!check || stale.is_empty(), "not up to date; run `cargo xtask sync`\n  {}", stale.join("\n  "));
    Ok(())
}

fn write(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn files() -> anyhow::Result<[(&'static str, String); 4]> {
    Ok([
        ("action.yml", action_yml("Dockerfile")),
        ("schema/policy.schema.json", policy_schema()?),
        ("docs/inputs.md", inputs_md()),
        ("docs/errors.md", errors_md()),
    ])
}

/// Every code with its meaning, its cause and what to do, in alphabetical order.
fn errors_md() -> String {
    let about = "Every error and every warning has a code. It stands in the log below the message, in the title of the annotation, in the summary, \
                 and as `code` in the JSON report. A code keeps its meaning; its words may change.";
    let mut text = format!(
        "<!-- Made by `cargo xtask sync` from src/errors/; do not edit. -->\n\n# Errors and warnings\n\n{}\n",
        wrap(about, WIDTH)
    );
    let mut codes: Vec<_> = errors::all().collect();
    codes.sort_by_key(|code| code.name);
    for code in codes {
        let paragraphs = [code.meaning, code.cause, code.action].map(|paragraph| wrap(paragraph, WIDTH));
        let [meaning, cause, action] = paragraphs;
        let name = code.name;
        let only = if code.only_warns { "This is a warning: the run goes on.\n\n" } else { "" };
        _ = write!(text, "\n## {name}\n\n{meaning}\n\n{only}**Cause.** {cause}\n\n**What to do.** {action}\n");
    }
    text
}

/// The first line that differs, and how many do.
fn difference(there: &str, made: &str) -> String {
    if there.is_empty() {
        return "is missing".to_owned();
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (there.lines().collect(), made.lines().collect());
    let different = |index: &usize| old.get(*index) != new.get(*index);
    let lines: Vec<usize> = (0..old.len().max(new.len())).filter(different).collect();
    match lines.first() {
        None => "differs in line ends only".to_owned(),
        Some(first) => {
            let (old, new) =
                (old.get(*first).copied().unwrap_or("(nothing)"), new.get(*first).copied().unwrap_or("(nothing)"));
            format!(
                "{} lines differ, from line {}: has `{}`, should have `{}`",
                lines.len(),
                first + 1,
                old.trim(),
                new.trim()
            )
        }
    }
}

fn in_order(inputs: &'static [Input]) -> impl Iterator<Item = &'static Input> {
    Subject::ALL.into_iter().flat_map(move |subject| inputs.iter().filter(move |input| input.subject == subject))
}

/// Defaults stand in the descriptions: as `default:` they would reach the program as if a person had given them, and beat
/// the policy file.
///
/// `image` is what `runs.image` says: `Dockerfile` here, an image in a registry in a release.
pub(crate) fn action_yml(image: &str) -> String {
    let mut yml = format!(
        "# {MADE}\n\
         name: gated-deploy\n\
         description: Releases Laravel apps to ordinary servers over SSH, gated at every step, and rolls back by itself.\n\
         branding:\n  icon: upload-cloud\n  color: green\n\
         \ninputs:\n"
    );
    for input in in_order(INPUTS) {
        let _ = write!(yml, "  {}:\n    description: >-\n{}", input.name, folded(&input.described()));
        let _ = writeln!(yml, "    required: {}", input.preset == Preset::Required);
        if let Preset::Runner(expression) = input.preset {
            let _ = writeln!(yml, "    default: {expression}");
        }
    }
    yml.push_str("\noutputs:\n");
    for output in OUTPUTS {
        let _ = write!(yml, "  {}:\n    description: >-\n{}", output.name, folded(output.help));
    }
    // Explicit entry points, because some runners need one; no args, because inputs come by the environment alone, and the runner would
    // give the same ones to both. Post is the same program by another name, and always runs: it looks itself whether there is anything to do.
    let _ = write!(yml, "\nruns:\n  using: docker\n  image: {image}\n  entrypoint: /usr/local/bin/gated-deploy\n");
    let _ = write!(yml, "  post-entrypoint: /usr/local/bin/{POST}\n  post-if: always()\n");
    yml
}

fn folded(text: &str) -> String {
    wrap(text, WIDTH).lines().map(|line| format!("      {line}\n")).collect()
}

fn policy_schema() -> anyhow::Result<String> {
    let settings: Map<String, Value> = in_order(INPUTS)
        .filter(|input| input.policy)
        .chain(in_order(POLICY_KEYS).filter(|key| key.name != APPROVAL_PHRASE))
        .map(|input| (input.name.to_owned(), property(input)))
        .collect();
    let mut section = settings.clone();
    section.extend(
        POLICY_KEYS.iter().filter(|key| key.name == APPROVAL_PHRASE).map(|key| (key.name.to_owned(), property(key))),
    );
    let mut top = settings;
    top.insert(
        ENVIRONMENTS.to_owned(),
        json!({
            "type": ["object", "null"],
            "description": "A section for each environment, such as staging and production.",
            "propertyNames": {"pattern": "^[a-z0-9][a-z0-9-]{0,63}$"},
            "additionalProperties": {"$ref": "#/definitions/environment"},
        }),
    );
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": MADE,
        "title": "Policy of gated-deploy",
        "description": "What holds for every run: .github/gated-deploy.yml. An input of the step beats it; secrets never stand in it.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": top,
        "definitions": {"environment": {
            "type": ["object", "null"],
            "description": "What holds for this environment only; it beats the top level.",
            "additionalProperties": false,
            "properties": section,
        }},
    });
    Ok(serde_json::to_string_pretty(&schema).context("writing the schema")? + "\n")
}

fn property(input: &Input) -> Value {
    let mut property = match input.kind {
        Kind::Boolean => json!({"type": ["boolean", "null"]}),
        Kind::Count { min, max } => json!({"type": ["integer", "null"], "minimum": min, "maximum": max}),
        Kind::Duration { .. } => {
            json!({"anyOf": [{"type": "string", "pattern": "^[0-9]+[smh]?$"}, {"type": "integer", "minimum": 0}, {"type": "null"}]})
        }
        Kind::Grace { .. } => {
            json!({"anyOf": [{"type": "string", "pattern": "^([0-9]+[smh]?|until-stable)$"}, {"type": "integer", "minimum": 0}, {"type": "null"}]})
        }
        Kind::OneOf(words) => {
            json!({"enum": words.iter().map(|word| json!(word)).chain([Value::Null]).collect::<Vec<_>>()})
        }
        Kind::UrlPaths => {
            let entry = json!({"anyOf": [{"type": "string"}, health_path()]});
            json!({"anyOf": [{"type": "array", "items": entry}, {"type": "string"}, health_path(), {"type": "null"}]})
        }
        Kind::Hooks => hooks(),
        kind if kind.is_list() => {
            json!({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "null"}]})
        }
        _ => json!({"type": ["string", "null"]}),
    };
    property["description"] = Value::String(input.described());
    if let Preset::Is(text) = input.preset {
        property["default"] = default(input.kind, text);
    }
    property
}

/// A health path with what it must answer.
fn health_path() -> Value {
    let one_of = |names: [&str; 2]| json!({"not": {"required": names}});
    json!({
        "type": "object",
        "required": ["path"],
        "additionalProperties": false,
        "properties": {
            "path": {"type": "string", "pattern": "^/"},
            "expect": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
            "contains": {"type": "string", "minLength": 1},
            "status": {"type": "integer", "minimum": 200, "maximum": 299},
        },
        "allOf": [one_of(["expect", "contains"]), one_of(["expect", "status"]), one_of(["contains", "status"])],
    })
}

/// Moments, each with its commands.
fn hooks() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let command = json!({
        "type": "object",
        "required": ["run"],
        "additionalProperties": false,
        "properties": {
            "run": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "within": {"anyOf": [{"type": "string", "pattern": "^[0-9]+[smh]?$"}, {"type": "integer", "minimum": 1}]},
            "required": {"type": "boolean"},
            "env": texts,
        },
    });
    let commands = json!({"type": ["array", "null"], "items": {"anyOf": [{"type": "string"}, command]}});
    let moments = Moment::ALL.map(|moment| (moment.as_str().to_owned(), commands.clone()));
    json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": moments.into_iter().collect::<Map<String, Value>>(),
    })
}

fn default(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Boolean => Value::Bool(text == "true"),
        Kind::Count { .. } => text.parse::<u64>().map(Value::from).unwrap_or_else(|_| Value::from(text)),
        kind if kind.is_list() => text.lines().map(Value::from).collect(),
        _ => Value::from(text),
    }
}

fn inputs_md() -> String {
    let mut md = format!(
        "<!-- {MADE} -->\n\n# Inputs and outputs\n\n\
         Every input can be given in the step's `with:`, as a flag of the same name on a command line, or as a variable\n\
         (`GATED_DEPLOY_SSH_HOST` for `ssh-host`). Those marked *policy* can also stand in the policy file, `.github/gated-deploy.yml`, at\n\
         the top or in the section of an environment under `{ENVIRONMENTS}`. A flag beats a variable, a variable beats the file, an\n\
         environment's section beats the top of the file, the file beats the default. Empty is the same as not given.\n\n\
         Durations are `15s`, `10m`, `1h`, or plain seconds. Lists are one a line, or a YAML list in the policy file. Booleans are `true` and\n\
         `false`. White space around a value does not count. Secrets are masked, are refused in the policy file, and come on a command\n\
         line only as `@file`; `ssh-known-hosts` may come so, too. An input that the stage does not use is checked, and is a warning unless\n\
         it stands in the policy file.\n"
    );
    for subject in Subject::ALL.into_iter().filter(|subject| INPUTS.iter().any(|input| input.subject == *subject)) {
        let _ = write!(md, "\n## {subject}\n\n| input | default | where | what it is |\n|---|---|---|---|\n");
        for input in INPUTS.iter().filter(|input| input.subject == subject) {
            row(
                &mut md,
                input,
                if input.secret {
                    "secret"
                } else if input.policy {
                    "policy"
                } else {
                    "run"
                },
            );
        }
    }
    md.push_str(
        "\n## Keys that only the policy file has\n\n| key | default | where | what it is |\n|---|---|---|---|\n",
    );
    for key in POLICY_KEYS {
        row(&mut md, key, if key.name == APPROVAL_PHRASE { "environment" } else { "policy" });
    }
    md.push_str("\n## Outputs\n\n| output | what it is |\n|---|---|\n");
    for output in OUTPUTS {
        let _ = writeln!(md, "| `{}` | {} |", output.name, cell(output.help));
    }
    md.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in EXIT_CODES {
        let _ = writeln!(md, "| {code} | {} |", cell(meaning));
    }
    md
}

fn row(md: &mut String, input: &Input, place: &str) {
    let _ = writeln!(md, "| `{}` | {} | {place} | {} |", input.name, cell(&input.default_text()), cell(&what(input)));
}

fn what(input: &Input) -> String {
    match input.kind {
        Kind::OneOf(words) => format!("{} One of `{}`.", input.help, words.join("`, `")),
        _ => input.help.to_owned(),
    }
}

/// Markdown in a table's cell. What looks like a tag stands between backticks in all our texts.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_up_to_date() {
        let root = crate::root().expect("xtask lies in a folder of the project");
        if let Err(stale) = super::run(root, true) {
            panic!("{stale}");
        }
    }

    #[test]
    fn a_difference_names_the_first_line() {
        assert_eq!(super::difference("a\nb\nc\n", "a\nx\n"), "2 lines differ, from line 2: has `b`, should have `x`");
        assert_eq!(super::difference("", "a\n"), "is missing");
    }
}
