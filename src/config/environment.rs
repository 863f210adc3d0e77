//! The process environment, read once.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The variables and the folder that a run starts with.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    directory: PathBuf,
}

impl Environment {
    pub fn new<N: Into<String>, V: Into<OsString>>(
        directory: impl Into<PathBuf>,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, directory: directory.into() }
    }

    /// The one place where the real environment is read. Names that are not Unicode are none of ours.
    pub fn of_this_process() -> Self {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::new(std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")), variables)
    }

    /// The folder that the process was started in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// The value as it is; `None` when the variable does not exist.
    pub fn raw(&self, name: &str) -> Option<&OsString> {
        self.variables.get(name)
    }

    /// The value, trimmed as the runner's toolkit trims; `None` when it is absent, empty or not Unicode.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name)?.to_str().map(str::trim).filter(|text| !text.is_empty())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.raw(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Whether GitHub's runner (or something that acts like it) started us.
    pub fn in_actions(&self) -> bool {
        self.text("GITHUB_ACTIONS") == Some("true")
    }

    /// The repository's files: the runner's workspace, or where we were started.
    pub fn workspace(&self) -> PathBuf {
        self.path("GITHUB_WORKSPACE").filter(|_| self.in_actions()).unwrap_or_else(|| self.directory.clone())
    }
}
