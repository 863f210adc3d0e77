//! Every input and output of the action, once.
//!
//! The parser, `--help`, action.yml, the policy file's schema and docs/inputs.md are all made from these tables.

use std::fmt;

/// One input of the action, or one key that only the policy file has.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// Kebab-case: the name in `with:`, on the command line and in the policy file.
    pub name: &'static str,
    pub subject: Subject,
    pub kind: Kind,
    pub preset: Preset,
    /// Never printed, never taken from the policy file, and on the command line only as `@file`.
    pub secret: bool,
    /// Whether it may stand in the policy file. What belongs to one run (an approval, a commit) may not.
    pub policy: bool,
    /// The stages that read it.
    pub stages: &'static [&'static str],
    /// Plain sentences, with units.
    pub help: &'static str,
}

/// What a value must look like. The rules themselves are in [`super::value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    OneOf(&'static [&'static str]),
    Stage,
    Environment,
    Boolean,
    /// `15s`, `10m`, `1h` or plain seconds; the limits are seconds, both included.
    Duration {
        min: u64,
        max: u64,
    },
    /// The same, or `until-stable`.
    Grace {
        min: u64,
        max: u64,
    },
    /// A whole number; the limits are included.
    Count {
        min: u64,
        max: u64,
    },
    /// One host name or address.
    Host,
    User,
    /// An absolute folder on the server that may be ours.
    BaseDir,
    /// An absolute folder on the server that is not ours, for copies.
    Elsewhere,
    /// A path on the server, relative to `base-dir`.
    Relative,
    /// A path in the workspace.
    Local,
    /// The address of a site: scheme, host and perhaps a port.
    Site,
    /// `ip:port`
    Address,
    /// A name or an absolute path.
    Program,
    /// The name of a systemd unit, or `auto`.
    Service,
    Workflow,
    Artifact,
    Commit,
    RunId,
    Release,
    /// The approval phrase of a stage.
    Phrase,
    /// One URL path, or `none`.
    Home,
    /// Lines: URL paths, or mappings of a path and what it must answer.
    UrlPaths,
    /// Lines: folders relative to `shared/`.
    Folders,
    /// Lines: words.
    Words,
    /// A mapping of moments to commands; only the policy file can hold it.
    Hooks,
    /// Lines: whatever reads them says what is wrong with them.
    Lines,
}

impl Kind {
    /// Whether a YAML list may stand for it.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Host | Self::UrlPaths | Self::Folders | Self::Words | Self::Lines)
    }
}

/// The default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Every stage needs it.
    Required,
    /// Needed by the stages that read it.
    Needed,
    /// Nothing.
    Absent,
    Is(&'static str),
    /// A default that depends on something, as a text.
    Text(&'static str),
    /// An expression that only the runner can evaluate; the one sort of default that stands in action.yml.
    /// A default there would arrive like a given value and override the policy file.
    Runner(&'static str),
}

/// Groups of inputs, in the order in which `--help` and the documentation show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Run,
    Build,
    Server,
    Site,
    Release,
    Production,
    Repair,
    Audit,
}

impl Subject {
    pub const ALL: [Self; 8] =
        [Self::Run, Self::Build, Self::Server, Self::Site, Self::Release, Self::Production, Self::Repair, Self::Audit];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Run => "What to do",
            Self::Build => "The build and its bundle",
            Self::Server => "The server",
            Self::Site => "The site and its health",
            Self::Release => "The release",
            Self::Production => "What production requires of staging",
            Self::Repair => "Rollback and fix",
            Self::Audit => "What an audit expects",
        })
    }
}

impl Input {
    pub fn used_by(&self, stage: &str) -> bool {
        self.stages.contains(&stage)
    }

    /// The name of the variable by which the runner passes it: upper case, blanks to `_`, hyphens kept.
    pub fn runner_variable(&self) -> String {
        format!("INPUT_{}", self.name.to_ascii_uppercase())
    }

