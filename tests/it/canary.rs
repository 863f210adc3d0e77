//! Before the switch: the new release is asked through the site's own PHP-FPM, and one that is unhealthy meets no visitor.

use std::{cell::RefCell, collections::VecDeque, fs::File, rc::Rc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gated_deploy::{
    domain::{FailureKind, RemotePath, record},
    http::{Get, Reply, Site, Unanswered},
    server::{
        health::{
            canary,
            identity::{Mark, Trust},
            probe,
        },
        inspect::Gateway,
    },
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::{
    app::{self, TempTree, Variant},
    load::Load,
    runner::Finished,
    server::{SEED_COMMIT, SEED_RELEASE},
    story::{Story, commit},
};

use crate::{
    rows::Stage,
    support::{assert_ended, assert_says, output, story},
};

const BASE: &str = "/var/www/staging";
const PROVIDER: &str = "app/Providers/AppServiceProvider.php";
const HEALTH: &str = "app/Http/Controllers/HealthController.php";
const POOL: &str = "/etc/php/8.2/fpm/pool.d/staging.conf";

// ---- What the row concludes, without a server ----

/// A server that answers each script by the next list of pages: path and what PHP says, or why nothing could be asked.
struct Pages {
    answers: RefCell<VecDeque<(&'static str, Result<&'static str, &'static str>)>>,
}

impl Pages {
    fn new(answers: &[(&'static str, Result<&'static str, &'static str>)]) -> Rc<Self> {
        Rc::new(Self { answers: RefCell::new(answers.iter().copied().collect()) })
    }

    fn all_were_asked(&self) -> bool {
        self.answers.borrow().is_empty()
    }
}

const WELL: &str = "Status: 200 OK\r\n\r\n{\"status\":\"ok\"}";
const BROKEN: &str = "Status: 500 Internal Server Error\r\n\r\nno";
/// No answer.
const HANGS: &str = "";
const MISSING: &str = "Status: 404 Not Found\r\n\r\nno";

#[async_trait(?Send)]
impl Shell for Pages {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("this row makes no connection of its own");
    }

    async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        let (name, said) = self.answers.borrow_mut().pop_front().expect("one script more than expected");
        assert_eq!(script.name(), name);
        let text = match said {
            Err(why) => return Ok(Answer::new(vec![("unreachable".to_owned(), why.to_owned())])),
            Ok(text) => text,
        };
        // So many as any script asks for; the last one of two rounds is the page that does not exist.
        let page = |number: usize, text: &str| {
            ("answer".to_owned(), format!("{number} 3 whole {} {}", text.len(), STANDARD.encode(text)))
        };
        const LAST: usize = 6;
        let mut records: Vec<_> = (0..LAST).map(|number| page(number, text)).collect();
        records.push(page(LAST, MISSING));
        if text == HANGS {
            records = vec![("answer".to_owned(), "0 10000 late 0 ".to_owned())];
        }
        if text == BROKEN {
            records.push(("causes".to_owned(), "0 RuntimeException: the key is missing (app/Shop.php:7)".to_owned()));
        }
        Ok(Answer::new(records))
    }

    async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("this row sends nothing");
    }

    async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
        panic!("this row opens no tunnel");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("this row makes no connection of its own");
    }
}

/// The site, as its web server serves it.
struct Served(u16);

#[async_trait(?Send)]
impl Site for Served {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        let status = if get.path == probe::NOWHERE { 404 } else { self.0 };
        let body = b"{\"status\":\"ok\"}".to_vec();
        Ok(Reply { status, headers: Vec::new(), length: 15, body, took: Duration::from_millis(3), vantage: None })
    }

    fn within(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

fn stage(pages: &Rc<Pages>, served: u16) -> Stage {
    let mut stage = Stage::with_site(Rc::new(Served(served)));
    stage.shell = pages.clone();
    stage.server.services.gateway = Ok(Gateway {
        pool: "shop".to_owned(),
        address: "unix:///run/php/shop.sock".to_owned(),
        public: "/public".to_owned(),
        chroot: None,
    });
    stage
}

#[tokio::test]
async fn a_healthy_release_is_asked_twice_in_one_script() {
    let pages = Pages::new(&[("canary", Ok(WELL))]);
    let ran = stage(&pages, 200).release(canary::check).await;
    assert_eq!(ran.said(), "3/3; asked through the pool shop");
    assert!(ran.warnings().is_empty() && pages.all_were_asked());
    let report: record::HealthReport = ran.record(record::key::CANARY);
    assert_eq!(report.earlier.len(), 1, "two rounds in a row");
}

#[tokio::test]
async fn an_unhealthy_release_is_refused_with_what_it_threw_first() {
    // Three attempts, and the live release the same way: it is healthy, so the way can tell.
    let pages =
        Pages::new(&[("canary", Ok(BROKEN)), ("canary", Ok(BROKEN)), ("canary", Ok(BROKEN)), ("canary", Ok(WELL))]);
    let ran = stage(&pages, 200).release(canary::check).await;
    let failure = ran.failure();
    assert_eq!((failure.kind, &*failure.code), (FailureKind::Refused, "canary-unhealthy"));
    assert_eq!(
        failure.cause,
        "RuntimeException: the key is missing (app/Shop.php:7); 0 of 3 endpoints are healthy; /health: 500 instead of 200"
    );
    assert!(
        failure.hint.as_deref().is_some_and(|hint| hint.contains("shared/storage/logs/laravel.log")),
        "{failure:?}"
    );
    assert!(pages.all_were_asked());
    assert_eq!(ran.outcome.exit_code(), 1);
}

#[tokio::test]
async fn a_release_that_is_well_at_the_second_attempt_goes_on() {
    let pages = Pages::new(&[("canary", Ok(BROKEN)), ("canary", Ok(WELL))]);
    let stage = stage(&pages, 200);
    let clock = stage.clock.clone();
    let ran = stage.release(canary::check).await;
    assert_eq!(ran.said(), "3/3; asked through the pool shop");
    assert_eq!(clock.slept(), [Duration::from_secs(1)]);
}

/// What fails for every release says nothing of the new one: nginx tells PHP something that the canary does not know, or the pool is full.
#[tokio::test]
async fn a_way_by_which_the_live_release_fails_says_nothing_of_the_new_one() {
    let broken = ("canary", Ok(BROKEN));
    for served in [200, 500] {
        let pages = Pages::new(&[broken, broken, broken, broken]);
        let ran = stage(&pages, served).release(canary::check).await;
        assert!(ran.said().starts_with("not asked: the live release is unhealthy, too"), "{}", ran.said());
        let [warning] = ran.warnings()[..] else { panic!("{:?}", ran.warnings()) };
        assert!(warning.contains("could not be asked") && warning.contains("/health: 500 instead of 200"), "{warning}");
    }
    // Nor is there anything to compare with before the first release, which no visitor has to be spared.
    let pages = Pages::new(&[broken, broken, broken]);
    let mut stage = stage(&pages, 200);
    stage.server.live_tree = None;
    let ran = stage.release(canary::check).await;
    assert!(ran.said().contains("no release is live with which to compare that"), "{}", ran.said());
    assert!(pages.all_were_asked());
}

/// A site whose home page the web server sends by itself: the pool answers 404 there, of every release. The other pages are judged all the same.
#[tokio::test]
async fn a_page_that_the_web_server_sends_by_itself_is_left_out_and_the_others_count() {
    /// By the number of a script: what its first page says. The fourth page of a round is the home page.
    struct Spa(RefCell<VecDeque<&'static str>>);
    #[async_trait(?Send)]
    impl Shell for Spa {
        async fn connect(&self) -> Result<Greeting, ShellError> {
            panic!("no connection");
        }
        async fn run(&self, _: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
            let first = self.0.borrow_mut().pop_front().expect("one script more than expected");
            let page = |number: usize| {
                let text = match number {
                    3 | 7 | 8 => MISSING,
                    0 | 4 => first,
                    _ => WELL,
                };
                ("answer".to_owned(), format!("{number} 3 whole {} {}", text.len(), STANDARD.encode(text)))
            };
            Ok(Answer::new((0..9).map(page).collect()))
        }
        async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
            panic!("nothing is sent");
        }
        async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
            panic!("no tunnel");
        }
        fn another(&self) -> Rc<dyn Shell> {
            panic!("no connection");
        }
    }
    let asked = async |scripts: [&'static str; 4]| {
        let mut stage = stage(&Pages::new(&[]), 200);
        stage.shell = Rc::new(Spa(RefCell::new(scripts.into())));
        stage.inputs.health.home = Some("/".to_owned());
        stage.home_before = Some(200);
        stage.release(canary::check).await
    };
    let ran = asked([WELL, WELL, WELL, WELL]).await;
    let aside =
        "/ not compared: so answers the live release (visitors get status 404; before the release they got 200)";
    assert_eq!(ran.said(), format!("3/3; {aside}; asked through the pool shop"));
    assert!(ran.warnings().is_empty(), "{:?}", ran.warnings());
    let report: record::HealthReport = ran.record(record::key::CANARY);
    assert!(report.healthy() && report.home.is_none(), "{report:?}");

    // A page at which the live release is healthy is no such page.
    let ran = asked([BROKEN, BROKEN, BROKEN, WELL]).await;
    assert_eq!(ran.failure().code, "canary-unhealthy");
    assert!(ran.failure().cause.starts_with("2 of 3 endpoints are healthy; /health: 500"), "{}", ran.failure());
    assert!(!ran.failure().details.iter().any(|detail| detail.starts_with("/:")), "{:?}", ran.failure());
}

/// Not even the one-time file runs, and PHP-FPM says nothing of why: a limit that the configuration does not show, and that ends with the switch.
#[tokio::test]
async fn where_the_pool_runs_no_file_of_a_release_and_says_not_why_it_is_not_refused() {
    /// Every page of the release is missing; with a cause or without one.
    struct Closed(Option<&'static str>);
    #[async_trait(?Send)]
    impl Shell for Closed {
        async fn connect(&self) -> Result<Greeting, ShellError> {
            panic!("no connection");
        }
        async fn run(&self, script: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
            let live = !script.text("n").contains("20261124_110000-acb5820c");
            let text = if live { WELL } else { MISSING };
            let page =
                |number| ("answer".to_owned(), format!("{number} 3 whole {} {}", text.len(), STANDARD.encode(text)));
            let causes = self.0.filter(|_| !live).map(|cause| ("causes".to_owned(), cause.to_owned()));
            Ok(Answer::new((0..9).map(page).chain(causes).collect()))
        }
        async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
            panic!("nothing is sent");
        }
        async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
            panic!("no tunnel");
        }
        fn another(&self) -> Rc<dyn Shell> {
            panic!("no connection");
        }
    }
    let asked = async |cause| {
        let mut stage = stage(&Pages::new(&[]), 200);
        stage.shell = Rc::new(Closed(cause));
        let path = "/gated-deploy-0123456789abcdef0123456789abcdef.php".to_owned();
        stage.state.identity = Some(Mark { path, trust: Trust::Works, app_names_itself: false });
        stage.release(canary::check).await
    };
    assert_eq!(asked(None).await.said(), "not asked: PHP-FPM runs no file of the release, and does not say why");
    let ran = asked(Some("PHP message: Permission denied")).await;
    assert_eq!(ran.failure().code, "canary-unhealthy");
    assert!(ran.failure().cause.starts_with("PHP message: Permission denied; 0 of 3"), "{}", ran.failure());
}

