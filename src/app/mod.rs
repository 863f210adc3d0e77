//! The one place where real ports, stages and reporters meet.

mod alter;
pub mod process;

use std::{
    cell::{Cell, RefCell},
    ffi::OsString,
    io::{Read as _, Write as _},
    rc::Rc,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

#[cfg(feature = "fault")]
pub use self::alter::{Alter, RecoverTable, SiteTable};

#[cfg(not(feature = "fault"))]
use self::alter::Alter;
use self::alter::Unaltered;
use crate::{
    bundle::artifact,
    clock::{Clock, SystemClock},
    config::{
        self, Asked, Common, Environment, Inputs, Request, Warning,
        typed::{self, Route},
    },
    context::{Ports, Staging, Survey, SurveyState},
    domain::{Failure, Outcome, Secret, StepId, ledger, row},
    engine::{
        Cancel, Events, Reader,
        event::{Body, Event, Stamp},
        run::AFTER_CANCEL,
        run_table,
    },
    errors::{self, general},
    github::{Api, Github, Repository, RepositoryWrite},
    http::{HttpSite, OnServer, Site, Vantages},
    report::{self, Console, Evidence, Journal, Log, Outputs, Plan, Redactor, ReportDir, Setting, State, Summary},
    stages::{self, deploy::decide, rollback},
    transport::{shell::Shell, ssh::Ssh},
};

/// Runs what was asked for and gives the exit code. `began` is when the process began.
pub fn run(environment: &Environment, args: impl IntoIterator<Item = OsString>, began: Instant) -> u8 {
    altered(environment, args, began, &Unaltered)
}

/// The same with tables that are altered before they run: how the tests put a fault into a row.
#[cfg(feature = "fault")]
pub fn run_with(
    environment: &Environment,
    args: impl IntoIterator<Item = OsString>,
    began: Instant,
    alter: &dyn Alter,
) -> u8 {
    altered(environment, args, began, alter)
}

/// How long a cancelled run goes on. Tests may give it more: what they prove of a rollback must not depend on how fast their machine is.
fn time_after_cancel(environment: &Environment) -> Duration {
    let given = if cfg!(feature = "fault") { environment.text("TEST_SECONDS_AFTER_CANCEL") } else { None };
    given.and_then(|seconds| seconds.parse().ok()).map_or(AFTER_CANCEL, Duration::from_secs)
}

fn altered(
    environment: &Environment,
    args: impl IntoIterator<Item = OsString>,
    began: Instant,
    alter: &dyn Alter,
) -> u8 {
    let inputs = match config::read(environment, args) {
        Asked::Print(text) => {
            // A reader that has gone away (`--help | head`) is no error.
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            return 0;
        }
        Asked::Unreadable(text) => {
            let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
            return 2;
        }
        Asked::Ledger(asked) => return verify_ledger(asked),
        Asked::Policy(asked) => return check_policy(&asked),
        Asked::Report(asked) => return show_report(asked),
        Asked::Run(inputs) => inputs,
    };
    // One thread does all the waiting; packing and SSH bring their own.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        // A local set, because the sampler is a task of its own that shares the run's ports.
        Ok(runtime) => tokio::task::LocalSet::new()
            .block_on(&runtime, tell_and_do(*inputs, SystemClock::since(began), time_after_cancel(environment), alter))
            .exit_code(),
        Err(error) => {
            let _ = writeln!(std::io::stdout(), "error: starting the event loop: {error}");
            5
        }
    }
}

/// Follows a ledger's chain and says so in one line. Needs no stage, no server and no runner.
fn verify_ledger(verify: config::ledger::Verify) -> u8 {
    let said = read_whole(verify.file.as_deref()).map_err(|text| (2, text)).and_then(|(name, bytes)| {
        let chain = ledger::follow(&bytes).map_err(|found| {
            (1, format!("error: the chain of {name} is broken: {found}\nhelp: docs/recovery.md says which records can still be trusted."))
        })?;
        let head = chain.head.map_or_else(|| "none".to_owned(), |head| head.to_string());
        match verify.head {
            Some(expected) if head != expected.as_str() => Err((
                1,
                format!(
                    "error: the last line of {name} has the digest {head}, not {expected}: the ledger was edited, lines \
                     were removed, or a later run wrote to it"
                ),
            )),
            _ => Ok(format!("the chain of {name} is valid: {} lines, head {head}", chain.lines)),
        }
    });
    let (code, text) = match said {
        Ok(text) => (0, text),
        Err((code, text)) => (code, text),
    };
    let _ = writeln!(std::io::stdout(), "{text}");
    code
}

