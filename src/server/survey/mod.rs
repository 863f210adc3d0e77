//! The survey of the server before anything changes: the deploy user, the live release, and everything that prevents a release.

use std::rc::Rc;

use super::{
    database,
    inspect::{ServerState, ServiceState, config_file::ConfigFile, serving},
    ledger,
    lock::{self, Holder},
    remote, watchdog,
};
use crate::{
    config::typed,
    context::Survey,
    domain::{Failure, ReleaseName, RemoteCommand, Warning, format, record},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::inspect::{About, Looked, NO_SERVER, Problem, problem, refusal},
    transport::shell::{Answer, Script},
};

/// How far the server's clock may be from the runner's. Release names are times, and their order is their age (F49).
const MAX_SKEW_SECONDS: u64 = 120;

/// Less room than this is no room, whatever the live release takes.
const MIN_FREE_KIB: u64 = 16 * 1024;

/// What a lock, a watchdog and a journal take besides a release, whose files are counted once the bundle is here.
const MIN_FREE_INODES: u64 = 64;

/// With less than this the app cannot write a log line and a session.
const STORAGE_FREE_KIB: u64 = 64;

/// Connects and logs in.
pub async fn reach(cx: &Survey, io: &Io) -> StepResult {
    let ssh = &cx.inputs.ssh;
    let server = format!("{}@{}:{}", ssh.user, ssh.host, ssh.port);
    io.record(record::key::SERVER, &server);
    let greeting = cx.ports.shell.connect().await.map_err(|error| error.failure(&format!("connecting to {server}")))?;
    io.line(format!("{} showed the host key {}", greeting.banner, greeting.host_key));
    io.line(format!("logged in as {} with the key {}", ssh.user, greeting.client_key));
    cx.state.borrow_mut().reached = true;
    Ok(Done::passed(server))
}

/// Reads the server; the result stays for the rows after it.
pub async fn look_around(cx: &Survey, io: &Io, doing: &str) -> Result<Rc<Looked>, Failure> {
    let inputs = &*cx.inputs;
    let layout = &inputs.layout;
    let script = Script::new("look", include_str!("look.sh"))
        .repeatable()
        .var("BASE", layout.base().as_str())
        .var("ENV_FILE", layout.env_file().as_str())
        .var("PHP", &inputs.server.php)
        .list("SHARED", &inputs.server.shared);
    let answer = remote::run(&*cx.ports.shell, io, script, doing).await?;
    let clock_skew_seconds = skew(cx, &answer, doing)?;
    let (nginx, fpm) = (config_files(&answer, "nginx"), config_files(&answer, "fpm"));
    let serving = serving::find(layout, inputs.server.fpm_service.as_deref(), &nginx, &fpm);
    if let Ok(serving) = &serving {
        io.line(format!("{} serves the site: {}", serving.fpm, serving.because));
    }
    let user = answer.get("user").unwrap_or(&inputs.ssh.user).to_owned();
    let looked = Rc::new(Looked { answer, user, clock_skew_seconds, serving });
    if let Some(live) = looked.current() {
        io.record(record::key::PREVIOUS_RELEASE, last_part(live));
    }
    cx.state.borrow_mut().looked = Some(looked.clone());
    Ok(looked)
}

