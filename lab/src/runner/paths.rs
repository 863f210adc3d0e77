//! Where things lie on the runner's machine, and the names they have inside a container.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::workspace::scratch;

/// The directories of a runner (`_work` and below), gone when dropped.
#[derive(Debug)]
pub(super) struct WorkDir {
    /// Owns the directories; never read.
    _root: TempDir,
    pub(super) workspace: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) home: PathBuf,
    pub(super) workflow: PathBuf,
    pub(super) file_commands: PathBuf,
}

impl WorkDir {
    /// Lays out `_work/<repo>/<repo>` and `_work/_temp` with what the runner keeps there.
    pub(super) fn create() -> std::io::Result<WorkDir> {
        let root = scratch("runner").map_err(std::io::Error::other)?;
        let work = root.path().join("_work");
        let temp = work.join("_temp");
        let dirs = WorkDir {
            workspace: work.join("repo/repo"),
            home: temp.join("_github_home"),
            workflow: temp.join("_github_workflow"),
            file_commands: temp.join("_runner_file_commands"),
            temp,
            _root: root,
        };
        for dir in [&dirs.workspace, &dirs.home, &dirs.workflow, &dirs.file_commands] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(dirs)
    }

    /// Host directory and container path of each mount, in the order in which paths are translated
    /// (`ContainerInfo.cs`: the mapping added last is looked at first).
    pub(super) fn mounts(&self) -> [(&Path, &'static str); 5] {
        [
            (&self.workspace, "/github/workspace"),
            (&self.file_commands, "/github/file_commands"),
            (&self.workflow, "/github/workflow"),
            (&self.home, "/github/home"),
            (&self.temp, RUNNER_TEMP),
        ]
    }
}

/// Mounted since runner 2.331.0.
pub(super) const RUNNER_TEMP: &str = "/github/runner_temp";

/// Translates between the runner's paths and those a step sees.
#[derive(Clone, Debug, Default)]
pub(super) struct PathMap {
    workspace: String,
    /// Host path, container path; empty when the step runs outside of a container.
    mounts: Vec<(String, String)>,
}

impl PathMap {
    /// For a step that runs as a plain process and sees the runner's own paths.
    pub(super) fn of_host(dirs: &WorkDir) -> PathMap {
        PathMap { workspace: dirs.workspace.display().to_string(), mounts: Vec::new() }
    }

    /// For a step in a container with these mounts.
    pub(super) fn of_container(dirs: &WorkDir, mounts: &[(&Path, &str)]) -> PathMap {
        let mounts = mounts.iter().map(|(host, inside)| (host.display().to_string(), (*inside).to_owned()));
        PathMap { mounts: mounts.collect(), ..PathMap::of_host(dirs) }
    }

    /// `TranslateToContainerPath`: only a whole value or a leading directory is replaced, first match wins.
    pub(super) fn to_step(&self, value: &str) -> String {
        translate(value, self.mounts.iter().map(|(host, inside)| (host.as_str(), inside.as_str())))
    }

    /// The `file` of an annotation, as the runner stores it: a host path, relative where it lies in the workspace.
    pub(super) fn relative_to_workspace(&self, file: &str) -> String {
        let host = translate(file, self.mounts.iter().map(|(host, inside)| (inside.as_str(), host.as_str())));
        let relative = host.strip_prefix(&self.workspace).and_then(|rest| rest.strip_prefix('/'));
        relative.map(str::to_owned).unwrap_or(host)
    }
}

fn translate<'a>(value: &str, mut mappings: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    mappings
        .find_map(|(from, to)| {
            let rest = value.strip_prefix(from)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
        })
        .unwrap_or_else(|| value.to_owned())
}
