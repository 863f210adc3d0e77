//! What looks like a private key: a secret of this project, or a sample that a package publishes.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::rules;

/// What Composer installed, and from where.
pub(crate) const INSTALLED: &str = "vendor/composer/installed.json";

/// What a file is, by its path and by what was found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    None,
    /// It lies below `vendor/`. [`told_apart`] decides once all is read.
    Sample,
    Secret,
}

/// `found`: a private key is in it. The rules refuse what is called like one outside of `vendor/`.
pub(crate) fn of(path: &str, found: bool) -> Key {
    match (rules::is_vendor(path), found) {
        // A library that reads keys names their armour, and its tests carry some.
        (true, _) if path.ends_with(".php") => Key::None,
        (true, true) => Key::Sample,
        (true, false) if rules::is_called_like_a_key(path) => Key::Sample,
        (false, true) => Key::Secret,
        (_, false) => Key::None,
    }
}

pub(crate) fn contains(path: &str) -> String {
    format!("{path} contains a private key")
}

/// The files that published packages brought, and the others: those of no package, and of packages that Composer took from a folder
/// of this machine (`"type": "path"`). `installed` is what [`INSTALLED`] holds.
pub(crate) fn sorted_samples(samples: Vec<String>, installed: Option<&[u8]>) -> (Vec<String>, Vec<String>) {
    if samples.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let local = local_packages(installed.unwrap_or_default());
    samples.into_iter().partition(|path| rules::package_of(path).is_some_and(|package| !local.contains(package)))
}

/// The packages that Composer took from a folder of the build machine and published nowhere. Of what cannot be read, none: that is refused
/// elsewhere.
fn local_packages(installed: &[u8]) -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Packages {
        packages: Vec<Origin>,
    }
    #[derive(Deserialize)]
    struct Origin {
        name: String,
        #[serde(default)]
        dist: Option<Dist>,
    }
    #[derive(Deserialize)]
    struct Dist {
        #[serde(rename = "type")]
        kind: String,
    }
    let packages =
        serde_json::from_slice::<Packages>(installed).map(|installed| installed.packages).unwrap_or_default();
    let is_local = |package: &Origin| package.dist.as_ref().is_some_and(|dist| dist.kind == "path");
    packages.into_iter().filter(is_local).map(|package| package.name).collect()
}

/// One note for all of them.
pub(crate) fn note(samples: &[String]) -> Option<String> {
    let first = samples.first()?;
    let what = match samples.len() {
        1 => format!("{first} looks like a private key"),
        count => format!("{count} files of packages look like private keys, the first is {first}"),
    };
    Some(format!("shipped: {what}. What a published package brings is public"))
}
