//! How the branches are protected. Rulesets count as well as classic protection, and both may hold at once.

use super::{Audit, Seen, Sheet, seen};
use crate::{
    domain::Failure,
    engine::step::{Io, StepResult},
    github::{Branch, Rule},
};

/// Everything that is known of one branch.
struct Protected {
    branch: Branch,
    /// Checks of both kinds of protection.
    required: Vec<String>,
    strict: bool,
    reviews: u64,
    /// Why classic protection's details are not among these, and what would show them; `None` where they are, or there are none.
    hidden: Option<(String, String)>,
    source: String,
}

/// The branch of production, and that of staging.
pub async fn branches(cx: &Audit, io: &Io) -> StepResult {
    let mut sheet = Sheet::new(cx, io, "reading the protection of the branches");
    let (main, develop) = (cx.inputs.main.clone(), cx.inputs.develop.clone());
    match look(cx, &main).await? {
        Seen::Yes(known) => judge_main(&mut sheet, cx, &main, &known),
        Seen::Nothing => {
            let source = cx.github.describe(&format!("branches/{main}"));
            for id in ["main-protected", "main-required-checks"] {
                sheet.not_met(
                    id,
                    format!("the branch `{main}` does not exist"),
                    "Set `main-branch` in the policy.",
                    &source,
                );
            }
        }
        Seen::Forbidden { why, shows } => {
            let source = cx.github.describe(&format!("branches/{main}"));
            for id in ["main-protected", "main-required-checks"] {
                sheet.unseen(id, &why, &shows, &source);
            }
        }
    }
    let ids = ["develop-required-checks", "develop-up-to-date", "develop-review"];
    match look(cx, &develop).await? {
        Seen::Yes(known) => judge_develop(&mut sheet, cx, &develop, &known),
        Seen::Nothing => {
            let source = cx.github.describe(&format!("branches/{develop}"));
            for id in ids {
                sheet.not_met(
                    id,
                    format!("the branch `{develop}` does not exist"),
                    "Set `develop-branch` in the policy.",
                    &source,
                );
            }
        }
        Seen::Forbidden { why, shows } => {
            let source = cx.github.describe(&format!("branches/{develop}"));
            for id in ids {
                sheet.unseen(id, &why, &shows, &source);
            }
        }
    }
    sheet.end()
}

async fn look(cx: &Audit, name: &str) -> Result<Seen<Protected>, Failure> {
    let doing = format!("reading the protection of `{name}` at GitHub");
    let branch = match seen(cx.github.branch(name).await, &doing, "contents=read")? {
        Seen::Yes(branch) => branch,
        Seen::Nothing => return Ok(Seen::Nothing),
        Seen::Forbidden { why, shows } => return Ok(Seen::Forbidden { why, shows }),
    };
    let mut known = Protected {
        required: branch.required.clone(),
        strict: false,
        reviews: 0,
        hidden: None,
        source: format!(
            "{}, {}",
            cx.github.describe(&format!("branches/{name}")),
            cx.github.describe(&format!("rules/branches/{name}"))
        ),
        branch,
    };
    let mut by_ruleset = false;
    match seen(cx.github.rules(name).await, &doing, "metadata=read")? {
        Seen::Yes(rules) => {
            for rule in rules {
                by_ruleset = true;
                match rule {
                    Rule::Checks { required, strict } => {
                        known.required.extend(required);
                        known.strict |= strict;
                    }
                    Rule::Reviews(count) => known.reviews = known.reviews.max(count),
                    Rule::Other => {}
                }
            }
        }
        Seen::Nothing => {}
        Seen::Forbidden { why, shows } => known.hidden = Some((format!("rulesets: {why}"), shows)),
    }
    known.branch.protected |= by_ruleset;
    // Only classic protection has details that rulesets do not have; an unprotected branch has none.
    if known.branch.protected {
        match seen(cx.github.protection(name).await, &doing, "administration=read")? {
            Seen::Yes(Some(classic)) => {
                known.required.extend(classic.required);
                known.strict |= classic.strict;
                known.reviews = known.reviews.max(classic.reviews);
            }
            // Protected all the same: by rulesets alone.
            Seen::Yes(None) | Seen::Nothing => {}
            Seen::Forbidden { why, shows } => {
                known.hidden = Some((format!("the details of classic protection: {why}"), shows))
            }
        }
    }
    known.required.sort();
    known.required.dedup();
    let mut found = cx.state.borrow_mut();
    found.required.extend(known.required.iter().map(|check| (check.clone(), name.to_owned())));
    if name == cx.inputs.develop {
        found.develop = Some(known.branch.head.clone());
    }
    drop(found);
    Ok(Seen::Yes(known))
}

fn judge_main(sheet: &mut Sheet<'_>, cx: &Audit, name: &str, known: &Protected) {
    let fix = "Require the checks under Settings, Rules, Rulesets, or run the fix `branch-protection-main`.";
    match known.branch.protected {
        true => sheet.met("main-protected", format!("`{name}` is protected"), &known.source),
        false => sheet.not_met(
            "main-protected",
            format!("`{name}` is not protected: every user with push rights can release"),
            fix,
            &known.source,
        ),
    }
    let missing: Vec<&str> =
        cx.inputs.required_checks.iter().filter(|check| !known.required.contains(check)).map(String::as_str).collect();
    if missing.is_empty() {
        sheet.met("main-required-checks", format!("`{name}` requires {}", known.required.join(", ")), &known.source);
    } else {
        sheet.not_met(
            "main-required-checks",
            format!("`{name}` does not require {}; it requires {}", missing.join(", "), listed(&known.required)),
            fix,
            &known.source,
        );
    }
}

fn judge_develop(sheet: &mut Sheet<'_>, _cx: &Audit, name: &str, known: &Protected) {
    const CHECKS: usize = 4;
    let fix = "Require it under Settings, Rules, Rulesets, or run the fix `branch-protection-develop`.";
    let described = format!("`{name}` requires {}: {}", known.required.len(), listed(&known.required));
    match known.required.len() >= CHECKS {
        true => sheet.met("develop-required-checks", described, &known.source),
        false => sheet.not_met("develop-required-checks", described, fix, &known.source),
    }
    // What a ruleset asks is known; what it does not ask, classic protection may.
    let mut judge = |id: &str, met: bool, yes: String, no: String| match (met, &known.hidden) {
        (true, _) => sheet.met(id, yes, &known.source),
        (false, Some((why, shows))) => {
            sheet.unseen(id, format!("no ruleset requires it, and {why}"), shows, &known.source)
        }
        (false, None) => sheet.not_met(id, no, fix, &known.source),
    };
    judge(
        "develop-up-to-date",
        known.strict,
        format!("required on `{name}`"),
        format!("`{name}` accepts branches that are behind it"),
    );
    judge(
        "develop-review",
        known.reviews >= 1,
        format!("{} on `{name}`", known.reviews),
        format!("`{name}` accepts merges without a review"),
    );
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
