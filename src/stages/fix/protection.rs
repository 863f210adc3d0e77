//! `branch-protection-main` and `branch-protection-develop`: classic protection with what an audit wants of the branch, and with everything that was
//! there before. Rulesets count for what is there, and stay as they are.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Fix, FixPlan, Proposal, listed, refusal};
use crate::{
    domain::{
        Failure,
        fix::{FixName, Setting},
    },
    engine::{
        Done,
        step::{Io, Local, StepResult, UndoAct, Undone},
    },
    errors,
    github::{App, BranchSettings, Checks, GithubError, RepositoryWrite, Reviews, Rule},
    stages::shared::workflow,
};

/// Checks that the branch of staging needs at least.
const DEVELOP_CHECKS: usize = 4;

/// What the token must have.
const PERMISSION: &str = "administration=write";

/// What was found, and what shall be.
#[derive(Debug, Clone)]
pub struct Current {
    branch: String,
    before: Option<BranchSettings>,
    /// What rulesets ask of the branch.
    rulesets: Asked,
    wanted: BranchSettings,
}

#[derive(Debug, Clone, Default)]
struct Asked {
    checks: BTreeSet<String>,
    strict: bool,
    reviews: u64,
}

/// What an audit wants of a branch.
struct Target {
    checks: BTreeSet<String>,
    strict: bool,
    reviews: u64,
}

pub async fn look(cx: &Fix<Current>, io: &Io) -> StepResult {
    let inputs = &cx.world.inputs;
    let main = inputs.name == FixName::BranchProtectionMain;
    let branch = if main { &inputs.main } else { &inputs.develop };
    let github = cx.github()?;
    let doing = format!("reading the protection of `{branch}` at GitHub");
    github.branch(branch).await.map_err(|error| match error {
        GithubError::NotFound(_) => {
            errors::fix::branch_unknown(&doing, Some(branch), if main { "main-branch" } else { "develop-branch" })
        }
        error => refusal(&doing, &error, "contents=read"),
    })?;
    // Only an administrator can read the present settings, and settings that were not read must not be replaced.
    let before = github.settings(branch).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    let rules = github.rules(branch).await.map_err(|error| refusal(&doing, &error, "metadata=read"))?;
    let mut rulesets = Asked::default();
    for rule in rules {
        match rule {
            Rule::Checks { required, strict } => {
                rulesets.checks.extend(required);
                rulesets.strict |= strict;
            }
            Rule::Reviews(count) => rulesets.reviews = rulesets.reviews.max(count),
            Rule::Other => {}
        }
    }
    let old = before.clone().unwrap_or_default();
    let there: BTreeSet<String> = old.required().union(&rulesets.checks).cloned().collect();
    let target = if main {
        Target { checks: inputs.required_checks.iter().cloned().collect(), strict: false, reviews: 0 }
    } else {
        let more = inputs.required_checks.iter().filter(|check| !there.contains(*check));
        let missing = DEVELOP_CHECKS.saturating_sub(there.len());
        let checks: BTreeSet<String> = there.iter().chain(more.take(missing)).cloned().collect();
        if checks.len() < DEVELOP_CHECKS {
            return Err(errors::fix::too_few_checks(&doing, branch, DEVELOP_CHECKS));
        }
        Target { checks, strict: true, reviews: 1 }
    };
    let known = Current { branch: branch.clone(), wanted: wanted(&old, &rulesets, &target), before, rulesets };
    let add: Vec<&String> = target.checks.difference(&there).collect();
    let unprotected = known.before.is_none() && known.rulesets.checks.is_empty();
    let done = add.is_empty() && !unprotected && met(&known, &old, &target);
    if !done {
        warn_of_checks_that_never_report(cx, io, branch, &add);
    }
    let body = known.wanted.body();
    let route = format!("PUT /repos/{}/branches/{branch}/protection", github.repository());
    let proposal = Proposal {
        subject: format!("branch `{branch}` of {}", github.repository()),
        before: settings(known.before.as_ref(), &known.rulesets),
        wanted: if done { Vec::new() } else { settings(Some(&known.wanted), &known.rulesets) },
        sends: if done { Vec::new() } else { vec![route, body.to_string()] },
        needs: format!("{PERMISSION}, which no GITHUB_TOKEN has"),
        nothing: done.then(|| format!("`{branch}` already requires all of it")),
        bound: json!({ "before": known.before.as_ref().map(BranchSettings::body), "wanted": body }),
    };
    cx.propose(io, proposal, known)
}

