//! Reads the JSON of a report again: of this version, and of those before it.
//!
//! What is read becomes the same [`RunView`] that the run's own events made, so that a report that is shown says what its summary said.
//! Versions: 1 has no criteria, hops and next steps, which are worked out from its facts; and what undoing a row came to stands under
//! `undo`, where version 2 has what undoing means.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::evidence::DOCUMENT_VERSION;
use crate::{
    domain::Outcome,
    engine::event::{Preview, RowInfo, RowKind},
    report::{
        render::findings::{self, Criterion, Hop},
        run_view::{PlanRecord, Row, RowState, RunView, UndoRecord, Warning},
    },
};

/// A report that was read.
#[derive(Debug, Clone)]
pub struct Stored {
    pub version: u64,
    pub run_url: Option<String>,
    pub view: RunView,
    pub warnings: Vec<Warning>,
    pub criteria: Vec<Criterion>,
    pub hops: Vec<Hop>,
    pub next_steps: Vec<String>,
    /// Whether the three above are the report's own. Else they were worked out from its facts, by this program's rules.
    pub own_findings: bool,
}

/// Reads a report. `Err` says what is wrong, and where.
pub fn read(bytes: &[u8]) -> Result<Stored, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof if bytes.iter().all(u8::is_ascii_whitespace) => "is empty".to_owned(),
        serde_json::error::Category::Eof => {
            format!("is cut short: it ends in the middle, at line {} column {}", error.line(), error.column())
        }
        _ => format!("is no JSON: {error}"),
    })?;
    let Value::Object(document) = document else { return Err("is no report: not an object".to_owned()) };
    let version = match document.get("version") {
        None => return Err("is no report of a run: it has no `version`".to_owned()),
        Some(version) => {
            version.as_u64().ok_or_else(|| format!("`version` is {version}, not a number of a version"))?
        }
    };
    if !(1..=u64::from(DOCUMENT_VERSION)).contains(&version) {
        return Err(format!("`version` is {version}; this program reads 1 to {DOCUMENT_VERSION}"));
    }
    let parts = Parts { document: &document };
    let view = parts.view()?;
    let described: Option<Vec<Warning>> = parts.optional("warnings")?;
    let warnings = described.unwrap_or_else(|| view.all_warnings());
    let view = with_warnings(view, &warnings);
    let bundle: Option<Map<String, Value>> = parts.optional("bundle")?;
    let hops = bundle.as_ref().and_then(|bundle| bundle.get("hops")).filter(|hops| !hops.is_null());
    let hops: Option<Vec<Hop>> = hops.map(|hops| shaped(hops, "bundle.hops")).transpose()?;
    let criteria: Option<Vec<Criterion>> = parts.optional("criteria")?;
    let next_steps: Option<Vec<String>> = parts.optional("next_steps")?;
    Ok(Stored {
        version,
        run_url: parts.optional("run_url")?,
        own_findings: criteria.is_some() && hops.is_some() && next_steps.is_some(),
        criteria: criteria.unwrap_or_else(|| findings::criteria(&view)),
        hops: hops.unwrap_or_else(|| findings::hops(&view)),
        next_steps: next_steps.unwrap_or_else(|| findings::next_steps(&view)),
        warnings,
        view,
    })
}

/// The parts of a document, each by its name.
struct Parts<'d> {
    document: &'d Map<String, Value>,
}