/// Reads the server, and names every problem that it finds.
pub async fn look(cx: &Survey, io: &Io) -> StepResult {
    let inputs = &*cx.inputs;
    // The row that tried to connect failed, and said why.
    if !cx.state.borrow().reached {
        return Ok(Done::skipped(NO_SERVER));
    }
    let doing = format!("reading {} on the server", inputs.layout.base());
    let wait = inputs.server.lock_wait;
    // A release without a build is refused in any case; it does not wait for others. The build is looked for meanwhile.
    let waits = || cx.source.is_none() || !cx.state.borrow().lacks_a_build();
    if !wait.is_zero() {
        lock::wait_until_free(&*cx.ports.shell, &*cx.ports.clock, &inputs.layout, (wait, None), &waits, io).await?;
    }
    let looked = look_around(cx, io, &doing).await?;
    let Looked { answer, user, .. } = &*looked;
    if let Some(Holder { owner, gone: true, .. }) = Holder::read(answer) {
        io.warning(errors::lock::expired(&owner));
    }
    if let (Some(warning), true) = (size_unknown(inputs, answer), cx.source.is_some()) {
        io.warning(warning);
    }
    let mut problems = problems(inputs, &looked);
    if cx.source.is_none() {
        // A rollback makes no release: it needs no room and no name from the clock, so neither prevents it.
        let clock = wrong_clock(&looked);
        let room = |problem: &Problem| matches!(problem.about, About::Room | About::Storage);
        problems.retain(|problem| !room(problem) && Some(problem) != clock.as_ref());
    } else {
        problems.retain(|problem| !problem.about.has_a_row());
    }
    let of_database = async {
        match cx.source.is_some() {
            true => database::place(cx, io, &looked, database::Asked::App).await,
            false => Ok(Vec::new()),
        }
    };
    let privileges = async {
        match &looked.serving {
            Ok(serving) => serving::privileges(&*cx.ports.shell, io, user, serving, looked.systemd()).await.map(Ok),
            Err(cause) => Ok(Err(errors::services::fpm_unknown(cause))),
        }
    };
    // None of them needs another. What cannot be read of the ledger, the row that needs it says.
    let (of_database, services, _) = tokio::join!(of_database, privileges, ledger::look(cx, io));
    problems.extend(of_database?.into_iter().map(|obstacle| obstacle.problem));
    let services = match services {
        Ok(Ok(services)) => Some(services),
        Ok(Err(unknown)) => {
            problems.push(problem(About::Services, unknown));
            None
        }
        Err(failure) if failure.kind == crate::domain::FailureKind::Refused => {
            problems.push(problem(About::Services, failure.into()));
            None
        }
        Err(failure) => return Err(failure),
    };
    let (Some(services), true) = (services, problems.is_empty()) else {
        return Err(refusal(&doing, problems));
    };
    if let Some(warning) = cut_requests(&services.fpm, services.process_control_timeout) {
        io.warning(warning);
    }
    tell_services(io, &services);
    let (php_version_id, php_version) = php(answer, &doing)?;
    // The release begins with the rollback of unconfirmed releases: what is live after that is what it replaces.
    let unconfirmed = watchdog::Pending::all(answer);
    watchdog::tell(cx, io, &unconfirmed);
    let current = watchdog::once_back(&unconfirmed, looked.current()).map(|link| inputs.layout.plain(&link));
    let live_tree = match current.as_deref() == looked.current() {
        true => answer.get("current-is").map(str::to_owned),
        false => current.as_deref().map(|link| watchdog::tree(&inputs.layout, link)),
    };
    if current.as_deref() != looked.current() {
        if let Some(live) = looked.current() {
            io.record(record::key::LIVE_UNCONFIRMED, last_part(live));
        }
        io.record(record::key::PREVIOUS_RELEASE, current.as_deref().map(last_part));
    }
    cx.state.borrow_mut().unconfirmed = unconfirmed;
    let state = ServerState {
        current,
        live_tree,
        releases: releases(answer),
        php_version_id,
        php_version,
        services,
        free_bytes: remote::number::<u64>(answer, "free-kib", &doing)?.saturating_mul(1024),
        free_inodes: free_inodes(answer, "free-inodes").unwrap_or(u64::MAX),
        clock_skew_seconds: looked.clock_skew_seconds,
    };
    let live = state.current.as_deref().map_or("nothing".to_owned(), |live| last_part(live).to_owned());
    let text = format!(
        "{live} is live; PHP {}, {}; {} free",
        state.php_version,
        state.services.fpm,
        format::bytes(state.free_bytes)
    );
    cx.state.borrow_mut().server = Some(state);
    Ok(Done::passed(text))
}

/// Records which services serve the site and how they are reloaded.
pub fn tell_services(io: &Io, services: &ServiceState) {
    io.record(
        record::key::SERVICES,
        record::Services {
            fpm: services.fpm.clone(),
            reload: services.reload.iter().map(ToString::to_string).collect(),
            process_control_timeout: services.process_control_timeout,
        },
    );
}

/// The release's own name in a link's text, `releases/20251102_154900-f0959baf` or absolute.
pub fn last_part(link: &str) -> &str {
    link.trim_end_matches('/').rsplit('/').next().unwrap_or(link)
}

