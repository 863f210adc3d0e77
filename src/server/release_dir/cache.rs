//! Laravel's caches, built inside the release they belong to.

use std::time::Duration;

use crate::{
    context::Deploy,
    domain::Failure,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors::release_dir,
    server::{lock, remote},
    transport::shell::Script,
};

/// Before the switch: everything. The configuration comes first: it says where the compiled views of this release lie.
pub async fn build(cx: &Deploy, io: &Io) -> StepResult {
    run(cx, io, "config storage-link view route event").await
}

/// Before the switch of a rollback. Booting the release has emptied `bootstrap/cache`, so nothing in it is older than this run.
pub async fn build_again(cx: &Deploy, io: &Io) -> StepResult {
    run(cx, io, "config view route event").await
}

/// After the switch: what depends on where the release is seen. Not the views: live pages use them.
pub async fn rebuild(cx: &Deploy, io: &Io) -> StepResult {
    run(cx, io, "config route event").await
}

async fn run(cx: &Deploy, io: &Io, caches: &str) -> Result<Done, Failure> {
    let script = Script::new("cache", include_str!("cache.sh"))
        .repeatable()
        .var("DIR", cx.inputs.layout.release(&cx.plan.turn.to).as_str())
        .var("PHP", &cx.inputs.server.php)
        .var("CACHES", caches)
        .var("APP_PHP", remote::APP)
        .var("CACHES_PHP", include_str!("caches.php"))
        .hiding(cx.inputs.layout.env_file())
        .timeout(Duration::from_secs(600));
    let answer = remote::run(&*cx.ports.shell, io, lock::under(cx, script), "building the caches").await?;
    let failed: Vec<&str> = answer.all("failed").collect();
    let built = answer.all("built").collect::<Vec<_>>().join(", ");
    if failed.is_empty() {
        return Ok(Done::passed(built));
    }
    io.warning(release_dir::caches_not_built(&failed));
    Ok(Done::warned(format!("built: {built}; failed: {}", failed.join(", "))))
}
