//! The new release's folder: upload, unpack, the gates, and its removal.

use std::{
    collections::BTreeMap,
    fs::File,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    context::Deploy,
    domain::{
        Failure, RemoteCommand, RemotePath, Warning,
        bundle::{Bundle, Canonical, FileEntry, Listing, Manifest},
        format,
        gate::{self, FrontEnd, GateReport, Must, VITE_CONFIGS},
        record,
    },
    engine::{
        Done, Undone,
        step::{Io, StepResult},
    },
    errors::{general, release_dir},
    server::{
        lock,
        release_dir::{
            delivery,
            part::{Parcel, Part},
        },
        remote,
    },
    transport::shell::{Answer, Script, Shell, ShellError},
};

/// How often an upload may lose its connection before a byte more has arrived, and how often in all.
const STANDSTILLS: u32 = 3;
const DROPS: u32 = 20;

/// Uploads the verified bundle, or the part of it that the live release lacks, and compares the digest on the server's disk (F27). It resumes an
/// interrupted upload of the same bytes.
pub async fn upload(cx: &Deploy, io: &Io) -> StepResult {
    let doing = uploading(cx);
    let bundle = bundle(cx, &doing)?;
    let part = delivery::part(cx, io, &bundle, &*manifest(cx, &doing)?).await?.map(Rc::new);
    let parcel = part.as_deref().map_or_else(|| Parcel::whole(&bundle), Part::parcel);
    let sent = deliver(cx, io, parcel).await?;
    let delivered = part.as_deref().map(Part::record);
    if let Some(described) = cx.state.borrow_mut().described.as_mut() {
        if delivered.is_none() {
            described.verified_at.push("the server".to_owned());
        }
        described.delivered = delivered;
        io.record(record::key::BUNDLE, &*described);
    }
    let what = delivered.map_or_else(String::new, |part| {
        format!(
            " of {}: the live release has {} of {} files",
            format::bytes(bundle.sent_size()),
            part.copied,
            part.files + part.copied
        )
    });
    let size = format::bytes(parcel.size);
    cx.state.borrow_mut().part = part;
    Ok(Done::passed(format!("{size}{what}, {sent}")))
}

fn uploading(cx: &Deploy) -> String {
    format!("uploading the bundle to {}", cx.inputs.layout.incoming(&cx.plan.turn.to))
}

fn bundle(cx: &Deploy, doing: &str) -> Result<Rc<Bundle<Canonical>>, Failure> {
    cx.state.borrow().bundle.clone().ok_or_else(|| Failure::bug(doing, "there is no verified bundle"))
}

/// Sends a file until it lies on the server as it is here; says how that went.
async fn deliver(cx: &Deploy, io: &Io, parcel: Parcel<'_>) -> Result<String, Failure> {
    let layout = &cx.inputs.layout;
    let release = &cx.plan.turn.to;
    let to = layout.incoming(release);
    let doing = uploading(cx);
    let at = cx.ports.clock.now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    let begins = serde_json::json!({
        "version": 1, "at": at, "event": "uploading", "from": "", "to": release.as_str(),
        "sha256": parcel.sha256.as_str(), "size": parcel.size,
    });
    let script = Script::new("incoming", include_str!("incoming.sh"))
        .repeatable()
        .var("PLACE", layout.uploads().as_str())
        .var("FILE", to.as_str())
        .var("RELEASE", release.as_str())
        .var("JOURNALS", layout.journals().as_str())
        .var("DIGEST", parcel.sha256.as_str())
        .var("BEGINS", begins.to_string());
    let answer = remote::run(&*cx.ports.shell, io, lock::fenced(cx, script), &doing).await?;
    if let Some(journal) = answer.get("resumed") {
        io.line(format!("resumed from {journal}, an interrupted upload of the same bundle"));
    }
    let began = Instant::now();
    let there = send(cx, io, parcel, &to, &doing).await?;
    let mut took = began.elapsed();
    if compare(cx, io, parcel, &to, true).await? {
        io.line("the uploaded part does not match the bundle; uploading the whole bundle again");
        let began = Instant::now();
        send(cx, io, parcel, &to, &doing).await?;
        took += began.elapsed();
        compare(cx, io, parcel, &to, false).await?;
    }
    let first = if there == 0 { String::new() } else { format!(", {} of it uploaded before", format::bytes(there)) };
    Ok(format!("in {}{first}, SHA-256 {} verified on the server", format::duration(took), parcel.sha256.short()))
}

