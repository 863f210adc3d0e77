//! Layer 1: the nine gates and the further checks of a built tree.

use super::{
    check::Findings,
    composer,
    tree::{Entry, Tree},
    vite,
};
use crate::domain::{
    Warning,
    gate::{self, FrontEnd, Gate, Must},
};

/// Judges the tree as it would be shipped, not as it lies on the disk: a file that is left out is missing. The results are
/// warnings; what refuses the tree is in `findings`.
pub(crate) fn judge(tree: &Tree, findings: &mut Findings) -> Vec<Warning> {
    let front_end = findings.front_end();
    for gate in gate::gates(front_end) {
        if let Some(problem) = problem(&gate, tree, findings) {
            findings.add_gate(gate.path, problem);
        }
    }
    let mut warnings = composer::check(tree, findings);
    if front_end == FrontEnd::Vite {
        warnings.extend(vite::check(tree, findings));
    }
    warnings
}

fn problem(gate: &Gate, tree: &Tree, findings: &mut Findings) -> Option<String> {
    if gate.must == Must::NoVite {
        return vite::referred_to(tree, findings);
    }
    match (gate.must == Must::Folder, tree.entries.get(gate.path)) {
        (false, Some(Entry::File(file))) if file.stamp.size > 0 => None,
        (false, Some(Entry::File(_))) => Some("is empty".to_owned()),
        (true, Some(Entry::Folder)) => {
            let inside = format!("{}/", gate.path);
            let holds_a_file = tree.files().any(|(path, _)| path.starts_with(&inside));
            (!holds_a_file).then(|| "contains no file".to_owned())
        }
        (_, Some(Entry::File(_))) => Some("is a file, not a folder".to_owned()),
        (_, Some(Entry::Folder)) => Some("is a folder, not a file".to_owned()),
        (_, Some(Entry::Link { .. })) => Some("is a link: the release needs the file or folder itself".to_owned()),
        (_, None) => Some(match tree.why_left_out(gate.path) {
            Some(because) => format!("would be left out of the bundle ({because})"),
            None => format!("is {}", gate::missing(gate.path, |path| tree.file(path).is_some())),
        }),
    }
}
