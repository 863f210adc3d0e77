//! An audit's result: GO or NO-GO for each environment, the table of target and actual, and the same in SARIF.

use serde_json::{Value, json};

use super::{
    markdown::{head, in_cell, inline, list, row, short, title},
    words,
};
use crate::{
    domain::{
        audit::{AuditFinding, AuditVerdict, Impact, Status},
        record::key,
        row::{self, RowId},
    },
    report::run_view::RunView,
};

/// Longest text in a cell, in characters.
const CELL: usize = 1200;

/// The page that has an anchor for each finding.
const HANDBOOK: &str = "docs/audit.md";

/// Rows that look at the server and the site of the environment that was asked for; the others look at GitHub.
const OF_THE_SERVER: [RowId; 5] =
    [row::REACH_SERVER, row::SURVEY_SERVER, row::LIVE_RELEASE, row::SITE_HEALTH, row::HEALTH_TOKEN];

pub(crate) const HEAD: [&str; 7] = ["Finding", "Target", "Actual", "Impact", "Status", "Recommended fix", "Source"];

pub(crate) fn findings(view: &RunView) -> Vec<AuditFinding> {
    let mut all: Vec<AuditFinding> = view.record(key::AUDIT).unwrap_or_default();
    // What forbids a release stands first.
    all.sort_by_key(|finding| (finding.status == Status::Met, finding.impact));
    all
}

/// For staging, for production, and for the environment that was asked for.
pub(crate) fn verdicts(view: &RunView) -> Vec<AuditVerdict> {
    let here = view.text_record(key::ENVIRONMENT).unwrap_or("production");
    let mut environments = vec!["staging", "production"];
    if !environments.contains(&here) {
        environments.push(here);
    }
    let findings = findings(view);
    environments.into_iter().map(|environment| verdict(view, &findings, environment, here)).collect()
}

fn verdict(view: &RunView, findings: &[AuditFinding], environment: &str, here: &str) -> AuditVerdict {
    let mut reasons: Vec<String> =
        findings.iter().filter(|finding| finding.forbids(environment)).map(AuditFinding::describe).collect();
    // What nobody answered is no GO either. A row that failed by what it found has said so in its findings.
    for row in view.failed_rows() {
        let concerns = environment == here || !OF_THE_SERVER.iter().any(|id| row.info.step == *id);
        let described = findings.iter().any(|finding| finding.step == row.info.step && finding.forbids(here));
        if let Some(failure) = row.failure().filter(|_| concerns && !described) {
            reasons.push(format!("{}: {failure}", row.name()));
        }
    }
    if findings.is_empty() && reasons.is_empty() {
        reasons.push("nothing was checked".to_owned());
    }
    let unasked = findings.iter().any(|finding| finding.id == "server-looked-at" && finding.status == Status::Unseen);
    let remark = if environment != here {
        Some(format!(
            "by GitHub alone: its server was not looked at; for that, run the audit with environment: {environment}"
        ))
    } else if unasked {
        Some("by GitHub alone: its server was not looked at, no server was named".to_owned())
    } else {
        None
    };
    AuditVerdict { environment: environment.to_owned(), go: reasons.is_empty(), reasons, remark }
}

/// GO or NO-GO, then each reason once, with the environments that it is about. A row that failed by something else than its findings stands
/// below with its cause, and is only named.
pub(crate) fn decisions(view: &RunView) -> String {
    let verdicts = verdicts(view);
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for verdict in &verdicts {
        for reason in &verdict.reasons {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, environments)) => environments.push(&verdict.environment),
                None => reasons.push((reason, vec![&verdict.environment])),
            }
        }
    }
    let decided = verdicts.iter().map(|verdict| {
        let mark = if verdict.go { "✅ GO" } else { "❌ NO-GO" };
        let remark = verdict.remark.as_deref().map(|remark| format!(" ({})", title(remark))).unwrap_or_default();
        format!("**{}: {mark}**{remark}", inline(&verdict.environment))
    });
    let text = format!("### GO or NO-GO\n\n{}\n", list(decided));
    let against = reasons.into_iter().map(|(reason, environments)| {
        format!("{}: {}", inline(&environments.join(", ")), short(&brief(view, reason), CELL))
    });
    let against = list(against);
    if against.is_empty() { text } else { format!("{text}Reasons:\n\n{against}\n") }
}

