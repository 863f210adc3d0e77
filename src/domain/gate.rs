//! The nine checks that a release tree must pass, before bundling and again on the server.

use serde::{Deserialize, Serialize};

/// One of the nine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gate {
    /// The path that must be there, or [`NO_VITE`].
    pub path: &'static str,
    pub must: Must,
}

/// What a gate asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Must {
    /// The path is a file that is not empty.
    File,
    /// The path is a folder with a file in it.
    Folder,
    /// Nothing in the app refers to Vite.
    NoVite,
}

/// What builds the front end (policy `front-end`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrontEnd {
    #[default]
    Vite,
    /// Nothing: the app has no front end that is built.
    None,
}

impl FrontEnd {
    /// What stands behind the count of gates where Vite's manifest is none of them.
    pub fn note(self) -> &'static str {
        match self {
            Self::Vite => "",
            Self::None => " (no front end: nothing refers to Vite)",
        }
    }
}

/// The name of the gate that an app without a front end has in the place of Vite's manifest.
pub const NO_VITE: &str = "no-vite";

/// Where Laravel looks for Vite's manifest.
pub const VITE_MANIFEST: &str = "public/build/manifest.json";

/// Where Vite writes its manifest if its configuration names no other place. Laravel does not look there.
pub const MISPLACED_MANIFEST: &str = "public/build/.vite/manifest.json";

/// The names of Vite's configuration.
pub const VITE_CONFIGS: [&str; 6] =
    ["vite.config.js", "vite.config.ts", "vite.config.mjs", "vite.config.mts", "vite.config.cjs", "vite.config.cts"];

/// What is wrong with a gate that nothing is at. `has`: whether the release has a file at a path.
pub fn missing(path: &str, has: impl Fn(&str) -> bool) -> String {
    if path == VITE_MANIFEST && has(MISPLACED_MANIFEST) {
        return format!(
            "missing; Vite wrote {MISPLACED_MANIFEST}, its default place: use laravel-vite-plugin, or set `build.manifest: 'manifest.json'` in \
             Vite's configuration"
        );
    }
    "missing".to_owned()
}

/// What is wrong with [`NO_VITE`] where there is a configuration of Vite.
pub fn vite_config(path: &str) -> String {
    format!("the app refers to Vite: {path} is there")
}

/// What is wrong with [`NO_VITE`] where a view renders Vite's tags.
pub fn vite_view(path: &str) -> String {
    format!("the app refers to Vite: {path} has @vite")
}

const fn file(path: &'static str) -> Gate {
    Gate { path, must: Must::File }
}

const fn folder(path: &'static str) -> Gate {
    Gate { path, must: Must::Folder }
}

/// The nine gates of an app with this front end, in the order in which they are printed.
pub fn gates(front_end: FrontEnd) -> [Gate; 9] {
    let without =
        |gate: Gate| if gate.path == VITE_MANIFEST { Gate { path: NO_VITE, must: Must::NoVite } } else { gate };
    match front_end {
        FrontEnd::Vite => GATES,
        FrontEnd::None => GATES.map(without),
    }
}

const GATES: [Gate; 9] = [
    file("artisan"),
    file("composer.json"),
    file("public/index.php"),
    file("vendor/autoload.php"),
    file(VITE_MANIFEST),
    folder("bootstrap"),
    folder("config"),
    folder("routes"),
    folder("app"),
];

/// What one check found. `problem` is `None` when it passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// What was looked at: the path of a [`Gate`], or the name of a further check such as `autoload`.
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

    /// Whether the check of this name failed.
    pub fn lacks(&self, name: &str) -> bool {
        self.failures().any(|result| result.name == name)
    }

    /// `9/9`
    pub fn score(&self) -> String {
        format!("{}/{}", self.passed(), self.total())
    }
}
