//! Parts of Markdown that summary and evidence share. Each is empty when there is nothing to say.

use super::{
    checked,
    markdown::{code, head, help_in_cell, inline, link, row, short, title},
    words,
};
use crate::{
    domain::{
        Approval, Sha256Digest,
        gate::GateReport,
        record::{
            ArtifactRecord, BackupRecord, BuildRun, BundleRecord, CopyStatus, DowntimeReport, Elsewhere, Endpoint,
            FirstAnswer, HealthReport, Identity, Migrations, Score, Services, Staging, Switch, key,
        },
        schema::{self, SchemaVerdict},
    },
    engine::event::{RowInfo, Verdict},
    report::{
        render::{
            ending,
            markdown::{ENTRIES, list, table_of_pairs},
        },
        run_view::{Row, RowState, RunView, Subject, UndoRecord, Warning},
    },
};

/// Longest text in a cell, in characters.
const CELL: usize = 240;
/// Longest cause or hint, in characters.
const SENTENCE: usize = 1200;

/// Every warning of the run, with what to do.
pub(crate) fn warnings(view: &RunView) -> String {
    let lines: Vec<String> = view.all_warnings().iter().map(|warning| warning_line(view, warning)).collect();
    if lines.is_empty() { String::new() } else { format!("### {}\n\n{}\n", warnings_title(view), list(lines)) }
}

/// `3 warnings`: as many as the verdict counts.
pub(crate) fn warnings_title(view: &RunView) -> String {
    words::count(view.all_warnings().len(), "warning")
}

/// The warnings that no finding of a pre-flight has told.
pub(crate) fn warnings_apart(view: &RunView) -> String {
    let findings = checked::findings(view);
    let warnings = view.all_warnings();
    let apart = warnings.iter().filter(|warning| findings.iter().all(|finding| finding.found != warning.text));
    list(apart.map(|warning| warning_line(view, warning)))
}

fn warning_line(view: &RunView, warning: &Warning) -> String {
    let hint = warning.hint.as_ref().map(|hint| format!("<br>{}", help_in_cell(hint, SENTENCE))).unwrap_or_default();
    let named = if warning.code.is_empty() { String::new() } else { format!("<br>**Code:** {}", code(&warning.code)) };
    let step = title(&ending::title_of(view, &warning.step));
    format!("⚠️ **{step}**: {}{named}{hint}", short(&warning.text, SENTENCE))
}

/// What was checked and what proves it, for the report.
pub(crate) fn checks(view: &RunView) -> String {
    let lines: Vec<_> = check_lines(view).into_iter().chain(evidence_lines(view)).collect();
    if lines.is_empty() { String::new() } else { format!("### Checks\n\n{}\n", table_of_pairs(&lines)) }
}

/// The numbers by which a release is judged, each in one line.
pub(crate) fn check_lines(view: &RunView) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(report) = view.record::<GateReport>(key::GATES) {
        lines.push(("Gates", scored(report.passed(), report.total())));
    }
    if let Some(staging) = view.record::<Staging>(key::STAGING) {
        lines.push(("Staging", staging_line(&staging)));
    }
    if let Some(report) = view.record::<HealthReport>(key::BASELINE) {
        let when =
            if matches!(view.subject(), Subject::Preflight | Subject::Audit) { "Health now" } else { "Health before" };
        lines.push((when, health_score(&report)));
    }
    if let Some(report) = view.record::<HealthReport>(key::HEALTH) {
        lines.push(("Health", health_score(&report)));
    }
    if let Some(report) = view.record::<HealthReport>(key::HEALTH_AFTER_ROLLBACK) {
        lines.push(("Health after rollback", health_score(&report)));
    }
    if let Some(identity) = view.record::<Identity>(key::IDENTITY) {
        lines.push(("Answered by", identity_line(&identity)));
    }
    if let Some(Score { passed, total }) = view.record(key::ASSETS) {
        lines.push(("Assets", scored(passed, total)));
    }
    lines
}