fn brief(view: &RunView, reason: &str) -> String {
    let failed = view.failed_rows().find(|row| {
        row.failure().is_some_and(|failure| reason.strip_prefix(&row.name()) == Some(&format!(": {failure}")))
    });
    failed.map_or_else(|| reason.to_owned(), |row| format!("{} failed", row.name()))
}

/// Whether a row that failed has said so in a finding.
pub(crate) fn is_said(view: &RunView, step: &str) -> bool {
    let here = view.text_record(key::ENVIRONMENT).unwrap_or("production");
    findings(view).iter().any(|finding| finding.step.as_str() == step && finding.forbids(here))
}

/// The lines of the table: what is as it should be, or all else.
pub(crate) fn rows(view: &RunView, met: bool) -> Vec<String> {
    findings(view).iter().filter(|finding| (finding.status == Status::Met) == met).map(line).collect()
}

fn line(finding: &AuditFinding) -> String {
    let status = match finding.status {
        Status::Met => "✅ met",
        Status::NotMet if finding.impact == Impact::P0 => "❌ not met",
        Status::NotMet => "⚠️ not met",
        Status::Unseen => "❔ not seen",
    };
    let about = finding.environment.as_ref().map(|about| format!(", {}", inline(about))).unwrap_or_default();
    row([
        format!("{} (`{}`)", title(&finding.title), finding.id).as_str(),
        &short(&finding.target, CELL),
        &short(&finding.actual, CELL),
        &format!("{}{about}", finding.impact.as_str()),
        status,
        &finding.fix.as_deref().map(|fix| in_cell(fix, CELL)).unwrap_or_default(),
        &format!("{}, {}", short(&finding.source, CELL), words::time(finding.unix_ms)),
    ])
}

/// The table for the report, where there is room for all of it.
pub(crate) fn table(view: &RunView) -> String {
    format!("{}{}{}", head(&HEAD), rows(view, false).concat(), rows(view, true).concat())
}

/// The result as one value.
pub(crate) fn document(view: &RunView) -> Value {
    json!({ "verdicts": verdicts(view), "findings": findings(view) })
}

/// The findings in SARIF 2.1.0 (OASIS), for code scanning and other tools, which make an alert of every result: what is as it should be has a
/// rule and no result. What could not be seen is open.
pub(crate) fn sarif(view: &RunView) -> Value {
    let findings = findings(view);
    let rules: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "id": finding.id,
                "shortDescription": { "text": finding.title },
                "fullDescription": { "text": format!("{}: {}", finding.title, finding.target) },
                "help": { "text": format!("{HANDBOOK}#{}", finding.id) },
                "defaultConfiguration": { "level": level(finding.impact) },
            })
        })
        .collect();
    let results: Vec<Value> = findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.status != Status::Met)
        .map(|(index, finding)| {
            let (kind, level) = match finding.status {
                Status::Met | Status::NotMet => ("fail", level(finding.impact)),
                Status::Unseen => ("open", "none"),
            };
            let fix = finding.fix.as_deref().map(|fix| format!(". To do: {fix}")).unwrap_or_default();
            // Code scanning wants a file for each result; what is about no file is about what the policy asks for.
            let file = finding.file.as_deref().unwrap_or(".github/gated-deploy.yml");
            json!({
                "ruleId": finding.id,
                "ruleIndex": index,
                "kind": kind,
                "level": level,
                "message": { "text": format!("{}{fix}", finding.describe()) },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": file },
                    "region": { "startLine": 1 },
                } }],
                "partialFingerprints": { "finding/v1": format!("{}/{}", finding.id, finding.environment.as_deref().unwrap_or("every")) },
                "properties": {
                    "target": finding.target,
                    "impact": finding.impact,
                    "source": finding.source,
                    "environment": finding.environment,
                    "looked": words::time(finding.unix_ms),
                },
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "gated-deploy", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}

fn level(impact: Impact) -> &'static str {
    match impact {
        Impact::P0 => "error",
        Impact::P1 => "warning",
        Impact::P2 => "note",
    }
}
