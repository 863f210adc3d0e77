//! `preflight`: whether a release would be possible. It reads what a release would need, changes nothing, and names every blocker in one run.
//!
//! Each row judges one subject. What a row needs and an earlier one could not find out, it does not guess: it says that it did not look,
//! and the earlier row has failed.

pub mod list;

pub(crate) mod access;
mod env_file;

mod room;
mod served;
pub(crate) mod sheet;

use std::rc::Rc;

pub use self::{
    access::shared_folders,
    env_file::env_file,
    room::{backups, room},
    served::{can_reload, nginx, php, privileges, reloads},
};
use crate::{
    context::Survey,
    domain::{
        bundle::Manifest,
        gate::{self, FrontEnd, GateReport, Must, VITE_CONFIGS},
        record::key,
    },
    engine::{
        Done,
        step::{Io, StepResult},
    },
    errors,
    server::{
        inspect::{About, Looked, NO_SERVER, Problem},
        survey,
    },
};

/// The nine gates, from the contents of the bundle. On the server they are asked again.
pub async fn gates(cx: &Survey, io: &Io) -> StepResult {
    let Some(manifest) = cx.state.borrow().manifest() else {
        return Ok(Done::skipped("skipped: there is no bundle"));
    };
    let report = judge(&manifest, cx.inputs.front_end);
    io.record(key::GATES, &report);
    let lines: Vec<String> = report
        .failures()
        .map(|gate| format!("{}: {}", gate.name, gate.problem.as_deref().unwrap_or_default()))
        .collect();
    if lines.is_empty() {
        return Ok(Done::passed(format!("{}{}", report.score(), cx.inputs.front_end.note())));
    }
    Err(errors::preflight::gates_failed(&report.score(), lines))
}

fn judge(manifest: &Manifest, front_end: FrontEnd) -> GateReport {
    let mut report = GateReport::default();
    let has = |path: &str| manifest.files.contains_key(path) || manifest.links.contains_key(path);
    for gate in gate::gates(front_end) {
        let problem = match gate.must {
            Must::Folder => {
                let inside = format!("{}/", gate.path);
                let mut paths = manifest.files.keys().chain(manifest.links.keys());
                (!paths.any(|path| path.starts_with(&inside))).then(|| "missing".to_owned())
            }
            Must::File => match manifest.files.get(gate.path) {
                Some(file) if file.size == 0 => Some("empty".to_owned()),
                // A link in a bundle leads to something that is in it; that was checked when it was opened.
                _ if has(gate.path) => None,
                _ => Some(gate::missing(gate.path, has)),
            },
            // What the views say, the build and the server look at.
            Must::NoVite => VITE_CONFIGS.iter().find(|path| has(path)).map(|path| gate::vite_config(path)),
        };
        report.record(gate.path, problem);
    }
    report
}

fn problems(cx: &Survey, looked: &Looked, about: About) -> Vec<Problem> {
    let all = survey::problems(&cx.inputs, looked);
    all.into_iter().filter(|problem| problem.about == about).collect()
}

/// What the server said, if there is a base folder to speak of.
fn looked(cx: &Survey) -> Option<Rc<Looked>> {
    cx.state.borrow().looked.clone()
}

/// The same, for rows about what lies in the base folder.
fn in_place(cx: &Survey) -> Result<Rc<Looked>, Done> {
    match looked(cx) {
        None => Err(Done::skipped(NO_SERVER)),
        Some(looked) if looked.answer.get("base") == Some("missing") => {
            Err(Done::skipped(format!("skipped: {} does not exist", cx.inputs.layout.base())))
        }
        Some(looked) => Ok(looked),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{Sha256Digest, bundle::FileEntry};

    fn manifest(files: &[(&str, u64)]) -> Manifest {
        let entry = |size| FileEntry { sha256: Sha256Digest::of("x"), size, executable: false };
        Manifest {
            version: Manifest::VERSION,
            commit: "0123456789abcdef0123456789abcdef01234567".parse().expect("a commit"),
            php: Default::default(),
            locks: BTreeMap::new(),
            files: files.iter().map(|(path, size)| ((*path).to_owned(), entry(*size))).collect(),
            links: BTreeMap::from([("composer.json".to_owned(), "config/composer.json".to_owned())]),
        }
    }

    #[test]
    fn f10_the_gates_are_judged_by_what_the_bundle_holds() {
        let mut files = vec![
            ("artisan", 1),
            ("public/index.php", 1),
            ("vendor/autoload.php", 1),
            ("public/build/manifest.json", 0),
            ("bootstrap/app.php", 1),
            ("config/app.php", 1),
            ("routes/web.php", 1),
            ("application.php", 1),
        ];
        let failed = |files: &[(&str, u64)]| -> Vec<String> {
            let report = judge(&manifest(files), FrontEnd::Vite);
            report
                .failures()
                .map(|gate| format!("{} {}", gate.name, gate.problem.clone().unwrap_or_default()))
                .collect()
        };
        assert_eq!(failed(&files), ["public/build/manifest.json empty", "app missing"]);
        files[3].1 = 2;
        files.push(("app/Kernel.php", 0));
        assert_eq!(failed(&files), Vec::<String>::new());
    }

    #[test]
    fn fd19_without_a_front_end_nothing_may_refer_to_vite_and_a_misplaced_manifest_is_named() {
        let report = |files: &[(&str, u64)], front_end| judge(&manifest(files), front_end);
        let sound = [
            ("artisan", 1),
            ("public/index.php", 1),
            ("vendor/autoload.php", 1),
            ("bootstrap/app.php", 1),
            ("config/app.php", 1),
            ("routes/web.php", 1),
            ("app/User.php", 1),
        ];
        let problem = |report: &GateReport| report.failures().next().and_then(|gate| gate.problem.clone());
        let without = report(&sound, FrontEnd::None);
        assert_eq!((without.score(), without.results[4].name.as_str()), ("9/9".to_owned(), "no-vite"));
        let with_config = [&sound[..], &[("vite.config.ts", 1)]].concat();
        let refers = report(&with_config, FrontEnd::None);
        assert_eq!(problem(&refers).as_deref(), Some("the app refers to Vite: vite.config.ts is there"));
        assert_eq!(problem(&report(&sound, FrontEnd::Vite)).as_deref(), Some("missing"));
        let misplaced = [&sound[..], &[("public/build/.vite/manifest.json", 1)]].concat();
        let named = problem(&report(&misplaced, FrontEnd::Vite)).expect("a problem");
        assert!(named.starts_with("missing; Vite wrote public/build/.vite/manifest.json"), "{named}");
    }
}