/// A page that hangs keeps its worker, and one more attempt would take another one of the pool that visitors need.
#[tokio::test]
async fn a_page_that_hangs_is_asked_once_and_says_nothing() {
    let pages = Pages::new(&[("canary", Ok(HANGS))]);
    let ran = stage(&pages, 200).release(canary::check).await;
    assert_eq!(ran.said(), "not asked: /health got no answer from the pool shop in time");
    assert!(pages.all_were_asked());
}

/// The release goes on, and the health check after the switch decides. No page of the app runs as the deploy user instead: what a page does
/// depends on files and rows that the site's account writes.
#[tokio::test]
async fn where_the_pool_cannot_be_reached_nothing_else_is_asked_and_that_is_said() {
    let pages = Pages::new(&[("canary", Err("unix:///run/php/shop.sock: Permission denied"))]);
    let ran = stage(&pages, 200).release(canary::check).await;
    assert_eq!(ran.said(), "not asked: unix:///run/php/shop.sock: Permission denied");
    assert!(ran.warnings()[0].contains("Permission denied") && pages.all_were_asked(), "{:?}", ran.warnings());
}

/// A canary to which every page is healthy could not tell.
#[tokio::test]
async fn a_page_that_does_not_exist_must_not_be_healthy() {
    struct Blind;
    #[async_trait(?Send)]
    impl Shell for Blind {
        async fn connect(&self) -> Result<Greeting, ShellError> {
            panic!("no connection");
        }
        async fn run(&self, _: Script, _: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
            let page = |number| ("answer".to_owned(), format!("{number} 3 whole 36 {}", STANDARD.encode(WELL)));
            Ok(Answer::new((0..9).map(page).collect()))
        }
        async fn send(&self, _: File, _: u64, _: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
            panic!("nothing is sent");
        }
        async fn tunnel(&self, _: &str, _: u16) -> Result<Tunnel, ShellError> {
            panic!("no tunnel");
        }
        fn another(&self) -> Rc<dyn Shell> {
            panic!("no connection");
        }
    }
    let mut stage = stage(&Pages::new(&[]), 200);
    stage.shell = Rc::new(Blind);
    let ran = stage.release(canary::check).await;
    assert_eq!(ran.failure().code, "health-check-cannot-fail");
}

