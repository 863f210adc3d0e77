//! The health token that a fix learns on the server: where it goes, and when.

use std::{cell::RefCell, fs::File, path::PathBuf, rc::Rc, time::Duration};

use async_trait::async_trait;
use gated_deploy::{
    config::typed,
    context::{Ports, Survey},
    domain::{Approval, Outcome, RemotePath, Secret, fix::FixName},
    engine::{
        Table, run_table,
        step::{change, check, no_undo, observe},
    },
    http::{Get, Reply, Site, Unanswered},
    stages::fix::{Fix, FixPlan, Repository, decide, health_token},
    transport::shell::{Answer, Greeting, Script, Shell, ShellError, Tunnel},
};
use gated_deploy_lab::github::GitHub;

use crate::rows::{Patience, Story, Untouched, api, inputs, never, source};

const LEARNT: &str = "the-token-of-the-server";

/// A server whose `.env` names this site.
struct Server(&'static str);

#[async_trait(?Send)]
impl Shell for Server {
    async fn connect(&self) -> Result<Greeting, ShellError> {
        panic!("it is connected");
    }

    async fn run(&self, script: Script, _on_line: &mut dyn FnMut(String)) -> Result<Answer, ShellError> {
        assert_eq!(script.name(), "secret");
        Ok(Answer::new(vec![("said".to_owned(), format!("{}\n{LEARNT}", self.0))]))
    }

    async fn send(&self, _: File, _: u64, to: &RemotePath, _: &mut dyn FnMut(u64)) -> Result<(), ShellError> {
        panic!("nothing is sent to {to}");
    }

    async fn tunnel(&self, host: &str, port: u16) -> Result<Tunnel, ShellError> {
        panic!("no tunnel to {host}:{port} is opened");
    }

    fn another(&self) -> Rc<dyn Shell> {
        panic!("there is one connection");
    }
}

/// A healthy site, which writes down each token that it was sent.
#[derive(Default)]
struct Listening(RefCell<Vec<String>>);

#[async_trait(?Send)]
impl Site for Listening {
    async fn get(&self, get: Get) -> Result<Reply, Unanswered> {
        self.0.borrow_mut().extend(get.bearer.as_ref().map(|token| token.expose().to_owned()));
        let body = br#"{"status":"ok"}"#.to_vec();
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Reply { status: 200, headers, length: body.len() as u64, body, took: Duration::ZERO, vantage: None })
    }

    fn within(&self, _: &str, location: &str) -> Option<String> {
        panic!("this site redirects to nowhere: {location}");
    }
}

/// Runs the fix: how it ended, the tokens that the site was sent, and the secret that was written.
async fn fixed(app_url: &'static str, approval: Approval, plan_only: bool) -> (Outcome, Vec<String>, Option<String>) {
    let github = GitHub::start([127, 0, 0, 1].into());
    github.administrator(true);
    let clock = Rc::new(Patience::default());
    let site = Rc::new(Listening::default());
    let (target, source) = (inputs(), source());
    let fix = typed::Fix {
        name: FixName::HealthToken,
        environment: target.environment.clone(),
        approval,
        phrase: "PROD-FIX FREIGEGEBEN".to_owned(),
        needs_digest: false,
        plan_only,
        github: Some(source.github),
        target: Some(target.clone()),
        workspace: PathBuf::from("/nowhere"),
        build_workflow: "build.yml".to_owned(),
        staging_workflow: "staging.yml".to_owned(),
        artifact_name: "deployment-bundle-{sha}".to_owned(),
        wait_attempts: 1,
        wait_interval: Duration::ZERO,
        required_checks: Vec::new(),
        main: "main".to_owned(),
        develop: "develop".to_owned(),
        secret: "HEALTHCHECK_TOKEN".to_owned(),
        run: typed::RunIdentity::default(),
    };
    let scratch = tempfile::tempdir().expect("a folder");
    let ports = Ports {
        shell: Rc::new(Server(app_url)),
        github: Some(Rc::new(Untouched)),
        site: site.clone(),
        anywhere: site.clone(),
        clock: clock.clone(),
        scratch: scratch.path().to_owned(),
    };
    let world = Repository {
        inputs: Rc::new(fix),
        github: Some(Rc::new(api(&github, clock.clone()))),
        clock: clock.clone(),
        hide: Rc::new(|_: &Secret| ()),
    };
    let survey = Survey { inputs: Rc::new(target), source: None, staging: None, ports, state: RefCell::default() };
    let cx = Fix::new(world, Some(survey));
    // As `stages::fix` has it, without the row that connects.
    let table: Table<Fix<_>, FixPlan<_>> = Table {
        survey: vec![observe("server-token", "Read it", health_token::look).into()],
        apply: vec![
            change("write-secret", "Write it", health_token::write, no_undo("there is none")).into(),
            check("secret-written", "See it", health_token::verify).into(),
        ],
    };
    let story = Story::default();
    let events = story.events(&clock);
    let outcome = run_table("fix", &table, cx, async |cx| decide(cx, &events), &events, never()).await;
    let sent = site.0.borrow().clone();
    (outcome, sent, github.secret_value("HEALTHCHECK_TOKEN"))
}

#[tokio::test]
async fn se11_a_learnt_token_is_sent_after_the_phrase_and_only_to_the_site_that_its_env_names() {
    let url = "http://staging.example.test";
    let given = || Approval::Given { plan_digest: None };
    for (approval, plan_only) in [(Approval::Missing, false), (given(), true)] {
        let (outcome, sent, written) = fixed(url, approval, plan_only).await;
        assert_eq!((outcome.cause(), sent.as_slice(), written), (None, &[][..], None), "nobody has approved it");
    }
    for elsewhere in
        ["", "http://evil.example.test", "http://staging.example.test:8080", "https://staging.example.test"]
    {
        let (outcome, sent, written) = fixed(elsewhere, given(), false).await;
        let cause = outcome.cause().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("APP_URL"), "{elsewhere}: {cause}");
        assert_eq!((sent.as_slice(), written), (&[][..], None), "{elsewhere}");
    }
    let (outcome, sent, written) = fixed(url, given(), false).await;
    assert_eq!((outcome.cause(), written.as_deref()), (None, Some(LEARNT)));
    assert!(!sent.is_empty() && sent.iter().all(|token| token == LEARNT), "{sent:?}");
}
