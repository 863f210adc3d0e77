//! The bundle: complete, reproducible, and nothing but the tree.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use gated_deploy::{
    bundle::{
        check::Findings,
        pace::Pace,
        pack::{self, Files},
        read,
        tree::Tree,
    },
    domain::{Outcome, bundle::MANIFEST_PATH},
};
use tokio::sync::watch;

use super::app::{self, App, COMMIT, commit, tool};

#[test]
fn a_bundle_has_its_checksum_and_its_manifest_beside_it() {
    let app = App::sound();
    let run = app.run();
    run.passed();
    let name = format!("deployment-bundle-{COMMIT}");
    assert_eq!(
        app.written(),
        [format!("{name}.manifest.json"), format!("{name}.tar.gz"), format!("{name}.tar.gz.sha256")]
    );
    tool(Command::new("sha256sum").arg("-c").arg(format!("{name}.tar.gz.sha256")).current_dir(&app.output));

    let (manifest, inspection) = read::inspect(&app.bundle()).expect("it is in order");
    let beside = fs::read(app.output.join(format!("{name}.manifest.json"))).expect("it is there");
    assert_eq!(manifest, serde_json::from_slice(&beside).expect("it is JSON"));
    assert_eq!(manifest.commit, commit());

    let fact = run.bundle_fact().expect("the bundle is told");
    assert_eq!(fact.file, format!("out/{name}.tar.gz"));
    assert_eq!((fact.sha256, fact.size, fact.files), (inspection.sha256, inspection.size, manifest.files.len()));
}

#[test]
fn f19_a_bundle_is_unpacked_to_exactly_the_tree() {
    let app = App::sound();
    let long = format!("app/{}/{}.php", "Deeply".repeat(20), "Nested".repeat(20));
    app.put(&long, "a long name")
        .put("app/Größe.php", "ä")
        .put("app/empty.php", "")
        .put("public/.htaccess", "Options -Indexes");
    app.put("vendor/acme/mail/bin/mail", "run").executable("vendor/acme/mail/bin/mail");
    app.link("mail", "vendor/acme/mail/bin/mail")
        .link("far", &format!("app/{}/{}.php", "Deeply".repeat(20), "Nested".repeat(20)));
    fs::create_dir_all(app.path("app/Empty/Folder")).expect("folders can be made");
    app.run().passed();

    let unpacked = app.workspace().join("unpacked");
    fs::create_dir(&unpacked).expect("folders can be made");
    let said =
        Command::new("tar").arg("-xzf").arg(app.bundle()).arg("-C").arg(&unpacked).output().expect("tar is there");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    fs::remove_file(unpacked.join(MANIFEST_PATH)).expect("the manifest is in it");
    tool(Command::new("diff").args(["-r", "--no-dereference"]).arg(app.source()).arg(&unpacked));
    let mode = |path: &str| fs::metadata(unpacked.join(path)).expect("it is unpacked").permissions().mode() & 0o777;
    assert_eq!((mode("artisan"), mode("vendor/acme/mail/bin/mail"), mode("config/app.php")), (0o755, 0o755, 0o644));
}

#[test]
fn gnu_tar_lists_one_owner_one_time_and_two_modes() {
    let app = App::sound();
    fs::set_permissions(app.path("config/app.php"), fs::Permissions::from_mode(0o4666)).expect("modes can be set");
    app.run().passed();
    let listing = tool(Command::new("tar").args(["--utc", "--numeric-owner", "-tvzf"]).arg(app.bundle()));
    assert!(listing.lines().next().is_some_and(|first| first.ends_with(MANIFEST_PATH)), "{listing}");
    for line in listing.lines() {
        assert!(line.contains(" 0/0 ") && line.contains(" 2000-01-01 00:00 "), "{line}");
        assert!(["-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"].iter().any(|mode| line.starts_with(mode)), "{line}");
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let first = App::sound();
    first.put("app/Zebra.php", "z").put("app/Ape.php", "a");
    first.run().passed();

    let mut second = App::sound();
    second.put("app/Ape.php", "a").put("app/Zebra.php", "z");
    for path in ["app/Ape.php", "artisan", "config/app.php"] {
        let file = File::options().write(true).open(second.path(path)).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890)).expect("times can be set");
    }
    fs::set_permissions(second.path("config/app.php"), fs::Permissions::from_mode(0o600)).expect("modes can be set");
    second.output = second.path("dist");
    second.run().passed();

    let bytes = |app: &App| fs::read(app.bundle()).expect("it was written");
    assert!(bytes(&first) == bytes(&second));
}

