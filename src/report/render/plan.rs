//! What a run would do, as text and as JSON.

use serde_json::{Value, json};

use super::{clean, fix, log::Log, words};
use crate::{
    domain::{Approval, Sha256Digest, record::key},
    engine::event::{Body, Event, Reader},
    report::{
        Setting,
        render::{ending, sections},
        run_view::{PlanRecord, Row, RunView},
    },
};

/// Prints the plan of a run that stops at the approval.
pub struct Plan {
    log: Log,
    setting: Setting,
    view: RunView,
}

impl Plan {
    pub fn new(setting: Setting, log: Log) -> Self {
        Self { log, setting, view: RunView::default() }
    }
}

impl Reader for Plan {
    fn read(&mut self, event: &Event) {
        self.view.apply(&self.log.redactor().event(event));
        if matches!(event.body, Body::Planned { .. }) {
            self.log.text("", &text(&self.view, &self.setting));
        }
    }
}

/// The plan, to be read; empty when the story has none. Its last line can be counted and compared.
pub fn text(view: &RunView, setting: &Setting) -> String {
    let Some(plan) = &view.plan else { return String::new() };
    let mut lines = vec![format!("plan for {}: {}", view.stage, clean::one_line(&plan.because))];
    match fix::describe(view) {
        Some(fix) => lines.push(format!("  {}: {}", fix.name, clean::one_line(&fix.subject))),
        None => {
            lines.push(format!("  from {} to {}", from(view).unwrap_or("nothing"), to(view).unwrap_or("(no release)")));
        }
    }
    for row in view.release_rows() {
        lines.push(format!("  {}{}", row.name(), sections::lane(&row.info)));
        if let Some(undo) = ending::undo(&row.info) {
            lines.push(format!("      {}", clean::one_line(&undo)));
        }
        let preview = lines_of(plan, row).iter().flat_map(|line| clean::lines(line));
        lines.extend(preview.map(|line| format!("      | {line}")));
    }
    for warning in &view.warnings {
        lines.push(format!("  warning: {}", clean::one_line(&warning.text)));
        if !warning.code.is_empty() {
            lines.push(format!("      code: {}", clean::one_line(&warning.code)));
        }
        if let Some(hint) = &warning.hint {
            lines.push(format!("      help: {}", clean::one_line(hint)));
        }
    }
    lines.extend(approval(view, setting));
    lines.push(last_line(view));
    lines.join("\n")
}

/// A plan without a digest has nothing to approve.
fn approval(view: &RunView, setting: &Setting) -> Option<String> {
    let (phrase, digest) = (setting.phrase.as_ref()?, view.record::<Sha256Digest>(key::PLAN_DIGEST)?);
    Some(format!("  to approve this plan, set `approval` to: {}", Approval::phrase_for(phrase, &digest)))
}

/// The plan, for programs; `null` when the story has none.
pub fn document(view: &RunView) -> Value {
    let Some(plan) = &view.plan else { return Value::Null };
    let rows: Vec<Value> = view
        .release_rows()
        .map(|row| {
            let mut described = json!({
                "step": row.info.step,
                "number": row.info.number,
                "title": row.info.title,
                "kind": row.info.kind,
                "undo": row.info.undo,
                "preview": lines_of(plan, row),
            });
            if let Some(lane) = row.info.lane {
                described["lane"] = lane.into();
            }
            described
        })
        .collect();
    json!({
        "because": plan.because,
        "from": from(view),
        "to": to(view),
        "digest": view.text_record(key::PLAN_DIGEST),
        "rows": rows,
        "warnings": view.warnings,
    })
}

/// `plan: 14 steps, 8 changes; digest 3f9a1c2e8d7b6a5f`
fn last_line(view: &RunView) -> String {
    let steps = view.release_rows().count();
    let changes = view.release_rows().filter(|row| row.changes_something()).count();
    let digest = view
        .record::<Sha256Digest>(key::PLAN_DIGEST)
        .map(|digest| format!("; digest {}", Approval::shown(&digest)))
        .unwrap_or_default();
    format!("plan: {}, {}{digest}", words::count(steps, "step"), words::count(changes, "change"))
}

fn lines_of<'p>(plan: &'p PlanRecord, row: &Row) -> &'p [String] {
    plan.previews.iter().find(|preview| preview.step == row.info.step).map_or(&[], |preview| &preview.lines)
}

fn from(view: &RunView) -> Option<&str> {
    view.text_record(key::PREVIOUS_RELEASE)
}

fn to(view: &RunView) -> Option<&str> {
    view.text_record(key::RELEASE)
}
