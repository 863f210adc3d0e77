use super::super::{ANNOTATION_LENGTH, Annotation, Group, Level, StepResult};
use super::{runner_of, step};

fn group(title: &str, lines: &[&str], closed: bool) -> Group {
    Group { title: title.to_owned(), lines: lines.iter().map(|line| (*line).to_owned()).collect(), closed }
}

#[test]
fn annotations_carry_title_place_and_message() {
    let script = r#"echo "::error file=$GITHUB_WORKSPACE/app/Http/Kernel.php,line=7,title=No%3A::100%25%0Asecond"
echo '::warning endLine=9::only an end'
echo 'text ##[notice title=legacy]seen anywhere' >&2"#;
    let finished = runner_of(script).run_binary(step());
    let annotation = |level, title: Option<&str>, file: Option<&str>, line, message: &str| Annotation {
        level,
        title: title.map(str::to_owned),
        file: file.map(str::to_owned),
        line,
        message: message.to_owned(),
    };
    assert_eq!(
        finished.annotations,
        [
            annotation(Level::Error, Some("No:"), Some("app/Http/Kernel.php"), Some(7), "100%\nsecond"),
            annotation(Level::Warning, None, None, Some(9), "only an end"),
            annotation(Level::Notice, Some("legacy"), None, None, "seen anywhere"),
        ]
    );
    assert_eq!(finished.result, StepResult::Succeeded, "an error annotation alone fails nothing");
}

#[test]
fn ten_annotations_of_a_level_are_kept_and_long_ones_cut() {
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo \"::warning::w$i\"; done; printf '::error::%05000d\\n' 0";
    let finished = runner_of(script).run_binary(step());
    assert_eq!(finished.annotations_of(Level::Warning).len(), 10);
    assert_eq!(finished.dropped_annotations, 2);
    assert_eq!(finished.annotations_of(Level::Error)[0].message.len(), ANNOTATION_LENGTH);
    assert!(finished.log.contains("##[warning]w12"), "the log has them all");
}

#[test]
fn a_bare_carriage_return_starts_a_line() {
    let finished = runner_of(r"printf 'progress 1\r::error::injected\r\nlast'").run_binary(step());
    assert_eq!(finished.annotations[0].message, "injected");
    assert_eq!(finished.log, "progress 1\n##[error]injected\nlast");
    assert_eq!(finished.raw_log, "progress 1\r::error::injected\r\nlast");
}

#[test]
fn groups_hold_their_lines_and_do_not_nest() {
    let script = "echo before; echo ::group::One; echo in; echo ::group::Two; echo deeper; echo ::endgroup::; echo out";
    let finished = runner_of(script).run_binary(step());
    assert_eq!(finished.groups, [group("One", &["in"], false), group("Two", &["deeper"], true)]);
    assert_eq!(finished.log, "before\n##[group]One\nin\n##[group]Two\ndeeper\n##[endgroup]\nout");
}

#[test]
fn nothing_is_a_command_between_stop_and_its_token() {
    let script = "echo ::stop-commands::token-1; echo ::error::not one; echo ::TOKEN-1::; echo ::error::one";
    let finished = runner_of(script).run_binary(step());
    assert_eq!(finished.annotations.len(), 1);
    assert_eq!(finished.annotations[0].message, "one");
    assert_eq!(
        finished.log, "::stop-commands::***\n::error::not one\n::TOKEN-1::\n##[error]one",
        "a long token is a secret, in the case in which it was given"
    );
}

#[test]
fn a_mask_hides_what_comes_after_it_line_by_line() {
    let script = "echo early s3cr3t-one; echo '::add-mask::s3cr3t-one%0As3cr3t-two'; echo late s3cr3t-two; echo ::error::s3cr3t-one";
    let finished = runner_of(script).run_binary(step());
    assert_eq!(finished.masks, ["s3cr3t-one\ns3cr3t-two"]);
    assert_eq!(finished.log, "early s3cr3t-one\nlate ***\n##[error]***");
    assert_eq!(finished.annotations[0].message, "***");
}

#[test]
fn commands_that_cannot_be_carried_out_fail_the_step() {
    for script in ["echo '::set-env name=A::b'", "echo ::stop-commands::error", "echo ::echo::perhaps"] {
        let finished = runner_of(script).run_binary(step());
        assert_eq!((finished.exit_code, finished.result), (0, StepResult::Failed), "{script}");
        assert!(finished.annotations[0].message.starts_with("Unable to process command"), "{script}");
    }
}

#[test]
fn debug_lines_show_only_with_step_debugging() {
    let quiet = runner_of("echo ::debug::inner; echo \"debug=$RUNNER_DEBUG\"").run_binary(step());
    assert_eq!(quiet.log, "debug=");
    let loud = runner_of("echo ::debug::inner; echo \"debug=$RUNNER_DEBUG\"").debug(true).run_binary(step());
    assert_eq!(loud.log, "##[debug]inner\ndebug=1");
}

#[test]
fn both_streams_keep_their_order_unless_they_are_wanted_apart() {
    let script = "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done";
    let together = runner_of(script).run_binary(step());
    assert_eq!(together.raw_log, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n");
    let apart = runner_of(script).separate_stderr().run_binary(step());
    assert_eq!(apart.stderr, "e1\ne2\ne3\ne4\ne5\n");
    assert!(apart.raw_log.contains("o5\n") && apart.raw_log.contains("e5\n"));
}