/// Everything in the survey that prevents a release, in the order in which to correct it.
pub fn problems(inputs: &typed::Target, looked: &Looked) -> Vec<Problem> {
    let layout = &inputs.layout;
    let Looked { answer, user, .. } = looked;
    let base = layout.base();
    let mut found = Vec::new();
    let tools: Vec<&str> = answer.all("missing-tool").collect();
    if !tools.is_empty() {
        found.push(problem(About::Place, errors::preflight::tools_missing(&tools)));
    }
    if answer.get("php-missing").is_some() {
        found.push(problem(About::Place, errors::preflight::php_missing(&inputs.server.php)));
    }
    found.extend(wrong_clock(looked));
    if answer.get("base") == Some("missing") {
        found.push(problem(
            About::Place,
            errors::preflight::base_missing(
                &base,
                format!("As root, run: {}", RemoteCommand::new(["install", "-d", "-o", user, base.as_str()])),
            ),
        ));
        return found;
    }
    if answer.get("base-read-only").is_some() {
        found.push(problem(About::Place, errors::preflight::base_read_only(user, &base)));
    }
    if answer.get("state-unreadable").is_some() {
        found.push(problem(
            About::Place,
            errors::preflight::state_foreign(
                &layout.state(),
                RemoteCommand::new(["chown", "-R", user, layout.state().as_str()]).to_string(),
            ),
        ));
    }
    found.extend(wrong_place(inputs, answer));
    if answer.get("current-not-a-link").is_some() {
        found.push(problem(About::Place, errors::activation::current_not_a_link(&layout.current())));
    }
    if answer.get("current-dangling").is_some() {
        let link = answer.get("current").unwrap_or_default();
        found.push(problem(About::Place, errors::preflight::current_dangling(&layout.current(), link)));
    }
    match answer.get("env-file") {
        Some("yes") => {}
        Some("unreadable") => {
            found.push(problem(About::EnvFile, errors::preflight::env_file_unreadable(user, &layout.env_file())))
        }
        _ => found.push(problem(About::EnvFile, errors::preflight::env_file_missing(&layout.env_file()))),
    }
    for path in answer.all("shared-dangling") {
        found.push(problem(
            About::Shared,
            errors::preflight::shared_dangling(&format!("shared/{path}"), &format!("{}/{path}", layout.shared())),
        ));
    }
    for path in answer.all("shared-not-a-folder") {
        found.push(problem(
            About::Shared,
            errors::preflight::shared_not_a_folder(&format!("shared/{path}"), &format!("{}/{path}", layout.shared())),
        ));
    }
    for path in answer.all("special") {
        found.push(problem(
            About::Storage,
            errors::preflight::special_file(path, &RemoteCommand::new(["rm", "-f", path])),
        ));
    }
    let full = answer.get("storage-free-kib").and_then(remote::kib).is_some_and(|free| free < STORAGE_FREE_KIB)
        || free_inodes(answer, "storage-free-inodes") == Some(0);
    if full {
        found.push(problem(About::Storage, errors::preflight::storage_full(&layout.shared())));
    }
    for path in answer.all("shared-read-only") {
        found.push(problem(
            About::Shared,
            errors::preflight::shared_not_writable(
                user,
                &format!("shared/{path}"),
                format!(
                    "Give {}/{path} a group that the deploy user and PHP-FPM share, and the setgid bit",
                    layout.shared()
                ),
            ),
        ));
    }
    // A release takes as much as the live one, its backup less; the exact need is known once the bundle is here.
    let kib = |key| answer.get(key).and_then(remote::kib);
    let need = MIN_FREE_KIB.max(kib("live-kib").unwrap_or(0));
    if let Some(free) = kib("free-kib").filter(|free| *free < need) {
        found.push(problem(About::Room, errors::preflight::no_room_kib(free, &base, need)));
    }
    if let Some(free) = free_inodes(answer, "free-inodes").filter(|free| *free < MIN_FREE_INODES) {
        found.push(problem(About::Room, errors::preflight::no_inodes(free, &base, MIN_FREE_INODES)));
    }
    if let Some(Holder { owner, gone: false, .. }) = Holder::read(answer) {
        found.push(problem(
            About::Place,
            errors::lock::LOCK_HELD
                .problem(format!("another run holds the deploy lock: {owner}"), lock::hint(layout.lock().as_str())),
        ));
    }
    found
}

/// The free inodes that the server told as `free all`; `None` where the file system does not count them: it says 0 of 0, or `-`.
pub fn free_inodes(answer: &Answer, key: &str) -> Option<u64> {
    let (free, all) = answer.get(key)?.trim().split_once(' ')?;
    let all: u64 = all.parse().ok()?;
    free.parse().ok().filter(|_| all > 0)
}

