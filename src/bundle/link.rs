//! Where symbolic links lead. The writing and the reading side of a bundle ask the same question.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::bundle::Manifest;

/// Why a link of a package is left out.
pub(crate) const DANGLING: &str = "a package's link that leads to nothing";

/// The path inside the tree to which `target` leads from the link at `link` (both as in [`Manifest::links`]).
///
/// Steps up (`..`) may stand at the beginning only. There they leave real folders, because no entry of a bundle lies
/// behind a link; further on they could leave a folder that is a link itself and end anywhere.
///
/// [`Manifest::links`]: crate::domain::bundle::Manifest::links
pub(crate) fn destination(link: &str, target: &str) -> Result<String, String> {
    if target.is_empty() {
        return Err("its target is empty".to_owned());
    }
    if target.starts_with('/') {
        return Err(format!("it points to the absolute path {target}, which is different on another machine"));
    }
    if target.chars().any(char::is_control) {
        return Err("its target contains control characters".to_owned());
    }
    let mut at: Vec<&str> = link.split('/').collect();
    at.pop();
    let mut gone_down = false;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if gone_down => {
                return Err(format!("it points to {target}, which contains `..` after a folder"));
            }
            ".." => {
                at.pop().ok_or_else(|| format!("it points to {target}, outside the source folder"))?;
            }
            part => {
                gone_down = true;
                at.push(part);
            }
        }
    }
    if at.is_empty() {
        return Err(format!("it points to {target}, the source folder itself"));
    }
    Ok(at.join("/"))
}

/// Whether nothing of a release can be at `target`: it is absolute, or it climbs out of the tree.
pub(crate) fn leads_outside(link: &str, target: &str) -> bool {
    let climbs = target.split('/').filter(|part| !matches!(*part, "" | ".")).take_while(|part| *part == "..").count();
    target.starts_with('/') || climbs > link.matches('/').count()
}

/// Where the release writes what it caches, the app's settings among it.
const CACHES: &str = "bootstrap/cache";

/// Why nothing of a release may be reached by another name here: the server puts secrets there after the bundle was judged.
pub(crate) fn is_private(destination: &str) -> bool {
    is_at_or_below(destination, CACHES) || is_at_or_below(CACHES, destination)
}

pub(crate) fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why a link of a bundle may not be in a release, for the first that may not: it leads to nothing that the bundle has and the server
/// shares, so that whatever the server puts there (`.env`) would be reached by another name.
///
/// `folders` are those that the bundle has beside its files. `build-gate` asks the same of a tree; a bundle may be made by another program.
pub(crate) fn unusable(manifest: &Manifest, folders: &BTreeSet<String>, shared: &[String]) -> Option<String> {
    if manifest.links.is_empty() {
        return None;
    }
    let above = |path: &'_ str| path.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
    let paths = manifest.files.keys().chain(manifest.links.keys()).chain(folders);
    let known: HashSet<&str> =
        paths.flat_map(|path| above(path).into_iter().chain([path.len()]).map(|at| &path[..at])).collect();
    // What lies behind another link is that link's business: it is checked on its own.
    let behind_a_link = |path: &str| above(path).into_iter().any(|at| manifest.links.contains_key(&path[..at]));
    let problem = |(path, target): (&String, &String)| {
        let problem = match destination(path, target) {
            Err(problem) => problem,
            Ok(destination) if is_private(&destination) => PRIVATE.to_owned(),
            Ok(destination) if shared.iter().any(|folder| is_at_or_below(&destination, folder)) => return None,
            Ok(destination) if known.contains(destination.as_str()) || behind_a_link(&destination) => return None,
            Ok(_) => format!("it points to {target}, which is not in the bundle"),
        };
        Some(format!("the link `{path}`: {problem}"))
    };
    manifest.links.iter().find_map(problem)
}

/// Why a link to the caches is refused.
pub(crate) const PRIVATE: &str =
    "it points to the folder of the caches, in which the release stores the app's settings";

/// What a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadsTo<'l> {
    /// Something that stays, or that another check judges.
    Something,
    /// This link, or what lies behind it.
    Link(&'l str),
    Nothing,
}

/// The links among `links` that lead to nothing, also through others of them. `asked` says where one leads, given those that are gone.
///
/// A link is asked again only when the one that it leads to is gone, so that a long chain costs one step a link. `step` can end the work.
pub(crate) fn dangling<'l, E>(
    links: impl Iterator<Item = &'l str>,
    asked: impl Fn(&str, &BTreeSet<&'l str>) -> LeadsTo<'l>,
    mut step: impl FnMut() -> Result<(), E>,
) -> Result<BTreeSet<&'l str>, E> {
    let mut gone = BTreeSet::new();
    let mut led_to: HashMap<&str, Vec<&'l str>> = HashMap::new();
    let mut open: Vec<&str> = links.collect();
    while let Some(link) = open.pop() {
        step()?;
        match asked(link, &gone) {
            LeadsTo::Something => {}
            LeadsTo::Link(next) => led_to.entry(next).or_default().push(link),
            LeadsTo::Nothing => {
                gone.insert(link);
                open.extend(led_to.remove(link).unwrap_or_default());
            }
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, convert::Infallible};

    use super::*;

    /// A chain of links, in the order in which each round of a naive search would find one.
    #[test]
    fn a_long_chain_of_links_costs_one_step_a_link() {
        const LINKS: usize = 200_000;
        let names: Vec<String> = (0..LINKS).map(|n| format!("vendor/acme/mail/{n:06}")).collect();
        let next = |link: &str| link.rsplit('/').next().and_then(|n| n.parse::<usize>().ok()).map(|n| n + 1);
        let steps = Cell::new(0);
        let lead = |link: &str, gone: &BTreeSet<&str>| match next(link).and_then(|n| names.get(n)) {
            Some(next) if !gone.contains(next.as_str()) => LeadsTo::Link(next),
            _ => LeadsTo::Nothing,
        };
        let step = || {
            steps.set(steps.get() + 1);
            Ok::<(), Infallible>(())
        };
        let Ok(gone) = dangling(names.iter().rev().map(String::as_str), lead, step);
        assert_eq!(gone.len(), LINKS);
        assert!(steps.get() <= 2 * LINKS, "{} steps", steps.get());
    }

    #[test]
    fn what_is_absolute_or_climbs_out_of_the_tree_leads_outside() {
        for (link, target) in [("a", "/etc/passwd"), ("a", "../b"), ("a/b", "./..//../c")] {
            assert!(leads_outside(link, target), "{link} -> {target}");
        }
        for (link, target) in [("a/b", "../c"), ("a/b", "c/../../../x"), ("a", "b")] {
            assert!(!leads_outside(link, target), "{link} -> {target}");
        }
    }

    #[test]
    fn links_inside_the_tree_are_followed_by_name() {
        assert_eq!(
            destination("vendor/bin/pest", "../pestphp/pest/bin/pest").as_deref(),
            Ok("vendor/pestphp/pest/bin/pest")
        );
        assert_eq!(destination("public/files", "../storage/app/files").as_deref(), Ok("storage/app/files"));
        assert_eq!(destination("a", "./b").as_deref(), Ok("b"));
    }

    #[test]
    fn links_that_leave_the_tree_are_named_as_such() {
        for (link, target) in [
            ("a", "/etc/passwd"),
            ("a", "../b"),
            ("a/b", "../../c"),
            ("a/b", ".."),
            ("a", ""),
            ("a/b", "c/../../../x"),
            ("a", "b\nc"),
        ] {
            assert!(destination(link, target).is_err(), "{link} -> {target}");
        }
    }
}