#[test]
fn f17_bundle_never_contains_itself() {
    let sizes: Vec<usize> = ["dist", "", "public/dist", ".gated-deploy"]
        .iter()
        .map(|output| {
            let mut app = App::sound();
            app.output = app.path(output);
            app.run().passed();
            // A second time, with the first bundle lying there.
            let manifest = app.manifest();
            assert!(!manifest.files.keys().any(|path| path.contains("deployment-bundle-")), "output in `{output}`");
            manifest.files.len()
        })
        .collect();
    assert!(sizes.iter().all(|size| *size == App::sound().manifest().files.len()), "{sizes:?}");
}

#[test]
fn f17_bundle_never_contains_itself_through_a_link() {
    let mut app = App::sound();
    app.put("dist/notes.txt", "what else lies in the output folder");
    app.output = app.workspace().join("elsewhere");
    symlink(app.path("dist"), &app.output).expect("links can be made");
    app.run().passed();
    assert!(!app.manifest().files.keys().any(|path| path.starts_with("dist/")));
}

#[test]
fn f17_an_output_folder_that_hides_the_app_is_noticed() {
    let mut app = App::sound();
    app.output = app.path("public");
    let text = app.run().refusal_text();
    assert!(text.contains("public/index.php: would be left out of the bundle (the output folder)"), "{text}");
}

/// Looks at the app, lets `change` happen, and packs it.
fn pack_after(app: &App, change: impl FnOnce()) -> Result<pack::Packed, gated_deploy::domain::Failure> {
    let mut findings = Findings::default();
    let tree = Tree::look(&app.source(), &app.output, &[], &mut findings, &Pace::default()).expect("it can be read");
    let manifest = pack::manifest(&tree, &commit());
    change();
    pack::write(&tree, &manifest, &Files::in_folder(&app.output, &commit()), &Pace::default())
}

#[test]
fn f18_a_file_that_changes_under_our_hands_is_named() {
    let app = App::sound();
    pack_after(&app, || {}).expect("nothing changes");

    let path = app.path("config/app.php");
    let old = fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("it is there");
    let text = fs::read_to_string(&path).expect("it is text");
    let rewrite = |text: &str| {
        fs::write(&path, text).expect("files can be written");
        // As an editor or a copy that keeps times would.
        File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("times can be set");
    };
    let changes: [(&str, &dyn Fn()); 5] = [
        ("same size, same time", &|| rewrite(&text.replace("Shop", "Stop"))),
        ("longer", &|| rewrite(&format!("{text}{text}"))),
        ("shorter", &|| rewrite("<?php")),
        ("gone", &|| fs::remove_file(&path).expect("it is there")),
        ("a link", &|| {
            fs::remove_file(&path).expect("it is there");
            symlink("/etc/passwd", &path).expect("links can be made");
        }),
    ];
    for (what, change) in changes {
        let _ = fs::remove_file(&path);
        rewrite(&text);
        let failure = pack_after(&app, change).expect_err(what);
        assert_eq!(failure.doing, "packing config/app.php", "{what}: {failure}");
        assert!(failure.hint.is_some(), "{what}");
        assert!(!app.bundle().exists(), "{what}: no bundle of an earlier run is left to be taken for this one");
    }
}

#[test]
fn a_cancelled_run_leaves_nothing_behind() {
    let app = App::sound();
    // Large enough to be in the middle of it, and nothing that can be deflated quickly.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut noise = Vec::new();
    while noise.len() < 24 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    app.put("public/film.bin", noise);
    let (cancel, cancelled) = watch::channel(false);
    let unfinished = app.output.join(format!(".deployment-bundle-{COMMIT}.tar.gz.part"));
    let watcher = thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !unfinished.exists() {
            assert!(Instant::now() < deadline, "packing began");
            thread::yield_now();
        }
        cancel.send(true).expect("the run listens");
    });
    let run = app::run(app.inputs(), cancelled);
    watcher.join().expect("packing began");
    let Outcome::Refused { at, cause, .. } = &run.outcome else { panic!("it was cancelled: {:?}", run.outcome) };
    assert_eq!((at.as_str(), cause.cause.as_str()), ("pack-bundle", "the run was cancelled"));
    assert_eq!(cause.code, "cancelled");
    assert_eq!(app.written(), Vec::<String>::new());
    assert_eq!(run.bundle_fact(), None);
}

#[test]
fn an_output_folder_that_cannot_be_made_is_told() {
    let mut app = App::sound();
    fs::write(app.workspace().join("file"), "x").expect("files can be written");
    app.output = app.workspace().join("file/out");
    let run = app.run();
    assert_eq!(run.outcome.exit_code(), 5);
    let failure = run.outcome.cause().expect("it failed");
    assert!(failure.doing.starts_with("writing ") && failure.hint.is_some(), "{failure}");
    assert_eq!(failure.code, "output-dir-unwritable");
    assert!(Path::new(&app.workspace().join("file")).is_file());
}
