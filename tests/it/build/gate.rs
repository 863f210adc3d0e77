//! What stops a tree before it becomes a bundle, and what it tells the person who has to repair it.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, os::unix::net::UnixListener, process::Command};

use gated_deploy::{
    config::typed::BuildGate,
    domain::gate::{FrontEnd, gates},
};
use tokio::sync::watch;

use super::app::{App, private_key, run, tool};

#[test]
fn a_sound_tree_passes_every_check() {
    let app = App::sound();
    let run = app.run();
    run.passed();
    let report = run.gates();
    assert_eq!((report.passed(), report.results.len()), (20, 20));
    assert_eq!(run.warnings(), Vec::<&str>::new());
}

#[test]
fn f10_each_of_the_nine_gates_stops_the_build() {
    for gate in gates(FrontEnd::Vite) {
        let app = App::sound();
        app.remove(gate.path);
        let run = app.run();
        let failed: Vec<String> = run.gates().failures().map(|result| result.name.clone()).collect();
        assert!(failed.contains(&gate.path.to_owned()), "{}: {failed:?}", gate.path);
        assert!(run.refusal_text().contains(&format!("{}: is missing", gate.path)));
        assert_eq!(app.written(), Vec::<String>::new(), "nothing is written for {}", gate.path);
    }
}

#[test]
fn f10_everything_that_is_missing_is_named_at_once() {
    let app = App::sound();
    app.remove("artisan").remove("vendor").remove("public/build").remove("routes").put(".env", "APP_KEY=base64:x");
    let run = app.run();
    assert_eq!(run.refused().code, "build-checks-failed");
    let text = run.refusal_text();
    for named in
        ["artisan: is missing", "vendor/autoload.php", "public/build/manifest.json", "routes: is missing", ".env"]
    {
        assert!(text.contains(named), "{named} in {text}");
    }
    assert!(text.contains("5 of 20 checks failed"), "{text}");
    assert!(text.contains("composer install --no-dev"), "the cure is said: {text}");
}

#[test]
fn gates_know_a_file_from_a_folder_and_an_empty_file_from_a_full_one() {
    let app = App::sound();
    app.remove("artisan").put("artisan/readme", "a folder");
    app.remove("app").put("app", "a file");
    app.put("vendor/autoload.php", "").put("public/index.php", "");
    app.remove("config").put("config/cache.log", "a log is left out, and nothing stays");
    app.remove("routes").put("tests/routes/web.php", "").link("routes", "bootstrap");
    let text = app.run().refusal_text();
    for problem in [
        "artisan: is a folder, not a file",
        "app: is a file, not a folder",
        "vendor/autoload.php: is empty",
        "public/index.php: is empty",
        "config: contains no file",
        "routes: is a link",
    ] {
        assert!(text.contains(problem), "{problem} in {text}");
    }
}

