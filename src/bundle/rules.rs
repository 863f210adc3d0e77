//! What of a built tree goes into the bundle: everything, but for the table below (F19: a list of what to take forgets files).

use super::check::Check;
use crate::domain::bundle::MANIFEST_PATH;

/// What happens to a path of the tree, and to everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    Ship,
    /// Normal to find in a build, and not part of a release. It is left where it is, and reported.
    LeaveOut,
    /// No build should have it. The gate refuses, because leaving it out silently would hide a mistake.
    Refuse(Check),
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    place: Place,
    /// Whether it counts below `vendor/` only (`Some(true)`), outside of it only, or everywhere.
    vendor: Option<bool>,
    /// Whether it counts for files and links only. What lies in a folder of such a name may be code.
    files: bool,
    /// Whether a manifest written by hand may not name it either: it may hold secrets.
    never: bool,
    pub(crate) treatment: Treatment,
    pub(crate) because: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// This very path.
    At(&'static str),
    /// Anything of this name.
    Named(&'static str),
    /// Anything whose name begins so.
    Beginning(&'static str),
    /// Anything whose name ends so, and is longer than that.
    Ending(&'static str),
    /// What lies directly in this folder and ends so.
    In(&'static str, &'static str),
    /// `.env` and its variants, `.envrc` too, but not names that merely begin like it.
    DotEnv,
    /// A variant of `.env` whose last part (`.env.production.example`) is one of these.
    DotEnvEnding(&'static [&'static str]),
    /// A variant of `.env` whose first part (`.env.testing.local`) is one of these.
    DotEnvBeginning(&'static [&'static str]),
    /// A file of SQLite directly in this folder, or what SQLite and Laravel's parallel tests keep beside one.
    Sqlite(&'static str),
}

/// The parts of a variant of `.env`, without that word: `production` and `example` of `.env.production.example`.
fn variant(name: &str) -> Option<std::str::Split<'_, [char; 3]>> {
    Some(name.strip_prefix(".env")?.strip_prefix(['.', '-', '_'])?.split(['.', '-', '_']))
}

/// No extension may stand behind that of SQLite: `seed.sqlite.php` is code.
fn is_sqlite(name: &str) -> bool {
    name.rsplit_once(".sqlite").is_some_and(|(_, rest)| {
        rest.strip_prefix('3').unwrap_or(rest).split(['-', '_']).next() == Some("") && !rest.contains('.')
    })
}

const fn rule_of(place: Place, treatment: Treatment, because: &'static str) -> Rule {
    Rule { place, vendor: None, files: false, never: false, treatment, because }
}

const fn ship(place: Place, because: &'static str) -> Rule {
    rule_of(place, Treatment::Ship, because)
}

const fn leave_out(place: Place, because: &'static str) -> Rule {
    rule_of(place, Treatment::LeaveOut, because)
}

const fn refuse(check: Check, place: Place, because: &'static str) -> Rule {
    rule_of(place, Treatment::Refuse(check), because)
}

impl Rule {
    /// Packages bring files of their own. They are public already, so they cannot be secrets of this project.
    const fn in_vendor(self) -> Self {
        Self { vendor: Some(true), ..self }
    }

    const fn outside_vendor(self) -> Self {
        Self { vendor: Some(false), ..self }
    }

    const fn files(self) -> Self {
        Self { files: true, ..self }
    }

    const fn never(self) -> Self {
        Self { never: true, ..self }
    }

    /// Whether no manifest may name it, neither one of `build-gate` nor one written by hand.
    pub(crate) fn forbids(&self) -> bool {
        self.never || matches!(self.treatment, Treatment::Refuse(_))
    }

    fn fits(&self, path: &str, is_folder: bool) -> bool {
        self.vendor.is_none_or(|vendor| vendor == is_vendor(path)) && !(self.files && is_folder) && self.place.is(path)
    }
}

impl Place {
    fn is(self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self {
            Self::At(whole) => path == whole,
            Self::Named(whole) => name == whole,
            Self::Beginning(start) => name.starts_with(start),
            Self::Ending(end) => name.ends_with(end) && name.len() > end.len(),
            Self::In(whole, end) => folder == whole && name.ends_with(end),
            Self::DotEnv => name
                .strip_prefix(".env")
                .is_some_and(|rest| rest == "rc" || !rest.starts_with(|next: char| next.is_ascii_alphanumeric())),
            Self::DotEnvEnding(last) => {
                variant(name).and_then(|mut parts| parts.next_back()).is_some_and(|part| last.contains(&part))
            }
            Self::DotEnvBeginning(first) => {
                variant(name).and_then(|mut parts| parts.next()).is_some_and(|part| first.contains(&part))
            }
            Self::Sqlite(whole) => folder == whole && is_sqlite(name),
        }
    }
}

/// Whether a path belongs to a package that Composer installed.
pub(crate) fn is_vendor(path: &str) -> bool {
    path.starts_with("vendor/")
}

/// The package in whose folder a path lies: `acme/mail` for `vendor/acme/mail/README.md`.
pub(crate) fn package_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("vendor/")?;
    let (at, _) = inside.match_indices('/').nth(1)?;
    Some(&inside[..at])
}