/// Checks a policy file and names everything that is wrong with it. Needs no stage, no server and no runner.
fn check_policy(asked: &config::check::Check) -> u8 {
    let text = read_whole(asked.file.as_deref()).and_then(|(name, bytes)| {
        let text = String::from_utf8(bytes).map_err(|_| format!("error: {name} is not UTF-8 text"))?;
        Ok((name, text))
    });
    let (code, text) = match text {
        Err(text) => (2, text),
        Ok((name, text)) => match config::check::problems(&name, &text).as_slice() {
            [] => (0, format!("{name} can be used")),
            problems => (1, format!("{}\nhelp: docs/inputs.md describes every key.", problems.join("\n"))),
        },
    };
    // Whoever wrote the file gives the runner no commands.
    Log::new(report::Style::Plain, Redactor::new([]), std::io::stdout()).text("", &text);
    code
}

/// Shows a stored report. Needs no stage, no server and no runner. What stands in the report was written by whoever had the file.
fn show_report(show: config::report::Show) -> u8 {
    let log = Log::new(report::Style::Plain, Redactor::new([]), std::io::stdout());
    let said = read_whole(show.file.as_deref()).and_then(|(name, bytes)| {
        report::record::stored::read(&bytes).map_err(|cause| {
            format!(
                "error: {name} {cause}\nhelp: Use the file of the output report-json; docs/evidence.md describes it."
            )
        })
    });
    match said {
        Ok(stored) => {
            log.text("", &report::render::show::text(&stored));
            0
        }
        Err(text) => {
            log.text("", &text);
            2
        }
    }
}

/// A file, or standard input, with the name that an error calls it by.
fn read_whole(file: Option<&std::path::Path>) -> Result<(String, Vec<u8>), String> {
    let (name, bytes) = match file {
        Some(path) => (path.display().to_string(), std::fs::read(path)),
        None => {
            let mut bytes = Vec::new();
            let read = std::io::stdin().read_to_end(&mut bytes);
            ("standard input".to_owned(), read.map(|_| bytes))
        }
    };
    bytes.map(|bytes| (name.clone(), bytes)).map_err(|error| format!("error: reading {name}: {error}"))
}

async fn tell_and_do(inputs: Inputs, clock: SystemClock, time: Duration, alter: &dyn Alter) -> Outcome {
    let Inputs { common, request } = inputs;
    let log = Log::new(style(&common), Redactor::new(&common.secrets), std::io::stdout());
    log.mask(&common.secrets);
    let code = Code::default();
    let cancel = match listen(common.most, code.clone()) {
        Ok(asked) => Cancel { asked, time },
        Err(error) => {
            let cause = Failure::bug("listening for SIGINT and SIGTERM", error.to_string());
            return refuse(&events(&common, &Setting::default(), &log, &clock, code), &stage_name(&common), cause);
        }
    };
    let setting = setting(request.as_ref().ok().map(|(request, _)| request));
    let events = events(&common, &setting, &log, &clock, code);
    match request {
        Ok((request, warnings)) => {
            warn(&events, warnings);
            if let Some(unreviewed) = &common.unreviewed
                && let Err(failure) = reviewed(unreviewed, &clock).await
            {
                return refuse(&events, &stage_name(&common), failure);
            }
            dispatch(request, &common, &events, &log, &clock, cancel, alter).await
        }
        Err(problems) => refuse(&events, &stage_name(&common), problems.failure()),
    }
}

