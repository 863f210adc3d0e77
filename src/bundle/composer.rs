//! What Composer left in the tree: packages, lock file, the PHP that they need.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    check::{Check, Findings},
    keys::INSTALLED,
    tree::Tree,
};
use crate::{
    domain::{Sha256Digest, Warning, bundle::PhpVersions},
    errors::build,
};

const LOCK: &str = "composer.lock";

/// Lock files whose digests go into the manifest (F24).
const LOCKS: [&str; 5] = [LOCK, "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"];

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
}

/// `vendor/composer/installed.json` as Composer 2 writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Installed {
    packages: Vec<Package>,
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    dev_package_names: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Lock {
    packages: Vec<Package>,
}

/// Checks what is installed (F25), and that it is what the lock file says (F24). The results are warnings.
pub(crate) fn check(tree: &Tree, findings: &mut Findings) -> Vec<Warning> {
    // Without an autoloader the nine gates have said all there is to say.
    if tree.file("vendor/autoload.php").is_none() {
        return Vec::new();
    }
    let installed = match parsed::<Installed>(tree, INSTALLED) {
        Ok(Some(installed)) => installed,
        Ok(None) => {
            findings.add(Check::DevPackages, format!("{INSTALLED} is missing: the packages in vendor are unknown"));
            return Vec::new();
        }
        Err(problem) => {
            findings.add(Check::DevPackages, format!("{problem} (Composer 2 is needed)"));
            return Vec::new();
        }
    };
    check_dev(&installed, findings);
    match parsed::<Lock>(tree, LOCK) {
        Ok(Some(lock)) => check_lock(&installed, &lock, findings),
        Ok(None) => {
            return vec![build::lock_file_missing(LOCK)];
        }
        Err(problem) => findings.add(Check::LockFile, problem),
    }
    Vec::new()
}

fn parsed<T: for<'de> Deserialize<'de>>(tree: &Tree, path: &str) -> Result<Option<T>, String> {
    let Some(json) = tree.contents(path)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|error| format!("{path} cannot be read: {error}"))
}

fn check_dev(installed: &Installed, findings: &mut Findings) {
    let mut dev = installed
        .packages
        .iter()
        .map(|package| &package.name)
        .filter(|name| installed.dev_package_names.contains(name))
        .peekable();
    if dev.peek().is_none() && installed.dev {
        findings.add(Check::DevPackages, format!("{INSTALLED} shows that Composer ran without --no-dev"));
    }
    for name in dev {
        findings.add(Check::DevPackages, format!("{name} is a development package"));
    }
}

/// Development packages apart, what is installed has to be what the lock file says: nothing more, less or other.
fn check_lock(installed: &Installed, lock: &Lock, findings: &mut Findings) {
    let is_dev = |name: &str| installed.dev_package_names.iter().any(|dev| dev == name);
    let installed: BTreeMap<&str, &str> = by_name(&installed.packages).filter(|(name, _)| !is_dev(name)).collect();
    let locked: BTreeMap<&str, &str> = by_name(&lock.packages).collect();
    for (name, version) in &locked {
        match installed.get(name) {
            Some(found) if found == version => {}
            Some(found) => {
                findings.add(Check::LockFile, format!("{name} is installed as {found}, but {LOCK} has {version}"))
            }
            None => findings.add(Check::LockFile, format!("{name} {version} is in {LOCK} but is not installed")),
        }
    }
    for name in installed.keys().filter(|name| !locked.contains_key(*name)) {
        findings.add(Check::LockFile, format!("{name} is installed but is not in {LOCK}"));
    }
}

fn by_name(packages: &[Package]) -> impl Iterator<Item = (&str, &str)> {
    packages.iter().map(|package| (package.name.as_str(), package.version.as_str()))
}

/// Digests of the lock files that are there.
pub(crate) fn locks(tree: &Tree) -> BTreeMap<String, Sha256Digest> {
    locks_of(|path| tree.file(path).map(|file| file.sha256.clone()))
}

/// The same, wherever the digests of files come from.
pub(crate) fn locks_of(digest: impl Fn(&str) -> Option<Sha256Digest>) -> BTreeMap<String, Sha256Digest> {
    LOCKS.iter().filter_map(|path| Some(((*path).to_owned(), digest(path)?))).collect()
}

/// The files that [`php_of`] reads.
pub(crate) const READ: [&str; 2] = ["composer.json", "vendor/composer/platform_check.php"];

/// What the tree asks of PHP (F23). What cannot be read is not asked: the server's own check of the autoloader decides.
pub(crate) fn php(tree: &Tree) -> PhpVersions {
    php_of(|path| tree.contents(path).ok().flatten())
}

/// The same, wherever the contents of [`READ`] come from.
pub(crate) fn php_of(contents: impl Fn(&str) -> Option<Vec<u8>>) -> PhpVersions {
    let [json, platform_check] = READ;
    let composer =
        contents(json).and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok()).unwrap_or_default();
    let required = composer.pointer("/config/platform/php").or_else(|| composer.pointer("/require/php"));
    PhpVersions {
        required: required.and_then(|version| version.as_str()).map(str::to_owned),
        minimum_id: contents(platform_check).and_then(|php| minimum_id(&String::from_utf8_lossy(&php))),
    }
}

/// Composer writes `if (!(PHP_VERSION_ID >= 80100)) {`.
fn minimum_id(platform_check: &str) -> Option<u32> {
    let (_, after) = platform_check.split_once("PHP_VERSION_ID >= ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// For `fuzzing`.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut findings = Findings::default();
    let (one, other) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    if let Ok(installed) = serde_json::from_slice::<Installed>(one) {
        check_dev(&installed, &mut findings);
        if let Ok(lock) = serde_json::from_slice::<Lock>(other.get(1..).unwrap_or_default()) {
            check_lock(&installed, &lock, &mut findings);
        }
    }
    minimum_id(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use super::minimum_id;

    #[test]
    fn f23_the_lowest_php_is_read_from_the_platform_check() {
        assert_eq!(minimum_id("if (!(PHP_VERSION_ID >= 80100)) {\n    $issues[] = '...';"), Some(80_100));
        assert_eq!(minimum_id("// no PHP version is asked for"), None);
    }
}