    /// The name of the variable for shells, which cannot export hyphens.
    pub fn shell_variable(&self) -> String {
        format!("GATED_DEPLOY_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The help with the possible values and the default.
    pub fn described(&self) -> String {
        let mut text = self.help.to_owned();
        if let Kind::OneOf(words) = self.kind {
            text.push_str(&format!(" One of `{}`.", words.join("`, `")));
        }
        match self.preset {
            Preset::Required => text.push_str(" Required."),
            Preset::Needed => text.push_str(" Needed by the stages that use it."),
            Preset::Is(_) | Preset::Text(_) => text.push_str(&format!(" Default: {}.", self.default_text())),
            // The runner's expression stands in action.yml itself and means nothing on a command line.
            Preset::Absent | Preset::Runner(_) => {}
        }
        text
    }

    /// The default as a reader of the documentation sees it.
    pub fn default_text(&self) -> String {
        match self.preset {
            Preset::Required => "required".to_owned(),
            Preset::Needed => "none; needed".to_owned(),
            Preset::Absent => "none".to_owned(),
            Preset::Is(text) | Preset::Runner(text) => format!("`{}`", text.replace('\n', "`, `")),
            Preset::Text(words) => words.to_owned(),
        }
    }
}

const EVERY: &[&str] = &[
    "build-gate",
    "deploy-staging",
    "deploy-production",
    "preflight",
    "smoke",
    "verify",
    "rollback",
    "audit",
    "fix",
    "recover",
];
const DEPLOYS: &[&str] = &["deploy-staging", "deploy-production"];
const BUILDS: &[&str] = &["build-gate", "deploy-staging", "deploy-production", "preflight", "audit"];
const NAMES: &[&str] = &["build-gate", "deploy-staging", "deploy-production", "preflight", "audit", "fix"];
/// Those that read GitHub and need the name of the build workflow.
const ASKS: &[&str] = &["deploy-staging", "deploy-production", "preflight", "audit", "fix"];
/// Those of [`ASKS`] whose build is a certain run.
const WAITS: &[&str] = &["deploy-staging", "deploy-production", "preflight"];
/// Those that wait for a build.
const PATIENT: &[&str] = &["deploy-staging", "deploy-production", "preflight", "fix"];
const AUDITS: &[&str] = &["audit", "fix"];
const SERVERS: &[&str] =
    &["deploy-staging", "deploy-production", "preflight", "smoke", "verify", "rollback", "audit", "fix", "recover"];
/// Those of [`SERVERS`] that read the app's folder; `smoke` uses the server only as a tunnel to the site.
const WITH_SERVER: &[&str] =
    &["deploy-staging", "deploy-production", "preflight", "verify", "rollback", "audit", "fix", "recover"];
const APPROVED: &[&str] = &["deploy-staging", "deploy-production", "rollback", "fix", "recover"];
/// A release links these, `verify` leaves them out, and `build-gate` refuses a bundle with a link that bypasses them.
const SHARES: &[&str] = &["build-gate", "deploy-staging", "deploy-production", "verify", "rollback", "recover"];
/// Those that judge the nine gates or ask for assets.
const FRONT_ENDS: &[&str] =
    &["build-gate", "deploy-staging", "deploy-production", "preflight", "smoke", "rollback", "audit"];
const SWITCHES: &[&str] = &["deploy-staging", "deploy-production", "rollback", "recover"];
/// Those that can go through a moment at which hooks run, and the one that asks whether that would succeed.
const HOOKED: &[&str] = &["deploy-staging", "deploy-production", "preflight", "rollback"];
const COPIES: &[&str] = &["deploy-staging", "deploy-production", "preflight", "verify"];
const STAGING_READERS: &[&str] = &["deploy-production", "preflight"];

/// The value of `backup-copy` without which nothing is released.
pub const REQUIRED: &str = "required";

/// The value of `health-via` that sends requests through the SSH connection.
pub const TUNNEL: &str = "tunnel";

const fn input(
    name: &'static str,
    subject: Subject,
    kind: Kind,
    preset: Preset,
    stages: &'static [&'static str],
    help: &'static str,
) -> Input {
    Input { name, subject, kind, preset, secret: false, policy: true, stages, help }
}

impl Input {
    const fn secret(mut self) -> Self {
        self.secret = true;
        self.policy = false;
        self
    }