#[tokio::test]
async fn a_release_that_is_healthy_is_warmed_up_and_a_page_that_fails_is_a_warning() {
    let warm = |said: &'static str, healthy: bool| {
        let pages = Pages::new(&[("canary", Ok(said))]);
        let mut stage = stage(&pages, 200);
        stage.inputs.health.warm_up = vec!["/".to_owned(), "/login".to_owned()];
        stage.state.canary_healthy = healthy;
        (pages, stage)
    };
    let (pages, well) = warm(WELL, true);
    let ran = well.release(canary::warm_up).await;
    assert_eq!(ran.said(), "/ 3 ms, /login 3 ms");
    assert!(ran.warnings().is_empty() && pages.all_were_asked());

    let (_, broken) = warm(BROKEN, true);
    let ran = broken.release(canary::warm_up).await;
    assert_eq!(ran.said(), "/: 500, /login: 500");
    assert!(ran.everything().contains("warm-up-failed") && ran.outcome.exit_code() == 0, "{:?}", ran.outcome);
    let (_, hangs) = warm(HANGS, true);
    assert_eq!(hangs.release(canary::warm_up).await.said(), "/ got no answer from the pool shop in time");
    // Not where the pool says nothing, and not without a list.
    let (pages, unknown) = warm(WELL, false);
    assert_eq!(unknown.release(canary::warm_up).await.said(), "the canary has not found the release healthy");
    assert!(!pages.all_were_asked());
    assert_eq!(stage(&Pages::new(&[]), 200).release(canary::warm_up).await.said(), "`warm-up` is not set");
}