/// Files that are called like keys. Below `vendor/` they are samples and test data of packages.
pub(crate) fn is_called_like_a_key(path: &str) -> bool {
    KEY_NAMES.iter().any(|rule| rule.place.is(path))
}

/// The rule for a path, if one names it. The first that fits counts.
pub(crate) fn rule(path: &str, is_folder: bool) -> Option<&'static Rule> {
    RULES.iter().chain(KEY_NAMES).find(|rule| rule.fits(path, is_folder))
}

/// The whole deny-list.
const RULES: &[Rule] = &[
    // Version control, and what belongs to the build.
    // A repository's settings may hold tokens, and an editor's the passwords of servers and databases: no manifest may name them.
    leave_out(Place::Named(".git"), "the repository itself, expected after a checkout").never(),
    leave_out(Place::Named(".svn"), "a repository").never(),
    leave_out(Place::Named(".hg"), "a repository").never(),
    leave_out(Place::At(".github"), "workflows run at GitHub, not on the server"),
    leave_out(Place::At(".idea"), "an editor's settings").never(),
    leave_out(Place::At(".vscode"), "an editor's settings").never(),
    leave_out(Place::Named(".DS_Store"), "a file of a desktop system"),
    leave_out(Place::At("node_modules"), "a source of the front end; the site serves public/build"),
    leave_out(Place::At("tests"), "test suites never run on a server (F28)"),
    leave_out(Place::At("phpunit.xml"), "test suites never run on a server (F28)"),
    leave_out(Place::At("phpunit.xml.dist"), "test suites never run on a server (F28)"),
    leave_out(Place::At(".phpunit.cache"), "test suites never run on a server (F28)"),
    leave_out(Place::At(".phpunit.result.cache"), "test suites never run on a server (F28)"),
    leave_out(Place::Named(".npmrc"), "npm's settings, which may contain a token").never(),
    leave_out(Place::Ending(".log"), "logs of the build"),
    // Our own traces (F17).
    leave_out(Place::At(".gated-deploy"), "the output folder of gated-deploy"),
    leave_out(Place::Beginning("deployment-bundle-"), "an earlier bundle"),
    leave_out(Place::Beginning(".deployment-bundle-"), "an unfinished bundle"),
    leave_out(Place::At(MANIFEST_PATH), "an earlier bundle's manifest; a new one is written"),
    // What the server has and every release shares (F22, F64).
    leave_out(Place::At("storage"), "the server links it from shared/storage"),
    leave_out(Place::At("public/uploads"), "the server links it from shared/public/uploads"),
    leave_out(
        Place::At("public/storage"),
        "a link of `artisan storage:link`, which the server makes itself; here it points to the build machine",
    ),
    // State of the build machine (F26).
    ship(Place::At("bootstrap/cache/packages.php"), "class names, the same on every machine"),
    ship(Place::At("bootstrap/cache/services.php"), "class names, the same on every machine"),
    refuse(
        Check::CachedConfig,
        Place::In("bootstrap/cache", ".php"),
        "it contains paths and settings of the build machine",
    ),
    refuse(
        Check::DevServer,
        Place::At("public/hot"),
        "with it, Laravel loads every asset from a Vite dev server that does not run on the server",
    ),
    // SQLite's default place. What lies there comes from test runs; a database that a release brings would start anew with each release.
    leave_out(Place::Sqlite("database"), "a SQLite database of the build; the server has its own").files(),
    // Secrets. The server has its own `.env`. Templates and the settings of test runs are of no use there. All but `.env.example` may hold
    // secrets, so no manifest may name them.
    leave_out(Place::DotEnv, "a package's own file, which the app never reads").in_vendor(),
    leave_out(Place::Named(".env.example"), "a template without secrets, unused on the server").files(),
    leave_out(Place::DotEnvEnding(TEMPLATES), "a template of .env, unused on the server").files().never(),
    leave_out(Place::DotEnvEnding(&["encrypted"]), "an encrypted .env; the server has its own").files().never(),
    leave_out(Place::DotEnvBeginning(TEST_RUNS), "settings of test runs, which never run on a server (F28)")
        .files()
        .never(),
    refuse(Check::EnvFiles, Place::DotEnv, "the server has its own; this file may contain secrets").outside_vendor(),
    refuse(Check::EnvFiles, Place::Ending(".env"), "the server has its own; this file may contain secrets")
        .outside_vendor(),
    refuse(Check::PrivateKeys, Place::At("auth.json"), "Composer's access tokens"),
    refuse(Check::PrivateKeys, Place::Named(".netrc"), "passwords"),
    refuse(Check::PrivateKeys, Place::Named(".git-credentials"), "passwords"),
    refuse(Check::PrivateKeys, Place::Named(".ssh"), "SSH keys"),
];