/// Sends a file, also over more than one connection; gives how much of it lay there before.
async fn send(cx: &Deploy, io: &Io, parcel: Parcel<'_>, to: &RemotePath, doing: &str) -> Result<u64, Failure> {
    let (mut at_first, mut most) = (None, 0);
    let (mut drops, mut standstills) = (0, 0);
    loop {
        let file = File::open(parcel.path)
            .map_err(|error| general::runner_file(doing, format!("{}: {error}", parcel.path.display())))?;
        let (mut from, began) = (None, Instant::now());
        let mut on_bytes = |there: u64| {
            if from.is_none() && drops > 0 {
                io.line(format!("the upload resumes at {there} of {} bytes", parcel.size));
            }
            let from = *from.get_or_insert(there);
            at_first.get_or_insert(there);
            let rate = there.saturating_sub(from) as f64 / began.elapsed().as_secs_f64().max(0.001);
            io.progress("upload", there, Some(parcel.size), rate as u64);
        };
        let Err(error) = cx.ports.shell.send(file, parcel.size, to, &mut on_bytes).await else {
            return Ok(at_first.unwrap_or(0));
        };
        let ShellError::Dropped(why) = &error else { return Err(error.failure(doing)) };
        // What the server had when it was asked last is what counts; bytes on their way may not have arrived.
        standstills = if from.is_some_and(|from| from > most) { 0 } else { standstills + 1 };
        most = from.unwrap_or(most).max(most);
        drops += 1;
        if standstills > STANDSTILLS || drops > DROPS {
            return Err(error.failure(doing));
        }
        io.line(format!("the connection broke ({why}); reconnecting to resume the upload"));
    }
}

/// Whether it is wrong and to be sent once more.
async fn compare(cx: &Deploy, io: &Io, parcel: Parcel<'_>, to: &RemotePath, once_more: bool) -> Result<bool, Failure> {
    let script = Script::new("uploaded", include_str!("uploaded.sh"))
        .repeatable()
        .var("FILE", to.as_str())
        .var("DIGEST", parcel.sha256.as_str())
        .var("ONCE_MORE", if once_more { "yes" } else { "" })
        .timeout(Duration::from_secs(600));
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("checking the digest of {to}")).await?;
    Ok(answer.get("wrong").is_some())
}

/// Removes the uploaded file.
pub async fn remove_upload(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    remove_path(cx, io, &cx.inputs.layout.incoming(&cx.plan.turn.to)).await
}

const UNPACK: &str = concat!(include_str!("listing.sh"), include_str!("live-files.sh"), include_str!("unpack.sh"));
const DIFFERS: &str = concat!(include_str!("listing.sh"), include_str!("differs.sh"));

/// What the program needs to know.
struct Unpacking<'a> {
    base: &'a RemotePath,
    releases: &'a RemotePath,
    dir: &'a RemotePath,
    file: &'a RemotePath,
    shared: &'a [String],
    env_file: &'a RemotePath,
    kib: u64,
    inodes: usize,
    tree: &'a Listing,
    /// What was sent of the bundle, with the PHP that completes it; `None`: all of it.
    part: Option<(&'a Part, &'a str)>,
}

impl Unpacking<'_> {
    fn script(&self) -> Script {
        let script = Script::new("unpack", UNPACK)
            .var("BASE", self.base.as_str())
            .var("RELEASES", self.releases.as_str())
            .var("DIR", self.dir.as_str())
            .var("FILE", self.file.as_str())
            .list("SHARED", self.shared)
            .var("ENV_FILE", self.env_file.as_str())
            .var("KIB", self.kib.to_string())
            .var("INODES", self.inodes.to_string())
            .var("TREE", self.tree.sha256().as_str())
            .timeout(Duration::from_secs(900));
        match self.part {
            Some((part, php)) => part.completing(script, php),
            None => script.var("LIVE", ""),
        }
    }
}

