//! `preflight`: would a release go through? GO or NO-GO, every reason in one run, and nothing changed.

use gated_deploy_lab::{
    Environment, Options,
    app::{self, Variant},
    runner::{Finished, Runner},
    server::SEED_RELEASE,
    story::{STAGING_PHRASE, Story, commit},
};

use crate::{
    refusals::{publish_ungated, refused},
    support::{assert_ended, assert_says, output, story, story_on},
};

/// The step as a workflow has it: what a release is given, and no approval.
fn preflight(story: &Story, environment: Environment, commit: &str) -> Runner {
    let site = story.lab.site(environment);
    let runner = story
        .runner(commit)
        .secret(story.lab.private_key())
        .secret(&site.health_token)
        .event("workflow_dispatch", serde_json::json!({ "inputs": {}, "ref": "refs/heads/develop" }));
    let mut inputs = story.staging_inputs();
    inputs.retain(|name, _| !["approval", "grace-period"].contains(name));
    inputs.extend([
        ("stage", "preflight".to_owned()),
        ("environment", site.env_name),
        ("base-dir", site.base_dir),
        ("url", site.url),
        ("healthcheck-token", site.health_token),
    ]);
    let runner = inputs.into_iter().fold(runner, |runner, (name, value)| runner.input(name, &value));
    if environment == Environment::Staging {
        return runner;
    }
    story.github.push("main", commit);
    // Production asks staging for its proof.
    let token = story.staging_site().health_token;
    let runner = runner.secret(&token).input("staging-healthcheck-token", &token).input("staging-stable-for", "0s");
    runner.file(".github/gated-deploy.yml", &story.staging_policy())
}

/// Everything on the server that a careless look could leave behind: on the disk itself, and in the sites' own folders. What
/// services write for themselves about a visit (logs, the database's own files) does not count.
struct Untouched<'a> {
    story: &'a Story,
    www: String,
}

impl<'a> Untouched<'a> {
    fn now(story: &'a Story) -> Self {
        story.lab.exec("touch /stamp; sleep 0.02").expect("a stamp");
        Self { story, www: story.lab.tree_digest("/var/www").expect("the tree") }
    }

    #[track_caller]
    fn check(self) {
        let find = "find / -xdev '(' -path /proc -o -path /sys -o -path /var/log -o -path /var/lib/mysql -o -path /run/mysqld ')' -prune \
                    -o -cnewer /stamp ! -path / ! -path /run ! -path /run/motd.dynamic ! -path /run/lab/asked -print
                    find /tmp /run /dev/shm /home/deploy -user deploy -cnewer /stamp";
        let changed = self.story.lab.exec(find).expect("find");
        assert_eq!(changed, "", "something outside of the sites changed");
        assert_eq!(self.story.lab.tree_digest("/var/www").expect("the tree"), self.www, "not a byte changed");
    }
}

/// The row of the table of findings that begins with this check.
#[track_caller]
fn finding<'f>(finished: &'f Finished, check: &str) -> &'f str {
    let row = finished.summary.lines().find(|line| line.starts_with(&format!("| {check} |")));
    row.unwrap_or_else(|| panic!("no finding `{check}` in:\n{}", finished.summary))
}

