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
    /// It lies below `vendor/`. [`sorted_samples`] decides once all is read.
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

/// Files of packages, and whose they are.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// Published packages brought them.
    pub(crate) public: Vec<String>,
    /// The project's own: they are in no package, in one that Composer took from a folder of this machine (`"type": "path"`), or in one that
    /// [`INSTALLED`] does not describe.
    pub(crate) own: Vec<String>,
    /// [`INSTALLED`] cannot be read, so that all of them count as the project's own.
    unread: bool,
}

impl Samples {
    /// Why one of [`Samples::own`] is refused.
    pub(crate) fn refusal(&self, path: &str) -> String {
        let why =
            if self.unread { format!(" ({INSTALLED} cannot be read: its package is unknown)") } else { String::new() };
        refusal(path) + &why
    }
}

/// Why a file of the project is refused.
pub(crate) fn refusal(path: &str) -> String {
    format!("{path} contains a private key, or has the name of one; remove it from the build")
}

/// Whose `samples` are. `installed` is what [`INSTALLED`] holds.
pub(crate) fn sorted_samples(samples: Vec<String>, installed: Option<&[u8]>) -> Samples {
    if samples.is_empty() {
        return Samples::default();
    }
    let published = published(installed.unwrap_or_default());
    let is_public = |path: &String| {
        rules::package_of(path).is_some_and(|package| published.as_ref().is_some_and(|known| known.contains(package)))
    };
    let (public, own) = samples.into_iter().partition(is_public);
    Samples { public, own, unread: published.is_none() }
}

/// The packages that Composer took from a published place; `None` if the list cannot be read. What is not known to be published may be a
/// secret of the project, so every doubt counts against the package.
fn published(installed: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Packages {
        packages: Vec<Origin>,
    }
    #[derive(Deserialize)]
    struct Origin {
        name: String,
        #[serde(default)]
        dist: Option<Place>,
        #[serde(default)]
        source: Option<Place>,
    }
    #[derive(Deserialize)]
    struct Place {
        #[serde(default, rename = "type")]
        kind: String,
    }
    let packages = serde_json::from_slice::<Packages>(installed).ok()?.packages;
    let is_published = |package: &Origin| {
        let place = package.dist.as_ref().or(package.source.as_ref());
        place.is_some_and(|place| !matches!(place.kind.as_str(), "" | "path"))
    };
    Some(packages.into_iter().filter(is_published).map(|package| package.name).collect())
}

/// One note for all of them.
pub(crate) fn note(samples: &[String]) -> Option<String> {
    let first = samples.first()?;
    let package = rules::package_of(first).unwrap_or_default();
    let what = match samples.len() {
        1 => format!("{first} looks like a private key"),
        count => format!("{count} files of packages look like private keys, the first is {first}"),
    };
    Some(format!("shipped: {what}; it is part of the package {package}; check it if the package is private"))
}
