//! The tree digest of a release: computed before the activation, compared before a rollback or the next release (F80, F88).

use std::time::Duration;

use crate::{
    context::{Deploy, Survey},
    domain::{Failure, RemotePath, Sha256Digest, layout::named, ledger::ReleaseStatus, record},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors::release_dir,
    server::{inspect::NOT_SURVEYED, ledger, lock, remote},
    transport::shell::{Answer, Script, Shell},
};

/// A tree of many thousand files on a slow disk takes its time.
const TIMEOUT: Duration = Duration::from_secs(600);

/// What a tree on the server is.
pub struct Tree {
    pub sha256: Sha256Digest,
    answer: Answer,
}

impl Tree {
    /// The bundle's manifest that lies in it, as text.
    pub fn manifest(&self) -> Option<&str> {
        self.answer.get("manifest")
    }
}

/// Reads a tree on the server.
///
/// # Errors
/// Not everything in it could be read: a digest of the rest would be one of something else.
pub async fn read(shell: &dyn Shell, io: &Io, dir: &RemotePath) -> Result<Tree, Failure> {
    read_by(shell, io, dir, script(dir)).await
}

fn script(dir: &RemotePath) -> Script {
    Script::new("digest", include_str!("digest.sh")).repeatable().var("DIR", dir.as_str()).timeout(TIMEOUT)
}

async fn read_by(shell: &dyn Shell, io: &Io, dir: &RemotePath, script: Script) -> Result<Tree, Failure> {
    let doing = format!("computing the tree digest of {dir}");
    let answer = remote::run(shell, io, script, &doing).await?;
    if answer.get("unread").is_some() {
        return Err(release_dir::unreadable(doing));
    }
    let text = remote::required(&answer, "sha256", &doing)?;
    let sha256 = text.parse().map_err(|error: String| release_dir::TREE_DIGEST_INVALID.failure(&doing, error))?;
    Ok(Tree { sha256, answer })
}

/// Computes the tree digest of the new release, the last step before its activation. The ledger's line has it.
pub async fn record(cx: &Deploy, io: &Io) -> StepResult {
    let dir = cx.inputs.layout.release(&cx.plan.turn.to);
    let tree = read_by(&*cx.ports.shell, io, &dir, lock::under(cx, script(&dir))).await?;
    io.record(record::key::TREE, &tree.sha256);
    let text = format!("SHA-256 {}", tree.sha256.short());
    cx.state.borrow_mut().tree = Some(tree.sha256);
    Ok(Done::passed(text))
}

/// Computes it again after commands of the policy, which may write to the release: what is confirmed then is what they left.
pub async fn record_again(cx: &Deploy, io: &Io) -> Result<(), Failure> {
    let earlier = cx.state.borrow().tree.clone();
    record(cx, io).await?;
    let now = cx.state.borrow().tree.clone();
    if let Some(now) = now.filter(|now| Some(now) != earlier.as_ref()) {
        io.line(format!("the hooks changed files of the release; its tree digest is now {}", now.short()));
    }
    Ok(())
}

/// Whether the live release is unchanged since it was confirmed. A warning, never a refusal: a release or a rollback repairs it (F88).
pub async fn live(cx: &Survey, io: &Io) -> StepResult {
    let current = cx.state.borrow().server.as_ref().map(|server| server.current.clone());
    let Some(current) = current else { return Ok(Done::skipped(NOT_SURVEYED)) };
    let Some(current) = current else { return Ok(Done::skipped("nothing is live yet")) };
    let history = ledger::look(cx, io).await?;
    let standings = history.standings(&cx.inputs.environment);
    if standings.confirmed().is_empty() {
        return Ok(Done::skipped("the ledger has no confirmed release yet"));
    }
    let live = named(&current);
    let confirmation = live
        .as_ref()
        .and_then(|live| standings.get(live))
        .filter(|known| known.standing == ReleaseStatus::Confirmed)
        .and_then(|known| known.confirmed.as_ref());
    let (Some(live), Some(confirmation)) = (live, confirmation) else {
        let warning = release_dir::live_unconfirmed(&current);
        let text = warning.text.clone();
        io.warning(warning);
        return Ok(Done::warned(text));
    };
    let Some(expected) = &confirmation.tree else {
        return Ok(Done::skipped("an older version confirmed it without a tree digest"));
    };
    let found = read(&*cx.ports.shell, io, &cx.inputs.layout.release(&live)).await?.sha256;
    if found == *expected {
        return Ok(Done::passed(format!("unchanged since it was confirmed, SHA-256 {}", found.short())));
    }
    let warning = release_dir::live_changed(&live, expected, &found);
    let text = warning.text.clone();
    io.warning(warning);
    Ok(Done::warned(text))
}
