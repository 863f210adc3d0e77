//! The refusals beyond the nine gates: what has broken releases before.

use std::collections::BTreeMap;

use crate::{
    domain::{
        Failure,
        gate::{self, FrontEnd, GateReport, NO_VITE},
    },
    errors::build,
};

/// A further check of the tree. Each stands in the gate report under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Every manifest entry's files are there and not empty, and it is no placeholder (F20).
    ViteManifest,
    /// F25
    DevPackages,
    /// What is installed is what the lock file says (F24).
    LockFile,
    /// F26
    EnvFiles,
    /// F26, F40
    PrivateKeys,
    /// F26, F28
    CachedConfig,
    /// Laravel would load its assets from a developer's machine (F20).
    DevServer,
    /// Symbolic links lead to something in the release.
    Links,
    /// Names can be written into an archive, a manifest and a log, and read back.
    Names,
    /// Files, folders and links only.
    FileKinds,
    /// F18, F60
    Readable,
}

impl Check {
    pub const ALL: [Self; 11] = [
        Self::ViteManifest,
        Self::DevPackages,
        Self::LockFile,
        Self::EnvFiles,
        Self::PrivateKeys,
        Self::CachedConfig,
        Self::DevServer,
        Self::Links,
        Self::Names,
        Self::FileKinds,
        Self::Readable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ViteManifest => "vite-manifest",
            Self::DevPackages => "no-dev-packages",
            Self::LockFile => "lock-file",
            Self::EnvFiles => "no-env-files",
            Self::PrivateKeys => "no-private-keys",
            Self::CachedConfig => "no-cached-config",
            Self::DevServer => "no-dev-server",
            Self::Links => "links",
            Self::Names => "names",
            Self::FileKinds => "file-kinds",
            Self::Readable => "readable",
        }
    }

    /// What to type or change.
    pub fn cure(self) -> &'static str {
        match self {
            Self::ViteManifest => {
                "Build the front end in the same job (`npm ci && npm run build`), after removing public/build."
            }
            Self::DevPackages => "Run `composer install --no-dev --optimize-autoloader`.",
            Self::LockFile => {
                "Run `composer install --no-dev --optimize-autoloader` with the committed composer.lock, and commit a lock file that matches."
            }
            Self::EnvFiles => {
                "Remove them in the build job before this step (`rm -f .env`): the server has its own under shared/.env."
            }
            Self::PrivateKeys => {
                "Remove them in the build job before this step. Store keys in the server's shared/ folder or in its .env."
            }
            Self::CachedConfig => {
                "Run `php artisan optimize:clear` at the end of the build job: the release builds its own caches on the server."
            }
            Self::DevServer => "Remove public/hot: it is left over from `npm run dev`.",
            Self::Links => "Make the links relative, with a target inside the bundle, or remove them.",
            Self::Names => "Rename these files: UTF-8 without control characters.",
            Self::FileKinds => "Remove sockets, pipes and devices from the folder.",
            Self::Readable => {
                "Let the build job's user read the whole folder, and end every process that writes to it."
            }
        }
    }
}

/// What to do about a failed one of the nine gates.
const GATE_CURE: &str = "Build before this step: `composer install --no-dev --optimize-autoloader`, `npm ci && npm run build`. Set `source-dir` to the app's root.";

/// What to do about [`NO_VITE`].
const NO_VITE_CURE: &str =
    "Remove what refers to Vite, or build the front end and remove `front-end: none` from the policy.";

/// How many problems of one check are reported.
const SHOWN: usize = 10;

/// Everything that is wrong with a tree, all at once.
#[derive(Debug, Default)]
pub struct Findings {
    front_end: FrontEnd,
    gates: BTreeMap<&'static str, String>,
    checks: BTreeMap<Check, Vec<String>>,
}

impl Findings {
    /// Nothing yet, of an app with this front end.
    pub fn of(front_end: FrontEnd) -> Self {
        Self { front_end, ..Self::default() }
    }

    pub fn front_end(&self) -> FrontEnd {
        self.front_end
    }

    pub fn add(&mut self, check: Check, problem: impl Into<String>) {
        self.checks.entry(check).or_default().push(problem.into());
    }

    /// A problem of one of the nine.
    pub fn add_gate(&mut self, gate: &'static str, problem: impl Into<String>) {
        self.gates.insert(gate, problem.into());
    }

    pub fn report(&self) -> GateReport {
        let mut report = GateReport::default();
        for gate in gate::gates(self.front_end) {
            report.record(gate.path, self.gates.get(gate.path).cloned());
        }
        for check in Check::ALL {
            report.record(check.name(), self.checks.get(&check).map(|problems| describe(problems).join("; ")));
        }
        report
    }

    /// The refusal, if there is something to refuse.
    pub fn refusal(&self, doing: impl Into<String>) -> Option<Failure> {
        let report = self.report();
        let failed = report.total() - report.passed();
        if failed == 0 {
            return None;
        }
        let gates = self.gates.iter().map(|(name, problem)| format!("{name}: {problem}"));
        let checks = self.checks.iter().flat_map(|(check, problems)| {
            describe(problems).into_iter().map(|problem| format!("{}: {problem}", check.name()))
        });
        let gate_cure = self.gates.keys().any(|gate| *gate != NO_VITE).then_some(GATE_CURE);
        let vite_cure = self.gates.contains_key(NO_VITE).then_some(NO_VITE_CURE);
        let gate_cures = gate_cure.into_iter().chain(vite_cure);
        let cures: Vec<&str> = gate_cures.chain(self.checks.keys().map(|check| check.cure())).collect();
        Some(build::checks_failed(doing, failed, report.total(), gates.chain(checks), &cures))
    }
}

fn describe(problems: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = problems.iter().take(SHOWN).cloned().collect();
    if let Some(more) = problems.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines
}
