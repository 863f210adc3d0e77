//! What a user reads when inputs are right and when they are not.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, process::Command, sync::OnceLock, time::Duration};

use gated_deploy::{
    config::{
        Asked, Environment, Inputs, Request, policy, read,
        table::{EXIT_CODES, INPUTS, OUTPUTS, POLICY_KEYS, Preset},
        typed::{BuildGate, Deploy, Grace, HealthAnswer, Route, Style, Target},
        value,
    },
    domain::{Approval, Secret, Stage, trigger},
};
use insta::assert_snapshot;
use openssl::{
    asn1::Asn1Time,
    hash::MessageDigest,
    pkey::PKey,
    rsa::Rsa,
    x509::{X509, extension::BasicConstraints},
};
use proptest::prelude::*;
use tempfile::TempDir;

const SHA: &str = "f0959baf6a5b0b1c2d3e4f5061728394a5b6c7d8";
const OTHER_SHA: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "ghs_marked_token_value";

struct Keys {
    private: String,
    known_hosts: String,
}

/// A key made for this run of the tests, so that no private key stands in the repository.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(&file).status();
        assert!(made.expect("ssh-keygen of openssh-client").success());
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).expect("what ssh-keygen wrote");
        Keys { private: text("key"), known_hosts: format!("*.example.com,192.0.2.7 {}", text("key.pub")) }
    })
}

/// A run about to start: variables, arguments, and a workspace on the disk.
struct Start {
    variables: BTreeMap<String, OsString>,
    args: Vec<String>,
    workspace: TempDir,
}

impl Start {
    fn empty() -> Self {
        Self { variables: BTreeMap::new(), args: Vec::new(), workspace: TempDir::new().expect("a temporary folder") }
    }

    /// A runner that starts `stage` on a dispatch, and gives it nothing.
    fn in_actions(stage: &str) -> Self {
        let start = Self::empty()
            .variable("GITHUB_ACTIONS", "true")
            .variable("GITHUB_EVENT_NAME", "workflow_dispatch")
            .variable("GITHUB_SHA", SHA)
            .variable("GITHUB_REPOSITORY", "acme/shop")
            .variable("GITHUB_SERVER_URL", "https://github.com")
            .variable("GITHUB_API_URL", "https://api.github.com")
            .variable("GITHUB_RUN_ID", "4711")
            .variable("GITHUB_RUN_ATTEMPT", "2")
            .variable("GITHUB_TRIGGERING_ACTOR", "ada");
        let workspace = start.workspace.path().to_owned();
        INPUTS
            .iter()
            .fold(start, |start, declared| start.input(declared.name, ""))
            .variable("GITHUB_WORKSPACE", workspace)
            .input("stage", stage)
    }

