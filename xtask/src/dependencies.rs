//! Every crate that a manifest of ours names has its reason in `docs/dependencies.md`, and the page names no other.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

const PAGE: &str = "docs/dependencies.md";

pub(crate) fn complaints(root: &Path) -> Result<Vec<String>> {
    let read = |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("reading {name}"));
    let mut named = BTreeSet::new();
    for manifest in ["Cargo.toml", "lab/Cargo.toml", "xtask/Cargo.toml"] {
        named.extend(crates(&read(manifest)?));
    }
    let listed: BTreeSet<String> = listed(&read(PAGE)?).collect();
    let lacks = named.difference(&listed).map(|name| format!("{PAGE}: `{name}` has no reason there"));
    let more = listed.difference(&named).map(|name| format!("{PAGE}: no manifest names `{name}`"));
    Ok(lacks.chain(more).collect())
}

/// The crates of others under a manifest's dependencies, by the names under which they are published.
fn crates(manifest: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        let Some((name, what)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) else { continue };
        let package = what.split_once("package = \"").and_then(|(_, rest)| rest.split_once('"')).map(|(name, _)| name);
        // One that takes all from the workspace has its package there.
        let elsewhere = what.contains("path = ") || name.trim().ends_with(".workspace");
        if !elsewhere {
            found.insert(package.unwrap_or_else(|| name.trim()).to_owned());
        }
    }
    found
}

/// The names in the first columns of the page's tables.
fn listed(page: &str) -> impl Iterator<Item = String> {
    page.lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_known_by_the_names_under_which_they_are_published() {
        let manifest = "[package]\nname = \"x\"\n[workspace.dependencies]\nserde = \"1\"\nyaml = { package = \"yaml_serde\", version = \"0.10\" }\n\
             # a = \"1\"\n[dependencies]\nserde.workspace = true\nlab = { path = \"lab\" }\nurl = { version = \"2\" }\n[features]\nfault = []\n";
        assert_eq!(crates(manifest), ["serde", "url", "yaml_serde"].map(str::to_owned).into());
        let page = "| crate | why |\n|---|---|\n| `serde`, `url` | text |\nIn `prose`.\n";
        assert_eq!(listed(page).collect::<Vec<_>>(), ["serde", "url"]);
    }
}