// ---- On a server ----

/// Puts a statement at the beginning of every request of the app, and of no command.
fn on_every_request(tree: &TempTree, statement: &str) {
    let body =
        format!("{{\n        if (! $this->app->runningInConsole()) {{\n            {statement}\n        }}\n    }}");
    tree.replace(PROVIDER, "{\n    }", &body).expect("the provider");
}

/// Releases a tree, and sees it refused before the switch, with nothing of it left.
#[track_caller]
fn refused(story: &Story, word: &str, breaks: impl Fn(&TempTree)) -> Finished {
    let commit = commit(word);
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    breaks(&tree);
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let finished = story.deploy(&commit);
    assert_ended(&finished, 1, "refused");
    assert_says(
        &finished.summary,
        &["canary-unhealthy", "checking whether the new release is healthy before the switch"],
    );
    assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE), "{word}");
    let releases = story.lab.exec(&format!("ls {BASE}/releases")).expect("ls");
    assert_eq!(releases.trim(), SEED_RELEASE, "{word}: its folder is removed");
    finished
}

/// The cause comes first, in the summary and in the annotation.
#[track_caller]
fn assert_cause(finished: &Finished, cause: &str) {
    // As Markdown has it.
    let escaped = cause.replace('\\', "&#92;").replace('[', "\\[").replace(']', "\\]");
    assert_says(&finished.summary, &[&format!("before the switch: {escaped}")]);
    let annotation = finished.raw_log.lines().find(|line| line.starts_with("::error")).unwrap_or_default();
    assert!(annotation.contains(&format!("before the switch: {cause}")), "{annotation} does not say: {cause}");
}

