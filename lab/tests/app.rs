//! The app's variants break a release in exactly the way their names say.

use std::time::{Duration, Instant};

use gated_deploy_lab::app::{TempTree, Variant, source};
use gated_deploy_lab::{Environment, Lab, Options, Site};

const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

fn tree(variant: Variant) -> TempTree {
    source(COMMIT, variant).expect("the app should be there")
}

/// Puts a tree on the server as a release named `name`, linked as a release is.
fn install(lab: &Lab, site: &Site, name: &str, variant: Variant) -> String {
    let folder = format!("{}/releases/{name}", site.base_dir);
    lab.upload(tree(variant).path(), &folder).expect("uploading the release");
    let script = format!(
        "cd {folder} && rm -rf storage && ln -s ../../shared/storage storage && ln -s ../../shared/.env/{}.env .env",
        site.env_name
    );
    lab.exec_as("deploy", &script).expect("linking the release");
    folder
}

fn artisan(lab: &Lab, folder: &str, command: &str) -> anyhow::Result<String> {
    lab.exec_as("deploy", &format!("cd {folder} && php artisan {command} 2>&1"))
}

fn switch(lab: &Lab, site: &Site, folder: &str) {
    lab.exec_as("deploy", &format!("cd {} && ln -s {folder} new && mv -T new current", site.base_dir))
        .expect("switching the link");
}

#[test]
fn a_healthy_tree_is_complete_and_built_for_production() {
    let tree = tree(Variant::Healthy);
    for path in [
        "artisan",
        "composer.json",
        "composer.lock",
        "package-lock.json",
        "public/index.php",
        "public/healthcheck.php",
        "public/build/manifest.json",
        "vendor/autoload.php",
        "vendor/composer/platform_check.php",
        "bootstrap/app.php",
        "config/app.php",
        "routes/web.php",
        "app/Http/Kernel.php",
    ] {
        assert!(tree.path().join(path).is_file(), "{path} should be there");
    }
    for path in [".git", ".env", "node_modules", "bootstrap/cache/config.php"] {
        assert!(!tree.path().join(path).exists(), "{path} should not be there");
    }
    let read = |path: &str| std::fs::read_to_string(tree.path().join(path)).expect(path);
    assert!(read("config/release.php").contains(COMMIT));
    let installed: serde_json::Value = serde_json::from_str(&read("vendor/composer/installed.json")).expect("JSON");
    assert_eq!(installed["dev"], false);
    assert_eq!(installed["dev-package-names"], serde_json::json!([]));
    assert!(installed["packages"].as_array().expect("a list").len() > 30);
}

#[test]
fn two_trees_share_nothing() {
    let (first, second) = (tree(Variant::Healthy), tree(Variant::Healthy));
    first.write("artisan", "changed").expect("writing");
    std::fs::write(first.path().join("vendor/autoload.php"), "changed").expect("writing");
    for path in ["artisan", "vendor/autoload.php"] {
        let content = std::fs::read_to_string(second.path().join(path)).expect(path);
        assert_ne!(content, "changed", "{path}");
    }
    assert!(first.write("../outside", "").is_err());
    assert!(first.remove("/etc/hostname").is_err());
}

#[test]
fn a_missing_file_is_missing_and_a_broken_asset_is_named_but_not_there() {
    let tree = tree(Variant::MissingFile("composer.json".into()))
        .with(Variant::MissingFile("routes".into()))
        .and_then(|tree| tree.with(Variant::BrokenAsset))
        .expect("three variants at once");
    assert!(!tree.path().join("composer.json").exists());
    assert!(!tree.path().join("routes").exists());
    let manifest = std::fs::read(tree.path().join("public/build/manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let file = manifest["resources/js/app.js"]["file"].as_str().expect("a name");
    assert!(!tree.path().join("public/build").join(file).exists());
}

#[test]
fn a_sick_release_passes_artisan_and_answers_500() {
    let lab = Lab::start(Options::default()).expect("the lab's server should start");
    let site = lab.site(Environment::Production);
    let folder = install(&lab, &site, "sick", Variant::Sick500);
    for command in ["--version", "migrate --force", "config:cache", "route:cache"] {
        artisan(&lab, &folder, command).expect(command);
    }
    switch(&lab, &site, &folder);
    for path in ["/", "/health", "/api/health-check"] {
        let answer = lab.get(&site, path, Some(&site.health_token)).expect("an answer");
        assert_eq!(answer.status, 500, "{path}");
    }
    assert_eq!(lab.get(&site, "/healthcheck.php", None).expect("an answer").status, 200);
}

#[test]
fn a_slow_release_takes_its_time() {
    let lab = Lab::start(Options::default()).expect("the lab's server should start");
    let site = lab.site(Environment::Production);
    let folder = install(&lab, &site, "slow", Variant::SlowBoot(Duration::from_millis(1500)));
    artisan(&lab, &folder, "config:cache").expect("caching");
    switch(&lab, &site, &folder);
    let started = Instant::now();
    assert_eq!(lab.served_commit(&site).expect("a commit"), COMMIT);
    assert!(started.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_broken_autoloader_stops_php_on_the_server() {
    let lab = Lab::start(Options::default()).expect("the lab's server should start");
    let site = lab.site(Environment::Staging);
    let folder = install(&lab, &site, "broken", Variant::BrokenAutoload);
    let problem = lab
        .exec_as("deploy", &format!("cd {folder} && php -r 'require \"vendor/autoload.php\";'"))
        .expect_err("the autoloader throws");
    assert!(problem.to_string().contains("this autoloader is broken"), "{problem:#}");
}

#[test]
fn migrations_are_added_and_fail_where_they_should() {
    let lab = Lab::start(Options::default()).expect("the lab's server should start");
    let site = lab.site(Environment::Staging);
    let tables = || lab.exec(&format!("mariadb -N -e 'show tables' {}", site.database)).expect("the tables");

    let more = install(&lab, &site, "more", Variant::ExtraMigration("parcels".into()));
    artisan(&lab, &more, "migrate --force").expect("migrating");
    assert!(tables().lines().any(|table| table == "parcels"));

    let failing = install(&lab, &site, "failing", Variant::FailingMigration);
    let problem = artisan(&lab, &failing, "migrate --force").expect_err("the second migration throws");
    assert!(problem.to_string().contains("this migration fails"), "{problem:#}");
    assert!(tables().lines().any(|table| table == "drafts"));
}