/// A policy that an author without write access may have written must agree with the default branch's, before anything is sent
/// anywhere (SE11).
async fn reviewed(unreviewed: &typed::Unreviewed, clock: &SystemClock) -> Result<(), Failure> {
    let typed::Unreviewed { event, file, settings, github } = unreviewed;
    let doing = format!("comparing {file} with the default branch");
    let names = |settings: &[&typed::UnreviewedSetting]| {
        let mut names: Vec<&str> = settings.iter().map(|setting| setting.input).collect();
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    };
    let Some(github) = github else {
        let all = names(&settings.iter().collect::<Vec<_>>());
        return Err(general::policy_not_compared(&doing, &all, event, file));
    };
    let text = api(github, Rc::new(clock.clone()))?.reviewed_file(file).await;
    let text = text.map_err(|error| artifact::github_failure(&doing, &error))?.unwrap_or_default();
    let policy = config::policy::parse(file, &text).policy;
    let says = |setting: &typed::UnreviewedSetting| {
        policy.entry(setting.section.as_deref(), setting.input).map(|entry| entry.text.clone())
    };
    let other: Vec<&typed::UnreviewedSetting> =
        settings.iter().filter(|setting| says(setting) != setting.text).collect();
    if other.is_empty() {
        return Ok(());
    }
    Err(general::policy_differs(&doing, &names(&other), event, file))
}

