//! The lab is what it claims to be: whoever releases to it meets the servers that real releases meet.

use gated_deploy_lab::app::{Variant, source};
use gated_deploy_lab::load::Load;
use gated_deploy_lab::server::{SEED_COMMIT, SEED_RELEASE};
use gated_deploy_lab::{Environment, Lab, Options, Site};

const NEXT_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const NEXT_RELEASE: &str = "20250102_000000-01234567";
const SITES: [Environment; 2] = [Environment::Staging, Environment::Production];

fn start(options: Options) -> Lab {
    Lab::start(options).expect("the lab's server should start")
}

/// Puts a second healthy release beside the first, linked as a release is, without switching to it.
fn install_next_release(lab: &Lab, site: &Site) {
    let tree = source(NEXT_COMMIT, Variant::Healthy).expect("the app should be there");
    let folder = format!("{}/releases/{NEXT_RELEASE}", site.base_dir);
    lab.upload(tree.path(), &folder).expect("uploading the next release");
    lab.exec_as(
        "deploy",
        &format!(
            "set -e; cd {folder}; rm -rf storage; ln -s ../../shared/storage storage
             ln -s ../../shared/.env/{}.env .env; php artisan config:cache; php artisan view:cache",
            site.env_name
        ),
    )
    .expect("linking the next release");
}

fn switch(lab: &Lab, site: &Site, release: &str) {
    let script = format!("cd {} && ln -s releases/{release} new && mv -T new current", site.base_dir);
    lab.exec_as("deploy", &script).expect("switching the link");
}

#[test]
fn both_sites_serve_the_seeded_release() {
    let lab = start(Options::default());
    for site in SITES.map(|environment| lab.site(environment)) {
        assert_eq!(lab.served_commit(&site).expect("a commit"), SEED_COMMIT);
        assert_eq!(lab.current(&site).expect("a link").as_deref(), Some(SEED_RELEASE));

        let token = Some(site.health_token.as_str());
        let health = lab.get(&site, "/health", token).expect("an answer");
        let wanted = serde_json::json!({"status": "ok", "commit": SEED_COMMIT, "database": true});
        assert_eq!((health.status, health.json().expect("JSON")), (200, wanted));

        let shallow = lab.get(&site, "/api/health-check", token).expect("an answer");
        let wanted = serde_json::json!({"status": "healthy", "commit": SEED_COMMIT});
        assert_eq!((shallow.status, shallow.json().expect("JSON")), (200, wanted));

        let plain = lab.get(&site, "/healthcheck.php", None).expect("an answer");
        let wanted = serde_json::json!({"status": "ok", "commit": SEED_COMMIT});
        assert_eq!((plain.status, plain.json().expect("JSON")), (200, wanted));

        let home = lab.get(&site, "/", None).expect("an answer");
        assert_eq!(home.status, 200);
        assert!(home.text().contains(SEED_COMMIT), "the home page should show the commit");
    }
}

#[test]
fn every_asset_that_the_manifest_names_is_served() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Staging);
    let manifest = lab.get(&site, "/build/manifest.json", None).expect("an answer");
    let manifest = manifest.json().expect("JSON");
    let entry = &manifest["resources/js/app.js"];
    let lists = ["css", "assets"].map(|list| entry[list].as_array().expect("a list").clone());
    let mut files: Vec<_> = lists.concat();
    files.push(entry["file"].clone());
    files.push(manifest["resources/js/clock.js"]["file"].clone());
    assert_eq!(manifest["resources/js/clock.js"]["imports"][0], "resources/js/app.js");
    assert_eq!(files.len(), 5);
    for file in files {
        let path = format!("/build/{}", file.as_str().expect("a file name"));
        let answer = lab.get(&site, &path, None).expect("an answer");
        assert_eq!((answer.status, answer.body.is_empty()), (200, false), "{path}");
    }
}

#[test]
fn health_wants_the_right_token() {
    let lab = start(Options::default());
    let (staging, production) = (lab.site(Environment::Staging), lab.site(Environment::Production));
    for path in ["/health", "/api/health-check"] {
        for token in [None, Some(""), Some("wrong"), Some(production.health_token.as_str())] {
            let answer = lab.get(&staging, path, token).expect("an answer");
            assert_eq!(answer.status, 401, "{path} with {token:?}");
            assert_eq!(answer.json().expect("JSON")["status"], "unauthorized");
        }
    }
}

