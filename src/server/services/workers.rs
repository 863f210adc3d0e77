//! Queue workers: they keep the code that they were started with, whatever `current` points to.

use crate::{
    context::Deploy,
    domain::Failure,
    engine::{
        Done,
        step::{Io, StepResult},
    },
    server::remote,
    transport::shell::Script,
};

/// Tells them to end after their current job; their supervisor starts them again, with the live release.
pub async fn restart(cx: &Deploy, io: &Io) -> StepResult {
    Ok(match tell(cx, io).await? {
        Restart::Command(command) => {
            Done::passed(format!("php artisan {command}: each worker restarts after its current job"))
        }
        Restart::None(why) => Done::skipped(why),
    })
}

/// The same for the rollback. A failure is a warning: the site itself is healthy.
pub async fn restart_again(cx: &Deploy, io: &Io) {
    if let Err(failure) = tell(cx, io).await {
        io.warning(failure);
    }
}

enum Restart {
    Command(String),
    None(String),
}

async fn tell(cx: &Deploy, io: &Io) -> Result<Restart, Failure> {
    let doing = "restarting the queue workers";
    let answer = remote::run(&*cx.ports.shell, io, script(cx), doing).await?;
    Ok(match answer.get("none") {
        Some(why) => Restart::None(why.to_owned()),
        None => Restart::Command(remote::required(&answer, "told", doing)?.to_owned()),
    })
}

/// The script that restarts the workers. The watchdog has it, too.
pub fn script(cx: &Deploy) -> Script {
    Script::new("workers", include_str!("workers.sh"))
        .repeatable()
        .var("DIR", cx.inputs.layout.current().as_str())
        .var("PHP", &cx.inputs.server.php)
        .var("APP_PHP", remote::APP)
        .var("WORKERS_PHP", include_str!("workers.php"))
        .hiding(cx.inputs.layout.env_file())
}