/// What proves which bytes went where.
pub(crate) fn evidence_lines(view: &RunView) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if let Some(build) = view.record::<BuildRun>(key::BUILD_RUN) {
        lines.push(("Built by", built_by(&build)));
    }
    if let Some(artifact) = view.record::<ArtifactRecord>(key::ARTIFACT) {
        lines.push(("Artifact", artifact_line(&artifact)));
    }
    if let Some(bundle) = view.record::<BundleRecord>(key::BUNDLE) {
        lines.push(("Bundle", bundle_line(&bundle)));
    }
    if let Some(backup) = view.record::<BackupRecord>(key::BACKUP).filter(|backup| !backup.files.is_empty()) {
        lines.push(("Backup files", backup_files(&backup)));
    }
    if let Some(tree) = view.record::<Sha256Digest>(key::TREE) {
        lines.push(("Tree digest", format!("SHA-256 {}", code(tree.short()))));
    }
    if let Some(switch) = view.record::<Switch>(key::SWITCH) {
        lines.push(("Switch", switch_line(&switch)));
    }
    if let Some(services) = view.record::<Services>(key::SERVICES) {
        lines.push(("Services", services_line(&services)));
    }
    if let Some(digest) = view.record::<Sha256Digest>(key::PLAN_DIGEST) {
        lines.push(("Plan digest", code(Approval::shown(&digest))));
    }
    if let Some(ledger) = view.text_record(key::LEDGER) {
        lines.push(("Ledger", code(ledger)));
    }
    lines
}

fn built_by(build: &BuildRun) -> String {
    let branch = build.branch.as_deref().map(|branch| format!(" on {}", code(branch))).unwrap_or_default();
    let run = link(&format!("run {}", build.id), &build.url);
    format!("{} {run}, attempt {}, {}{branch}", code(&build.workflow), build.attempt, inline(&build.event))
}

fn staging_line(staging: &Staging) -> String {
    let mark = if staging.against.is_empty() { "✅ GO" } else { "❌ NO-GO" };
    let release = staging.release.as_ref().map(|release| format!(", {}", code(release.as_str()))).unwrap_or_default();
    let equality = staging.equality().map(|equality| format!(", {}", inline(&equality))).unwrap_or_default();
    let since = staging.since.as_deref().map(|since| format!(", confirmed {}", inline(since))).unwrap_or_default();
    let said: Vec<String> =
        staging.said.iter().map(|said| format!("{}: {}", inline(&said.place), short(&said.text, CELL))).collect();
    format!("{mark}{release}{since}{equality}; {}", said.join("; "))
}

fn scored(passed: usize, total: usize) -> String {
    let mark = if passed == total && total > 0 { "✅" } else { "❌" };
    format!("{mark} {passed}/{total}")
}

fn health_score(report: &HealthReport) -> String {
    let score = report.score();
    format!("{}, attempt {} of {}", scored(score.passed, score.total), report.attempt, report.of)
}

fn identity_line(identity: &Identity) -> String {
    let note = identity.note.as_deref().map(|note| format!("; {}", short(note, CELL))).unwrap_or_default();
    if identity.proven {
        let by = identity.by.iter().map(|by| inline(by)).collect::<Vec<_>>().join(" and ");
        format!("✅ {}, {} times in a row, by {by}{note}", code(identity.release.as_str()), identity.in_a_row)
    } else {
        format!("⚠️ not proven{note}")
    }
}

/// What visitors met, in one line.
pub(crate) fn receipt_line(downtime_report: &DowntimeReport) -> String {
    let met = match (downtime_report.failures, downtime_report.downtime_ms > downtime_report.budget_ms) {
        (0, _) => format!("✅ none: 0 of {} requests failed", downtime_report.requests),
        (failures, over) => format!(
            "{} {}: {failures} of {} requests failed",
            if over { "❌" } else { "⚠️" },
            words::duration(downtime_report.downtime_ms),
            downtime_report.requests
        ),
    };
    let apart = match downtime_report.not_asked {
        0 => String::new(),
        count => format!(", {count} more did not reach the site"),
    };
    let first = downtime_report
        .first_failures
        .first()
        .map(|first| format!("; first failure: {}", short(&first.to_string(), CELL)));
    let visitor =
        downtime_report.first_after_switch.map(|answer| format!(", first after the switch {}", first_answer(answer)));
    format!(
        "{met}{apart}{}, slowest answer {}{}",
        visitor.unwrap_or_default(),
        words::duration(downtime_report.slowest_ms),
        first.unwrap_or_default()
    )
}