#[test]
fn an_unknown_host_gets_no_site() {
    let lab = start(Options::default());
    let mut site = lab.site(Environment::Staging);
    site.host = "127.0.0.1".to_owned();
    assert_eq!(lab.get(&site, "/healthcheck.php", None).expect("an answer").status, 404);
}

#[test]
fn staging_serves_stale_code_until_php_fpm_is_reloaded() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Staging);
    install_next_release(&lab, &site);
    switch(&lab, &site, NEXT_RELEASE);
    assert_eq!(lab.served_commit(&site).expect("a commit"), SEED_COMMIT);
    assert_eq!(lab.current(&site).expect("a link").as_deref(), Some(NEXT_RELEASE));

    lab.exec_as("deploy", "sudo -n /usr/sbin/service php8.2-fpm reload").expect("reloading PHP-FPM");
    assert_eq!(served_in_time(&lab, &site, NEXT_COMMIT), NEXT_COMMIT);
}

#[test]
fn production_serves_new_code_after_the_switch_alone() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Production);
    install_next_release(&lab, &site);
    assert_eq!(lab.served_commit(&site).expect("a commit"), SEED_COMMIT);
    switch(&lab, &site, NEXT_RELEASE);
    assert_eq!(lab.served_commit(&site).expect("a commit"), NEXT_COMMIT);
}

/// The reload returns before PHP-FPM has replaced its workers; a running one may answer a moment longer.
fn served_in_time(lab: &Lab, site: &Site, wanted: &str) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let served = lab.served_commit(site).expect("a commit");
        if served == wanted || std::time::Instant::now() > deadline {
            return served;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn deploy_may_run_three_commands_as_root_and_no_fourth() {
    let lab = start(Options::default());
    for allowed in ["service php8.2-fpm reload", "service nginx reload", "nginx -t"] {
        lab.exec_as("deploy", &format!("sudo -n /usr/sbin/{allowed}")).expect(allowed);
    }
    for refused in
        ["service nginx restart", "service mariadb reload", "nginx -s stop", "service php8.2-fpm reload --now"]
    {
        let problem = lab.exec_as("deploy", &format!("sudo -n /usr/sbin/{refused}")).expect_err(refused);
        assert!(problem.to_string().contains("password is required"), "{refused}: {problem:#}");
    }
}

#[test]
fn ssh_lets_the_key_in_and_shows_the_host_key() {
    let lab = start(Options::default());
    let dir = tempfile::tempdir().expect("a folder");
    let (key, known_hosts) = (dir.path().join("key"), dir.path().join("known_hosts"));
    std::fs::write(&key, lab.private_key()).expect("writing the key");
    std::fs::write(&known_hosts, lab.known_hosts()).expect("writing known_hosts");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("hiding the key");
    let output = std::process::Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-p",
            &lab.ssh_addr().port().to_string(),
        ])
        .arg(format!("-oUserKnownHostsFile={}", known_hosts.display()))
        .arg(format!("-oIdentityFile={}", key.display()))
        .args(["deploy@127.0.0.1", "umask; id --name --groups; sudo -n /usr/sbin/nginx -t 2>&1 | tail -n 1"])
        .output()
        .expect("the ssh client should be installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..2], ["0002", "deploy www-data"], "{}", String::from_utf8_lossy(&output.stderr));
    assert!(lines[2].contains("test is successful"), "{said}");
}

#[test]
fn artisan_does_all_a_release_needs_and_says_nothing_of_deprecation() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Staging);
    install_next_release(&lab, &site);
    for command in [
        "--version",
        "migrate --force",
        "migrate:status",
        "config:cache",
        "route:cache",
        "view:cache",
        "event:cache",
        "queue:restart",
    ] {
        let script = format!("cd {}/releases/{NEXT_RELEASE} && php artisan {command} 2>&1", site.base_dir);
        let said = lab.exec_as("deploy", &script).expect(command);
        assert!(!said.to_lowercase().contains("deprecated"), "{command}: {said}");
    }
    lab.exec_as("deploy", "php -r 'require \"/var/www/staging/current/vendor/autoload.php\";'")
        .expect("the autoloader");
}

