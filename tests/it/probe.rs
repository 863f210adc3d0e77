//! The site, as the action asks it: what counts as healthy, as this release, and as all of its assets.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use async_trait::async_trait;
use gated_deploy::{
    config::typed::{Grace, HealthAnswer},
    context::Deploy,
    domain::{FailureKind, RemotePath, Roots, Secret, gate::FrontEnd, record},
    engine::{Verdict, event::Body},
    http::{Connection, Get, HttpSite, Reply, Site, Unanswered, Vantages, Why},
    server::health::probe::{self, Problem, answered_as, judge, judge_as},
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509Name,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

use crate::rows::{self, OTHER, Ran, SHA, Stage, commit};

// ---- What an answer says ----

fn reply(status: u16, body: &str) -> Reply {
    let length = body.len() as u64;
    Reply { status, headers: Vec::new(), body: body.into(), length, took: Duration::from_millis(3), vantage: None }
}

fn verdict(status: u16, body: &str) -> Option<String> {
    judge(&reply(status, body), &["ok".to_owned(), "healthy".to_owned()], Some(&commit())).as_ref().map(whole)
}

/// The text of a problem with all that it quotes.
fn whole(problem: &Problem) -> String {
    problem.text(problem.quoted().unwrap_or_default())
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

/// FD5: Laravel's own health route answers in HTML or JSON, and promises its status.
#[test]
fn fd5_what_a_path_must_answer_is_a_healthy_body_a_status_fields_or_a_text() {
    let page = "<!DOCTYPE html><title>Shop</title><h2>Application up</h2><p>HTTP request received.</p>";
    let json = r#"{"status":"Application is up"}"#;
    for body in [page, json] {
        assert_eq!(verdict(200, body), None, "on a path of any name: {body}");
        assert_eq!(verdict(500, body).as_deref(), Some("500 instead of 200"));
    }
    let as_configured = |answer: &HealthAnswer, status: u16, body: &str| {
        judge_as(&reply(status, body), Some(answer), &["ok".to_owned()], Some(&commit())).as_ref().map(whole)
    };
    let up = HealthAnswer::Status(200);
    for body in ["", page, json, "<html></html>", r#"{"commit":"acb5820"}"#] {
        assert_eq!(as_configured(&up, 200, body), None, "{body}");
    }
    assert_eq!(as_configured(&up, 500, page).as_deref(), Some("500 instead of 200"));
    assert_eq!(as_configured(&HealthAnswer::Status(204), 204, ""), None);
    assert_eq!(as_configured(&HealthAnswer::Status(204), 200, "").as_deref(), Some("200 instead of 204"));
    assert!(as_configured(&up, 302, "").expect("a redirect is none").contains("redirect"));
    let stale = format!(r#"{{"commit":"{OTHER}"}}"#);
    assert!(as_configured(&up, 200, &stale).expect("another release").contains("stale code"));

    let text = HealthAnswer::Contains("Welcome to the shop".to_owned());
    assert_eq!(as_configured(&text, 200, "<h1>Welcome to the shop</h1>"), None);
    assert_eq!(
        as_configured(&text, 200, "<h1>Sorry</h1>").as_deref(),
        Some("the body does not contain `Welcome to the shop`, but begins: <h1>Sorry</h1>")
    );
    assert_eq!(as_configured(&text, 404, "Welcome to the shop").as_deref(), Some("404 instead of 200"));

    let field = |name: &str, value: serde_json::Value| (name.to_owned(), value);
    let fields = HealthAnswer::Fields([field("status", "fine".into()), field("queue", 0.into())].into());
    assert_eq!(as_configured(&fields, 200, r#"{"status":"fine","queue":0,"ok":false}"#), None);
    for (body, problem) in [
        (r#"{"status":"fine"}"#, "the JSON has no field `queue`"),
        (r#"{"status":"bad","queue":0}"#, "says `status`: \"bad\", not \"fine\""),
        (r#"{"status":"fine","queue":"0"}"#, "says `queue`: \"0\", not 0"),
        ("fine", "the body is no JSON object, but: fine"),
    ] {
        assert_eq!(as_configured(&fields, 200, body).as_deref(), Some(problem), "{body}");
    }
}

#[test]
fn f68_a_refused_token_says_nothing_about_the_site() {
    for status in [401, 403] {
        let problem = verdict(status, r#"{"status":"ok"}"#).expect("no health without the token");
        assert_eq!(problem, format!("{status}: the probe is misconfigured, the token is missing or wrong"));
        // A page and the framework's own route take none.
        for answer in [HealthAnswer::Status(200), HealthAnswer::Contains("Welcome".to_owned())] {
            let problem = judge_as(&reply(status, ""), Some(&answer), &["ok".to_owned()], None).expect("a problem");
            assert_eq!(whole(&problem), format!("{status} instead of 200"));
            assert!(problem.hint.is_some_and(|hint| !hint.contains("healthcheck-token")));
        }
    }
}

#[test]
fn f68_a_redirect_is_an_answer_and_not_the_one_we_want() {
    let mut reply = reply(302, "");
    reply.headers = vec![("location".to_owned(), "/login".to_owned())];
    assert_eq!(
        judge(&reply, &["ok".to_owned()], None).as_ref().map(whole).as_deref(),
        Some("302: redirects to /login")
    );
}

#[test]
fn fd9_what_stands_before_the_app_is_named_with_its_own_help() {
    let answer = |status, header: Option<(&str, &str)>, body: &str| {
        let headers = header.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        judge(&Reply { headers, ..reply(status, body) }, &["ok".to_owned()], None).expect("a problem")
    };
    let laravel = "{\n    \"message\": \"Service Unavailable\"\n}";
    let basic = Some(("www-authenticate", "Basic realm=\"Staging\""));
    let to_https = Some(("location", "https://shop.example.test/health"));
    for (status, header, body, text, help) in [
        (401, basic, "", "basic auth", "auth_basic off"),
        (401, Some(("www-authenticate", "Bearer")), "", "token is missing or wrong", "healthcheck-token"),
        (503, None, laravel, "maintenance mode", "php artisan up"),
        (503, None, "<title>Service Unavailable</title>", "maintenance mode", "php artisan up"),
        (503, Some(("retry-after", "60")), "", "maintenance mode", "php artisan up"),
        (301, to_https, "", "301: redirects to https://shop.example.test/health", "`url: https://shop.example.test`"),
        (302, Some(("location", "/login")), "", "302: redirects to /login", "middleware `auth`"),
    ] {
        let problem = answer(status, header, body);
        assert!(whole(&problem).contains(text), "{problem:?}");
        assert!(problem.hint.as_deref().is_some_and(|hint| hint.contains(help)), "{problem:?}");
    }
    // A web server's own page says nothing of the app.
    let nginx = answer(503, None, "<title>503 Service Temporarily Unavailable</title>");
    assert_eq!((whole(&nginx), nginx.hint), ("503 instead of 200".to_owned(), None));
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
    assert_eq!(problem, format!("answers as {OTHER}, expected acb5820c: stale code in OPcache"));
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
    /// What no answer means.
    why: Why,
    asked: RefCell<Vec<Get>>,
}

impl Scripted {
    fn new(answer: impl Fn(&Get, usize) -> Result<Reply, String> + 'static) -> Rc<Self> {
        Self::silent(Why::Broken, answer)
    }

    fn silent(why: Why, answer: impl Fn(&Get, usize) -> Result<Reply, String> + 'static) -> Rc<Self> {
        Rc::new(Self { answer: Box::new(answer), why, asked: RefCell::default() })
    }

    fn times(&self, path: &str) -> usize {
        self.asked.borrow().iter().filter(|get| get.path == path).count()
    }
}

#[async_trait(?Send)]
impl Site for Scripted {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let before = self.times(&get.path);
        self.asked.borrow_mut().push(get.clone());
        (self.answer)(&get, before).map_err(|text| Unanswered::new(self.why, text))
    }

    fn within(&self, _: &str, location: &str) -> Option<String> {
        location.starts_with('/').then(|| location.to_owned())
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
    assert_eq!(ran.said(), format!("3/3, answered as {OTHER}; health check self-tested: {seen}"));
    assert_eq!(site.asked.borrow().len(), 3 + 2, "the controls cost a request each");
    assert!(ran.record::<record::HealthReport>(record::key::BASELINE).healthy());
    assert!(site.asked.borrow().iter().filter(|get| known(&get.path)).all(|get| get.bearer.is_some()));
    assert!(!ran.everything().contains("the-health-token"));
}

#[tokio::test]
async fn an_unhealthy_baseline_refuses_the_release() {
    let site = Scripted::new(|get, _| if get.path == "/health" { Ok(reply(500, "")) } else { healthy_as(SHA)(get, 0) });
    let ran = Stage::with_site(site.clone()).survey(probe::baseline).await;
    let failure = ran.failure();
    assert_eq!(failure.code, "site-unhealthy");
    assert_eq!(failure.cause, "2 of 3 endpoints are healthy; /health: 500 instead of 200");
    assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains("repair: true")), "{failure:?}");
    assert_eq!((ran.outcome.exit_code(), site.times("/health")), (1, 3));
}

#[tokio::test]
async fn f73_a_repair_may_begin_on_a_red_baseline() {
    let mut stage = Stage::with_site(Scripted::new(|_, _| Err("no connection: Connection refused".to_owned())));
    stage.inputs.health.repair = true;
    let ran = stage.survey(probe::baseline).await;
    assert!(ran.said().ends_with("; accepted: `repair` is true"), "{}", ran.said());
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
async fn fd4_before_the_first_release_the_web_server_is_asked() {
    let first = |site: Rc<Scripted>| {
        let mut stage = Stage::with_site(site);
        stage.surveyed.server =
            Some(gated_deploy::server::inspect::ServerState { current: None, ..stage.server.clone() });
        stage.survey(probe::baseline)
    };
    // Whatever the web server answers will do: there is no app yet.
    let ran = first(Scripted::new(|_, _| Ok(reply(502, "")))).await;
    assert_eq!(ran.said(), "nothing is live yet; the web server answers with status 502");
    let failing = [
        (Why::Name, "no connection: failed to lookup address information", "set `health-address`"),
        (Why::Issuer, "invalid peer certificate: UnknownIssuer", "Set `ca-certificates`"),
        (Why::Forwarding, "administratively prohibited", "AllowTcpForwarding local"),
        (Why::Refused, "no connection: Connection refused", "systemctl status nginx"),
    ];
    for (why, text, help) in failing {
        let site = Scripted::silent(why, move |_, _| Err(text.to_owned()));
        let ran = first(site.clone()).await;
        let failure = ran.failure();
        assert!(failure.cause.contains(text), "{failure}");
        assert!(failure.hint.as_deref().is_some_and(|hint| hint.contains(help)), "{why:?}: {failure:?}");
        let (code, exit) = if why.reached() { ("site-no-answer", 1) } else { ("site-unreachable", 5) };
        assert_eq!((&*failure.code, ran.outcome.exit_code(), site.times("/health")), (code, exit, 3), "{why:?}");
    }
    let moved = |to: &'static str| {
        Scripted::new(move |_, _| Ok(Reply { headers: vec![("location".to_owned(), to.to_owned())], ..reply(301, "") }))
    };
    let ran = first(moved("https://staging.example.test/health")).await;
    assert_eq!(ran.failure().cause, "/health: 301: redirects to https://staging.example.test/health");
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("`url: https://staging.example.test`")));
    assert!(first(moved("/login")).await.said().ends_with("with status 301"));
    // Behind basic auth no release could be found healthy. A status alone says nothing of that.
    let asks = |challenge: &'static str| {
        let headers = vec![("www-authenticate".to_owned(), challenge.to_owned())];
        Scripted::new(move |_, _| Ok(Reply { headers: headers.clone(), ..reply(401, "") }))
    };
    let ran = first(asks("Basic realm=\"staging\"")).await;
    assert_eq!((&*ran.failure().code, ran.outcome.exit_code()), ("site-protected", 1));
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("auth_basic off")));
    assert!(first(asks("Bearer")).await.said().ends_with("with status 401"));
}

#[tokio::test]
async fn f69_a_probe_that_cannot_fail_proves_nothing() {
    let everything = || Scripted::new(|_, _| Ok(reply(200, "ok")));
    let ran = Stage::with_site(everything()).survey(probe::baseline).await;
    assert!(ran.failure().cause.contains("a page that does not exist"), "{}", ran.failure());
    let ran = Stage::with_site(everything()).release(probe::health).await;
    assert!(ran.failure().cause.contains("a page that does not exist"), "{}", ran.failure());
}

/// FD5: a default app has `/up` alone, which takes no token; a site that answers 200 to everything proves nothing.
#[tokio::test]
async fn fd5_a_status_alone_is_healthy_where_an_unknown_page_has_another() {
    let with = |paths: &[(&str, Option<HealthAnswer>)], site: Rc<Scripted>| {
        let mut stage = Stage::with_site(site);
        stage.inputs.health.paths = paths.iter().map(|(path, _)| (*path).to_owned()).collect();
        let answers = paths.iter().filter_map(|(path, answer)| Some(((*path).to_owned(), answer.clone()?)));
        stage.inputs.health.answers = answers.collect();
        stage
    };
    let page = "<h1>Shop</h1>";
    let app = |unknown: u16| {
        Scripted::new(move |get: &Get, _| {
            Ok(match get.path.as_str() {
                "/up" | "/" => reply(200, page),
                "/health" if with_the_token(get) => reply(200, "ok"),
                "/health" => reply(401, ""),
                _ => reply(unknown, page),
            })
        })
    };
    let (up, shop) = (Some(HealthAnswer::Status(200)), Some(HealthAnswer::Contains("Shop".to_owned())));
    for paths in [&[("/up", up.clone())][..], &[("/", shop.clone()), ("/up", up.clone())]] {
        let ran = with(paths, app(404)).survey(probe::baseline).await;
        assert!(ran.said().ends_with("self-tested: 404 at a page that does not exist"), "{}", ran.said());
        let ran = with(paths, app(200)).survey(probe::baseline).await;
        assert!(ran.failure().cause.contains("a page that does not exist"), "{}", ran.failure());
    }
    // One path that such a page does not satisfy is enough: a release has to satisfy them all.
    let ran = with(&[("/up", up), ("/health", None)], app(200)).survey(probe::baseline).await;
    assert!(
        ran.said().contains("200 at a page that does not exist, 401 with a wrong token at /health"),
        "{}",
        ran.said()
    );
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
    assert!(
        stage
            .survey(probe::baseline)
            .await
            .said()
            .ends_with("health check self-tested: 404 at a page that does not exist")
    );
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
    assert!(ran.warnings()[0].contains("the refusal of a wrong token could not be tested"), "{:?}", ran.warnings());
}

#[tokio::test]
async fn the_grace_period_is_counted_aloud() {
    let stage = Stage::with_site(Scripted::new(|_, _| Err("not yet".to_owned())));
    let clock = stage.clock.clone();
    let mut stage = stage;
    stage.inputs.health.grace = Grace::Wait(Duration::from_secs(12));
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
    let report: record::HealthReport = ran.record(record::key::HEALTH);
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
        Ok(gated_deploy::engine::Done::passed(probe::verify_old(cx, true, io).await?))
    };
    stage.release(row).await
}

#[tokio::test]
async fn f83_a_rollback_is_verified_by_the_same_rules() {
    let old = "20261101_080000-01234567";
    assert_eq!(verified_old(Scripted::new(healthy_as(OTHER)), old).await.said(), "health 3/3");
    let ran = verified_old(Scripted::new(|_, _| Ok(reply(403, ""))), old).await;
    assert!(ran.failure().cause.starts_with("0 of 3 endpoints are healthy"), "{}", ran.failure());
    assert_eq!(ran.attempts().len(), 6);
    assert!(!ran.record::<record::HealthReport>(record::key::HEALTH_AFTER_ROLLBACK).healthy());
}

#[tokio::test]
async fn f85_after_a_rollback_the_failed_code_must_not_answer() {
    let ran = verified_old(Scripted::new(healthy_as(SHA)), "20261101_080000-01234567").await;
    assert!(ran.failure().cause.contains("which was rolled back: stale code in OPcache"), "{}", ran.failure());
    // The same commit released twice: the name tells nothing.
    assert_eq!(verified_old(Scripted::new(healthy_as(SHA)), "20261101_080000-acb5820c").await.said(), "health 3/3");
}

// ---- The page that visitors begin at ----

/// Healthy endpoints, and a home that answers as a function says.
fn at_home(answer: impl Fn(&Get) -> Reply + 'static) -> Rc<Scripted> {
    Scripted::new(move |get, before| match get.path.as_str() {
        "/health" | "/api/health-check" | "/healthcheck.php" | probe::NOWHERE => healthy_as(SHA)(get, before),
        _ => Ok(answer(get)),
    })
}

fn with_home(site: Rc<Scripted>) -> Stage {
    let mut stage = Stage::with_site(site);
    stage.inputs.health.home = Some("/".to_owned());
    stage
}

/// Knows one secret, as the filter on the server does; or gives no answer.
struct Filter {
    knows: Option<&'static str>,
    asked: RefCell<usize>,
}

#[async_trait(?Send)]
impl Shell for Filter {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("no connection of its own");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        assert_eq!(script.name(), "quote");
        *self.asked.borrow_mut() += 1;
        let secret = self.knows.ok_or_else(|| ShellError::Dropped("the line is gone".to_owned()))?;
        let text = script.text("n");
        let said = text.lines().find_map(|line| line.strip_prefix("SAID=")).expect("what was said");
        Ok(Answer::new(vec![("shown".to_owned(), said.trim_matches('\'').replace(secret, "***"))]))
    }

    async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("nothing is sent");
    }

    async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
        panic!("no tunnel");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("no connection of its own");
    }
}

