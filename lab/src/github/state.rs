//! What the repository contains at the moment, and what was asked so far.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fs::File,
    io::{self, Read},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::{
    answers::Measured,
    fault::Trap,
    model::{Artifact, Branch, Content, Job, Phase, Protection, Review, Run, Workflow},
    record::Request,
    writes::Writes,
};

pub(super) struct State {
    pub(super) requests: Vec<Request>,
    pub(super) traps: Vec<Trap>,
    pub(super) workflows: Vec<Workflow>,
    pub(super) branches: BTreeMap<String, Branch>,
    /// Requests that GitHub still answers in this hour, of [`State::RATE_LIMIT`].
    pub(super) rate_remaining: u64,
    pub(super) link_lifetime: Duration,
    runs: BTreeMap<u64, Run>,
    progress: HashMap<u64, VecDeque<Phase>>,
    artifacts: BTreeMap<u64, (Artifact, Measured)>,
    parents: BTreeMap<String, Vec<String>>,
    links: Vec<Link>,
    /// Classic protection by branch. Its details are shown to administrators alone.
    pub(super) protections: BTreeMap<String, Protection>,
    /// Whether the token is an administrator's, which no job's own token is.
    pub(super) administrator: bool,
    /// Active rules of rulesets, by branch.
    pub(super) rules: BTreeMap<String, Vec<serde_json::Value>>,
    /// Jobs of runs, where they are not the one that every run has.
    pub(super) jobs: BTreeMap<u64, Vec<Job>>,
    /// Texts of files, by branch and path.
    pub(super) contents: BTreeMap<(String, String), String>,
    /// Logs by the job's id.
    pub(super) logs: BTreeMap<u64, String>,
    /// Paths and blobs that a comparison shows, by its base and head.
    pub(super) compared: BTreeMap<String, Vec<(String, String)>>,
    /// Names of secrets; `None` where the token may not ask.
    pub(super) secrets: Option<Vec<String>>,
    /// What reviewers said, with the run that they said it of.
    pub(super) reviews: Vec<(u64, Review)>,
    /// Payloads of attestations, by the SHA-256 that they were stored for.
    pub(super) attestations: BTreeMap<String, Vec<serde_json::Value>>,
    /// Trees of commits, where a test has set them: equal ones are equal contents.
    trees: BTreeMap<String, String>,
    /// Logins of authors, by commit.
    pub(super) authors: BTreeMap<String, String>,
    /// Branches whose head a test has set.
    placed: BTreeSet<String>,
    pub(super) writes: Writes,
}

/// A signed address of an artifact's bytes.
struct Link {
    signature: String,
    artifact_id: u64,
    issued: Instant,
}

impl State {
    /// Requests per hour that a `GITHUB_TOKEN` may make for one repository.
    pub(super) const RATE_LIMIT: u64 = 1000;

    pub(super) fn new() -> Self {
        Self {
            requests: Vec::new(),
            traps: Vec::new(),
            workflows: Vec::new(),
            branches: BTreeMap::new(),
            rate_remaining: Self::RATE_LIMIT,
            link_lifetime: Duration::from_secs(60),
            runs: BTreeMap::new(),
            progress: HashMap::new(),
            artifacts: BTreeMap::new(),
            parents: BTreeMap::new(),
            links: Vec::new(),
            protections: BTreeMap::new(),
            administrator: false,
            rules: BTreeMap::new(),
            jobs: BTreeMap::new(),
            contents: BTreeMap::new(),
            logs: BTreeMap::new(),
            compared: BTreeMap::new(),
            secrets: None,
            reviews: Vec::new(),
            attestations: BTreeMap::new(),
            trees: BTreeMap::new(),
            authors: BTreeMap::new(),
            placed: BTreeSet::new(),
            writes: Writes::new(),
        }
    }

    pub(super) fn add_run(&mut self, run: Run) {
        self.add_workflow(run.name.as_deref().unwrap_or("Build"), run.workflow_path());
        self.add_commit(&run.head_sha, None);
        // A run that a push to one of our branches started: the commit is on that branch.
        let own = run.event == "push" && run.head_repository_id == super::REPOSITORY_ID;
        if let Some(branch) = run.head_branch.clone().filter(|branch| own && !self.placed.contains(branch)) {
            self.push(&branch, &run.head_sha);
        }
        self.runs.insert(run.id, run);
    }

