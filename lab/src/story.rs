//! A server, GitHub, and the action between them: the setup of the end-to-end tests and of the demo.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::app::{self, TempTree, Variant};
use crate::github::{self, Artifact, GitHub, Run};
use crate::runner::{Finished, Runner, declared_from_action_yml};
use crate::server::{Environment, Lab, Options, Site};

/// The phrase that approves a release to staging.
pub const STAGING_PHRASE: &str = "STAGING-TEST FREIGEGEBEN";

/// The phrase that approves a release to production.
pub const PRODUCTION_PHRASE: &str = "PROD-DEPLOY FREIGEGEBEN";

/// Name and file of the workflow that releases to staging.
const STAGING: (&str, &str) = ("Deploy to staging", ".github/workflows/deploy-staging.yml");
/// Name and file of the workflow that builds.
const BUILD: (&str, &str) = ("Build artifacts", ".github/workflows/build-artifacts.yml");

/// A server, GitHub, and a built action.
pub struct Story {
    pub lab: Lab,
    pub github: GitHub,
    binary: PathBuf,
    declared: Vec<(String, String)>,
}

/// A full commit SHA for a word, the same every time.
pub fn commit(word: &str) -> String {
    let digest = Sha256::digest(word.as_bytes());
    digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

/// What `build-gate` made of a source tree.
#[derive(Debug)]
pub struct Built {
    pub commit: String,
    pub finished: Finished,
    /// The bundle; gone with this.
    pub bundle: PathBuf,
    _workspace: Runner,
}

impl Built {
    /// Runs the job's `build-gate` step on a tree.
    pub fn run(job: Runner, commit: &str, tree: &TempTree, binary: &Path) -> Result<Self> {
        copy(tree.path(), job.workspace())?;
        let finished = job.run_binary(binary);
        ensure!(finished.exit_code == 0, "build-gate refused the tree:\n{}", finished.log);
        let bundle = finished.outputs.get("bundle").context("build-gate gave no output `bundle`")?;
        let bundle = job.workspace().join(bundle);
        Ok(Self { commit: commit.to_owned(), finished, bundle, _workspace: job })
    }
}

impl Story {
    /// Starts a server, and GitHub on loopback. `action` is the folder of `action.yml`; `binary` the built action.
    pub fn begin(binary: impl Into<PathBuf>, action: &Path, options: Options) -> Result<Self> {
        Self::begin_at(binary, action, options, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The same with GitHub on another address of this machine, for an action that runs in a container.
    pub fn begin_at(binary: impl Into<PathBuf>, action: &Path, options: Options, github: IpAddr) -> Result<Self> {
        let declared = declared_from_action_yml(action.join("action.yml"))?;
        let story = Self { lab: Lab::start(options)?, github: GitHub::start(github), binary: binary.into(), declared };
        story.github.add_workflow(BUILD.0, BUILD.1);
        story.github.add_workflow(STAGING.0, STAGING.1);
        Ok(story)
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn production_site(&self) -> Site {
        self.lab.site(Environment::Production)
    }

    pub fn staging_site(&self) -> Site {
        self.lab.site(Environment::Staging)
    }

    /// A job with every input that `action.yml` declares, and nothing given yet. Whatever a story is about, no run of it may show a
    /// secret anywhere.
    pub fn runner(&self, commit: &str) -> Runner {
        Runner::new()
            .must_not_leak()
            .declared(&self.declared)
            .sha(commit)
            .ref_name("develop")
            .api_url(self.github.api_url())
            .secret(self.github.token())
    }

    /// Runs `build-gate` on a tree, as the build workflow does, and hands over what it made.
    pub fn build(&self, commit: &str, tree: &TempTree) -> Result<Built> {
        let job = self.runner(commit).input("stage", "build-gate").event("push", push(commit));
        Built::run(job, commit, tree, &self.binary)
    }

    /// Puts a built bundle where a green run of the build workflow leaves it. Returns the run's id.
    pub fn publish(&self, built: &Built) -> Result<u64> {
        let run = run_id(&built.commit);
        self.github.add_run(green_run(&built.commit));
        self.github.add_artifact(artifact(run, built)?);
        Ok(run)
    }

    /// Builds the lab's app at a commit and publishes it. Returns the build run's id.
    pub fn ship(&self, commit: &str, variant: Variant) -> Result<u64> {
        self.publish(&self.build(commit, &app::source(commit, variant)?)?)
    }

    /// The step that releases a commit to staging, approved, with short waits.
    pub fn staging(&self, commit: &str) -> Runner {
        self.staging_inputs().into_iter().fold(
            self.runner(commit)
                .secret(self.lab.private_key())
                .secret(&self.staging_site().health_token)
                .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" })),
            |runner, (name, value)| runner.input(name, &value),
        )
    }

    /// What that step is given, by name.
    pub fn staging_inputs(&self) -> BTreeMap<&'static str, String> {
        let site = self.staging_site();
        BTreeMap::from([
            ("stage", "deploy-staging".to_owned()),
            ("approval", STAGING_PHRASE.to_owned()),
            ("github-token", self.github.token().to_owned()),
            ("ssh-host", self.lab.ssh_addr().ip().to_string()),
            ("ssh-port", self.lab.ssh_addr().port().to_string()),
            ("ssh-private-key", self.lab.private_key().to_owned()),
            ("ssh-known-hosts", self.lab.known_hosts()),
            ("base-dir", site.base_dir),
            ("url", site.url),
            ("health-address", self.lab.http_addr().to_string()),
            ("healthcheck-token", site.health_token),
            ("health-attempts", "3".to_owned()),
            ("health-interval", "1s".to_owned()),
            ("grace-period", "0s".to_owned()),
            ("build-wait-attempts", "2".to_owned()),
            ("build-wait-interval", "1s".to_owned()),
        ])
    }

    /// The step that releases a commit to production, approved, with short waits. Its policy says how to reach staging's server, and
    /// that a release need not have been there for long.
    pub fn production(&self, commit: &str) -> Runner {
        let (site, staging) = (self.production_site(), self.staging_site());
        let mut inputs = self.staging_inputs();
        inputs.extend([
            ("stage", "deploy-production".to_owned()),
            ("approval", PRODUCTION_PHRASE.to_owned()),
            ("base-dir", site.base_dir),
            ("url", site.url),
            ("healthcheck-token", site.health_token.clone()),
            ("staging-healthcheck-token", staging.health_token.clone()),
            ("staging-stable-for", "0s".to_owned()),
        ]);
        // The commit is merged.
        self.github.push("main", commit);
        let runner = self
            .runner(commit)
            .ref_name("main")
            .secret(self.lab.private_key())
            .secret(&site.health_token)
            .secret(&staging.health_token)
            .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/main" }));
        inputs
            .into_iter()
            .fold(runner, |runner, (name, value)| runner.input(name, &value))
            .file(".github/gated-deploy.yml", &self.staging_policy())
    }

    /// Merges a commit into `main` by a merge commit without other changes. Returns that commit.
    pub fn merge(&self, sha: &str) -> String {
        let merged = commit(&format!("merge of {sha}"));
        self.github.add_commits(&[sha, &merged]);
        self.github.push("main", &merged);
        self.github.same_tree(&merged, sha);
        merged
    }

    /// A policy file that says where staging is.
    pub fn staging_policy(&self) -> String {
        let (ssh, site) = (self.lab.ssh_addr(), self.staging_site());
        format!(
            "environments:\n  staging:\n    ssh-host: {}\n    ssh-port: {}\n    base-dir: {}\n    url: {}\n    health-address: {}\n    \
             health-attempts: 2\n    health-interval: 1s\n  production: {{}}\n",
            ssh.ip(),
            ssh.port(),
            site.base_dir,
            site.url,
            self.lab.http_addr()
        )
    }

    /// Releases a commit to staging.
    pub fn deploy(&self, commit: &str) -> Finished {
        self.staging(commit).run_binary(&self.binary)
    }

    /// The commit that staging answers with.
    pub fn served(&self) -> Result<String> {
        self.lab.served_commit(&self.staging_site())
    }

    /// What staging's `current` points to.
    pub fn current(&self) -> Result<Option<String>> {
        self.lab.current(&self.staging_site())
    }
}

/// The artifact that the build workflow uploads: the bundle and its `.sha256`.
pub fn artifact(run: u64, built: &Built) -> Result<Artifact> {
    let name = built.bundle.file_name().and_then(|name| name.to_str()).context("the bundle has no name")?;
    let sums = PathBuf::from(format!("{}.sha256", built.bundle.display()));
    let zip = github::artifact_zip(&[
        (name, built.bundle.clone().into()),
        (&format!("{name}.sha256"), fs::read(&sums).with_context(|| format!("reading {}", sums.display()))?.into()),
    ])?;
    Ok(Artifact::zip(run + 1, run, &format!("deployment-bundle-{}", built.commit), zip))
}

/// A green run of the build workflow on a push to `develop`.
pub fn green_run(commit: &str) -> Run {
    Run {
        name: Some(BUILD.0.to_owned()),
        path: BUILD.1.to_owned(),
        head_branch: Some("develop".to_owned()),
        ..Run::green(run_id(commit), commit)
    }
}

/// A run's id for a commit, the same every time; the artifact's is one more.
pub fn run_id(commit: &str) -> u64 {
    u64::from_str_radix(&commit[..8], 16).unwrap_or(4711) + 1_000
}

/// The event of a push to `develop`.
pub fn push(commit: &str) -> serde_json::Value {
    serde_json::json!({ "ref": "refs/heads/develop", "after": commit, "head_commit": { "id": commit } })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = std::process::Command::new("cp")
        .args(["--archive", "--reflink=auto", "--no-target-directory"])
        .args([from, to])
        .status()
        .context("starting cp")?;
    ensure!(status.success(), "copying {} to {}: {status}", from.display(), to.display());
    Ok(())
}
