//! The site, as the action asks it: what counts as healthy, as this release, and as all of its assets.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    path::PathBuf,
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};

use async_trait::async_trait;
use gated_deploy::{
    domain::{FailureKind, RemotePath, Secret, fact},
    engine::Verdict,
    engine::event::Body,
    ports::{
        http::{Connection, Get, HttpSite, Reply, Site},
        shell::{Answer, Greeting, Script, Shell, ShellError},
    },
    steps::{
        context::Deploy,
        probe::{self, answered_as, judge},
    },
};

use crate::rows::{self, OTHER, Ran, SHA, Stage, commit};

// ---- What an answer says ----

fn reply(status: u16, body: &str) -> Reply {
    let length = body.len() as u64;
    Reply { status, headers: Vec::new(), body: body.into(), length, took: Duration::from_millis(3) }
}

fn verdict(status: u16, body: &str) -> Option<String> {
    judge(&reply(status, body), &["ok".to_owned(), "healthy".to_owned()], Some(&commit()))
}

#[test]
fn f68_only_200_with_a_healthy_body_is_healthy() {
    for body in [
        r#"{"status":"ok"}"#,
        r#"{"status":"Healthy","database":"ok"}"#,
        r#"{"ok":true}"#,
        r#"{"healthy":true,"status":"OK"}"#,
        "ok",
        " Healthy\n",
        r#""ok""#,
    ] {
        assert_eq!(verdict(200, body), None, "{body}");
    }
    for status in [201, 204, 206, 400, 404, 429, 500, 502, 503] {
        assert_eq!(verdict(status, r#"{"status":"ok"}"#), Some(format!("{status} instead of 200")));
    }
}

#[test]
fn f68_a_refused_token_says_nothing_about_the_site() {
    for status in [401, 403] {
        let problem = verdict(status, r#"{"status":"ok"}"#).expect("no health without the token");
        assert_eq!(problem, format!("{status}: the probe is misconfigured, the token is missing or wrong"));
    }
}

#[test]
fn f68_a_redirect_is_an_answer_and_not_the_one_we_want() {
    let mut reply = reply(302, "");
    reply.headers = vec![("location".to_owned(), "/login".to_owned())];
    assert_eq!(judge(&reply, &["ok".to_owned()], None).as_deref(), Some("302: redirects to /login"));
}

#[test]
fn f69_a_body_that_proves_nothing_is_a_problem() {
    let cases = [
        ("", "the body is empty"),
        ("  \n", "the body is empty"),
        ("not ok", "the body is not ok or healthy, but: not ok"),
        (
            "<!DOCTYPE html>\n<title>Shop</title>",
            "the body is not ok or healthy, but: <!DOCTYPE html> <title>Shop</title>",
        ),
        ("{}", "the JSON says neither `status` nor `healthy` nor `ok`"),
        (r#"{"status":"degraded"}"#, r#"says `status`: "degraded", not ok or healthy"#),
        (r#"{"status":200}"#, "says `status`: 200, not ok or healthy"),
        (r#"{"status":"ok","healthy":false}"#, "says `healthy`: false"),
        (r#"{"status":"ok","ok":false}"#, "says `ok`: false"),
        ("[]", "the body is not ok or healthy, but: []"),
        ("true", "the body is not ok or healthy, but: true"),
    ];
    for (body, problem) in cases {
        assert_eq!(verdict(200, body).as_deref(), Some(problem), "{body}");
    }
}

#[test]
fn f74_an_answer_of_another_release_is_stale_code() {
    let problem = verdict(200, &format!(r#"{{"status":"ok","commit":"{OTHER}"}}"#)).expect("the old code");
    assert_eq!(problem, format!("answers as {OTHER}, expected acb5820c: stale code (OPcache not reloaded?)"));
    for ours in [SHA, "acb5820", "ACB5820CED", "20261124_110000-acb5820c"] {
        assert_eq!(verdict(200, &format!(r#"{{"status":"ok","release":"{ours}"}}"#)), None, "{ours}");
    }
    assert!(verdict(200, r#"{"status":"ok","release":"20261101_080000-0123abcd"}"#).is_some());
}

#[test]
fn f85_only_what_looks_like_a_commit_or_a_release_is_an_identity() {
    let named = |body: &str| answered_as(&reply(200, body));
    assert_eq!(named(r#"{"revision":"0123456"}"#).as_deref(), Some("0123456"));
    assert_eq!(named(r#"{"version":"8.2.29","sha":"acb5820"}"#).as_deref(), Some("acb5820"));
    for nothing in [
        r#"{"version":"12.4.1"}"#,
        r#"{"version":"20251102"}"#,
        r#"{"commit":"develop"}"#,
        r#"{"commit":"abc"}"#,
        r#"{"commit":null}"#,
        r#"{"version":8}"#,
        "ok",
    ] {
        assert_eq!(named(nothing), None, "{nothing}");
        assert!(!verdict(200, nothing).unwrap_or_default().contains("answers as"));
    }
}

// ---- Rows, on a site that follows a script ----

type Play = dyn Fn(&Get, usize) -> Result<Reply, String>;

/// A site that answers as a function says, which is told how often this path was asked before.
struct Scripted {
    answer: Box<Play>,
    asked: RefCell<Vec<Get>>,
}

impl Scripted {
    fn new(answer: impl Fn(&Get, usize) -> Result<Reply, String> + 'static) -> Rc<Self> {
        Rc::new(Self { answer: Box::new(answer), asked: RefCell::default() })
    }

    fn times(&self, path: &str) -> usize {
        self.asked.borrow().iter().filter(|get| get.path == path).count()
    }
}

#[async_trait(?Send)]
impl Site for Scripted {
    async fn get(&self, get: Get) -> Result<Reply, String> {
        let before = self.times(&get.path);
        self.asked.borrow_mut().push(get.clone());
        (self.answer)(&get, before)
    }
}

fn known(path: &str) -> bool {
    ["/health", "/api/health-check", "/healthcheck.php"].contains(&path)
}

fn with_the_token(get: &Get) -> bool {
    get.bearer.as_ref().is_some_and(|token| token.expose() == "the-health-token")
}

/// Healthy as `commit` for whoever has the token, and 404 elsewhere.
fn healthy_as(commit: &'static str) -> impl Fn(&Get, usize) -> Result<Reply, String> {
    move |get, _| {
        let body = format!(r#"{{"status":"ok","commit":"{commit}"}}"#);
        Ok(match (known(&get.path), with_the_token(get)) {
            (true, true) => reply(200, &body),
            (true, false) => reply(401, ""),
            (false, _) => reply(404, ""),
        })
    }
}

#[tokio::test]
async fn a_healthy_baseline_is_told_with_the_release_that_answered() {
    let site = Scripted::new(healthy_as(OTHER));
    let ran = Stage::with_site(site.clone()).survey(probe::baseline).await;
    let seen = "404 at a page that does not exist, 401 with a wrong token at /healthcheck.php";
    assert_eq!(ran.said(), format!("3/3, answered as {OTHER}; seen to fail: {seen}"));
    assert_eq!(site.asked.borrow().len(), 3 + 2, "the controls cost a request each");
    assert!(ran.fact::<fact::HealthReport>(fact::key::BASELINE).healthy());
    assert!(site.asked.borrow().iter().filter(|get| known(&get.path)).all(|get| get.bearer.is_some()));
    assert!(!ran.everything().contains("the-health-token"));
}

#[tokio::test]
async fn an_unhealthy_baseline_refuses_the_release() {
    let site = Scripted::new(|get, _| if get.path == "/health" { Ok(reply(500, "")) } else { healthy_as(SHA)(get, 0) });
    let ran = Stage::with_site(site.clone()).survey(probe::baseline).await;
    let failure = ran.failure();
    assert_eq!(failure.cause, "2 of 3 endpoints are healthy; /health: 500 instead of 200");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("repair: true")), "{failure:?}");
    assert_eq!((ran.outcome.exit_code(), site.times("/health")), (1, 3));
}

#[tokio::test]
async fn f73_a_repair_may_begin_on_a_red_baseline() {
    let mut stage = Stage::with_site(Scripted::new(|_, _| Err("no connection: Connection refused".to_owned())));
    stage.inputs.health.repair = true;
    let ran = stage.survey(probe::baseline).await;
    assert!(ran.said().ends_with("; the policy says repair"), "{}", ran.said());
    assert!(ran.warnings()[0].contains("/health: no connection: Connection refused"));
    let warned = ran.events.iter().any(|event| matches!(event.body, Body::Finished { verdict: Verdict::Warned, .. }));
    assert!(warned);
}

#[tokio::test]
async fn f68_a_wrong_token_is_a_refusal_of_its_own() {
    let site = Scripted::new(|_, _| Ok(reply(401, "")));
    let ran = Stage::with_site(site.clone()).survey(probe::baseline).await;
    let failure = ran.failure();
    assert!(failure.cause.contains("the token is missing or wrong"), "{failure}");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("healthcheck-token")), "{failure:?}");
    assert_eq!((ran.outcome.exit_code(), site.times("/health")), (1, 1), "asking again does not make it right");
}

#[tokio::test]
async fn before_the_first_release_there_is_nothing_to_ask() {
    let mut stage = Stage::with_site(Scripted::new(|_, _| Err("nobody home".to_owned())));
    stage.found.server =
        Some(stage.server.clone()).map(|server| gated_deploy::steps::context::ServerFacts { current: None, ..server });
    assert_eq!(stage.survey(probe::baseline).await.said(), "nothing is live yet");
}

#[tokio::test]
async fn f69_a_probe_that_cannot_fail_proves_nothing() {
    let everything = || Scripted::new(|_, _| Ok(reply(200, "ok")));
    let ran = Stage::with_site(everything()).survey(probe::baseline).await;
    assert!(ran.failure().cause.contains("a page that does not exist"), "{}", ran.failure());
    let ran = Stage::with_site(everything()).release(probe::health).await;
    assert!(ran.failure().cause.contains("a page that does not exist"), "{}", ran.failure());
}

#[tokio::test]
async fn f69_a_token_that_nobody_asks_for_proves_nothing() {
    // Healthy for everybody, and 404 elsewhere.
    let open = |open: &'static [&'static str]| {
        Scripted::new(move |get: &Get, _| {
            Ok(match known(&get.path) {
                true if with_the_token(get) || open.contains(&get.path.as_str()) => reply(200, "ok"),
                true => reply(403, ""),
                false => reply(404, ""),
            })
        })
    };
    let all: &[&str] = &["/health", "/api/health-check", "/healthcheck.php"];
    let ran = Stage::with_site(open(all)).survey(probe::baseline).await;
    let cause = &ran.failure().cause;
    assert!(cause.contains("a wrong token gets a healthy answer from /health and from /api/health-check"), "{cause}");
    assert_eq!(ran.outcome.exit_code(), 1);
    // One endpoint that asks for it is enough, wherever it stands.
    for open_ones in [&all[..2], &all[1..], &all[..0]] {
        let ran = Stage::with_site(open(open_ones)).survey(probe::baseline).await;
        assert!(ran.said().contains("403 with a wrong token at /"), "{}", ran.said());
    }
    // Where there is no token nobody can hold a wrong one.
    let mut stage = Stage::with_site(open(all));
    stage.inputs.health.token = None;
    assert!(stage.survey(probe::baseline).await.said().ends_with("seen to fail: 404 at a page that does not exist"));
    // Too many requests is no answer to the question.
    let site = Scripted::new(|get, _| {
        Ok(match (known(&get.path), with_the_token(get)) {
            (true, true) => reply(200, "ok"),
            (true, false) => reply(429, ""),
            (false, _) => reply(404, ""),
        })
    });
    let ran = Stage::with_site(site).survey(probe::baseline).await;
    assert!(!ran.said().contains("wrong token"), "{}", ran.said());
    assert!(ran.warnings()[0].contains("was not seen that the site refuses a wrong token"), "{:?}", ran.warnings());
}

#[tokio::test]
async fn the_grace_period_is_counted_aloud() {
    let stage = Stage::with_site(Scripted::new(|_, _| Err("not yet".to_owned())));
    let clock = stage.clock.clone();
    let mut stage = stage;
    stage.inputs.health.grace = Duration::from_secs(12);
    let ran = stage.release(probe::grace).await;
    assert_eq!(ran.lines(), ["5 s of 12 s", "10 s of 12 s", "12 s of 12 s"]);
    assert_eq!(clock.slept(), [5, 5, 2].map(Duration::from_secs));
}

#[tokio::test]
async fn f71_health_is_waited_for_and_must_be_seen_twice_in_a_row() {
    // Down, then one good answer among bad ones, then well.
    let site = Scripted::new(|get, before| match (get.path.as_str(), before) {
        ("/health", 0 | 2) => Ok(reply(502, "")),
        _ => healthy_as(SHA)(get, before),
    });
    let stage = Stage::with_site(site.clone());
    let clock = stage.clock.clone();
    let ran = stage.release(probe::health).await;
    let attempts = ran.attempts();
    assert_eq!(attempts[0], "2/3; /health: 502 instead of 200");
    assert_eq!(attempts[1], "2/3; /health: 502 instead of 200", "the confirming round failed");
    assert_eq!(attempts[2], format!("3/3, answered as {SHA}"));
    assert_eq!(clock.slept(), [5, 5].map(Duration::from_secs));
    assert_eq!(site.times("/health"), 5);
    let report: fact::HealthReport = ran.fact(fact::key::HEALTH);
    assert_eq!((report.attempt, report.of, report.healthy()), (3, 6, true));
}

#[tokio::test]
async fn a_release_that_stays_sick_lists_every_problem() {
    let site = Scripted::new(|get, before| match get.path.as_str() {
        "/health" => Ok(reply(500, "Whoops")),
        "/api/health-check" => Err("no answer in time".to_owned()),
        _ => healthy_as(SHA)(get, before),
    });
    let ran = Stage::with_site(site).release(probe::health).await;
    let failure = ran.failure();
    assert_eq!((failure.kind, ran.attempts().len()), (FailureKind::Refused, 6));
    assert_eq!(failure.details, ["/health: 500 instead of 200", "/api/health-check: no answer in time"]);
}

#[tokio::test]
async fn f74_the_old_code_after_the_switch_is_not_healthy() {
    let ran = Stage::with_site(Scripted::new(healthy_as(OTHER))).release(probe::health).await;
    assert!(ran.failure().cause.contains(&format!("answers as {OTHER}, expected acb5820c")), "{}", ran.failure());
    assert!(ran.failure().details[0].ends_with(&format!("[answered as {OTHER}]")), "{:?}", ran.failure());
}

async fn verified_old(site: Rc<dyn Site>, live_before: &str) -> Ran {
    let mut stage = Stage::with_site(site);
    stage.server.current = Some(format!("releases/{live_before}"));
    let row = async |cx: &Deploy, io: &gated_deploy::engine::Io| {
        let score = probe::verify_old(cx, true, io).await?;
        Ok(gated_deploy::engine::Done::passed(format!("{}/{}", score.passed, score.total)))
    };
    stage.release(row).await
}

#[tokio::test]
async fn f83_a_rollback_is_verified_by_the_same_rules() {
    let old = "20261101_080000-01234567";
    assert_eq!(verified_old(Scripted::new(healthy_as(OTHER)), old).await.said(), "3/3");
    let ran = verified_old(Scripted::new(|_, _| Ok(reply(403, ""))), old).await;
    assert!(ran.failure().cause.starts_with("0 of 3 endpoints are healthy"), "{}", ran.failure());
    assert_eq!(ran.attempts().len(), 6);
    assert!(!ran.fact::<fact::HealthReport>(fact::key::HEALTH_AFTER_ROLLBACK).healthy());
}

#[tokio::test]
async fn f85_after_a_rollback_the_failed_code_must_not_answer() {
    let ran = verified_old(Scripted::new(healthy_as(SHA)), "20261101_080000-01234567").await;
    assert!(ran.failure().cause.contains("which was taken back: old code is cached"), "{}", ran.failure());
    // The same commit released twice: the name tells nothing.
    assert_eq!(verified_old(Scripted::new(healthy_as(SHA)), "20261101_080000-acb5820c").await.said(), "3/3");
}

// ---- Assets ----

const VITE: &str = r#"{
    "resources/js/app.js": {"file": "assets/app-1a2b.js", "isEntry": true, "css": ["assets/app-3c4d.css"],
                            "imports": ["_vendor-5e6f.js"], "assets": ["assets/logo-7a8b.svg"]},
    "_vendor-5e6f.js": {"file": "assets/vendor-5e6f.js"}
}"#;

const BUILT: &[(&str, &[u8])] = &[
    ("public/build/manifest.json", VITE.as_bytes()),
    ("public/build/assets/app-1a2b.js", b"run()"),
    ("public/build/assets/vendor-5e6f.js", b"lib()"),
    ("public/build/assets/app-3c4d.css", b"a{}"),
    ("public/build/assets/logo-7a8b.svg", b"<svg/>"),
];

/// Serves the files of [`BUILT`] as nginx would.
fn built(get: &Get) -> Reply {
    let file = BUILT.iter().find(|(name, _)| name.strip_prefix("public") == Some(&get.path));
    let Some((name, bytes)) = file else { return reply(404, "") };
    let kind = match name.rsplit('.').next() {
        Some("js") => "application/javascript",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        _ => "image/svg+xml",
    };
    let mut reply = reply(200, &String::from_utf8_lossy(bytes));
    reply.headers = vec![("content-type".to_owned(), kind.to_owned())];
    reply
}

async fn assets_of(answer: impl Fn(&Get, usize) -> Result<Reply, String> + 'static) -> (Ran, Rc<Scripted>) {
    let site = Scripted::new(answer);
    let mut stage = Stage::with_site(site.clone());
    stage.made.manifest = Some(Rc::new(rows::manifest(&commit(), BUILT)));
    (stage.release(probe::assets).await, site)
}

/// The one problem of a site on which `path` is spoilt.
async fn problem_with(path: &'static str, spoil: fn(&mut Reply)) -> String {
    let (ran, _) = assets_of(move |get, _| {
        let mut reply = built(get);
        if get.path == path {
            spoil(&mut reply);
        }
        Ok(reply)
    })
    .await;
    ran.failure().cause.clone()
}

#[tokio::test]
async fn f78_every_file_that_the_manifest_names_is_asked_for() {
    let (ran, site) = assets_of(|get, _| Ok(built(get))).await;
    assert_eq!(ran.said(), "4/4");
    assert_eq!(ran.fact::<fact::Score>(fact::key::ASSETS), fact::Score { passed: 4, total: 4 });
    for (name, _) in BUILT {
        assert_eq!(site.times(name.strip_prefix("public").expect("all are public")), 1, "{name}");
    }
    assert!(site.asked.borrow().iter().all(|get| get.bearer.is_none()), "visitors have no token");
}

#[tokio::test]
async fn f78_one_bad_file_among_good_ones_is_named() {
    let css = "/build/assets/app-3c4d.css";
    type Edit = fn(&mut Reply);
    let cases: [(Edit, &str); 6] = [
        (|reply| reply.status = 404, "404 instead of 200"),
        (|reply| reply.status = 302, "302 instead of 200"),
        (|reply| reply.length = 0, "it is empty"),
        (|reply| reply.length = 99, "it has 99 bytes, the bundle's has 3"),
        (|reply| reply.headers[0].1 = "text/html".into(), "its content type is `text/html`"),
        (|reply| reply.headers.clear(), "its content type is ``"),
    ];
    for (spoil, problem) in cases {
        assert_eq!(problem_with(css, spoil).await, format!("3 of 4 files are well; {css}: {problem}"));
    }
    let svg = problem_with("/build/assets/logo-7a8b.svg", |reply| reply.headers[0].1 = "text/html".into()).await;
    assert!(svg.ends_with("its content type is `text/html`"), "{svg}");
}

#[tokio::test]
async fn a_compressed_file_may_have_another_length() {
    let (ran, _) = assets_of(|get, _| {
        let mut reply = built(get);
        reply.length += 20 * u64::from(reply.status == 200 && !get.path.ends_with(".json"));
        reply.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
        Ok(reply)
    })
    .await;
    assert_eq!(ran.said(), "4/4");
}

#[tokio::test]
async fn f78_the_manifest_must_be_this_releases_and_name_something() {
    let manifest = "/build/manifest.json";
    let other = problem_with(manifest, |reply| reply.body = b"{}".to_vec()).await;
    assert!(other.starts_with("it is not the manifest of this release (SHA-256 "), "{other}");
    assert_eq!(problem_with(manifest, |reply| reply.status = 404).await, "404 instead of 200");

    // Without a bundle to compare with, the manifest must make sense by itself.
    for (body, problem) in [
        ("{}", "it names no files, so nothing would be checked"),
        ("<html>", "it is not a Vite manifest: "),
        (r#"{"a":{"file":"../../.env"}}"#, "it names `../../.env`, which is not a file below /build"),
    ] {
        let site = Scripted::new(move |_, _| Ok(reply(200, body)));
        let ran = Stage::with_site(site).release(probe::assets).await;
        assert!(ran.failure().cause.starts_with(problem), "{}", ran.failure());
    }
}

#[tokio::test]
async fn a_file_without_an_answer_is_asked_for_again_and_a_wrong_one_is_not() {
    let (ran, site) = assets_of(|get, before| match (get.path.as_str(), before) {
        ("/build/assets/vendor-5e6f.js", 0) => Err("no answer in time".to_owned()),
        ("/build/assets/vendor-5e6f.js", 1) => Ok(reply(502, "")),
        _ => Ok(built(get)),
    })
    .await;
    assert_eq!(ran.said(), "4/4");
    assert_eq!(site.times("/build/assets/vendor-5e6f.js"), 3);
    assert_eq!(site.times("/build/assets/app-1a2b.js"), 1);
}

// ---- Over real sockets ----

/// Answers one connection after the other with these bytes, and tells what it was asked.
fn server(answers: Vec<&'static [u8]>) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = listener.local_addr().expect("the port");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for answer in VecDeque::from(answers) {
            let (mut connection, _) = listener.accept().expect("a connection");
            let asked = read_head(&mut connection);
            // Whoever closed the connection early has what it wanted.
            let _ = tell.send(asked);
            let _ = connection.write_all(answer);
        }
    });
    (address, told)
}

/// The request's head, or a TLS client's first message.
fn read_head(connection: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    while !head.ends_with(b"\r\n\r\n") {
        let read = connection.read(&mut piece).expect("read a request");
        head.extend_from_slice(&piece[..read]);
        if read == 0 || head.first() == Some(&0x16) {
            break;
        }
    }
    head
}

fn get(path: &str) -> Get {
    Get {
        path: path.to_owned(),
        bearer: Some(Secret::new("the-health-token")),
        timeout: Duration::from_secs(5),
        connection: Connection::Fresh,
    }
}

fn url(text: &str) -> url::Url {
    text.parse().expect("a URL")
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

#[tokio::test]
async fn f77_another_address_is_asked_with_the_host_of_the_url() {
    for (site, host) in [
        ("http://staging.example.test", "staging.example.test"),
        ("http://staging.example.test:8081/", "staging.example.test:8081"),
        ("http://192.0.2.7:8081", "192.0.2.7:8081"),
    ] {
        let (address, told) = server(vec![OK]);
        let reply = HttpSite::at(url(site), address).get(get("/health?deep=1")).await.expect("an answer");
        assert_eq!((reply.status, reply.body.as_slice(), reply.length), (200, &b"ok"[..], 2));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        let asked = String::from_utf8(told.recv().expect("a request")).expect("text");
        assert!(asked.starts_with("GET /health?deep=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
        assert!(asked.contains("authorization: Bearer the-health-token\r\n"), "{asked}");
    }
}

#[tokio::test]
async fn f77_tls_asks_for_the_name_in_the_url() {
    let (address, told) = server(vec![b""]);
    let error = HttpSite::at(url("https://staging.example.test"), address).get(get("/health")).await;
    let hello = told.recv().expect("a TLS hello");
    assert!(hello.windows(20).any(|part| part == b"staging.example.test"), "the server name is sent");
    let error = error.expect_err("that was no TLS server");
    assert!(!error.contains("health-token") && !error.is_empty(), "{error}");
}

#[tokio::test]
async fn f68_redirects_are_not_followed() {
    let (address, told) =
        server(vec![b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"]);
    let reply = HttpSite::direct(url(&format!("http://{address}"))).get(get("/health")).await.expect("an answer");
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://elsewhere.example/")));
    assert_eq!(told.iter().count(), 1);
}

#[tokio::test]
async fn every_request_has_a_connection_of_its_own() {
    const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (address, told) = server(vec![KEPT, KEPT]);
    let site = HttpSite::direct(url(&format!("http://{address}")));
    for _ in 0..2 {
        site.get(get("/health")).await.expect("an answer");
    }
    assert_eq!(told.iter().count(), 2);
}

/// A server that answers as many requests on each connection as are given here, and then closes it without a word.
fn patient_server(requests: Vec<usize>) -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = listener.local_addr().expect("the port");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for (number, answers) in requests.into_iter().enumerate() {
            let (mut connection, _) = listener.accept().expect("a connection");
            for _ in 0..answers {
                read_head(&mut connection);
                let _ = tell.send(number);
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").expect("write an answer");
            }
            // The next request is read and gets no answer, as from a worker that ends at that moment.
            read_head(&mut connection);
        }
    });
    (address, told)
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_closed_is_made_anew() {
    let (address, told) = patient_server(vec![2, 1]);
    let site = HttpSite::direct(url(&format!("http://{address}")));
    let kept = || Get { connection: Connection::Kept, ..get("/health") };
    for _ in 0..3 {
        assert_eq!(site.get(kept()).await.expect("an answer").status, 200);
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 0, 1]);

    // A new visitor's connection that is closed without an answer has failed: nobody asks twice for him.
    let (address, _told) = patient_server(vec![0, 1]);
    let site = HttpSite::direct(url(&format!("http://{address}")));
    assert!(site.get(get("/health")).await.is_err());
}

#[tokio::test]
async fn troubles_are_told_in_words() {
    let site = |address| HttpSite::direct(url(&format!("http://{address}")));
    let (address, _told) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"]);
    let error = site(address).get(get("/health")).await.expect_err("half an answer");
    assert!(error.starts_with("the answer broke off: "), "{error}");

    let (address, _told) = server(vec![b"SSH-2.0-OpenSSH_9.2\r\n"]);
    let error = site(address).get(get("/health")).await.expect_err("not HTTP");
    assert!(error.contains("HTTP"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = silent.local_addr().expect("the port");
    let hurried = Get { timeout: Duration::from_millis(200), ..get("/health") };
    assert_eq!(site(address).get(hurried).await, Err("no answer in time".to_owned()));

    drop(silent);
    let error = site(address).get(get("/health")).await.expect_err("nobody listens");
    assert_eq!(error, "no connection: Connection refused");
}

#[tokio::test]
async fn a_body_without_end_is_counted_and_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = listener.local_addr().expect("the port");
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        read_head(&mut connection);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 9 << 20);
        connection.write_all(head.as_bytes()).expect("write the head");
        connection.write_all(&vec![b'x'; 9 << 20]).expect("write the body");
    });
    let reply = HttpSite::direct(url(&format!("http://{address}"))).get(get("/big")).await.expect("an answer");
    assert_eq!((reply.body.len(), reply.length), (4 << 20, 9 << 20));
}

/// A connection to a server on which the site is at `site`.
struct Doorkeeper {
    site: SocketAddr,
    folder: tempfile::TempDir,
    asked: RefCell<Vec<(String, u16)>>,
}

#[async_trait(?Send)]
impl Shell for Doorkeeper {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("the tunnel connects by itself");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        panic!("nothing runs on the server: {}", script.name());
    }

    async fn send(&self, _: File, _: u64, to: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("nothing is sent to the server: {to}");
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<PathBuf, ShellError> {
        self.asked.borrow_mut().push((host.to_owned(), port));
        let path = self.folder.path().join("tunnel");
        let listener = UnixListener::bind(&path).expect("a socket");
        let site = self.site;
        thread::spawn(move || {
            for near in listener.incoming() {
                let (mut near, mut far) = (near.expect("a visitor"), TcpStream::connect(site).expect("the site"));
                let (mut asks, mut told) = (near.try_clone().expect("a clone"), far.try_clone().expect("a clone"));
                thread::spawn(move || std::io::copy(&mut asks, &mut told));
                std::io::copy(&mut far, &mut near).expect("an answer");
            }
        });
        Ok(path)
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("one connection is enough");
    }
}

#[tokio::test]
async fn f77_the_tunnel_is_opened_once_and_the_host_stays_the_urls() {
    let (site, told) = server(vec![OK, OK]);
    let shell = Rc::new(Doorkeeper { site, folder: tempfile::tempdir().expect("a folder"), asked: RefCell::default() });
    let site = HttpSite::through(url("http://staging.example.test"), shell.clone(), "127.0.0.1", 80);
    assert_eq!(*shell.asked.borrow(), [], "not before it is needed");
    for _ in 0..2 {
        assert_eq!(site.get(get("/health")).await.expect("an answer").status, 200);
        let asked = String::from_utf8(told.recv().expect("a request")).expect("text");
        assert!(asked.contains("host: staging.example.test\r\n"), "{asked}");
    }
    assert_eq!(*shell.asked.borrow(), [("127.0.0.1".to_owned(), 80)]);
}