#[test]
fn f61_f62_a_server_that_is_ready_gets_a_go_and_nothing_changes() {
    let story = story();
    let commit = commit("ready");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let keys =
        story.lab.exec("sed -n 's/^\\(APP_KEY\\|DB_PASSWORD\\)=//p' /var/www/*/shared/.env/*.env").expect("the values");
    let keys: Vec<&str> = keys.lines().filter(|value| !value.is_empty()).collect();
    assert_eq!(keys.len(), 4, "{keys:?}");

    for environment in [Environment::Staging, Environment::Production] {
        if environment == Environment::Production {
            assert_ended(&story.deploy(&commit), 0, "live");
        }
        let untouched = Untouched::now(&story);
        let runner = preflight(&story, environment, &commit);
        // Production is what it looks at when nobody says otherwise.
        let runner = if environment == Environment::Production { runner.input("environment", "") } else { runner };
        let finished = runner.run_binary(story.binary());
        untouched.check();

        assert_ended(&finished, 0, "passed");
        assert_eq!((output(&finished, "decision"), output(&finished, "executed")), ("go", "false"));
        assert_eq!((output(&finished, "release"), output(&finished, "previous-release")), ("", SEED_RELEASE));
        let name = environment.name();
        // Plain http, of staging too where it is asked, and no backup was ever made.
        let warnings =
            if environment == Environment::Production { "GO, with 3 warnings" } else { "GO, with 2 warnings" };
        assert_says(&finished.summary, &[warnings, "there is no verified backup"]);
        for (check, says) in [
            ("Check the nine gates in the bundle", "9/9"),
            (&format!("/var/www/{name}"), SEED_RELEASE),
            ("sudo -n service php8.2-fpm reload", "allowed, without a password"),
            ("sudo -n service nginx reload", "allowed, without a password"),
            ("nginx -t", "the configuration is valid"),
            ("virtual host", &format!("{name}.lab.test")),
            ("SCRIPT_FILENAME", if environment == Environment::Staging { "document_root" } else { "realpath_root" }),
            ("php8.2-fpm", &format!("PHP 8.2, as the command line, pool {name}")),
            ("bundle", "PHP 8.1.0 or newer"),
            ("process_control_timeout", "10 s"),
            ("link to .env", &format!("/var/www/{name}/shared/.env/{name}.env")),
            ("APP_ENV", name),
            ("APP_KEY", "set"),
            ("shared/storage", "deploy and PHP-FPM's user can write, also in 8 folders inside"),
            ("shared/public/uploads", "deploy and PHP-FPM's user can write"),
            (&format!("disk space on /var/www/{name}"), "needed"),
            ("inodes", "free, about"),
            ("dump of the database", "possible"),
            ("location of the backups", "on the same disk as the site"),
        ] {
            assert_says(finding(&finished, check), &["✅ passed", says]);
        }
        let report = std::fs::read_to_string(runner.workspace().join(output(&finished, "report"))).expect("the report");
        assert!(output(&finished, "report").contains("/VALIDATION_"), "{}", output(&finished, "report"));
        assert_says(
            &report,
            &["# Pre-flight of", "- [x] Every gate passed", "- [x] Nothing on the server blocks a release"],
        );
        for never in ["Symlink before", "the new release", "What would run", "approval"] {
            assert!(
                !report.contains(never) && !finished.summary.contains(never),
                "no release was made: {never}\n{report}"
            );
        }
        for key in &keys {
            let key = key.trim_matches(['"', '\'']);
            for text in [&finished.raw_log, &finished.summary, &report] {
                assert!(!text.contains(key), "a value of .env can be read");
            }
        }
        let left = std::fs::read_dir(&finished.environment["RUNNER_TEMP"]).expect("the runner's folder");
        let left: Vec<_> = left.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
        assert!(
            !left.iter().any(|name| name.to_string_lossy().contains("gated-deploy")),
            "the bundle is gone: {left:?}"
        );
    }
}

/// A reason for a NO-GO: how it comes about, how it is mended, and what is said of it.
struct Reason {
    name: &'static str,
    breaks: &'static str,
    mends: &'static str,
    says: &'static [&'static str],
}

const fn reason(
    name: &'static str,
    breaks: &'static str,
    mends: &'static str,
    says: &'static [&'static str],
) -> Reason {
    Reason { name, breaks, mends, says }
}

