use std::collections::BTreeMap;
use std::time::Duration;

use super::super::{Level, Runner, SUMMARY_LIMIT, Signal, StepResult, declared_from_action_yml};
use super::{PATIENCE, runner_of, step};

fn pairs(text: &[(&str, &str)]) -> BTreeMap<String, String> {
    text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn inputs_arrive_under_the_names_of_the_runner() {
    let declared = [("stage", ""), ("deploy-path", "/var/www"), ("migrate", "true"), ("my input", "")];
    let runner = Runner::new().declared(&declared).input("Migrate", "").input("deploy-path", "a\n\"b\" %0A ::error::x");
    let finished = runner.input("my input", "1").run_binary("/usr/bin/env");
    let given = |name: &str| finished.environment.get(name).map(String::as_str);
    assert_eq!(given("INPUT_STAGE"), Some(""), "a declared input is there, be it empty");
    assert_eq!(given("INPUT_MIGRATE"), Some(""), "an empty value in `with` beats the default");
    assert_eq!(given("INPUT_MY_INPUT"), Some("1"));
    assert!(finished.raw_log.contains("INPUT_DEPLOY-PATH=a\n\"b\" %0A ::error::x\n"), "{}", finished.raw_log);
    assert_eq!(finished.annotations, []);
}

#[test]
fn an_undeclared_input_only_warns_and_arrives() {
    let runner = Runner::new().declared(&[("stage", "")]).input("stgae", "x");
    let finished = runner.run_binary("/usr/bin/env");
    assert_eq!(finished.annotations[0].message, "Unexpected input(s) 'stgae', valid inputs are ['stage']");
    assert!(finished.raw_log.contains("INPUT_STGAE=x\n"));
}

#[test]
fn declared_inputs_are_read_from_action_yml() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("action.yml");
    let yaml = "name: x\ninputs:\n  stage: { description: d, required: true }\n  migrate: { default: true }\n  keep: { default: 5 }\n  token: { default: '${{ github.token }}' }\n  bare:\nruns: { using: docker, image: Dockerfile }\n";
    std::fs::write(&path, yaml).expect("a file in a temporary directory");
    let declared = declared_from_action_yml(&path).expect("an action");
    let expected =
        pairs(&[("stage", ""), ("migrate", "true"), ("keep", "5"), ("token", "${{ github.token }}"), ("bare", "")]);
    assert_eq!(BTreeMap::from_iter(declared), expected);
    std::fs::write(&path, "inputs: { a: { default: [1] } }").expect("a file in a temporary directory");
    let error = declared_from_action_yml(&path).expect_err("a list is no default");
    assert!(format!("{error:#}").contains("default of input `a`"), "{error:#}");
}

