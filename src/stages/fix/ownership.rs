//! `docs-ownership`: changes the owner of other accounts' files in the live release to the deploy user, such as documentation that root has generated there. Each
//! path by its exact name and only if sudo allows exactly that; else the command for an administrator is printed.

use serde_json::json;

use super::{Fix, FixPlan, Proposal, listed};
use crate::{
    context::Survey,
    domain::{Failure, RemoteCommand, command, fix::Setting},
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        inspect::sudo::{Leave, Rules},
        remote,
    },
    transport::shell::Script,
};

/// Paths that are named one by one. More are a matter for an administrator's `find`.
const MOST: usize = 500;

/// Paths that a report shows.
const SHOWN: usize = 20;

/// What was found in the live release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    user: String,
    /// The folder that `current` leads to.
    live: String,
    foreign: Vec<Foreign>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Foreign {
    owner: String,
    path: String,
}

/// What find said.
struct Ownership {
    user: String,
    live: Option<String>,
    count: usize,
    foreign: Vec<Foreign>,
    /// Files that have other names, too: chown would change whose those are.
    many_names: Vec<String>,
    /// Whether some folder could not be read.
    hidden: bool,
}

async fn ask(survey: &Survey, io: &Io, doing: &str) -> Result<Ownership, Failure> {
    let script = Script::new("owners", include_str!("owners.sh"))
        .var("CURRENT", survey.inputs.layout.current().as_str())
        .var("LIMIT", MOST.to_string());
    let answer = remote::run(&*survey.ports.shell, io, script, doing).await?;
    let (mut foreign, mut many_names) = (Vec::new(), Vec::new());
    for record in answer.all("foreign") {
        let mut parts = record.splitn(4, ' ');
        let (Some(owner), Some(kind), Some(names), Some(path)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::bug(doing, format!("find said `{record}`")));
        };
        if kind != "d" && names != "1" {
            many_names.push(path.to_owned());
        }
        foreign.push(Foreign { owner: owner.to_owned(), path: path.to_owned() });
    }
    Ok(Ownership {
        user: remote::required(&answer, "user", doing)?.to_owned(),
        live: answer.get("live").map(str::to_owned),
        count: if answer.get("live").is_some() { remote::number(&answer, "count", doing)? } else { 0 },
        foreign,
        many_names,
        hidden: answer.get("hidden").is_some(),
    })
}

/// For an administrator. It follows no link, leaves out files with several names, and changes a link itself. `-execdir` changes by the
/// name in the open folder: a folder above that is exchanged meanwhile leads nowhere else.
pub fn by_root(live: &str, user: &str) -> String {
    let live = command::quote(live);
    format!(r"find {live} -xdev ! -user {user} \( -type d -o -links 1 \) -execdir chown -h {user} {{}} +")
}

pub async fn look(cx: &Fix<Current>, io: &Io) -> StepResult {
    let survey = cx.server()?;
    let current = survey.inputs.layout.current();
    let doing = format!("reading the owners of the files below {current}");
    let found = ask(survey, io, &doing).await?;
    let subject = format!("{current} on {}", survey.inputs.ssh.host);
    let Some(live) = found.live else {
        return Err(errors::fix::nothing_live(&doing));
    };
    let command = by_root(&live, &found.user);
    if found.count > MOST {
        return Err(errors::fix::too_many_foreign(&doing, found.count, &command));
    }
    if let Some(path) = found.many_names.first() {
        return Err(errors::fix::many_names(&doing, path, &command::quote(path)));
    }
    if let Some(odd) = found.foreign.iter().find(|one| one.path.chars().any(char::is_control)) {
        return Err(errors::fix::odd_name(&doing, &odd.path, &command));
    }
    if found.hidden && !found.foreign.is_empty() {
        io.warning(errors::fix::folder_unread());
    }
    let known = Current { user: found.user, live, foreign: found.foreign };
    if !known.foreign.is_empty() {
        allowed(survey, io, &known, &command).await?;
    }
    let chown = |one: &Foreign| RemoteCommand::new(["sudo", "-n", "chown", "-h", &known.user, &one.path]).to_string();
    let proposal = Proposal {
        subject,
        before: settings(&known.foreign, &known.live, None),
        wanted: settings(&known.foreign, &known.live, Some(&known.user)),
        sends: known.foreign.iter().map(chown).collect(),
        needs: "a sudo rule for chown without a password, for exactly these paths".to_owned(),
        nothing: known.foreign.is_empty().then(|| format!("every file of the live release belongs to {}", known.user)),
        bound: json!({ "live": known.live, "foreign": known.foreign.iter().map(|one| (&one.owner, &one.path)).collect::<Vec<_>>() }),
    };
    cx.propose(io, proposal, known)
}