/// Last parts of the names of templates: `.env.dist`, `.env.production.example`.
const TEMPLATES: &[&str] = &["example", "examples", "dist", "sample", "template", "tpl", "stub"];

/// First parts of the names of what Pest, PHPUnit and Dusk read: `.env.testing`, `.env.dusk.local`.
const TEST_RUNS: &[&str] = &["testing", "test", "dusk", "ci"];

/// What is called like a key. In a package it is as public as the package.
const KEY_NAMES: &[Rule] = &[
    refuse(Check::PrivateKeys, Place::Named("id_rsa"), "an SSH key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Named("id_dsa"), "an SSH key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Named("id_ecdsa"), "an SSH key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Named("id_ed25519"), "an SSH key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".ppk"), "a PuTTY key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".p12"), "a key store").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".pfx"), "a key store").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".jks"), "a key store").outside_vendor(),
];

#[cfg(test)]
mod tests {
    use super::{Treatment, is_called_like_a_key, package_of, rule};
    use crate::bundle::check::Check;

    fn treatment(path: &str) -> Treatment {
        rule(path, false).map_or(Treatment::Ship, |rule| rule.treatment)
    }

    #[test]
    fn a_release_is_shipped_whole() {
        for path in [
            "artisan",
            "app/Models/User.php",
            "app/Support/environment.php",
            "config/auth.json",
            "resources/js/locales/en/auth.json",
            "public/healthcheck.php",
            "public/.htaccess",
            "public/.well-known/security.txt",
            "public/vendor/filament/app.css",
            "vendor/acme/mail/tests/Stub.php",
            "vendor/acme/mail/storage/app.php",
            "bootstrap/cache/packages.php",
            "bootstrap/cache/.gitignore",
            ".environment",
        ] {
            assert_eq!(treatment(path), Treatment::Ship, "{path}");
        }
    }