/// `12 ms (median before: 10 ms)`
fn first_answer(answer: FirstAnswer) -> String {
    format!("{} (median before: {})", words::short_time(answer.took_us), words::short_time(answer.median_before_us))
}

/// What visitors met during the switch.
pub(crate) fn zero_downtime(view: &RunView) -> String {
    let Some(downtime_report) = view.record::<DowntimeReport>(key::RECEIPT) else { return String::new() };
    let relative = |ms: i64| format!("{ms:+} ms");
    let paths = downtime_report.paths.iter().map(|path| code(path)).collect::<Vec<_>>().join(" and ");
    let mut lines = vec![
        (
            "Sampled",
            format!("{paths}, up to {} times a second, over fresh and kept connections in turn", downtime_report.rate),
        ),
        ("Duration", words::duration(downtime_report.lasted_ms)),
        ("Requests", downtime_report.requests.to_string()),
        ("Failures", downtime_report.failures.to_string()),
        (
            "Downtime",
            format!(
                "{} ms in {}; allowed: {} ms",
                downtime_report.downtime_ms,
                words::count(usize::try_from(downtime_report.outages).unwrap_or(usize::MAX), "outage"),
                downtime_report.budget_ms
            ),
        ),
        ("Slowest answer", format!("{} ms", downtime_report.slowest_ms)),
        (
            "First answer after the switch",
            downtime_report.first_after_switch.map_or("not measured".to_owned(), first_answer),
        ),
        (
            "First answer after the reload",
            downtime_report.first_after_reload.map_or("not measured".to_owned(), first_answer),
        ),
        (
            "Answered as",
            format!(
                "{} times the old release, {} times the new one, {} times unnamed",
                downtime_report.answered_by.old, downtime_report.answered_by.new, downtime_report.answered_by.unnamed
            ),
        ),
    ];
    if let Some(ms) = downtime_report.first_new_ms {
        lines.push(("First answer of the new release", relative(ms)));
    }
    lines.push((
        "Old and new side by side",
        downtime_report
            .side_by_side_ms
            .map_or("not seen: they did not both answer by name".to_owned(), |ms| format!("{ms} ms")),
    ));
    if let Some(ms) = downtime_report.old_again_ms {
        lines.push(("Old release again", format!("{ms} ms after the rollback began")));
    }
    if downtime_report.held_back > 0 {
        lines.push(("Held back by the site (429)", downtime_report.held_back.to_string()));
    }
    let mut text = format!("{}\n", table_of_pairs(&lines));
    if !downtime_report.first_failures.is_empty() {
        let rows = downtime_report.first_failures.iter().map(|failed| {
            let took = format!("{} ms", failed.took_ms);
            let (at, path, cause) = (relative(failed.at_ms), code(&failed.path), short(&failed.cause, CELL));
            row([at.as_str(), &path, &inline(&failed.connection), &took, &cause])
        });
        let shown = downtime_report.first_failures.len() as u64;
        let title = if shown < downtime_report.failures {
            format!("The first {shown} failures")
        } else {
            "Failures".to_owned()
        };
        text.push_str(&format!(
            "### {title}\n\n{}{}\n",
            head(&["At", "Page", "Connection", "After", "What happened"]),
            rows.collect::<String>()
        ));
    }
    if !downtime_report.remarks.is_empty() {
        text.push_str(&format!("{}\n", list(downtime_report.remarks.iter().map(|remark| short(remark, SENTENCE)))));
    }
    text.push_str("Times count from the moment before the switch.\n");
    text
}

/// Each file of the backup with its digest.
pub(crate) fn backup(view: &RunView) -> String {
    let Some(backup) = view.record::<BackupRecord>(key::BACKUP) else { return String::new() };
    let rows = backup.files.iter().map(|file| {
        let (name, size, sum) = (code(&file.name), words::bytes(file.size), code(file.sha256.as_str()));
        row([name.as_str(), &size, &sum, &short(&file.counted, CELL)])
    });
    let skipped = backup.skipped.iter().map(|skipped| format!("not backed up: {}", short(skipped, CELL)));
    let skipped: Vec<String> = skipped.collect();
    let skipped = if skipped.is_empty() { String::new() } else { format!("{}\n", list(skipped)) };
    let files = match backup.files.as_slice() {
        [] => String::new(),
        _ => format!("{}{}\n", head(&["File", "Size", "SHA-256", "Verified by"]), rows.collect::<String>()),
    };
    let copy = backup.elsewhere.as_ref().map(|copy| format!("\n{}.\n", elsewhere_line(copy))).unwrap_or_default();
    format!("In {} on the server.\n\n{files}{skipped}{copy}", code(&backup.path))
}