/// In `/var/www/staging`, as root.
const REASONS: &[Reason] = &[
    reason(
        "a sudo rule is missing",
        "cp /etc/sudoers.d/deploy /rules; sed -i '/php8.2-fpm/d' /etc/sudoers.d/deploy",
        "cp /rules /etc/sudoers.d/deploy",
        &[
            "deploy cannot run sudo -n service php8.2-fpm reload: not allowed",
            "deploy ALL=(root) NOPASSWD: /usr/sbin/service php8.2-fpm reload",
        ],
    ),
    reason(
        "a sudo rule wants a password",
        "sed -i 's/NOPASSWD: \\(.*nginx reload\\)/\\1/' /etc/sudoers.d/deploy",
        "cp /rules /etc/sudoers.d/deploy",
        &[
            "deploy cannot run sudo -n service nginx reload: sudo asks for a password",
            "deploy ALL=(root) NOPASSWD: /usr/sbin/service nginx reload",
        ],
    ),
    reason(
        "nginx's configuration is broken",
        "echo 'nonsense on;' >/etc/nginx/conf.d/nonsense.conf",
        "rm /etc/nginx/conf.d/nonsense.conf",
        &["nginx's configuration is broken", "unknown directive \"nonsense\""],
    ),
    reason(
        "the app thinks that it is another environment",
        "sed -i s/APP_ENV=staging/APP_ENV=production/ shared/.env/staging.env",
        "sed -i s/APP_ENV=production/APP_ENV=staging/ shared/.env/staging.env",
        &["APP_ENV is `production` in /var/www/staging/shared/.env/staging.env, but the environment is `staging`"],
    ),
    reason(
        "the app has no key",
        "sed -i 's/^APP_KEY=/APP_KEY= # /' shared/.env/staging.env",
        "sed -i 's/^APP_KEY= # /APP_KEY=/' shared/.env/staging.env",
        &["APP_KEY is not set in", "php artisan key:generate --show"],
    ),
    reason(
        "the app's key is cut",
        "sed -i 's/^APP_KEY=base64:..../APP_KEY=base64:/' shared/.env/staging.env",
        "sed -i \"s|^APP_KEY=.*|APP_KEY=base64:$(head -c 32 /dev/urandom | base64)|\" shared/.env/staging.env",
        &["APP_KEY in /var/www/staging/shared/.env/staging.env has a length that no Laravel cipher accepts"],
    ),
    reason(
        "there is no .env",
        "mv shared/.env/staging.env shared/.env/elsewhere",
        "mv shared/.env/elsewhere shared/.env/staging.env",
        &[
            "/var/www/staging/shared/.env/staging.env does not exist",
            "current/.env points to ../../shared/.env/staging.env, not to",
        ],
    ),
    reason(
        "the live release reads another .env",
        "cp -a shared/.env/staging.env shared/.env/old.env; ln -sfn ../../shared/.env/old.env current/.env",
        "ln -sfn ../../shared/.env/staging.env current/.env",
        &["/var/www/staging/current/.env points to ../../shared/.env/old.env, not to"],
    ),
    reason(
        "the live release has an .env of its own",
        "rm current/.env; cp -a shared/.env/staging.env current/.env",
        "ln -sfn ../../shared/.env/staging.env current/.env",
        &["/var/www/staging/current/.env is a regular file", "ln -sfn /var/www/staging/shared/.env/staging.env"],
    ),
    reason(
        "a shared folder is a link that leads nowhere",
        "mv shared/public/uploads /uploads; ln -s /nowhere shared/public/uploads",
        "rm shared/public/uploads; mv /uploads shared/public/uploads",
        &["/var/www/staging/shared/public/uploads is a link without an existing target"],
    ),
    reason(
        "the site's account put a link in the place of a folder",
        "mv shared/storage/framework/sessions /sessions; ln -s /home/deploy/.ssh shared/storage/framework/sessions; chown -h www-data shared/storage/framework/sessions",
        "rm shared/storage/framework/sessions; mv /sessions shared/storage/framework/sessions",
        &[
            "/var/www/staging/shared/storage/framework/sessions is a link to /home/deploy/.ssh that another account made",
            "rm /var/www/staging/shared/storage/framework/sessions",
        ],
    ),
    reason(
        "PHP-FPM's user may not write where views are compiled",
        "chown deploy:deploy shared/storage/framework/views",
        // The command that was told.
        "su deploy --command 'find /var/www/staging/shared/storage -mindepth 2 -maxdepth 2 -path /var/www/staging/shared/storage/framework/views -type d -execdir chgrp www-data {} + -execdir chmod g+rwxs {} +'",
        &[
            "PHP-FPM's user www-data cannot write to /var/www/staging/shared/storage/framework/views",
            "find /var/www/staging/shared/storage -mindepth 2 -maxdepth 2 -path /var/www/staging/shared/storage/framework/views -type d -execdir chgrp www-data {} + -execdir chmod g+rwxs {} +",
        ],
    ),
    reason(
        "PHP-FPM's user may not come near its logs",
        "chmod 2750 shared/storage/logs; chgrp deploy shared/storage/logs",
        "chgrp www-data shared/storage/logs; chmod 2775 shared/storage/logs",
        &["PHP-FPM's user www-data cannot write to /var/www/staging/shared/storage/logs"],
    ),
    reason(
        "a folder that the release would make for itself alone",
        "mv shared/storage/framework/sessions /sessions; chmod g-s shared/storage/framework",
        "chmod g+s shared/storage/framework; mv /sessions shared/storage/framework/sessions",
        &[
            "if the release created it in /var/www/staging/shared/storage/framework, PHP-FPM's user www-data could not write to it",
            "install -d -o deploy -g www-data -m 2775 /var/www/staging/shared/storage/framework/sessions",
        ],
    ),
    reason(
        "the deploy user may not write in a shared folder",
        "chown www-data shared/public/uploads; chmod 2755 shared/public/uploads",
        "chown deploy shared/public/uploads; chmod 2775 shared/public/uploads",
        &["deploy cannot write to /var/www/staging/shared/public/uploads"],
    ),
    reason(
        "the disk is nearly full",
        "fallocate -l 490000000 shared/filler",
        "rm shared/filler",
        &["free on /var/www/staging, about", "for the release and", "keep-backups"],
    ),
    reason(
        "nothing on the server can dump the database",
        "mkdir /away; mv /usr/bin/mysqldump /usr/bin/mariadb-dump /away",
        "mv /away/* /usr/bin",
        &["neither mariadb-dump nor mysqldump is installed on the server", "apt-get install mariadb-client"],
    ),
    reason(
        "the database is one that cannot be backed up",
        "sed -i s/DB_CONNECTION=mysql/DB_CONNECTION=sqlsrv/ shared/.env/staging.env",
        "sed -i s/DB_CONNECTION=sqlsrv/DB_CONNECTION=mysql/ shared/.env/staging.env",
        &["the app's database is sqlsrv: this version only backs up mysql, mariadb, pgsql and sqlite"],
    ),
    reason(
        "another deploy is running",
        "install -d -o deploy -m 700 .gated-deploy .gated-deploy/lock; echo 'run 4711' >.gated-deploy/lock/owner; chown -R deploy .gated-deploy",
        "rm -r .gated-deploy/lock",
        &["another run holds the deploy lock: run 4711"],
    ),
    reason(
        "the site is not well",
        "chmod 0 /run/php/php8.2-fpm-staging.sock",
        "chmod 660 /run/php/php8.2-fpm-staging.sock",
        &["502", "/healthcheck.php"],
    ),
];

