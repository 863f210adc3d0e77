//! Who serves the site: what sudo allows, what nginx says of itself, which PHP runs, and what a reload costs.

use super::{looked, sheet::Sheet};
use crate::{
    context::Survey,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        inspect::{
            NO_SERVER, ServiceState,
            permissions::{self, Permission, Permissions, sudoers_line},
            serving,
            sudo::Leave,
        },
        services::ready,
        survey,
    },
};

/// Each command that a release runs as root, by its exact words (F67).
pub async fn privileges(cx: &Survey, io: &Io) -> StepResult {
    let Some(looked) = looked(cx) else { return Ok(Done::skipped(NO_SERVER)) };
    let doing = "reading the sudo rules";
    let mut sheet = Sheet::new(cx, io, doing);
    let serving = match &looked.serving {
        Ok(serving) => {
            sheet.passed("PHP-FPM", format!("{}: {}", serving.fpm, serving.because));
            Some(serving)
        }
        Err(cause) => {
            sheet.failed("PHP-FPM", errors::services::fpm_unknown(cause));
            None
        }
    };
    let fpm = serving.map(|serving| serving.fpm.as_str());
    let permissions = permissions::permissions(&*cx.ports.shell, io, fpm, looked.systemd(), doing).await?;
    for choices in [&permissions.fpm, &permissions.nginx] {
        for other in choices.iter().filter(|other| !other.given()) {
            io.line(format!("sudo -n {}: {}", other.command, other.describe()));
        }
        if let Some(best) = Permissions::best(choices) {
            judge(&mut sheet, &looked.user, best, &permissions);
        }
    }
    if let (Some(serving), None) = (serving, permissions::missing(&looked.user, &permissions)) {
        let reload = serving::reload_commands(&permissions);
        survey::tell_services(
            io,
            &ServiceState {
                fpm: serving.fpm.clone(),
                reload,
                process_control_timeout: serving.process_control_timeout,
                gateway: serving.gateway.clone(),
            },
        );
    }
    cx.state.borrow_mut().nginx_test = Some(permissions.test);
    sheet.end("sudo allows every command of a release")
}

fn judge(sheet: &mut Sheet<'_>, user: &str, permission: &Permission, all: &Permissions) {
    let check = format!("sudo -n {}", permission.command);
    match permission.leave {
        Leave::Free => sheet.passed(check, permission.describe()),
        Leave::Unproven => {
            let line = sudoers_line(user, [permission]);
            sheet.warned(check, errors::checks::sudo_password_unknown(user, &permission.command, line));
        }
        Leave::Password | Leave::Denied => sheet.failed(
            check,
            errors::services::sudo_rule_missing(
                all.in_sudos_words(format!(
                    "{user} cannot run sudo -n {}: {}",
                    permission.command,
                    permission.describe()
                )),
                all.advice(user, [permission]),
            ),
        ),
    }
}

/// Whether both services run, and would come back from a reload.
pub async fn can_reload(cx: &Survey, io: &Io) -> StepResult {
    let Some(looked) = looked(cx) else { return Ok(Done::skipped(NO_SERVER)) };
    let Some(ready) = ready::survey(cx, io).await? else {
        return Ok(Done::skipped("skipped: the PHP-FPM service of the site is unknown"));
    };
    let mut sheet = Sheet::new(cx, io, "checking whether PHP-FPM and nginx can be reloaded");
    for problem in ready.problems() {
        sheet.failed("reload", problem.what);
    }
    for changed in &ready.changed {
        sheet.warned("reload", changed.warning());
    }
    for unverified in &ready.unverified {
        sheet.warned("reload", unverified.clone());
    }
    let allowed = cx.state.borrow().nginx_test.clone();
    for test in ready.tested.iter().map(|asked| asked.strip_prefix("sudo -n ").unwrap_or(asked)) {
        sheet.passed(test, "the configuration is valid");
    }
    for (test, said) in &ready.untested {
        let command = test.strip_prefix("sudo -n ").unwrap_or(test);
        let hint = match &allowed {
            Some(allowed) if allowed.command == command => sudoers_line(&looked.user, [allowed]),
            _ => format!("Run as root before the release: {command}"),
        };
        sheet.warned(command, errors::checks::service_config_untested(test, said, hint));
    }
    sheet.end("both services run and can be reloaded")
}

