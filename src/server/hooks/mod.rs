//! Hooks: commands of the policy at certain moments of a release. They are words that no shell reads, and run in the release's folder.
//!
//! What a hook did cannot be known, so nothing of it is undone. Neither the watchdog nor a recovery runs any.

pub mod state;

use std::time::Duration;

use futures_util::future::{self, Either};

use self::state::Armed;
use super::{lock, release_dir::tree_digest, remote};
use crate::{
    context::Deploy,
    domain::{
        Failure, FailureKind, Outcome, ReleaseName, RemotePath,
        failure::LOCK_LOST,
        hook::{Hook, Moment},
    },
    engine::{
        Done,
        step::{Ending, Io, StepResult},
    },
    errors::{Problem, hook as errors},
    transport::shell::Script,
};

/// What a script needs besides its hook: the server ends the hook itself, and then has to say so.
const MARGIN: Duration = Duration::from_secs(30);

/// Reads entries of `.env` for the hook's environment.
const VALUES: &str = concat!(include_str!("../../transport/dotenv.php"), include_str!("values.php"));
/// Runs a command of the app. `php -r` begins inside of the tags.
const ARTISAN: &str = concat!("?>", include_str!("../app.php"), include_str!("artisan.php"));

/// Where hooks run.
struct Place<'a> {
    release: &'a ReleaseName,
    /// The release that it replaces, or has replaced.
    other: Option<ReleaseName>,
    /// Its caches lie where the site can write.
    live: bool,
}

pub async fn before_migrate(cx: &Deploy, io: &Io) -> StepResult {
    run(cx, io, Moment::BeforeMigrate, &new(cx, false)).await
}

/// The release can be changed by them, and what is confirmed is what they left.
pub async fn before_switch(cx: &Deploy, io: &Io) -> StepResult {
    let done = run(cx, io, Moment::BeforeSwitch, &new(cx, false)).await?;
    sealed(cx, io, Moment::BeforeSwitch, done).await
}

pub async fn after_switch(cx: &Deploy, io: &Io) -> StepResult {
    let done = run(cx, io, Moment::AfterSwitch, &new(cx, true)).await?;
    sealed(cx, io, Moment::AfterSwitch, done).await
}

/// After a rollback by hand, once it is confirmed.
pub async fn after_rollback(cx: &Deploy, io: &Io) -> StepResult {
    run(cx, io, Moment::AfterRollback, &new(cx, true)).await
}

fn new(cx: &Deploy, live: bool) -> Place<'_> {
    Place { release: &cx.plan.turn.to, other: cx.plan.turn.left(), live }
}

async fn sealed(cx: &Deploy, io: &Io, moment: Moment, done: Done) -> StepResult {
    if !cx.inputs.server.hooks.of(moment).is_empty() {
        tree_digest::record_again(cx, io).await?;
    }
    Ok(done)
}

/// Before the switch: notes that an automatic rollback has hooks to run.
pub async fn arm(cx: &Deploy, io: &Io) -> StepResult {
    cx.state.borrow_mut().hooks = Some(Armed(io.clone()));
    Ok(match cx.inputs.server.hooks.of(Moment::AfterRollback).len() {
        0 => Done::skipped(none(Moment::AfterRollback)),
        count => Done::passed(format!("{} ready", counted(count))),
    })
}

/// After an automatic rollback: runs them in the release that is live again. A failure is a warning, because nothing is left to undo. A run that
/// was cancelled has no time for them.
pub async fn rolled_back(cx: &Deploy, io: &Io, ending: &Ending) -> Result<String, Failure> {
    let hooks = cx.inputs.server.hooks.of(Moment::AfterRollback);
    if hooks.is_empty() {
        return Ok("there are none".to_owned());
    }
    if !matches!(ending.outcome, Outcome::RolledBack { .. }) {
        return Ok("not run: there was no automatic rollback".to_owned());
    }
    let Some(release) = cx.plan.turn.left() else {
        return Ok("not run: no release is live".to_owned());
    };
    let row = cx.state.borrow().hooks.as_ref().map(|Armed(row)| row.clone());
    let place = Place { release: &release, other: Some(cx.plan.turn.to.clone()), live: true };
    let ran = match row {
        Some(row) if ending.handed_over || row.cancelled() => None,
        Some(row) => {
            let cancelled = std::pin::pin!(row.until_cancelled());
            let ran = std::pin::pin!(run(cx, io, Moment::AfterRollback, &place));
            match future::select(ran, cancelled).await {
                Either::Left((ran, _)) => Some(ran),
                Either::Right(((), _)) => None,
            }
        }
        None => Some(run(cx, io, Moment::AfterRollback, &place).await),
    };
    match ran {
        Some(Ok(done)) => Ok(done.text),
        Some(Err(failure)) => {
            let text = format!("failed: {}", failure.cause);
            io.warning(Problem::from(failure));
            Ok(text)
        }
        None => {
            let dir = cx.inputs.layout.release(&release);
            io.warning(errors::not_run(&dir, hooks.iter().map(Hook::command)));
            Ok("not completed: the run was cancelled".to_owned())
        }
    }
}