#[test]
fn f67_f66_f45_each_reason_for_a_no_go_is_named_with_its_cure() {
    let story = story();
    let commit = commit("not yet");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let server = |script: &str| story.lab.exec(&format!("set -e; cd /var/www/staging; {script}"));
    for Reason { name, breaks, mends, says } in REASONS {
        server(breaks).unwrap_or_else(|problem| panic!("{name}: {problem:#}"));
        let before = story.lab.tree_digest("/var/www").expect("the tree");

        let finished = preflight(&story, Environment::Staging, &commit).run_binary(story.binary());

        println!("{name}");
        assert_ended(&finished, 1, "refused");
        assert_eq!((output(&finished, "decision"), output(&finished, "executed")), ("no-go", "false"), "{name}");
        assert_says(&finished.summary, &["NO-GO: 1 check failed, nothing was changed", "### What failed"]);
        assert_says(&finished.log, says);
        assert_says(&finished.log, &["help: "]);
        assert_eq!(story.lab.tree_digest("/var/www").expect("the tree"), before, "{name}: not a byte changed");
        server(mends).unwrap_or_else(|problem| panic!("{name}: {problem:#}"));
    }
    let finished = preflight(&story, Environment::Staging, &commit).run_binary(story.binary());
    assert_ended(&finished, 0, "passed");

    // A release believes sudo's list no more than the pre-flight does, and learns it before the backup.
    server("sed -i 's/NOPASSWD: \\(.*nginx reload\\)/\\1/' /etc/sudoers.d/deploy").expect("a rule with a password");
    let finished = refused(&story, story.staging(&commit), 1, &["service nginx reload (sudo asks for a password)"]);
    assert_eq!(output(&finished, "backup"), "");

    // So it is with a server that cannot dump the database: no phrase is offered for what would be refused (FD3).
    server("cp /rules /etc/sudoers.d/deploy; mkdir -p /away; mv /usr/bin/mysqldump /usr/bin/mariadb-dump /away")
        .expect("a break");
    let says = ["neither mariadb-dump nor mysqldump is installed on the server", "apt-get install mariadb-client"];
    for approval in ["", STAGING_PHRASE] {
        let finished = refused(&story, story.staging(&commit).input("approval", approval), 1, &says);
        assert_eq!((output(&finished, "backup"), output(&finished, "plan-digest")), ("", ""));
        assert!(!finished.summary.contains("FREIGEGEBEN"), "{}", finished.summary);
    }
}