fn bundle_line(bundle: &BundleRecord) -> String {
    let seen = bundle.verified_at.iter().map(|place| short(place, CELL)).collect::<Vec<_>>().join(", ");
    let seen = if seen.is_empty() { String::new() } else { format!("; digest seen at: {seen}") };
    let sent =
        bundle.sent_sha256.as_ref().map(|sent| format!(", sent in canonical form with SHA-256 {}", code(sent.short())));
    let part = bundle.delivered.map(|part| {
        format!(
            "; {} ({}) were sent, the live release had the rest",
            words::count(part.files, "file"),
            words::bytes(part.bytes)
        )
    });
    format!(
        "{}, {}, {}, SHA-256 {}{}{}{seen}",
        code(&bundle.file),
        words::bytes(bundle.size),
        words::count(bundle.files, "file"),
        code(bundle.sha256.short()),
        sent.unwrap_or_default(),
        part.unwrap_or_default()
    )
}

fn artifact_line(artifact: &ArtifactRecord) -> String {
    let expires = artifact.expires_at.as_deref().map(|at| format!(", expires {}", short(at, CELL))).unwrap_or_default();
    format!("{}, {}, id {}{expires}", code(&artifact.name), words::bytes(artifact.size), artifact.id)
}

fn backup_files(backup: &BackupRecord) -> String {
    let files = backup.files.iter().map(|file| {
        format!(
            "{} {}, SHA-256 {} ({})",
            code(&file.name),
            words::bytes(file.size),
            code(file.sha256.short()),
            short(&file.counted, CELL)
        )
    });
    let skipped = backup.skipped.iter().map(|skipped| format!("not backed up: {}", short(skipped, CELL)));
    files.chain(skipped).take(ENTRIES).collect::<Vec<_>>().join("; ")
}

/// The off-site copy's own status: the backup on the server was verified whatever became of it.
pub(crate) fn elsewhere_line(copy: &Elsewhere) -> String {
    let path = copy.path.as_deref().map(|path| format!(" in {}", code(path))).unwrap_or_default();
    match copy.status {
        CopyStatus::Verified => format!("verified on the server; off-site copy verified{path}"),
        CopyStatus::NotThere => {
            let problem = copy.problem.as_deref().map(|problem| format!(": {}", short(problem, CELL)));
            format!("verified on the server; ⚠️ no off-site copy{}", problem.unwrap_or_default())
        }
        CopyStatus::Nothing => "no off-site copy: nothing was backed up".to_owned(),
        CopyStatus::NotAskedFor => {
            "verified on the server; off-site copy off (`backup-copy-dir` is not set)".to_owned()
        }
    }
}

/// What the live release made of the schema that the migrations left.
pub(crate) fn schema_line(verdict: &SchemaVerdict) -> String {
    let mark = match verdict.verdict {
        schema::Verdict::Healthy => "✅ ",
        schema::Verdict::Unhealthy => "❌ ",
        schema::Verdict::NotAsked => "",
    };
    format!("{mark}{}", short(&verdict.describe(), CELL))
}

pub(crate) fn migrations_line(migrations: &Migrations) -> String {
    match migrations.ran.as_slice() {
        [] => "none were pending".to_owned(),
        ran => {
            let more = if ran.len() > ENTRIES { format!(", and {} more", ran.len() - ENTRIES) } else { String::new() };
            let with_cost = |name: &String| {
                let measured = migrations.measured.iter().find(|measured| measured.name == *name);
                let cost = measured.map(|measured| format!(" ({})", measured.summary())).unwrap_or_default();
                format!("{}{cost}", code(name))
            };
            let names: Vec<String> = ran.iter().take(ENTRIES).map(with_cost).collect();
            format!("{} ran: {}{more}", ran.len(), names.join(", "))
        }
    }
}