async fn run(cx: &Deploy, io: &Io, moment: Moment, place: &Place<'_>) -> StepResult {
    let hooks = cx.inputs.server.hooks.of(moment);
    if hooks.is_empty() {
        return Ok(Done::skipped(none(moment)));
    }
    let mut failed = Vec::new();
    for (at, hook) in hooks.iter().enumerate() {
        io.line(format!("hook {} of {}: {}", at + 1, hooks.len(), hook.command()));
        match one(cx, io, moment, hook, place).await {
            Ok(()) => {}
            Err(failure) if !hook.required && failure.kind == FailureKind::Refused && failure.code != LOCK_LOST => {
                failed.push(hook.command());
                io.warning(Problem::from(failure));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(match failed.as_slice() {
        [] => Done::passed(format!("{} succeeded", counted(hooks.len()))),
        failed => Done::warned(format!("{} of {} failed: {}", failed.len(), hooks.len(), failed.join(", "))),
    })
}

async fn one(cx: &Deploy, io: &Io, moment: Moment, hook: &Hook, place: &Place<'_>) -> Result<(), Failure> {
    let layout = &cx.inputs.layout;
    let dir = layout.release(place.release);
    let doing = format!("running the hook `{}` in {dir}", hook.command());
    let around = Around {
        dir: &dir,
        env_file: layout.env_file(),
        php: &cx.inputs.server.php,
        live: place.live,
        moment,
        environment: cx.inputs.environment.as_str(),
        release: place.release.as_str(),
        other: place.other.as_ref().map_or("", ReleaseName::as_str),
    };
    let script = script(hook, &around).detached(&layout.jobs());
    let mut tail = remote::Tail::default();
    let answer = cx
        .ports
        .shell
        .run(lock::under(cx, script), &mut |line| {
            tail.push(&line);
            io.line(line);
        })
        .await
        .map_err(|error| error.failure(&doing))?;
    let late = answer.get("late").is_some();
    if answer.get("left").is_some() && !late {
        io.line("processes that the hook left behind were ended");
    }
    match remote::required(&answer, "status", &doing)? {
        _ if late => Err(errors::timed_out(doing, moment, hook, tail.lines)),
        "0" => Ok(()),
        status => Err(errors::failed(doing, moment, hook, status, tail.lines)),
    }
}

/// What a hook runs in.
pub struct Around<'a> {
    pub dir: &'a RemotePath,
    pub env_file: &'a RemotePath,
    pub php: &'a str,
    pub live: bool,
    pub moment: Moment,
    pub environment: &'a str,
    pub release: &'a str,
    pub other: &'a str,
}

/// The script that runs one hook and ends it in time.
pub fn script(hook: &Hook, around: &Around<'_>) -> Script {
    Script::new("hook", include_str!("hook.sh"))
        .var("DIR", around.dir.as_str())
        .list("WORDS", hook.run.iter().map(|word| format!("={word}")))
        .var("ARTISAN", if hook.is_artisan() { ARTISAN } else { "" })
        .var("LIVE", if around.live { "yes" } else { "" })
        .var("WITHIN", hook.within.as_secs().to_string())
        .list("NAMES", &hook.env)
        .var("ENV_FILE", around.env_file.as_str())
        .var("VALUES_PHP", VALUES)
        .var("PHP", around.php)
        .var("MOMENT", around.moment.as_str())
        .var("ENVIRONMENT", around.environment)
        .var("RELEASE", around.release)
        .var("OTHER", around.other)
        .hiding(around.env_file)
        .timeout(hook.within + MARGIN)
}

pub fn before_migrate_preview(cx: &Deploy) -> Vec<String> {
    preview(cx, Moment::BeforeMigrate)
}

pub fn before_switch_preview(cx: &Deploy) -> Vec<String> {
    preview(cx, Moment::BeforeSwitch)
}

pub fn after_switch_preview(cx: &Deploy) -> Vec<String> {
    preview(cx, Moment::AfterSwitch)
}

pub fn after_rollback_preview(cx: &Deploy) -> Vec<String> {
    preview(cx, Moment::AfterRollback)
}

/// The release that such a rollback leads to is the one that is live now.
pub fn arm_preview(cx: &Deploy) -> Vec<String> {
    let hooks = cx.inputs.server.hooks.of(Moment::AfterRollback);
    hooks
        .iter()
        .map(|hook| format!("only after an automatic rollback: {}", described(Moment::AfterRollback, hook)))
        .collect()
}

fn preview(cx: &Deploy, moment: Moment) -> Vec<String> {
    let hooks = cx.inputs.server.hooks.of(moment);
    if hooks.is_empty() {
        return vec![none(moment)];
    }
    hooks.iter().map(|hook| described(moment, hook)).collect()
}

fn none(moment: Moment) -> String {
    format!("no hook is configured (`hooks` has no `{moment}`)")
}

fn counted(hooks: usize) -> String {
    if hooks == 1 { "1 hook".to_owned() } else { format!("{hooks} hooks") }
}

fn described(moment: Moment, hook: &Hook) -> String {
    let failing = match (hook.required, moment) {
        (false, _) => "a failure is a warning",
        (true, Moment::AfterSwitch) => "a failure rolls the release back",
        (true, _) => "a failure refuses the release",
    };
    let variables = match hook.env.as_slice() {
        [] => String::new(),
        names => format!(", with {} of .env", names.join(", ")),
    };
    format!("{}{variables} (within {} s; {failing}; what it did stays)", hook.command(), hook.within.as_secs())
}