/// Whether both kinds of protection together ask for the target.
fn met(known: &Current, classic: &BranchSettings, target: &Target) -> bool {
    let required = classic.required();
    let strict = classic.checks.as_ref().is_some_and(|checks| checks.strict) || known.rulesets.strict;
    let reviews = classic.reviews.as_ref().map_or(0, |reviews| reviews.count).max(known.rulesets.reviews);
    target.checks.iter().all(|check| required.contains(check) || known.rulesets.checks.contains(check))
        && (strict || !target.strict)
        && reviews >= target.reviews
}

/// The old settings with what is missing; nothing is taken away.
fn wanted(old: &BranchSettings, rulesets: &Asked, target: &Target) -> BranchSettings {
    let mut new = old.clone();
    let missing: Vec<&String> = target.checks.iter().filter(|check| !rulesets.checks.contains(*check)).collect();
    let strict = target.strict && !rulesets.strict;
    if !missing.is_empty() || strict {
        let checks = new.checks.get_or_insert_with(Checks::default);
        checks.strict |= strict;
        for check in missing {
            checks.required.entry(check.clone()).or_insert(App::Latest);
        }
    }
    if rulesets.reviews < target.reviews {
        let reviews = new.reviews.get_or_insert_with(Reviews::default);
        reviews.count = reviews.count.max(target.reviews);
    }
    new
}

/// A required check that no workflow reports blocks every merge.
fn warn_of_checks_that_never_report(cx: &Fix<Current>, io: &Io, branch: &str, add: &[&String]) {
    let files = workflow::workflow_files(&cx.world.inputs.workspace);
    if files.is_empty() {
        io.line("no workflow files are checked out here, so it is unknown whether a workflow reports the new checks");
        return;
    }
    let silent: Vec<&str> =
        add.iter().filter(|check| !files.report(check, branch)).map(|check| check.as_str()).collect();
    if !silent.is_empty() {
        io.warning(errors::fix::checks_never_report(&silent, branch));
    }
}

fn settings(classic: Option<&BranchSettings>, rulesets: &Asked) -> Vec<Setting> {
    let none = BranchSettings::default();
    let described = classic.unwrap_or(&none);
    let on = |yes: bool| if yes { "yes" } else { "no" };
    let checks: BTreeSet<String> = described.required().union(&rulesets.checks).cloned().collect();
    let strict = described.checks.as_ref().is_some_and(|checks| checks.strict) || rulesets.strict;
    let reviews = described.reviews.as_ref().map_or(0, |reviews| reviews.count).max(rulesets.reviews);
    vec![
        Setting::new("classic protection", on(classic.is_some())),
        Setting::new("required checks", listed(&checks)),
        Setting::new("up to date before merging", on(strict)),
        Setting::new("approving reviews", reviews.to_string()),
        Setting::new("administrators included", on(described.enforce_admins)),
    ]
}

async fn now(github: &dyn RepositoryWrite, known: &Current, doing: &str) -> Result<Option<BranchSettings>, Failure> {
    github.settings(&known.branch).await.map_err(|error| refusal(doing, &error, PERMISSION))
}

pub async fn protect(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let known = &cx.known;
    let github = cx.github()?;
    let doing = format!("protecting `{}`", known.branch);
    // What is sent replaces everything, so it must still be what was seen.
    if now(github, known, &doing).await? != known.before {
        return Err(errors::fix::changed_since_plan(
            &doing,
            "its protection changed after the plan",
            "Run this again.",
        ));
    }
    github.protect(&known.branch, &known.wanted).await.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    io.line(format!("sent: {}", known.wanted.body()));
    Ok(Done::passed(listed(known.wanted.required())))
}