fn switch_line(switch: &Switch) -> String {
    // The link says `releases/<name>`; both ends are told by name, so that they can be compared.
    let name = |link: &str| code(link.strip_prefix("releases/").unwrap_or(link));
    let from = switch.from.as_deref().map_or("nothing".to_owned(), name);
    let took = switch.took_us.map(|us| format!(", in {}", words::short_time(us))).unwrap_or_default();
    format!("{from} → {}{took}", code(switch.to.as_str()))
}

fn services_line(services: &Services) -> String {
    let timeout = match services.process_control_timeout {
        Some(0) => "; process_control_timeout is 0: a reload cuts running requests".to_owned(),
        Some(seconds) => format!("; process_control_timeout is {seconds} s"),
        None => String::new(),
    };
    let reload: Vec<String> = services.reload.iter().map(|command| code(command)).collect();
    format!("{}, reloaded by {}{timeout}", code(&services.fpm), reload.join(", then "))
}

/// Every gate with its result.
pub(crate) fn all_gates(view: &RunView) -> String {
    let Some(report) = view.record::<GateReport>(key::GATES) else { return "Not reached.\n".to_owned() };
    let rows = report.results.iter().map(|gate| {
        let result = gate.problem.as_deref().map_or("✅".to_owned(), |problem| format!("❌ {}", short(problem, CELL)));
        row([code(&gate.name).as_str(), result.as_str()])
    });
    format!("Gates {}\n\n{}{}", report.score(), head(&["Gate", "Result"]), rows.collect::<String>())
}

/// Each endpoint's last answer.
pub(crate) fn health(view: &RunView) -> String {
    let after = match view.subject() {
        Subject::Rollback => "Health of the previous release, after the switch back",
        _ => "Health of the old release, after the rollback",
    };
    [("Health", key::HEALTH), (after, key::HEALTH_AFTER_ROLLBACK)]
        .into_iter()
        .filter_map(|(title, key)| Some(health_table(title, &view.record(key)?)))
        .collect()
}

/// The same as text for the round before the release.
pub(crate) fn baseline(view: &RunView) -> String {
    view.record::<HealthReport>(key::BASELINE)
        .map(|report| {
            let now = matches!(view.subject(), Subject::Preflight | Subject::Audit);
            health_table(if now { "Health now" } else { "Health before the release" }, &report)
        })
        .unwrap_or_default()
}

/// Every round that was asked, with each answer and the release that gave it (F85).
pub(crate) fn health_attempts(view: &RunView) -> String {
    let titles = match view.subject() {
        Subject::Rollback => {
            ["Before the rollback", "The target release", "The previous release, after the switch back"]
        }
        _ => ["Before the release", "The new release", "The old release, after the rollback"],
    };
    titles
        .into_iter()
        .zip([key::BASELINE, key::HEALTH, key::HEALTH_AFTER_ROLLBACK])
        .filter_map(|(title, key)| Some((title, view.record::<HealthReport>(key)?)))
        .map(|(title, report)| {
            let rounds = report.earlier.iter().chain(std::iter::once(&report));
            let rows = rounds.flat_map(|round| {
                let at = round.unix_ms.map_or("-".to_owned(), words::time_of_day);
                round.asked().map(move |asked| {
                    let attempt = format!("{} of {}", round.attempt, round.of);
                    let [page, status, took, answered, result] = cells(asked);
                    row([attempt.as_str(), &at, &page, &status, &took, &answered, &result])
                })
            });
            let columns = ["Attempt", "UTC", "Endpoint", "Status", "Time", "Answered as", "Result"];
            format!("### {title}: every attempt\n\n{}{}\n", head(&columns), rows.collect::<String>())
        })
        .collect()
}

fn health_table(title: &str, report: &HealthReport) -> String {
    let rows: String = report.asked().map(endpoint).collect();
    let score = report.score();
    format!(
        "### {title}: {}/{}\n\n{}{rows}\n",
        score.passed,
        score.total,
        head(&["Endpoint", "Status", "Time", "Answered as", "Result"])
    )
}

fn endpoint(endpoint: &Endpoint) -> String {
    let [page, status, took, answered, result] = cells(endpoint);
    row([page.as_str(), &status, &took, &answered, &result])
}