#[test]
fn f20_placeholder_manifests_do_not_satisfy_the_gate() {
    let entry =
        |file: &str, more: &str| format!(r#"{{"resources/js/app.js": {{"file": "{file}", "isEntry": true{more}}}}}"#);
    let app_js = "assets/app-BXl3rVqT.js";
    let cases = [
        (String::new(), "is empty"),
        ("not json".to_owned(), "is not a Vite manifest"),
        ("[]".to_owned(), "is not a Vite manifest"),
        ("{}".to_owned(), "has no entries"),
        (r#"{"resources/js/app.js": {"src": "app.js"}}"#.to_owned(), "missing field `file`"),
        (format!(r#"{{"resources/js/app.js": {{"file": "{app_js}"}}}}"#), "has no entry point"),
        (entry("assets/app-gone1234.js", ""), "app-gone1234.js, which is not in public/build"),
        (entry("assets/empty.js", ""), "assets/empty.js, which is empty"),
        (entry("assets/blank.js", ""), "is a blank file"),
        (entry("../index.php", ""), "contains `..`"),
        (entry("/etc/passwd", ""), "is absolute"),
        (entry(app_js, r#", "css": ["assets/gone.css"]"#), "assets/gone.css"),
        (entry(app_js, r#", "assets": ["assets/gone.svg"]"#), "assets/gone.svg"),
        (entry(app_js, r#", "imports": ["_vendor.js"]"#), "imports `_vendor.js`"),
        (entry(app_js, r#", "dynamicImports": ["pages/cart.vue"]"#), "imports `pages/cart.vue`"),
    ];
    for (manifest, problem) in cases {
        let app = App::sound();
        app.put("public/build/manifest.json", &manifest)
            .put("public/build/assets/empty.js", "")
            .put("public/build/assets/blank.js", " \n");
        let text = app.run().refusal_text();
        assert!(text.contains(problem), "{manifest}: {problem} in {text}");
    }
}

#[test]
fn f20_assets_that_are_not_named_by_their_contents_are_warned_about() {
    let app = App::sound();
    app.put("public/build/manifest.json", r#"{"app.js": {"file": "assets/app.js", "isEntry": true}}"#)
        .put("public/build/assets/app.js", "run()");
    let run = app.run();
    run.passed();
    assert!(run.warnings().concat().contains("hash"), "{:?}", run.warnings());
}

#[test]
fn a_left_over_dev_server_mark_is_refused() {
    let app = App::sound();
    app.put("public/hot", "http://localhost:5173");
    assert!(app.run().refusal_text().contains("public/hot"));
}

#[test]
fn f25_development_packages_are_refused_by_name() {
    let app = App::sound();
    app.put(
        "vendor/composer/installed.json",
        r#"{"packages": [{"name": "acme/mail", "version": "1.2.0"}, {"name": "acme/test", "version": "3.0.0"}], "dev": true, "dev-package-names": ["acme/test"]}"#,
    );
    let text = app.run().refusal_text();
    assert!(text.contains("no-dev-packages: acme/test is a development package"), "{text}");
    assert!(text.contains("composer install --no-dev --optimize-autoloader"), "{text}");
    assert!(!text.contains("lock-file"), "a development package is not also a wrong lock: {text}");

    app.put(
        "vendor/composer/installed.json",
        r#"{"packages": [{"name": "acme/mail", "version": "1.2.0"}], "dev": true}"#,
    );
    assert!(app.run().refusal_text().contains("without --no-dev"));

    app.remove("vendor/composer/installed.json");
    assert!(app.run().refusal_text().contains("the packages in vendor are unknown"));
}

#[test]
fn f24_what_is_installed_is_what_the_lock_file_says() {
    let lock = |packages: &str| format!(r#"{{"packages": [{packages}]}}"#);
    let mail = |version: &str| format!(r#"{{"name": "acme/mail", "version": "{version}"}}"#);
    let cases = [
        (lock(&mail("1.3.0")), "acme/mail is installed as 1.2.0, but composer.lock has 1.3.0"),
        (lock(""), "acme/mail is installed but is not in composer.lock"),
        (
            lock(&format!(r#"{}, {{"name": "acme/pay", "version": "2.0.0"}}"#, mail("1.2.0"))),
            "acme/pay 2.0.0 is in composer.lock but is not installed",
        ),
        ("<<<<<<< HEAD".to_owned(), "composer.lock cannot be read"),
    ];
    for (lock, problem) in cases {
        let app = App::sound();
        app.put("composer.lock", &lock);
        let text = app.run().refusal_text();
        assert!(text.contains(problem), "{problem} in {text}");
    }
    let app = App::sound();
    app.remove("composer.lock");
    let run = app.run();
    run.passed();
    assert!(run.warnings().concat().contains("composer.lock is missing"));
}

#[test]
fn f24_f23_lock_files_and_php_versions_are_recorded() {
    let manifest = App::sound().manifest();
    assert_eq!(manifest.locks.keys().collect::<Vec<_>>(), ["composer.lock", "package-lock.json"]);
    assert_eq!(manifest.php.required.as_deref(), Some("^8.2"));
    assert_eq!(manifest.php.minimum_id, Some(80_200));
}

#[test]
fn f26_state_and_secrets_of_the_build_machine_are_refused() {
    let key = private_key();
    let json_key = format!(r#"{{"private_key": "{}"}}"#, key.replace('\n', "\\n"));
    let cases: [(&str, &str, &str); 15] = [
        (".env", "APP_KEY=base64:x", "no-env-files"),
        (".env.production", "DB_PASSWORD=x", "no-env-files"),
        (".env.local", "DB_DATABASE=shop", "no-env-files"),
        ("docker/mysql.env", "MYSQL_ROOT_PASSWORD=x", "no-env-files"),
        ("bootstrap/cache/config.php", "<?php return [];", "no-cached-config"),
        ("bootstrap/cache/routes-v7.php", "<?php", "no-cached-config"),
        ("bootstrap/cache/events.php", "<?php", "no-cached-config"),
        ("auth.json", "{}", "no-private-keys"),
        (".ssh/config", "Host *", "no-private-keys"),
        ("deploy/id_ed25519", "x", "no-private-keys"),
        ("config/push.p12", "x", "no-private-keys"),
        ("config/jwt.php", &key, "no-private-keys"),
        ("resources/google.json", &json_key, "no-private-keys"),
        ("packages/mail/README.md", &key, "no-private-keys"),
        ("vendor/dkim.key", &key, "no-private-keys"),
    ];
    for (path, text, check) in cases {
        let app = App::sound();
        app.put(path, text);
        let run = app.run();
        let failed: Vec<String> = run.gates().failures().map(|result| result.name.clone()).collect();
        assert_eq!(failed, [check], "{path}");
        let named = path.trim_end_matches("/config");
        assert!(run.refusal_text().contains(named), "{path} in {}", run.refusal_text());
        assert!(!run.refusal_text().contains("MIIEvQ"), "f40: no byte of a key is shown");
    }
}

#[test]
fn f26_what_a_checkout_leaves_is_left_out_and_told() {
    let app = App::sound();
    for path in [
        ".git/config",
        ".github/workflows/build.yml",
        ".env.example",
        "node_modules/vite/index.js",
        "tests/Feature/OrderTest.php",
        "storage/logs/laravel.log",
        "storage/framework/sessions/abc",
        "public/uploads/photo.jpg",
        "npm-debug.log",
        "vendor/acme/mail/.env",
        "vendor/acme/mail/.git/HEAD",
        "bootstrap/cache/packages.php",
    ] {
        app.put(path, "x");
    }
    app.link("public/storage", "/home/runner/work/shop/shop/storage/app/public");
    let run = app.run();
    run.passed();
    let manifest = app.manifest();
    let shipped: Vec<&str> =
        manifest.files.keys().map(String::as_str).filter(|path| manifest.files[*path].size == 1).collect();
    assert_eq!(shipped, ["bootstrap/cache/packages.php"]);
    assert!(manifest.links.is_empty());
    assert!(run.lines().iter().any(|line| line.starts_with("left out: node_modules (")), "{:?}", run.lines());
}

/// FD16: samples of published packages. What Composer copied from a folder of the repository is no published package.
#[test]
fn fd16_what_looks_like_a_key_in_a_package_is_a_public_sample() {
    let app = App::sound();
    let package = |name: &str, more: &str| format!(r#"{{"name": "{name}", "version": "1.2.0"{more}}}"#);
    let composer = |app: &App, packages: &[String]| {
        let packages = packages.join(", ");
        app.put("vendor/composer/installed.json", format!(r#"{{"packages": [{packages}], "dev": false}}"#));
        app.put("composer.lock", format!(r#"{{"packages": [{packages}]}}"#));
    };
    let published = [
        package("acme/mail", r#", "dist": {"type": "zip"}"#),
        package("firebase/php-jwt", r#", "dist": {"type": "zip"}"#),
        package("tecnickcom/tcpdf", r#", "dist": null, "source": {"type": "git"}"#),
        package("phpseclib/phpseclib", r#", "dist": {"type": "tar"}"#),
    ];
    composer(&app, &published);
    let samples = [
        "vendor/firebase/php-jwt/README.md",
        "vendor/tecnickcom/tcpdf/examples/data/cert/tcpdf.crt",
        "vendor/phpseclib/phpseclib/tests/id_rsa",
    ];
    for path in samples {
        app.put(path, private_key());
    }
    app.put("vendor/acme/mail/demo.p12", "x");
    let run = app.run();
    run.passed();
    assert_eq!(run.warnings(), Vec::<&str>::new());
    let notes: Vec<&str> = run.lines().into_iter().filter(|line| line.contains("private key")).collect();
    let note = "shipped: 4 files of packages look like private keys, the first is vendor/acme/mail/demo.p12; it is part of the package \
                acme/mail; check it if the package is private";
    assert_eq!(notes, [note]);
    let shipped = app.manifest().files;
    assert!(samples.iter().all(|path| shipped.contains_key(*path)), "what is told is shipped");

    // What is not known to be published may be a secret of the project.
    for more in [r#", "dist": {"type": "path", "url": "packages/mail"}"#, r#", "dist": {"url": "x"}"#, ""] {
        let local = [&[package("acme/mail", more)], &published[1..]].concat();
        composer(&app, &local);
        let text = app.run().refusal_text();
        let problem =
            "vendor/acme/mail/demo.p12 contains a private key, or has the name of one; remove it from the build";
        assert!(text.contains(problem), "{more}: {text}");
        assert!(!text.contains("firebase"), "{text}");
    }
    // Composer 1's list, and a file that is no list.
    for unreadable in [format!("[{}]", published.join(", ")), "{".to_owned()] {
        app.put("vendor/composer/installed.json", unreadable);
        let text = app.run().refusal_text();
        for path in samples {
            assert!(text.contains(&format!("{path} contains a private key")), "{text}");
        }
        assert!(text.contains("vendor/composer/installed.json cannot be read: its package is unknown"), "{text}");
    }
    for path in ["vendor/acme/key.pem", "vendor/bin/key.pem", "packages/acme/mail/README.md"] {
        let app = App::sound();
        app.put(path, private_key());
        assert!(app.run().refusal_text().contains(&format!("{path} contains a private key")), "{path}");
    }
}

/// FD17: what is behind such a link is missing on this machine as well, so that nothing that runs is left out.
#[test]
fn fd17_links_of_packages_that_lead_to_nothing_are_left_out_and_told() {
    let app = App::sound();
    app.put("vendor/pear/net_smtp/Net/SMTP.php", "<?php")
        .put("tests/Stub.php", "x")
        .put("vendor/acme/mail/Mail.php", "<?php");
    app.link("vendor/pear/net_smtp/README.rst", "docs/guide.rst")
        .link("vendor/pear/net_smtp/README", "README.rst")
        .link("vendor/pear/net_smtp/build", "/no/such/folder/anywhere")
        .link("vendor/pear/net_smtp/again", "Net/SMTP.php");
    let run = app.run();
    run.passed();
    for name in ["README.rst", "README", "build"] {
        let line = format!("left out: vendor/pear/net_smtp/{name} (a package's link that leads to nothing)");
        assert!(run.lines().contains(&line.as_str()), "{line} in {:?}", run.lines());
    }
    assert_eq!(app.manifest().links.keys().collect::<Vec<_>>(), ["vendor/pear/net_smtp/again"]);
    // There is something behind these, or the link is a package itself.
    for (link, target) in [
        ("vendor/acme/mail/stub.php", "../../../tests/Stub.php"),
        ("vendor/acme/mail/passwd", "/etc/passwd"),
        ("vendor/acme/panel", "../../packages/panel"),
        ("resources/none", "docs/guide.rst"),
        ("guide", "vendor/pear/net_smtp/README.rst"),
    ] {
        let app = App::sound();
        app.put("tests/Stub.php", "x").put("vendor/acme/mail/Mail.php", "<?php").put("resources/a", "x");
        app.put("vendor/pear/net_smtp/Net/SMTP.php", "<?php").link("vendor/pear/net_smtp/README.rst", "docs/guide.rst");
        app.link(link, target);
        assert!(app.run().refusal_text().contains(&format!("links: {link}: it points to")), "{link}");
        assert_eq!(app.written(), Vec::<String>::new());
    }
}

/// FD18: neither stops the build, and neither reaches the server.
#[test]
fn fd18_settings_and_databases_of_test_runs_are_left_out_and_told() {
    let app = App::sound();
    let test_runs =
        [".env.testing", ".env.example", ".env.dusk.local", "database/database.sqlite", "database/database.sqlite-wal"];
    for path in test_runs {
        app.put(path, "DB_PASSWORD=x");
    }
    app.put("database/seeders/Seeder.php", "<?php").put("database/seed.sqlite.php", "<?php");
    let run = app.run();
    run.passed();
    for path in test_runs {
        assert!(
            run.lines().iter().any(|line| line.starts_with(&format!("left out: {path} ("))),
            "{path}: {:?}",
            run.lines()
        );
    }
    let files = app.manifest().files;
    assert!(test_runs.iter().all(|path| !files.contains_key(*path)), "{files:?}");
    assert!(files.contains_key("database/seeders/Seeder.php") && files.contains_key("database/seed.sqlite.php"));
}

/// FD19: an app without a front end says so, and then nothing of it may ask for one.
#[test]
fn fd19_an_app_without_a_front_end_is_bundled_and_must_not_refer_to_vite() {
    let app = App::sound();
    app.remove("public/build").remove("package-lock.json");
    let text = app.run().refusal_text();
    assert!(text.contains("public/build/manifest.json: is missing"), "{text}");
    let none = || run(BuildGate { front_end: FrontEnd::None, ..app.inputs() }, watch::channel(false).1);
    app.put(
        "resources/views/welcome.blade.php",
        "@if (file_exists(public_path('build/manifest.json'))) @vite(['a']) @endif",
    );
    app.put("vendor/acme/mail/views/page.blade.php", "@vite('a')");
    let ran = none();
    ran.passed();
    let report = ran.gates();
    assert_eq!((report.score(), report.results[4].name.as_str()), ("20/20".to_owned(), "no-vite"));

    app.put("resources/views/app.blade.php", "<head>@vite('resources/js/app.js')</head>");
    let text = none().refusal_text();
    assert!(text.contains("no-vite: the app refers to Vite: resources/views/app.blade.php has @vite"), "{text}");
    assert!(text.contains("`front-end: none`") && !text.contains("npm ci"), "{text}");
    app.remove("resources/views/app.blade.php").put("vite.config.js", "export default {}");
    let text = none().refusal_text();
    assert!(text.contains("no-vite: the app refers to Vite: vite.config.js is there"), "{text}");

    // A view that cannot be read says nothing of Vite.
    app.remove("vite.config.js");
    let view = fs::File::create(app.path("resources/views/big.blade.php")).expect("a file");
    view.set_len((64 << 20) + 1).expect("a sparse file");
    let text = none().refusal_text();
    assert!(text.contains("readable: resources/views/big.blade.php has 67108865 bytes"), "{text}");
    assert!(!text.contains("no-vite:"), "{text}");
}

/// FD19: where Vite itself writes its manifest, Laravel does not look.
#[test]
fn fd19_a_manifest_in_the_default_place_of_vite_is_named() {
    let app = App::sound();
    app.remove("public/build/manifest.json").put("public/build/.vite/manifest.json", "{}");
    let text = app.run().refusal_text();
    let named = "public/build/manifest.json: is missing; Vite wrote public/build/.vite/manifest.json, its default place: use \
                 laravel-vite-plugin, or set `build.manifest: 'manifest.json'`";
    assert!(text.contains(named), "{text}");
}

#[test]
fn f26_a_package_that_carries_a_key_in_its_code_is_no_secret_of_ours() {
    let app = App::sound();
    app.put("vendor/acme/mail/Demo.php", private_key());
    app.run().passed();
}

#[test]
fn links_have_to_lead_to_something_that_is_shipped() {
    let app = App::sound();
    app.put("tests/Stub.php", "x");
    app.link("absolute", "/etc/passwd")
        .link("outside", "../../x")
        .link("nowhere", "app/None.php")
        .link("untested", "tests/Stub.php")
        .link("public/round", "../app/../../x");
    let text = app.run().refusal_text();
    for problem in [
        "absolute: it points to the absolute path /etc/passwd",
        "outside: it points to ../../x, outside the source folder",
        "nowhere: it points to app/None.php, which does not exist",
        "untested: it points to tests/Stub.php, which is left out",
        "public/round: it points to ../app/../../x, which contains `..` after a folder",
    ] {
        assert!(text.contains(problem), "{problem} in {text}");
    }

    let app = App::sound();
    app.put("vendor/acme/mail/bin/mail", "run")
        .link("mail", "vendor/acme/mail/bin/mail")
        .link("public/files", "../storage/app/files")
        .link("models", "app/Models");
    app.link("first", "models/Order.php");
    let links = app.manifest().links;
    assert_eq!(links.keys().collect::<Vec<_>>(), ["first", "mail", "models", "public/files"]);
    assert_eq!(links["public/files"], "../storage/app/files");
}

/// SE3, FD21: the server would remove and make things behind such a link.
#[test]
fn se3_fd21_a_link_above_a_shared_folder_is_refused() {
    let cases = [
        (
            ["storage", "public/media/uploads"],
            "public/media",
            "../storage/app/media",
            "shared folder `public/media/uploads`",
        ),
        (["storage", "config/local"], "config", "storage/config", "shared folder `config/local`"),
        (["storage", "public/uploads"], "public", "storage/app/public", "shared folder `public/uploads`"),
        (["storage", "public/uploads"], "bootstrap/cache", "../storage/cache", "the release writes files below it"),
    ];
    for (shared, link, target, problem) in cases {
        let app = App::sound();
        if app.path(link).exists() {
            app.remove(link);
        }
        app.link(link, target);
        let inputs = BuildGate { shared: shared.map(str::to_owned).into(), ..app.inputs() };
        let text = run(inputs, watch::channel(false).1).refusal_text();
        let expected = format!("links: `{link}` is a link to `{target}`, and ");
        assert!(text.contains(&expected) && text.contains(problem), "{text}");
        assert_eq!(app.written(), Vec::<String>::new(), "{link}");
    }
    // Links may lead to what this app shares, and not to what another would.
    let app = App::sound();
    app.link("public/files", "../media/files");
    assert!(app.run().refusal_text().contains("points to ../media/files, which does not exist"));
    let inputs = BuildGate { shared: ["storage", "media"].map(str::to_owned).into(), ..app.inputs() };
    run(inputs, watch::channel(false).1).passed();
}

#[test]
fn what_is_no_file_and_what_cannot_be_named_is_refused() {
    let app = App::sound();
    let _socket = UnixListener::bind(app.path("app/agent.sock")).expect("sockets can be made");
    tool(Command::new("mkfifo").arg(app.path("app/pipe")));
    app.put("app/line\nbreak.php", "x");
    std::fs::write(app.source().join(OsStr::from_bytes(b"app/caf\xe9.php")), "x").expect("Linux takes any name");
    let text = app.run().refusal_text();
    for problem in [
        "app/agent.sock is not a file",
        "app/pipe is not a file",
        r"app/line\nbreak.php: it contains control characters",
        r"app/caf\xe9.php: it is not UTF-8",
    ] {
        assert!(text.contains(problem), "{problem} in {text}");
    }
}

#[test]
fn many_problems_of_one_kind_do_not_bury_the_others() {
    let app = App::sound();
    for n in 0..40 {
        app.put(&format!("docker/{n}.env"), "x");
    }
    app.put("public/hot", "x");
    let failure = app.run().refused().clone();
    assert_eq!(failure.details.len(), 12, "{:?}", failure.details);
    assert!(failure.details.contains(&"no-env-files: and 30 more".to_owned()), "{:?}", failure.details);
}

#[test]
fn f11_a_bundle_that_no_release_takes_is_checked_and_said_to_be_none() {
    let app = App::sound();
    let run_for = |event: Option<&str>| {
        let mut inputs = app.inputs();
        inputs.event = event.map(str::to_owned);
        super::app::run(inputs, tokio::sync::watch::channel(false).1)
    };
    for event in [None, Some("push"), Some("merge_group")] {
        assert_eq!(run_for(event).passed().warnings(), Vec::<&str>::new(), "{event:?}");
    }
    for event in ["pull_request", "workflow_run"] {
        let run = run_for(Some(event));
        assert!(run.passed().warnings().concat().contains(&format!("was started by `{event}`")), "{event}");
    }
}

#[test]
fn a_source_that_is_not_there_is_an_input_error() {
    let app = App::sound();
    let mut inputs = app.inputs();
    inputs.source = app.workspace().join("shpo");
    let run = super::app::run(inputs, tokio::sync::watch::channel(false).1);
    assert_eq!(run.outcome.exit_code(), 2);
    let failure = run.outcome.cause().expect("it failed");
    assert!(failure.doing.ends_with("shpo"), "{failure}");
    assert_eq!(failure.code, "source-dir-unusable");
}
