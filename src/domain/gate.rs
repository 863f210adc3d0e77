//! The nine checks that a release tree must pass, before bundling and again on the server.

use serde::{Deserialize, Serialize};

/// One of the nine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Gate {
    pub path: &'static str,
    pub folder: bool,
}

const fn file(path: &'static str) -> Gate {
    Gate { path, folder: false }
}

const fn folder(path: &'static str) -> Gate {
    Gate { path, folder: true }
}

/// The nine gates, in the order in which they are printed.
pub const GATES: [Gate; 9] = [
    file("artisan"),
    file("composer.json"),
    file("public/index.php"),
    file("vendor/autoload.php"),
    file("public/build/manifest.json"),
    folder("bootstrap"),
    folder("config"),
    folder("routes"),
    folder("app"),
];

/// What one check found. `problem` is `None` when it passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// What was looked at: a path of [`GATES`], or the name of a further check such as `autoload`.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All checks of one place. Every one is run and named, not only the first that fails.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    pub results: Vec<GateResult>,
}

impl GateReport {
    pub fn record(&mut self, name: impl Into<String>, problem: Option<String>) {
        self.results.push(GateResult { name: name.into(), problem });
    }

    pub fn passed(&self) -> usize {
        self.results.iter().filter(|result| result.problem.is_none()).count()
    }

    pub fn total(&self) -> usize {
        self.results.len()
    }

    pub fn failures(&self) -> impl Iterator<Item = &GateResult> {
        self.results.iter().filter(|result| result.problem.is_some())
    }

    /// `9/9`
    pub fn score(&self) -> String {
        format!("{}/{}", self.passed(), self.total())
    }
}
