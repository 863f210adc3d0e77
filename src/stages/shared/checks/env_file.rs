//! The environment's `.env`: the link to it, and what of it may be told.

use super::{in_place, problems, sheet::Sheet};
use crate::{
    context::Survey,
    engine::step::{Io, StepResult},
    errors,
    server::{
        database::{self, Obstacle},
        inspect::{About, modes},
        remote,
    },
    transport::shell::{Answer, Script},
};

/// Reads a `.env`; needs its path as an argument.
const PROGRAM: &str =
    concat!(include_str!("../../../transport/dotenv.php"), include_str!("../../../server/inspect/env.php"));

/// Whether the live release and the next one see the `.env` of this environment, and whether it is one.
pub async fn env_file(cx: &Survey, io: &Io) -> StepResult {
    let looked = match in_place(cx) {
        Ok(looked) => looked,
        Err(skipped) => return Ok(skipped),
    };
    let layout = &cx.inputs.layout;
    let file = layout.env_file();
    let doing = format!("checking {file}");
    let mut sheet = Sheet::new(cx, io, &doing);
    let known = problems(cx, &looked, About::EnvFile);
    let was_readable = known.is_empty();
    for problem in known {
        sheet.failed(file.as_str(), problem.what);
    }
    let script = Script::new("env", include_str!("../../../server/inspect/env.sh"))
        .repeatable()
        .var("ENV_FILE", file.as_str())
        .var("CURRENT", layout.current().as_str())
        .var("PHP", &cx.inputs.server.php)
        .list("NAMES", cx.inputs.server.hooks.variables())
        .var("ENV_PHP", PROGRAM);
    let (answer, open) =
        tokio::join!(remote::run(&*cx.ports.shell, io, script, &doing), modes::look(&*cx.ports.shell, io, layout));
    let (answer, open) = (answer?, open?);
    link(&mut sheet, cx, &answer, looked.current().is_some());
    // Where the live release says it, .env is not asked: the app's own configuration decides. A pre-flight starts no app.
    let asks = cx.state.borrow().app_driver.is_none();
    let found = if asks { database::place(cx, io, &looked, database::Asked::Env).await? } else { Vec::new() };
    for Obstacle { check, problem, certain } in found {
        match certain {
            true => sheet.failed(check, problem.what),
            false => sheet.warned(check, problem.what),
        }
    }
    if open.is_empty() {
        sheet.passed("modes of the releases", "not readable by other accounts, as .env");
    }
    for open in open {
        sheet.warned("modes of the releases", errors::checks::modes_open(open.cause, open.command));
    }
    let Some(said) = answer.get("said") else {
        // The survey read it a moment ago: it was removed or closed since then.
        if was_readable {
            sheet.failed(file.as_str(), errors::preflight::env_file_missing(&file));
        }
        return sheet.end("");
    };
    {
        let mut found = cx.state.borrow_mut();
        found.database_driver = found.app_driver.clone().or_else(|| value(said, "driver").map(str::to_owned));
    }
    cx.state.borrow_mut().sqlite_kib = value(said, "sqlite-kib").and_then(remote::kib);
    app_env(&mut sheet, cx, said);
    variables(&mut sheet, cx, said);
    match value(said, "app-key") {
        Some("set") => sheet.passed("APP_KEY", "set"),
        Some("odd") => sheet.failed("APP_KEY", errors::preflight::app_key_odd(&file)),
        _ => sheet.failed("APP_KEY", errors::preflight::app_key_missing(&file)),
    }
    let production = cx.inputs.environment.as_str() == "production";
    match value(said, "app-debug") {
        Some("true") if production => sheet.warned("APP_DEBUG", errors::checks::app_debug_on(&file)),
        Some(debug) => sheet.passed("APP_DEBUG", debug),
        None => {}
    }
    // The last digit of a mode is for all other accounts.
    if let Some(mode) = answer.get("mode").filter(|mode| !mode.ends_with('0')) {
        sheet.warned("mode of .env", errors::checks::env_file_open(&file, mode));
    }
    sheet.end(format!("APP_ENV is {}", cx.inputs.environment))
}

fn value<'s>(said: &'s str, name: &str) -> Option<&'s str> {
    said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

/// The live release reads this very file, through its link.
fn link(sheet: &mut Sheet<'_>, cx: &Survey, answer: &Answer, live: bool) {
    let layout = &cx.inputs.layout;
    let (link, file) = (layout.current().join(".env"), layout.env_file());
    if let Some(target) = answer.get("link") {
        if answer.get("link-is").is_some() && answer.get("link-is") == answer.get("env-is") {
            sheet.passed("link to .env", format!("{link} points to {file}"));
        } else {
            sheet.failed("link to .env", errors::preflight::env_link_elsewhere(&link, target, &file));
        }
    } else if answer.get("link-not-a-link").is_some() {
        sheet.failed("link to .env", errors::preflight::env_link_not_a_link(&link, &file));
    } else if answer.get("link-missing").is_some() {
        sheet.failed("link to .env", errors::preflight::env_link_missing(&link, &file));
    } else {
        let why = if live {
            "skipped: `current` points to no release"
        } else {
            "nothing is live yet; the release creates it"
        };
        sheet.passed("link to .env", why);
    }
}

/// What hooks get from the file is there. In the release they would fail later.
fn variables(sheet: &mut Sheet<'_>, cx: &Survey, said: &str) {
    let named = cx.inputs.server.hooks.variables();
    let missing: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("missing=")).collect();
    match missing.as_slice() {
        _ if named.is_empty() => {}
        [] => sheet.passed("variables of hooks", named.join(", ")),
        missing => {
            let file = cx.inputs.layout.env_file();
            sheet.failed("variables of hooks", errors::hook::variables_missing(file, &missing.join(", ")));
        }
    }
}

/// The file names the environment of this run: with another one's file, the app would use another database (F45).
fn app_env(sheet: &mut Sheet<'_>, cx: &Survey, said: &str) {
    let (file, environment) = (cx.inputs.layout.env_file(), cx.inputs.environment.as_str());
    let found = value(said, "app-env").unwrap_or_default();
    let named = found.strip_prefix("is ");
    if named == Some(environment) {
        return sheet.passed("APP_ENV", environment);
    }
    let problem = errors::preflight::app_env_mismatch(&file, named, found == "odd", environment);
    // Environments with a name of one's own may well run an app that calls itself something else.
    if matches!(environment, "staging" | "production") {
        sheet.failed("APP_ENV", problem);
    } else {
        sheet.warned("APP_ENV", problem);
    }
}