/// Only reads.
fn differs_script(dir: &RemotePath, tree: &Listing) -> Script {
    Script::new("differs", DIFFERS)
        .repeatable()
        .var("DIR", dir.as_str())
        .list("LIST", tree.records())
        .timeout(Duration::from_secs(900))
}

/// So many paths that differ are named.
const NAMED: usize = 10;

/// Unpacks the bundle into `releases/<name>`, compares what is there now with what was read in the bundle, and links the shared folders and `.env`.
/// Where the bundle was completed from the live release and is not what it should be, all of it is sent.
pub async fn unpack(cx: &Deploy, io: &Io) -> StepResult {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let doing = format!("unpacking into {dir}");
    let bundle = bundle(cx, &doing)?;
    let part = cx.state.borrow_mut().part.take();
    let mut answer = unpack_once(cx, io, &bundle, part.as_deref(), &doing).await?;
    if part.is_some() && answer.get("differs").is_some() {
        io.warning(release_dir::part_differs());
        remove(cx, io).await?;
        remove_upload(cx, io).await?;
        io.line(format!("the whole bundle was sent {}", deliver(cx, io, Parcel::whole(&bundle)).await?));
        if let Some(described) = cx.state.borrow_mut().described.as_mut() {
            described.verified_at.push("the server".to_owned());
            described.delivered = None;
            io.record(record::key::BUNDLE, &*described);
        }
        answer = unpack_once(cx, io, &bundle, None, &doing).await?;
    }
    if answer.get("differs").is_some() {
        return Err(differs(cx, io, &bundle, &dir, &doing).await?);
    }
    let files = remote::required(&answer, "files", &doing)?;
    // What was completed there is what the bundle holds only now.
    if let Some(described) = cx.state.borrow_mut().described.as_mut().filter(|described| described.delivered.is_some())
    {
        described.verified_at.push(record::FILE_BY_FILE.to_owned());
        io.record(record::key::BUNDLE, &*described);
    }
    Ok(Done::passed(format!("{files} files in {dir}")))
}

async fn unpack_once(
    cx: &Deploy,
    io: &Io,
    bundle: &Bundle<Canonical>,
    part: Option<&Part>,
    doing: &str,
) -> Result<Answer, Failure> {
    let layout = &cx.inputs.layout;
    let manifest = manifest(cx, doing)?;
    let bytes: u64 = manifest.files.values().map(|entry: &FileEntry| entry.size.div_ceil(4096) * 4096).sum();
    // Folders need inodes too; a tree has fewer folders than files.
    let inodes = 2 * manifest.files.len() + 64;
    let script = Unpacking {
        base: layout.base(),
        releases: &layout.releases(),
        dir: &layout.release(&cx.plan.turn.to),
        file: &layout.incoming(&cx.plan.turn.to),
        shared: &cx.inputs.server.shared,
        env_file: layout.env_file(),
        kib: bytes / 1024 + 4096,
        inodes,
        tree: bundle.tree(),
        part: part.map(|part| (part, cx.inputs.server.php.as_str())),
    }
    .script();
    remote::run(&*cx.ports.shell, io, lock::fenced(cx, script.detached(&layout.jobs())), doing).await
}

/// The unpacked folder is not what the bundle holds. The list of it travels only now: it is as long as the tree has files.
async fn differs(
    cx: &Deploy,
    io: &Io,
    bundle: &Bundle<Canonical>,
    dir: &RemotePath,
    doing: &str,
) -> Result<Failure, Failure> {
    let script = differs_script(dir, bundle.tree());
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("comparing {dir} with the bundle")).await?;
    let paths = differences(answer.all("differs"));
    Ok(release_dir::differs(doing, dir.as_str(), paths))
}

