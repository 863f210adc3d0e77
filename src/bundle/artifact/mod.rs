//! The build: its run, its artifact, its bundle.
//!
//! The run is resolved once and from then on known by its id (F3, F6). A build counts when its run succeeded *and* the named
//! artifact is there, unexpired and not empty: a green run alone is no evidence (F7).

mod search;
pub(crate) mod unpack;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use self::search::{Absent, Look, Search};
pub use self::search::{branch_of, github_failure};
use super::{
    link,
    pace::{Background, Pace},
    read::{self, Limits, Maker, Rewritten},
};
use crate::{
    config::typed,
    context::{Build, Deploy, Opened, Ports, Survey},
    domain::{
        CommitSha, Failure, Sha256Digest,
        bundle::{self, Bundle, Canonical, Fetched, Listing, Manifest, Verified},
        format,
        record::{ArtifactRecord, BuildRun, BundleRecord, key},
    },
    engine::{Done, Ending, Io, StepResult},
    errors::{artifact as errors, general, github},
    github::{Attestation, GithubError},
};

/// Before the approval: checks for the build. A failed build ends the run here, before any change.
pub async fn look(cx: &Survey, io: &Io) -> StepResult {
    let result = look_for_build(cx, io).await;
    cx.state.borrow_mut().build_was_looked_for = true;
    result
}

async fn look_for_build(cx: &Survey, io: &Io) -> StepResult {
    tell_target(cx, io)?;
    if is_unknown(cx) {
        return Ok(Done::skipped(UNKNOWN));
    }
    let source = &*cx.source()?;
    let search = Search::new(source, cx.ports.github()?, source.build.run_id);
    let (attempts, interval) = (source.build.wait_attempts, source.build.wait_interval);
    let mut looks = 1;
    loop {
        match search.look().await? {
            Look::Found(build) => {
                tell(&source.build.workflow, &build, io);
                let text = summary(&build);
                let mut found = cx.state.borrow_mut();
                found.build = Some(*build);
                found.build_is_coming = true;
                return Ok(Done::passed(text));
            }
            Look::Absent { why: Absent::Unanswered(error), .. } => return Err(search.unanswered(&error)),
            Look::Absent { why: why @ Absent::End { .. }, .. } => {
                cx.state.borrow_mut().build_is_coming = true;
                let seconds = interval.as_secs();
                return Ok(Done::skipped(format!(
                    "not available yet ({why}); the release would wait up to {attempts} x {seconds} s"
                )));
            }
            // GitHub's lists lag behind by some seconds. After those, waiting for a build that no run makes would not help.
            Look::Absent { why, .. } if looks >= LOOKS.min(attempts) => return Err(search.given_up(Some(why))),
            Look::Absent { why, .. } => {
                io.attempt(looks, LOOKS.min(attempts), why.to_string());
                looks += 1;
                cx.ports.clock.sleep(interval.min(LAG)).await;
            }
        }
    }
}

/// How often GitHub's lists are read before a build is missing, and the time between two readings.
const LOOKS: u32 = 3;
const LAG: Duration = Duration::from_secs(5);

/// Step 9: waits until the build of exactly this commit has succeeded and its artifact is listed.
pub async fn await_build(cx: &Deploy, io: &Io) -> StepResult {
    let source = cx.source()?;
    let github = cx.ports.github()?;
    let search = match &cx.plan.build {
        Some(planned) => Search::again(source, github, planned),
        None => Search::new(source, github, source.build.run_id),
    };
    let build = wait(source, &cx.ports, search, io).await?;
    let text = summary(&build);
    cx.state.borrow_mut().build = Some(build);
    Ok(Done::passed(text))
}

/// The same before the approval, for a stage that needs the build.
pub async fn find(cx: &Survey, io: &Io) -> StepResult {
    tell_target(cx, io)?;
    if is_unknown(cx) {
        return Ok(Done::skipped(UNKNOWN));
    }
    let source = &*cx.source()?;
    let search = Search::new(source, cx.ports.github()?, source.build.run_id);
    let build = wait(source, &cx.ports, search, io).await?;
    let text = summary(&build);
    cx.state.borrow_mut().build = Some(build);
    Ok(Done::passed(text))
}

/// What is released to production is what staging confirmed; where staging did not answer, no build can be said to be it.
const UNKNOWN: &str = "skipped: it is unknown what staging confirmed";