#[test]
fn f23_f10_a_build_that_the_server_cannot_take_is_a_no_go() {
    let story = story();
    let healthy = commit("for this server");
    story.ship(&healthy, Variant::Healthy).expect("the build");
    let run = |commit: &str, inputs: &[(&str, &str)]| {
        let runner = preflight(&story, Environment::Staging, commit);
        inputs.iter().fold(runner, |runner, (name, value)| runner.input(name, value)).run_binary(story.binary())
    };
    let no_go = |finished: &Finished, says: &[&str]| {
        assert_ended(finished, 1, "refused");
        assert_says(&finished.log, says);
        assert_says(&finished.summary, &["NO-GO: "]);
    };

    // Nobody built it; the server is looked at all the same.
    let finished = run(&commit("never built"), &[]);
    no_go(&finished, &["no successful build for"]);
    assert_says(finding(&finished, "sudo -n service nginx reload"), &["✅ passed"]);
    assert_says(finding(&finished, "Check the disk space for release and backup"), &["skipped", "there is no bundle"]);

    // A gate is missing in what was built.
    let torn = commit("without routes");
    let tree = app::source(&torn, Variant::Healthy).expect("the tree");
    tree.remove("routes").expect("removing it");
    publish_ungated(&story, &torn, &tree);
    let finished = run(&torn, &[]);
    no_go(&finished, &["8/9 gates passed", "routes: missing"]);
    assert_says(&finished.summary, &["NO-GO: 1 check failed"]);

    // It needs a newer PHP than both of the server's.
    let newer = commit("for a newer PHP");
    let tree = app::source(&newer, Variant::Healthy).expect("the tree");
    tree.write("vendor/composer/platform_check.php", "<?php\nif (!(PHP_VERSION_ID >= 80400)) {\n}\n").expect("a check");
    story.publish(&story.build(&newer, &tree).expect("the build")).expect("the artifact");
    let finished = run(&newer, &[]);
    no_go(&finished, &["needs PHP 8.4.0 or newer, but the command line is 8.2 and the pool is 8.2"]);

    // The command line is another PHP than the pool.
    let other = "printf '#!/bin/sh\\ncase \"$*\" in *PHP_VERSION_ID*) echo 80301 8.3.1 ;; *) exec /usr/bin/php \"$@\" ;; esac\\n' \
                 >/usr/local/bin/php8.3; chmod 755 /usr/local/bin/php8.3";
    story.lab.exec(other).expect("another PHP");
    let finished = run(&healthy, &[("php", "/usr/local/bin/php8.3")]);
    no_go(
        &finished,
        &[
            "php8.2-fpm serves the site with PHP 8.2, but `/usr/local/bin/php8.3` is PHP 8.3.1",
            "Set the input `php` to /usr/bin/php8.2",
        ],
    );
    assert_says(&finished.summary, &["NO-GO: 1 check failed"]);

    // A service that is not there: nothing of it is allowed, and nothing of it agrees.
    let finished = run(&healthy, &[("php-fpm-service", "php8.3-fpm")]);
    no_go(&finished, &["sudo -n service php8.3-fpm reload", "php8.3-fpm serves the site with PHP 8.3"]);
}