    /// Belongs to one run, so it may not stand in a file that holds for all of them.
    const fn per_run(mut self) -> Self {
        self.policy = false;
        self
    }
}

/// Every input of the action.
#[rustfmt::skip]
pub static INPUTS: &[Input] = &[
    input("stage", Subject::Run, Kind::Stage, Preset::Required, EVERY,
        "What to do: `build-gate` checks a built app and makes its bundle, `deploy-staging` releases that bundle to the staging server, `deploy-production` releases what staging has confirmed, `preflight` checks whether a release would succeed and changes nothing, `smoke` checks the health of a site, `verify` compares a server with what was confirmed on it, `rollback` activates an earlier confirmed release, `audit` checks the settings of GitHub and the server, `fix` corrects one finding of an audit, `recover` completes the rollback of an interrupted run. The post step of every run does what `recover` does.").per_run(),
    input("environment", Subject::Run, Kind::Environment, Preset::Text("`staging` for deploy-staging and smoke, else `production`"), SERVERS,
        "The environment to work on. It chooses the section of the policy file and the default of env-file.").per_run(),
    input("config", Subject::Run, Kind::Local, Preset::Is(".github/gated-deploy.yml"), EVERY,
        "The policy file, a path in the workspace. Every input that is not a secret and does not belong to one run can stand in it. The default file may be missing; a file named here may not.").per_run(),
    input("approval", Subject::Run, Kind::Text, Preset::Absent, APPROVED,
        "The phrase that allows changes; without it the stage plans, reports and changes nothing. `STAGING-TEST FREIGEGEBEN` for staging, `PROD-DEPLOY FREIGEGEBEN` for production, `PROD-FIX FREIGEGEBEN` for a fix. The plan's digest (at least its first 16 digits) can follow the phrase. These phrases are German (`STAGING-TEST APPROVED`, `PROD-DEPLOY APPROVED`, `PROD-FIX APPROVED`); the policy keys `approval-phrase` and `fix-phrase` set others. `ABBRECHEN` (abort) stops the run. `APPEND MISSING INFO` plans and completes the report. recover needs no phrase, because it only rolls back an unconfirmed release; `ABBRECHEN` stops it as well.").per_run(),
    input("plan-only", Subject::Run, Kind::Boolean, Preset::Is("false"), APPROVED,
        "`true` makes a plan only, also with an approval phrase and for recover."),
    input("github-token", Subject::Run, Kind::Text, Preset::Runner("${{ github.token }}"), ASKS,
        "The token for GitHub's API. It needs `actions: read` and `contents: read`. An audit names what the token cannot read. docs/fix.md lists the rights that each fix needs; some need an administrator's token.").secret(),
    input("report-dir", Subject::Run, Kind::Local, Preset::Is(".gated-deploy/reports"), EVERY,
        "The folder for reports, a path in the workspace."),

    input("source-dir", Subject::Build, Kind::Local, Preset::Is("."), &["build-gate"],
        "The built app that build-gate checks and bundles, a path in the workspace."),
    input("output-dir", Subject::Build, Kind::Local, Preset::Is(".gated-deploy"), &["build-gate"],
        "The folder for the bundle, its .sha256 and its manifest, a path in the workspace. It is left out of the bundle."),
    input("sha", Subject::Build, Kind::Commit, Preset::Text("from the event; needed outside of GitHub Actions"), BUILDS,
        "The commit to bundle, to release or to audit: 40 hexadecimal digits in lower case.").per_run(),
    input("build-workflow", Subject::Build, Kind::Workflow, Preset::Is("build-artifacts.yml"), ASKS,
        "The workflow that builds, by file name or by name."),
    input("build-run-id", Subject::Build, Kind::RunId, Preset::Text("from the event, else the newest run for the commit"), WAITS,
        "The exact run of the build workflow whose bundle is released: its number. Production takes the run that staging's ledger names, where that names one.").per_run(),
    input("artifact-name", Subject::Build, Kind::Artifact, Preset::Is("deployment-bundle-{sha}"), NAMES,
        "The name of the workflow artifact that holds the bundle. `{sha}` stands for the commit."),
    input("build-wait-attempts", Subject::Build, Kind::Count { min: 1, max: 1000 }, Preset::Is("18"), PATIENT,
        "How often to look for the finished build before the run fails."),
    input("build-wait-interval", Subject::Build, Kind::Duration { min: 1, max: 3600 }, Preset::Is("10s"), PATIENT,
        "The time between two attempts to find the build."),

    input("ssh-host", Subject::Server, Kind::Host, Preset::Needed, SERVERS,
        "The server's name or address, as the lines of ssh-known-hosts call it. smoke needs it only with `health-via: tunnel`; audit looks at GitHub alone without it. Several servers, one a line, come in a later version."),
    input("ssh-port", Subject::Server, Kind::Count { min: 1, max: 65535 }, Preset::Is("22"), SERVERS,
        "The port of the server's SSH."),
    input("ssh-user", Subject::Server, Kind::User, Preset::Is("deploy"), SERVERS,
        "The account that owns the releases."),
    input("ssh-private-key", Subject::Server, Kind::Text, Preset::Needed, SERVERS,
        "The private key that logs in, in OpenSSH or PEM form. Windows line ends, a missing last newline, `\\n` as text and base64 wrapping are repaired.").secret(),
    input("ssh-passphrase", Subject::Server, Kind::Text, Preset::Absent, SERVERS,
        "The passphrase of the private key, if it has one.").secret(),
    input("ssh-known-hosts", Subject::Server, Kind::Lines, Preset::Needed, SERVERS,
        "The server's host keys: lines as in known_hosts, hashed ones too, or `SHA256:` fingerprints. A key that is not listed is refused; none is learnt on first use."),
    input("base-dir", Subject::Server, Kind::BaseDir, Preset::Needed, WITH_SERVER,
        "The app's folder on the server, absolute, such as `/var/www/app`. Releases, shared files, backups and the action's own state are below it."),
    input("env-file", Subject::Server, Kind::Relative, Preset::Text("`shared/.env/<environment>.env`"), WITH_SERVER,
        "The app's .env on the server, relative to base-dir."),
    input("php", Subject::Server, Kind::Program, Preset::Is("php"), WITH_SERVER,
        "PHP's command-line program on the server: a name, or an absolute path such as `/usr/bin/php8.3`."),
    input("php-fpm-service", Subject::Server, Kind::Service, Preset::Is("auto"), WITH_SERVER,
        "The service that serves the site, such as `php8.3-fpm`. `auto` finds it."),

    input("url", Subject::Site, Kind::Site, Preset::Needed, SERVERS,
        "The site's address, such as `https://staging.example.com`: scheme, host, perhaps a port, nothing else. Plain http works with a warning."),
    input("healthcheck-token", Subject::Site, Kind::Text, Preset::Absent, SERVERS,
        "The token of the health endpoints. It is sent as `Authorization: Bearer` to the site at url, and nowhere else.").secret(),
    input("health-paths", Subject::Site, Kind::UrlPaths, Preset::Text("`/health` for production, else also `/api/health-check` and `/healthcheck.php`"), SERVERS,
        "The endpoints that must be healthy, one a line. Each begins with a slash. A plain path must answer 200 with a healthy body: what health-expect says, or the page of Laravel's own health route. `/up` is Laravel's own route, and must answer 200, whatever its body is. An entry may also name what its path must answer: `{path: /health, expect: {status: ok}}` 200 and a JSON object with these values, `{path: /, contains: Welcome}` 200 and a body with this text, `{path: /ping, status: 204}` this status."),
    input("health-attempts", Subject::Site, Kind::Count { min: 1, max: 1000 }, Preset::Is("6"), SERVERS,
        "How many rounds of requests may fail before the site counts as unhealthy."),
    input("health-interval", Subject::Site, Kind::Duration { min: 1, max: 3600 }, Preset::Is("5s"), SERVERS,
        "The time between two rounds of requests to the site."),
    input("grace-period", Subject::Site, Kind::Grace { min: 0, max: 3600 }, Preset::Is("15s"), SWITCHES,
        "The time between the reload and the first health request to a new release. `until-stable` waits until stable-samples requests in a row were answered by the new release, but not for longer than stable-within."),
    input("health-address", Subject::Site, Kind::Address, Preset::Absent, SERVERS,
        "Connect to this `ip:port` instead of resolving the host of url; Host header and TLS name stay those of url. With `health-via: tunnel` it is the address as the server sees it."),
    input("health-via", Subject::Site, Kind::OneOf(&["direct", TUNNEL]), Preset::Is("direct"), SERVERS,
        "`tunnel` sends the health requests through the SSH connection, for sites behind basic auth or a firewall."),

    input("ca-certificates", Subject::Site, Kind::Text, Preset::Absent, SERVERS,
        "Additional certificate authorities that the site and GitHub's API may use, besides the public ones: PEM text, or the path of a PEM file in the workspace. A path is refused on events that users without write access can start, because their branch may have written the file."),

    input("migrate", Subject::Release, Kind::Boolean, Preset::Is("true"), DEPLOYS,
        "Whether to run `php artisan migrate --force`. Migrations stay when a release is rolled back."),
    input("keep-releases", Subject::Release, Kind::Count { min: 1, max: 1000 }, Preset::Is("5"), DEPLOYS,
        "How many confirmed releases stay on the server."),
    input("keep-backups", Subject::Release, Kind::Count { min: 1, max: 1000 }, Preset::Is("5"), DEPLOYS,
        "How many verified backups stay on the server."),
    input("backup-copy-dir", Subject::Release, Kind::Elsewhere, Preset::Absent, COPIES,
        "A folder on the server that is on another disk or another machine (a mounted network folder), absolute. Each backup is copied into a folder of its release's name there, read back and compared. Not inside of base-dir and not on the same file system as the backups. Without it, off-site backup is off."),
    input("backup-copy", Subject::Release, Kind::OneOf(&["advisory", REQUIRED]), Preset::Is("advisory"), COPIES,
        "What happens if the off-site backup fails: `advisory` warns and continues the release, `required` refuses the release."),
    input("confirm-within", Subject::Release, Kind::Duration { min: 1, max: 86400 }, Preset::Is("5m"), SWITCHES,
        "The watchdog rolls back if the run does not confirm the release within this time, counted from right before the switch. At least grace-period plus health-attempts times health-interval, plus the time limits of the hooks after the switch."),
    input("lock-wait", Subject::Release, Kind::Duration { min: 0, max: 86400 }, Preset::Is("0s"), SWITCHES,
        "How long to wait for another run that holds the deploy lock of this place. `0s` refuses at once."),
    input("delivery", Subject::Release, Kind::OneOf(&["auto", "full"]), Preset::Is("auto"), DEPLOYS,
        "`auto` sends what the live release lacks, and the server copies the rest from there. `full` sends the whole bundle. In both cases the server compares the whole folder with the bundle."),

    input("staging-stable-for", Subject::Production, Kind::Duration { min: 0, max: 30 * 86400 }, Preset::Is("1h"), STAGING_READERS,
        "How long the release must have been confirmed on staging before production takes it."),
    input("staging-url", Subject::Production, Kind::Site, Preset::Text("url of the policy's staging section"), STAGING_READERS,
        "The address of the staging site."),
    input("staging-healthcheck-token", Subject::Production, Kind::Text, Preset::Absent, STAGING_READERS,
        "The token of the staging site's health endpoints.").secret(),
    input("staging-ssh-private-key", Subject::Production, Kind::Text, Preset::Text("ssh-private-key"), STAGING_READERS,
        "The private key that logs in on the staging server, to read its ledger. Used where the policy's staging section names that server.").secret(),
    input("staging-ssh-passphrase", Subject::Production, Kind::Text, Preset::Absent, STAGING_READERS,
        "The passphrase of that key, if it has one.").secret(),
    input("staging-workflow", Subject::Production, Kind::Workflow, Preset::Is("deploy-staging.yml"), &["deploy-production", "preflight", "audit", "fix"],
        "The workflow that releases to staging, by file name or by name."),

    input("rollback-to", Subject::Repair, Kind::Release, Preset::Text("the last confirmed release that was made before the live one"), &["rollback"],
        "The release to activate, by the name of its folder. It must have been confirmed, its files must be unchanged, and it must not have failed or been rolled back since.").per_run(),
    input("ignore-schema-verdict", Subject::Repair, Kind::Boolean, Preset::Is("false"), &["rollback"],
        "`true` lets this run roll back to a release that is known to be unhealthy on the present schema: it was asked while it was live, after migrations had run. Without it such a rollback is refused (`schema-verdict-unhealthy`).").per_run(),
    input("fix", Subject::Repair,
        Kind::OneOf(&["branch-protection-main", "branch-protection-develop", "build-head", "health-token", "phantom-workflow", "docs-ownership", "staging-failures"]),
        Preset::Needed, &["fix"],
        "The one thing to fix, by name.").per_run(),
];

/// Keys that only the policy file has.
#[rustfmt::skip]
pub static POLICY_KEYS: &[Input] = &[
    input(APPROVAL_PHRASE, Subject::Run, Kind::Phrase, Preset::Text("`STAGING-TEST FREIGEGEBEN`; production: `PROD-DEPLOY FREIGEGEBEN`"), APPROVED,
        "The approval phrase of this environment. It stands only in a section of environments, so that no phrase approves two environments."),
    input("approval-needs-digest", Subject::Run, Kind::Boolean, Preset::Is("false"), APPROVED,
        "`true` accepts the phrase only together with the plan's digest, so that an approval never holds for a changed plan."),
    input("approval-review", Subject::Run, Kind::Text, Preset::Absent, &["deploy-staging", "deploy-production"],
        "The name of a GitHub environment. A run then needs the phrase and the approval of a reviewer of that environment. The reviewer must be neither the author of the commit nor the actor who started the run, and must not have rejected it as well. Only the first attempt of a run counts, because GitHub does not report which attempt a reviewer approved. A rollback needs no review, so that it does not depend on GitHub."),
    input(FIX_PHRASE, Subject::Repair, Kind::Phrase, Preset::Is("PROD-FIX FREIGEGEBEN"), &["fix"],
        "The approval phrase of a fix. It must differ from every approval-phrase."),
    input(HEALTH_SECRET, Subject::Repair, Kind::Text, Preset::Text("`PRODUCTION_HEALTHCHECK_TOKEN` for production, else `HEALTHCHECK_TOKEN`"), &["fix"],
        "The name of the repository secret that workflows pass as healthcheck-token; the fix `health-token` writes it. It must contain `HEALTH` and end in `TOKEN`, so that no other secret is overwritten."),
    input("required-checks", Subject::Audit, Kind::Lines, Preset::Is("build-frontend\nbuild-backend\nstatic-analysis\nrun-tests\ncreate-deployment-bundle\ncheck-staging"), AUDITS,
        "The checks that must pass before a merge into main-branch, one a line, by the names that GitHub shows."),
    input("main-branch", Subject::Audit, Kind::Text, Preset::Is("main"), ASKS,
        "The branch from which production is released."),
    input("develop-branch", Subject::Audit, Kind::Text, Preset::Is("develop"), ASKS,
        "The development branch, from which staging is released."),
    input("release-branches", Subject::Build, Kind::Lines, Preset::Text("main-branch for production, else develop-branch and main-branch"), WAITS,
        "The branches that this environment may be released from. A released commit must be reachable from one of them, and its build must have run on one of them (for production also on develop-branch, because production takes what was built for staging)."),
    input("release-tags", Subject::Build, Kind::Lines, Preset::Absent, WAITS,
        "Patterns of tags whose builds count as well, such as `v*`; `*` stands for any text, `?` for one character. The commit must be reachable from one of release-branches all the same."),
    input("require-attestation", Subject::Build, Kind::Boolean, Preset::Is("false"), WAITS,
        "`true` releases only what has a build provenance attestation (actions/attest-build-provenance) that names this repository, build-workflow, the build run, the commit and the bundle's or the artifact's SHA-256. It needs `attestations: read`. The run relies on GitHub's API and does not verify the signature of the attestation itself."),
    input("production-workflow", Subject::Audit, Kind::Workflow, Preset::Is("deploy-production.yml"), AUDITS,
        "The workflow that releases to production, by file name or by name."),
    input("front-end", Subject::Build, Kind::OneOf(&["vite", "none"]), Preset::Is("vite"), FRONT_ENDS,
        "What builds the front end. `none` is for an app without one: the gate then checks that nothing refers to Vite (no `vite.config.*`, no `@vite` in a view) instead of Vite's manifest, and no asset is requested."),
    input("shared", Subject::Release, Kind::Folders, Preset::Is("storage\npublic/uploads"), SHARES,
        "The folders under shared/ that are linked into every release at the same place."),
    input("backup-copy-within", Subject::Release, Kind::Duration { min: 1, max: 86400 }, Preset::Is("15m"), COPIES,
        "How long copying a backup to backup-copy-dir and reading it back may take. A copy that takes longer is ended on the server and counts as failed."),
    input("preview-sql", Subject::Release, Kind::Boolean, Preset::Is("true"), DEPLOYS,
        "No effect, because a plan runs no code of the release. A plan reads each pending migration as text and names its file, its SHA-256 and a class from the calls in the source. The key is still accepted, so that an existing policy stays valid."),
    input("hooks", Subject::Release, Kind::Hooks, Preset::Absent, HOOKED,
        "Commands that run on the server, in the release's folder, as the deploy user: under `before-migrate`, `before-switch`, `after-switch` and `after-rollback` a list each. An entry is a text that is split at blanks, or `{run: [words], within: 60s, required: true, env: [NAMES]}`. No shell reads it. `artisan` as the first word means the site's own PHP and the release's artisan. `env` names entries of the app's .env that the command gets as variables. docs/hooks.md describes when they run and what their failure does."),
    input("health-expect", Subject::Site, Kind::Words, Preset::Is("ok\nhealthy\npass\nup"), SERVERS,
        "What the `status` field of a JSON answer, or a whole plain answer, may say. Case does not count."),
    input("home-path", Subject::Site, Kind::Home, Preset::Is("/"), SERVERS,
        "The page at which visitors begin. The run requests it without a token, before and after the switch, and follows redirects within the site. A status of 500 and above is unhealthy. A status of 400 and above is unhealthy if the live release answered below 400. `none` turns the request off."),
    input("stable-samples", Subject::Site, Kind::Count { min: 1, max: 1000 }, Preset::Is("20"), SWITCHES,
        "With `grace-period: until-stable`: how many requests of the availability sampler in a row must be answered by the new release. A low sample-rate makes that longer: 20 requests at 5 a second are 4 s."),
    input("stable-within", Subject::Site, Kind::Duration { min: 1, max: 3600 }, Preset::Is("15s"), SWITCHES,
        "With `grace-period: until-stable`: the longest wait. The health check follows in any case. Where no availability is sampled, as in a first release, and where no answer of the site names its release, the wait is this long."),
    input("warm-up", Subject::Site, Kind::UrlPaths, Preset::Absent, DEPLOYS,
        "Pages of the new release that are requested before the switch, and again after the reload, which empties OPcache. They are requested through the site's pool of PHP-FPM and without a token, one after the other: paths such as `/` and `/login`, at most 20. Redirects are not followed. A status of 500 and above, or no answer within 10 s, is a warning, and changes nothing else. Pages are requested only if the canary found the new release healthy."),
    input("repair", Subject::Site, Kind::Boolean, Preset::Is("false"), DEPLOYS,
        "`true` allows a release to a site that is unhealthy before the release, to repair it."),
    input("max-downtime", Subject::Site, Kind::Duration { min: 0, max: 3600 }, Preset::Text("grace-period, but at least `5s`"), DEPLOYS,
        "How long the site may fail requests between the switch and the confirmation. A longer downtime is rolled back at once. The availability sampler measures it with requests to the first of health-paths, from each failed request to the next answer. `0s` allows no failed request."),
    input("sample-rate", Subject::Site, Kind::Count { min: 1, max: 100 }, Preset::Is("20"), DEPLOYS,
        "Requests of the availability sampler per second. Lower it if the web server limits requests (nginx's `limit_req`). Through the tunnel it is at most 5."),
];

/// The policy key that stands only in the section of an environment.
pub const APPROVAL_PHRASE: &str = "approval-phrase";
/// The policy key with the phrase of `stage: fix`.
pub const FIX_PHRASE: &str = "fix-phrase";
/// The policy key that names the secret with the health token.
pub const HEALTH_SECRET: &str = "healthcheck-token-secret";
/// The policy key that holds the sections of the environments.
pub const ENVIRONMENTS: &str = "environments";

/// One output of the action.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub name: &'static str,
    pub help: &'static str,
}