fn is_unknown(cx: &Survey) -> bool {
    cx.staging.is_some() && !cx.state.borrow().staging_answered
}

async fn wait(source: &typed::Source, ports: &Ports, mut search: Search<'_>, io: &Io) -> Result<Build, Failure> {
    let (attempts, interval) = (source.build.wait_attempts, source.build.wait_interval);
    let mut last = None;
    for attempt in 1..=attempts {
        match search.look().await? {
            Look::Found(build) => {
                io.attempt(attempt, attempts, summary(&build));
                tell(&source.build.workflow, &build, io);
                return Ok(*build);
            }
            Look::Absent { why, run } => {
                io.attempt(attempt, attempts, why.to_string());
                // From the first sight of a run on, it is that run and no other: a newer one must not starve it (F6).
                search.keep_to(run);
                last = Some(why);
            }
        }
        if attempt < attempts {
            ports.clock.sleep(interval).await;
        }
    }
    Err(search.given_up(last))
}

/// Step 10: downloads the artifact, compares it with the digest that GitHub keeps, takes the bundle out and compares
/// that with the `.sha256` beside it (F27).
pub async fn fetch(cx: &Deploy, io: &Io) -> StepResult {
    let build = cx.state.borrow().build.clone().or_else(|| cx.plan.build.clone());
    let build = build.ok_or_else(|| Failure::bug("fetching the bundle", "the build was not resolved"))?;
    let opened = cx.state.borrow_mut().opened.take();
    let (opened, text) = match opened {
        // GitHub never changes an artifact under its id; what was compared once is in a folder that only we can read. It is what the plan
        // was made of: another one would be another plan.
        Some(opened) if opened.artifact.id != build.artifact.id || opened.artifact.digest != build.artifact.digest => {
            return Err(errors::approved_bundle_changed(opened.artifact.id, build.artifact.id));
        }
        Some(opened) => {
            let text = format!("unchanged since the plan: SHA-256 {}", opened.bundle.sha256.short());
            (opened, text)
        }
        _ => read_now(cx.source()?, &cx.inputs.server.shared, &cx.ports, &build, io).await?,
    };
    let mut made = cx.state.borrow_mut();
    made.described = Some(opened.described);
    made.bundle = Some(opened.bundle);
    made.manifest = Some(opened.manifest);
    Ok(Done::passed(text))
}

/// The same before the approval, so that the plan has its contents. Nothing if the build does not exist yet.
pub async fn read(cx: &Survey, io: &Io) -> StepResult {
    let Some(build) = cx.state.borrow().build.clone() else { return Ok(Done::skipped("the build does not exist yet")) };
    let (opened, text) = read_now(&*cx.source()?, &cx.inputs.server.shared, &cx.ports, &build, io).await?;
    cx.state.borrow_mut().opened = Some(opened);
    Ok(Done::passed(text))
}

async fn read_now(
    source: &typed::Source,
    shared: &[String],
    ports: &Ports,
    build: &Build,
    io: &Io,
) -> Result<(Opened, String), Failure> {
    let Got { bundle, manifest, described, text } = get(source, shared, ports, build, io).await?;
    let (bundle, manifest) = (Rc::new(bundle), Rc::new(manifest));
    Ok((Opened { artifact: build.artifact.clone(), bundle, manifest, described }, text))
}

/// A bundle that was fetched, compared and read.
struct Got {
    bundle: Bundle<Canonical>,
    manifest: Manifest,
    described: BundleRecord,
    text: String,
}

