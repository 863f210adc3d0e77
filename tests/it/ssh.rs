//! The connection to the server, against real OpenSSH.

use std::{cell::RefCell, future::Future, io::Write as _, rc::Rc, time::Duration};

use gated_deploy::{
    config::typed::SshAccess,
    domain::{RemotePath, Roots, Secret, Sha256Digest, key::PrivateKey, known_hosts::KnownHosts},
    http::{Get, HttpSite, Site as _},
    transport::{
        shell::{Answer, Script, Shell as _, ShellError},
        ssh::Ssh,
    },
};
use gated_deploy_lab::{Lab, Options};
use proptest::prelude::*;

fn lab() -> Lab {
    Lab::start(Options { seed: false, ..Options::default() }).expect("the lab")
}

fn access(lab: &Lab) -> SshAccess {
    SshAccess {
        host: lab.ssh_addr().ip().to_string(),
        port: lab.ssh_addr().port(),
        user: "deploy".to_owned(),
        key: PrivateKey::parse(&Secret::new(lab.private_key()), None).expect("the lab's key"),
        known_hosts: KnownHosts::parse(&lab.known_hosts()).expect("the lab's host key"),
    }
}

fn ssh(lab: &Lab) -> Ssh {
    Ssh::new(&access(lab))
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Runs a program; gives its answer and its log.
fn run(ssh: &Ssh, script: Script) -> (Result<Answer, ShellError>, Vec<String>) {
    let log = RefCell::new(Vec::new());
    let answer = wait(ssh.run(script, &mut |line| log.borrow_mut().push(line)));
    (answer, log.into_inner())
}

#[test]
fn a_script_answers_in_records_and_logs_in_lines() {
    let lab = lab();
    let ssh = ssh(&lab);
    let script =
        Script::new("test", "echo to the log; printf 'a\\rb\\n' >&2; put key \"$VALUE\"; put key 'second\nline'; cat")
            .var("VALUE", "it's $HOME; `id` \"quoted\" \\ \u{e9}\n=");
    let (answer, log) = run(&ssh, script);
    let answer = answer.expect("an answer");
    assert_eq!(answer.all("key").collect::<Vec<_>>(), ["it's $HOME; `id` \"quoted\" \\ \u{e9}\n=", "second\nline"]);
    assert_eq!(log, ["to the log", "a", "b"]);
    // The same connection serves the next script.
    assert!(run(&ssh, Script::new("test", "put x y")).0.is_ok());
}

#[test]
fn f42_f50_only_an_answer_that_came_to_its_end_is_one() {
    let lab = lab();
    let ssh = ssh(&lab);
    let failed = |program| run(&ssh, Script::new("test", program)).0.expect_err("no success");
    assert!(
        matches!(failed("put a b; echo why >&2; false; put c d"), ShellError::Failed { tail, .. } if tail == ["why"])
    );
    assert!(matches!(failed("put a b; kill -KILL $$"), ShellError::Failed { status, .. } if status == "signal KILL"));
    assert!(matches!(failed("refuse made-up path='no room'"),
        ShellError::Refused { code, values, .. } if code == "made-up" && values[..] == [("path".to_owned(), "no room".to_owned())]));
    // In a part of a pipeline too.
    assert!(
        matches!(failed("printf 'x\\n' | while read -r x; do refuse \"$x\"; done; put c d"), ShellError::Refused { code, .. } if code == "x")
    );
    // F45: a name that nobody set is an error, not an empty word.
    assert!(
        matches!(failed("rm -rf \"/nowhere/$BASE_DIR\""), ShellError::Failed { tail, .. } if tail[0].contains("BASE_DIR"))
    );
}

#[test]
fn f37_f53_what_a_start_up_file_prints_is_not_an_answer() {
    let lab = lab();
    let ssh = ssh(&lab);
    lab.exec("printf 'echo welcome to this server\\necho begin=1:2\\n' > /home/deploy/.bashrc")
        .expect("a noisy .bashrc");
    let (answer, _) = run(&ssh, Script::new("test", "put key value"));
    assert_eq!(answer.expect("an answer").get("key"), Some("value"));

    lab.exec("usermod --shell /usr/sbin/nologin deploy").expect("taking the shell away");
    let (answer, _) = run(&self::ssh(&lab), Script::new("test", "put key value"));
    let error = answer.expect_err("no shell, no answer");
    assert!(matches!(&error, ShellError::NoAnswer { noise } if noise.contains("not available")), "{error:?}");
    assert!(error.failure("looking").hint.is_some_and(|hint| hint.contains("shell")));
}

#[test]
fn megabytes_on_both_streams_block_nobody() {
    let lab = lab();
    let ssh = ssh(&lab);
    let program = "head -c 6000000 /dev/zero | tr '\\0' 'e' | fold -w 1000 >&2; put big \"$(head -c 6000000 /dev/zero | tr '\\0' 'o')\"";
    let (answer, log) = run(&ssh, Script::new("test", program));
    assert_eq!(answer.expect("an answer").get("big").map(str::len), Some(6_000_000));
    assert_eq!(log.iter().map(String::len).sum::<usize>(), 6_000_000);
}

#[test]
fn a_line_without_an_end_is_cut() {
    let lab = lab();
    let (answer, log) =
        run(&ssh(&lab), Script::new("test", "head -c 30000000 /dev/zero | tr '\\0' 'x'; printf '\\377\\n'"));
    assert!(answer.is_ok());
    assert_eq!(log.len(), 1);
    assert!(log[0].len() < 70_000 && log[0].ends_with("bytes more)"), "{}", log[0].len());
}

#[test]
fn f39_a_script_that_is_no_longer_waited_for_ends_on_the_server() {
    let lab = lab();
    let ssh = ssh(&lab);
    let script = |word| {
        Script::new("test", "printf '%s\\n' \"$WORD\" >\"/tmp/$WORD\"; echo started; sleep 600; put never reached")
            .var("WORD", word)
    };
    let gone = |word: &str| {
        // The shell and its child are gone once nobody has them in /proc; a bounded look, not a fixed sleep.
        lab.exec(&format!("cat /tmp/{word}; for i in $(seq 100); do pgrep -u deploy -f 'sleep 600' >/dev/null || exit 0; sleep 0.1; done; ps -ef; exit 1"))
    };

    let (answer, _) = run(&ssh, script("timeout").timeout(Duration::from_secs(1)));
    assert!(matches!(answer, Err(ShellError::TimedOut(_))), "{answer:?}");
    wait(ssh.connect()).expect("the connection lives on");
    gone("timeout").expect("ended after the timeout");

    wait(async {
        let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let mut on_line = move |line| drop(started.send(line));
        tokio::select! {
            answer = ssh.run(script("dropped"), &mut on_line) => panic!("it ended: {answer:?}"),
            Some(_) = seen.recv() => {}
        }
    });
    gone("dropped").expect("ended after the future was dropped");
}

/// The parents of the script are sshd's processes for this connection; it lives on when they die, as it does when a line breaks.
const BREAK: &str =
    "sleep 0.5; kill -KILL \"$(ps -o ppid= -p $PPID | tr -d ' ')\" 2>/dev/null || kill -KILL $PPID; sleep 600";

#[test]
fn f39_a_connection_that_breaks_ends_everything_that_waits() {
    let lab = lab();
    let ssh = ssh(&lab);
    let (mut ignored, mut also_ignored) = (|_| {}, |_| {});
    let (one, other) = wait(async {
        tokio::join!(
            ssh.run(Script::new("test", BREAK), &mut ignored),
            ssh.run(Script::new("test", "sleep 600"), &mut also_ignored)
        )
    });
    assert!(matches!(one, Err(ShellError::Dropped(_))), "{one:?}");
    assert!(matches!(other, Err(ShellError::Dropped(_))), "{other:?}");
    // What must be undone needs a connection: the next script gets a new one, and does not meet the old ones at work.
    let (answer, _) = run(&ssh, Script::new("test", "put left \"$(pgrep -f 'sleep [6]00' || true)\""));
    assert_eq!(answer.expect("an answer").get("left"), Some(""));
}

#[test]
fn a_file_arrives_byte_for_byte_and_a_full_disk_says_so() {
    let lab = Lab::start(Options { seed: false, base_tmpfs_mb: Some(16), ..Options::default() }).expect("the lab");
    let ssh = ssh(&lab);
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n ^ (n >> 7)) as u8).collect();
    let send = |to: &str, bytes: &[u8]| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("writing");
        std::io::Seek::rewind(&mut file).expect("rewinding");
        let to: RemotePath = to.parse().expect("a path");
        let mut last = 0;
        let result = wait(ssh.send(file, bytes.len() as u64, &to, &mut |sent| last = sent));
        (result, last)
    };
    let (result, last) = send("/tmp/it's here", &bytes);
    result.expect("sent");
    assert_eq!(last, 5_000_000);
    let sum = lab.exec("stat -c %a \"/tmp/it's here\"; sha256sum < \"/tmp/it's here\"").expect("looking");
    assert_eq!(sum, format!("600\n{}  -\n", Sha256Digest::of(&bytes)));

    let large = vec![7; 40_000_000];
    let (result, _) = send("/var/www/staging/shared/large", &large);
    let error = result.expect_err("no room");
    assert!(format!("{error:?}").contains("No space left on device"), "{error:?}");
}

