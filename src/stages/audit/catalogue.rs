//! Every finding that an audit can have. Each has an anchor of its name in docs/audit.md.

use crate::domain::audit::Impact::{self, P0, P1, P2};

/// A question that an audit asks.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Kebab-case.
    pub id: &'static str,
    pub title: &'static str,
    /// How it should be.
    pub target: &'static str,
    pub impact: Impact,
    pub about: About,
}

/// Whose release it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Every,
    Production,
    Staging,
    /// The environment that was asked for.
    Here,
}

const fn check(id: &'static str, impact: Impact, about: About, title: &'static str, target: &'static str) -> Check {
    Check { id, title, target, impact, about }
}

#[rustfmt::skip]
pub static CHECKS: &[Check] = &[
    check("main-protected", P0, About::Production, "The branch of production is protected", "by classic protection or a ruleset"),
    check("main-required-checks", P0, About::Production, "The branch of production requires its checks", "every name in required-checks is required"),
    check("develop-required-checks", P1, About::Staging, "The branch of staging requires checks", "at least 4"),
    check("develop-up-to-date", P1, About::Staging, "Branches are up to date before they are merged", "required on the branch of staging"),
    check("develop-review", P1, About::Staging, "Merges need a review", "at least 1 approving review on the branch of staging"),
    check("duplicate-workflows", P1, About::Every, "Each workflow has a name of its own", "no two active workflows with one name"),
    check("phantom-workflow", P2, About::Every, "Each listed workflow has its file", "no active workflow without its file"),
    check("build-runs", P1, About::Every, "The build workflow succeeds", "the newest finished run succeeded, and at most a fifth of the last 20 failed"),
    check("staging-runs", P1, About::Staging, "The staging workflow succeeds", "the newest finished run succeeded, and at most a fifth of the last 20 failed"),
    check("staging-failures", P2, About::Staging, "No staging run failed recently", "none of the last 20 runs failed"),
    check("production-runs", P1, About::Production, "The production workflow succeeds", "the newest finished run succeeded, and at most a fifth of the last 20 failed"),
    check("build-of-develop", P0, About::Staging, "The head of the branch of staging is built", "a successful build with a bundle that is not empty and not expired"),
    check("bundles-kept", P2, About::Every, "The newest bundle does not expire soon", "at least 7 days until it expires"),
    check("build-differs", P1, About::Every, "Both branches build in the same way", "the release workflows are the same file on both branches"),
    check("action-versions-differ", P1, About::Every, "Both branches use the same versions of actions", "each action has one version in the release workflows of both branches"),
    check("secret-names", P1, About::Every, "Every secret that release workflows name exists", "each name is a secret of the repository"),
    check("workflow-files", P1, About::Every, "The workflow files can be read", "each is YAML, lies directly in .github/workflows, and is a workflow"),
    check("hollow-check", P0, About::Every, "Required checks run commands", "each required check runs a command that can fail"),
    check("gate-continue-on-error", P0, About::Every, "Required checks can fail", "no continue-on-error in a job that is a required check"),
    check("gate-or-true", P1, About::Every, "No gate ignores a failed command", "no `|| true` and the like in a job that is a required check"),
    check("check-never-reports", P1, About::Every, "Every required check can report", "a workflow emits each required name for pull requests to its branch"),
    check("callee-not-callable", P0, About::Every, "Called workflows can be called", "each `uses: ./.github/workflows/...` is there and has workflow_call"),
    check("dispatch-blocked", P1, About::Every, "A manual run has a job", "no condition that only another event fulfils"),
    check("build-path-filter", P1, About::Every, "Every commit is built", "no path filter on the build workflow"),
    check("unpinned-action", P1, About::Every, "Actions in release workflows are pinned", "each third-party action by its 40-digit commit"),
    check("missing-concurrency", P1, About::Every, "Only one release runs at a time", "`concurrency` in each workflow that releases"),
    check("server-looked-at", P1, About::Here, "The server was surveyed", "its SSH inputs are given"),
    check("current-release", P0, About::Here, "`current` points to a release", "a link to an existing folder below releases/"),
    check("last-releases", P2, About::Here, "A rollback target exists", "at least 2 releases on the server"),
    check("newest-not-live", P1, About::Here, "The newest release is live", "`current` points to the newest folder below releases/"),
    check("nine-files", P0, About::Here, "The live release is complete", "the nine files and folders of the gates"),
    check("env-link", P0, About::Here, "The live release reads the environment's .env", "current/.env points to env-file"),
    check("app-env", P0, About::Here, "The app has the right environment", "APP_ENV is the environment"),
    check("sudo-rules", P0, About::Here, "The deploy user can reload PHP-FPM and nginx", "each command by sudo -n, without a password"),
    check("foreign-owner", P1, About::Here, "The live release belongs to the deploy user", "no file in it belongs to another account"),
    check("open-modes", P1, About::Here, "Releases are as protected as .env", "no other account reads the cached configuration or writes what the deploy user runs"),
    check("disk-room", P1, About::Here, "The disk has free space", "at least a tenth free, and twice the size of the live release"),
    check("inodes", P1, About::Here, "The disk has free inodes", "at least a tenth free"),
    check("health", P0, About::Here, "The site is healthy", "every endpoint answers 200 with a healthy body"),
    check("probe-can-fail", P0, About::Here, "The health check can fail", "a page that does not exist is not healthy"),
    check("token-guards", P1, About::Here, "The health token is checked", "no token and a wrong token are refused by at least one endpoint"),
    check("health-token-match", P0, About::Here, "Workflow, .env and site have the same health token", "the same SHA-256 on both sides, and the site accepts it"),
];

pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}