#[test]
fn everything_that_is_wrong_is_named_in_one_run() {
    let story = story();
    let server = |script: &str| story.lab.exec(&format!("set -e; cd /var/www/staging; {script}")).expect("the server");
    let several = [
        "a sudo rule is missing",
        "nginx's configuration is broken",
        "the app has no key",
        "the deploy user may not write in a shared folder",
    ];
    let several: Vec<&Reason> = REASONS.iter().filter(|reason| several.contains(&reason.name)).collect();
    assert_eq!(several.len(), 4);
    several.iter().for_each(|reason| drop(server(reason.breaks)));
    server("service php8.2-fpm stop");
    let none = commit("never built");

    let runner = preflight(&story, Environment::Staging, &none);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &["NO-GO: 6 checks failed, nothing was changed"]);
    let report = std::fs::read_to_string(runner.workspace().join(output(&finished, "report"))).expect("the report");
    let everywhere = several.iter().flat_map(|reason| reason.says.iter().copied()).chain([
        "no successful build for",
        "502",
        "php8.2-fpm is not running",
        "Start it: sudo service php8.2-fpm start",
    ]);
    for says in everywhere {
        // Markup aside: the log has it as it is.
        assert_says(&finished.log, &[says]);
    }
    for text in [&finished.summary, &report] {
        assert_says(
            text,
            &[
                "NOPASSWD: /usr/sbin/service php8.2-fpm reload",
                "key:generate",
                "uploads",
                "nonsense",
                "no successful build for",
                "502",
            ],
        );
    }

    // The plan of a release names the same blockers and offers no phrase (FD3).
    let planned = story.staging(&none).input("approval", "").run_binary(story.binary());
    assert_ended(&planned, 1, "refused");
    let blockers = [
        "NOPASSWD: /usr/sbin/service php8.2-fpm reload",
        "php8.2-fpm is not running",
        "nonsense",
        "key:generate",
        "uploads",
        "no successful build for",
        "502",
    ];
    assert_says(&planned.summary, &["Refused, 6 blockers: the site is untouched"]);
    assert_says(planned.log.split_once("6 blockers found").expect("one list at the end").1, &blockers);
    assert!(!planned.summary.contains("FREIGEGEBEN"), "{}", planned.summary);

    // What cannot be asked is not guessed, and a found "no" weighs more than a server that does not answer.
    let nowhere = |runner: Runner| {
        let hosts = story.lab.known_hosts_for("127.0.0.1", 1);
        runner.input("ssh-port", "1").input("ssh-known-hosts", &hosts).run_binary(story.binary())
    };
    let finished = nowhere(preflight(&story, Environment::Staging, &none));
    assert_ended(&finished, 1, "refused");
    let built = commit("built");
    story.ship(&built, Variant::Healthy).expect("the build");
    server("service php8.2-fpm start");
    let finished = nowhere(preflight(&story, Environment::Staging, &built));
    assert_ended(&finished, 5, "failed");
    assert_says(finding(&finished, "Check the nine gates in the bundle"), &["✅ passed"]);
    for check in [
        "Survey the server",
        "Check that sudo allows each command of a release",
        "Check .env and the link to it",
        "Check the newest backup",
    ] {
        assert_says(finding(&finished, check), &["skipped", "the server did not answer"]);
    }
}