    pub(super) fn run(&self, id: u64) -> Option<&Run> {
        self.runs.get(&id)
    }

    pub(super) fn run_mut(&mut self, id: u64) -> Option<&mut Run> {
        self.runs.get_mut(&id)
    }

    pub(super) fn script_run(&mut self, id: u64, phases: Vec<Phase>) {
        self.progress.insert(id, phases.into());
    }

    /// The run as this answer shows it: a scripted run makes its next step.
    pub(super) fn look_at_run(&mut self, id: u64) -> Option<&Run> {
        let run = self.runs.get_mut(&id)?;
        if let Some(phase) = self.progress.get_mut(&id).and_then(VecDeque::pop_front) {
            run.phase = phase;
        }
        Some(run)
    }

    /// The runs that a list shows, newest first. Every run that `asked_for` holds for is looked at.
    pub(super) fn list_runs(&mut self, asked_for: impl Fn(&Run) -> bool) -> Vec<Run> {
        let ids: Vec<u64> = self.runs.values().rev().filter(|run| asked_for(run)).map(|run| run.id).collect();
        let mut listed = Vec::new();
        for id in ids {
            let Some(run) = self.runs.get_mut(&id) else {
                continue;
            };
            if run.listed_after > 0 {
                run.listed_after -= 1;
            } else {
                listed.extend(self.look_at_run(id).cloned());
            }
        }
        listed
    }

    pub(super) fn add_workflow(&mut self, name: &str, path: &str) {
        if self.workflows.iter().all(|known| known.path != path) {
            let id = 161_335 + self.workflows.len() as u64;
            self.workflows.push(Workflow { id, name: name.into(), path: path.into(), state: "active".into() });
        }
    }

    /// A workflow by its id or by the base name of its file.
    pub(super) fn workflow(&self, id_or_file: &str) -> Option<&Workflow> {
        self.workflows.iter().find(|known| known.id.to_string() == id_or_file || known.file_name() == id_or_file)
    }

    pub(super) fn workflow_of(&self, run: &Run) -> u64 {
        self.workflows.iter().find(|known| known.path == run.workflow_path()).map_or(0, |known| known.id)
    }

    pub(super) fn add_artifact(&mut self, artifact: Artifact) -> Result<()> {
        let measured = measure(&artifact.content).with_context(|| format!("reading artifact {}", artifact.name))?;
        self.artifacts.insert(artifact.id, (artifact, measured));
        Ok(())
    }

    pub(super) fn artifact_mut(&mut self, id: u64) -> Option<&mut Artifact> {
        self.artifacts.get_mut(&id).map(|(artifact, _)| artifact)
    }

    /// An artifact that has been listed, or needs no listing.
    pub(super) fn artifact(&self, id: u64) -> Option<&(Artifact, Measured)> {
        self.artifacts.get(&id).filter(|(artifact, _)| artifact.listed_after == 0)
    }

    /// The artifacts that a list shows, newest first.
    pub(super) fn list_artifacts(&mut self, asked_for: impl Fn(&Artifact) -> bool) -> Vec<(Artifact, Measured)> {
        let mut listed = Vec::new();
        for (artifact, measured) in self.artifacts.values_mut().rev().filter(|(artifact, _)| asked_for(artifact)) {
            if artifact.listed_after > 0 {
                artifact.listed_after -= 1;
            } else {
                listed.push((artifact.clone(), measured.clone()));
            }
        }
        listed
    }

    /// A fresh signature (as in the query string, percent-encoded) for an artifact's bytes.
    pub(super) fn sign(&mut self, artifact_id: u64) -> String {
        let hash = Sha256::digest(format!("link {} to artifact {artifact_id}", self.links.len()));
        // Real ones are base64 and end in an encoded "=", which naive masking misses.
        let signature = format!("{hash:x}=");
        self.links.push(Link { signature: signature.clone(), artifact_id, issued: Instant::now() });
        signature.replace('=', "%3D")
    }