/// What it says lies on the disk that it fills.
#[test]
fn f39_work_that_goes_on_can_still_say_that_the_disk_is_full() {
    let lab = Lab::start(Options { seed: false, base_tmpfs_mb: Some(16), ..Options::default() }).expect("the lab");
    let script = Script::new("test", "head -c 40000000 /dev/zero >\"$FOLDER/large\"; put never reached")
        .var("FOLDER", "/var/www/staging/shared")
        .detached(&"/var/www/staging/shared/jobs".parse().expect("a path"));
    let (answer, log) = run(&ssh(&lab), script);
    assert!(
        matches!(&answer, Err(ShellError::Failed { tail, .. }) if tail.iter().any(|line| line.contains("No space left on device"))),
        "{answer:?}"
    );
    assert_eq!(log.len(), 1, "{log:?}");
}

#[test]
fn f40_a_secret_is_in_no_argument_list_while_a_script_works() {
    let lab = lab();
    let secret = Secret::new("s3cret-that-nobody-sees");
    let program = "put seen \"$(cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 's3[c]ret' || true)\"; put length \"${#TOKEN}\"";
    let script = Script::new("test", program).secret("TOKEN", &secret);
    assert!(!format!("{script:?}").contains("s3cret"));
    let (answer, _) = run(&ssh(&lab), script);
    let answer = answer.expect("an answer");
    assert_eq!((answer.get("seen"), answer.get("length")), (Some("0"), Some("23")));
}

