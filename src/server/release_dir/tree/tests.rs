//! The programs for the server, in this machine's own `/bin/sh`, on bundles that were packed and read as for a release.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::*;
use crate::{
    bundle::{
        check::Findings,
        pace::Pace,
        pack::{self, Files},
        read::{self, Limits},
        tree::Tree,
    },
    domain::bundle::{Listing, written_through_a_link},
};

const PHOTO: &str = "a photo of a customer";

/// A server's folder, and a tree to release.
struct Place {
    folder: TempDir,
    shared: Vec<String>,
}

/// An uploaded bundle, and what was read in it.
struct Uploaded {
    manifest: Manifest,
    tree: Listing,
}

impl Place {
    fn new(shared: &[&str]) -> Self {
        let this = Self {
            folder: tempfile::tempdir().expect("a folder"),
            shared: shared.iter().map(|path| (*path).to_owned()).collect(),
        };
        this.put("base/shared/.env/staging.env", "APP_KEY=x")
            .put("tree/artisan", "<?php")
            .put("tree/app/a.php", "<?php // a");
        this.put("tree/public/index.php", "<?php").put("tree/bootstrap/app.php", "<?php");
        fs::set_permissions(this.at("tree/artisan"), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir_all(this.at("tree/empty")).expect("a folder");
        this
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn remote(&self, path: &str) -> RemotePath {
        self.at(path).to_str().expect("UTF-8").parse().expect("a path")
    }

    fn put(&self, path: &str, contents: &str) -> &Self {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, contents).expect("a file");
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.at(path);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        symlink(target, path).expect("a link");
        self
    }

    /// Packs the tree, and puts the bundle where an upload ends.
    fn upload(&self) -> Uploaded {
        let (commit, pace) = ("0".repeat(40).parse().expect("a commit"), Pace::default());
        let (source, output) = (self.at("tree"), self.at("out"));
        let mut findings = Findings::default();
        let tree = Tree::look(&source, &output, &[], &mut findings, &pace).expect("the tree");
        let files = Files::in_folder(&output, &commit);
        pack::write(&tree, &pack::manifest(&tree, &commit), &files, &pace).expect("the bundle");
        let to = File::create(self.at("base/upload.tar.gz")).expect("a file");
        let read = read::rewrite_within(&files.bundle, to, &commit, &Limits::default(), &pace).expect("in order");
        Uploaded { tree: Listing::of(&read.manifest, &read.inspection.tree), manifest: read.manifest }
    }

    fn unpack(&self, uploaded: &Uploaded) -> Vec<String> {
        self.unpack_by(uploaded, "")
    }

    /// `before` is a piece of shell that stands in front of the program.
    fn unpack_by(&self, uploaded: &Uploaded, before: &str) -> Vec<String> {
        let unpacking = Unpacking {
            base: &self.remote("base"),
            releases: &self.remote("base/releases"),
            dir: &self.remote("base/releases/new"),
            file: &self.remote("base/upload.tar.gz"),
            shared: &self.shared,
            env_file: &self.remote("base/shared/.env/staging.env"),
            kib: 1,
            inodes: 1,
            tree: &uploaded.tree,
            part: None,
        };
        ran(unpacking.script().var("LOCK", "").var("LOCK_NONCE", ""), before)
    }

    fn differences(&self, uploaded: &Uploaded) -> Vec<String> {
        let said = ran(differs_script(&self.remote("base/releases/new"), &uploaded.tree), "");
        differences(said.iter().filter_map(|record| record.strip_prefix("differs=")))
    }
}

/// The records of the answer, without the marks around them.
fn ran(script: Script, before: &str) -> Vec<String> {
    let mut shell = Command::new("/bin/sh")
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("a shell");
    let text = script.text("1").replacen("program() {\n", &format!("program() {{\n{before}\n"), 1);
    shell.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let said = shell.wait_with_output().expect("it ends").stdout;
    let said = String::from_utf8(said).expect("UTF-8");
    let records =
        said.split_terminator('\0').filter(|record| !record.starts_with("begin=") && !record.starts_with("end="));
    records.map(str::to_owned).collect()
}

#[test]
fn what_was_unpacked_is_what_was_read_and_shared_folders_are_linked() {
    let place = Place::new(&["storage", "public/uploads"]);
    place
        .put("tree/na me/ö\\n'\"$(x).php", "odd")
        .put("tree/-", "a dash")
        .link("tree/public/media", "../storage/app/media");
    let uploaded = place.upload();
    assert_eq!(place.unpack(&uploaded), ["files=7"]);
    assert_eq!(fs::read_link(place.at("base/releases/new/storage")).expect("a link"), place.at("base/shared/storage"));
    let uploads = fs::read_link(place.at("base/releases/new/public/uploads")).expect("a link");
    assert_eq!(uploads, place.at("base/shared/public/uploads"));
    assert!(!place.at("base/upload.tar.gz").exists());
}

/// SE2: a `tar` that does anything else than what we read, in each way that counts.
#[test]
fn se2_a_folder_that_is_not_what_was_read_is_refused_with_its_paths() {
    let cases = [
        ("echo '<?php' >\"$DIR/public/shell.php\"", "public/shell.php is not in the bundle"),
        ("ln -s ../../shared/.env \"$DIR/public/env\"", "public/env is not in the bundle"),
        ("mkdir \"$DIR/more\"", "more is not in the bundle"),
        ("mkfifo \"$DIR/pipe\"", "pipe is not in the bundle"),
        ("echo '<?php' >\"$DIR/a\nb\"", "a?b is not in the bundle"),
        ("rm \"$DIR/app/a.php\"", "app/a.php is missing"),
        ("rmdir \"$DIR/empty\"", "empty is missing"),
        ("echo '<?php // b' >\"$DIR/app/a.php\"", "app/a.php is another file, link or folder than in the bundle"),
        (
            "echo >>\"$DIR/.gated-deploy-manifest.json\"",
            ".gated-deploy-manifest.json is another file, link or folder than in the bundle",
        ),
        ("chmod -x \"$DIR/artisan\"", "artisan is another file, link or folder than in the bundle"),
        ("chmod +x \"$DIR/app/a.php\"", "app/a.php is another file, link or folder than in the bundle"),
        ("chmod u+s \"$DIR/artisan\"", "artisan is another file, link or folder than in the bundle"),
        ("ln -sfT index.php \"$DIR/public/link\"", "public/link is another file, link or folder than in the bundle"),
        (
            "rm \"$DIR/public/link\"; cp \"$DIR/artisan\" \"$DIR/public/link\"",
            "public/link is another file, link or folder than in the bundle",
        ),
    ];
    for (trick, problem) in cases {
        let place = Place::new(&["storage"]);
        place.link("tree/public/link", "../artisan");
        let uploaded = place.upload();
        let said = place.unpack_by(&uploaded, &format!("tar() {{ command tar \"$@\"; {trick}; }}"));
        assert!(said.len() == 1 && said[0].starts_with("differs="), "{trick}: {said:?}");
        assert!(!place.at("base/releases/new/storage").exists(), "{trick}: nothing is linked");
        assert_eq!(place.differences(&uploaded), [problem], "{trick}");
    }
}

#[test]
fn se2_of_many_paths_that_differ_ten_are_named() {
    let place = Place::new(&[]);
    let uploaded = place.upload();
    place.unpack_by(
        &uploaded,
        "tar() { command tar \"$@\"; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo x >\"$DIR/$n.php\"; done; }",
    );
    let lines = place.differences(&uploaded);
    assert_eq!((lines.len(), lines[10].as_str()), (11, "and 2 more"), "{lines:?}");
    assert_eq!(lines[0], "1.php is not in the bundle");
}

/// SE3, FD21: what users uploaded lies behind a link of the bundle, where a shared folder is to be.
#[test]
fn se3_fd21_nothing_is_removed_or_made_through_a_link_of_the_bundle() {
    let cases = [
        (["storage", "public/uploads"], "tree/public", "storage/app/public", "storage/app/public/uploads"),
        (["storage", "public/media/uploads"], "tree/public/media", "../storage/app/media", "storage/app/media/uploads"),
    ];
    for (shared, link, target, photo) in cases {
        let place = Place::new(&shared);
        place.link(link, target).put(&format!("base/shared/{photo}/photo.jpg"), PHOTO);
        let uploaded = place.upload();
        let problem = written_through_a_link(&uploaded.manifest, &place.shared).expect("refused before the upload");
        assert!(problem.contains("is a link to") && problem.contains(shared[1]), "{problem}");

        let said = place.unpack(&uploaded);
        let at = place.at("base/releases/new").join(link.strip_prefix("tree/").expect("in the tree"));
        let link = format!("value=link={}", at.display());
        assert_eq!(said, ["refused=link-in-build".to_owned(), link, format!("value=path={}", shared[1])]);
        let kept = fs::read_to_string(place.at(&format!("base/shared/{photo}/photo.jpg")));
        assert_eq!(kept.ok().as_deref(), Some(PHOTO), "users' files stay");
    }
}

#[test]
fn se3_no_folder_is_made_behind_a_link_at_bootstrap() {
    for (link, target, made) in
        [("bootstrap", "storage/app", "app/cache"), ("bootstrap/cache", "../storage/app", "app/packages.php")]
    {
        let place = Place::new(&["storage"]);
        place.link(&format!("tree/{link}"), target);
        let uploaded = place.upload();
        assert!(written_through_a_link(&uploaded.manifest, &place.shared).is_some(), "{link}");
        let said = place.unpack(&uploaded);
        assert!(said[0].starts_with("refused="), "{link}: {said:?}");
        assert!(!place.at(&format!("base/shared/storage/{made}")).exists(), "{link}");
    }
}

/// A link in the very place of a shared folder is replaced; one that leads into a shared folder stays.
#[test]
fn a_link_in_the_place_of_a_shared_folder_is_no_danger() {
    let place = Place::new(&["storage", "public/uploads"]);
    place.link("tree/public/uploads", "../app").link("tree/public/files", "../storage/app/public");
    let uploaded = place.upload();
    assert_eq!(written_through_a_link(&uploaded.manifest, &place.shared), None);
    place.unpack(&uploaded);
    let uploads = fs::read_link(place.at("base/releases/new/public/uploads")).expect("a link");
    assert_eq!(uploads, place.at("base/shared/public/uploads"));
    assert!(place.at("base/releases/new/app/a.php").exists());
}

/// A part of a bundle is completed from files that a bundle may hold. Nothing else of the live release is read: a file with holes may say that it has
/// a terabyte.
#[test]
fn the_live_release_offers_what_a_bundle_may_hold_and_nothing_larger_is_read() {
    let place = Place::new(&[]);
    place.put("live/artisan", "<?php").put("live/public/index.php", "<?php").put("live/a\u{20ac} b\r.txt", "x");
    place.put("live/private.txt", "x").put("live/bootstrap/cache/config.php", "<?php").put("live/two\nlines", "x");
    place.link("live/public/link.php", "index.php");
    fs::set_permissions(place.at("live/artisan"), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(place.at("live/private.txt"), fs::Permissions::from_mode(0o600)).expect("a mode");
    File::create(place.at("live/holes")).and_then(|file| file.set_len(1 << 40)).expect("a file with holes");
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"odd\xff");
    fs::write(place.at("live").join(odd), "x").expect("a name that is not UTF-8");

    let script = Script::new("offer", delivery::OFFER).var("LIVE", place.remote("live").as_str()).var("LARGEST", "5");
    let said = ran(script, "");

    let offered = said.first().and_then(|record| record.strip_prefix("offered=")).expect("an offer");
    let offered = crate::server::release_dir::part::offered(offered).expect("files");
    let found: Vec<(&str, bool)> = offered.iter().map(|(path, file)| (path.as_str(), file.executable)).collect();
    assert_eq!(found, [("artisan", true), ("a\u{20ac} b\r.txt", false), ("public/index.php", false)]);
    let digest = crate::domain::Sha256Digest::of(b"<?php");
    assert!(digest.as_str().starts_with(&offered["artisan"].digits));
}