async fn dispatch(
    request: Request,
    common: &Common,
    events: &Events,
    log: &Log,
    clock: &SystemClock,
    cancel: Cancel,
    alter: &dyn Alter,
) -> Outcome {
    let stage = stage_name(common);
    match request {
        Request::BuildGate(inputs) => {
            let survey = stages::build_gate::Survey::new(*inputs, Rc::new(clock.clone()));
            let decide = async |survey| stages::build_gate::decide(survey);
            run_table(&stage, &stages::build_gate::table(), survey, decide, events, cancel).await
        }
        Request::Deploy(inputs) => {
            let (survey, _scratch) = match survey(*inputs, common, clock, alter) {
                Ok(survey) => survey,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let mut table = match survey.staging {
                Some(_) => stages::deploy::production(),
                None => stages::deploy::table(),
            };
            alter.site(&mut table);
            let decide = async |survey| decide(survey, events).await;
            run_table(&stage, &table, survey, decide, events, cancel).await
        }
        Request::Preflight(inputs) => {
            let (survey, _scratch) = match survey(*inputs, common, clock, alter) {
                Ok(survey) => survey,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let decide = async |survey| stages::preflight::decide(survey);
            run_table(&stage, &stages::preflight::table(), survey, decide, events, cancel).await
        }
        Request::Rollback(inputs) => {
            let typed::Rollback { target, to } = *inputs;
            // Nothing is downloaded, so nothing needs a folder of its own.
            let ports = match ports(&target, None, clock, &common.scratch, alter) {
                Ok(ports) => ports,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let inputs = Rc::new(target);
            let survey = Survey { inputs, source: None, staging: None, ports, state: SurveyState::default().into() };
            let decide = async |survey| rollback::decide(survey, events);
            let mut table = stages::rollback::table(to);
            alter.site(&mut table);
            run_table(&stage, &table, survey, decide, events, cancel).await
        }
        Request::Recover(inputs) => {
            let typed::Recover { target, own } = *inputs;
            let ports = match ports(&target, None, clock, &common.scratch, alter) {
                Ok(ports) => ports,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let inputs = Rc::new(target);
            let server = Survey { inputs, source: None, staging: None, ports, state: SurveyState::default().into() };
            let survey = stages::recover::Survey { server, own, seen: RefCell::default() };
            let decide = async |survey| stages::recover::decide(survey, events);
            let mut table = stages::recover::table();
            alter.recover(&mut table);
            run_table(&stage, &table, survey, decide, events, cancel).await
        }
        Request::Audit(inputs) => {
            let (audit, _scratch) = match audit(*inputs, common, clock) {
                Ok(audit) => audit,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let decide = async |audit| stages::audit::decide(audit);
            run_table(&stage, &stages::audit::table(), audit, decide, events, cancel).await
        }
        Request::Fix(inputs) => {
            let (world, server) = match fix(*inputs, common, log, clock) {
                Ok(fix) => fix,
                Err(failure) => return refuse(events, &stage, failure),
            };
            stages::fix::carry_out(&stage, world, server, events, cancel).await
        }
        Request::Verify(target) => {
            let ports = match ports(&target, None, clock, &common.scratch, alter) {
                Ok(ports) => ports,
                Err(failure) => return refuse(events, &stage, failure),
            };
            let inputs = Rc::new(*target);
            let survey = Survey { inputs, source: None, staging: None, ports, state: SurveyState::default().into() };
            let decide = async |survey| stages::verify::decide(survey);
            run_table(&stage, &stages::verify::table(), survey, decide, events, cancel).await
        }
        Request::Smoke(inputs) => {
            let shell = inputs.ssh.as_ref().map(|ssh| Rc::new(Ssh::new(ssh)) as Rc<dyn Shell>);
            let site: Rc<dyn Site> = match site(&inputs.site, shell.as_ref()) {
                Ok(site) => Rc::new(site),
                Err(failure) => return refuse(events, &stage, failure),
            };
            let survey = stages::smoke::Smoke { inputs: *inputs, site, clock: Rc::new(clock.clone()) };
            let decide = async |survey| stages::smoke::decide(survey);
            run_table(&stage, &stages::smoke::table(), survey, decide, events, cancel).await
        }
    }
}

/// What the rows of a release begin with, and the private folder of the run: it is removed when it is dropped.
fn survey(
    inputs: typed::Deploy,
    common: &Common,
    clock: &SystemClock,
    alter: &dyn Alter,
) -> Result<(Survey, tempfile::TempDir), Failure> {
    let scratch = private_folder(common)?;
    let typed::Deploy { target, source, staging } = inputs;
    let ports = ports(&target, Some(&source.github), clock, scratch.path(), alter)?;
    let survey = Survey {
        inputs: Rc::new(target),
        source: Some(Rc::new(source)),
        staging: staging.map(|inputs| look_at_staging(inputs, alter)).transpose()?.map(Rc::new),
        ports,
        state: SurveyState::default().into(),
    };
    Ok((survey, scratch))
}

/// What the rows of an audit begin with. Its server is surveyed as a release's is, and nothing is downloaded.
fn audit(
    mut inputs: typed::Audit,
    common: &Common,
    clock: &SystemClock,
) -> Result<(stages::audit::Audit, tempfile::TempDir), Failure> {
    let scratch = private_folder(common)?;
    let server = match inputs.target.take() {
        Some(target) => {
            let ports = ports(&target, None, clock, scratch.path(), &Unaltered)?;
            Some(Survey {
                inputs: Rc::new(target),
                source: None,
                staging: None,
                ports,
                state: SurveyState::default().into(),
            })
        }
        None => None,
    };
    let clock: Rc<dyn Clock> = Rc::new(clock.clone());
    let github = Rc::new(api(&inputs.github, clock.clone())?);
    let audit = stages::audit::Audit {
        inputs: Rc::new(inputs),
        github,
        server,
        clock,
        state: stages::audit::AuditState::default().into(),
    };
    Ok((audit, scratch))
}

/// What the rows of a fix begin with. Nothing is downloaded.
fn fix(
    inputs: typed::Fix,
    common: &Common,
    log: &Log,
    clock: &SystemClock,
) -> Result<(stages::fix::Repository, Option<Survey>), Failure> {
    let server = match &inputs.target {
        Some(target) => {
            let ports = ports(target, None, clock, &common.scratch, &Unaltered)?;
            let inputs = Rc::new(target.clone());
            Some(Survey { inputs, source: None, staging: None, ports, state: SurveyState::default().into() })
        }
        None => None,
    };
    let clock: Rc<dyn Clock> = Rc::new(clock.clone());
    let github = match &inputs.github {
        Some(github) => Some(Rc::new(api(github, clock.clone())?) as Rc<dyn RepositoryWrite>),
        None => None,
    };
    let log = log.clone();
    let hide: Rc<dyn Fn(&Secret)> = Rc::new(move |secret| log.hide(secret));
    Ok((stages::fix::Repository { inputs: Rc::new(inputs), github, clock, hide }, server))
}

fn private_folder(common: &Common) -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("gated-deploy-").tempdir_in(&common.scratch).map_err(|error| {
        general::runner_file(format!("making a private folder in {}", common.scratch.display()), error)
    })
}

/// The site, by the way that the inputs name. `shell` is the way through the server, where there is one.
fn site(access: &typed::SiteAccess, shell: Option<&Rc<dyn Shell>>) -> Result<HttpSite, Failure> {
    let (url, roots) = (access.url.clone(), access.roots.clone());
    match (&access.route, shell) {
        (Route::Direct, _) => Ok(HttpSite::direct(url, roots)),
        (Route::Address(address), _) => Ok(HttpSite::at(url, *address, roots)),
        (Route::Tunnel { host, port }, Some(shell)) => {
            Ok(HttpSite::through(url, shell.clone(), host.clone(), *port, roots))
        }
        (Route::Tunnel { .. }, None) => {
            Err(Failure::bug("choosing the connection to the site", "a tunnel needs a server"))
        }
    }
}

fn look_at_staging(inputs: typed::Staging, alter: &dyn Alter) -> Result<Staging, Failure> {
    let shell = inputs.server.as_ref().map(|server| alter.shell(Rc::new(Ssh::new(&server.ssh))));
    let site: Rc<dyn Site> = Rc::new(site(&inputs.site, shell.as_ref())?);
    Ok(Staging { inputs, site, shell })
}

/// The real world.
fn ports(
    inputs: &typed::Target,
    github: Option<&typed::GithubAccess>,
    clock: &SystemClock,
    scratch: &std::path::Path,
    alter: &dyn Alter,
) -> Result<Ports, Failure> {
    let clock: Rc<dyn Clock> = Rc::new(clock.clone());
    let github = match github {
        Some(github) => Some(Rc::new(api(github, clock.clone())?) as Rc<dyn Github>),
        None => None,
    };
    let shell = alter.shell(Rc::new(Ssh::new(&inputs.ssh)));
    let site: Rc<dyn Site> = Rc::new(site(&inputs.site, Some(&shell))?);
    let target = match &inputs.site.route {
        Route::Tunnel { host, port } => Some((host.clone(), *port)),
        Route::Address(address) => Some((address.ip().to_string(), address.port())),
        Route::Direct => None,
    };
    let on_server = OnServer::new(shell.clone(), inputs.site.url.clone(), &inputs.server.php, target);
    let anywhere = Rc::new(Vantages::new(site.clone(), Rc::new(on_server)));
    Ok(Ports { shell, github, site, anywhere, clock, scratch: scratch.to_owned() })
}

fn api(github: &typed::GithubAccess, clock: Rc<dyn Clock>) -> Result<Api, Failure> {
    let repository =
        Repository { api_url: github.api_url.clone(), owner: github.owner.clone(), name: github.repository.clone() };
    Api::new(repository, &github.token, &github.roots, clock)
        .map_err(|cause| errors::github::token_unusable("setting up the GitHub API", cause))
}

/// A run that cannot begin is told like any other: same summary, same outputs.
fn refuse(events: &Events, stage: &str, cause: Failure) -> Outcome {
    let outcome = Outcome::Refused { at: StepId::new(row::INPUTS), cause, stays: Vec::new() };
    events.emit(Body::RunStarted { stage: stage.to_owned(), rows: Vec::new() });
    events.emit(Body::RunFinished { outcome: outcome.clone() });
    outcome
}

fn warn(events: &Events, warnings: Vec<Warning>) {
    for warning in warnings {
        let text = format!("{}: {}", warning.input, warning.text);
        let step = StepId::new(row::INPUTS);
        events.emit(Body::Warned { step, code: warning.code.into(), text, hint: Some(warning.right) });
    }
}

/// Everybody who reads the events, in the order in which they write.
fn events(common: &Common, setting: &Setting, log: &Log, clock: &SystemClock, code: Code) -> Events {
    let reports = Some(ReportDir { path: common.report_dir.clone(), shown: shown(common) });
    let clock = clock.clone();
    let stamp: Stamp = Box::new(move || (clock.now().timestamp_millis(), clock.elapsed()));
    let readers: Vec<Box<dyn Reader>> = vec![
        // First of all: what a run is about to do is written down for post before anybody could be kept waiting by a full disk or pipe.
        Box::new(State::new(common.state.clone(), log.clone())),
        Box::new(Console::new(log.clone())),
        Box::new(Plan::new(setting.clone(), log.clone())),
        Box::new(Journal::new(reports.clone(), log.clone())),
        Box::new(Evidence::new(reports.clone(), setting.clone(), log.clone())),
        Box::new(Summary::new(common.step_summary.clone(), setting.clone(), log.clone())),
        Box::new(Outputs::new(common.output.clone(), reports, log.clone())),
        // Last of all: from here on everything is written.
        Box::new(code),
    ];
    Events::new(stamp, readers)
}

fn style(common: &Common) -> report::Style {
    match common.style {
        typed::Style::Actions => report::Style::Actions,
        typed::Style::Plain => report::Style::Plain,
    }
}

fn setting(request: Option<&Request>) -> Setting {
    let unapproved = |run: &typed::RunIdentity| Setting { run_url: run.url.clone(), ..Setting::default() };
    let approved = |run: &typed::RunIdentity, phrase: &str, needs_digest| Setting {
        run_url: run.url.clone(),
        phrase: Some(phrase.to_owned()),
        needs_digest,
    };
    let target = |target: &typed::Target| approved(&target.run, &target.phrase, target.needs_digest);
    match request {
        Some(Request::BuildGate(inputs)) => unapproved(&inputs.run),
        Some(Request::Smoke(inputs)) => unapproved(&inputs.run),
        Some(Request::Audit(inputs)) => unapproved(&inputs.run),
        Some(Request::Verify(target)) => unapproved(&target.run),
        // There is nothing to approve.
        Some(Request::Recover(inputs)) => unapproved(&inputs.target.run),
        Some(Request::Preflight(inputs)) => unapproved(&inputs.target.run),
        Some(Request::Fix(inputs)) => approved(&inputs.run, &inputs.phrase, inputs.needs_digest),
        Some(Request::Rollback(inputs)) => target(&inputs.target),
        Some(Request::Deploy(inputs)) => target(&inputs.target),
        None => Setting::default(),
    }
}

/// The report folder as a later step of the workflow finds it: relative to the workspace.
fn shown(common: &Common) -> String {
    let path = common.report_dir.strip_prefix(&common.workspace).unwrap_or(&common.report_dir);
    path.display().to_string()
}

fn stage_name(common: &Common) -> String {
    common.stage.map_or("gated-deploy".to_owned(), |stage| stage.to_string())
}

/// The exit code, once everything that the run has to say is written.
#[derive(Clone, Default)]
struct Code(Arc<OnceLock<u8>>);

impl Reader for Code {
    fn read(&mut self, event: &Event) {
        if let Body::RunFinished { outcome } = &event.body {
            let _ = self.0.set(outcome.exit_code());
        }
    }
}

/// When a run that was asked to stop goes, whatever is still being closed: a connection to a server that does not answer takes its time.
const GONE: Duration = Duration::from_millis(5500);

/// Becomes true at the first SIGINT or SIGTERM, and after `most`. As PID 1 of a container we get neither unless we ask for it.
/// A second SIGINT, from a terminal, ends the process at once; the runner's SIGTERM
/// 7.5 s after its SIGINT does not: what is being undone then is more important than being on time.
fn listen(most: Option<Duration>, code: Code) -> std::io::Result<watch::Receiver<bool>> {
    let (ask, cancel) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let interrupts = Cell::new(0);
        let mut over = std::pin::pin!(async {
            match most {
                Some(most) => tokio::time::sleep(most).await,
                None => std::future::pending().await,
            }
        });
        let mut first = true;
        loop {
            tokio::select! {
                Some(()) = interrupt.recv() => interrupts.set(interrupts.get() + 1),
                Some(()) = terminate.recv() => {}
                () = &mut over, if first => {}
                else => return,
            }
            if interrupts.get() > 1 {
                std::process::exit(130);
            }
            ask.send_replace(true);
            if std::mem::replace(&mut first, false) {
                let code = code.clone();
                // A thread, because closing a connection blocks the loop that this task lives in.
                std::thread::spawn(move || {
                    std::thread::sleep(GONE);
                    if let Some(code) = code.0.get() {
                        std::process::exit((*code).into());
                    }
                });
            }
        }
    });
    Ok(cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_only_so_much_time_is_asked_to_stop_when_it_is_over() {
        let mut cancel = listen(Some(Duration::from_millis(20)), Code::default()).expect("signals");
        let asked = tokio::time::timeout(Duration::from_secs(20), cancel.wait_for(|asked| *asked)).await;
        assert!(asked.is_ok_and(|asked| asked.is_ok()));
        let mut cancel = listen(None, Code::default()).expect("signals");
        let asked = tokio::time::timeout(Duration::from_millis(200), cancel.wait_for(|asked| *asked)).await;
        assert!(asked.is_err(), "nobody asked");
    }
}