/// What nginx gives to PHP.
pub async fn nginx(cx: &Survey, io: &Io) -> StepResult {
    let Some(looked) = looked(cx) else { return Ok(Done::skipped(NO_SERVER)) };
    let mut sheet = Sheet::new(cx, io, "checking nginx");
    let current = cx.inputs.layout.current();
    if let Ok(serving) = &looked.serving {
        match &serving.host {
            Some(host) => sheet.passed("virtual host", format!("{host} serves {current}")),
            None => sheet.warned("virtual host", errors::checks::virtual_host_unknown(&looked.user, &current)),
        }
        sheet.passed(
            "SCRIPT_FILENAME",
            match serving.realpath_root {
                Some(true) => "$realpath_root: OPcache sees each release under its own path",
                Some(false) => {
                    "$document_root: OPcache sees all releases under one path, so new code needs the reload, which every release does"
                }
                None => "not found in the readable configuration; every release reloads in any case",
            },
        );
    }
    sheet.end("its virtual host was found")
}

/// Command line, pool and bundle must agree: the release is tried out by the first and served by the second (F23).
pub async fn php(cx: &Survey, io: &Io) -> StepResult {
    let Some(looked) = looked(cx) else { return Ok(Done::skipped(NO_SERVER)) };
    let php = &cx.inputs.server.php;
    if looked.answer.get("php-missing").is_some() {
        return Ok(Done::skipped(format!("skipped: the server cannot run `{php}`")));
    }
    let doing = "comparing the PHP versions";
    let (id, version) = survey::php(&looked.answer, doing)?;
    let mut sheet = Sheet::new(cx, io, doing);
    let cli = (id / 10_000, id / 100 % 100);
    sheet.passed(format!("`{php}`"), format!("PHP {version}"));
    let serving = looked.serving.as_ref().ok();
    let pool = serving.and_then(|serving| serving.version.as_deref()).and_then(minor);
    if let Some(serving) = serving {
        let name =
            serving.pool.as_ref().map(|pool| format!(", pool {} of {}", pool.name, pool.file)).unwrap_or_default();
        match pool {
            Some(pool) if pool == cli => {
                sheet.passed(&serving.fpm, format!("PHP {}.{}, as the command line{name}", pool.0, pool.1))
            }
            Some(pool) => {
                sheet.failed(&serving.fpm, errors::preflight::php_versions_differ(&serving.fpm, pool, php, &version))
            }
            None => sheet.warned(&serving.fpm, errors::checks::fpm_version_unknown(&serving.fpm)),
        }
    }
    let Some(manifest) = cx.state.borrow().manifest() else { return sheet.end(format!("PHP {version}")) };
    match manifest.php.minimum_id {
        Some(minimum) => {
            let needed = format!("PHP {}.{}.{} or newer", minimum / 10_000, minimum / 100 % 100, minimum % 100);
            let too_old = [
                Some(("the command line", cli, id < minimum)),
                pool.map(|pool| ("the pool", pool, pool < (minimum / 10_000, minimum / 100 % 100))),
            ];
            let too_old: Vec<String> = too_old
                .into_iter()
                .flatten()
                .filter(|(_, _, old)| *old)
                .map(|(who, (major, minor), _)| format!("{who} is {major}.{minor}"))
                .collect();
            if too_old.is_empty() {
                sheet.passed("bundle", format!("its vendor folder needs {needed}"));
            } else {
                sheet.failed("bundle", errors::preflight::php_too_old(&needed, &too_old));
            }
        }
        None => sheet.passed("bundle", "its vendor folder requires no minimum version"),
    }
    sheet.end(format!("PHP {version}"))
}

/// `8.2` as numbers.
fn minor(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a reload cuts the requests that are running.
pub async fn reloads(cx: &Survey, io: &Io) -> StepResult {
    let Some(looked) = looked(cx) else { return Ok(Done::skipped(NO_SERVER)) };
    let Ok(serving) = &looked.serving else {
        return Ok(Done::skipped("skipped: the PHP-FPM service of the site is unknown"));
    };
    let mut sheet = Sheet::new(cx, io, "reading PHP-FPM's settings");
    match survey::cut_requests(&serving.fpm, serving.process_control_timeout) {
        Some(warning) => sheet.warned("process_control_timeout", warning),
        None => {
            let seconds = serving.process_control_timeout.unwrap_or(0);
            sheet.passed(
                "process_control_timeout",
                format!("{seconds} s: a running request may finish before its worker ends"),
            );
        }
    }
    sheet.end("a reload lets running requests finish")
}