#[test]
fn f36_f61_what_a_release_can_do_with_is_a_warning_with_its_cure() {
    let story = story_on(Options { process_control_timeout: 0, ..Options::default() });
    let commit = commit("with warnings");
    story.ship(&commit, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&commit), 0, "live");
    let odd = "set -e; cd /var/www/production
        sed -i '/nginx -t/d' /etc/sudoers.d/deploy
        sed -i \"s/^DB_PASSWORD=.*/DB_PASSWORD=of-another-database/\" shared/.env/production.env
        sed -i s/APP_DEBUG=false/APP_DEBUG=true/ shared/.env/production.env; chmod 644 shared/.env/production.env
        touch shared/storage/logs/laravel.log; chown www-data shared/storage/logs/laravel.log
        for backup in 20250301_000000-5eed1e55 20250101_000000-5eed1e55; do
            mkdir -p backups/$backup; touch backups/$backup/manifest.json backups/$backup/SHA256SUMS
        done
        mkdir backups/20251101_000000-5eed1e55";
    story.lab.exec(odd).expect("odd things");
    let before = story.lab.exec("cat /etc/sudoers.d/*").expect("the rules");

    let runner = preflight(&story, Environment::Production, &commit);
    let finished = runner.run_binary(story.binary());

    assert_ended(&finished, 0, "passed");
    assert_eq!(output(&finished, "decision"), "go");
    assert_says(&finished.summary, &["GO, with 9 warnings"]);
    let report =
        std::fs::read_to_string(runner.workspace().join(output(&finished, "report-json"))).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let findings = report["facts"]["findings"].as_array().expect("findings");
    let of = |judgement: &'static str| findings.iter().filter(move |one| one["judgement"] == judgement);
    let codes: Vec<&str> = of("warned").filter_map(|one| one["code"].as_str()).collect();
    assert_eq!(codes.len(), of("warned").count(), "each warning has a code: {findings:?}");
    for code in ["app-debug-on", "env-file-mode-open", "log-not-writable", "service-config-untested", "backup-old"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
    assert!(of("passed").all(|one| one.get("code").is_none()), "{findings:?}");
    for (check, says) in [
        ("nginx -t", "NOPASSWD: /usr/sbin/nginx -t"),
        ("process_control_timeout", "process_control_timeout = 10s"),
        ("APP_DEBUG", "APP_DEBUG=false"),
        ("mode of .env", "chmod 640 /var/www/production/shared/.env/production.env"),
        ("logs", "deploy cannot write to /var/www/production/shared/storage/logs/laravel.log"),
        ("dump of the database", "the database does not answer which tables it has: PDOException"),
        ("newest backup", "20250301_000000-5eed1e55, is"),
    ] {
        assert_says(&finding(&finished, check).replace("&#61;", "="), &["⚠️ warned", says]);
    }
    // No row claims what nobody saw.
    for claim in ["nginx can be reloaded: both run", "Check the effect of a reload: a reload lets"] {
        assert!(!finished.log.contains(claim), "{claim}:\n{}", finished.log);
    }
    assert_says(&finished.log, &["Access denied for user 'lab_production'"]);
    assert!(!finished.raw_log.contains("of-another-database"), "what was tried is not told");
    assert_eq!(
        story.lab.exec("cat /etc/sudoers.d/*").expect("the rules"),
        before,
        "the rules are told, never written (F36)"
    );
}

#[test]
fn f69_a_probe_that_cannot_fail_is_a_no_go() {
    let story = story();
    let commit = commit("cannot fail");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let said = |finished: &Finished| finding(finished, "Check the site's current health").to_owned();
    let finished = preflight(&story, Environment::Staging, &commit).run_binary(story.binary());
    assert_ended(&finished, 0, "passed");
    assert_says(
        &said(&finished),
        &["health check self-tested: 404 at a page that does not exist, 401 with a wrong token at /"],
    );

    let page = |pages: &str| {
        format!(
            "cp /root/as-it-was /etc/nginx/sites-enabled/staging.conf
             sed -i 's/^\\( *\\)location \\/ {{/\\1location ~ ^\\/({pages}) {{ default_type text\\/plain; return 200 ok; }}\\n&/' /etc/nginx/sites-enabled/staging.conf
             nginx -t && nginx -s reload"
        )
    };
    story.lab.exec("cd /etc/nginx/sites-enabled; set -e; [ -e staging.conf ] || mv staging* staging.conf; cp staging.conf /root/as-it-was").expect("the virtual host");
    for (pages, says) in [
        (
            "health|api|gated",
            "a page that does not exist (/gated-deploy-negative-control/no-such-page) answers as healthy",
        ),
        (
            "health|api",
            "a wrong token gets a healthy answer from /health and from /api/health-check and from /healthcheck.php",
        ),
    ] {
        story.lab.exec(&page(pages)).expect("a site that is always well");
        let finished = preflight(&story, Environment::Staging, &commit).run_binary(story.binary());
        assert_ended(&finished, 1, "refused");
        assert_eq!(output(&finished, "decision"), "no-go");
        assert_says(&finished.summary, &["NO-GO: 1 check failed", says]);
        let finished = story.deploy(&commit);
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.summary, &["7 Check the site's current health", says]);
        assert_eq!(story.current().expect("current").as_deref(), Some(SEED_RELEASE));
    }
}