/// How much room a release and its backup need is worked out from the live release.
pub fn size_unknown(inputs: &typed::Target, answer: &Answer) -> Option<Warning> {
    answer.get("live-kib-unknown").map(|_| errors::release::size_unknown(&inputs.layout.current()))
}

/// Names are times.
fn wrong_clock(looked: &Looked) -> Option<Problem> {
    let skew = looked.clock_skew_seconds;
    (skew.unsigned_abs() > MAX_SKEW_SECONDS).then(|| problem(About::Place, errors::preflight::clock_wrong(skew)))
}

/// The base folder must have the marker of this environment, or be new (F45: one typing error from writing to the wrong one).
pub fn wrong_place(inputs: &typed::Target, answer: &Answer) -> Option<Problem> {
    let (layout, environment) = (&inputs.layout, inputs.environment.as_str());
    let marker = layout.state().join("environment");
    if let Some(named) = answer.get("marker") {
        return (named.trim() != environment).then(|| {
            problem(
                About::Place,
                errors::preflight::base_of_another(&layout.base(), named.trim(), environment, &marker),
            )
        });
    }
    let env_root =
        layout.env_file().as_str().strip_prefix(layout.base().as_str()).and_then(|rest| rest.split('/').nth(1));
    let ours = |name: &&str| {
        matches!(*name, "releases" | "current" | "shared" | "backups" | "logs" | "lost+found" | ".gated-deploy")
            || Some(*name) == env_root
    };
    let foreign: Vec<&str> = answer.all("entry").filter(|name| !ours(name)).collect();
    // Releases without a marker may belong to another tool, another site or another environment.
    let released = answer.get("current").is_some()
        || answer.get("current-not-a-link").is_some()
        || answer.all("release").next().is_some();
    if foreign.is_empty() && !released {
        return None;
    }
    Some(problem(About::Place, errors::preflight::base_unmarked(layout, &marker, &foreign, environment)))
}

fn skew(cx: &Survey, answer: &Answer, doing: &str) -> Result<i64, Failure> {
    let server: i64 = remote::number(answer, "time", doing)?;
    Ok(server.saturating_sub(cx.ports.clock.now().timestamp()))
}

/// PHP_VERSION_ID and version of the command line.
pub fn php(answer: &Answer, doing: &str) -> Result<(u32, String), Failure> {
    let text = remote::required(answer, "php", doing)?;
    let (id, version) = text.split_once(' ').unwrap_or((text, ""));
    let id = id.parse().map_err(|_| errors::services::php_version_unreadable(doing, text))?;
    Ok((id, version.to_owned()))
}

/// The releases, oldest first. Folders whose names do not parse were not made by this action and are never touched.
fn releases(answer: &Answer) -> Vec<ReleaseName> {
    let mut names: Vec<ReleaseName> = answer.all("release").filter_map(|name| name.parse().ok()).collect();
    names.sort();
    names
}

/// All files of a kind stand in one record; a control character begins each.
fn config_files(answer: &Answer, key: &str) -> Vec<ConfigFile> {
    let split = |file: &str| {
        let (path, text) = file.split_once('\n')?;
        Some(ConfigFile { path: path.to_owned(), text: text.to_owned() })
    };
    answer.all(key).flat_map(|record| record.split('\u{1}')).filter_map(split).collect()
}

/// With PHP-FPM's default a reload cuts running requests. The server is never edited: the hint has the line to add.
pub fn cut_requests(fpm: &str, process_control_timeout: Option<u64>) -> Option<Warning> {
    let version = fpm.trim_start_matches("php").trim_end_matches("-fpm");
    let file = format!("/etc/php/{version}/fpm/php-fpm.conf");
    match process_control_timeout {
        Some(0) => Some(errors::services::reload_cuts_requests(fpm, &file)),
        Some(_) => None,
        None => Some(errors::services::reload_timeout_unknown(fpm, &file)),
    }
}

/// Connects and logs in; says before it whereto.
pub async fn reach_site(cx: &Survey, io: &Io) -> StepResult {
    io.record(record::key::ENVIRONMENT, cx.inputs.environment.as_str());
    io.record(record::key::URL, cx.inputs.site.url.as_str());
    reach(cx, io).await
}