async fn get(source: &typed::Source, shared: &[String], ports: &Ports, build: &Build, io: &Io) -> Result<Got, Failure> {
    let commit = &source.commit;
    let files = Files::of(&ports.scratch, commit);

    let began = io.elapsed();
    let digest = download(source, ports, build, &files.zip, io).await?;
    let mut verified_at = Vec::new();
    compare(build, &digest, io)?.then(|| verified_at.push("GitHub's artifact digest".to_owned()));

    let TakenOut { fetched, beside } = take_out(ports, commit, &files, io).await?;
    let doing = || format!("checking {}", bundle::file_name(commit));
    let bundle = fetched.verify(&beside).map_err(|cause| errors::bundle_digest(doing(), cause))?;
    verified_at.push("the .sha256 beside it".to_owned());
    if source.build.provenance.attestation {
        attested(source, ports, build, &bundle.sha256).await?;
        verified_at.push("GitHub's build provenance attestation".to_owned());
    }
    let (bundle, manifest, folders) = rewrite(ports, commit, &files, bundle, io).await?;
    if let Some(problem) = bundle::written_through_a_link(&manifest, shared) {
        return Err(errors::bundle_writes_through_link(doing(), problem));
    }
    if let Some(problem) = link::unusable(&manifest, &folders, shared) {
        return Err(errors::bundle_link_unusable(doing(), problem));
    }

    let described = BundleRecord {
        file: bundle::file_name(commit),
        size: bundle.size,
        sha256: bundle.sha256.clone(),
        sent_sha256: (bundle.sha256 != *bundle.sent_sha256()).then(|| bundle.sent_sha256().clone()),
        commit: commit.clone(),
        files: manifest.files.len(),
        verified_at,
        delivered: None,
    };
    io.record(key::BUNDLE, &described);
    let took = io.elapsed().saturating_sub(began);
    let text = format!(
        "{} files in {}, in {}, SHA-256 {}",
        manifest.files.len(),
        format::bytes(bundle.size),
        format::duration(took),
        bundle.sha256.short()
    );
    Ok(Got { bundle, manifest, described, text })
}

/// Asks GitHub for the provenance of the bundle, or of the artifact that holds it. Its signature is not verified here: that the statement is about
/// this repository's build is believed because GitHub's API says so.
async fn attested(source: &typed::Source, ports: &Ports, build: &Build, bundle: &Sha256Digest) -> Result<(), Failure> {
    let doing = format!("reading the build provenance of {} at GitHub", bundle::file_name(&source.commit));
    let api = ports.github()?;
    let failed = |error: GithubError| match &error {
        GithubError::Forbidden { .. } => github::attestations_forbidden(&doing, error.to_string()),
        _ => search::github_failure(&doing, &error),
    };
    let workflow = api.workflow_path(&source.build.workflow).await.map_err(failed)?;
    let repository = format!("/{}/{}", source.github.owner, source.github.repository);
    let mut others = Vec::new();
    let mut unread = None;
    for subject in [Some(bundle), build.artifact.digest.as_ref()].into_iter().flatten() {
        for attestation in api.attestations(subject).await.map_err(failed)? {
            let attestation = match attestation {
                Attestation::Inline(attestation) => attestation,
                Attestation::Elsewhere(host) => {
                    unread = Some(host);
                    continue;
                }
            };
            let of_repository = |text: &String| text.to_ascii_lowercase().ends_with(&repository.to_ascii_lowercase());
            let wrong = if !attestation.subjects.contains(subject) {
                "it is about another file"
            } else if !attestation.repository.as_ref().is_some_and(of_repository) {
                "it names another repository"
            } else if attestation.workflow.as_deref() != Some(workflow.as_str()) {
                "it names another workflow"
            } else if !attestation.commits.contains(&source.commit) {
                "it names another commit"
            } else if let Err(wrong) = invoked_by(attestation.invocation.as_deref(), build) {
                wrong
            } else {
                return Ok(());
            };
            others.push(format!("{wrong}: {}", attestation.invocation.as_deref().unwrap_or("no run")));
        }
    }
    if let Some(host) = unread {
        let repository = format!("{}/{}", source.github.owner, source.github.repository);
        return Err(errors::attestation_unreadable(doing, bundle, &host, &repository, others));
    }
    Err(match others.is_empty() {
        true => errors::attestation_missing(doing, bundle),
        false => errors::attestation_mismatch(doing, build.run.id, &workflow, &source.commit, others),
    })
}

/// Whether an attestation names the attempt of the build run that made the artifact. A re-run of failed jobs keeps the artifacts of the
/// earlier attempts: such a one was made before the latest attempt began. Which of several earlier ones made it, the digest says by which
/// the attestation was found.
fn invoked_by(invocation: Option<&str>, build: &Build) -> Result<(), &'static str> {
    const OTHER_RUN: &str = "it names another run";
    let (run, attempt) = invocation.and_then(|text| text.rsplit_once("/attempts/")).ok_or(OTHER_RUN)?;
    if !run.ends_with(&format!("/actions/runs/{}", build.run.id)) {
        return Err(OTHER_RUN);
    }
    let latest = build.run.attempt;
    let earlier = build.artifact.created_at.zip(build.run.started_at).is_some_and(|(made, began)| made < began);
    match attempt.parse::<u64>() {
        Ok(attempt) if if earlier { attempt < latest } else { attempt == latest } => Ok(()),
        _ => Err("it names another attempt of the build run"),
    }
}

