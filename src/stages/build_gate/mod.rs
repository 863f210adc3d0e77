//! Judging a built tree and packing it into a bundle, on the runner.

pub mod table;

pub use self::table::table;

use std::{cell::RefCell, path::Path, rc::Rc, sync::Arc};

use crate::bundle::check::Findings;

use crate::{
    bundle::{
        gates,
        pace::{self, Background},
        pack::{self, Files, Packed},
        read::{self, Limits},
        tree::Tree,
    },
    clock::Clock,
    config::typed,
    domain::{
        Failure,
        bundle::{self, Manifest},
        format,
        record::{BundleRecord, key},
        trigger,
    },
    engine::{Decided, Decision, Done, Io, StepResult, Undone},
    errors::build as errors,
};

/// Before the approval: the source folder is read.
pub struct Survey {
    inputs: typed::BuildGate,
    clock: Rc<dyn Clock>,
    background: Background,
    state: RefCell<Option<Arc<Tree>>>,
}

impl Survey {
    pub fn new(inputs: typed::BuildGate, clock: Rc<dyn Clock>) -> Self {
        Self { inputs, clock, background: Background::default(), state: RefCell::new(None) }
    }
}

/// After the approval: the checked source folder is packed.
pub struct Build {
    inputs: typed::BuildGate,
    clock: Rc<dyn Clock>,
    background: Background,
    tree: Arc<Tree>,
    manifest: Arc<Manifest>,
    files: Arc<Files>,
    packed: RefCell<Option<Packed>>,
}

/// Fixes what is packed, and under which names.
pub fn decide(survey: Survey) -> Result<Decided<Build>, Failure> {
    let Survey { inputs, clock, background, state: found } = survey;
    let tree =
        found.into_inner().ok_or_else(|| Failure::bug("resolving what to bundle", "no source folder was read"))?;
    let cx = Build {
        manifest: Arc::new(pack::manifest(&tree, &inputs.commit)),
        files: Arc::new(Files::in_folder(&inputs.output, &inputs.commit)),
        packed: RefCell::new(None),
        inputs,
        clock,
        background,
        tree,
    };
    Ok(Decided { cx, decision: Decision::Go })
}

/// Step 1: what started this run. The configuration has refused every event that is not supported (F2).
pub async fn resolve_event(cx: &Survey, io: &Io) -> StepResult {
    io.record(key::SHA, &cx.inputs.commit);
    let commit = &cx.inputs.commit;
    match cx.inputs.event.as_deref() {
        None => Ok(Done::passed(format!("{commit}, outside of Actions"))),
        Some(event) if trigger::builds_own_code(event) => Ok(Done::passed(format!("{commit}, from {event}"))),
        Some(event) => {
            io.warning(errors::not_for_release(event));
            Ok(Done::warned(format!("{commit}, from {event}: checked only, not for release")))
        }
    }
}

/// Step 4: the nine gates and the further checks; everything that is wrong is named at once.
pub async fn gates(cx: &Survey, io: &Io) -> StepResult {
    let (source, output, shared) = (cx.inputs.source.clone(), cx.inputs.output.clone(), cx.inputs.shared.clone());
    let front_end = cx.inputs.front_end;
    let judged = move |pace: &pace::Pace| {
        let mut findings = Findings::of(front_end);
        let tree = Tree::look(&source, &output, &shared, &mut findings, pace)?;
        let warnings = gates::judge(&tree, &mut findings);
        Ok((tree, findings, warnings))
    };
    let (tree, findings, warnings) = cx.background.run(io, &*cx.clock, "reading the tree", None, judged).await?;
    for (path, because) in &tree.left_out {
        io.line(format!("left out: {path} ({because})"));
    }
    tree.key_note().iter().for_each(|note| io.line(note));
    let warned = !warnings.is_empty();
    for warning in warnings {
        io.warning(warning);
    }
    let report = findings.report();
    io.record(key::GATES, &report);
    if let Some(refusal) = findings.refusal(format!("checking the tree {}", cx.inputs.source.display())) {
        return Err(refusal);
    }
    let text = format!(
        "{}{}: {} files, {}; {} left out",
        report.score(),
        cx.inputs.front_end.note(),
        tree.files().count(),
        format::bytes(tree.size()),
        tree.left_out.len()
    );
    *cx.state.borrow_mut() = Some(Arc::new(tree));
    Ok(if warned { Done::warned(text) } else { Done::passed(text) })
}

/// Step 5: writes the bundle, its `.sha256` and its manifest.
pub async fn pack(cx: &Build, io: &Io) -> StepResult {
    let (tree, manifest, files) = (cx.tree.clone(), cx.manifest.clone(), cx.files.clone());
    let total = Some(tree.size());
    let work = move |pace: &pace::Pace| pack::write(&tree, &manifest, &files, pace);
    let packed = cx.background.run(io, &*cx.clock, "packing", total, work).await?;
    let text = format!(
        "{}: {} files, {}",
        bundle::file_name(&cx.inputs.commit),
        cx.manifest.files.len(),
        format::bytes(packed.size)
    );
    *cx.packed.borrow_mut() = Some(packed);
    Ok(Done::passed(text))
}

/// Removes what [`pack`] wrote, finished or not: a bundle that was not verified must not be uploaded.
pub async fn discard(cx: &Build, _io: &Io) -> Result<Undone, Failure> {
    // A cancelled pack may be about to rename its file.
    cx.background.settled().await;
    let removed = cx.files.remove()?;
    let names: Vec<String> = removed.iter().map(|path| path.display().to_string()).collect();
    if names.is_empty() {
        Ok(Undone::Nothing("no file was written yet".to_owned()))
    } else {
        Ok(Undone::Done(format!("removed {}", names.join(", "))))
    }
}

/// Opens the finished bundle again and compares it with the list, entry by entry (F18).
pub async fn verify(cx: &Build, io: &Io) -> StepResult {
    let doing = format!("verifying {}", cx.files.bundle.display());
    let packed = cx.packed.borrow().clone().ok_or_else(|| Failure::bug(&doing, "nothing was packed"))?;
    let files = cx.files.clone();
    let work = move |pace: &pace::Pace| {
        let seen = read::inspect_within(&files.bundle, &Limits::default(), pace)?;
        Ok((seen, files.read_sha256()?))
    };
    let ((manifest, inspection), beside) =
        cx.background.run(io, &*cx.clock, "verifying", Some(packed.size), work).await?;
    if manifest != *cx.manifest {
        return Err(errors::manifest_changed(doing));
    }
    if inspection.sha256 != packed.sha256 || beside != cx.files.sha256_line(&packed.sha256) {
        return Err(errors::bundle_changed(doing, &inspection.sha256, &packed.sha256));
    }
    io.record(key::ARTIFACT_NAME, &cx.inputs.artifact_name);
    io.record(
        key::BUNDLE,
        BundleRecord {
            file: shown(&cx.files.bundle, &cx.inputs.workspace),
            size: inspection.size,
            sha256: inspection.sha256.clone(),
            sent_sha256: None,
            commit: cx.inputs.commit.clone(),
            files: inspection.files,
            verified_at: vec!["built here".to_owned()],
            delivered: None,
        },
    );
    Ok(Done::passed(format!("{} files match the manifest, SHA-256 {}", inspection.files, inspection.sha256)))
}

/// Relative to the workspace, where a later step of the job looks for it; the file's name if it is elsewhere.
fn shown(bundle: &Path, workspace: &Path) -> String {
    let path = bundle.strip_prefix(workspace).ok().or_else(|| bundle.file_name().map(Path::new)).unwrap_or(bundle);
    path.display().to_string()
}
