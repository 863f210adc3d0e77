//! What people read, rendered by the real readers from events made by hand.

use std::{cell::RefCell, fs, io::Write, path::PathBuf, rc::Rc};

use gated_deploy::{
    domain::{Failure, FailureKind, Outcome, Secret, StepId, Warning, record::key, row},
    engine::event::{Body, Event, Preview, Reader, RowInfo, RowKind, Verdict},
    errors,
    report::{
        Console, Evidence, Journal, Log, Outputs, Plan, Redactor, ReportDir, RunView, Setting, Style, Summary,
        redact::STARS, render::summary,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::assert_says;

pub(crate) const SHA: &str = "2e5059da6506c733b535221baf223261098ef57d";
pub(crate) const DIGEST: &str = "3f9a1c2e8d7b6a5f4e3d2c1b0a9f8e7d6c5b4a392817060504030201f0e0d0c0";
pub(crate) const OLD: &str = "20251101_120000-5eed1e55";
pub(crate) const NEW: &str = "20251102_154900-2e5059da";
/// 2025-11-02 15:49:00 UTC
const BEGAN: i64 = 1_762_098_540_000;
const SECRET: &str = "hunter2/hunter2 <&>";

/// The log's lines, as they were written.
#[derive(Clone, Default)]
struct Screen(Rc<RefCell<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that one run left for people and programs.
pub(crate) struct Told {
    log: String,
    pub(crate) summary: String,
    outputs: String,
    report: String,
    pub(crate) report_json: String,
    journal: String,
}

impl Told {
    fn all(&self) -> [&str; 6] {
        [&self.log, &self.summary, &self.outputs, &self.report, &self.report_json, &self.journal]
    }

    fn output(&self, name: &str) -> Option<String> {
        parse_outputs(&self.outputs).into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

pub(crate) fn setting() -> Setting {
    Setting {
        run_url: Some("https://github.com/acme/shop/actions/runs/4711".to_owned()),
        phrase: Some("STAGING-TEST FREIGEGEBEN".to_owned()),
        needs_digest: false,
    }
}

pub(crate) fn tell(events: &[Event]) -> Told {
    tell_in(Style::Actions, events)
}

/// Feeds the readers in the order in which a run has them.
fn tell_in(style: Style, events: &[Event]) -> Told {
    let folder = tempfile::tempdir().expect("a folder for the files of the step");
    let (summary, output) = (folder.path().join("summary"), folder.path().join("output"));
    let reports = ReportDir { path: folder.path().join("reports"), shown: "reports".to_owned() };
    let screen = Screen::default();
    let log = Log::new(style, Redactor::new([&Secret::new(SECRET)]), screen.clone());
    let mut readers: Vec<Box<dyn Reader>> = vec![
        Box::new(Console::new(log.clone())),
        Box::new(Plan::new(setting(), log.clone())),
        Box::new(Journal::new(Some(reports.clone()), log.clone())),
        Box::new(Evidence::new(Some(reports.clone()), setting(), log.clone())),
        Box::new(Summary::new(Some(summary.clone()), setting(), log.clone())),
        Box::new(Outputs::new(Some(output.clone()), Some(reports.clone()), log)),
    ];
    for event in events {
        readers.iter_mut().for_each(|reader| reader.read(event));
    }
    let ending_in = |end: &str| read_ending_in(&reports.path, end);
    let log = String::from_utf8(screen.0.borrow().clone()).expect("the log is UTF-8");
    Told {
        log,
        summary: fs::read_to_string(summary).unwrap_or_default(),
        outputs: fs::read_to_string(output).unwrap_or_default(),
        report: ending_in(".md"),
        report_json: ending_in("Z.json"),
        journal: ending_in("-events.jsonl"),
    }
}

fn read_ending_in(folder: &PathBuf, end: &str) -> String {
    let found = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let file = found.into_iter().find(|path| path.to_string_lossy().ends_with(end));
    file.map(|file| fs::read_to_string(file).expect("a readable report")).unwrap_or_default()
}

/// `name<<delimiter`, the value's lines, `delimiter`: as the runner reads the file of outputs.
fn parse_outputs(file: &str) -> Vec<(String, String)> {
    let mut lines = file.lines();
    let mut outputs = Vec::new();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").expect("an entry begins with name<<delimiter");
        assert!(delimiter.len() > 40 && delimiter.starts_with("ghadelimiter_"), "nobody can guess it: {delimiter}");
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        outputs.push((name.to_owned(), value.join("\n")));
    }
    outputs
}

/// Whether the runner takes a line for a command (actions/runner `ActionCommandManager.cs`).
fn is_command(line: &str) -> bool {
    line.trim_start().starts_with("::") || line.contains("##[")
}

/// Lines end at `\n`, `\r\n` and a bare `\r` for the runner.
fn commands(log: &str) -> Vec<&str> {
    log.split(['\n', '\r']).filter(|line| is_command(line)).collect()
}

/// Events of one run, each a tenth of a second after the one before.
pub(crate) struct Tape(pub(crate) Vec<Event>);

impl Tape {
    pub(crate) fn of(stage: &str) -> Self {
        let rows = [
            ("gates", Some(12), "Nine pre-switch gates", RowKind::Check, None, false),
            ("migrate", Some(13), "Run forward migrations", RowKind::Change, Some("not undone"), false),
            (
                "switch",
                Some(15),
                "Switch `current` to the release",
                RowKind::Change,
                Some("switch back, reload"),
                false,
            ),
            ("health", Some(19), "Check that the site is healthy and serves this release", RowKind::Check, None, false),
        ];
        let look = ("look", Some(7), "Survey the server", RowKind::Observe, None, true);
        let rows = std::iter::once(look).chain(rows).map(|(step, number, title, kind, undo, survey)| RowInfo {
            lane: None,
            step: StepId::new(step),
            number,
            title: title.to_owned(),
            kind,
            undo: undo.map(str::to_owned),
            survey,
        });
        Self::with(stage, rows.collect())
    }

    pub(crate) fn with(stage: &str, rows: Vec<RowInfo>) -> Self {
        Self(Vec::new()).and(Body::RunStarted { stage: stage.to_owned(), rows })
    }

    pub(crate) fn and(mut self, body: Body) -> Self {
        let elapsed_ms = self.0.len() as u64 * 100;
        self.0.push(Event { unix_ms: BEGAN + self.0.len() as i64 * 100, elapsed_ms, body });
        self
    }

    pub(crate) fn record(self, key: &str, value: Value) -> Self {
        self.and(Body::Recorded { step: StepId::new("look"), key: key.to_owned(), value })
    }

    pub(crate) fn begun(self, step: &str) -> Self {
        self.and(Body::Started { step: StepId::new(step) })
    }

    pub(crate) fn finished(self, step: &str, verdict: Verdict, text: &str, failure: Option<Failure>) -> Self {
        self.and(Body::Finished { step: StepId::new(step), verdict, text: text.to_owned(), failure, took_ms: 1234 })
    }

    pub(crate) fn done(self, step: &str, text: &str) -> Self {
        self.begun(step).finished(step, Verdict::Passed, text, None)
    }

    pub(crate) fn failed(self, step: &str, failure: Failure) -> Self {
        self.begun(step).finished(step, Verdict::Failed, "", Some(failure))
    }

    pub(crate) fn undone(self, step: &str, failure: Option<Failure>) -> Self {
        self.and(Body::UndoStarted { step: StepId::new(step), text: "switch back, reload".to_owned() }).and(
            Body::UndoFinished {
                step: StepId::new(step),
                undone: failure.is_none(),
                text: if failure.is_none() { format!("{OLD} is live again") } else { "it was not possible".to_owned() },
                failure,
                took_ms: 250,
            },
        )
    }

    pub(crate) fn ends(self, outcome: Outcome) -> Vec<Event> {
        self.and(Body::RunFinished { outcome }).0
    }
}

/// A run that knows what it would release.
fn surveyed() -> Tape {
    Tape::of("deploy-staging")
        .record(key::ENVIRONMENT, json!("staging"))
        .record(key::URL, json!("https://staging.example.com/"))
        .record(key::SERVER, json!("deploy@staging.example.com:22"))
        .record(key::SHA, json!(SHA))
        .record(key::RELEASE, json!(NEW))
        .record(key::PREVIOUS_RELEASE, json!(OLD))
        .done("look", "PHP 8.2.36, php8.2-fpm")
}

pub(crate) fn gates(failing: &[&str]) -> Value {
    let names = ["artisan", "composer.json", "public/index.php", "vendor/autoload.php", "bootstrap"];
    let more = ["public/build/manifest.json", "config", "routes", "app"];
    let results: Vec<Value> = names
        .iter()
        .chain(&more)
        .map(|name| match failing.contains(name) {
            true => json!({ "name": name, "problem": "is missing" }),
            false => json!({ "name": name }),
        })
        .collect();
    json!({ "results": results })
}

pub(crate) fn health(problem: Option<&str>) -> Value {
    json!({ "attempt": 1, "of": 3, "endpoints": [
        { "path": "/health", "status": problem.map_or(200, |_| 500), "problem": problem, "answered_as": SHA, "took_ms": 4 },
    ]})
}

fn switched() -> Tape {
    surveyed()
        .record(key::EXECUTED, json!(true))
        .record(key::GATES, gates(&[]))
        .done("gates", "9/9")
        .begun("migrate")
        .finished("migrate", Verdict::Skipped, "nothing to migrate", None)
        .begun("switch")
        .record(key::SWITCH, json!({ "from": format!("releases/{OLD}"), "to": NEW, "took_us": 1967 }))
        .finished("switch", Verdict::Passed, "in 2 ms", None)
}

pub(crate) fn live() -> Vec<Event> {
    switched()
        .record(
            key::SERVICES,
            json!({ "fpm": "php8.2-fpm", "reload": ["sudo -n service php8.2-fpm reload", "sudo -n nginx -t"],
            "process_control_timeout": 10 }),
        )
        .record(key::HEALTH, health(None))
        .done("health", "1/1")
        .and(Body::Warned {
            step: StepId::new("look"),
            code: Default::default(),
            text: "`http://a.b` is plain http".to_owned(),
            hint: Some("set `url` to an address with https".to_owned()),
        })
        .ends(Outcome::Live { warnings: 1 })
}

pub(crate) fn planned() -> Vec<Event> {
    let preview = Preview { step: StepId::new("migrate"), lines: vec!["php artisan migrate --force".to_owned()] };
    surveyed()
        .record(key::PLAN_DIGEST, json!(DIGEST))
        .record(key::EXECUTED, json!(false))
        .and(Body::Planned { because: "`approval` is not set".to_owned(), previews: vec![preview] })
        .ends(Outcome::Planned)
}

fn sick() -> Failure {
    Failure::refused("asking the site whether the new release is healthy", "1 of 1 endpoints is sick")
        .hint("read `storage/logs/laravel.log` of the new release")
        .details(["/health: 500 instead of 200"])
}

pub(crate) fn rolled_back() -> Vec<Event> {
    switched()
        .record(key::HEALTH, health(Some("500 instead of 200")))
        .failed("health", sick())
        .undone("switch", None)
        .record(key::HEALTH_AFTER_ROLLBACK, health(None))
        .ends(Outcome::RolledBack {
            at: StepId::new("health"),
            cause: sick(),
            stays: vec!["migrations: the old code runs on the new schema".to_owned()],
        })
}

pub(crate) fn stuck() -> Vec<Event> {
    let lost = Failure::world("pointing current back", "the server does not answer any more");
    switched().failed("health", sick()).undone("switch", Some(lost.clone())).ends(Outcome::Stuck {
        at: StepId::new("health"),
        cause: sick(),
        undoing: StepId::new("switch"),
        undo_cause: lost,
        by_hand: vec![
            format!("ln -s releases/{OLD} /srv/app/.current.tmp"),
            "mv -Tf /srv/app/.current.tmp /srv/app/current".to_owned(),
        ],
        stays: vec![format!("/srv/app/releases/{NEW}")],
    })
}

#[test]
fn f89_the_report_for_programs_is_what_its_schema_says_however_a_run_ends() {
    let cause = Failure::input("reading the input `url`", "it is empty");
    let refused = Outcome::Refused { at: StepId::new("inputs"), cause, stays: Vec::new() };
    let unread = Tape::with("deploy-staging", Vec::new()).ends(refused);
    for events in [live(), planned(), rolled_back(), stuck(), unread] {
        let document: Value = serde_json::from_str(&tell(&events).report_json).expect("JSON");
        crate::evidence::valid(&document);
        assert_eq!(document["version"], 2);
        assert_eq!(document["run_url"], "https://github.com/acme/shop/actions/runs/4711");
    }
}

#[test]
fn each_stage_has_the_sections_of_its_own_report() {
    let headings = |stage: &str| {
        let told = tell(&Tape::of(stage).record(key::RELEASE, json!(NEW)).ends(Outcome::Live { warnings: 0 }));
        let headings = told.report.lines().filter_map(|line| line.strip_prefix("## "));
        headings.map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        headings("deploy-staging"),
        "Executive summary, Pre-conditions, Run evidence, Gate results, Health checks, Zero-downtime measurement, Symlink before and \
         after, Release, commit and bundle, Backup, Rollback status, Acceptance criteria, Evidence links, Next steps"
    );
    assert_eq!(
        headings("deploy-production"),
        "Executive summary, Pre-flight, Run evidence, Gate results, Health checks, Zero-downtime measurement, Rollback status, Symlink \
         before and after, Release, commit and bundle, Backup, Acceptance criteria, Evidence links, Next steps"
    );
    assert_eq!(
        headings("smoke"),
        "Executive summary, Pre-conditions, Run evidence, Health checks, Acceptance criteria, Next steps",
        "a look at a site has no gates, no link and no bundle"
    );
}

#[test]
fn the_bundle_is_told_at_each_hop_and_a_hop_that_was_not_made_is_no_tick() {
    let bundle = |seen: &[&str]| json!({ "file": "deployment-bundle.tar.gz", "size": 1, "sha256": DIGEST, "commit": SHA, "files": 1, "verified_at": seen });
    let zip = DIGEST.replace('3', "4");
    let artifact = json!({ "id": 1, "name": "deployment-bundle", "size": 1, "digest": zip, "expires_at": null });
    let hops = |seen: &[&str]| {
        let tape = surveyed().record(key::ARTIFACT, artifact.clone()).record(key::BUNDLE, bundle(seen));
        let told = tell(&tape.ends(Outcome::Live { warnings: 0 }));
        let document: Value = serde_json::from_str(&told.report_json).expect("JSON");
        crate::evidence::valid(&document);
        let hops = document["bundle"]["hops"].as_array().expect("hops").clone();
        let same = hops.iter().map(|hop| (hop["sha256"] == DIGEST, hop["same"] == true)).collect::<Vec<_>>();
        (same, told.report)
    };
    let (all, _) = hops(&["GitHub's artifact digest", "the .sha256 beside it", "the server"]);
    assert_eq!(all, [(false, true), (true, true), (true, true), (true, true)]);
    let (not_sent, report) = hops(&["the .sha256 beside it"]);
    assert_eq!(not_sent, [(false, false), (true, true), (true, true), (true, false)]);
    assert_says(&report, &[&format!("| server | bundle, read again from its disk | `{DIGEST}` | ◽ not compared |")]);
}

#[test]
fn a_live_release_is_told() {
    let told = tell(&live());

    insta::assert_snapshot!("live", told.summary);
    assert_says(&told.log, &["\nLive, with 1 warning: the new release is live and healthy\n", OLD, NEW]);
    assert_eq!(told.output("outcome").as_deref(), Some("live"));
    assert_eq!(told.output("decision").as_deref(), Some("go"));
    assert_eq!(told.output("downtime-ms"), None, "the time of a rename is not the time in which requests failed");
    assert_eq!(told.output("report").as_deref(), Some("reports/E2E_STAGING_VALIDATION_20251102T154900Z.md"));
    assert_eq!(told.output("backup"), None, "what is not known is not written");
    assert_says(&told.report, &["- [x] Every gate passed", "- [ ] A backup was made and verified"]);
    let journal: Vec<Event> =
        told.journal.lines().map(|line| serde_json::from_str(line).expect("an event in each line")).collect();
    assert_eq!(summary::render(&RunView::of(&journal), &setting()), told.summary, "the journal tells the same story");
}

#[test]
fn f89_a_criterion_is_met_not_met_or_not_reached() {
    let told = tell(&rolled_back());
    assert_says(
        &told.report,
        &[
            "- [x] Every gate passed\n",
            "- [ ] A backup was made and verified: not reached\n",
            "- [ ] The new release answered healthy on every endpoint: not met (0/1)\n",
            "- [ ] No step failed: not met (1 step)\n",
        ],
    );
    // A health check that failed before it could tell of an answer was reached.
    let told = tell(&surveyed().failed("health", sick()).ends(Outcome::Refused {
        at: StepId::new("health"),
        cause: sick(),
        stays: Vec::new(),
    }));
    assert_says(&told.report, &["on every endpoint: not met (its step failed)\n", "front end answered: not reached\n"]);
    // Nothing was live, so nothing was backed up: that is no backup.
    let skipped = json!({ "path": "/srv/app/backups/x", "files": [], "skipped": ["nothing is live yet"] });
    let told = tell(&surveyed().record(key::BACKUP, skipped).ends(Outcome::Live { warnings: 0 }));
    assert_says(&told.report, &["- [ ] A backup was made and verified: not met (nothing is live yet)\n"]);
}

#[test]
fn a_plan_says_how_to_approve_it() {
    let told = tell(&planned());

    insta::assert_snapshot!("planned", told.summary);
    assert_says(&told.log, &["plan: 4 steps, 2 changes; digest 3f9a1c2e8d7b6a5f\n", "php artisan migrate --force"]);
    assert_eq!(told.output("executed").as_deref(), Some("false"));
    assert_eq!(told.output("plan-digest").as_deref(), Some(DIGEST));
    assert_eq!(told.output("decision").as_deref(), Some("go"));
}

#[test]
fn a_rollback_says_what_failed_and_what_stays() {
    let told = tell(&rolled_back());

    insta::assert_snapshot!("rolled-back", told.summary);
    assert_says(&told.log, &["error: asking the site", "  detail: /health: 500", "  stays: migrations"]);
    let document: Value = serde_json::from_str(&told.report_json).expect("the report as JSON");
    assert_eq!((&document["outcome"], &document["exit_code"]), (&json!("rolled-back"), &json!(3)));
}

#[test]
fn whoever_is_stuck_reads_what_to_type() {
    let told = tell(&stuck());

    insta::assert_snapshot!("stuck", told.summary);
    assert_says(&told.log, &["  type: mv -Tf /srv/app/.current.tmp /srv/app/current\n"]);
    assert_says(&told.report, &["unknown: the rollback failed", "mv -Tf /srv/app/.current.tmp"]);
    assert_eq!(told.output("decision").as_deref(), Some("no-go"));
}

#[test]
fn missing_files_are_named_at_the_gates() {
    let cause = Failure::refused("checking the unpacked release", "2 of 9 gates failed");
    let told = tell(
        &surveyed()
            .record(key::GATES, gates(&["routes", "app"]))
            .failed("gates", cause.clone())
            .ends(Outcome::Refused { at: StepId::new("gates"), cause, stays: Vec::new() }),
    );

    assert_says(
        &told.summary,
        &["Refused: the site is untouched", "❌ 7/9", "`routes`: is missing", "`app`: is missing", "◽ not reached"],
    );
    assert!(!told.summary.contains("What stays"), "nothing does");
}

#[test]
fn a_wrong_input_is_told_where_nothing_ran() {
    let cause = Failure::input("reading the input `url`", "it is empty").hint("set `url` to the site's address");
    let told = tell(&Tape::with("deploy-staging", Vec::new()).ends(Outcome::Refused {
        at: StepId::new("inputs"),
        cause,
        stays: Vec::new(),
    }));

    assert_says(&told.summary, &["Refused, an input is wrong", "**Help:** set `url` to the site's address"]);
    assert_says(&told.log, &["error: reading the input `url`: it is empty\n", "help: set `url`"]);
    assert!(!told.summary.contains("<details>"), "there were no steps");
}

#[test]
fn a_cancelled_run_says_that_the_site_is_untouched() {
    let cause = Failure::new(FailureKind::Cancelled, "waiting for the build", "somebody cancelled the run");
    let told = tell(&surveyed().ends(Outcome::Refused { at: StepId::new("gates"), cause, stays: Vec::new() }));

    assert_says(&told.summary, &["🛑 Cancelled: the site is untouched"]);
}

#[test]
fn a_killed_run_has_left_where_it_died() {
    let told = tell(&surveyed().begun("gates").0);

    assert_says(
        &told.summary,
        &[
            "Running, at: 12 Nine pre-switch gates. If the run has ended, it was killed there",
            "⏳ running",
            "◽ not reached",
        ],
    );
    assert_eq!(told.output("release").as_deref(), Some(NEW), "what was known is there");
    assert_eq!(told.output("outcome"), None);
}

/// Two lanes: each says its rows by name, the order is that of the table, and what was stopped is neither a failure nor a blocker.
#[test]
fn rows_of_lanes_are_told_by_name_and_in_the_order_of_the_table() {
    let row = |step: &str, number, title: &str, lane| RowInfo {
        lane,
        step: StepId::new(step),
        number: Some(number),
        title: title.to_owned(),
        kind: RowKind::Change,
        undo: Some("remove it again".to_owned()),
        survey: false,
    };
    let rows = vec![
        row("backup", 8, "Back up", Some(1)),
        row("copy-backup", 8, "Copy", Some(1)),
        row("upload", 11, "Upload", Some(2)),
        row("migrate", 13, "Migrate", None),
    ];
    let line = |step: &str, text: &str| Body::Line { step: StepId::new(step), text: text.to_owned() };
    let warned = |step: &str, text: &str| Body::Warned {
        step: StepId::new(step),
        code: Default::default(),
        text: text.to_owned(),
        hint: None,
    };
    let working = Tape::with("deploy-staging", rows)
        .begun("backup")
        .begun("upload")
        .and(line("backup", "dumping"))
        .and(line("upload", "sending"))
        .and(warned("upload", "warned first"))
        .and(warned("backup", "warned second"));
    let died = tell(&working.0);
    assert_says(&died.summary, &["Running, at: 8 Back up, and 11 Upload. If the run has ended", "Back up (lane 1)"]);
    let cause = Failure::world("uploading", "the disk is full");
    let events = working
        .finished("upload", Verdict::Failed, "", Some(cause.clone()))
        .finished("backup", Verdict::Stopped, "stopped because \"11 Upload\" failed", None)
        .undone("upload", None)
        .undone("backup", None)
        .ends(Outcome::Refused { at: StepId::new("upload"), cause, stays: Vec::new() });
    for style in [Style::Actions, Style::Plain] {
        let told = tell_in(style, &events);
        let begins =
            ["  backup | dumping", "  upload | sending", "stop  8 Back up: stopped because", "FAIL  11 Upload"];
        for begins in begins {
            assert!(told.log.lines().any(|line| line.starts_with(begins)), "{begins}: {}", told.log);
        }
        let folded = told.log.split("stop  8 Back up").next().expect("what comes before");
        assert!(!folded.contains("::group::"), "the end of a row is folded away: {folded}");
    }
    let told = tell(&events);
    crate::evidence::valid(&serde_json::from_str(&told.report_json).expect("JSON"));
    let errors = commands(&told.log).into_iter().filter(|line| line.starts_with("::error title=11 Upload failed"));
    assert_eq!(errors.count(), 1);
    assert!(!told.log.contains("::error title=8 Back up"), "{}", told.log);
    for page in [&told.summary, &told.report] {
        assert_says(
            page,
            &[
                "Failed: the site is untouched",
                "| Back up (lane 1) | ⏹️ stopped |",
                "| Copy (lane 1) | ◽ not reached |",
            ],
        );
        assert!(page.find("warned second") < page.find("warned first"), "{page}");
        assert!(!page.contains("blockers"), "{page}");
    }
}

#[test]
fn a_huge_run_is_cut_and_says_so() {
    let row = |n: usize| RowInfo {
        lane: None,
        step: StepId::new(&format!("row-{n}")),
        number: None,
        title: format!("Row {n} {}", "x".repeat(300)),
        kind: RowKind::Check,
        undo: None,
        survey: false,
    };
    let cause = Failure::world("reading", "y".repeat(100_000)).details(vec!["z".repeat(1000); 2000]);
    let tape = Tape::with("deploy-staging", (0..300).map(row).collect()).failed("row-0", cause.clone());
    let told = tell(&tape.ends(Outcome::Refused { at: StepId::new("row-0"), cause, stays: Vec::new() }));

    assert!(told.summary.len() <= summary::LONGEST, "{} bytes", told.summary.len());
    assert_says(&told.summary, &["_Cut at 64 KiB: ", " rows left out", "lines more)", "What failed"]);
    assert!(told.log.lines().all(|line| is_command(line) || line.len() < 4200), "long lines are cut");
}

#[test]
fn what_stood_in_the_summary_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("summary");
    fs::write(&path, "# Ours\n").expect("a summary");
    let log = Log::new(Style::Plain, Redactor::default(), Screen::default());
    let mut reader = Summary::new(Some(path.clone()), setting(), log);
    live().iter().for_each(|event| reader.read(event));

    let summary = fs::read_to_string(path).expect("the summary");
    assert!(summary.starts_with("# Ours\n## ✅ Live"), "{summary}");
    assert_eq!(summary.matches("## ✅").count(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_told_once() {
    let screen = Screen::default();
    let log = Log::new(Style::Plain, Redactor::default(), screen.clone());
    let mut reader = Summary::new(Some(PathBuf::from("/nowhere/summary")), setting(), log);
    live().iter().for_each(|event| reader.read(event));

    let log = String::from_utf8(screen.0.borrow().clone()).expect("UTF-8");
    assert_eq!(log.matches("writing the job summary to /nowhere/summary").count(), 1, "{log}");
}

/// A run in which the given text comes from everywhere.
fn everywhere(text: &str) -> Vec<Event> {
    let step = || StepId::new("look");
    let failure = || Failure::world(text, text).hint(text).details([text, text]);
    let info = RowInfo {
        lane: None,
        step: step(),
        number: Some(7),
        title: text.to_owned(),
        kind: RowKind::Change,
        undo: Some(text.to_owned()),
        survey: false,
    };
    Tape::with("deploy-staging", vec![info])
        .record(key::ENVIRONMENT, json!(text))
        .record(key::URL, json!(text))
        .record(key::SERVER, json!(text))
        .record(key::LEDGER, json!(text))
        .record(key::PREVIOUS_RELEASE, json!(text))
        .record(key::MIGRATIONS, json!({ "ran": [text] }))
        .begun("look")
        .and(Body::Line { step: step(), text: text.to_owned() })
        .and(Body::Attempt { step: step(), n: 1, of: 2, text: text.to_owned() })
        .and(Body::Progress { step: step(), what: text.to_owned(), done: 1, total: None, bytes_per_second: 1 })
        .and(Body::Warned {
            step: step(),
            code: Default::default(),
            text: text.to_owned(),
            hint: Some(text.to_owned()),
        })
        .finished("look", Verdict::Failed, text, Some(failure()))
        .and(Body::Planned {
            because: text.to_owned(),
            previews: vec![Preview { step: step(), lines: vec![text.to_owned()] }],
        })
        .undone("look", Some(failure()))
        .and(Body::CleanedUp { step: step(), text: text.to_owned(), failure: Some(failure()) })
        .ends(Outcome::Stuck {
            at: step(),
            cause: failure(),
            undoing: step(),
            undo_cause: failure(),
            by_hand: vec![text.to_owned()],
            stays: vec![text.to_owned()],
        })
}

const HOSTILE: [&str; 12] = [
    "::set-output name=x::y",
    "\u{2003}::add-mask::e",
    "fine\r::stop-commands::t",
    "fine ##[error]no",
    "##\u{1b}[0m[error]no",
    "#\u{7}#[error]no",
    "</table></details><img src=x>",
    "\u{1b}[31mred\u{1b}]0;title\u{7}",
    "a | b ` c ``` d",
    "@everyone",
    "[x](javascript:alert(1))",
    "`</code><b>` and `a|b`",
];

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    for text in HOSTILE {
        let told = tell(&everywhere(text));
        let ours = ["::group::", "::endgroup::", "::error title=", "::warning title="];
        for line in commands(&told.log) {
            assert!(ours.iter().any(|ours| line.starts_with(ours)), "{text:?} became a command: {line:?}");
        }
        assert!(commands(&tell_in(Style::Plain, &everywhere(text)).log).is_empty(), "{text:?}");
        for page in [&told.summary, &told.report] {
            // GitHub looks for mentions everywhere but in code.
            let prose = outside_fences(page).replace("<code>@everyone</code>", "");
            for bad in ["</table>", "<img", "<b>", "\u{1b}", "@everyone", "[x]("] {
                assert!(!prose.contains(bad), "{text:?} left {bad:?} in:\n{prose}");
            }
            for row in prose.lines().filter(|line| line.starts_with("| 7 ")) {
                assert_eq!(row.matches('|').count(), 6, "{text:?} broke a row of the table: {row}");
            }
        }
        assert!(parse_outputs(&told.outputs).iter().any(|(key, value)| key == "outcome" && value == "stuck"));
    }
}

/// A page without what stands in fenced blocks, which is shown letter by letter.
fn outside_fences(page: &str) -> String {
    let mut fence: Option<String> = None;
    let mut kept = String::new();
    for line in page.lines() {
        match &fence {
            Some(end) if line == end => fence = None,
            Some(_) => {}
            None if line.starts_with("```") => fence = Some(line.trim_end_matches("text").to_owned()),
            None => kept.push_str(&format!("{line}\n")),
        }
    }
    assert!(fence.is_none(), "a block is not closed:\n{page}");
    kept
}

#[test]
fn a_secret_is_nowhere() {
    let told = tell(&everywhere(&format!("before {SECRET} after")));

    for text in told.all() {
        assert!(!text.contains("hunter2"), "the secret is in:\n{text}");
    }
    assert_says(&told.log, &[STARS, "the output `previous-release` would contain a secret"]);
    assert_eq!(told.output("previous-release"), None);
}

/// F40: a secret can come back encoded, in parts that only meet when the text is cleaned, or a line at a time.
#[test]
fn f40_a_secret_is_recognised_in_whatever_form_it_comes_back() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let forms = [
        "hunter2%2Fhunter2%20%3C%26%3E".to_owned(),
        "hunter2%2fhunter2%20%3c%26%3e".to_owned(),
        r"hunter2\/hunter2 <&>".to_owned(),
        STANDARD.encode(format!("user:{SECRET}:x")),
        STANDARD.encode(format!("user1:{SECRET}")),
        STANDARD.encode(format!("user12:{SECRET}yz")),
        "hunter2/hun\u{1b}[1mter2\u{1b}[0m <&>".to_owned(),
        "hunter2/hunter2\r\n<&>".to_owned(),
    ];
    for form in &forms {
        let told = tell(&everywhere(&format!("before {form} after")));
        for text in told.all() {
            for part in ["hunter2", "aHVudGVyM", "h1bnRlcj", "odW50ZXIy"] {
                assert!(!text.contains(part), "{part} of {form:?} is in:\n{text}");
            }
        }
        assert_says(&told.log, &[STARS]);
    }
}

/// F51: what failed without stopping the run is counted in the headline and listed, wherever it was told.
#[test]
fn f51_advisory_failures_and_failures_after_the_commit_are_warnings() {
    let row = |step: &str, kind| RowInfo {
        lane: None,
        step: StepId::new(step),
        number: None,
        title: format!("Title of {step}"),
        kind,
        undo: None,
        survey: false,
    };
    let rows = vec![row("caches", RowKind::Change), row("live", RowKind::Commit), row("prune", RowKind::Change)];
    let caches = Failure::world("building the caches", "artisan ended with 1").hint("run it by hand");
    let told = tell(
        &Tape::with("deploy-staging", rows)
            .begun("caches")
            .finished("caches", Verdict::Warned, "", Some(caches))
            .and(Body::Committed { step: StepId::new("live") })
            .failed("prune", Failure::world("removing an old release", "permission denied"))
            .ends(Outcome::Live { warnings: 2 }),
    );

    let list = ["✅ Live, with 2 warnings", "### 2 warnings", "artisan ended with 1", "permission denied"];
    assert_says(&told.summary, &list);
    let annotations = |name: &str| commands(&told.log).iter().filter(|line| line.starts_with(name)).count();
    assert_eq!((annotations("::error"), annotations("::warning")), (0, 2), "{}", told.log);
}

/// A search for the code of a warning finds it wherever the warning is shown, as it does for a failure.
#[test]
fn the_code_of_a_warning_is_wherever_the_warning_is() {
    let warning = errors::lock::taken_over("run 4711 by @ada");
    let Warning { code, text, hint } = warning;
    let step = StepId::new("look");
    let events = |outcome: Outcome| {
        let warned = Body::Warned { step: step.clone(), code: code.clone(), text: text.clone(), hint: hint.clone() };
        let failure = Failure::world("removing an old release", "permission denied").code("connection-lost");
        surveyed().and(warned).finished("gates", Verdict::Warned, "", Some(failure)).ends(outcome)
    };
    let live = events(Outcome::Live { warnings: 2 });
    let told = tell(&live);
    assert_eq!(code, "lock-taken-over");
    let titles: Vec<&str> =
        commands(&told.log).into_iter().filter(|line| line.starts_with("::warning title=")).collect();
    assert_eq!(titles.len(), 2, "{}", told.log);
    assert_says(titles[0], &["[lock-taken-over]::took over the deploy lock", "%0Acode: lock-taken-over%0Ahelp: "]);
    assert_says(titles[1], &["[connection-lost]::removing an old release", "%0Acode: connection-lost"]);
    for code in ["lock-taken-over", "connection-lost"] {
        assert_says(&told.summary, &[&format!("<br>**Code:** `{code}`")]);
        assert_says(&tell_in(Style::Plain, &live).log, &[&format!("\n  code: {code}\n")]);
    }
    let report: Value = serde_json::from_str(&told.report_json).expect("JSON");
    let codes: Vec<&str> =
        report["warnings"].as_array().expect("warnings").iter().filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, ["lock-taken-over", "connection-lost"]);
    assert_says(&told.journal, &[r#""code":"lock-taken-over""#]);
}

/// F8, F90: at whatever event a run is killed, what it left claims nothing that was not seen.
#[test]
fn f90_a_run_that_dies_at_any_moment_leaves_a_true_summary() {
    let whole = rolled_back();
    for length in 1..whole.len() {
        let told = tell(&whole[..length]);
        assert_says(&told.summary, &["If the run has ended, it was killed there"]);
        assert_eq!(told.output("outcome"), None, "after {length} events");
        let switching = |event: &Event| matches!(&event.body, Body::Started { step } if *step == row::SWITCH);
        let begun = whole[..length].iter().any(switching);
        assert_eq!(told.summary.contains("❔ not known"), begun, "after {length} events:\n{}", told.summary);
        assert!(!(begun && told.summary.contains("not touched")), "after {length} events:\n{}", told.summary);
    }
}

/// F90: "healthy" is said when the old release was asked, and not otherwise.
#[test]
fn f90_a_rollback_claims_only_the_health_that_was_seen() {
    let asked = |health: Option<Value>| {
        let tape = switched().failed("health", sick()).undone("switch", None);
        let tape = health.into_iter().fold(tape, |tape, health| tape.record(key::HEALTH_AFTER_ROLLBACK, health));
        let outcome = Outcome::RolledBack { at: StepId::new("health"), cause: sick(), stays: Vec::new() };
        tell(&tape.ends(outcome)).summary.lines().next().unwrap_or_default().to_owned()
    };
    let headline = "## ↩️ Rolled back: the old release is live again";
    assert_eq!(asked(Some(health(None))), format!("{headline} and healthy (1/1)"));
    assert_eq!(asked(Some(health(Some("502")))), format!("{headline} and NOT healthy"));
    assert_eq!(asked(None), headline);
}

#[test]
fn annotations_stay_within_the_runners_limits() {
    let failure = Failure::refused("working", "𝄞 50 % of a, b: c\n".repeat(2_000));
    let mut tape = surveyed();
    for _ in 0..30 {
        let warned = Body::Warned {
            step: StepId::new("look"),
            code: Default::default(),
            text: "look at this".to_owned(),
            hint: None,
        };
        tape = tape.failed("gates", failure.clone()).and(warned);
    }
    let told = tell(&tape.ends(Outcome::Refused { at: StepId::new("gates"), cause: failure, stays: Vec::new() }));

    let of = |name: &str| told.log.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
    let errors = of("::error title=");
    assert_eq!((errors.len(), of("::warning title=").len()), (10, 10));
    for error in &errors {
        let (head, message) = error["::error title=".len()..].split_once("::").expect("a command");
        assert!(!head.contains([',', ':']), "a property is escaped: {head}");
        let message = message.replace("%0A", "\n").replace("%25", "%");
        assert!(message.encode_utf16().count() <= 4096, "{} units", message.encode_utf16().count());
    }
    let last = errors.last().expect("an error");
    assert!(last.starts_with("::error title=Refused%3A the site is untouched::"), "the last is the outcome: {last}");
}

/// Whoever reads an annotation has no log beside it: "2 things are wrong" helps nobody.
#[test]
fn fd43_an_annotation_names_the_things_and_not_only_their_number() {
    let things = ["url: is missing".to_owned(), "sha: is no commit".to_owned()];
    let failure = Failure::input("reading the inputs", "2 things are wrong").details(things.clone());
    let told =
        tell(&surveyed().ends(Outcome::Refused { at: StepId::new("inputs"), cause: failure, stays: Vec::new() }));
    let annotation = told.log.lines().rfind(|line| line.starts_with("::error title=")).expect("an annotation");
    for thing in things {
        assert!(annotation.contains(&thing), "{thing}: {annotation}");
    }
}

/// A program that floods us must not make every rewriting of the summary slower: what is never shown is not kept.
#[test]
fn a_flood_is_cut_before_it_is_kept() {
    let flood = "|<&`".repeat(25_000);
    let failure = Failure::world(flood.clone(), flood.clone()).hint(flood.clone()).details(vec![flood.clone(); 300]);
    let view = RunView::of(&everywhere(&flood)[..]);
    let kept: usize = view.warnings.iter().map(|warning| warning.text.len()).sum();
    assert!(kept < 5_000, "{kept} bytes of a warning");
    let events =
        surveyed().ends(Outcome::Refused { at: StepId::new("gates"), cause: failure.clone(), stays: vec![flood] });
    let cause = RunView::of(&events).outcome.and_then(|outcome| outcome.cause().cloned()).expect("a cause");
    assert!(cause.cause.len() < 5_000 && cause.details.len() <= 200);
}

#[test]
fn the_journal_tells_the_same_story_again() {
    let events = rolled_back();
    let told = tell(&events);
    let read: Vec<Event> = told.journal.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    assert_eq!(read, events);
    assert_eq!(summary::render(&RunView::of(&read), &setting()), told.summary);
}

#[test]
fn the_journal_keeps_what_the_inputs_warned_of() {
    let warned = Body::Warned {
        step: StepId::new("inputs"),
        code: Default::default(),
        text: "`url` is plain http".to_owned(),
        hint: None,
    };
    let begun = Body::RunStarted { stage: "deploy-staging".to_owned(), rows: Vec::new() };
    let told = tell(&Tape(Vec::new()).and(warned).and(begun).0);
    assert_eq!(told.journal.lines().count(), 2, "{}", told.journal);
}

#[test]
fn long_work_is_told_every_five_seconds_and_at_its_end() {
    let mut events = surveyed().begun("gates").0;
    for second in 0..12 {
        let (what, total) = ("uploading".to_owned(), Some(26_600_000));
        let (done, bytes_per_second) = (second * 2_000_000, 9_800_000);
        let body = Body::Progress { step: StepId::new("gates"), what, done, total, bytes_per_second };
        events.push(Event { unix_ms: BEGAN, elapsed_ms: 10_000 + second * 1_000, body });
    }
    let end = Tape(events).finished("gates", Verdict::Passed, "done", None).0;
    let log = tell(&end).log;
    let told: Vec<&str> = log.lines().filter(|line| line.contains("uploading")).collect();
    let percent = ["(0 %)", "(37 %)", "(75 %)", "(82 %)"];
    assert_eq!(told.len(), percent.len(), "{log}");
    told.iter().zip(percent).for_each(|(line, percent)| assert_says(line, &[percent, "of 26.6 MB", "9.8 MB/s"]));
}

#[test]
fn an_output_cannot_make_further_outputs() {
    let told = tell(&surveyed().record(key::LEDGER, json!("a\nEOF\noutcome=live\nghadelimiter_0")).0);
    assert_eq!(told.output("ledger").as_deref(), Some("a\nEOF\noutcome=live\nghadelimiter_0"));
    assert_eq!(told.output("outcome"), None);
}

#[test]
fn whoever_is_stuck_finds_the_commands_on_the_runs_page_too() {
    let log = tell(&stuck()).log;
    let annotation =
        log.lines().rfind(|line| line.starts_with("::error title=Manual action required")).expect("an annotation");
    assert_says(annotation, &["type: ln -s releases/", "type: mv -Tf /srv/app/.current.tmp"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_starts_a_command(text in r"(::|##\[|#|\[|:|\r|\n|\x1b|\[0m|error|set-output name=x|\]|[ \t\u{2003}\u{85}\u{200b}\u{feff}]|.){1,24}") {
        let plain = tell_in(Style::Plain, &everywhere(&text)).log;
        prop_assert!(commands(&plain).is_empty(), "{:?} in {plain}", commands(&plain));
        let actions = tell(&everywhere(&text)).log;
        for line in commands(&actions) {
            let ours = ["::group::", "::endgroup::", "::error title=", "::warning title="];
            prop_assert!(ours.iter().any(|ours| line.starts_with(ours)) && !line.contains("##["), "{line:?}");
        }
    }
}