/// One line for each path, of the records that are on one side only.
fn differences<'a>(records: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut paths: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
    for record in records {
        let Some((side, entry)) = record.split_at_checked(1) else { continue };
        let path = entry.split_once("./").map_or(entry, |(_, path)| path.split('\t').next().unwrap_or(path));
        let sides = paths.entry(path).or_default();
        if side == "-" { sides.0 = true } else { sides.1 = true }
    }
    let more = paths.len().saturating_sub(NAMED);
    let mut lines: Vec<String> = paths
        .into_iter()
        .take(NAMED)
        .map(|(path, sides)| {
            let what = match sides {
                (true, true) => "is another file, link or folder than in the bundle",
                (true, false) => "is missing",
                (false, _) => "is not in the bundle",
            };
            format!("{path} {what}")
        })
        .collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Removes the new release's folder, unless it is live.
pub async fn remove(cx: &Deploy, io: &Io) -> Result<Undone, Failure> {
    remove_path(cx, io, &cx.inputs.layout.release(&cx.plan.turn.to)).await
}

/// The commands for manual action if the uploaded file could not be removed.
pub fn remove_upload_by_hand(cx: &Deploy) -> Vec<RemoteCommand> {
    let upload = cx.inputs.layout.incoming(&cx.plan.turn.to);
    vec![RemoteCommand::new(["rm", "-f", upload.as_str()]), lock::free_by_hand(cx)]
}

/// The same for the folder, and for the upload: its own undo comes later, and would not run any more.
pub fn remove_by_hand(cx: &Deploy) -> Vec<RemoteCommand> {
    let folder = cx.inputs.layout.release(&cx.plan.turn.to);
    let mut commands = vec![RemoteCommand::new(["rm", "-rf", folder.as_str()])];
    commands.extend(remove_upload_by_hand(cx));
    commands
}

async fn remove_path(cx: &Deploy, io: &Io, path: &RemotePath) -> Result<Undone, Failure> {
    let script = Script::new("remove", include_str!("remove.sh"))
        .repeatable()
        .var("TARGET", path.as_str())
        .var("CURRENT", cx.inputs.layout.current().as_str())
        .timeout(Duration::from_secs(300));
    let answer = remote::run(&*cx.ports.shell, io, script, &format!("removing {path}")).await?;
    Ok(match answer.get("found") {
        Some("removed") => Undone::Done(format!("removed {path}")),
        Some("left") => {
            let left = answer.get("left").unwrap_or(path.as_str());
            io.warning(release_dir::removal_incomplete(path.as_str(), &remove_as_root(left)));
            Undone::Stays(format!("{left}: another account owns files in it. As root, run: {}", remove_as_root(left)))
        }
        _ => Undone::Nothing(format!("{path} does not exist")),
    })
}

/// What is left of a release because the site's account wrote to it.
pub(crate) fn left_over(path: &str) -> Warning {
    release_dir::removal_incomplete(path, &remove_as_root(path))
}

fn remove_as_root(path: &str) -> RemoteCommand {
    RemoteCommand::new(["rm", "-rf", path])
}

/// The nine gates, on the server. Every one that fails is named.
pub async fn gates(cx: &Deploy, io: &Io) -> StepResult {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let doing = format!("checking the nine gates in {dir}");
    let front_end = cx.front_end();
    let mut report = judged(&*cx.ports.shell, io, dir.as_str(), front_end, &doing).await?;
    if let Some(manifest) = &cx.state.borrow().manifest {
        explain(&mut report, manifest);
    }
    io.record(record::key::GATES, &report);
    if report.failures().next().is_none() {
        return Ok(Done::passed(format!("{}{}", report.score(), front_end.note())));
    }
    let lines: Vec<String> = report
        .failures()
        .map(|gate| format!("{}: {}", gate.name, gate.problem.as_deref().unwrap_or_default()))
        .collect();
    Err(release_dir::gates_failed(doing, &report.score(), lines, cx.source.is_some()))
}