const fn output(name: &'static str, help: &'static str) -> Output {
    Output { name, help }
}

/// Every output of the action.
#[rustfmt::skip]
pub static OUTPUTS: &[Output] = &[
    output("outcome", "How the run ended: planned, refused, live, rolled-back, stuck, passed or failed."),
    output("decision", "go or no-go."),
    output("executed", "true if the run was allowed to change something."),
    output("plan-digest", "The digest of the plan, for an approval that holds only for this plan."),
    output("release", "The name of the release that this run made, or that it rolled back to."),
    output("previous-release", "The name of the release that was live before."),
    output("sha", "The commit that the bundle was built from. Production can be asked for another commit with the same tree."),
    output("build-run-id", "The number of the workflow run that built the bundle."),
    output("bundle", "The path of the bundle, for actions/upload-artifact."),
    output("bundle-sha256", "The bundle's SHA-256."),
    output("artifact-name", "The name under which to upload the bundle, and under which deploy-staging looks for it."),
    output("backup", "The folder of the backup on the server."),
    output("report", "The path of the report in Markdown, for actions/upload-artifact."),
    output("report-json", "The path of the report in JSON."),
    output("report-sarif", "The path of the findings of audit in SARIF, for code scanning."),
    output("ledger", "The path of the ledger on the server."),
    output("ledger-head", "The SHA-256 of the line that this run wrote into the ledger, for `gated-deploy ledger verify --head`."),
    output("url", "The site's address, for `environment: url:` of the job."),
    output("downtime-ms", "How long the site failed requests during the switch, in milliseconds: the time from each failed request to the next answer. Written where something was live before."),
];

