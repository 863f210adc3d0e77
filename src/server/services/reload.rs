//! Reloading PHP-FPM and nginx.

use crate::{
    context::Deploy,
    domain::{Failure, FailureKind, RemoteCommand},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::{health::sampler, inspect::ServiceState, remote, services::ready},
    transport::shell::{Answer, Script},
};
use std::time::Duration;

/// Reloads PHP-FPM (whose OPcache may hold old code) and nginx, and verifies that new workers run.
pub async fn reload(cx: &Deploy, io: &Io) -> StepResult {
    let described = reload_now(cx, io).await?;
    sampler::reloaded(cx);
    Ok(Done::passed(described))
}

/// The same for the rollback; gives what was seen, for the log.
pub async fn reload_now(cx: &Deploy, io: &Io) -> Result<String, Failure> {
    let services = &cx.plan.server.services;
    let doing = format!("reloading {} and nginx", services.fpm);
    match remote::run(&*cx.ports.shell, io, reload_script(services)?, &doing).await {
        Ok(answer) => Ok(describe(&answer, &services.fpm)),
        Err(failure) => {
            if failure.kind == FailureKind::Refused {
                let unready = ready::afterwards(&*cx.ports.shell, io, &services.fpm).await;
                cx.state.borrow_mut().unready = unready;
            }
            Err(failure)
        }
    }
}

/// The script that reloads them. The watchdog has it, too.
pub fn reload_script(services: &ServiceState) -> Result<Script, Failure> {
    let doing = format!("reloading {} and nginx", services.fpm);
    let commands: Vec<String> = services.reload.iter().map(ToString::to_string).collect();
    // Between them stands `nginx -t`, which the script runs in any case.
    let ([fpm, nginx] | [fpm, _, nginx]) = commands.as_slice() else {
        return Err(Failure::bug(doing, "there are no two or three reload commands"));
    };
    // A worker may finish its request for as long as process_control_timeout allows, and then some for the fork.
    let wait = services.process_control_timeout.unwrap_or(0).min(120) + 10;
    let script = Script::new("reload", RELOAD)
        .repeatable()
        .var("FPM_COMMAND", fpm)
        .var("NGINX_COMMAND", nginx)
        .var("WAIT", wait.to_string())
        .timeout(Duration::from_secs(2 * wait + 60));
    Ok(ready::named(script, &services.fpm, ("", "")))
}

pub(crate) const RELOAD: &str =
    concat!(include_str!("processes.sh"), include_str!("ready.sh"), include_str!("reload.sh"));

pub(crate) fn describe(answer: &Answer, fpm: &str) -> String {
    let unseen: Vec<&str> = answer.all("unseen").collect();
    let idle: Vec<&str> = answer.all("idle").collect();
    if !unseen.is_empty() {
        return format!(
            "{fpm} and nginx reloaded; new workers could not be verified, because the server hides the processes of {}",
            unseen.join(", ")
        );
    }
    match idle.is_empty() {
        true => format!("{fpm} and nginx run with new workers"),
        false => format!("{fpm} and nginx reloaded ({} runs without workers until the next request)", idle.join(", ")),
    }
}

/// The command to run when the service can be reloaded again.
pub fn reload_later(reload: &[RemoteCommand]) -> String {
    let commands: Vec<String> = reload.iter().map(ToString::to_string).collect();
    format!("Correct what the message names, then run: {}", commands.join(" && "))
}

/// The PHP-FPM that these commands reload, where they are commands of a release.
pub fn fpm_of(reload: &[String]) -> Option<&str> {
    let words: Vec<&str> = reload.first()?.split_whitespace().collect();
    match words.as_slice() {
        ["sudo", "-n", "service", service, "reload"] => Some(service),
        ["sudo", "-n", "systemctl", "reload", unit] => Some(unit.strip_suffix(".service").unwrap_or(unit)),
        _ => None,
    }
}

/// The commands of a reload for manual action: a stopped service is started, because it cannot be reloaded.
pub fn by_hand(reload: &[RemoteCommand], stopped: &[String]) -> Vec<RemoteCommand> {
    let by_hand = |command: &RemoteCommand| {
        let text = command.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        let (start, service): (fn(&str) -> [&str; 4], &str) = match words.as_slice() {
            ["sudo", "-n", "service", service, "reload"] => (|name| ["sudo", "service", name, "start"], service),
            ["sudo", "-n", "systemctl", "reload", unit] => {
                (|name| ["sudo", "systemctl", "start", name], unit.strip_suffix(".service").unwrap_or(unit))
            }
            _ => return command.clone(),
        };
        // Without `-n`: to start it is no rule of a release, so sudo may ask for a password.
        match stopped.iter().any(|stopped| stopped == service) {
            true => RemoteCommand::new(start(service)),
            false => command.clone(),
        }
    };
    reload.iter().map(by_hand).collect()
}

/// What the plan prints.
pub fn preview(cx: &Deploy) -> Vec<String> {
    let services = &cx.plan.server.services;
    let mut lines: Vec<String> =
        services.reload.iter().map(|command| format!("{command}    (sudo allows it)")).collect();
    lines.push(match services.process_control_timeout {
        Some(0) | None => "expected downtime: none, but the reload may cut running requests".to_owned(),
        Some(seconds) => format!("expected downtime: none; running requests have {seconds} s to end"),
    });
    lines
}