/// Eight visitors at a time ask for the home page meanwhile; none of them may meet an error.
fn under_load(story: &Story, releases: impl FnOnce()) {
    let site = story.staging_site();
    story.lab.get(&site, "/", None).expect("the first visit");
    let load = Load::start(story.lab.http_addr(), &site.host, "/", 8);
    releases();
    let report = load.stop().expect("the load's report");
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
    assert!(report.failures.is_empty(), "{} of {}: {:?}", report.failures.len(), report.requests, report.failures);
    assert!(report.requests > 100, "only {} requests were made", report.requests);
}

#[test]
fn a_release_that_throws_is_refused_before_the_switch_and_no_visitor_meets_it() {
    let story = story();
    under_load(&story, || {
        let finished = refused(&story, "throws at every request", |tree| {
            on_every_request(tree, "throw new \\RuntimeException('the key of the shop is missing');");
        });
        assert_cause(
            &finished,
            "RuntimeException: the key of the shop is missing (app/Providers/AppServiceProvider.php:12); 1 of 3 endpoints are healthy",
        );
        assert!(!finished.log.contains("canary-not-asked"), "PHP-FPM was asked:\n{}", finished.log);

        let finished = refused(&story, "throws at one health path", |tree| {
            let shallow = "public function shallow()\n    {\n";
            let throws = format!("{shallow}        throw new \\LogicException('nothing to report');\n");
            tree.replace(HEALTH, shallow, &throws).expect("the controller");
        });
        assert_cause(&finished, "LogicException: nothing to report (app/Http/Controllers/HealthController.php:");
        assert_says(&finished.summary, &["2 of 3 endpoints are healthy; /api/health-check: 500"]);
    });
}

#[test]
fn a_release_that_fails_on_the_web_only_is_refused_before_the_switch() {
    let story = story();
    under_load(&story, || {
        let finished = refused(&story, "whose home page throws", |tree| {
            let controller = "app/Http/Controllers/HomeController.php";
            tree.replace(controller, "return view", "throw new \\Exception('no page'); return view").expect("the page");
        });
        assert_cause(&finished, "Exception: no page (app/Http/Controllers/HomeController.php:");
        assert_says(&finished.summary, &["every endpoint is healthy, but /: visitors get status 500"]);

        let finished = refused(&story, "that reaches no database on the web", |tree| {
            on_every_request(tree, "config(['database.connections.mysql.port' => 1]);");
        });
        assert_cause(&finished, "Illuminate\\Database\\QueryException: SQLSTATE[HY000] [2002] Connection refused");
        assert_says(&finished.summary, &["/health: 503 instead of 200"]);
    });
}

/// The pool may open the live release, and no other.
#[test]
fn a_release_that_the_pool_may_not_open_is_refused_before_the_switch() {
    let story = story();
    let folders = format!("{BASE}/releases/{SEED_RELEASE}:{BASE}/shared:/usr/share/php:/tmp");
    let closes = format!("echo 'php_admin_value[open_basedir] = {folders}' >>{POOL} && service php8.2-fpm reload");
    story.lab.exec(&closes).expect("a pool that is closed");
    under_load(&story, || {
        let finished = refused(&story, "that the pool may not open", |_| {});
        assert_says(&finished.summary, &["open_basedir restriction in effect", "0 of 3 endpoints are healthy"]);
    });
}

/// PHP may open what `current` leads to, which is the live release until the switch, and nothing says so in the pool's own file or in a log.
#[test]
fn a_pool_that_may_open_only_what_current_leads_to_is_not_asked_wherever_that_stands() {
    let story = story();
    let folders = format!("{BASE}/current/:{BASE}/shared/:/usr/share/php/:/tmp/");
    let ini = "/etc/php/8.2/fpm/conf.d/99-own.ini";
    let host = "/etc/nginx/sites-available/staging";
    for (place, limits) in [
        (ini, format!("printf 'open_basedir = {folders}\nlog_errors = Off\n' >{ini} && service php8.2-fpm restart")),
        (
            "the virtual host staging.lab.test",
            format!(
                "rm {ini} && sed -i 's|include fastcgi_params;|&\\n        fastcgi_param PHP_ADMIN_VALUE \"open_basedir={folders}\";|' {host} \
                 && nginx -t && service nginx reload && service php8.2-fpm restart"
            ),
        ),
    ] {
        story.lab.exec(&limits).expect("a limit");
        let commit = commit(&format!("limited by {place}"));
        story.ship(&commit, Variant::Healthy).expect("the build");
        let finished = story.deploy(&commit);
        assert_ended(&finished, 0, "live");
        let why = format!(
            "`open_basedir` of {place} has {BASE}/current/, so it allows only the release that `current` leads to"
        );
        assert_says(&finished.log, &["canary-not-asked", &why]);
        assert_eq!(story.served().expect("the site"), commit);
    }
}