impl Parts<'_> {
    /// What is `null` or not there is not known.
    fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        self.document.get(name).filter(|value| !value.is_null()).map(|value| shaped(value, name)).transpose()
    }

    fn required<T: DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        self.optional(name)?.ok_or_else(|| format!("has no `{name}`"))
    }

    fn view(&self) -> Result<RunView, String> {
        let began: String = self.required("began")?;
        let outcome: Option<Outcome> = self.optional("ending")?;
        self.agrees("outcome", outcome.as_ref().map(Outcome::word).into())?;
        self.agrees("exit_code", outcome.as_ref().map(Outcome::exit_code).into())?;
        let mut rows = self.rows()?;
        // Rows stand in the order in which they run, and a commit row ends only by being reached.
        let commit = rows
            .iter()
            .position(|row| row.info.kind == RowKind::Commit && matches!(row.state, RowState::Finished { .. }));
        if let Some(commit) = commit {
            rows[commit..].iter_mut().for_each(|row| row.after_commit = true);
        }
        Ok(RunView {
            stage: self.required("stage")?,
            began_unix_ms: unix_ms(&began).ok_or_else(|| format!("`began` is `{began}`, not a time in UTC"))?,
            took_ms: self.required("took_ms")?,
            rows,
            records: self.optional("facts")?.unwrap_or_default(),
            warnings: Vec::new(),
            plan: self.plan()?,
            released: self.list("released", shaped)?,
            committed: commit.is_some(),
            outcome,
        })
    }

    /// What stands there twice must say the same: a report that contradicts itself was edited, and no half of it is to be believed.
    fn agrees(&self, name: &str, ending: Value) -> Result<(), String> {
        match self.document.get(name) {
            Some(described) if *described != ending => {
                Err(format!("contradicts itself: `{name}` is {described}, by its `ending` it is {ending}"))
            }
            _ => Ok(()),
        }
    }

    fn list<T>(&self, name: &str, read: impl Fn(&Value, &str) -> Result<T, String>) -> Result<Vec<T>, String> {
        let list: Vec<Value> = self.optional(name)?.unwrap_or_default();
        list.iter().enumerate().map(|(index, value)| read(value, &format!("{name}[{index}]"))).collect()
    }

    fn rows(&self) -> Result<Vec<Row>, String> {
        self.list("rows", row)
    }

    fn plan(&self) -> Result<Option<PlanRecord>, String> {
        let Some(plan) = self.optional::<Map<String, Value>>("plan")? else { return Ok(None) };
        let because = plan.get("because").ok_or("`plan` has no `because`")?;
        let rows: Vec<Value> = plan.get("rows").map(|rows| shaped(rows, "plan.rows")).transpose()?.unwrap_or_default();
        let previews = rows.iter().enumerate().map(|(index, row)| {
            let part = |name: &str| row.get(name).ok_or_else(|| format!("`plan.rows[{index}]` has no `{name}`"));
            Ok(Preview {
                step: shaped(part("step")?, &format!("plan.rows[{index}].step"))?,
                lines: shaped(part("preview")?, &format!("plan.rows[{index}].preview"))?,
            })
        });
        Ok(Some(PlanRecord {
            because: shaped(because, "plan.because")?,
            previews: previews.collect::<Result<_, String>>()?,
        }))
    }
}

fn shaped<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("`{place}` cannot be read: {error}"))
}

/// Version 1 had what undoing came to under `undo`, and what undoing means nowhere else; version 2 tells them apart.
fn row(value: &Value, place: &str) -> Result<Row, String> {
    let mut info: Map<String, Value> = shaped(value, place)?;
    let state: RowState = shaped(value, place)?;
    let described = match info.get("undo") {
        Some(undo @ Value::Object(_)) => Some(shaped::<UndoRecord>(undo, &format!("{place}.undo"))?),
        _ => None,
    };
    if let Some(described) = &described {
        info.insert("undo".to_owned(), described.text.clone().into());
    }
    let taken_back = match info.get("taken_back") {
        None | Some(Value::Null) => None,
        Some(undo) => Some(shaped::<UndoRecord>(undo, &format!("{place}.taken_back"))?),
    };
    let info: RowInfo = shaped(&Value::Object(info), place)?;
    Ok(Row { info, state, undo: taken_back.or(described), after_commit: false })
}

/// A report lists every warning; a story tells those of its rows by itself, and must not count them twice.
fn with_warnings(mut view: RunView, all: &[Warning]) -> RunView {
    let mut own = all.to_vec();
    for of_a_row in view.all_warnings() {
        if let Some(at) = own.iter().position(|warning| warning.says_the_same(&of_a_row)) {
            own.remove(at);
        }
    }
    view.warnings = own;
    view
}

/// As `words::time` writes it.
fn unix_ms(text: &str) -> Option<i64> {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S UTC").ok()?;
    Some(time.and_utc().timestamp_millis())
}