/// The exit codes, as `--help` and the documentation tell them.
pub static EXIT_CODES: &[(u8, &str)] = &[
    (0, "live, passed or planned"),
    (1, "refused: a gate, a NO-GO or an unhealthy site; or cancelled or aborted before the switch"),
    (2, "bad input or policy file"),
    (3, "rolled back: the previous release is live and healthy"),
    (4, "stuck, rollback interrupted, or rolled back and unhealthy: manual action required"),
    (5, "network, GitHub or server failed, or the site was not reached, before any change"),
];

/// Keys that may come from an unreviewed policy: they do not decide where data is sent, what runs, or who approves it.
pub const HARMLESS: [&str; 15] = [
    "build-wait-attempts",
    "build-wait-interval",
    "delivery",
    "grace-period",
    "health-attempts",
    "health-interval",
    "keep-backups",
    "keep-releases",
    "lock-wait",
    "output-dir",
    "report-dir",
    "sample-rate",
    "source-dir",
    "stable-samples",
    "stable-within",
];

pub fn find(name: &str) -> Option<&'static Input> {
    INPUTS.iter().find(|input| input.name == name)
}

/// The key of that name, whether an input or a key that only the policy file has.
pub fn find_policy_key(name: &str) -> Option<&'static Input> {
    POLICY_KEYS.iter().find(|key| key.name == name).or_else(|| find(name))
}

/// The name in `names` that is most similar to `written`, if one is similar enough.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(written, name), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name)
}