    /// Signatures issued so far, as in the query string.
    pub(super) fn signatures(&self) -> Vec<String> {
        self.links.iter().map(|link| link.signature.replace('=', "%3D")).collect()
    }

    /// Whether a signature still opens what it was made for.
    fn opens(&self, id: u64, signature: &str) -> bool {
        let made_for = |link: &&Link| link.signature == signature && link.artifact_id == id;
        self.links.iter().find(made_for).is_some_and(|link| link.issued.elapsed() < self.link_lifetime)
    }

    /// The log that a signature still opens.
    pub(super) fn open_log(&self, job: u64, signature: &str) -> Option<&str> {
        self.opens(job, signature).then_some(())?;
        self.logs.get(&job).map(String::as_str)
    }

    /// The artifact that a signature still opens.
    pub(super) fn open(&self, artifact_id: u64, signature: &str) -> Option<&Artifact> {
        self.opens(artifact_id, signature).then_some(())?;
        self.artifacts.get(&artifact_id).map(|(artifact, _)| artifact)
    }

    /// Puts a commit at the end of a branch, unless it is on it already.
    pub(super) fn push(&mut self, branch: &str, sha: &str) {
        let old = self.branches.get(branch).map(|branch| branch.sha.clone());
        if old.as_ref().is_some_and(|old| self.history(old).iter().any(|known| known == sha)) {
            return;
        }
        self.add_commit(sha, old.as_deref());
        let protected = self.branches.get(branch).is_some_and(|branch| branch.protected);
        self.branches.insert(branch.to_owned(), Branch { name: branch.to_owned(), sha: sha.to_owned(), protected });
    }

    pub(super) fn add_branch(&mut self, branch: Branch) {
        self.placed.insert(branch.name.clone());
        self.add_commit(&branch.sha, None);
        self.branches.insert(branch.name.clone(), branch);
    }

    pub(super) fn add_commit(&mut self, sha: &str, parent: Option<&str>) {
        self.parents.entry(sha.to_owned()).or_default().extend(parent.map(str::to_owned));
    }

    /// The commit that a branch name, a SHA or the unambiguous start of one means.
    pub(super) fn resolve(&self, reference: &str) -> Option<&str> {
        if let Some(branch) = self.branches.get(reference.strip_prefix("heads/").unwrap_or(reference)) {
            return Some(&branch.sha);
        }
        let mut found = self.parents.keys().filter(|sha| reference.len() >= 4 && sha.starts_with(reference));
        found.next().filter(|_| found.next().is_none()).map(String::as_str)
    }

    pub(super) fn set_tree(&mut self, sha: &str, tree: &str) {
        self.trees.insert(sha.to_owned(), tree.to_owned());
    }

    /// The SHA of a commit's tree; unless a test says otherwise, no two commits have the same.
    pub(super) fn tree(&self, sha: &str) -> String {
        let own =
            || Sha256::digest(format!("tree of {sha}")).iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        self.trees.get(sha).cloned().unwrap_or_else(own)
    }

    pub(super) fn parents(&self, sha: &str) -> &[String] {
        self.parents.get(sha).map_or(&[], Vec::as_slice)
    }

    /// A commit and everything before it, newest first.
    pub(super) fn history(&self, sha: &str) -> Vec<String> {
        let (mut seen, mut history, mut next) = (BTreeSet::new(), Vec::new(), VecDeque::from([sha.to_owned()]));
        while let Some(sha) = next.pop_front() {
            if seen.insert(sha.clone()) {
                next.extend(self.parents(&sha).iter().cloned());
                history.push(sha);
            }
        }
        history
    }
}

fn measure(content: &Content) -> io::Result<Measured> {
    let mut hasher = Sha256::new();
    let size = match content {
        Content::Memory(bytes) => {
            hasher.update(bytes);
            bytes.len() as u64
        }
        Content::File(path) => {
            let (mut file, mut piece, mut size) = (File::open(path)?, vec![0; 1 << 16], 0);
            loop {
                match file.read(&mut piece)? {
                    0 => break size,
                    read => {
                        hasher.update(&piece[..read]);
                        size += read as u64;
                    }
                }
            }
        }
    };
    Ok(Measured { digest: format!("sha256:{:x}", hasher.finalize()), size })
}