#[test]
fn a_tunnel_leads_to_the_site_on_the_server() {
    let lab = lab();
    let ssh = ssh(&lab);
    let site = HttpSite::through(
        "http://nobody.example".parse().expect("a URL"),
        Rc::new(ssh),
        "127.0.0.1",
        80,
        Roots::default(),
    );
    for _ in 0..3 {
        let get = Get { path: "/".to_owned(), timeout: Duration::from_secs(10), ..Get::default() };
        let answer = wait(site.get(get)).expect("an answer through the tunnel");
        assert_eq!(answer.status, 404, "the default host answers (F77)");
    }
}

#[test]
fn f35_f38_doors_that_stay_shut_say_why_and_what_to_do() {
    let lab = lab();
    let connect =
        |access: &SshAccess| wait(Ssh::new(access).connect()).expect_err("no connection").failure("connecting");
    let good = access(&lab);

    let text = format!(
        "[127.0.0.1]:{} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        good.port
    );
    let known_hosts = KnownHosts::parse(&text).expect("a line");
    let failure = connect(&SshAccess { known_hosts, ..good.clone() });
    assert!(failure.cause.contains("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"), "{failure:?}");
    let pinned = lab.known_hosts();
    let blob = pinned.split_whitespace().nth(2).expect("a key");
    assert!(failure.hint.is_some_and(|hint| hint.contains(blob)), "the line to pin");

    let failure = connect(&SshAccess { user: "root".to_owned(), ..good.clone() });
    assert!(failure.cause.contains(&good.key.fingerprint()) && failure.cause.contains("root"), "{failure:?}");
    assert!(failure.hint.is_some_and(|hint| hint.contains(&good.key.authorized_line())));

    let failure = connect(&SshAccess {
        port: 1,
        known_hosts: KnownHosts::parse(
            "[127.0.0.1]:1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        )
        .expect("a line"),
        ..good
    });
    assert!(failure.cause.contains("127.0.0.1:1: connection refused"), "{failure:?}");
}

#[test]
fn f44_every_word_survives_the_servers_shell() {
    let lab = lab();
    let ssh = ssh(&lab);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let words = prop::collection::vec("[^\0]{0,40}", 1..8);
    runner
        .run(&words, |words| {
            // As a variable, and as a word of a printed command.
            let command = gated_deploy::domain::RemoteCommand::new(words.clone()).to_string();
            let program = "set -f; eval \"set -- $COMMAND\"; for word in \"$@\"; do put word \"$word.\"; done";
            let (answer, _) = run(&ssh, Script::new("test", program).var("COMMAND", &command));
            let answer = answer.expect("an answer");
            let seen: Vec<&str> = answer.all("word").map(|word| word.strip_suffix('.').expect("a full stop")).collect();
            prop_assert_eq!(seen, words.iter().map(String::as_str).collect::<Vec<_>>());
            Ok(())
        })
        .expect("every word comes through");
}