fn cells(endpoint: &Endpoint) -> [String; 5] {
    let status = endpoint.status.map_or("no answer".to_owned(), |status| status.to_string());
    let answered = endpoint.answered_as.as_deref().map_or("-".to_owned(), code);
    let result = match endpoint.problem.as_deref() {
        None => "✅".to_owned(),
        Some(problem) if endpoint.not_asked => format!("❔ could not be asked: {}", short(problem, CELL)),
        Some(problem) => format!("❌ {}", short(problem, CELL)),
    };
    let vantage = endpoint.vantage.as_deref().map(|vantage| format!(" ({})", short(vantage, CELL)));
    let result = result + &vantage.unwrap_or_default();
    [code(&endpoint.path), status, format!("{} ms", endpoint.took_ms), answered, result]
}

/// The lines of the table of steps, one for each row of the run.
pub(crate) fn step_rows(view: &RunView) -> Vec<String> {
    view.rows.iter().map(|step| step_row(view, step, &result(step))).collect()
}

/// The same below a first screen, which has told failures and warnings: the rows of these refer to it.
pub(crate) fn brief_rows<'s>(view: &'s RunView, rows: impl Iterator<Item = &'s Row>) -> Vec<String> {
    let warnings = view.all_warnings();
    let brief = |step: &Row| match step.verdict() {
        Some(Verdict::Failed) => words::SEE_ABOVE.to_owned(),
        Some(Verdict::Warned) => {
            let text = result(step);
            let described = warnings.iter().filter(|warning| step.info.step.as_str() == warning.step);
            let described: Vec<&str> = described.map(|warning| warning.text.as_str()).collect();
            if step.failure().is_some() || described.join("; ") == text { words::SEE_ABOVE.to_owned() } else { text }
        }
        // What each check of a pre-flight found stands in the table of the checks.
        _ if matches!(view.subject(), Subject::Preflight | Subject::Verify) => String::new(),
        _ => result(step),
    };
    rows.map(|step| step_row(view, step, &brief(step))).collect()
}

pub(crate) const STEPS_HEAD: [&str; 5] = ["#", "Step", "Verdict", "Time", "Result"];

/// What a row says of its end.
fn result(step: &Row) -> String {
    match &step.state {
        RowState::NotReached | RowState::Running { .. } => String::new(),
        RowState::Finished { text, failure, .. } => {
            failure.as_ref().filter(|_| text.is_empty()).map_or_else(|| text.clone(), |failure| failure.cause.clone())
        }
    }
}

fn step_row(view: &RunView, step: &Row, result: &str) -> String {
    let number = step.info.number.map(|number| number.to_string()).unwrap_or_default();
    let (verdict, took, text) = match &step.state {
        RowState::NotReached if view.plan.is_some() => {
            ("📋 would run", String::new(), ending::undo(&step.info).unwrap_or_default())
        }
        RowState::NotReached => ("◽ not reached", String::new(), String::new()),
        // Without a time: this is written when the row begins, and read long after.
        RowState::Running { .. } => ("⏳ running", String::new(), String::new()),
        RowState::Finished { verdict, took_ms, .. } => {
            (words::verdict_mark(*verdict), words::duration(*took_ms), result.to_owned())
        }
    };
    let text = short(&text, CELL);
    let undone = step.undo.as_ref().map(undone).unwrap_or_default();
    let name = format!("{}{}", title(&step.info.title), lane(&step.info));
    row([number.as_str(), &name, verdict, &took, &format!("{text}{undone}")])
}

/// Behind the title of a row that runs beside those of other lanes.
pub(crate) fn lane(info: &RowInfo) -> String {
    info.lane.map_or(String::new(), |lane| format!(" (lane {lane})"))
}

fn undone(undo: &UndoRecord) -> String {
    let text = match &undo.done {
        None => format!("⏳ being rolled back: {}", short(&undo.text, CELL)),
        Some(ended) if ended.failure.is_some() => format!("🚨 NOT rolled back: {}", short(&ended.text, CELL)),
        Some(ended) if undo.undone => format!("↩️ rolled back: {}", short(&ended.text, CELL)),
        Some(ended) => format!("nothing to roll back: {}", short(&ended.text, CELL)),
    };
    format!("<br>{text}")
}
