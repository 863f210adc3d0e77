use super::super::{Finished, Runner};
use super::{runner_of, step};

const SECRET: &str = "correct horse/battery";

fn leaks_of(script: &str) -> Vec<(String, &'static str)> {
    let finished = runner_of(script).secret(SECRET).run_binary(step());
    finished.secret_leaks().into_iter().map(|leak| (leak.place, leak.form)).collect()
}

fn leak(place: &str, form: &'static str) -> (String, &'static str) {
    (place.to_owned(), form)
}

/// `script` itself is an input and holds the secret; only what it prints or writes counts.
#[test]
fn a_secret_is_found_wherever_it_can_be_read() {
    // The log is masked, for the server knows the secret; the step printed it all the same.
    assert_eq!(leaks_of("echo 'it is correct horse/battery'"), [leak("raw log", "value")]);
    assert_eq!(leaks_of("echo correct%20horse%2Fbattery"), [leak("raw log", "URI")]);
    // Base64 of `user:` and the secret and `!`: the runner does not know this form, so the log shows it as well.
    let basic = leaks_of("echo Authorization: Basic dXNlcjpjb3JyZWN0IGhvcnNlL2JhdHRlcnkh");
    assert_eq!(basic, [leak("log", "base64"), leak("raw log", "base64")]);
    assert_eq!(
        leaks_of("echo 'url=https://x/?t=correct horse/battery' >> $GITHUB_OUTPUT"),
        [leak("output url", "value")]
    );
    assert_eq!(leaks_of("echo 'key=correct horse/battery' >> $GITHUB_STATE"), [leak("state key", "value")]);
    assert_eq!(leaks_of("echo 'key=correct horse/battery' >> $GITHUB_ENV"), [leak("env key", "value")]);
    assert_eq!(leaks_of("echo 'token `correct horse/battery`' >> $GITHUB_STEP_SUMMARY"), [leak("summary", "value")]);
}

#[test]
fn what_a_step_leaves_on_the_runner_is_looked_through() {
    let left = leaks_of("cd $GITHUB_WORKSPACE; mkdir -p reports; echo 'it is correct horse/battery' > reports/x.json");
    assert_eq!(left, [leak("file repo/repo/reports/x.json", "value")]);
    assert_eq!(leaks_of("echo correct%20horse%2Fbattery > $RUNNER_TEMP/y"), [leak("file _temp/y", "URI")]);
}

#[test]
#[should_panic(expected = "secrets can be read")]
fn a_step_that_must_not_leak_is_not_asked_twice() {
    runner_of("echo 'the password is sesame-sesame'").looked_for("sesame-sesame").must_not_leak().run_binary(step());
}

#[test]
fn telling_the_runner_to_mask_is_no_leak() {
    assert_eq!(leaks_of("echo '::add-mask::correct horse/battery'"), []);
    assert_eq!(leaks_of("echo nothing to see"), []);
}

#[test]
fn one_line_of_a_key_is_a_leak_but_its_armour_is_not() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nabc\n-----END OPENSSH PRIVATE KEY-----\n";
    let run = |script: &str| -> Finished { runner_of(script).secret(key).run_binary(step()) };
    run("echo 'no -----BEGIN OPENSSH PRIVATE KEY----- in it'; echo abc").assert_no_secret_leaks();
    assert_eq!(run("echo b3BlbnNzaC1rZXktdjEAAAAA").secret_leaks()[0].place, "raw log");
}

#[test]
fn the_tokens_of_the_job_are_secrets_too() {
    let finished = runner_of("echo $ACTIONS_RUNTIME_TOKEN").run_binary(step());
    assert_eq!(finished.log, "***");
    assert_eq!(finished.secret_leaks()[0].place, "raw log");
    let token = Runner::new().declared(&[("github-token", "${{ github.token }}")]);
    let finished = token.run_binary("/usr/bin/env");
    assert!(finished.log.contains("INPUT_GITHUB-TOKEN=***"), "{}", finished.log);
}

#[test]
#[should_panic(expected = "raw log (value): correct horse/battery")]
fn the_assertion_names_the_place() {
    runner_of("echo 'correct horse/battery'").secret(SECRET).run_binary(step()).assert_no_secret_leaks();
}
