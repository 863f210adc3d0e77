//! From events to what people read: the log, the summary, the outputs.

use std::{cell::RefCell, fs, io, path::PathBuf, rc::Rc, time::Duration};

use gated_deploy::{
    domain::{Failure, Outcome, Secret, StepId},
    engine::{
        Events, Verdict,
        event::{Body, RowInfo, RowKind},
    },
    report::{Console, Log, Outputs, Redactor, ReportDir, Setting, Style, Summary},
};
use proptest::prelude::*;

use crate::support::assert_says;

const SECRET: &str = "hunter2-hunter2";

/// A log that can be read afterwards.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Read {
    log: String,
    summary: String,
    outputs: String,
}

/// Tells a run to all readers, and gives what they wrote.
fn told(bodies: impl IntoIterator<Item = Body>) -> Read {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    for name in ["summary", "outputs"] {
        fs::write(file(name), "").expect("the runner's file");
    }
    let paper = Paper::default();
    let log = Log::new(Style::Actions, Redactor::new(&[Secret::new(SECRET)]), paper.clone());
    let reports = Some(ReportDir { path: file("reports"), shown: "reports".to_owned() });
    let readers: Vec<Box<dyn gated_deploy::engine::Reader>> = vec![
        Box::new(Console::new(log.clone())),
        Box::new(Summary::new(Some(file("summary")), Setting::default(), log.clone())),
        Box::new(Outputs::new(Some(file("outputs")), reports, log)),
    ];
    let events = Events::new(Box::new(|| (1_790_000_000_000, Duration::from_secs(7))), readers);
    bodies.into_iter().for_each(|body| events.tell(body));
    let text = |name: &str| fs::read_to_string(file(name)).expect("UTF-8");
    let log = String::from_utf8(paper.0.borrow().clone()).expect("UTF-8");
    Read { log, summary: text("summary"), outputs: text("outputs") }
}

fn row(step: &str, kind: RowKind) -> RowInfo {
    RowInfo {
        step: StepId::new(step),
        number: Some(12),
        title: format!("Title of {step}"),
        kind,
        undo: None,
        survey: false,
    }
}

fn begins(steps: &[&str]) -> Body {
    Body::RunStarted {
        stage: "deploy-staging".to_owned(),
        rows: steps.iter().map(|step| row(step, RowKind::Change)).collect(),
    }
}

fn started(step: &str) -> Body {
    Body::Started { step: StepId::new(step) }
}

fn line(step: &str, text: &str) -> Body {
    Body::Line { step: StepId::new(step), text: text.to_owned() }
}

fn failed(step: &str, failure: &Failure) -> Body {
    let (verdict, text) = (Verdict::Failed, failure.to_string());
    Body::Finished { step: StepId::new(step), verdict, text, failure: Some(failure.clone()), took_ms: 5 }
}

fn ends(outcome: Outcome) -> Body {
    Body::RunFinished { outcome }
}

#[test]
fn a_run_that_was_killed_leaves_a_summary_that_says_so() {
    let read = told([begins(&["first", "second"]), started("first")]);
    assert_says(&read.summary, &["Title of first"]);
    assert!(!read.summary.contains("Live"), "nothing claims success:\n{}", read.summary);
    assert!(!read.outputs.contains("live"), "{}", read.outputs);
}

#[test]
fn a_stuck_run_prints_the_commands_to_type() {
    let cause = Failure::refused("asking the site", "500 instead of 200").hint("look at the log");
    let undo_cause = Failure::world("pointing back", "the connection broke");
    let read = told([
        begins(&["switch", "health", "prune"]),
        started("switch"),
        started("health"),
        failed("health", &cause),
        ends(Outcome::Stuck {
            at: StepId::new("health"),
            cause,
            undoing: StepId::new("switch"),
            undo_cause,
            by_hand: vec!["mv -Tf /srv/app/current.back /srv/app/current".to_owned()],
            stays: vec!["a migration".to_owned()],
        }),
    ]);
    for text in [&read.summary, &read.log] {
        assert_says(
            text,
            &[
                "mv -Tf /srv/app/current.back /srv/app/current",
                "a migration",
                "500 instead of 200",
                "the connection broke",
            ],
        );
    }
    assert_says(&read.summary, &["not reached"]);
    assert_says(&read.outputs, &["stuck", "no-go"]);
}

