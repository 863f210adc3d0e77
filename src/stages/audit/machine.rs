//! The server: what is live there, whether it is whole, who owns it, and what there is room for.

use std::rc::Rc;

use super::{Audit, Sheet};
use crate::{
    context::Survey,
    domain::{
        Failure, ReleaseName, format,
        gate::{FrontEnd, NO_VITE, VITE_MANIFEST},
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::{
        inspect::{Looked, modes, permissions, serving},
        release_dir::tree,
        remote, survey,
    },
    transport::shell::{Answer, Script},
};

pub(super) const NOT_ASKED: &str = "skipped: the inputs name no server";
pub(super) const NO_ANSWER: &str = "skipped: the server did not answer";

/// Reads a `.env`; needs its path as an argument.
const TOKEN_PROGRAM: &str = concat!(include_str!("../../transport/dotenv.php"), include_str!("token.php"));
const ENV_PROGRAM: &str =
    concat!(include_str!("../../transport/dotenv.php"), include_str!("../../server/inspect/env.php"));

/// Connects and logs in.
pub async fn reach(cx: &Audit, io: &Io) -> StepResult {
    match &cx.server {
        Some(survey) => survey::reach(survey, io).await,
        None => Ok(Done::skipped(NOT_ASKED)),
    }
}

/// The server, where the login succeeded.
pub(super) fn reached(cx: &Audit) -> Result<&Survey, Done> {
    match &cx.server {
        None => Err(Done::skipped(NOT_ASKED)),
        Some(survey) if !survey.state.borrow().reached => Err(Done::skipped(NO_ANSWER)),
        Some(survey) => Ok(survey),
    }
}

/// What `current` leads to, the releases beside it, and the commands of a reload.
pub async fn look(cx: &Audit, io: &Io) -> StepResult {
    let survey = match reached(cx) {
        Ok(survey) => survey,
        Err(skipped) => return Ok(skipped),
    };
    let layout = &survey.inputs.layout;
    let doing = format!("surveying {}", layout.base());
    let looked = survey::look_around(survey, io, &doing).await?;
    let mut sheet = Sheet::new(cx, io, &doing);
    if looked.answer.get("base") == Some("missing") {
        sheet.not_met(
            "current-release",
            format!("there is no {}", layout.base()),
            "Correct `base-dir`.",
            format!("test -d {}", layout.base()),
        );
        return sheet.end();
    }
    releases(&mut sheet, survey, &looked);
    privileges(&mut sheet, survey, &looked, io).await?;
    sheet.end()
}

fn releases(sheet: &mut Sheet<'_>, survey: &Survey, looked: &Looked) {
    let layout = &survey.inputs.layout;
    let (source, list) = (format!("readlink {}", layout.current()), format!("ls {}", layout.releases()));
    let mut names: Vec<ReleaseName> = looked.answer.all("release").filter_map(|name| name.parse().ok()).collect();
    names.sort();
    let live = looked.current().map(survey::last_part);
    let inside = looked.answer.get("current-is").zip(looked.answer.get("base"));
    let inside = inside.is_some_and(|(tree, base)| tree.starts_with(&format!("{base}/releases/")));
    match live {
        Some(live) if inside => sheet.met("current-release", live, &source),
        Some(live) if looked.answer.get("current-dangling").is_some() => sheet.not_met(
            "current-release",
            format!("{} points to {live}, which does not exist", layout.current()),
            "Release again, or switch it by hand: see docs/recovery.md.",
            &source,
        ),
        Some(live) => sheet.not_met(
            "current-release",
            format!("{} points to {live}, outside {}", layout.current(), layout.releases()),
            "Switch it to a release: see docs/recovery.md.",
            &source,
        ),
        None if looked.answer.get("current-not-a-link").is_some() => sheet.not_met(
            "current-release",
            format!("{} is not a link", layout.current()),
            "Move it into releases/ and make a link to it: see docs/server.md.",
            &source,
        ),
        // Otherwise a first release would never be possible (F73).
        None => sheet.met("current-release", "nothing is live yet; the first release creates it", &source),
    }
    let last: Vec<String> = names.iter().rev().take(3).map(ToString::to_string).collect();
    let described = match last.as_slice() {
        [only] => format!("only {only}"),
        last => format!("{} releases; the newest: {}", names.len(), last.join(", ")),
    };
    match names.len() {
        0 => sheet.not_met(
            "last-releases",
            "no release",
            "Release twice: the second release has a rollback target.",
            &list,
        ),
        1 => sheet.not_met(
            "last-releases",
            described,
            "Release once more: the next release has a rollback target.",
            &list,
        ),
        _ => sheet.met("last-releases", described, &list),
    }
    let source = format!("{source}; {list}");
    match (names.last(), live) {
        (Some(newest), Some(live)) if newest.as_str() == live => {
            sheet.met("newest-not-live", newest.to_string(), source)
        }
        (Some(newest), Some(live)) => sheet.not_met(
            "newest-not-live",
            format!("{newest} is newer than the live release {live}: it was rolled back, or never activated"),
            format!("Read its outcome: tail -n 3 {}", layout.ledger()),
            source,
        ),
        _ => sheet.met("newest-not-live", "nothing to compare", source),
    }
}

async fn privileges(sheet: &mut Sheet<'_>, survey: &Survey, looked: &Rc<Looked>, io: &Io) -> Result<(), Failure> {
    let source = "sudo -n -l COMMAND, sudo -n -l";
    let serving = match &looked.serving {
        Ok(serving) => serving,
        Err(cause) => {
            sheet.unseen(
                "sudo-rules",
                cause,
                "Set `php-fpm-service` to the service, such as php8.2-fpm.",
                "/etc/nginx, /etc/php/*/fpm",
            );
            return Ok(());
        }
    };
    let doing = "reading the sudo rules";
    let permissions =
        permissions::permissions(&*survey.ports.shell, io, Some(&serving.fpm), looked.systemd(), doing).await?;
    match permissions::missing(&looked.user, &permissions) {
        Some((cause, hint)) => sheet.not_met("sudo-rules", cause, hint, source),
        None => {
            let commands: Vec<String> =
                serving::reload_commands(&permissions).iter().map(ToString::to_string).collect();
            sheet.met("sudo-rules", commands.join(", "), source);
        }
    }
    Ok(())
}

/// The live release: its nine files, its `.env`, its owner; and the disk.
pub async fn live(cx: &Audit, io: &Io) -> StepResult {
    let survey = match reached(cx) {
        Ok(survey) => survey,
        Err(skipped) => return Ok(skipped),
    };
    let Some(looked) = survey.state.borrow().looked.clone() else { return Ok(Done::skipped(NO_ANSWER)) };
    if looked.answer.get("base") == Some("missing") {
        return Ok(Done::skipped("skipped: base-dir does not exist"));
    }
    let layout = &survey.inputs.layout;
    let doing = format!("checking the live release below {}", layout.base());
    let mut sheet = Sheet::new(cx, io, &doing);
    let is_live = looked.answer.get("current-is").is_some();
    // Where nothing is live there is nothing to judge; a link that leads nowhere is a finding of its own.
    if is_live {
        nine(&mut sheet, survey, io, &doing).await?;
    }
    env(&mut sheet, cx, survey, io, &doing, is_live).await?;
    let answer = ask(survey, io, &doing).await?;
    modes(&mut sheet, survey, io).await?;
    if is_live {
        owner(&mut sheet, survey, &looked, &answer);
    }
    room(&mut sheet, survey, &looked, &answer);
    sheet.end()
}

async fn nine(sheet: &mut Sheet<'_>, survey: &Survey, io: &Io, doing: &str) -> Result<(), Failure> {
    let dir = survey.inputs.layout.current();
    let judged = async |front_end| tree::judged(&*survey.ports.shell, io, dir.as_str(), front_end, doing).await;
    let mut report = judged(FrontEnd::Vite).await?;
    // The release was built under the policy of its time: what it has decides, as for the target of a rollback.
    if report.lacks(VITE_MANIFEST) {
        let without = judged(FrontEnd::None).await?;
        if !without.lacks(NO_VITE) {
            report = without;
        }
    }
    let against: Vec<String> = report
        .failures()
        .map(|gate| format!("{}: {}", gate.name, gate.problem.as_deref().unwrap_or_default()))
        .collect();
    sheet.judge("nine-files", &against, "9/9", "Release again.", &format!("test -s, test -d in {dir}"));
    Ok(())
}

async fn env(
    sheet: &mut Sheet<'_>,
    cx: &Audit,
    survey: &Survey,
    io: &Io,
    doing: &str,
    is_live: bool,
) -> Result<(), Failure> {
    let (file, current) = (survey.inputs.layout.env_file(), survey.inputs.layout.current());
    let script = Script::new("env", include_str!("../../server/inspect/env.sh"))
        .repeatable()
        .var("ENV_FILE", file.as_str())
        .var("CURRENT", current.as_str())
        .var("PHP", &survey.inputs.server.php)
        .var("NAMES", "")
        .var("ENV_PHP", ENV_PROGRAM);
    let answer = remote::run(&*survey.ports.shell, io, script, doing).await?;
    let source = format!("readlink {current}/.env");
    let fix = format!("Compare the two files, then run: ln -sfn {file} {current}/.env");
    match (answer.get("link-is"), answer.get("env-is")) {
        _ if !is_live => {}
        (Some(link), Some(env)) if link == env => sheet.met("env-link", env, source),
        (Some(_), _) => {
            let target = answer.get("link").unwrap_or_default();
            sheet.not_met("env-link", format!("{current}/.env points to {target}, not to {file}"), fix, source);
        }
        (None, _) if answer.get("link-not-a-link").is_some() => {
            sheet.not_met("env-link", format!("{current}/.env is a regular file, not a link"), fix, source)
        }
        (None, _) => sheet.not_met("env-link", format!("{current}/.env does not exist"), fix, source),
    }
    let (source, environment) = (format!("APP_ENV in {file}"), cx.inputs.environment.as_str());
    let fix =
        format!("Correct `environment` or `env-file`. If the file is the right one, set in it: APP_ENV={environment}");
    match answer.get("said").and_then(|said| said.lines().find_map(|line| line.strip_prefix("app-env="))) {
        None => sheet.unseen(
            "app-env",
            format!("{file} does not exist or cannot be read"),
            format!("Give the file a group of the deploy user, then run: chmod 640 {file}"),
            source,
        ),
        Some(said) => match said.strip_prefix("is ") {
            Some(name) if name == environment => sheet.met("app-env", name, source),
            Some(name) => sheet.not_met(
                "app-env",
                format!("APP_ENV is `{name}`, but the environment is `{environment}`"),
                fix,
                source,
            ),
            None => sheet.not_met("app-env", "APP_ENV is not set, or is not a plain word", fix, source),
        },
    }
    Ok(())
}

/// What no other script looks at.
pub(super) async fn ask(survey: &Survey, io: &Io, doing: &str) -> Result<Answer, Failure> {
    let layout = &survey.inputs.layout;
    let script = Script::new("audit", include_str!("audit.sh"))
        .repeatable()
        .var("BASE", layout.base().as_str())
        .var("ENV_FILE", layout.env_file().as_str())
        .var("PHP", &survey.inputs.server.php)
        .var("TOKEN_PHP", TOKEN_PROGRAM);
    remote::run(&*survey.ports.shell, io, script, doing).await
}

async fn modes(sheet: &mut Sheet<'_>, survey: &Survey, io: &Io) -> Result<(), Failure> {
    let layout = &survey.inputs.layout;
    let open = modes::look(&*survey.ports.shell, io, layout).await?;
    let source = format!("find {} -perm /022; stat {}/*/bootstrap/cache/config.php", layout.base(), layout.releases());
    if open.is_empty() {
        sheet.met("open-modes", "only the deploy user can write, and only readers of .env can read its values", source);
        return Ok(());
    }
    let causes: Vec<&str> = open.iter().map(|open| open.cause.as_str()).collect();
    let commands: Vec<&str> = open.iter().map(|open| open.command.as_str()).collect();
    sheet.not_met("open-modes", causes.join("; "), commands.join(" ; "), source);
    Ok(())
}

fn owner(sheet: &mut Sheet<'_>, survey: &Survey, looked: &Looked, answer: &Answer) {
    let current = survey.inputs.layout.current();
    let source = format!("find {current}/ ! -user {}", looked.user);
    match answer.get("foreign-count").and_then(|count| count.trim().parse::<u64>().ok()) {
        Some(0) => sheet.met("foreign-owner", format!("every file belongs to {}", looked.user), source),
        Some(count) => {
            let belong = if count == 1 { "1 file belongs".to_owned() } else { format!("{count} files belong") };
            let some: Vec<&str> = answer.all("foreign").take(3).collect();
            sheet.not_met(
                "foreign-owner",
                format!("{belong} to another account, such as {}", some.join(", ")),
                format!(
                    r"Run the fix `docs-ownership`, or run as root: find $(readlink -f {current}) -xdev ! -user {0} \( -type d -o -links 1 \) -execdir chown -h {0} {{}} +",
                    looked.user
                ),
                source,
            );
        }
        None => sheet.unseen("foreign-owner", "find gave no answer", "Run the audit again.", source),
    }
}

fn room(sheet: &mut Sheet<'_>, survey: &Survey, looked: &Looked, answer: &Answer) {
    let base = survey.inputs.layout.base();
    let pair = |key: &str| {
        let (free, all) = answer.get(key)?.trim().split_once(' ')?;
        Some((free.parse::<u64>().ok()?, all.parse::<u64>().ok()?))
    };
    let unknown = crate::server::survey::size_unknown(&survey.inputs, &looked.answer);
    let live: u64 = looked.answer.get("live-kib").and_then(remote::kib).unwrap_or(0);
    let source = format!("df -Pk {base}");
    match pair("kib") {
        _ if let Some(warning) = unknown => {
            sheet.unseen("disk-room", warning.text, warning.hint.unwrap_or_default(), source);
        }
        Some((free, all)) => {
            let of = |kib: u64| format::bytes(kib.saturating_mul(1024));
            let described = format!("{} of {} free; the live release takes {}", of(free), of(all), of(live));
            match free >= all / 10 && free >= 2 * live {
                true => sheet.met("disk-room", described, source),
                false => sheet.not_met(
                    "disk-room",
                    described,
                    "Free disk space there, or lower `keep-releases` and `keep-backups`.",
                    source,
                ),
            }
        }
        None => sheet.unseen("disk-room", "df gave no answer", "Run the audit again.", source),
    }
    let source = format!("df -Pi {base}");
    match pair("inodes") {
        // File systems that make inodes as they need them say zero of zero.
        Some((_, 0)) => sheet.met("inodes", "the file system has no fixed number of inodes", source),
        Some((free, all)) if free >= all / 10 => sheet.met("inodes", format!("{free} of {all} free"), source),
        Some((free, all)) => sheet.not_met(
            "inodes",
            format!("{free} of {all} free"),
            "Remove old releases and caches: each file takes one inode.",
            source,
        ),
        None => sheet.unseen("inodes", "df gave no answer", "Run the audit again.", source),
    }
}