/// Takes the downloaded files away again.
pub async fn discard(cx: &Deploy, _io: &Io, _ending: &Ending) -> Result<String, Failure> {
    let removed = remove(&cx.ports.scratch, &cx.plan.commit)?;
    Ok(if removed == 0 { "the download was removed before".to_owned() } else { "the download was removed".to_owned() })
}

/// How many of the downloaded files were there to be removed.
fn remove(scratch: &Path, commit: &CommitSha) -> Result<usize, Failure> {
    let files = Files::of(scratch, commit);
    let mut removed = 0;
    for path in [&files.zip, &files.bundle, &files.rewritten] {
        match fs::remove_file(path) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(general::runner_file(format!("removing {}", path.display()), error)),
        }
    }
    Ok(removed)
}

/// Where the download lands, in the run's private folder.
struct Files {
    zip: PathBuf,
    bundle: PathBuf,
    /// The bundle as it is written anew, until that is whole.
    rewritten: PathBuf,
}

impl Files {
    fn of(scratch: &Path, commit: &CommitSha) -> Self {
        let name = bundle::file_name(commit);
        Self {
            zip: scratch.join(format!("artifact-{commit}.zip")),
            rewritten: scratch.join(format!("{name}.rewritten")),
            bundle: scratch.join(name),
        }
    }
}

/// What is looked for, and for where.
pub fn tell_target(cx: &Survey, io: &Io) -> Result<(), Failure> {
    io.record(key::SHA, &cx.source()?.commit);
    io.record(key::ENVIRONMENT, cx.inputs.environment.as_str());
    io.record(key::URL, cx.inputs.site.url.as_str());
    Ok(())
}

fn tell(workflow: &str, build: &Build, io: &Io) {
    let Build { run, artifact } = build;
    io.record(
        key::BUILD_RUN,
        BuildRun {
            id: run.id,
            attempt: run.attempt,
            workflow: workflow.to_owned(),
            url: run.html_url.clone(),
            event: run.event.clone(),
            branch: run.head_branch.clone(),
            subject: run.subject.clone(),
        },
    );
    io.record(
        key::ARTIFACT,
        ArtifactRecord {
            id: artifact.id,
            name: artifact.name.clone(),
            size: artifact.size,
            digest: artifact.digest.clone(),
            expires_at: artifact.expires_at.clone(),
        },
    );
    // F3: what was resolved, whole, where a person can compare it.
    io.line(format!(
        "workflow {workflow}, run {} (attempt {}), commit {}, artifact {}: {}",
        run.id, run.attempt, run.head_sha, artifact.id, run.html_url
    ));
}

fn summary(build: &Build) -> String {
    format!(
        "build run {} succeeded, artifact {} has {}",
        build.run.id,
        build.artifact.id,
        format::bytes(build.artifact.size)
    )
}

async fn download(
    source: &typed::Source,
    ports: &Ports,
    build: &Build,
    to: &Path,
    io: &Io,
) -> Result<Sha256Digest, Failure> {
    let artifact = &build.artifact;
    let doing = format!("downloading artifact {} of build run {}", artifact.id, build.run.id);
    let file = create(to).map_err(|error| general::runner_file(&doing, format!("{}: {error}", to.display())))?;
    let mut meter = Meter::new(io, "download");
    let result = ports.github()?.download(artifact, file, &mut |done, total| meter.at(done, total)).await;
    let (digest, size) = result.map_err(|error| not_downloaded(&doing, error, source))?;
    meter.end(size);
    Ok(digest)
}

fn not_downloaded(doing: &str, error: GithubError, source: &typed::Source) -> Failure {
    let cause = error.to_string();
    match error {
        GithubError::Expired | GithubError::NotFound(_) => {
            errors::artifact_gone(doing, cause, &source.build.workflow, &source.commit)
        }
        GithubError::BadDownload(_) => errors::download_rejected(doing, cause),
        other => search::github_failure(doing, &other),
    }
}

/// Whether GitHub had a digest to compare with.
fn compare(build: &Build, got: &Sha256Digest, io: &Io) -> Result<bool, Failure> {
    let Some(kept) = &build.artifact.digest else {
        io.warning(errors::digest_missing());
        return Ok(false);
    };
    if kept == got {
        return Ok(true);
    }
    Err(errors::artifact_digest(build.artifact.id, build.run.id, got, kept))
}