/// What was asked for is there, and nothing of what was there is gone.
pub async fn verify(cx: &FixPlan<Current>, io: &Io) -> StepResult {
    if let Some(idle) = cx.idle() {
        return Ok(idle);
    }
    let known = &cx.known;
    let doing = format!("reading the protection of `{}` again", known.branch);
    let after = now(cx.github()?, known, &doing).await?;
    cx.seen(io, settings(after.as_ref(), &known.rulesets));
    let after = after.unwrap_or_default();
    let mut against = after.weaker_than(&known.before.clone().unwrap_or_default());
    // An app that GitHub chose is as good as any.
    let mut wanted = known.wanted.clone();
    for app in wanted.checks.iter_mut().flat_map(|checks| checks.required.values_mut()) {
        if *app == App::Latest {
            *app = App::Any;
        }
    }
    against.extend(after.weaker_than(&wanted));
    against.sort();
    against.dedup();
    match against.as_slice() {
        [] => Ok(Done::passed(format!("{} required", listed(after.required())))),
        _ => Err(errors::fix::protection_differs(&doing, &against)),
    }
}

/// Puts back what was there.
pub struct Back;

impl UndoAct<FixPlan<Current>> for Back {
    fn undo<'a>(&'a self, cx: &'a FixPlan<Current>, io: &'a Io) -> Local<'a, Result<Undone, Failure>> {
        Box::pin(put_back(cx, io))
    }

    fn by_hand(&self, cx: &FixPlan<Current>) -> Vec<String> {
        by_hand(cx)
    }
}

async fn put_back(cx: &FixPlan<Current>, io: &Io) -> Result<Undone, Failure> {
    let known = &cx.known;
    let github = cx.github()?;
    let doing = format!("restoring the protection of `{}`", known.branch);
    if now(github, known, &doing).await? == known.before {
        cx.seen(io, settings(known.before.as_ref(), &known.rulesets));
        return Ok(Undone::Nothing("the protection was not changed".to_owned()));
    }
    let sent = match &known.before {
        Some(before) => github.protect(&known.branch, before).await,
        None => github.unprotect(&known.branch).await,
    };
    sent.map_err(|error| refusal(&doing, &error, PERMISSION))?;
    let after = now(github, known, &doing).await?;
    cx.seen(io, settings(after.as_ref(), &known.rulesets));
    if after != known.before {
        return Err(errors::fix::protection_not_put_back(&doing));
    }
    Ok(Undone::Done("the earlier protection is in effect again".to_owned()))
}

fn by_hand(cx: &FixPlan<Current>) -> Vec<String> {
    let known = &cx.known;
    let repository = cx.world.github.as_ref().map(|github| github.repository()).unwrap_or_default();
    let route = format!("repos/{repository}/branches/{}/protection", known.branch);
    match &known.before {
        Some(before) => vec![format!(
            "printf %s {} | gh api --method PUT {route} --input -",
            crate::domain::command::quote(&before.body().to_string())
        )],
        None => vec![format!("gh api --method DELETE {route}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_stricter_already_stays_and_rulesets_are_not_asked_for_twice() {
        let old = BranchSettings {
            checks: Some(Checks { strict: false, required: [("lint".to_owned(), App::Only(7))].into() }),
            reviews: Some(Reviews { count: 3, code_owners: true, ..Reviews::default() }),
            enforce_admins: true,
            ..BranchSettings::default()
        };
        let rulesets = Asked { checks: names(&["build"]), strict: false, reviews: 0 };
        let target = Target { checks: names(&["build", "lint", "test"]), strict: true, reviews: 1 };
        let new = wanted(&old, &rulesets, &target);
        assert_eq!(new.weaker_than(&old), Vec::<String>::new());
        let checks = new.checks.expect("checks");
        assert!(checks.strict);
        let required: Vec<_> = checks.required.into_iter().collect();
        assert_eq!(required, [("lint".to_owned(), App::Only(7)), ("test".to_owned(), App::Latest)]);
        assert_eq!(new.reviews.map(|reviews| (reviews.count, reviews.code_owners)), Some((3, true)));
        assert!(new.enforce_admins);
        let all = Asked { checks: target.checks.clone(), strict: true, reviews: 1 };
        assert_eq!(wanted(&BranchSettings::default(), &all, &target), BranchSettings::default());
    }
}