/// What a page says may be a value of `.env`, which the runner does not know: a body, a field, and where a redirect leads.
#[tokio::test]
async fn se8_what_a_page_answers_is_quoted_through_the_filter_on_the_server() {
    const SECRET: &str = "Tr0ub4dor+3";
    let location = ("location".to_owned(), format!("/reset/{SECRET}"));
    let redirects = Reply { headers: vec![location], ..reply(302, "") };
    let location = ("location".to_owned(), format!("https://login.example.test/reset/{SECRET}"));
    let elsewhere = Reply { headers: vec![location], ..reply(302, "") };
    let pages = [
        (
            reply(200, &format!("cannot reach https://api:{SECRET}@vendor.test")),
            "cannot reach https://api:***@vendor.test",
        ),
        (reply(200, &format!(r#"{{"status":"no {SECRET}"}}"#)), r#"says `status`: "no ***", not ok"#),
        (redirects, "302: redirects to /reset/***"),
        (elsewhere, "302: redirects to https://login.example.test/reset/***"),
    ];
    for (page, shown) in pages {
        // With the server, without an answer of it, and before it was reached.
        for (knows, reached) in [(Some(SECRET), true), (None, true), (Some(SECRET), false)] {
            let page = page.clone();
            let mut stage = Stage::with_site(Scripted::new(move |_, _| Ok(page.clone())));
            let filter = Rc::new(Filter { knows, asked: RefCell::default() });
            stage.shell = filter.clone();
            stage.surveyed.reached = reached;
            stage.inputs.health.home = None;
            let ran = stage.survey(probe::baseline).await;
            assert_eq!(ran.failure().code, "site-unhealthy");
            assert!(!ran.everything().contains(SECRET), "{knows:?} {reached}: {}", ran.everything());
            let attempt = ran.attempts()[0].to_owned();
            let withheld =
                if reached { &["bytes, not shown: "][..] } else { &["bytes, not shown: ", "login.example.test/..."] };
            let right = if knows.is_some() && reached { &[shown][..] } else { withheld };
            assert!(right.iter().any(|right| attempt.contains(right)), "{attempt}");
            assert_eq!(*filter.asked.borrow() > 0, reached, "{shown}");
        }
    }
}

#[tokio::test]
async fn fd6_a_home_page_that_fails_is_unhealthy_before_and_after_the_switch() {
    let site = at_home(|_| reply(500, "Whoops"));
    let ran = with_home(site.clone()).survey(probe::baseline).await;
    assert_eq!(ran.failure().cause, "every endpoint is healthy, but /: visitors get status 500");
    assert!(ran.failure().hint.as_deref().is_some_and(|hint| hint.contains("`home-path`")), "{:?}", ran.failure());
    assert_eq!(ran.outcome.exit_code(), 1);
    assert!(site.asked.borrow().iter().filter(|get| get.path == "/").all(|get| get.page && get.bearer.is_none()));

    let ran = with_home(at_home(|_| reply(500, "Whoops"))).release(probe::health).await;
    assert_eq!(ran.failure().cause, "every endpoint is healthy, but /: visitors get status 500");

    let site = at_home(|_| reply(500, "Whoops"));
    let mut stage = with_home(site.clone());
    stage.inputs.health.home = None;
    assert!(stage.survey(probe::baseline).await.said().starts_with("3/3"));
    assert_eq!(site.times("/"), 0, "`home-path: none` does not ask it");
}

#[tokio::test]
async fn fd6_a_home_page_must_not_be_worse_than_that_of_the_live_release() {
    // The baseline remembers.
    let ran = with_home(at_home(|_| reply(404, ""))).survey(probe::baseline).await;
    assert!(ran.said().starts_with("3/3"), "an interface has no home page: {}", ran.said());
    assert_eq!(ran.surveyed.home, Some(404));
    let cases = [
        (Some(404), 404, None),
        (Some(200), 200, None),
        (Some(404), 200, None),
        (Some(401), 401, None),
        (Some(200), 429, None),
        (Some(200), 404, Some("/: visitors get status 404; before the release they got 200")),
        (Some(302), 403, Some("/: visitors get status 403; before the release they got 302")),
        (Some(404), 502, Some("/: visitors get status 502")),
        (None, 404, None),
        (None, 503, Some("/: visitors get status 503")),
    ];
    for (before, now, problem) in cases {
        let mut stage = with_home(at_home(move |_| reply(now, "")));
        stage.home_before = before;
        let ran = stage.release(probe::health).await;
        let cause = ran.outcome.cause().map(|failure| failure.details[0].as_str());
        assert_eq!(cause, problem, "{before:?} {now}");
    }
}

#[tokio::test]
async fn fd6_redirects_within_the_site_are_followed() {
    let to = |location: &str| Reply { headers: vec![("location".to_owned(), location.to_owned())], ..reply(302, "") };
    let site = at_home(move |get| match get.path.as_str() {
        "/" => to("/en"),
        "/en" => to("/en/login"),
        _ => reply(500, ""),
    });
    let ran = with_home(site.clone()).release(probe::health).await;
    assert!(ran.failure().cause.ends_with("/: visitors get status 500"), "{}", ran.failure());
    let ran = with_home(at_home(move |_| to("https://login.example.org/"))).release(probe::health).await;
    assert!(ran.said().starts_with("3/3"), "another site is not this one's: {}", ran.said());
    let ran = with_home(at_home(move |_| to("/"))).release(probe::health).await;
    assert!(ran.failure().cause.contains("/: visitors are redirected more than 5 times"), "{}", ran.failure());

    let site = HttpSite::direct(url("https://shop.example.test:8443"), Roots::default());
    for (from, location, page) in [
        ("/a/b", "https://shop.example.test:8443/c?d=1#e", Some("/c?d=1")),
        ("/a/b", "c", Some("/a/c")),
        ("/a/b", "?page=2", Some("/a/b?page=2")),
        ("/", "//shop.example.test:8443/x", Some("/x")),
        ("/", "http://shop.example.test:8443/", None),
        ("/", "https://shop.example.test/", None),
        ("/", "//elsewhere.example/x", None),
        ("/", "https://", None),
    ] {
        assert_eq!(site.within(from, location).as_deref(), page, "{from} {location}");
    }
}

// ---- What could not be asked ----

fn lost() -> Rc<Scripted> {
    Scripted::silent(Why::Line, |_, _| Err("the SSH connection broke: it was reset".to_owned()))
}

#[tokio::test]
async fn fd8_what_could_not_be_asked_is_not_unhealthy() {
    let ran = Stage::with_site(lost()).release(probe::health).await;
    let cause = &ran.failure().cause;
    assert_eq!(cause, "the site could not be reached: /health: the SSH connection broke: it was reset");
    assert_eq!((ran.failure().kind, &*ran.failure().code), (FailureKind::World, "site-unreachable"));
    let report: record::HealthReport = ran.record(record::key::HEALTH);
    assert_eq!(report.standing(), record::SiteStatus::NotAsked);
    // Going back, it is neither healthy nor a failure.
    let ran = verified_old(lost(), "20261101_080000-01234567").await;
    assert_eq!(ran.said(), "its health could not be checked");
    assert!(ran.warnings()[0].contains("the site could not be reached"), "{:?}", ran.warnings());
    // One bad answer outweighs what could not be asked.
    let site = Scripted::silent(Why::Line, |get, _| match get.path.as_str() {
        "/health" => Ok(reply(500, "")),
        _ => Err("the SSH connection broke".to_owned()),
    });
    let ran = verified_old(site, "20261101_080000-01234567").await;
    assert!(ran.failure().cause.starts_with("0 of 3 endpoints are healthy"), "{}", ran.failure());
}

#[tokio::test]
async fn fd8_a_check_that_could_not_be_asked_was_not_seen_to_fail() {
    let site = Scripted::silent(Why::Line, |get, before| match get.path.as_str() {
        probe::NOWHERE => Err("the SSH connection broke".to_owned()),
        _ => healthy_as(SHA)(get, before),
    });
    let ran = Stage::with_site(site).release(probe::health).await;
    assert!(ran.failure().cause.contains("a page that does not exist did not reach the site"), "{}", ran.failure());
}

#[tokio::test]
async fn fd8_the_site_is_asked_again_and_then_from_a_second_place() {
    let broken_once = || {
        Scripted::silent(Why::Line, |get, before| match before {
            0 => Err("the SSH connection broke".to_owned()),
            _ => healthy_as(SHA)(get, before),
        })
    };
    let nobody = || Scripted::new(|get, _| panic!("the second place must not be asked for {}", get.path));
    let reply = Vantages::new(broken_once(), nobody()).get(get("/health")).await.expect("an answer");
    assert_eq!((reply.status, reply.vantage), (200, None));
    // What the site itself does is its answer.
    for why in [Why::Refused, Why::TunnelTarget, Why::Late, Why::Broken, Why::Issuer] {
        let site = Scripted::silent(why, |_, _| Err("nothing there".to_owned()));
        let answer = Vantages::new(site.clone(), nobody()).get(get("/health")).await;
        assert_eq!((answer.expect_err("no answer").why, site.times("/health")), (why, 1));
    }
    // The rows that decide ask there, and say so; the row before the release does not.
    let mut stage = Stage::with_site(lost());
    stage.anywhere = Some(Rc::new(Vantages::new(lost(), Scripted::new(healthy_as(SHA)))));
    let ran = stage.release(probe::health).await;
    let from = "asked on the server itself, because: the SSH connection broke: it was reset";
    assert_eq!(ran.said(), format!("3/3, answered as {SHA}, {from}"));
    let report: record::HealthReport = ran.record(record::key::HEALTH);
    assert_eq!(report.endpoints[0].vantage.as_deref(), Some(from));
    let mut stage = Stage::with_site(lost());
    stage.anywhere = Some(Scripted::new(healthy_as(OTHER)));
    assert!(stage.survey(probe::baseline).await.failure().cause.starts_with("the site could not be reached"));
    // A place that does not reach it says nothing of it. That nothing listens at any of the server's places says that it is down.
    for (why, reached) in [(Why::Line, false), (Why::Refused, true)] {
        let second = Scripted::silent(why, |_, _| Err("127.0.0.1:443: no connection".to_owned()));
        let answer = Vantages::new(lost(), second).get(get("/health")).await.expect_err("no answer");
        assert_eq!(answer.why.reached(), reached, "{}", answer.text);
        assert!(answer.text.contains("the SSH connection broke: it was reset"), "{}", answer.text);
        assert!(answer.text.contains("on the server itself: 127.0.0.1:443: no connection"), "{}", answer.text);
    }
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
    stage.state.manifest = Some(Rc::new(rows::manifest(&commit(), BUILT)));
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
    assert_eq!(ran.record::<record::Score>(record::key::ASSETS), record::Score { passed: 4, total: 4 });
    for (name, _) in BUILT {
        assert_eq!(site.times(name.strip_prefix("public").expect("all are public")), 1, "{name}");
    }
    assert!(site.asked.borrow().iter().all(|get| get.bearer.is_none()), "visitors have no token");
}

/// FD19: what is not there is not asked for.
#[tokio::test]
async fn fd19_without_a_front_end_no_assets_are_asked_for() {
    let site = Scripted::new(|_, _| Ok(reply(404, "")));
    let mut stage = Stage::with_site(site.clone());
    stage.inputs.front_end = FrontEnd::None;
    let ran = stage.release(probe::assets).await;
    assert_eq!(ran.said(), "the policy says `front-end: none`");
    assert!(site.asked.borrow().is_empty());
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
        assert_eq!(problem_with(css, spoil).await, format!("3 of 4 files are correct; {css}: {problem}"));
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
        ..Get::default()
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
        let reply =
            HttpSite::at(url(site), address, Roots::default()).get(get("/health?deep=1")).await.expect("an answer");
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
    let error = HttpSite::at(url("https://staging.example.test"), address, Roots::default()).get(get("/health")).await;
    let hello = told.recv().expect("a TLS hello");
    assert!(hello.windows(20).any(|part| part == b"staging.example.test"), "the server name is sent");
    let error = error.expect_err("that was no TLS server");
    assert!(!error.text.contains("health-token") && !error.text.is_empty(), "{error}");
}

#[tokio::test]
async fn f68_redirects_are_not_followed() {
    let (address, told) =
        server(vec![b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"]);
    let reply = HttpSite::direct(url(&format!("http://{address}")), Roots::default())
        .get(get("/health"))
        .await
        .expect("an answer");
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://elsewhere.example/")));
    assert_eq!(told.iter().count(), 1);
}

#[tokio::test]
async fn every_request_has_a_connection_of_its_own() {
    const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (address, told) = server(vec![KEPT, KEPT]);
    let site = HttpSite::direct(url(&format!("http://{address}")), Roots::default());
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
    let site = HttpSite::direct(url(&format!("http://{address}")), Roots::default());
    let kept = || Get { connection: Connection::Kept, ..get("/health") };
    for _ in 0..3 {
        assert_eq!(site.get(kept()).await.expect("an answer").status, 200);
    }
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [0, 0, 1]);

    // A new visitor's connection that is closed without an answer has failed: nobody asks twice for him.
    let (address, _told) = patient_server(vec![0, 1]);
    let site = HttpSite::direct(url(&format!("http://{address}")), Roots::default());
    assert!(site.get(get("/health")).await.is_err());
}

#[tokio::test]
async fn troubles_are_told_in_words() {
    let site = |address| HttpSite::direct(url(&format!("http://{address}")), Roots::default());
    let (address, _told) = server(vec![b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok"]);
    let error = site(address).get(get("/health")).await.expect_err("half an answer");
    assert!(error.text.starts_with("the answer broke off: "), "{error}");

    let (address, _told) = server(vec![b"SSH-2.0-OpenSSH_9.2\r\n"]);
    let error = site(address).get(get("/health")).await.expect_err("not HTTP");
    assert!(error.text.contains("HTTP"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = silent.local_addr().expect("the port");
    let hurried = Get { timeout: Duration::from_millis(200), ..get("/health") };
    assert_eq!(site(address).get(hurried).await, Err(Unanswered::new(Why::Late, "no answer in time")));

    drop(silent);
    let error = site(address).get(get("/health")).await.expect_err("nobody listens");
    assert_eq!(error, Unanswered::new(Why::Refused, "no connection: Connection refused"));
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
    let reply = HttpSite::direct(url(&format!("http://{address}")), Roots::default())
        .get(get("/big"))
        .await
        .expect("an answer");
    assert_eq!((reply.body.len(), reply.length), (4 << 20, 9 << 20));
}

/// A certificate of an authority of our own, with its key; signed by `issuer`, or by itself.
fn certificate(name: &str, days: (i64, i64), issuer: Option<&(X509, PKey<Private>)>) -> (X509, PKey<Private>) {
    let key = Rsa::generate(2048).and_then(PKey::from_rsa).expect("a key");
    let mut subject = X509Name::builder().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut made = X509::builder().expect("a certificate");
    let day = |day: i64| {
        let at = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() as i64 + day * 86_400;
        Asn1Time::from_unix(at).expect("a day")
    };
    made.set_version(2).expect("version 3");
    made.set_subject_name(&subject).expect("a subject");
    made.set_issuer_name(issuer.map_or(&subject, |(of, _)| of.subject_name())).expect("an issuer");
    made.set_not_before(&day(days.0)).expect("a day");
    made.set_not_after(&day(days.1)).expect("a day");
    made.set_pubkey(&key).expect("a key");
    match issuer {
        None => made.append_extension(BasicConstraints::new().critical().ca().build().expect("an authority")),
        Some((of, _)) => {
            let names = SubjectAlternativeName::new().dns(name).build(&made.x509v3_context(Some(of), None));
            made.append_extension(names.expect("a name"))
        }
    }
    .expect("an extension");
    made.sign(issuer.map_or(&key, |(_, key)| key), MessageDigest::sha256()).expect("a signature");
    (made.build(), key)
}

/// Answers one request over TLS with this certificate.
fn tls_server((certificate, key): &(X509, PKey<Private>)) -> SocketAddr {
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).expect("TLS");
    acceptor.set_certificate(certificate).expect("a certificate");
    acceptor.set_private_key(key).expect("its key");
    let (acceptor, listener) = (acceptor.build(), TcpListener::bind("127.0.0.1:0").expect("listen on loopback"));
    let address = listener.local_addr().expect("the port");
    thread::spawn(move || {
        // A client that does not trust the certificate goes away in between.
        if let Ok(mut connection) = acceptor.accept(listener.accept().expect("a connection").0) {
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(OK);
            let _ = connection.shutdown();
        }
    });
    address
}

#[tokio::test]
async fn fd9_a_private_authority_can_be_given_and_each_fault_of_a_certificate_is_named() {
    let authority = certificate("an authority of ours", (-1, 2), None);
    let pem = String::from_utf8(authority.0.to_pem().expect("PEM")).expect("text");
    let roots = Roots::parse(&format!("# ours\r\n{pem}")).expect("a certificate");
    let asked = async |name: &str, days, roots: &Roots| {
        let address = tls_server(&certificate(name, days, Some(&authority)));
        let site = HttpSite::at(url("https://shop.example.test"), address, roots.clone());
        site.get(get("/health")).await.map_err(|error| error.why)
    };
    let name = "shop.example.test";
    assert_eq!(asked(name, (-1, 1), &roots).await.map(|reply| reply.status), Ok(200));
    assert_eq!(asked(name, (-1, 1), &Roots::default()).await, Err(Why::Issuer));
    assert_eq!(asked(name, (-2, -1), &roots).await, Err(Why::Expired));
    assert_eq!(asked(name, (1, 2), &roots).await, Err(Why::Expired));
    assert_eq!(asked("other.example.test", (-1, 1), &roots).await, Err(Why::Hostname));
    let (address, _told) = server(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
    let site = HttpSite::at(url("https://shop.example.test"), address, roots);
    assert_eq!(site.get(get("/health")).await.map_err(|error| error.why), Err(Why::Tls));
}

#[test]
fn fd9_what_is_no_certificate_is_named_with_its_line() {
    let pem = String::from_utf8(certificate("ours", (-1, 2), None).0.to_pem().expect("PEM")).expect("text");
    let (first, rest) = pem.split_once('\n').expect("lines");
    let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    for (text, problem) in [
        (String::new(), "line 1: no certificate was found"),
        (format!("{pem}{key}"), "begins `PRIVATE KEY`, which is not a certificate"),
        (format!("# ours\n{first}\n%{rest}"), "line 2: the certificate is not base64: "),
        (format!("{first}\nAAAA\n-----END CERTIFICATE-----"), "line 1: TLS cannot use this certificate: "),
        (format!("{first}\nAAAA"), "line 1: the certificate has no END line"),
        (format!("{first}\n{pem}"), "line 2: begins a certificate inside the one that begins in line 1"),
        ("-----END CERTIFICATE-----".to_owned(), "line 1: ends a certificate without a BEGIN line"),
    ] {
        let told = Roots::parse(&text).expect_err("no certificate").to_string();
        assert!(told.contains(problem), "{told}");
    }
    assert_eq!(Roots::parse(&format!("{pem}{pem}")).expect("two").certificates().count(), 2);
}

#[tokio::test]
async fn fd9_a_name_that_nobody_knows_says_nothing_of_the_site() {
    let site = HttpSite::direct(url("http://no-such-host.invalid"), Roots::default());
    let unanswered = site.get(get("/health")).await.expect_err("no such host");
    assert_eq!(unanswered.why, Why::Name, "{unanswered}");
    assert!(!unanswered.why.reached());
}

/// Preflight, plan and release have this row. A site that was reached and is not healthy is a "no" of its own.
#[tokio::test]
async fn fd9_a_site_that_could_not_be_asked_before_a_release_is_a_failure_of_the_network() {
    for why in [Why::Name, Why::Route, Why::Proxy, Why::Line, Why::Forwarding, Why::Refused, Why::Late] {
        let code = if why.reached() { 1 } else { 5 };
        for first in [false, true] {
            let mut stage = Stage::with_site(Scripted::silent(why, |_, _| Err("nothing there".to_owned())));
            if first {
                let server = gated_deploy::server::inspect::ServerState { current: None, ..stage.server.clone() };
                stage.surveyed.server = Some(server);
            }
            let ran = stage.survey(probe::baseline).await;
            assert_eq!(ran.outcome.exit_code(), code, "{why:?}, first release: {first}: {}", ran.failure());
        }
    }
    // It answers the health endpoints, and the line breaks before the control.
    let site = Scripted::silent(Why::Line, |get, before| match get.path.as_str() {
        probe::NOWHERE => Err("the SSH connection broke".to_owned()),
        _ => healthy_as(SHA)(get, before),
    });
    assert_eq!(Stage::with_site(site).survey(probe::baseline).await.outcome.exit_code(), 5);
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

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
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
        Ok(Tunnel::new(path, format!("{host}:{port}"), Arc::default()))
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("one connection is enough");
    }
}

#[tokio::test]
async fn f77_the_tunnel_is_opened_once_and_the_host_stays_the_urls() {
    let (site, told) = server(vec![OK, OK]);
    let shell = Rc::new(Doorkeeper { site, folder: tempfile::tempdir().expect("a folder"), asked: RefCell::default() });
    let site = HttpSite::through(url("http://staging.example.test"), shell.clone(), "127.0.0.1", 80, Roots::default());
    assert_eq!(*shell.asked.borrow(), [], "not before it is needed");
    for _ in 0..2 {
        assert_eq!(site.get(get("/health")).await.expect("an answer").status, 200);
        let asked = String::from_utf8(told.recv().expect("a request")).expect("text");
        assert!(asked.contains("host: staging.example.test\r\n"), "{asked}");
    }
    assert_eq!(*shell.asked.borrow(), [("127.0.0.1".to_owned(), 80)]);
}