#[test]
fn hostile_text_breaks_neither_the_table_nor_the_limits() {
    let evil = "a|b`c`</table><script>::set-output name=x::y @everyone ##[error] \u{1b}[31m\r::error::z".to_owned();
    let huge = "x".repeat(100_000);
    let failure = Failure::refused(evil.clone(), huge.clone())
        .hint(evil.clone())
        .details((0..5_000).map(|_| huge.clone()).take(50));
    let steps: Vec<String> = (0..300).map(|n| format!("step-{n}")).collect();
    let names: Vec<&str> = steps.iter().map(String::as_str).collect();
    let read = told([
        begins(&names),
        started("step-0"),
        line("step-0", &evil),
        line("step-0", &huge),
        failed("step-0", &failure),
        ends(Outcome::Refused { at: StepId::new("step-0"), cause: failure, stays: Vec::new() }),
    ]);
    assert!(read.summary.len() <= 64 * 1024, "{} bytes", read.summary.len());
    assert!(!read.summary.contains("<script>") && !read.summary.contains("</table>"), "markup is text");
    assert!(!read.summary.contains("@everyone"), "nobody is mentioned");
    for table_row in read.summary.lines().filter(|line| line.starts_with("| ") && line.contains("step-0")) {
        assert_eq!(table_row.matches(" | ").count(), 4, "five cells: {table_row}");
    }
    assert!(read.log.lines().all(|line| line.len() < 10_000), "lines are cut");
}

#[test]
fn a_secret_in_any_text_is_taken_out_everywhere() {
    let failure =
        Failure::refused(format!("asking with {SECRET}"), format!("refused {SECRET}")).hint(SECRET).details([SECRET]);
    let read = told([
        begins(&["first"]),
        started("first"),
        line("first", &format!("token={SECRET}")),
        Body::Fact {
            step: StepId::new("first"),
            key: "url".to_owned(),
            value: format!("https://x/?t={SECRET}").into(),
        },
        failed("first", &failure),
        ends(Outcome::Refused { at: StepId::new("first"), cause: failure, stays: vec![SECRET.to_owned()] }),
    ]);
    for text in [&read.log, &read.summary, &read.outputs] {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_says(&read.log, &["***"]);
}

/// What the runner takes for a command (runner-contract.md C.4), but those that the log itself may write.
fn command(line: &str) -> bool {
    let ours = ["::group::", "::endgroup::", "::error title=", "::warning title=", "::notice title=", "::add-mask::"];
    let text = line.trim_start();
    (text.starts_with("::") && !ours.iter().any(|ours| text.starts_with(ours))) || line.contains("##[")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_from_elsewhere_can_issue_a_command(text in "([ \t\r\n]|::|##\\[|[a-z%:=,\\]]|\u{1b}|\u{2028}|.){0,60}") {
        let failure = Failure::refused(text.clone(), text.clone()).hint(text.clone()).details([text.clone()]);
        let read = told([
            begins(&["first"]),
            started("first"),
            line("first", &text),
            Body::Warned { step: StepId::new("first"), text: text.clone(), hint: Some(text.clone()) },
            Body::Attempt { step: StepId::new("first"), n: 1, of: 2, text: text.clone() },
            failed("first", &failure),
            ends(Outcome::Refused { at: StepId::new("first"), cause: failure, stays: vec![text.clone()] }),
        ]);
        for line in read.log.split(['\n', '\r']) {
            prop_assert!(!command(line), "{line:?} from {text:?}");
        }
    }
}