/// The pool's socket is closed for the deploy user: then the check after the switch decides, as it always did.
#[test]
fn where_the_deploy_user_cannot_reach_the_pool_the_check_after_the_switch_decides() {
    let story = story();
    story
        .lab
        .exec(&format!("sed -i 's/^listen.group = .*/listen.group = root/' {POOL} && service php8.2-fpm restart"))
        .expect("a closed socket");
    let commit = commit("throws, and the pool is closed");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    on_every_request(&tree, "throw new \\RuntimeException('the key of the shop is missing');");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
    let finished = story.deploy(&commit);
    assert_ended(&finished, 3, "rolled-back");
    assert_says(&finished.summary, &["canary-not-asked", "Permission denied"]);
    assert_eq!(story.served().expect("the site"), SEED_COMMIT);
}

/// nginx tells PHP something that an app cannot do without, and that nobody else knows.
#[test]
fn an_app_that_needs_what_only_its_web_server_says_is_not_refused() {
    let story = story();
    let needs = "if (($_SERVER[\"SHOP\"] ?? 0) !== \"open\") { http_response_code(500); exit; }";
    story
        .lab
        .exec(&format!(
            "sed -i 's/include fastcgi_params;/&\\n        fastcgi_param SHOP open;/' /etc/nginx/sites-available/staging
             sed -i '1 s/$/ {needs}/' {BASE}/current/public/index.php
             service nginx reload && service php8.2-fpm reload"
        ))
        .expect("a web server that says more");
    let commit = commit("needs its web server");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.replace("public/index.php", "<?php\n", &format!("<?php {needs}\n")).expect("the front controller");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    let finished = story.deploy(&commit);

    assert_ended(&finished, 0, "live");
    assert_says(
        &finished.summary,
        &["canary-not-asked", "the live release is unhealthy, too, when it is asked this way"],
    );
    assert_eq!(output(&finished, "outcome"), "live");
}

#[test]
fn pages_of_the_policy_are_warmed_up_before_the_switch_and_the_first_answer_after_it_is_told() {
    const POLICY: &str = "warm-up: [/, /login]\nenvironments: {}\n";
    let story = story();
    let release = |word: &str, login: &str| {
        let commit = commit(word);
        let tree = app::source(&commit, Variant::Healthy).expect("the tree");
        tree.replace(
            "routes/web.php",
            "Route::get('/', HomeController::class);",
            &format!("Route::get('/', HomeController::class);\nRoute::get('/login', function () {{ {login} }});"),
        )
        .expect("the routes");
        tree.write(".github/gated-deploy.yml", POLICY).expect("the policy");
        story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");
        let runner = story.staging(&commit).file(".github/gated-deploy.yml", POLICY);
        let finished = runner.run_binary(story.binary());
        let text =
            std::fs::read_to_string(runner.workspace().join(output(&finished, "report-json"))).expect("the report");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        crate::evidence::valid(&report);
        assert_ended(&finished, 0, "live");
        (finished, report)
    };
    // Before the switch, and after the reload, which empties OPcache.
    let warm = |report: &serde_json::Value| {
        let rows = report["rows"].as_array().expect("rows");
        ["warm-up", "warm-up-again"].map(|step| {
            let row = rows.iter().find(|row| row["step"] == step).expect("the row");
            row["text"].as_str().unwrap_or_default().to_owned()
        })
    };

    let (finished, report) = release("with a login", "return response()->noContent();");
    let said = warm(&report);
    assert!(said.iter().all(|said| said.starts_with("/ ") && said.contains(", /login ")), "{said:?}");
    assert!(!finished.log.contains("warm-up-failed"));
    let first = &report["zero_downtime"]["first_after_switch"];
    assert!(first["took_us"].as_u64() > Some(0) && first["median_before_us"].as_u64() > Some(0), "{first}");
    assert_says(&finished.summary, &["first after the switch "]);

    let (finished, report) = release("whose login throws", "throw new \\LogicException('closed');");
    assert_eq!(warm(&report), ["/login: 500"; 2]);
    assert_says(&finished.summary, &["warm-up-failed", "/login: 500"]);
}