#[test]
fn f66_a_bare_server_is_ready_for_its_first_release() {
    let story = story_on(Options { seed: false, ..Options::default() });
    let commit = commit("the first");
    story.ship(&commit, Variant::Healthy).expect("the build");
    story.lab.exec("cd /var/www/staging/shared && rm -r public storage/framework storage/logs").expect("a bare place");
    let run = || preflight(&story, Environment::Staging, &commit).run_binary(story.binary());

    // What the release would make, PHP-FPM's user could not write to: the folder has no group to hand on.
    let finished = run();
    assert_ended(&finished, 1, "refused");
    let hint = "install -d -o deploy -g www-data -m 2775 /var/www/staging/shared/public/uploads";
    assert_says(&finished.log, &["/var/www/staging/shared/public/uploads does not exist", hint]);

    // PHP's command line lacks the driver of the database: the backup could not reach it. A plan says so, too.
    let driver = "/etc/php/8.2/cli/conf.d/20-pdo_mysql.ini";
    story.lab.exec(&format!("mv {driver} /driver.ini")).expect("without the driver");
    for finished in [run(), story.staging(&commit).input("approval", "").run_binary(story.binary())] {
        assert_ended(&finished, 1, "refused");
        assert_says(&finished.log, &["code: database-driver-missing", "apt-get install php8.2-mysql"]);
    }
    story.lab.exec(&format!("mv /driver.ini {driver}")).expect("with the driver");

    // Typed as it was told, it is a GO, and the release that follows goes through.
    story.lab.exec(hint).expect("the command that was told");
    story.lab.exec("chown deploy:www-data /var/www/staging/shared/public").expect("its parent");
    let finished = run();
    assert_ended(&finished, 0, "passed");
    assert_says(finding(&finished, "link to .env"), &["nothing is live yet"]);
    assert_says(finding(&finished, "newest backup"), &["✅ passed", "none, and nothing is live yet"]);
    assert_says(
        finding(&finished, "Check the site's current health"),
        &["✅ passed", "nothing is live yet; the web server answers"],
    );
    assert_ended(&story.deploy(&commit), 0, "live");
    let finished = run();
    assert_ended(&finished, 0, "passed");
    assert_says(finding(&finished, "newest backup"), &["✅ passed", " s old"]);
}

#[test]
fn a_pre_flight_for_production_asks_staging_for_its_proof() {
    let story = story();
    let commit = commit("proven, or not");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let runner = preflight(&story, Environment::Production, &commit);
    // A release would be refused if nobody said where staging is, and so is a GO.
    let finished = runner.clone().file(".github/gated-deploy.yml", "").run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_says(&finished.summary, &["the address of staging is not configured", "staging-url"]);

    let runner = runner.file(".github/gated-deploy.yml", &story.staging_policy());
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 1, "refused");
    assert_says(
        &finished.summary,
        &["staging's ledger has no confirmed release", "Release this commit to staging first"],
    );

    assert_ended(&story.deploy(&commit), 0, "live");
    let finished = runner.run_binary(story.binary());
    assert_ended(&finished, 0, "passed");
    assert_says(&finished.summary, &["the ledger on its server", "was confirmed at"]);
}