#[test]
fn the_environment_file_holds_a_password_that_only_a_real_parser_reads() {
    let lab = start(Options::default());
    for site in SITES.map(|environment| lab.site(environment)) {
        let file = format!("{}/shared/.env/{}.env", site.base_dir, site.env_name);
        assert_eq!(lab.exec(&format!("stat -c '%a %U:%G' {file}")).expect("a mode").trim(), "640 deploy:www-data");
        let line = lab.exec(&format!("grep ^DB_PASSWORD= {file}")).expect("a password");
        for awkward in ['"', '=', '#', '$', ' ', '@'] {
            assert!(line.trim_start_matches("DB_PASSWORD=").contains(awkward), "{awkward:?} in {line}");
        }
    }
}

#[test]
fn an_empty_site_has_shared_folders_and_nothing_else() {
    let lab = start(Options { seed: false, ..Options::default() });
    let site = lab.site(Environment::Staging);
    assert_eq!(lab.current(&site).expect("an answer"), None);
    assert_eq!(lab.exec(&format!("ls -A {}", site.base_dir)).expect("a listing"), "releases\nshared\n");
    assert_eq!(lab.exec(&format!("ls -A {}/releases", site.base_dir)).expect("a listing"), "");
    assert_eq!(lab.exec("mariadb -N -e 'show tables' lab_staging").expect("a listing"), "");
    assert_eq!(lab.get(&site, "/healthcheck.php", None).expect("an answer").status, 404);
}

#[test]
fn a_small_disk_fills_up() {
    let lab = start(Options { base_tmpfs_mb: Some(40), ..Options::default() });
    let site = lab.site(Environment::Staging);
    assert_eq!(lab.served_commit(&site).expect("a commit"), SEED_COMMIT);
    let problem =
        lab.exec_as("deploy", "head -c 40M /dev/zero > /var/www/staging/filler").expect_err("40 MB more cannot fit");
    assert!(problem.to_string().contains("No space left on device"), "{problem:#}");
}

#[test]
fn a_digest_sees_every_change() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Staging);
    let digest = || lab.tree_digest(&site.base_dir).expect("a digest");
    let before = digest();
    assert_eq!((before.len(), digest()), (64, before.clone()));
    let file = format!("{}/current/artisan", site.base_dir);
    for change in
        ["touch FILE", "chmod 700 FILE", "chown root FILE", "echo >> FILE", "touch FILE.new", "ln -s nowhere FILE.link"]
    {
        let before = digest();
        lab.exec(&change.replace("FILE", &file)).expect(change);
        assert_ne!(before, digest(), "{change}");
    }
}

#[test]
fn a_load_counts_what_fails() {
    let lab = start(Options::default());
    let site = lab.site(Environment::Production);
    let load = Load::start(lab.http_addr(), &site.host, "/", 8);
    lab.exec_as("deploy", "sudo -n /usr/sbin/service php8.2-fpm reload; sudo -n /usr/sbin/service nginx reload")
        .expect("reloads");
    let report = load.stop().expect("a report");
    assert!(report.requests > 0);
    assert_eq!(report.failures, Vec::<String>::new());

    let sick = Load::start(lab.http_addr(), "nobody.lab.test", "/", 2);
    lab.exec("true").expect("a moment");
    let report = sick.stop().expect("a report");
    assert!(report.requests > 0);
    assert_eq!(report.failures, vec!["status 404"; report.requests]);
}

#[test]
fn php_fpm_lets_running_requests_end_only_where_it_is_told_to() {
    for (seconds, wanted) in [(10, "process_control_timeout = 10s"), (0, "process_control_timeout = 0s")] {
        let lab = start(Options { process_control_timeout: seconds, ..Options::default() });
        let settings = lab.exec("php-fpm8.2 -tt 2>&1").expect("the settings");
        assert!(settings.contains(wanted), "{wanted} should be in {settings}");
    }
}