    /// A release to staging with everything it needs.
    fn release() -> Self {
        Self::in_actions("deploy-staging")
            .input("github-token", TOKEN)
            .input("ssh-host", "staging.example.com")
            .input("ssh-private-key", &keys().private)
            .input("ssh-known-hosts", &keys().known_hosts)
            .input("base-dir", "/var/www/app")
            .input("url", "https://staging.example.com")
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn without_variable(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    fn input(self, name: &str, value: &str) -> Self {
        self.variable(&format!("INPUT_{}", name.to_uppercase()), value)
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.workspace.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder above the file")).expect("a folder in the workspace");
        fs::write(path, text).expect("a file in the workspace");
        self
    }

    fn policy(self, text: &str) -> Self {
        self.file(policy::DEFAULT_PATH, text)
    }

    fn event(self, name: &str, payload: serde_json::Value) -> Self {
        let start = self.file("event.json", &payload.to_string());
        let path = start.workspace.path().join("event.json");
        start.variable("GITHUB_EVENT_NAME", name).variable("GITHUB_EVENT_PATH", path)
    }

    fn asked(&self) -> Asked {
        let environment = Environment::new(self.workspace.path(), self.variables.clone());
        let args = std::iter::once("gated-deploy").chain(self.args.iter().map(String::as_str));
        read(&environment, args.map(OsString::from))
    }

    fn run(&self) -> Inputs {
        match self.asked() {
            Asked::Run(inputs) => *inputs,
            other => panic!("a run was asked for, and not {other:?}"),
        }
    }

    fn deploy(&self) -> Deploy {
        match self.run().request {
            Ok((Request::Deploy(deploy), _)) => *deploy,
            Ok((other, _)) => panic!("not a release: {other:?}"),
            Err(problems) => panic!("{}", problems.failure().details.join("\n") + &problems.failure().cause),
        }
    }

    fn build_gate(&self) -> BuildGate {
        match self.run().request {
            Ok((Request::BuildGate(gate), _)) => *gate,
            Ok((other, _)) => panic!("not a build: {other:?}"),
            Err(problems) => panic!("{}", problems.failure().cause),
        }
    }

    /// The problems as a user reads them, one a line.
    fn problems(&self) -> String {
        let problems = self.run().request.expect_err("something is wrong with these inputs");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    fn warnings(&self) -> Vec<String> {
        let (_, warnings) = self.run().request.expect("these inputs are right");
        warnings.into_iter().map(|warning| format!("{}: {}; {}", warning.input, warning.text, warning.right)).collect()
    }
}

#[test]
fn a_release_needs_six_inputs_and_the_rest_has_the_documented_defaults() {
    let deploy = Start::release().deploy();
    assert_eq!(deploy.target.environment.as_str(), "staging");
    assert_eq!(deploy.target.approval, Approval::Missing);
    assert_eq!(deploy.target.phrase, "STAGING-TEST FREIGEGEBEN");
    assert!(!deploy.target.plan_only);
    assert_eq!(deploy.source.commit.as_str(), SHA);
    assert_eq!((deploy.source.github.owner.as_str(), deploy.source.github.repository.as_str()), ("acme", "shop"));
    assert_eq!(deploy.source.build.workflow, "build-artifacts.yml");
    assert_eq!(deploy.source.build.run_id, None);
    assert_eq!(deploy.source.build.artifact_of(&deploy.source.commit), format!("deployment-bundle-{SHA}"));
    assert_eq!((deploy.source.build.wait_attempts, deploy.source.build.wait_interval), (18, Duration::from_secs(10)));
    assert_eq!((deploy.target.ssh.user.as_str(), deploy.target.ssh.port), ("deploy", 22));
    assert_eq!(deploy.target.layout.env_file().as_str(), "/var/www/app/shared/.env/staging.env");
    assert_eq!(deploy.target.site.route, Route::Direct);
    assert_eq!(deploy.target.health.paths, ["/health", "/api/health-check", "/healthcheck.php"]);
    assert_eq!(deploy.target.health.expect, ["ok", "healthy", "pass", "up"]);
    assert_eq!(
        (deploy.target.health.attempts, deploy.target.health.interval, deploy.target.health.grace),
        (6, Duration::from_secs(5), Grace::Wait(Duration::from_secs(15)))
    );
    assert_eq!((deploy.target.server.php.as_str(), deploy.target.server.fpm_service), ("php", None));
    assert_eq!(
        (deploy.target.server.keep_releases, deploy.target.server.keep_backups, deploy.target.server.migrate),
        (5, 5, true)
    );
    assert_eq!(deploy.target.server.confirm_within, Duration::from_secs(300));
    assert_eq!(deploy.target.server.shared, ["storage", "public/uploads"]);
    assert_eq!(deploy.target.run.url.as_deref(), Some("https://github.com/acme/shop/actions/runs/4711"));
    assert_eq!(
        (deploy.target.run.id, deploy.target.run.attempt, deploy.target.run.actor.as_deref()),
        (Some(4711), Some(2), Some("ada"))
    );
    assert!(Start::release().warnings().is_empty());
}

#[test]
fn all_problems_are_told_together() {
    let start = Start::release()
        .input("ssh-host", "ssh://deploy@staging.example.com")
        .input("ssh-port", "70000")
        .input("base-dir", "/etc")
        .input("url", "staging.example.com/shop")
        .input("sha", "f0959baf")
        .input("health-interval", "5 seconds")
        .input("health-paths", "health\n/ok")
        .input("migrate", "yes")
        .input("keep-releases", "0")
        .input("build-run-id", "null")
        .input("php-fpm-service", "php8.3-fpm; reboot")
        .input("shh-user", "deploy")
        .variable("GITHUB_REPOSITORY", "shop");
    assert_snapshot!(start.problems(), @r#"
    shh-user: is not known; did you mean `ssh-user`?
    sha: `f0959baf` is not a full commit SHA; write all 40 hexadecimal digits, in lower case
    GITHUB_REPOSITORY: `shop` is not a repository's full name; set this variable to owner/name, such as `acme/shop`
    build-run-id: `null` is not a workflow run's number; write the digits at the end of the run's address, such as `19011797015`
    ssh-host: `ssh://deploy@staging.example.com` has a scheme; write the name or address alone, such as `staging.example.com`
    ssh-port: `70000` is out of range; write a whole number from 1 to 65535
    base-dir: `/etc` is a folder of the system; write the app's own folder, absolute, such as `/var/www/app`
    url: `staging.example.com/shop` is not a URL (relative URL without a base); write scheme and host, such as `https://staging.example.com`
    health-paths: `health\n/ok` has `health`, which is not the path of an endpoint; write one path a line, each beginning with a slash, such as `/health`
    health-interval: `5 seconds` is not a duration; write `15s`, `10m`, `1h`, or plain seconds
    php-fpm-service: `php8.3-fpm; reboot` is not a service's name; write `auto`, or a name such as `php8.3-fpm`
    migrate: `yes` is neither true nor false; write `true` or `false`
    keep-releases: `0` is out of range; write a whole number from 1 to 1000
    "#);
    let failure = start.run().request.expect_err("something is wrong with these inputs").failure();
    assert_snapshot!(format!("{failure}\nhelp: {}", failure.hint.as_deref().unwrap_or_default()), @r#"
    reading the inputs: 13 inputs are wrong
    help: The run connected to nothing and changed nothing. `gated-deploy --help` and docs/inputs.md describe every input.
    "#);
}

#[test]
fn nothing_given_says_what_is_missing() {
    assert_snapshot!(Start::in_actions("deploy-staging").problems(), @r#"
    github-token: is empty; pass `github-token: ${{ github.token }}` in the step's `with:`, check that the secret exists under this name, and name the `environment:` that holds it in the job
    ssh-host: is missing; give it as `ssh-host:` in the step's `with:`, or in the policy file
    ssh-private-key: is empty; pass `ssh-private-key: ${{ secrets.STAGING_SSH_KEY }}` in the step's `with:`, check that the secret exists under this name, and name the `environment:` that holds it in the job
    ssh-known-hosts: is missing; give it as `ssh-known-hosts:` in the step's `with:`, or in the policy file
    base-dir: is missing; give it as `base-dir:` in the step's `with:`, or in the policy file
    url: is missing; give it as `url:` in the step's `with:`, or in the policy file
    "#);
    assert_snapshot!(Start::in_actions("").problems(), @"stage: is missing; give it as `stage:` in the step's `with:`");
    assert_snapshot!(Start::empty().args(&["deploy-staging"]).problems(), @r#"
    sha: is missing; outside of GitHub Actions no event names the commit: give `--sha $(git rev-parse HEAD)`
    github-token: is missing; set GATED_DEPLOY_GITHUB_TOKEN, or give `--github-token @file`
    GITHUB_REPOSITORY: is not set; set this variable to owner/name, such as `acme/shop`
    ssh-host: is missing; give it as `--ssh-host`, or in the policy file
    ssh-private-key: is missing; set GATED_DEPLOY_SSH_PRIVATE_KEY, or give `--ssh-private-key @file`
    ssh-known-hosts: is missing; give it as `--ssh-known-hosts`, or in the policy file
    base-dir: is missing; give it as `--base-dir`, or in the policy file
    url: is missing; give it as `--url`, or in the policy file
    "#);
}

/// What a file says that cannot be read is not missing.
#[test]
fn fd43_a_policy_that_cannot_be_read_is_one_problem_and_not_five() {
    let policy = "ssh-host: staging.example.com\n\tbase-dir: /var/www/shop\n";
    let problems = Start::in_actions("deploy-staging").policy(policy).problems();
    let named: Vec<&str> = problems.lines().filter_map(|line| line.trim().split(':').next()).collect();
    assert_eq!(named, ["config", "github-token", "ssh-private-key"], "{problems}");
}

#[test]
fn an_api_that_is_no_web_address_is_refused_at_once() {
    assert_snapshot!(Start::release().variable("GITHUB_API_URL", "mailto:api@example.com").problems(), @"GITHUB_API_URL: `mailto:api@example.com` is not an http or https address; set it to `https://api.github.com`, or to GitHub Enterprise's address with `/api/v3`");
}

#[test]
fn stages_that_cannot_run_say_so() {
    assert_snapshot!(Start::in_actions("deploy-stagin").problems(), @"stage: `deploy-stagin` is not a stage; did you mean `deploy-staging`?");
    assert_snapshot!(Start::in_actions("deploy-staging").input("stage", "release it").problems().lines().next().unwrap_or_default(), @"stage: `release it` is not a stage; write `build-gate`, `deploy-staging`, `deploy-production`, `preflight`, `smoke`, `verify`, `rollback`, `audit`, `fix`, `recover`");
    assert_eq!(Start::in_actions("repair").run().common.stage, None);
    assert_eq!(Start::release().run().common.stage, Some(Stage::DeployStaging));
}

#[test]
fn a_flag_beats_a_variable_beats_the_policy_beats_the_default() {
    let policy = "ssh-user: from-top\nphp: php8.1\nkeep-releases: 7\nenvironments:\n  staging:\n    ssh-user: from-section\n  production:\n    php: php8.4\n";
    let start = Start::release().policy(policy);
    assert_eq!(start.deploy().target.ssh.user, "from-section");
    assert_eq!(start.deploy().target.server.php, "php8.1");
    assert_eq!(start.deploy().target.server.keep_releases, 7);
    let start = start.variable("GATED_DEPLOY_SSH_USER", "from-shell");
    assert_eq!(start.deploy().target.ssh.user, "from-shell");
    let start = start.input("ssh-user", "from-with");
    assert_eq!(start.deploy().target.ssh.user, "from-with");
    let start = start.args(&["deploy-staging", "--ssh-user", "from-flag"]);
    assert_eq!(start.deploy().target.ssh.user, "from-flag");
}

#[test]
fn what_a_release_may_need_to_settle_is_no_downtime_unless_the_policy_says_so() {
    let allowed = |start: Start| start.deploy().target.health.max_downtime.as_secs();
    assert_eq!(allowed(Start::release()), 15, "the default of grace-period");
    assert_eq!(allowed(Start::release().input("grace-period", "0s")), 5);
    assert_eq!(allowed(Start::release().input("grace-period", "until-stable")), 15, "the default of stable-within");
    assert_eq!(allowed(Start::release().policy("max-downtime: 0s\nsample-rate: 7\n")), 0);
    assert_eq!(Start::release().policy("sample-rate: 7\n").deploy().target.health.sample_rate, 7);
    assert_snapshot!(Start::release().policy("sample-rate: 0\n").problems(), @"sample-rate: `0` is out of range; write a whole number from 1 to 100 (.github/gated-deploy.yml:1)");
}

#[test]
fn a_variable_may_have_underscores_for_shells_that_cannot_export_hyphens() {
    let start = Start::release().without_variable("INPUT_SSH-USER").variable("INPUT_SSH_USER", "shell");
    assert_eq!(start.deploy().target.ssh.user, "shell");
}

#[test]
fn a_laptop_gives_flags_and_secrets_by_file_or_variable() {
    let start = Start::empty()
        .file("keys/staging", &keys().private)
        .variable("GITHUB_REPOSITORY", "acme/shop")
        .variable("GATED_DEPLOY_GITHUB_TOKEN", TOKEN)
        .variable("USER", "ada")
        .file("keys/known_hosts", &keys().known_hosts)
        // Programs of the desktop have such variables; they are none of ours.
        .variable("INPUT_METHOD", "ibus")
        .args(&[
            "--stage",
            "deploy-staging",
            "--ssh-host",
            "192.0.2.7",
            "--ssh-private-key",
            "@keys/staging",
            "--base-dir",
            "/var/www/app/",
        ])
        .args(&[
            "--url=https://staging.example.com:8443",
            "--ssh-known-hosts",
            "@~/known_hosts",
            "--sha",
            SHA,
            "--plan-only",
        ])
        .args(&[
            "--health-paths",
            "/up",
            "--health-paths",
            "/health?full=1",
            "--health-via",
            "tunnel",
            "--migrate",
            "false",
        ]);
    let home = start.workspace.path().join("keys");
    let start = start.variable("HOME", home);
    let deploy = start.deploy();
    assert_eq!(deploy.target.health.paths, ["/up", "/health?full=1"]);
    assert_eq!(deploy.target.site.route, Route::Tunnel { host: "127.0.0.1".to_owned(), port: 8443 });
    assert_eq!(deploy.target.layout.base().as_str(), "/var/www/app");
    assert_eq!(deploy.target.run.actor.as_deref(), Some("ada"));
    assert!(deploy.target.plan_only && !deploy.target.server.migrate);
    let inputs = start.run();
    assert_eq!(inputs.common.style, Style::Plain);
    assert!(inputs.common.mask_commands().is_empty(), "only the runner knows masks");
}

#[test]
fn a_command_line_that_cannot_be_read_says_why() {
    let line = |args: &[&str]| Start::release().args(args).problems();
    assert_snapshot!(line(&["--ssh-hots", "x"]), @"--ssh-hots: is not a known flag; did you mean `--ssh-host`?");
    assert_eq!(line(&["deploy-staging", "--ssh-hots", "x"]), line(&["--ssh-hots", "x"]));
    assert_snapshot!(line(&["--ssh-host", "a", "--ssh-host", "b"]), @r#"ssh-host: `a\nb` names several servers; name one server; several come in a later version"#);
    assert_snapshot!(line(&["deploy-staging", "--stage", "build-gate"]), @"stage: is given twice: `deploy-staging` and `--stage build-gate`; name one");
    assert_snapshot!(line(&["--ssh-port", "22", "ledger", "verify", "x"]), @"command line: has a sub-command after other arguments; put `ledger` first");
    assert_snapshot!(line(&["deploy-staging", "extra-word"]), @"command line: has an extra argument after the stage; `gated-deploy --help` lists the flags");
    assert_snapshot!(line(&["deploy-staging", "--php"]), @"--php: has no value; `gated-deploy --help` lists the flags");
    assert_snapshot!(line(&["--ssh-passphrase", "@no/such/file"]), @"--ssh-passphrase: `@no/such/file` cannot be read: No such file or directory (os error 2); write `--ssh-passphrase @file`, or set GATED_DEPLOY_SSH_PASSPHRASE");
}

#[test]
fn f40_a_secret_on_the_command_line_is_refused_and_not_shown() {
    let start = Start::release().args(&["--healthcheck-token", "marked-health-token"]);
    assert_snapshot!(start.problems(), @"--healthcheck-token: is a secret, and every user of the machine can read a command line; write `--healthcheck-token @file`, or set GATED_DEPLOY_HEALTHCHECK_TOKEN");
    assert!(start.run().common.mask_commands().contains(&"::add-mask::marked-health-token".to_owned()));
    let typo = Start::release().args(&["--healthcheck-tokn=marked-health-token"]).problems();
    assert!(typo.contains("--healthcheck-token") && !typo.contains("marked-health-token"), "{typo}");
}

#[test]
fn f40_every_secret_is_masked_also_when_the_inputs_are_refused() {
    let start = Start::release()
        .input("healthcheck-token", "100%-marked")
        .input("ssh-port", "x")
        .input("staging-healthcheck-token", "of-a-later-stage")
        .policy("ssh-passphrase: marked-in-the-policy\n");
    let masks = start.run().common.mask_commands();
    for mask in ["::add-mask::100%25-marked", "::add-mask::of-a-later-stage", "::add-mask::marked-in-the-policy"] {
        assert!(masks.contains(&mask.to_owned()), "{mask} is missing in {masks:?}");
    }
    assert!(masks.contains(&format!("::add-mask::{TOKEN}")));
    let body = keys().private.lines().nth(1).expect("a key has a body");
    assert!(masks.contains(&format!("::add-mask::{body}")));
    assert!(!masks.iter().any(|mask| mask.contains("BEGIN")), "armour is no secret");
}

#[test]
fn f40_no_problem_shows_a_secret_wherever_it_was_pasted() {
    let secret = "marked-s3cret/value";
    for input in INPUTS.iter().filter(|input| !input.secret) {
        let start = Start::release().input("healthcheck-token", secret).input(input.name, &format!("{secret}\nmore"));
        if let Err(problems) = start.run().request {
            let told = format!("{problems:?}{}", problems.iter().map(ToString::to_string).collect::<String>());
            assert!(!told.contains(secret), "{} shows a secret: {told}", input.name);
        }
    }
    let policy =
        format!("{secret}: 1\nbase-dir: {secret}\nhealthcheck-token: {secret}\nssh-host: [{secret}, '@{secret}']\n");
    let told = format!("{:?}", Start::release().policy(&policy).run().request);
    assert!(!told.contains(secret), "{told}");
}

#[test]
fn f40_a_key_in_the_wrong_input_is_not_shown() {
    let body = keys().private.lines().nth(1).expect("a key has a body");
    for name in ["ssh-host", "ssh-known-hosts", "url", "healthcheck-token"] {
        let start = Start::release().input(name, &keys().private).input("ssh-private-key", "");
        let told = start.problems();
        assert!(!told.contains(&body[..20]), "{name}: {told}");
    }
}

#[test]
fn f38_a_server_without_a_known_host_key_is_told_before_any_connection() {
    assert_snapshot!(Start::release().input("ssh-port", "2222").input("ssh-host", "other.example.org").problems(), @"ssh-known-hosts: has no host key of a usable type for [other.example.org]:2222; add the line that begins with `[other.example.org]:2222`, or the `SHA256:` fingerprint of the server's host key");
}

#[test]
fn f29_f30_an_empty_secret_is_explained_with_its_likely_cause() {
    assert_snapshot!(Start::release().input("ssh-private-key", "").problems(), @"ssh-private-key: is empty; pass `ssh-private-key: ${{ secrets.STAGING_SSH_KEY }}` in the step's `with:`, check that the secret exists under this name, and name the `environment:` that holds it in the job");
    assert_snapshot!(Start::release().input("github-token", " ").problems(), @"github-token: is empty; pass `github-token: ${{ github.token }}` in the step's `with:`, check that the secret exists under this name, and name the `environment:` that holds it in the job");
    assert_snapshot!(Start::release().without_variable("INPUT_SSH-PRIVATE-KEY").problems(), @"ssh-private-key: is missing; pass `ssh-private-key: ${{ secrets.STAGING_SSH_KEY }}` in the step's `with:`");
}

#[test]
fn f31_a_key_that_is_none_is_an_input_problem_before_any_connection() {
    let problems = Start::release().input("ssh-private-key", "~/.ssh/id_ed25519").input("base-dir", "app").problems();
    assert!(problems.contains("ssh-private-key: "), "{problems}");
    assert!(problems.contains("base-dir: `app` is not an absolute path"), "{problems}");
    assert!(!problems.contains("id_ed25519"), "{problems}");
}

#[test]
fn f3_a_build_that_started_the_run_names_commit_and_run() {
    let payload = serde_json::json!({"action": "completed", "workflow_run": {"id": 19011797015_u64, "head_sha": OTHER_SHA, "conclusion": "success"}});
    let start = Start::release().event("workflow_run", payload);
    let deploy = start.deploy();
    assert_eq!(deploy.source.commit.as_str(), OTHER_SHA, "GITHUB_SHA is the default branch's head for this event");
    assert_eq!(deploy.source.build.run_id, Some(19011797015));
    assert_eq!(deploy.source.build.artifact_of(&deploy.source.commit), format!("deployment-bundle-{OTHER_SHA}"));
    let other = start.input("sha", SHA).deploy();
    assert_eq!((other.source.commit.as_str(), other.source.build.run_id), (SHA, None), "that run built another commit");
}

#[test]
fn a_build_that_failed_releases_nothing() {
    let run = |conclusion: serde_json::Value| {
        let payload = serde_json::json!({"workflow_run": {"id": 7, "head_sha": SHA, "conclusion": conclusion, "html_url": "https://github.com/acme/shop/actions/runs/7"}});
        Start::release().event("workflow_run", payload).problems()
    };
    assert_snapshot!(run("failure".into()), @"event: is about build run 7, which ended in `failure` (https://github.com/acme/shop/actions/runs/7): it has no bundle to release; repair the build; to skip this step after failed builds, add to the job: `if: github.event.workflow_run.conclusion == 'success'`");
    assert_snapshot!(run(serde_json::Value::Null), @"event: is about run 7, which has not ended (https://github.com/acme/shop/actions/runs/7); start the workflow on `workflow_run: types: [completed]`");
}

#[test]
fn f4_null_and_empty_and_absent_are_no_ids() {
    for id in ["null", "-1", "0", "1e3", "12 34", "99999999999999999999999"] {
        let problems = Start::release().input("build-run-id", id).problems();
        assert!(problems.starts_with(&format!("build-run-id: `{id}` is not a workflow run's number")), "{problems}");
    }
    for sha in ["null", "F0959BAF6A5B0B1C2D3E4F5061728394A5B6C7D8", "f0959baf", "develop"] {
        let problems = Start::release().input("sha", sha).problems();
        assert!(problems.starts_with(&format!("sha: `{sha}` is not a full commit SHA")), "{problems}");
    }
    for (id, sha) in [
        (serde_json::json!("null"), SHA),
        (serde_json::Value::Null, SHA),
        (serde_json::json!(7), "null"),
        (serde_json::json!(7), ""),
    ] {
        let payload = serde_json::json!({"workflow_run": {"id": id, "head_sha": sha, "conclusion": "success"}});
        let problems = Start::release().event("workflow_run", payload).problems();
        assert!(problems.starts_with("event: of `workflow_run` cannot be read from "), "{problems}");
    }
}

#[test]
fn f2_an_unsupported_event_is_an_error_and_never_a_skip() {
    let start = |event: &str| Start::release().variable("GITHUB_EVENT_NAME", event);
    assert_snapshot!(start("pull_request").problems(), @"event: `pull_request` cannot start deploy-staging; deploy-staging starts on `workflow_dispatch`, `workflow_run`, `push`, or is called from a workflow that starts on one of them");
    assert_snapshot!(start("schedule").problems(), @"event: `schedule` cannot start deploy-staging; deploy-staging starts on `workflow_dispatch`, `workflow_run`, `push`, or is called from a workflow that starts on one of them");
    assert_eq!(start("push").deploy().source.commit.as_str(), SHA);
    assert_snapshot!(start("push").variable("GITHUB_SHA", "0".repeat(40)).problems(), @"GITHUB_SHA: `0000000000000000000000000000000000000000` is the commit of a deleted branch; give the commit in the input `sha`");
}

/// A check that branch protection requires must run on pull requests, or none can be merged. Releases take only what BUILD_EVENTS started.
#[test]
fn f11_a_build_starts_on_every_event_that_builds_and_on_pull_requests() {
    let start = |event: &str| Start::in_actions("build-gate").variable("GITHUB_EVENT_NAME", event);
    for event in trigger::BUILD_EVENTS.into_iter().chain(["pull_request"]) {
        assert_eq!(start(event).build_gate().event.as_deref(), Some(event));
    }
    for event in ["pull_request_target", "issue_comment", "workflow_call"] {
        assert!(start(event).problems().starts_with(&format!("event: `{event}` cannot start build-gate")), "{event}");
    }
    let run = |conclusion: &str| {
        let payload = serde_json::json!({"workflow_run": {"id": 7, "head_sha": SHA, "conclusion": conclusion}});
        Start::in_actions("build-gate").event("workflow_run", payload)
    };
    assert_eq!(run("success").build_gate().commit.as_str(), SHA);
    assert_snapshot!(run("failure").problems(), @"event: is about run 7, which ended in `failure`: its commit is not built; correct that run and start it again; to skip this step after failed runs, add to the job: `if: github.event.workflow_run.conclusion == 'success'`");
}

#[test]
fn approval_is_read_against_the_phrase_of_the_environment() {
    let digest = "3f9a1c2e00112233";
    let start = Start::release().input("approval", &format!(" STAGING-TEST FREIGEGEBEN {digest}\n"));
    assert_eq!(start.deploy().target.approval, Approval::Given { plan_digest: Some(digest.to_owned()) });
    let start = Start::release().input("approval", "STAGING-TEST FREIGEGEBEN 3f9a1c2e");
    assert_eq!(start.deploy().target.approval, Approval::Short { digest: "3f9a1c2e".to_owned() });
    assert!(matches!(
        Start::release().input("approval", "staging-test freigegeben").deploy().target.approval,
        Approval::Wrong { .. }
    ));
    let policy = "approval-needs-digest: true\nenvironments:\n  staging:\n    approval-phrase: LET IT GO\n";
    let start = Start::release().policy(policy).input("approval", "LET IT GO");
    assert_snapshot!(start.problems(), @"approval: `LET IT GO` has no plan digest, and the policy requires one; run it without `approval`, then copy the phrase with the digest from the section `Approve this plan` of the job summary");
    assert_eq!(start.input("approval", "LET IT GO 3f9a1c2e00112233").deploy().target.phrase, "LET IT GO");
}

#[test]
fn an_approval_cannot_stand_in_the_repository() {
    let policy = "approval: STAGING-TEST FREIGEGEBEN\napproval-phrase: LET IT GO\n";
    assert_snapshot!(Start::release().policy(policy).problems(), @r#"
    approval: belongs to one run and is not allowed in the policy file; give it as an input of the step (.github/gated-deploy.yml:1)
    approval-phrase: is allowed only in the section of an environment; move it to environments.staging.approval-phrase, so that no phrase approves two environments (.github/gated-deploy.yml:2)
    "#);
}

#[test]
fn the_policy_takes_lists_numbers_and_booleans() {
    let policy = "\
# What holds for all
health-paths: [/up, /ready]
health-expect:
  - Ready
keep-releases: 3
health-interval: 2
confirm-within: 10m
ssh-host: [staging.example.com]
shared: [storage]
environments:
  staging:
    migrate: false
    repair: true
    \"php\": 'php8.3'
";
    let deploy = Start::release().input("ssh-host", "").policy(policy).deploy();
    assert_eq!(deploy.target.health.paths, ["/up", "/ready"]);
    assert_eq!(deploy.target.health.expect, ["ready"]);
    assert_eq!(
        (deploy.target.health.interval, deploy.target.server.confirm_within),
        (Duration::from_secs(2), Duration::from_secs(600))
    );
    assert_eq!((deploy.target.server.keep_releases, deploy.target.server.php.as_str()), (3, "php8.3"));
    assert_eq!(deploy.target.server.shared, ["storage"]);
    assert!(deploy.target.health.repair && !deploy.target.server.migrate);
}

#[test]
fn what_is_wrong_in_the_policy_is_told_with_its_line() {
    let policy = "\
ssh-prot: 2222
keep-releases: many
php: 8.10
ssh-private-key: marked-key-in-the-file
stage: deploy-staging
url: [https://a.example, https://b.example]

environments:
  Staging: {}
  staging:
    health-paths:
      - /health
      - 5
    # ssh-user stands here too
    ssh-user: -root
    approval-frase: LET IT GO
    base-dir:
      path: /var/www
  production:
    ssh-user: ok
    ssh-host: '-'
";
    assert_snapshot!(Start::release().input("base-dir", "").policy(policy).problems(), @r#"
    ssh-prot: is not known; did you mean `ssh-port`? (.github/gated-deploy.yml:1)
    php: `8.1` is not text here; quote it (.github/gated-deploy.yml:3)
    ssh-private-key: is a secret and is not allowed in the policy file; pass it as `ssh-private-key: ${{ secrets.NAME }}` in the workflow, and replace the secret, because it was readable in a file (.github/gated-deploy.yml:4)
    stage: belongs to one run and is not allowed in the policy file; give it as an input of the step (.github/gated-deploy.yml:5)
    url: `- https://a.example\n- https://b.example` is a list; write one value (.github/gated-deploy.yml:6)
    Staging: is not an environment's name; write lower-case letters, digits and hyphens, such as `staging` (.github/gated-deploy.yml:9)
    health-paths: `- /health\n- 5` has an entry that is neither one line of text nor a mapping; quote it (.github/gated-deploy.yml:11)
    approval-frase: is not known; did you mean `approval-phrase`? (.github/gated-deploy.yml:16)
    base-dir: `path: /var/www` is a mapping; write one value (.github/gated-deploy.yml:17)
    ssh-user: `-root` is not an account's name; write letters, digits, `_`, `-` and `.`, at most 32, such as `deploy` (.github/gated-deploy.yml:15)
    base-dir: is missing; give it as `base-dir:` in the step's `with:`, or in the policy file
    keep-releases: `many` is not a whole number; write a number from 1 to 1000 (.github/gated-deploy.yml:2)
    ssh-host: `-` is not a host name; write the name or address alone, such as `staging.example.com` (.github/gated-deploy.yml:21)
    "#);
}

/// A key of the name of an input that no policy can have: the rest of the file is read, so that what is missing is known.
#[test]
fn a_wrong_key_in_a_policy_hides_no_missing_input() {
    let start = Start::release().input("base-dir", "").policy("config: x.yml\n");
    assert_snapshot!(start.problems(), @r#"
    config: belongs to one run and is not allowed in the policy file; give it as an input of the step (.github/gated-deploy.yml:1)
    base-dir: is missing; give it as `base-dir:` in the step's `with:`, or in the policy file
    "#);
}

#[test]
fn a_policy_that_is_no_yaml_is_told_with_its_line() {
    let policy = |text: &str| Start::release().policy(text).problems();
    assert_snapshot!(policy("php: php8.3\nssh-user: a\nkeep-releases: 5\nssh-user: b\n"), @"config: has `ssh-user` twice; keep one of them (.github/gated-deploy.yml:4)");
    assert_snapshot!(policy("environments:\n  staging:\n    php: a\n  qa:\n    php: a\n    php: b\n"), @"config: has `php` twice; keep one of them (.github/gated-deploy.yml:6)");
    assert_snapshot!(policy("php: php8.3\n\tssh-user: a\n"), @"config: is not YAML that can be read: found a tab character that violates indentation; indent with blanks, and quote texts with `: ` or `#` in them (.github/gated-deploy.yml:2)");
    assert_snapshot!(policy("php: php8.3\n---\nphp: php8.2\n"), @"config: has several documents; keep one, without `---` between (.github/gated-deploy.yml)");
    assert_snapshot!(policy("- php\n"), @"config: is not a mapping; write `name: value` lines, such as `ssh-host: staging.example.com` (.github/gated-deploy.yml)");
    assert_snapshot!(policy("environments: staging\n"), @"environments: is not a mapping; write a section of the same keys for each, such as `staging:` (.github/gated-deploy.yml:1)");
    assert_snapshot!(policy("ssh-user: &a deploy\nphp: !secret x\n<<: {a: b}\n"), @r#"
    php: `!secret x` has the YAML tag `!secret`; write the value without the tag (.github/gated-deploy.yml:2)
    <<: is not known; docs/inputs.md lists the keys (.github/gated-deploy.yml:3)
    "#);
    assert_snapshot!(policy(&format!("# {}\n", "x".repeat(256 * 1024))), @"config: `.github/gated-deploy.yml` is larger than 256 KiB; check that `config` names the policy file");
    let bomb: String = ('b'..='z')
        .zip('a'..='y')
        .map(|(to, from)| format!("{to}: &{to} [*{from},*{from},*{from},*{from},*{from}]\n"))
        .collect();
    assert_snapshot!(policy(&format!("a: &a [x]\n{bomb}")), @"config: is too deep or repeats too much: repetition limit exceeded; write it without anchors (.github/gated-deploy.yml)");
    assert_snapshot!(policy(&format!("a: {}\n", "[".repeat(5000))), @"config: is too deep or repeats too much: recursion limit exceeded; write it without anchors (.github/gated-deploy.yml:1)");
    assert_eq!(Start::release().policy("").deploy().target.ssh.user, "deploy");
}

#[test]
fn the_policy_file_must_be_there_when_it_is_named_and_lie_in_the_workspace() {
    assert_snapshot!(Start::release().input("config", "deploy.yml").problems(), @"config: `deploy.yml` does not exist; name a file of the workspace, and run actions/checkout before this step");
    assert_snapshot!(Start::release().input("config", "../deploy.yml").problems(), @"config: `../deploy.yml` leaves the workspace; write a path inside of it, such as `.`, or `build/app`");
    assert_snapshot!(Start::release().input("config", "/etc/passwd").problems(), @"config: `/etc/passwd` leaves the workspace; write a path inside of it, such as `.`, or `build/app`");
    let start = Start::release().file(".github/README", "");
    assert_snapshot!(start.input("config", ".github").problems(), @"config: `.github` is not a file; name a YAML file");
    let start = Start::release().input("config", "linked.yml");
    std::os::unix::fs::symlink("/etc/passwd", start.workspace.path().join("linked.yml"))
        .expect("a link in the workspace");
    assert_snapshot!(start.problems(), @"config: `linked.yml` leaves the workspace; write a path inside of it, such as `.`, or `build/app`");
    let start = Start::release().file("ops/deploy.yml", "ssh-user: ops\n");
    let absolute = start.workspace.path().join("ops/deploy.yml").display().to_string();
    assert_eq!(start.input("config", &absolute).deploy().target.ssh.user, "ops");
}

#[test]
fn f45_a_mistyped_environment_does_not_fall_back_to_common_settings() {
    let policy = "ssh-host: live.example.com\nenvironments:\n  staging: {}\n  qa:\n    ssh-host: qa.example.com\n";
    let start = Start::release().input("ssh-host", "").policy(policy);
    assert_snapshot!(start.input("environment", "qs").problems(), @"environment: `qs` has no section in the policy file; name one of `qa`, `staging`");
    let start = Start::release().input("ssh-host", "").policy(policy).input("environment", "qa");
    let deploy = start.deploy();
    assert_eq!(
        (deploy.target.ssh.host.as_str(), deploy.target.layout.env_file().as_str()),
        ("qa.example.com", "/var/www/app/shared/.env/qa.env")
    );
    assert_snapshot!(Start::release().input("environment", "production").problems(), @"environment: `production` is not an environment of deploy-staging; use the stage deploy-production for production");
}

#[test]
fn what_the_step_does_not_use_is_a_warning_and_in_the_policy_it_is_fine() {
    let start = Start::in_actions("build-gate")
        .input("ssh-host", "staging.example.com")
        .policy("ssh-user: deploy\nstaging-stable-for: 2h\n");
    assert_snapshot!(start.warnings().join("\n"), @"ssh-host: build-gate does not use this input; Remove it, or move it to the policy file if another stage needs it.");
    let wrong = Start::in_actions("build-gate").policy("staging-stable-for: soon\n");
    assert_snapshot!(wrong.problems(), @"staging-stable-for: `soon` is not a duration; write `15s`, `10m`, `1h`, or plain seconds (.github/gated-deploy.yml:1)");
}

#[test]
fn plain_http_is_a_warning() {
    assert_snapshot!(Start::release().input("url", "http://10.0.0.5:8080").warnings().join("\n"), @"url: `http://10.0.0.5:8080` is plain http: the health token and every page are sent unencrypted; Set `url` to the https address, unless the site is on this machine or network.");
}

#[test]
fn unknown_inputs_name_the_nearest_known_one() {
    let start = Start::release()
        .variable("INPUT_HEALTHCHECK-PATHS", "/up")
        .variable("INPUT_REPAIR", "true")
        .variable("INPUT_ENTRYPOINT", "/x")
        .variable("INPUT_ARGS", "y")
        .variable("GATED_DEPLOY_SSH_HSOT", "x");
    assert_snapshot!(start.problems(), @r#"
    GATED_DEPLOY_SSH_HSOT: is not known; did you mean `ssh-host`?
    healthcheck-paths: is not known; did you mean `health-paths`?
    repair: is not an input; set it in the policy file
    "#);
}

#[test]
fn build_gate_resolves_its_folders_in_the_workspace() {
    let start = Start::in_actions("build-gate")
        .file("app/artisan", "")
        .input("source-dir", "./app/../app")
        .input("output-dir", "out/here");
    let gate = start.build_gate();
    assert_eq!(gate.source, start.workspace.path().join("app"));
    assert_eq!(gate.output, start.workspace.path().join("out/here"));
    assert_eq!(gate.artifact_name, format!("deployment-bundle-{SHA}"));
    assert_eq!(start.run().common.report_dir, start.workspace.path().join(".gated-deploy/reports"));
    let start = Start::in_actions("build-gate")
        .input("source-dir", "dist")
        .input("output-dir", "..")
        .input("report-dir", "/tmp");
    assert_snapshot!(start.problems(), @r#"
    source-dir: `dist` is not a folder; name the folder of the built app, and check out and build it before this step
    output-dir: `..` leaves the workspace; write a path inside of it, such as `.`, or `build/app`
    report-dir: `/tmp` leaves the workspace; write a path inside of it, such as `.`, or `build/app`
    "#);
    let start =
        Start::in_actions("build-gate").file("app/artisan", "").input("source-dir", "app").input("output-dir", ".");
    assert_snapshot!(start.problems(), @"output-dir: `.` is the bundled folder or a parent of it; name a separate folder, such as `.gated-deploy`");
}

#[test]
fn the_server_is_given_time_to_hear_of_a_healthy_release() {
    let start = Start::release().input("health-attempts", "60").input("health-interval", "10s");
    assert_snapshot!(start.problems(), @"confirm-within: `5m` is shorter than grace-period plus health-attempts times health-interval; set it to at least 615s, or lower health-attempts or health-interval");
    assert_eq!(start.input("confirm-within", "11m").deploy().target.server.confirm_within, Duration::from_secs(660));
}

#[test]
fn addresses_ports_and_names_are_held_to_their_form() {
    let wrong: &[(&str, &str)] = &[
        ("ssh-host", "a.example.com\nb.example.com"),
        ("ssh-host", "staging.example.com:2222"),
        ("ssh-host", "-oProxyCommand=x"),
        ("ssh-user", "deploy user"),
        ("base-dir", "/"),
        ("base-dir", "/var/www/../../etc"),
        ("base-dir", "/run/app"),
        ("base-dir", "/home"),
        ("env-file", "/etc/passwd"),
        ("env-file", "../.env"),
        ("url", "ftp://example.com"),
        ("url", "https://user:pass@example.com"),
        ("url", "https://example.com/?a=b"),
        ("url", "https://example.com/shop"),
        ("health-address", "localhost:80"),
        ("health-via", "tunel"),
        ("php", "php -d x"),
        ("build-workflow", ".github/workflows/build.yml"),
        ("artifact-name", "bundle-{ref}"),
        ("artifact-name", "a/b"),
        ("confirm-within", "2d"),
        ("ssh-port", "65536"),
        ("keep-backups", "+5"),
    ];
    let told: Vec<String> = wrong.iter().map(|(name, text)| Start::release().input(name, text).problems()).collect();
    assert_snapshot!(told.join("\n"), @r#"
    ssh-host: `a.example.com\nb.example.com` names several servers; name one server; several come in a later version
    ssh-host: `staging.example.com:2222` has a port or brackets; write the name or address alone, such as `staging.example.com`, and the port in ssh-port
    ssh-host: `-oProxyCommand=x` is not a host name; write the name or address alone, such as `staging.example.com`
    ssh-user: `deploy user` is not an account's name; write letters, digits, `_`, `-` and `.`, at most 32, such as `deploy`
    base-dir: `/` is the root of the file system; write the app's own folder, absolute, such as `/var/www/app`
    base-dir: `/var/www/../../etc` is not a usable path: it contains `..`; write the app's own folder, absolute, such as `/var/www/app`
    base-dir: `/run/app` is a folder of the system; write the app's own folder, absolute, such as `/var/www/app`
    base-dir: `/home` is a folder of the system; write the app's own folder, absolute, such as `/var/www/app`
    env-file: `/etc/passwd` is not usable: it is absolute, and must be relative; write a path below base-dir, such as `shared/.env/staging.env`
    env-file: `../.env` is not usable: it contains `..`; write a path below base-dir, such as `shared/.env/staging.env`
    url: `ftp://example.com` has the scheme `ftp`; write scheme and host, such as `https://staging.example.com`
    url: `https://***@example.com` has a user or password in it; write scheme and host, such as `https://staging.example.com`; for a site behind basic auth use `health-via: tunnel`
    url: `https://example.com/?a=b` has a query or fragment; write scheme and host, such as `https://staging.example.com`
    url: `https://example.com/shop` has a path; write scheme and host, such as `https://staging.example.com`; paths go into health-paths
    health-address: `localhost:80` is not an address with a port; write an address and a port, such as `127.0.0.1:8080` or `[::1]:8080`
    health-via: `tunel` is not one of the possible values; did you mean `tunnel`?
    php: `php -d x` is neither a program's name nor an absolute path; write `php8.3` or `/usr/bin/php8.3`
    build-workflow: `.github/workflows/build.yml` is a path; write the file name alone, such as `build-artifacts.yml`, or the workflow's name
    artifact-name: `bundle-{ref}` has braces that are not `{sha}`; write a name such as `deployment-bundle-{sha}`
    artifact-name: `a/b` has `/` in it, which no artifact's name can have; write a name such as `deployment-bundle-{sha}`
    confirm-within: `2d` is not a duration; write `15s`, `10m`, `1h`, or plain seconds
    ssh-port: `65536` is out of range; write a whole number from 1 to 65535
    keep-backups: `+5` is not a whole number; write a number from 1 to 1000
    "#);
    for right in ["staging.example.com", "10.0.0.5", "2001:db8::1", "web_1", "staging.example.com."] {
        assert!(value::host(right).is_ok(), "{right}");
    }
    for right in ["/var/www/app", "/srv/app", "/home/deploy/app", "/etcetera/app", "/tmp/lab/app"] {
        assert!(value::base_dir(right).is_ok(), "{right}");
    }
}

#[test]
fn f61_where_copies_go_is_read_with_care() {
    let start = || Start::release().input("base-dir", "/var/www/app");
    for (inputs, says) in [
        (
            vec![("backup-copy-dir", "mnt/nas")],
            "backup-copy-dir: `mnt/nas` is not an absolute path; write a folder of its own on another disk",
        ),
        (vec![("backup-copy-dir", "/mnt")], "backup-copy-dir: `/mnt` is a folder of the system"),
        (vec![("backup-copy-dir", "/var/www/app/copies")], "backup-copy-dir: `/var/www/app/copies` is inside base-dir"),
        (vec![("backup-copy-dir", "/var/www/app/")], "is inside base-dir"),
        (
            vec![("backup-copy", "required")],
            "backup-copy: `required` needs a folder for the off-site backup, and `backup-copy-dir` is not set; set `backup-copy-dir`",
        ),
        (vec![("backup-copy", "yes")], "backup-copy: `yes` is not one of"),
    ] {
        let start = inputs.iter().fold(start(), |start, (name, value)| start.input(name, value));
        let told = start.problems();
        assert!(told.contains(says), "{inputs:?}: {told}");
    }
    let copy = |start: Start| start.deploy().target.server.backup_copy;
    assert_eq!(copy(start()), None);
    let given =
        copy(start().input("backup-copy-dir", "/var/www/app2").input("backup-copy", "required")).expect("a place");
    assert_eq!((given.dir.as_str(), given.required, given.within.as_secs()), ("/var/www/app2", true, 900));
}

#[test]
fn text_that_is_not_unicode_is_a_problem_and_no_panic() {
    use std::os::unix::ffi::OsStringExt as _;
    let start = Start::release().variable("INPUT_SSH-HOST", OsString::from_vec(vec![b'a', 0xff]));
    assert!(start.problems().starts_with("INPUT_SSH-HOST: is not UTF-8 text"), "{}", start.problems());
}

#[test]
fn scratch_files_go_where_the_runner_lets_them() {
    let start = Start::release();
    let home = start.workspace.path().to_owned();
    let start =
        start.variable("RUNNER_TEMP", "/home/runner/work/_temp-that-is-not-mounted").variable("HOME", home.clone());
    assert_eq!(start.run().common.scratch, home);
    let temp = TempDir::new().expect("a temporary folder");
    assert_eq!(start.variable("RUNNER_TEMP", temp.path()).run().common.scratch, temp.path());
    assert_eq!(Start::release().run().common.scratch, Path::new("/tmp"));
}

#[test]
fn help_names_every_input_and_marks_the_secrets() {
    let Asked::Print(help) = Start::empty().args(&["--help"]).asked() else { panic!("--help prints") };
    let flowing = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for input in INPUTS {
        assert!(
            help.contains(&format!("--{} ", input.name)) || help.contains(&format!("--{}\n", input.name)),
            "{} is missing",
            input.name
        );
        let marked = flowing.contains(&format!("SECRET: @file, or {}.", input.shell_variable()));
        assert_eq!(input.secret, marked, "{}", input.name);
    }
    for (code, _) in EXIT_CODES {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is missing");
    }
    let longest = help.lines().map(str::len).max().unwrap_or_default();
    assert!(longest <= 100, "a line of {longest} columns");
    let Asked::Print(version) = Start::empty().args(&["--version"]).asked() else { panic!("--version prints") };
    assert_eq!(version, format!("gated-deploy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn sub_commands_need_no_stage_and_have_errors_of_their_own() {
    let asked = |args: &[&str]| Start::empty().args(args).asked();
    assert!(matches!(asked(&["ledger", "verify", "file"]), Asked::Ledger(_)));
    assert!(matches!(asked(&["report", "show", "-"]), Asked::Report(_)));
    for (args, told) in [
        (&["ledger"][..], "Usage: gated-deploy ledger <COMMAND>"),
        (&["ledger", "verify"], "Usage: gated-deploy ledger verify <FILE>"),
        (&["ledger", "verify", "file", "--head", "x"], "error: --head: `x` is not a SHA-256 digest"),
        (&["report", "show", "file", "--ssh-host", "x"], "unexpected argument '--ssh-host'"),
    ] {
        let asked = asked(args);
        assert!(matches!(&asked, Asked::Unreadable(text) if text.contains(told)), "{args:?}: {asked:?}");
    }
    let Asked::Print(help) = asked(&["ledger", "verify", "--help"]) else { panic!("--help prints") };
    assert!(help.contains("Usage: gated-deploy ledger verify [OPTIONS] <FILE>"), "{help}");
    // Behind anything else these are words like others.
    for args in [&["smoke", "report"][..], &["--url", "https://x.test", "ledger", "verify"], &["--ssh-host", "report"]]
    {
        assert!(matches!(asked(args), Asked::Run(_)), "{args:?}");
    }
}

#[test]
fn the_example_policy_is_all_that_a_step_with_three_secrets_needs() {
    let start = Start::in_actions("deploy-staging")
        .input("github-token", TOKEN)
        .input("ssh-private-key", &keys().private)
        .input("healthcheck-token", "marked-health-token")
        .policy(include_str!("../../examples/gated-deploy.yml"));
    let deploy = start.deploy();
    assert_eq!(
        (deploy.target.ssh.host.as_str(), deploy.target.site.url.as_str()),
        ("staging.example.com", "https://staging.example.com/")
    );
    assert_eq!(deploy.target.layout.base().as_str(), "/var/www/shop");
    assert!(start.warnings().is_empty());
}

#[test]
fn f1_action_yml_declares_what_is_read_and_leaves_defaults_to_the_program() {
    let action: serde_yaml::Value = serde_yaml::from_str(include_str!("../../action.yml")).expect("action.yml is YAML");
    let declared = action["inputs"].as_mapping().expect("action.yml has inputs");
    assert_eq!(declared.len(), INPUTS.len());
    for input in INPUTS {
        let declared = &declared[input.name];
        assert!(declared["description"].as_str().is_some_and(|text| text.starts_with(input.help)), "{}", input.name);
        // A default there would look as if a person had given it, and beat the policy file.
        assert_eq!(
            declared["default"].as_str(),
            (input.name == "github-token").then_some("${{ github.token }}"),
            "{}",
            input.name
        );
    }
    let outputs = action["outputs"].as_mapping().expect("action.yml has outputs");
    assert!(OUTPUTS.iter().all(|output| outputs.contains_key(output.name)) && outputs.len() == OUTPUTS.len());
}

#[test]
fn the_table_keeps_its_own_rules() {
    let names: Vec<&str> = INPUTS.iter().chain(POLICY_KEYS).map(|input| input.name).collect();
    for input in INPUTS.iter().chain(POLICY_KEYS) {
        assert_eq!(names.iter().filter(|name| **name == input.name).count(), 1, "{} stands twice", input.name);
        assert!(!(input.secret && input.policy), "{} is a secret", input.name);
        assert!(input.help.ends_with('.'), "the help of {} is a sentence", input.name);
        if let Preset::Is(text) = input.preset {
            assert_eq!(value::check(input.kind, text), Ok(()), "the default of {}", input.name);
        }
    }
}

proptest! {
    #[test]
    fn a_duration_is_read_as_it_is_shown(seconds in 0_u64..200_000) {
        let shown = value::show_seconds(seconds);
        prop_assert_eq!(value::duration(&shown, 0, u64::MAX), Ok(Duration::from_secs(seconds)));
        prop_assert_eq!(value::duration(&seconds.to_string(), 0, u64::MAX), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_duration_has_one_number_and_at_most_one_unit(text in "[0-9smhd.+ -]{0,8}|\\PC{0,6}") {
        let documented = text.trim_end_matches(['s', 'm', 'h']);
        let form = !documented.is_empty() && documented.bytes().all(|b| b.is_ascii_digit()) && text.len() <= documented.len() + 1;
        prop_assert_eq!(value::duration(&text, 0, u64::MAX).is_ok(), form, "{}", text);
    }

    #[test]
    fn a_duration_outside_of_its_limits_is_refused(seconds in 0_u64..10_000, min in 0_u64..5_000, max in 5_000_u64..10_000) {
        prop_assert_eq!(value::duration(&format!("{seconds}s"), min, max).is_ok(), (min..=max).contains(&seconds));
    }

    #[test]
    fn a_policy_of_any_text_is_read_without_a_panic(text in "(\\PC|\n| |:|-){0,200}") {
        policy::parse("policy.yml", &text);
    }
}

/// A policy that says where staging is, and how to reach its server.
const STAGING: &str = "environments:\n  staging:\n    ssh-host: staging.example.com\n    base-dir: /var/www/app\n    url: https://staging.example.com\n    ssh-known-hosts: staging.example.com SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n";

fn production() -> Start {
    let base = Start::release().input("healthcheck-token", "the-token-of-production");
    base.input("stage", "deploy-production")
}

#[test]
fn production_is_told_where_staging_is() {
    let problems = production().problems();
    assert!(problems.contains("staging-url: is missing; give it as `staging-url:`"), "{problems}");

    // An address is enough; then only the site and the workflow are asked.
    let deploy = production().input("staging-url", "https://staging.example.com").deploy();
    let staging = deploy.staging.expect("staging");
    assert_eq!(
        (staging.site.url.as_str(), staging.workflow.as_str()),
        ("https://staging.example.com/", "deploy-staging.yml")
    );
    assert_eq!((staging.stable_for, staging.server.is_none()), (Duration::from_secs(3600), true));
    assert_eq!(staging.health.paths.len(), 3, "staging's paths, not production's");
    assert!(staging.health.token.is_none(), "production's token is not sent to staging");
    assert!(deploy.target.server.backup_nginx, "the backup takes nginx's configuration");

    // The policy's section says more, and its known hosts are staging's.
    let deploy = production().policy(STAGING).input("staging-healthcheck-token", "the-token-of-staging").deploy();
    let staging = deploy.staging.expect("staging");
    let server = staging.server.expect("its server");
    assert_eq!((server.ssh.host.as_str(), server.layout.base().as_str()), ("staging.example.com", "/var/www/app"));
    assert_eq!(staging.health.token.as_ref().map(Secret::expose), Some("the-token-of-staging"));

    let wrong = STAGING.replace("staging.example.com SHA256", "elsewhere.example.com SHA256").replace("https", "ftp");
    let problems = production().policy(&wrong).problems();
    assert!(problems.contains("staging: ssh-known-hosts"), "{problems}");
    assert!(problems.contains("staging: url"), "{problems}");
    let half = STAGING.replace("    ssh-host: staging.example.com\n", "");
    let without = production().input("ssh-host", "").policy(&half).problems();
    assert!(
        without.contains("staging: ssh-host: is missing; give it in the section environments.staging"),
        "{without}"
    );
    let elsewhere = production().input("staging-url", "https://staging.example.com").input("environment", "staging");
    assert!(elsewhere.problems().contains("use the stage deploy-staging for staging"), "{}", elsewhere.problems());
}

/// A fingerprint without a host, as `ssh-keygen -l` prints it.
const BARE: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

#[test]
fn se18_a_fingerprint_without_a_host_is_refused_where_two_servers_are_reached() {
    let shared = STAGING.replace(&format!("    ssh-known-hosts: staging.example.com {BARE}\n"), "");
    let start = || production().input("ssh-host", "www.example.com");
    let both = format!("www.example.com {BARE}\nstaging.example.com {BARE}");

    for stage in ["deploy-production", "preflight"] {
        let start = || start().input("stage", stage);
        let told = start().policy(&shared).input("ssh-known-hosts", BARE).problems();
        assert_eq!(
            told,
            "ssh-known-hosts: has a fingerprint without a host, and this run connects to two servers, www.example.com and staging.example.com: \
             the fingerprint would be accepted for both; write the host before it: `www.example.com SHA256:...` and `staging.example.com SHA256:...`"
        );
        let with_port = start().policy(&shared).input("ssh-known-hosts", BARE).input("ssh-port", "2222").problems();
        assert!(with_port.contains("`[www.example.com]:2222 SHA256:...`"), "{with_port}");
        // Whoever has one of his own for staging could still give production both.
        let own = start().policy(STAGING).input("ssh-known-hosts", BARE).problems();
        assert!(own.contains("connects to two servers"), "{own}");
        assert!(start().policy(&shared).input("ssh-known-hosts", &both).run().request.is_ok());
    }
    // One server is the one that is meant.
    let one = shared.replace("staging.example.com\n    base-dir", "www.example.com\n    base-dir");
    assert!(start().policy(&one).input("ssh-known-hosts", BARE).run().request.is_ok());
    assert!(Start::release().input("ssh-known-hosts", BARE).run().request.is_ok());
}

#[test]
fn se11_the_fix_of_the_health_token_overwrites_no_other_secret() {
    let start = |name: &str| {
        Start::release()
            .input("stage", "fix")
            .input("fix", "health-token")
            .input("environment", "staging")
            .policy(&format!("healthcheck-token-secret: {name}\n"))
    };
    for name in ["STAGING_SSH_KEY", "DEPLOY_TOKEN", "HEALTHCHECK_PASSWORD", "HEALTH_TOKEN_OLD"] {
        let told = start(name).problems();
        let says = format!(
            "healthcheck-token-secret: `{name}` is not the name of a health token's secret; give it a name that contains `HEALTH` and ends in \
             `TOKEN`, such as `STAGING_HEALTH_TOKEN`"
        );
        assert!(told.starts_with(&says), "{told}");
    }
    for name in ["HEALTHCHECK_TOKEN", "PRODUCTION_HEALTHCHECK_TOKEN", "staging_health_token"] {
        assert!(start(name).run().request.is_ok(), "{name}");
    }
}

#[test]
fn se14_production_is_released_from_main_and_staging_from_develop_or_main() {
    let provenance = |start: &Start| start.deploy().source.build.provenance;
    let staging = provenance(&Start::release());
    assert_eq!((staging.branches, staging.built_on), (vec!["develop".to_owned(), "main".to_owned()], Vec::new()));
    let url = "https://staging.example.com";
    let strict = provenance(&production().input("staging-url", url));
    assert_eq!((strict.branches, strict.built_on), (vec!["main".to_owned()], vec!["develop".to_owned()]));
    assert_eq!((strict.tags.len(), strict.attestation), (0, false));

    let policy = "main-branch: trunk\nrequire-attestation: true\nenvironments:\n  production:\n    release-branches: [trunk, hotfix]\n    \
                  release-tags: ['v*']\n";
    let named = provenance(&production().input("staging-url", url).policy(policy));
    assert_eq!((named.branches, named.tags), (vec!["trunk".to_owned(), "hotfix".to_owned()], vec!["v*".to_owned()]));
    assert!(named.attestation);
    let long = production().input("staging-url", url).policy("release-branches: [refs/heads/main]\n").problems();
    assert!(
        long.starts_with("release-branches: `refs/heads/main` has `refs/heads/main`, which is not the short name"),
        "{long}"
    );
}

/// A certificate of an authority, made for this run of the tests.
fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| {
        let key = Rsa::generate(2048).and_then(PKey::from_rsa).expect("a key");
        let mut made = X509::builder().expect("a certificate");
        made.set_version(2).expect("version 3");
        made.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
        made.set_not_after(&Asn1Time::days_from_now(1).expect("a day")).expect("a day");
        made.set_pubkey(&key).expect("a key");
        made.append_extension(BasicConstraints::new().ca().build().expect("an authority")).expect("an extension");
        made.sign(&key, MessageDigest::sha256()).expect("a signature");
        String::from_utf8(made.build().to_pem().expect("PEM")).expect("text")
    })
}

#[test]
fn fd9_a_private_authority_counts_for_the_site_for_staging_and_for_the_api() {
    let roots = |start: &Start| {
        let deploy = start.deploy();
        let staging = deploy.staging.map(|staging| staging.site.roots.certificates().count());
        (deploy.target.site.roots.certificates().count(), deploy.source.github.roots.certificates().count(), staging)
    };
    assert_eq!(roots(&Start::release()), (0, 0, None));
    assert_eq!(roots(&Start::release().input("ca-certificates", authority())), (1, 1, None));
    let text = authority().replace('\n', "\n  ");
    assert_eq!(roots(&Start::release().policy(&format!("ca-certificates: |\n  {text}"))), (1, 1, None));
    let with_file = |text: &str| {
        let start = Start::release().input("ca-certificates", "certs/ours.pem");
        fs::create_dir(start.workspace.path().join("certs")).expect("a folder");
        fs::write(start.workspace.path().join("certs/ours.pem"), text).expect("a file");
        start
    };
    assert_eq!(roots(&with_file(&authority().repeat(2))), (2, 2, None));
    let production = production().input("staging-url", "https://staging.example.com");
    assert_eq!(roots(&production.input("ca-certificates", authority())), (1, 1, Some(1)));

    let right =
        "give certificates in PEM (`-----BEGIN CERTIFICATE-----`), or the path of a file with them in the workspace";
    let file = "ca-certificates: `certs/ours.pem`";
    let bad = authority().replacen("\n", "\n?", 1);
    for (start, told) in [
        (
            Start::release().input("ca-certificates", &bad),
            "ca-certificates: line 1: the certificate is not base64".to_owned(),
        ),
        (
            with_file(&keys().private),
            format!("{file} is not a file of certificates: line 1: begins `OPENSSH PRIVATE KEY`"),
        ),
        (with_file(""), format!("{file} is not a file of certificates: line 1: no certificate was found; {right}")),
        (Start::release().input("ca-certificates", "no.pem"), "ca-certificates: `no.pem` cannot be read: ".to_owned()),
        (
            Start::release().input("ca-certificates", "/etc/ssl"),
            "ca-certificates: `/etc/ssl` leaves the workspace".to_owned(),
        ),
    ] {
        let problems = start.problems();
        assert!(problems.starts_with(&told), "{problems}");
        assert_eq!(problems.matches("ca-certificates:").count(), 1, "{problems}");
    }
}

#[test]
fn se11_what_a_stranger_may_have_written_adds_no_authority() {
    let strangers = |start: Start| start.variable("GITHUB_EVENT_NAME", "pull_request_target");
    let start = strangers(Start::release().input("ca-certificates", "ours.pem").input("sha", SHA));
    fs::write(start.workspace.path().join("ours.pem"), authority()).expect("a file");
    let problems = start.problems();
    assert!(
        problems.contains("ca-certificates: `ours.pem` names a file that an unreviewed branch may have written"),
        "{problems}"
    );
    // A policy's text is compared with the default branch's, whose file is not asked for with the help of what is compared.
    let text = authority().replace('\n', "\n  ");
    let start = strangers(Start::release().policy(&format!("ca-certificates: |\n  {text}")).input("sha", SHA));
    let unreviewed = start.run().common.unreviewed.expect("a setting to compare");
    assert!(unreviewed.settings.iter().any(|setting| setting.input == "ca-certificates"), "{unreviewed:?}");
    assert_eq!(unreviewed.github.expect("a token").roots.certificates().count(), 0);
}

#[test]
fn fd6_the_home_page_is_one_path_or_none() {
    let home = |policy: &str| Start::release().policy(policy).deploy().target.health.home;
    assert_eq!(home("").as_deref(), Some("/"));
    assert_eq!(home("home-path: /shop\n").as_deref(), Some("/shop"));
    assert_eq!(home("home-path: none\n"), None);
    for wrong in ["shop", "https://example.com/", "/ /shop"] {
        let problems = Start::release().policy(&format!("home-path: '{wrong}'\n")).problems();
        assert!(
            problems.starts_with(&format!("home-path: `{wrong}` has `{wrong}`, which is not the path")),
            "{problems}"
        );
    }
}

/// FD5: a plain `/up` is Laravel's own route; the policy, and an input, may say of each path what it must answer.
#[test]
fn fd5_each_health_path_says_what_it_must_answer() {
    let health = |start: Start| start.deploy().target.health;
    let policy = "\
health-paths:
  - /up
  - /ready
  - path: /health
    expect: {status: fine, queue: 0, ok: true}
  - {path: /, contains: 'Welcome: \"all\"'}
  - {path: /ping, status: 204}
";
    let policy = health(Start::release().policy(policy));
    assert_eq!(policy.paths, ["/up", "/ready", "/health", "/", "/ping"]);
    let fields = [("ok", true.into()), ("queue", 0.into()), ("status", "fine".into())];
    let answers = [
        ("/", HealthAnswer::Contains("Welcome: \"all\"".to_owned())),
        (
            "/health",
            HealthAnswer::Fields(
                fields.map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value)).into(),
            ),
        ),
        ("/ping", HealthAnswer::Status(204)),
        ("/up", HealthAnswer::Status(200)),
    ];
    assert_eq!(policy.answers, answers.map(|(path, answer)| (path.to_owned(), answer)).into());
    let input = "/up?full=1\n{path: /, contains: Shop}\n{\"path\": \"/up\", \"expect\": {\"status\": \"up\"}}";
    let given = health(Start::release().input("health-paths", input));
    assert_eq!(given.paths, ["/up?full=1", "/", "/up"]);
    assert_eq!(given.answers.len(), 3);
    assert_eq!(health(Start::release().policy("health-paths: {path: /up}\n")).answers.len(), 1);
    assert!(health(Start::release()).answers.is_empty(), "the defaults mean what they meant");

    let right = "write a path such as `/health`, or `{path: /health, expect: {status: ok}}`";
    for (entry, problem) in [
        ("{path: /a, expects: {a: b}}", "in which `expects` is not known"),
        ("{contains: x}", "which names no `path`"),
        ("{path: /a, contains: x, status: 200}", "which has more than one of `expect`, `contains` and `status`"),
        ("{path: /a, expect: {}}", "whose `expect` is no mapping of fields to texts, numbers or truth values"),
        ("{path: /a, expect: {a: [b]}}", "whose `expect` is no mapping"),
        ("{path: /a, contains: ' '}", "whose `contains` is no text; quote it"),
        ("{path: /a, contains: 5}", "whose `contains` is no text; quote it"),
        ("{path: /a, status: 301}", "whose `status` is no number from 200 to 299"),
        ("{path: /a, status: ok}", "whose `status` is no number from 200 to 299"),
        ("{path: /a", "which is no mapping that can be read"),
    ] {
        let problems = Start::release().input("health-paths", entry).problems();
        let wanted = format!("health-paths: `{entry}` has `{entry}`, {problem}");
        assert!(problems.contains(&wanted) && problems.contains(right), "{problems}");
    }
    let problems = Start::release().policy("health-paths: [/up, {path: /up, contains: Shop}]\n").problems();
    assert!(problems.contains("has `/up` twice, with two answers; keep one of them"), "{problems}");
    let problems = Start::release().policy("health-paths: [{path: up}]\n").problems();
    assert!(problems.contains("has `up`, which is not the path of an endpoint"), "{problems}");
}

/// Settings that an approval of a release does not bind, and why not.
const UNBOUND: &[(&str, &str)] = &[
    ("stage", "another stage has other rows, another environment and another phrase"),
    ("config", "what the file says is bound, and the SHA-256 of the file"),
    ("approval", "it is the approval"),
    ("plan-only", "nothing is approved with it"),
    ("preview-sql", "it has no effect any more"),
    (
        "stable-samples",
        "it is a part of `grace-period: until-stable`, which is bound with it, and has no effect without",
    ),
    ("stable-within", "the same"),
    ("report-dir", "it says where this run's reports lie on the runner"),
    ("build-run-id", "the run, attempt and artifact that it leads to are bound"),
    ("github-token", "a secret: it decides who may ask, not what is released"),
    ("ssh-private-key", "a secret: it decides who logs in, not what is done"),
    ("ssh-passphrase", "a secret, of the key"),
    ("healthcheck-token", "a secret: short ones could be guessed from a digest that everybody sees"),
    ("staging-healthcheck-token", "a secret, too"),
    ("staging-ssh-private-key", "a secret, too"),
    ("staging-ssh-passphrase", "a secret, too"),
];

/// Another value than the default and than the one in [`production`].
fn another(input: &gated_deploy::config::table::Input) -> String {
    use gated_deploy::config::table::Kind;
    match (input.name, input.kind) {
        ("environment", _) => "eu".to_owned(),
        ("ssh-host", _) => "other.example.com".to_owned(),
        ("ssh-known-hosts", _) => format!("*.example.com {BARE}"),
        ("sha", _) => OTHER_SHA.to_owned(),
        ("build-run-id", _) => "4712".to_owned(),
        ("confirm-within", _) => "10m".to_owned(),
        ("backup-copy", _) => "required".to_owned(),
        ("release-tags", _) => "v*".to_owned(),
        (_, Kind::Boolean) => (input.preset == Preset::Is("false")).to_string(),
        (_, Kind::Duration { max, .. } | Kind::Grace { max, .. }) => format!("{}s", max.min(77)),
        (_, Kind::Count { .. }) => "7".to_owned(),
        (_, Kind::OneOf(words)) => words.last().copied().unwrap_or_default().to_owned(),
        (_, Kind::BaseDir) => "/var/www/other".to_owned(),
        (_, Kind::Elsewhere) => "/mnt/copies".to_owned(),
        (_, Kind::Relative) => "shared/other.env".to_owned(),
        (_, Kind::Local) => "other".to_owned(),
        (_, Kind::Site) => "https://other.example.com".to_owned(),
        (_, Kind::Address) => "192.0.2.9:8443".to_owned(),
        (_, Kind::Program) => "php8.3".to_owned(),
        (_, Kind::Service) => "php8.3-fpm".to_owned(),
        (_, Kind::Workflow) => "other.yml".to_owned(),
        (_, Kind::Artifact) => "other-{sha}".to_owned(),
        ("ca-certificates", _) => authority().to_owned(),
        (_, Kind::Home | Kind::UrlPaths) => "/other".to_owned(),
        (_, Kind::Folders) => "other".to_owned(),
        (_, Kind::Hooks) => r#"{"after-switch": ["true"]}"#.to_owned(),
        (_, Kind::Phrase) => "LET IT GO".to_owned(),
        _ => "other".to_owned(),
    }
}

/// The walk over the table: whoever adds an input has it here, and learns whether an approval binds it.
#[test]
fn se7_every_setting_is_bound_by_the_approval_or_a_reason_says_why_not() {
    let policy = |environment: &str, extra: &str| {
        let copies = if extra.contains("backup-copy-dir") { "" } else { "backup-copy-dir: /mnt/backups\n" };
        format!(
            "{copies}{STAGING}  production:\n    {}\n  eu: {{}}\n",
            if environment == "production" { extra } else { "" }
        )
    };
    let settings = |start: &Start| {
        let mut deploy = start.deploy();
        // The file's own digest binds whatever stands in it; here each key has to be bound by itself.
        deploy.target.policy = None;
        gated_deploy::stages::shared::approval::settings(&(&deploy.target, &deploy.source, &deploy.staging))
    };
    // Long enough for every other time.
    let production = || production().input("confirm-within", "1h");
    let plain = settings(&production().policy(&policy("production", "")));
    assert_eq!(settings(&production().policy(&policy("production", ""))), plain);

    let mut unbound = Vec::new();
    for input in INPUTS.iter().chain(POLICY_KEYS).filter(|input| input.used_by("deploy-production")) {
        if ["stage", "config"].contains(&input.name) {
            unbound.push(input.name);
            continue;
        }
        let value = match input.name {
            "ssh-private-key" | "staging-ssh-private-key" => other_key().to_owned(),
            _ => another(input),
        };
        let start = match INPUTS.iter().any(|known| known.name == input.name) {
            true => production().policy(&policy("production", "")).input(input.name, &value),
            false => production().policy(&policy("production", &format!("{}: '{value}'", input.name))),
        };
        if settings(&start) == plain {
            unbound.push(input.name);
        }
    }
    let mut listed: Vec<&str> = UNBOUND.iter().map(|(name, _)| *name).collect();
    listed.sort_unstable();
    unbound.sort_unstable();
    assert_eq!(unbound, listed, "an approval must bind each of these, or UNBOUND has to say why not");
    assert!(UNBOUND.iter().all(|(_, why)| !why.is_empty()));
    // What a secret is stands nowhere in what is digested.
    let shown = plain.to_string();
    assert!(
        !shown.contains(TOKEN) && !shown.contains("the-token-of-production") && !shown.contains("PRIVATE"),
        "{shown}"
    );
    // The policy file counts as a whole, too.
    let of = |text: &str| production().policy(text).deploy().target.policy;
    assert!(
        of(&policy("production", "")).is_some()
            && of(&policy("production", "")) != of(&policy("production", "# later"))
    );
}

#[test]
fn a_rollback_that_ignores_the_schema_verdict_says_so_in_its_approval_and_in_no_policy() {
    let rollback = |start: Start| match start.input("stage", "rollback").run().request {
        Ok((Request::Rollback(rollback), _)) => rollback.target,
        other => panic!("not a rollback: {other:?}"),
    };
    let insists = || Start::release().input("ignore-schema-verdict", "true");
    let (plain, insisting) = (rollback(Start::release()), rollback(insists()));
    assert_eq!((plain.ignore_schema_verdict, insisting.ignore_schema_verdict), (false, true));
    let settings = |target: &Target| gated_deploy::stages::shared::approval::settings(target);
    assert_ne!(settings(&plain), settings(&insisting), "an approval with a digest holds for one of them");
    assert!(!insists().deploy().target.ignore_schema_verdict, "a release has no such question");
    let written = Start::release().input("stage", "rollback").policy("ignore-schema-verdict: true\n").problems();
    assert!(written.contains("belongs to one run and is not allowed in the policy file"), "{written}");
}

fn other_key() -> &'static str {
    crate::rows::some_key()
}
