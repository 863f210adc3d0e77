//! Paths in the workspace.

use std::path::{Component, Path, PathBuf};

use super::value::Wrong;

/// Resolves a path of the workspace: relative to it, or absolute and inside of it (the runner translates
/// `${{ github.workspace }}` to the folder that the container sees).
///
/// It must stay inside, both as written and where its links really lead; it need not exist yet.
pub fn resolve(workspace: &Path, text: &str) -> Result<PathBuf, Wrong> {
    let outside = || Wrong {
        problem: "leaves the workspace".to_owned(),
        right: "write a path inside of it, such as `.`, or `build/app`".to_owned(),
    };
    let written = Path::new(text);
    let relative =
        if written.is_absolute() { written.strip_prefix(workspace).map_err(|_| outside())? } else { written };
    let mut path = workspace.to_path_buf();
    let mut depth = 0_usize;
    for component in relative.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => {
                path.push(part);
                depth += 1;
            }
            Component::ParentDir if depth > 0 => {
                path.pop();
                depth -= 1;
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let really = path.ancestors().find_map(|ancestor| ancestor.canonicalize().ok());
    match (really, workspace.canonicalize()) {
        (Some(really), Ok(workspace)) if really.starts_with(&workspace) => Ok(path),
        (_, Err(error)) => Err(Wrong {
            problem: format!("cannot be resolved: the workspace {} is not readable ({error})", workspace.display()),
            right: "run it in a folder that exists".to_owned(),
        }),
        _ => Err(outside()),
    }
}

/// A path as one reads it: relative to the workspace where it is inside.
pub fn show(workspace: &Path, path: &Path) -> String {
    path.strip_prefix(workspace).unwrap_or(path).display().to_string()
}