/// A bundle that is on the disk, and the digest that its `.sha256` says.
struct TakenOut {
    fetched: Bundle<Fetched>,
    beside: Sha256Digest,
}

async fn take_out(ports: &Ports, commit: &CommitSha, files: &Files, io: &Io) -> Result<TakenOut, Failure> {
    let (zip, to, name) = (files.zip.clone(), files.bundle.clone(), bundle::file_name(commit));
    let work = move |pace: &Pace| {
        let taken = unpack::bundle(&zip, &name, || create(&to), pace);
        // The disk of a small runner need not hold it twice.
        let _ = fs::remove_file(&zip);
        taken
    };
    let taken = Background::default().run(io, &*ports.clock, "taking the bundle out", None, work).await?;
    if !taken.others.is_empty() {
        io.line(format!("also in the artifact, not used: {}", taken.others.join(", ")));
    }
    Ok(TakenOut { fetched: Bundle::fetched(files.bundle.clone(), taken.size, taken.sha256), beside: taken.beside })
}

/// Reads the whole bundle, compares it with its own manifest, which must be of this commit (F3, F9), and puts in its place what we write
/// of it: no byte of others is sent to the server.
async fn rewrite(
    ports: &Ports,
    commit: &CommitSha,
    files: &Files,
    bundle: Bundle<Verified>,
    io: &Io,
) -> Result<(Bundle<Canonical>, Manifest, BTreeSet<String>), Failure> {
    let (from, to, of) = (files.bundle.clone(), files.rewritten.clone(), commit.clone());
    let name = bundle::file_name(commit);
    let doing = format!("checking {name}");
    let what = doing.clone();
    let work = move |pace: &Pace| {
        let local = |error: io::Error| general::runner_file(&what, format!("{}: {error}", to.display()));
        let file = create(&to).map_err(local)?;
        let rewritten = read::rewrite_within(&from, file, &of, &Limits::default(), pace)?;
        fs::rename(&to, &from).map_err(local)?;
        Ok(rewritten)
    };
    let total = Some(bundle.size);
    let Rewritten { manifest, inspection, by, sent } =
        Background::default().run(io, &*ports.clock, "checking the bundle", total, work).await?;
    if manifest.commit != *commit {
        return Err(errors::bundle_of_another_commit(doing, &manifest.commit, commit));
    }
    if inspection.sha256 != bundle.sha256 {
        return Err(errors::bundle_changed_on_runner(doing, &bundle.sha256, &inspection.sha256));
    }
    if sent.sha256 != bundle.sha256 {
        io.line(format!(
            "the bundle was rewritten in canonical form: SHA-256 {} as downloaded, {} as uploaded",
            bundle.sha256, sent.sha256
        ));
    }
    match &by {
        Maker::BuildGate => {}
        Maker::Tar => io.line(format!("{name} was packed by tar; `build-gate` made its manifest")),
        Maker::TarOfATree(unchecked) => {
            io.warning(errors::bundle_without_manifest(&name));
            for (path, because) in &unchecked.left_out {
                io.line(format!("left out: {path} ({because})"));
            }
            unchecked.key_note.iter().for_each(|note| io.line(note));
        }
    }
    let tree = Listing::of(&manifest, &inspection.tree);
    Ok((bundle.written_anew(sent.size, sent.sha256, tree), manifest, inspection.tree.folders))
}

/// An empty file that only we can read.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Tells how far a transfer has come, once a second.
struct Meter<'a> {
    io: &'a Io,
    what: &'static str,
    began: Duration,
    reported: Duration,
    total: Option<u64>,
}

impl<'a> Meter<'a> {
    fn new(io: &'a Io, what: &'static str) -> Self {
        let began = io.elapsed();
        Self { io, what, began, reported: began, total: None }
    }

    fn at(&mut self, done: u64, total: Option<u64>) {
        self.total = total;
        if self.io.elapsed().saturating_sub(self.reported) >= Duration::from_secs(1) {
            self.tell(done);
        }
    }

    fn end(&mut self, done: u64) {
        self.tell(done);
    }

    fn tell(&mut self, done: u64) {
        self.reported = self.io.elapsed();
        let millis = self.reported.saturating_sub(self.began).as_millis().max(1);
        let rate = u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX);
        self.io.progress(self.what, done, self.total, rate);
    }
}
