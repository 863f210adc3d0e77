//! What a run would do, as text and as JSON.

use serde_json::{Value, json};

use super::{clean, fix, log::Log, words};
use crate::{
    domain::{Approval, Sha256Digest, fact::key},
    engine::event::{Body, Event, Reader},
    report::{
        render::ending,
        story::{PlanTold, Row, Story},
    },
};

/// Prints the plan of a run that stops at the seam.
pub struct Plan {
    log: Log,
    story: Story,
}

impl Plan {
    pub fn new(log: Log) -> Self {
        Self { log, story: Story::default() }
    }
}

impl Reader for Plan {
    fn read(&mut self, event: &Event) {
        self.story.hear(&self.log.redactor().event(event));
        if matches!(event.body, Body::Planned { .. }) {
            self.log.text("", &text(&self.story));
        }
    }
}

/// The plan, to be read; empty when the story has none. Its last line can be counted and compared.
pub fn text(story: &Story) -> String {
    let Some(plan) = &story.plan else { return String::new() };
    let mut lines = vec![format!("plan for {}: {}", story.stage, clean::one_line(&plan.because))];
    match fix::told(story) {
        Some(fix) => lines.push(format!("  {}: {}", fix.name, clean::one_line(&fix.subject))),
        None => {
            lines.push(format!(
                "  from {} to {}",
                from(story).unwrap_or("nothing"),
                to(story).unwrap_or("(no release)")
            ));
        }
    }
    for row in story.release_rows() {
        lines.push(format!("  {}", row.name()));
        if let Some(undo) = ending::undo(&row.info) {
            lines.push(format!("      {}", clean::one_line(&undo)));
        }
        let preview = lines_of(plan, row).iter().flat_map(|line| clean::lines(line));
        lines.extend(preview.map(|line| format!("      | {line}")));
    }
    for warning in &story.warnings {
        lines.push(format!("  warning: {}", clean::one_line(&warning.text)));
        if !warning.code.is_empty() {
            lines.push(format!("      code: {}", clean::one_line(&warning.code)));
        }
        if let Some(hint) = &warning.hint {
            lines.push(format!("      hint: {}", clean::one_line(hint)));
        }
    }
    lines.push(last_line(story));
    lines.join("\n")
}

/// The plan, for programs; `null` when the story has none.
pub fn document(story: &Story) -> Value {
    let Some(plan) = &story.plan else { return Value::Null };
    let rows: Vec<Value> = story
        .release_rows()
        .map(|row| {
            json!({
                "step": row.info.step,
                "number": row.info.number,
                "title": row.info.title,
                "kind": row.info.kind,
                "undo": row.info.undo,
                "preview": lines_of(plan, row),
            })
        })
        .collect();
    json!({
        "because": plan.because,
        "from": from(story),
        "to": to(story),
        "digest": story.text_fact(key::PLAN_DIGEST),
        "rows": rows,
        "warnings": story.warnings,
    })
}

/// `plan: 14 steps, 8 change something; digest 3f9a1c2e8d7b6a5f`
fn last_line(story: &Story) -> String {
    let steps = story.release_rows().count();
    let changes = story.release_rows().filter(|row| row.changes_something()).count();
    let digest = story
        .fact::<Sha256Digest>(key::PLAN_DIGEST)
        .map(|digest| format!("; digest {}", Approval::shown(&digest)))
        .unwrap_or_default();
    format!("plan: {}, {changes} change something{digest}", words::count(steps, "step"))
}

fn lines_of<'p>(plan: &'p PlanTold, row: &Row) -> &'p [String] {
    plan.previews.iter().find(|preview| preview.step == row.info.step).map_or(&[], |preview| &preview.lines)
}

fn from(story: &Story) -> Option<&str> {
    story.text_fact(key::PREVIOUS_RELEASE)
}

fn to(story: &Story) -> Option<&str> {
    story.text_fact(key::RELEASE)
}