    #[test]
    fn f26_env_files_are_refused_and_templates_left_out() {
        for path in [
            ".env",
            ".env.production",
            ".env.local",
            ".env.testings",
            ".env~",
            ".env-backup",
            ".env.example.bak",
            ".envrc",
            "docker/.env",
            "docker/mysql.env",
        ] {
            assert_eq!(treatment(path), Treatment::Refuse(Check::EnvFiles), "{path}");
        }
        for path in [".env.example", "vendor/acme/mail/.env", "vendor/acme/mail/.env.testing"] {
            assert_eq!(treatment(path), Treatment::LeaveOut, "{path}");
        }
    }

    /// They are left out, and no manifest written by hand may bring one to the server.
    #[test]
    fn fd18_settings_of_test_runs_and_templates_are_left_out_and_never_shipped() {
        for path in [
            ".env.testing",
            ".env.testing.local",
            ".env.dusk.local",
            ".env.ci",
            ".env.dist",
            ".env-example",
            ".env.production.template",
            ".env.production.encrypted",
            "docker/.env.sample",
        ] {
            let rule = rule(path, false).expect(path);
            assert!(rule.treatment == Treatment::LeaveOut && rule.forbids(), "{path}");
        }
        // A folder is no template, and what lies in it may be anything.
        assert_eq!(rule(".env.testing", true).map(|rule| rule.treatment), Some(Treatment::Refuse(Check::EnvFiles)));
    }

    /// `build-gate` leaves them out; a manifest written by hand may not bring one to a folder that the web server serves.
    #[test]
    fn se2_a_repository_and_the_settings_of_an_editor_are_never_shipped() {
        for path in [".git", "public/.git", "vendor/acme/mail/.svn", ".hg", ".idea", ".vscode"] {
            let rule = rule(path, true).expect(path);
            assert!(rule.treatment == Treatment::LeaveOut && rule.forbids(), "{path}");
        }
    }

    #[test]
    fn fd18_databases_of_test_runs_are_left_out_and_code_is_not() {
        for name in ["database.sqlite", "database.sqlite3", "x.sqlite-journal", "x.sqlite3-wal", "x.sqlite_test_1"] {
            assert_eq!(treatment(&format!("database/{name}")), Treatment::LeaveOut, "{name}");
            for elsewhere in ["", "resources/", "database/fixtures/", "vendor/acme/geo/database/"] {
                assert_eq!(treatment(&format!("{elsewhere}{name}")), Treatment::Ship, "{elsewhere}{name}");
            }
        }
        for path in ["database/seed.sqlite.php", "database/x.sqlite_1.php", "database/sqlite", "database/x.sqlitefoo"] {
            assert_eq!(treatment(path), Treatment::Ship, "{path}");
        }
        assert!(rule("database/x.sqlite", true).is_none(), "a folder may hold code");
    }

    #[test]
    fn fd16_what_is_called_like_a_key_is_a_sample_in_a_package_only() {
        for path in ["id_rsa", "config/push.p12", "deploy/x.ppk"] {
            assert_eq!(treatment(path), Treatment::Refuse(Check::PrivateKeys), "{path}");
            let sample = format!("vendor/acme/mail/{path}");
            assert!(treatment(&sample) == Treatment::Ship && is_called_like_a_key(&sample), "{path}");
            assert_eq!(package_of(&sample), Some("acme/mail"));
        }
        for path in ["vendor/id_rsa", "vendor/acme/id_rsa", "vendor/bin/mail", "app/vendor/acme/mail/x"] {
            assert_eq!(package_of(path), None, "{path}");
        }
    }

    #[test]
    fn what_belongs_to_the_build_is_left_out() {
        for path in [
            ".git",
            "vendor/acme/mail/.git",
            "node_modules",
            "tests",
            "storage",
            "public/storage",
            "npm-debug.log",
            ".gated-deploy",
        ] {
            assert_eq!(treatment(path), Treatment::LeaveOut, "{path}");
        }
    }
}