/// # Errors
/// sudo does not allow all of it: the command for an administrator is the hint.
async fn allowed(survey: &Survey, io: &Io, known: &Current, command: &str) -> Result<(), Failure> {
    let doing = "checking whether sudo allows the change of owner";
    let script = Script::new("chown-ask", include_str!("chown-ask.sh"))
        .list("PATHS", known.foreign.iter().map(|one| &one.path))
        .var("OWNER", &known.user);
    let answer = remote::run(&*survey.ports.shell, io, script, doing).await?;
    let rules = Rules::parse(answer.get("rules").unwrap_or_default());
    let program = remote::required(&answer, "program", doing)?;
    let yes: Vec<&str> = answer.all("allowed").collect();
    let denied: Vec<&str> = known
        .foreign
        .iter()
        .map(|one| one.path.as_str())
        .filter(|path| {
            let leave = rules.of(program, &format!("-h {} {path}", known.user));
            !yes.contains(path) || leave == Leave::Password
        })
        .collect();
    if denied.is_empty() {
        return Ok(());
    }
    let shown = denied.iter().take(3);
    Err(errors::fix::chown_denied(
        doing,
        &known.user,
        (denied.len(), known.foreign.len()),
        &listed(shown),
        denied.iter().map(|path| RemoteCommand::new(["chown", "-h", &known.user, path]).to_string()),
        command,
    ))
}

fn settings(foreign: &[Foreign], live: &str, owner: Option<&str>) -> Vec<Setting> {
    let inside = |path: &str| match path.strip_prefix(live).map(|rest| rest.trim_start_matches('/')) {
        Some("") | None => path.to_owned(),
        Some(rest) => rest.to_owned(),
    };
    let mut settings: Vec<Setting> = foreign
        .iter()
        .take(SHOWN)
        .map(|one| Setting::new(format!("owner of {}", inside(&one.path)), owner.unwrap_or(&one.owner)))
        .collect();
    if foreign.len() > SHOWN {
        let rest = foreign.len() - SHOWN;
        settings.push(Setting::new(format!("and of {rest} more"), owner.unwrap_or("another account")));
    }
    settings
}

pub async fn give(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let (known, survey) = (&cx.known, cx.server()?);
    let script = Script::new("chown", include_str!("chown.sh"))
        .var("CURRENT", survey.inputs.layout.current().as_str())
        .var("LIVE", &known.live)
        .var("OWNER", &known.user)
        .var("BY_ROOT", by_root(&known.live, &known.user))
        .list("PATHS", known.foreign.iter().map(|one| &one.path));
    let answer = remote::run(&*survey.ports.shell, io, script, "changing the owner").await?;
    Ok(Done::passed(format!("{} now belong to {}", answer.all("given").count(), known.user)))
}

pub async fn verify(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let (known, survey) = (&cx.known, cx.server()?);
    let doing = "reading the owners again";
    let after = ask(survey, io, doing).await?;
    let live = after.live.unwrap_or_default();
    let still: Vec<Foreign> =
        known.foreign.iter().filter(|one| after.foreign.iter().any(|now| now.path == one.path)).cloned().collect();
    let mut seen = settings(&known.foreign, &known.live, Some(&known.user));
    if after.count > 0 {
        let some = settings(&after.foreign, &live, None);
        seen.retain(|setting| !some.iter().any(|now| now.what == setting.what));
        seen.extend(some);
    }
    cx.seen(io, seen);
    if !still.is_empty() {
        let paths = listed(still.iter().map(|one| &one.path));
        return Err(errors::fix::still_foreign(doing, &paths, &by_root(&known.live, &known.user)));
    }
    match after.count {
        0 => Ok(Done::passed(format!("every file of the live release belongs to {}", known.user))),
        more => Err(errors::fix::more_foreign(doing, more)),
    }
}