#[test]
fn the_runner_wins_over_env_and_nothing_else_gets_in() {
    let runner = Runner::new()
        .env("GITHUB_SHA", "from env")
        .env("HOME", "/root")
        .env("INPUT_STAGE", "from env")
        .env("APP_ENV", "staging")
        .input("stage", "smoke")
        .sha("abc")
        .repository("acme/blog")
        .ref_name("release")
        .run_id(7)
        .run_attempt(2)
        .api_url("http://127.0.0.1:8080")
        .event("push", serde_json::json!({ "after": "abc" }));
    let finished = runner.run_binary("/usr/bin/env");
    let mut seen: Vec<&str> = finished.raw_log.lines().collect();
    for line in [
        "APP_ENV=staging",
        "INPUT_STAGE=smoke",
        "GITHUB_SHA=abc",
        "GITHUB_REPOSITORY=acme/blog",
        "GITHUB_REPOSITORY_OWNER=acme",
        "GITHUB_REF=refs/heads/release",
        "GITHUB_RUN_ID=7",
        "GITHUB_RUN_ATTEMPT=2",
        "GITHUB_API_URL=http://127.0.0.1:8080",
        "GITHUB_EVENT_NAME=push",
        "GITHUB_ACTIONS=true",
        "CI=true",
        "RUNNER_OS=Linux",
    ] {
        assert!(seen.contains(&line), "{line} is missing in\n{}", finished.raw_log);
    }
    let event = std::fs::read_to_string(&finished.environment["GITHUB_EVENT_PATH"]).expect("the event is in a file");
    assert_eq!(event, r#"{"after":"abc"}"#);
    assert_eq!(finished.environment["GITHUB_WORKSPACE"], runner.workspace().display().to_string());
    assert!(finished.environment["HOME"].ends_with("_github_home"));
    let known = |line: &&str| {
        ["ACTIONS_", "APP_ENV=", "CI=", "GITHUB_", "HOME=", "INPUT_", "RUNNER_"]
            .iter()
            .any(|prefix| line.starts_with(prefix))
    };
    seen.retain(|line| !known(line));
    assert_eq!(seen, Vec::<&str>::new(), "nothing of the environment of the test is passed on");
}

#[test]
fn what_a_step_writes_is_read_whatever_its_exit_code() {
    let script = r##"pwd
printf 'url<<E\nhttps://x\ny\nE\n' >> "$GITHUB_OUTPUT"
echo phase=switched >> "$GITHUB_STATE"
printf 'COLOUR=blue\nNode_Options=--inspect\n' >> "$GITHUB_ENV"
printf '# Released\nkey hidden-key' >> "$GITHUB_STEP_SUMMARY"
exit 3"##;
    let runner = runner_of(script).secret("hidden-key");
    let finished = runner.run_binary(step());
    assert_eq!((finished.exit_code, finished.result), (3, StepResult::Failed));
    assert_eq!(finished.raw_log.trim_end(), runner.workspace().display().to_string());
    assert_eq!(finished.outputs, pairs(&[("url", "https://x\ny")]));
    assert_eq!(finished.state, pairs(&[("phase", "switched")]));
    assert_eq!(finished.env, pairs(&[("COLOUR", "blue")]));
    assert!(finished.annotations[0].message.starts_with("Can't store NODE_OPTIONS"));
    assert_eq!(finished.summary, "# Released\nkey ***\n");
}

#[test]
fn a_file_that_does_not_parse_fails_the_step() {
    let finished = runner_of(r#"printf 'good=1\nnonsense\n' >> "$GITHUB_OUTPUT""#).run_binary(step());
    assert_eq!((finished.exit_code, finished.result), (0, StepResult::Failed));
    assert_eq!(finished.outputs, pairs(&[("good", "1")]));
    let messages: Vec<&str> = finished.annotations.iter().map(|annotation| annotation.message.as_str()).collect();
    assert_eq!(messages, ["Unable to process file command 'output' successfully.", "Invalid format 'nonsense'"]);

    let nameless = runner_of(r#"echo '=x' >> "$GITHUB_OUTPUT""#).run_binary(step());
    assert_eq!(nameless.result, StepResult::Failed);
}

#[test]
fn a_summary_over_the_limit_is_dropped_and_one_at_the_limit_is_kept() {
    let of_size = |bytes: usize| {
        let script = format!(r#"head -c {bytes} /dev/zero | tr '\0' x > "$GITHUB_STEP_SUMMARY""#);
        runner_of(&script).env("PATH", "/usr/bin:/bin").run_binary(step())
    };
    let kept = of_size(SUMMARY_LIMIT);
    assert_eq!((kept.summary.trim_end().len(), kept.annotations.len()), (SUMMARY_LIMIT, 0));
    let dropped = of_size(SUMMARY_LIMIT + 1);
    assert_eq!((dropped.summary.as_str(), dropped.result), ("", StepResult::Succeeded));
    assert!(dropped.annotations_of(Level::Error)[0].message.contains("upload aborted"));
}

#[test]
fn post_gets_the_state_under_another_name_and_its_outputs_are_dropped() {
    let script =
        r#"echo "::add-mask::minted-token"; echo Phase=x-y >> "$GITHUB_STATE"; echo a=1 >> "$GITHUB_OUTPUT"; exit 1"#;
    let runner = runner_of(script);
    let main = runner.run_binary(step());
    // A shell told to read a file first prints the name by which it was started.
    let hook = runner.workspace().join("post.sh");
    let lines = r#"echo "as $0, $STATE_Phase, $INPUT_STAGE, minted-token"; echo b=1 >> "$GITHUB_OUTPUT"; echo s=1 >> "$GITHUB_STATE""#;
    std::fs::write(&hook, lines).expect("the workspace is writable");
    let runner = runner.env("BASH_ENV", &hook.display().to_string()).input("stage", "changed");
    let post = runner.run_post(&main, "/bin/bash", "gated-deploy-post");
    assert_eq!(post.log, "as gated-deploy-post, x-y, changed, ***", "what main masked stays masked");
    assert_eq!((post.exit_code, post.result), (0, StepResult::Succeeded));
    assert_eq!(post.outputs, BTreeMap::new());
    assert_eq!(post.state, pairs(&[("s", "1")]));
    assert_ne!(post.environment["GITHUB_STATE"], main.environment["GITHUB_STATE"]);
}

#[test]
fn a_signal_can_be_sent_in_the_middle() {
    let running = runner_of(WAITING).env("PATH", "/usr/bin:/bin").spawn_binary(step());
    assert_eq!(running.wait_for_line("ready", PATIENCE), "ready at work");
    running.signal(Signal::INT);
    let finished = running.wait();
    assert_eq!((finished.exit_code, finished.result), (9, StepResult::Failed));
    assert!(finished.log.ends_with("stopping"), "{}", finished.log);
}

/// Says that it is ready and goes on until SIGINT, which it answers within a moment.
const WAITING: &str = "trap 'echo stopping; exit 9' INT; echo ready at work; while :; do sleep 0.05; done";

#[test]
fn a_step_that_answers_the_first_signal_is_cancelled_at_once() {
    let running = runner_of(WAITING).env("PATH", "/usr/bin:/bin").spawn_binary(step());
    running.wait_for_line("ready", PATIENCE);
    let finished = running.cancel();
    assert_eq!((finished.exit_code, finished.result), (9, StepResult::Cancelled));
    assert!(finished.duration < Duration::from_secs(7), "no second signal was needed: {:?}", finished.duration);
}

/// The one slow test: the whole schedule takes ten seconds.
#[test]
fn a_step_that_answers_no_signal_is_killed_by_the_schedule() {
    let script = "trap 'echo got INT' INT; trap 'echo got TERM' TERM; echo ready; echo late=1 >> $GITHUB_STATE; while :; do sleep 0.05; done";
    let running = runner_of(script).env("PATH", "/usr/bin:/bin").spawn_binary(step());
    running.wait_for_line("ready", PATIENCE);
    let finished = running.cancel();
    assert_eq!((finished.exit_code, finished.result), (128 + 9, StepResult::Cancelled));
    assert_eq!(finished.log, "ready\ngot INT\ngot TERM");
    let seconds = finished.duration.as_secs_f64();
    assert!((10.0..15.0).contains(&seconds), "INT, 7.5 s, TERM, 2.5 s, KILL; took {seconds} s");
    assert_eq!(finished.state, pairs(&[("late", "1")]), "files are read after a cancel as well");
}

#[test]
fn a_step_that_is_killed_reports_the_signal() {
    let finished = runner_of("kill -9 $$").run_binary(step());
    assert_eq!((finished.exit_code, finished.result), (137, StepResult::Failed));
}

#[test]
#[should_panic(expected = "no line with \"never\" before the output ended")]
fn waiting_for_a_line_that_cannot_come_fails_at_once() {
    runner_of("echo hello").spawn_binary(step()).wait_for_line("never", PATIENCE);
}

#[test]
#[should_panic(expected = "did not end within")]
fn a_step_that_hangs_is_given_up() {
    let runner = runner_of(WAITING).env("PATH", "/usr/bin:/bin").time_limit(Duration::from_millis(200));
    runner.run_binary(step());
}

#[test]
fn a_stage_that_is_dropped_does_not_live_on() {
    let running = runner_of(WAITING).env("PATH", "/usr/bin:/bin").spawn_binary(step());
    let process = format!("/proc/{}", running.pid());
    assert!(std::path::Path::new(&process).exists());
    drop(running);
    assert!(!std::path::Path::new(&process).exists());
}

#[test]
fn the_peak_of_memory_is_measured() {
    // A shell variable of 80 MB.
    let script = "x=$(head -c 80000000 /dev/zero | tr '\\0' x); echo ${#x}";
    let finished = runner_of(script).env("PATH", "/usr/bin:/bin").run_binary(step());
    let peak = finished.peak_rss_kib.expect("a binary is measured");
    assert_eq!(finished.log, "80000000");
    assert!((80_000..1_000_000).contains(&peak), "{peak} KiB");
}