/// Says of a manifest of Vite that is missing where it is.
fn explain(report: &mut GateReport, manifest: &Manifest) {
    for gate in report.results.iter_mut().filter(|gate| gate.name == gate::VITE_MANIFEST) {
        if let Some(problem) = gate.problem.as_mut().filter(|problem| *problem == "missing") {
            *problem = gate::missing(&gate.name, |path| manifest.files.contains_key(path));
        }
    }
}

/// Asks for the nine gates of a release in `dir`.
pub fn gates_script(dir: &str, front_end: FrontEnd) -> Script {
    let gates = gate::gates(front_end);
    let paths = |must: Must| gates.iter().filter(move |gate| gate.must == must).map(|gate| gate.path);
    Script::new("gates", include_str!("gates.sh"))
        .repeatable()
        .var("DIR", dir)
        .list("FILES", paths(Must::File))
        .list("FOLDERS", paths(Must::Folder))
        .list("CONFIGS", VITE_CONFIGS.iter().filter(|_| front_end == FrontEnd::None))
}

/// The nine gates of a release in `dir` on the server.
pub async fn judged(
    shell: &dyn Shell,
    io: &Io,
    dir: &str,
    front_end: FrontEnd,
    doing: &str,
) -> Result<GateReport, Failure> {
    let answer = remote::run(shell, io, gates_script(dir, front_end), doing).await?;
    let mut report = GateReport::default();
    for gate in &gate::gates(front_end) {
        let found = answer.all("gate").filter_map(|record| record.split_once('=')).find(|(path, _)| *path == gate.path);
        // A gate without an answer has not passed.
        let problem = found
            .map_or(Some("not checked".to_owned()), |(_, problem)| (!problem.is_empty()).then(|| problem.to_owned()));
        report.record(gate.path, problem);
    }
    Ok(report)
}

/// Boots the release on the server's own PHP: the autoloader, `artisan --version`, and the routes that health will ask for (F72).
pub async fn boot(cx: &Deploy, io: &Io) -> StepResult {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let doing = format!("booting {dir} on PHP {}", cx.plan.server.php_version);
    let manifest = manifest(cx, &doing)?;
    if let Some(minimum) = manifest.php.minimum_id.filter(|minimum| cx.plan.server.php_version_id < *minimum) {
        return Err(release_dir::php_too_old(&doing, minimum));
    }
    let script = Script::new("boot", include_str!("boot.sh"))
        .repeatable()
        .var("DIR", dir.as_str())
        .var("PHP", &cx.inputs.server.php)
        .var("URL", cx.inputs.site.url.as_str().trim_end_matches('/'))
        .list("PATHS", &cx.inputs.health.paths)
        .var("APP_PHP", remote::APP)
        .var("BOOT_PHP", include_str!("boot.php"))
        .hiding(cx.inputs.layout.env_file())
        .timeout(Duration::from_secs(180));
    let mut tail: Vec<String> = Vec::new();
    let answer = cx
        .ports
        .shell
        .run(lock::under(cx, script), &mut |line| {
            tail.push(line.clone());
            io.line(line);
        })
        .await
        .map_err(|error| error.failure(&doing))?;
    let last = tail.len().saturating_sub(20);
    for check in ["autoload", "artisan"] {
        match answer.get(check) {
            Some("ok") => {}
            problem => return Err(release_dir::does_not_start(&doing, problem, tail.drain(last..))),
        }
    }
    for (path, found) in answer.all("route").filter_map(|record| record.split_once('=')) {
        match found {
            "ok" | "file" => {}
            "missing" => io.warning(release_dir::health_route_missing(path)),
            broken if broken.starts_with("broken ") => {
                return Err(release_dir::health_route_broken(&doing, path, broken.trim_start_matches("broken ")));
            }
            _ => io.warning(release_dir::health_route_unknown(path)),
        }
    }
    Ok(Done::passed(answer.get("version").unwrap_or("the app starts").trim().to_owned()))
}

fn manifest(cx: &Deploy, doing: &str) -> Result<Rc<Manifest>, Failure> {
    cx.state.borrow().manifest.clone().ok_or_else(|| Failure::bug(doing, "there is no manifest of the bundle"))
}

#[cfg(test)]
mod tests;
