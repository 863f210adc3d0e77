//! `phantom-workflow`: disables workflows that GitHub lists as active though no branch that counts has their file. A second "Deploy to production"
//! of that sort can still be started by hand, with the code of the day on which it was written.

use serde_json::json;

use super::{Fix, FixPlan, Proposal, listed, refusal};
use crate::{
    domain::{Failure, fix::Setting},
    engine::{
        Done,
        step::{Io, Local, StepResult, UndoAct, Undone},
    },
    errors,
    github::ListedWorkflow,
};

/// A workflow without a file.
pub type Phantom = ListedWorkflow;

const ACTIVE: &str = "active";
const DISABLED: &str = "disabled_manually";
const PERMISSION: &str = "actions=write";

fn named(one: &Phantom) -> String {
    format!("workflow `{}` ({})", one.name, one.path)
}

pub async fn look(cx: &Fix<Vec<Phantom>>, io: &Io) -> StepResult {
    let inputs = &cx.world.inputs;
    let github = cx.github()?;
    let doing = "finding workflows without a file";
    let all = github.listed_workflows().await.map_err(|error| refusal(doing, &error, "actions=read"))?;
    let mut files = std::collections::BTreeSet::new();
    for branch in [&inputs.main, &inputs.develop] {
        let doing = format!("listing the workflow files of `{branch}`");
        files.extend(github.workflow_files(branch).await.map_err(|error| refusal(&doing, &error, "contents=read"))?);
    }
    if files.is_empty() {
        return Err(errors::fix::no_workflows(doing, &inputs.main, &inputs.develop));
    }
    // What GitHub runs by itself (`dynamic/...`) has no file.
    let phantoms: Vec<Phantom> = all
        .into_iter()
        .filter(|one| one.state == ACTIVE && one.path.starts_with(".github/") && !files.contains(&one.path))
        .collect();
    let proposal = Proposal {
        subject: format!("workflows of {}", github.repository()),
        before: phantoms.iter().map(|one| Setting::new(named(one), ACTIVE)).collect(),
        wanted: phantoms.iter().map(|one| Setting::new(named(one), DISABLED)).collect(),
        sends: phantoms
            .iter()
            .map(|one| format!("PUT /repos/{}/actions/workflows/{}/disable", github.repository(), one.id))
            .collect(),
        needs: PERMISSION.to_owned(),
        nothing: phantoms
            .is_empty()
            .then(|| format!("each active workflow has its file on `{}` or `{}`", inputs.main, inputs.develop)),
        bound: json!(phantoms.iter().map(|one| (one.id, &one.path)).collect::<Vec<_>>()),
    };
    cx.propose(io, proposal, phantoms)
}

pub async fn disable(cx: &FixPlan<Vec<Phantom>>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    for one in &cx.known {
        let doing = format!("disabling the workflow `{}` ({})", one.name, one.path);
        cx.github()?.set_workflow(one.id, false).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
        io.line(format!("disabled `{}` ({})", one.name, one.path));
    }
    Ok(Done::passed(listed(cx.known.iter().map(|one| &one.path))))
}

/// Our workflows as they are now.
async fn now(cx: &FixPlan<Vec<Phantom>>, doing: &str) -> Result<Vec<Phantom>, Failure> {
    let mut all = cx.github()?.listed_workflows().await.map_err(|error| refusal(doing, &error, "actions=read"))?;
    all.retain(|one| cx.known.iter().any(|ours| ours.id == one.id));
    Ok(all)
}

pub async fn verify(cx: &FixPlan<Vec<Phantom>>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let doing = "listing the workflows again";
    let after = now(cx, doing).await?;
    cx.seen(io, after.iter().map(|one| Setting::new(named(one), &one.state)).collect());
    let active: Vec<&str> = after.iter().filter(|one| one.state == ACTIVE).map(|one| one.path.as_str()).collect();
    match active.as_slice() {
        [] => Ok(Done::passed("all of them are disabled")),
        _ => Err(errors::fix::still_active(doing, &active)),
    }
}

/// Enables again what is disabled now.
pub struct Again;

impl UndoAct<FixPlan<Vec<Phantom>>> for Again {
    fn undo<'a>(&'a self, cx: &'a FixPlan<Vec<Phantom>>, io: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        Box::pin(enable(cx, io))
    }

    fn by_hand(&self, cx: &FixPlan<Vec<Phantom>>) -> Vec<String> {
        by_hand(cx)
    }
}

async fn enable(cx: &FixPlan<Vec<Phantom>>, io: &Io) -> Result<Undone, Failure> {
    let doing = "enabling the workflows again";
    let all = now(cx, doing).await?;
    cx.seen(io, all.iter().map(|one| Setting::new(named(one), &one.state)).collect());
    let disabled: Vec<Phantom> = all.into_iter().filter(|one| one.state != ACTIVE).collect();
    if disabled.is_empty() {
        return Ok(Undone::Nothing("all of them are enabled".to_owned()));
    }
    for one in &disabled {
        cx.github()?.set_workflow(one.id, true).await.map_err(|error| refusal(doing, &error, PERMISSION))?;
        io.line(format!("enabled `{}` ({})", one.name, one.path));
    }
    let all = now(cx, doing).await?;
    cx.seen(io, all.iter().map(|one| Setting::new(named(one), &one.state)).collect());
    Ok(Undone::Done(listed(disabled.iter().map(|one| &one.path))))
}

fn by_hand(cx: &FixPlan<Vec<Phantom>>) -> Vec<String> {
    cx.known.iter().map(|one| format!("gh workflow enable {}", one.id)).collect()
}
