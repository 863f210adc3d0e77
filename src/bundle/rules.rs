//! What of a built tree goes into the bundle: everything, but for the table below (F19: a list of what to take forgets files).

use super::check::Check;
use crate::domain::bundle::MANIFEST_PATH;

/// What happens to a path of the tree, and to everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ship,
    /// Normal to find in a build, and not part of a release. It is left where it is, and told.
    LeaveOut,
    /// Nobody should find this in a build. The gate stops, because leaving it out silently would hide a mistake.
    Refuse(Check),
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    place: Place,
    /// Whether it counts below `vendor/` only (`Some(true)`), outside of it only, or everywhere.
    vendor: Option<bool>,
    pub(crate) fate: Fate,
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
}

const fn ship(place: Place, because: &'static str) -> Rule {
    Rule { place, vendor: None, fate: Fate::Ship, because }
}

const fn leave_out(place: Place, because: &'static str) -> Rule {
    Rule { place, vendor: None, fate: Fate::LeaveOut, because }
}

const fn refuse(check: Check, place: Place, because: &'static str) -> Rule {
    Rule { place, vendor: None, fate: Fate::Refuse(check), because }
}

impl Rule {
    /// Packages bring files of their own. They are public already, so they cannot be secrets of this project.
    const fn in_vendor(self) -> Self {
        Self { vendor: Some(true), ..self }
    }

    const fn outside_vendor(self) -> Self {
        Self { vendor: Some(false), ..self }
    }

    fn fits(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.vendor.is_some_and(|vendor| vendor != is_vendor(path)) {
            return false;
        }
        match self.place {
            Place::At(whole) => path == whole,
            Place::Named(whole) => name == whole,
            Place::Beginning(start) => name.starts_with(start),
            Place::Ending(end) => name.ends_with(end) && name.len() > end.len(),
            Place::In(whole, end) => folder == whole && name.ends_with(end),
            Place::DotEnv => name
                .strip_prefix(".env")
                .is_some_and(|rest| rest == "rc" || !rest.starts_with(|next: char| next.is_ascii_alphanumeric())),
        }
    }
}

/// Whether a path belongs to a package that Composer installed.
pub(crate) fn is_vendor(path: &str) -> bool {
    path.starts_with("vendor/")
}

/// The rule for a path, if one names it. The first that fits counts.
pub(crate) fn rule(path: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.fits(path))
}

/// The whole deny-list.
const RULES: &[Rule] = &[
    // Version control, and what belongs to the build.
    leave_out(Place::Named(".git"), "the repository itself, expected after a checkout"),
    leave_out(Place::Named(".svn"), "a repository"),
    leave_out(Place::Named(".hg"), "a repository"),
    leave_out(Place::At(".github"), "workflows run at GitHub, not on the server"),
    leave_out(Place::At(".idea"), "an editor's settings"),
    leave_out(Place::At(".vscode"), "an editor's settings"),
    leave_out(Place::Named(".DS_Store"), "a file of a desktop system"),
    leave_out(Place::At("node_modules"), "a source of the front end; the site serves public/build"),
    leave_out(Place::At("tests"), "test suites never run on a server (F28)"),
    leave_out(Place::At("phpunit.xml"), "test suites never run on a server (F28)"),
    leave_out(Place::At("phpunit.xml.dist"), "test suites never run on a server (F28)"),
    leave_out(Place::At(".phpunit.cache"), "test suites never run on a server (F28)"),
    leave_out(Place::At(".phpunit.result.cache"), "test suites never run on a server (F28)"),
    leave_out(Place::Named(".npmrc"), "npm's settings, which may contain a token"),
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
    // Secrets. A repository's `.env.example` and the dotenv files of packages hold none.
    leave_out(Place::Named(".env.example"), "a template without secrets, unused on the server"),
    leave_out(Place::DotEnv, "a package's own file, which the app never reads").in_vendor(),
    refuse(Check::EnvFiles, Place::DotEnv, "the server has its own; this file may contain secrets").outside_vendor(),
    refuse(Check::EnvFiles, Place::Ending(".env"), "the server has its own; this file may contain secrets")
        .outside_vendor(),
    refuse(Check::PrivateKeys, Place::At("auth.json"), "Composer's access tokens"),
    refuse(Check::PrivateKeys, Place::Named(".netrc"), "passwords"),
    refuse(Check::PrivateKeys, Place::Named(".git-credentials"), "passwords"),
    refuse(Check::PrivateKeys, Place::Named(".ssh"), "SSH keys"),
    refuse(Check::PrivateKeys, Place::Named("id_rsa"), "an SSH key"),
    refuse(Check::PrivateKeys, Place::Named("id_dsa"), "an SSH key"),
    refuse(Check::PrivateKeys, Place::Named("id_ecdsa"), "an SSH key"),
    refuse(Check::PrivateKeys, Place::Named("id_ed25519"), "an SSH key"),
    refuse(Check::PrivateKeys, Place::Ending(".ppk"), "a PuTTY key").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".p12"), "a key store").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".pfx"), "a key store").outside_vendor(),
    refuse(Check::PrivateKeys, Place::Ending(".jks"), "a key store").outside_vendor(),
];

#[cfg(test)]
mod tests {
    use super::{Fate, rule};
    use crate::bundle::check::Check;

    fn fate(path: &str) -> Fate {
        rule(path).map_or(Fate::Ship, |rule| rule.fate)
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
            assert_eq!(fate(path), Fate::Ship, "{path}");
        }
    }

    #[test]
    fn f26_env_files_are_refused_and_templates_left_out() {
        for path in [
            ".env",
            ".env.production",
            ".env.testing",
            ".env~",
            ".env-backup",
            ".envrc",
            "docker/.env",
            "docker/mysql.env",
            ".env.production.template",
        ] {
            assert_eq!(fate(path), Fate::Refuse(Check::EnvFiles), "{path}");
        }
        for path in [".env.example", "vendor/acme/mail/.env", "vendor/acme/mail/.env.testing"] {
            assert_eq!(fate(path), Fate::LeaveOut, "{path}");
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
            assert_eq!(fate(path), Fate::LeaveOut, "{path}");
        }
    }
}
