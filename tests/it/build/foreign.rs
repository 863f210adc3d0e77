//! Bundles that somebody else made: the reading side believes nothing (F9, F10, F18, F27).

use std::{fs, io::Write as _, path::Path, process::Command};

use flate2::{Compression, write::GzEncoder};
use gated_deploy::{
    bundle::{
        pace::Pace,
        read::{self, Limits},
    },
    domain::{
        Failure, FailureKind, Sha256Digest,
        bundle::{FileEntry, MANIFEST_PATH, Manifest, PhpVersions},
    },
};
use tar::{Builder, EntryType, Header};

use super::app::{App, commit, private_key, tool};

/// A bundle that is made by hand.
struct Forge {
    manifest: Manifest,
    tar: Builder<Vec<u8>>,
}

fn header(kind: EntryType, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(match kind {
        EntryType::Directory => 0o755,
        EntryType::Symlink => 0o777,
        _ => 0o644,
    });
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(946_684_800);
    header
}

/// A name as it stands in the header, without the checks of the library.
fn raw_name(header: &mut Header, name: &str) {
    let field = &mut header.as_old_mut().name;
    field.fill(0);
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
}

impl Forge {
    /// Its manifest names `app.php` ("hello") and a link `link` to it.
    fn new() -> Self {
        let file = FileEntry { sha256: Sha256Digest::of("hello"), size: 5, executable: false };
        let manifest = Manifest {
            version: Manifest::VERSION,
            commit: commit(),
            php: PhpVersions::default(),
            locks: Default::default(),
            files: [("app.php".to_owned(), file)].into(),
            links: [("link".to_owned(), "app.php".to_owned())].into(),
        };
        Self { manifest, tar: Builder::new(Vec::new()) }
    }

    fn raw(mut self, kind: EntryType, name: &str, target: Option<&str>, contents: &str) -> Self {
        let mut header = header(kind, contents.len());
        if let Some(target) = target {
            header.set_link_name_literal(target).expect("it is short");
        }
        raw_name(&mut header, name);
        self.tar.append(&header, contents.as_bytes()).expect("memory takes everything");
        self
    }

    fn with_manifest(self) -> Self {
        let json = serde_json::to_string(&self.manifest).expect("it serialises");
        self.raw(EntryType::Regular, MANIFEST_PATH, None, &json)
    }

    fn file(self, name: &str, contents: &str) -> Self {
        self.raw(EntryType::Regular, name, None, contents)
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.raw(EntryType::Symlink, name, Some(target), "")
    }

    /// What the manifest names, in order.
    fn rest(self) -> Self {
        self.file("app.php", "hello").link("link", "app.php")
    }

    fn change(mut self, change: impl FnOnce(&mut Manifest)) -> Self {
        change(&mut self.manifest);
        self
    }

    fn bytes(self) -> Vec<u8> {
        gzip(&self.tar.into_inner().expect("memory takes everything"))
    }

    fn read(self) -> Result<(Manifest, read::Inspection), Failure> {
        read_bytes(&self.bytes())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).expect("memory takes everything");
    gzip.finish().expect("memory takes everything")
}

fn read_bytes(bytes: &[u8]) -> Result<(Manifest, read::Inspection), Failure> {
    read_within(bytes, &Limits::default())
}

fn read_within(bytes: &[u8], limits: &Limits) -> Result<(Manifest, read::Inspection), Failure> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bundle.tar.gz");
    fs::write(&path, bytes).expect("files can be written");
    read::inspect_within(&path, limits, &Pace::default())
}

#[track_caller]
fn refused(what: &str, read: Result<(Manifest, read::Inspection), Failure>, cause: &str) {
    let failure = match read {
        Ok(_) => panic!("{what}: it was accepted"),
        Err(failure) => failure,
    };
    assert_eq!(failure.kind, FailureKind::Refused, "{what}: {failure}");
    assert!(["bundle-invalid", "bundle-damaged"].contains(&&*failure.code), "{what}: {}", failure.code);
    assert!(failure.cause.contains(cause), "{what}: `{cause}` in `{}`", failure.cause);
    assert!(failure.doing.contains("bundle.tar.gz"), "{what}: {failure}");
    assert!(failure.hint.is_some(), "{what}: {failure}");
}

#[test]
fn a_bundle_in_order_is_read_whole() {
    let forge = Forge::new().with_manifest().raw(EntryType::Directory, "empty/", None, "").rest();
    let bytes = forge.bytes();
    let (manifest, inspection) = read_bytes(&bytes).expect("it is in order");
    assert_eq!(manifest.commit, commit());
    assert_eq!((inspection.files, inspection.links, inspection.folders, inspection.unpacked), (1, 1, 1, 5));
    assert_eq!((inspection.sha256, inspection.size), (Sha256Digest::of(&bytes), bytes.len() as u64));
}

#[test]
fn f27_names_that_leave_the_release_are_refused() {
    for (name, cause) in [
        ("/etc/passwd", "absolute"),
        ("../evil.php", "`..`"),
        ("app/../../evil.php", "`..`"),
        ("./app.php", "`.`"),
        ("app//x.php", "slash"),
        ("bell\u{7}.php", "control characters"),
        ("", "empty"),
    ] {
        refused(name, Forge::new().with_manifest().file(name, "x").rest().read(), cause);
        let manifest = Forge::new().change(|manifest| {
            let file = manifest.files["app.php"].clone();
            manifest.files.insert(name.to_owned(), file);
        });
        refused(name, manifest.with_manifest().rest().read(), cause);
    }
    let mut forge = Forge::new().with_manifest();
    let mut odd = header(EntryType::Regular, 0);
    odd.as_old_mut().name[..4].copy_from_slice(b"a\xff.b");
    odd.set_cksum();
    forge.tar.append(&odd, std::io::empty()).expect("memory takes everything");
    refused("not UTF-8", forge.rest().read(), "is not UTF-8");
}

#[test]
fn f27_links_that_leave_the_release_are_refused() {
    for (target, cause) in [
        ("/etc", "absolute"),
        ("../x", "outside the source folder"),
        ("app/../../x", "`..` after a folder"),
        ("", "target is empty"),
    ] {
        let forge = Forge::new().change(|manifest| {
            manifest.links.insert("link".to_owned(), target.to_owned());
        });
        refused(target, forge.with_manifest().file("app.php", "hello").link("link", target).read(), cause);
    }
    let forge = Forge::new().with_manifest().file("app.php", "hello").link("link", "../../etc");
    refused("another target than the manifest's", forge.read(), "the manifest says `app.php`");
    let through = Forge::new().change(|manifest| {
        let file = manifest.files["app.php"].clone();
        manifest.files.insert("link/evil.php".to_owned(), file);
    });
    refused(
        "a file behind a link",
        through.with_manifest().rest().file("link/evil.php", "hello").read(),
        "below `link`",
    );
    let through = Forge::new().with_manifest().rest().raw(EntryType::Directory, "link/", None, "");
    refused("a folder in a link's place", through.read(), "not a folder");
}

#[test]
fn f27_hard_links_devices_and_odd_kinds_are_refused() {
    let cases = [
        (EntryType::Link, "is a hard link"),
        (EntryType::Char, "is a device"),
        (EntryType::Block, "is a device"),
        (EntryType::Fifo, "is a device"),
        (EntryType::GNUSparse, "not allowed in a bundle"),
        (EntryType::XHeader, "not allowed in a bundle"),
        (EntryType::XGlobalHeader, "not allowed in a bundle"),
        (EntryType::Continuous, "not allowed in a bundle"),
    ];
    for (kind, cause) in cases {
        refused(cause, Forge::new().with_manifest().raw(kind, "app.php", Some("link"), "").read(), cause);
    }
}

#[test]
fn f27_setuid_bits_and_writable_files_are_refused() {
    for mode in [0o4755, 0o2755, 0o1644, 0o666, 0o755, 0o600] {
        let mut forge = Forge::new().with_manifest();
        let mut odd = header(EntryType::Regular, 5);
        odd.set_mode(mode);
        raw_name(&mut odd, "app.php");
        forge.tar.append(&odd, "hello".as_bytes()).expect("memory takes everything");
        refused(&format!("{mode:o}"), forge.link("link", "app.php").read(), &format!("has the mode {mode:04o}"));
    }
}

#[test]
fn f9_f10_only_what_the_manifest_names_and_all_of_it() {
    refused(
        "one too many",
        Forge::new().with_manifest().rest().file("shell.php", "x").read(),
        "`shell.php`, which its manifest does not name",
    );
    refused(
        "a link too many",
        Forge::new().with_manifest().rest().link("extra", "app.php").read(),
        "`extra`, which its manifest",
    );
    refused("a file missing", Forge::new().with_manifest().link("link", "app.php").read(), "the first is `app.php`");
    refused("a link missing", Forge::new().with_manifest().file("app.php", "hello").read(), "the first is `link`");
    refused("twice", Forge::new().with_manifest().rest().file("app.php", "hello").read(), "`app.php` twice");
    refused("a link twice", Forge::new().with_manifest().rest().link("link", "app.php").read(), "`link` twice");
    let folders = Forge::new().with_manifest().rest().raw(EntryType::Directory, "a/", None, "").raw(
        EntryType::Directory,
        "a",
        None,
        "",
    );
    refused("a folder twice", folders.read(), "`a` twice");
    refused("a link for a file", Forge::new().with_manifest().link("app.php", "link").read(), "another type");
    refused("a file for a link", Forge::new().with_manifest().file("link", "x").read(), "another type");
    let cuckoo = Forge::new().with_manifest().rest().with_manifest();
    refused("a second manifest", cuckoo.read(), "twice");
    refused(
        "other contents",
        Forge::new().with_manifest().file("app.php", "hullo").read(),
        "`app.php` has the SHA-256",
    );
    refused(
        "other size",
        Forge::new().with_manifest().file("app.php", "hello!").read(),
        "`app.php` has 6 bytes, but the manifest says 5",
    );
    refused(
        "a fat folder",
        Forge::new().with_manifest().raw(EntryType::Directory, "a/", None, "x").read(),
        "not a file but has contents",
    );
}

#[test]
fn f9_a_bundle_without_a_manifest_that_we_know_is_refused() {
    refused("no manifest", Forge::new().rest().read(), "`build-gate` did not write it");
    refused(
        "manifest second",
        Forge::new().file("app.php", "hello").with_manifest().read(),
        "first entry is `app.php`",
    );
    refused("empty archive", read_bytes(&gzip(&[0; 1024])), "it is empty");
    refused("no JSON", Forge::new().file(MANIFEST_PATH, "{").read(), "cannot be read");
    refused("no version", Forge::new().file(MANIFEST_PATH, "{}").read(), "missing field `version`");
    let newer = Forge::new().file(MANIFEST_PATH, r#"{"version": 2, "something": "else"}"#);
    refused("newer version", newer.read(), "version 2, but this gated-deploy reads version 1");
    let long = Limits { manifest: 10, ..Limits::default() };
    refused("long manifest", read_within(&Forge::new().with_manifest().rest().bytes(), &long), "more than 10");
}

#[test]
fn f27_archive_bombs_are_refused_before_they_unfold() {
    let bomb = Forge::new().change(|manifest| {
        manifest
            .files
            .insert("bomb".to_owned(), FileEntry { sha256: Sha256Digest::of(""), size: 9 << 30, executable: false });
    });
    refused("announced", bomb.with_manifest().rest().read(), "declares more than");

    let limits = Limits { unpacked: 100_000, ..Limits::default() };
    let lying = Forge::new().with_manifest().rest().file("bomb", &"0".repeat(200_000));
    refused("not announced", read_within(&lying.bytes(), &limits), "does not name");

    let zeros = "0".repeat(70 << 20);
    let dense = Forge::new().change(|manifest| {
        let bomb = FileEntry { sha256: Sha256Digest::of(&zeros), size: zeros.len() as u64, executable: false };
        manifest.files.insert("bomb".to_owned(), bomb);
    });
    refused("too dense", dense.with_manifest().rest().file("bomb", &zeros).read(), "an archive bomb");

    let few = Limits { entries: 3, ..Limits::default() };
    let many = Forge::new().with_manifest().rest().raw(EntryType::Directory, "a/", None, "").raw(
        EntryType::Directory,
        "b/",
        None,
        "",
    );
    refused("too many entries", read_within(&many.bytes(), &few), "more than 3 entries");

    let name = Forge::new().with_manifest().raw(EntryType::GNULongName, "././@LongLink", None, &"a".repeat(100_000));
    refused("an endless name", name.rest().read(), "invalid file name");

    let limits = Limits { unpacked: 5000, ..Limits::default() };
    let padded =
        [Forge::new().with_manifest().rest().tar.into_inner().expect("memory takes everything"), vec![0; 100_000]]
            .concat();
    refused("endless padding", read_within(&gzip(&padded), &limits), "unpacks to more than 5000 bytes");
}

#[test]
fn f18_truncated_and_damaged_bundles_are_told_from_each_other() {
    let whole = Forge::new().with_manifest().rest().bytes();
    for length in [0, 5, 12, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let read = read_bytes(&whole[..length]);
        refused(&format!("{length} of {} bytes", whole.len()), read, "it is incomplete");
    }
    let mut flipped = whole.clone();
    let at = whole.len() - 6;
    flipped[at] ^= 1;
    refused("check sum", read_bytes(&flipped), "damaged");
    refused("no gzip", read_bytes(b"<html>502 Bad Gateway</html>"), "not a gzip-compressed tar");
    refused("no tar", read_bytes(&gzip(&[7; 2048])), "not a gzip-compressed tar");
    refused(
        "garbage behind",
        read_bytes(&[whole.clone(), b"x".to_vec()].concat()),
        "data after the end of the compressed data",
    );
    refused(
        "a second member",
        read_bytes(&[whole.clone(), whole].concat()),
        "data after the end of the compressed data",
    );
    let mut tar = Forge::new().with_manifest().rest().tar.into_inner().expect("memory takes everything");
    tar.extend_from_slice(&[b'x'; 512]);
    refused("garbage inside", read_bytes(&gzip(&tar)), "data after the end of the archive");
}

#[test]
fn any_single_flipped_bit_is_noticed() {
    let app = App::sound();
    app.run().passed();
    let whole = fs::read(app.bundle()).expect("it was written");
    let (_, known) = read_bytes(&whole).expect("it is in order");
    for at in (0..whole.len()).step_by(7) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        // The gzip header has bytes that mean nothing; whoever compares digests notices those.
        match read_bytes(&flipped) {
            Ok((_, inspection)) => assert!(at < 10 && inspection.sha256 != known.sha256, "byte {at}"),
            Err(failure) => assert_eq!(failure.kind, FailureKind::Refused, "byte {at}: {failure}"),
        }
    }
}

#[test]
fn a_bundle_that_is_not_there_is_no_refusal() {
    let failure = read::inspect(Path::new("/nonexistent/bundle.tar.gz")).expect_err("it is not there");
    assert_eq!((&*failure.code, failure.kind), ("runner-file-error", FailureKind::World));
    assert!(failure.doing.contains("/nonexistent/bundle.tar.gz"));
}

/// Numbers that tars read differently: GNU tar takes `+` for base 64, the `tar` crate for a sign.
#[test]
fn se2_numbers_that_two_tars_read_differently_are_refused() {
    // Name, mode, owner, group, size and time of a header, and where each stands.
    let fields = [(100, 8, "mode"), (108, 8, "owner"), (116, 8, "group"), (124, 12, "size"), (136, 12, "time")];
    let numbers: [&[u8]; 8] =
        [b"+10", b"-1", b"0x5", b"5 5", b"\t5", b"\x80\0\0\0\0\0\0\x05", b"\xff\xff\xff\xff\xff\xff\xff\xff", b""];
    for (at, length, what) in fields {
        for number in numbers {
            let mut odd = header(EntryType::Regular, 5);
            raw_name(&mut odd, "app.php");
            let field = &mut odd.as_mut_bytes()[at..at + length];
            field.fill(0);
            field[..number.len()].copy_from_slice(number);
            odd.set_cksum();
            let mut forge = Forge::new().with_manifest();
            forge.tar.append(&odd, "hello".as_bytes()).expect("memory takes everything");
            let bytes = forge.link("link", "app.php").bytes();
            let cause = format!("the {what} of `app.php` is `{}", number.escape_ascii());
            refused(&cause, read_bytes(&bytes), &cause);
            let failure = rewritten(&bytes).0.expect_err("refused before the upload, too");
            assert!(failure.cause.contains(&cause), "{failure}");
        }
    }
}

/// The bundle of SE2: by the check's tar its entry has 8 bytes, by GNU tar 3,444, in which two more entries hide.
#[test]
fn se2_entries_do_not_hide_in_the_contents_of_another() {
    let mut forge = Forge::new().with_manifest().rest();
    let mut odd = header(EntryType::Regular, 8);
    raw_name(&mut odd, "notes.txt");
    odd.as_old_mut().size.copy_from_slice(b"+10\0\0\0\0\0\0\0\0\0");
    odd.set_cksum();
    forge.tar.append(&odd, "8 bytes!".as_bytes()).expect("memory takes everything");
    let bytes = forge.file("public/shell.php", "<?php").bytes();
    let failure = rewritten(&bytes).0.expect_err("no tar decides this for us");
    assert!(failure.cause.contains("which is not an octal number"), "{failure}");
}

/// What some readers see and others do not.
#[test]
fn se2_headers_and_ends_that_leave_a_choice_are_refused() {
    let change = |what: &str, change: &dyn Fn(&mut [u8]), cause: &str| {
        let mut odd = header(EntryType::Regular, 5);
        raw_name(&mut odd, "app.php");
        change(odd.as_mut_bytes());
        odd.set_cksum();
        let mut forge = Forge::new().with_manifest();
        forge.tar.append(&odd, "hello".as_bytes()).expect("memory takes everything");
        let bytes = forge.link("link", "app.php").bytes();
        refused(what, read_bytes(&bytes), cause);
        assert!(rewritten(&bytes).0.is_err(), "{what}");
    };
    change("a second name", &|header| header[20] = b'x', "data after the name");
    change("a sparse file", &|header| header[482] = 1, "has fields that are not allowed");
    change("a device's number", &|header| header[330] = b'7', "has fields that are not allowed");
    change("a target", &|header| header[157] = b'x', "is not a link but has a target");
    change("no magic", &|header| header[257..265].fill(0), "neither a GNU tar nor a POSIX header");
    change("another time", &|header| header[146] = b'7', "differs from what `build-gate` writes");
    change("an owner's name", &|header| header[265] = b'x', "differs from what `build-gate` writes");

    let tar = || Forge::new().with_manifest().rest().tar.into_inner().expect("memory takes everything");
    let whole = tar();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("no end", whole[..whole.len() - 1024].to_vec(), "it is incomplete"),
        ("half an end", whole[..whole.len() - 512].to_vec(), "it is incomplete"),
        ("a second archive", [whole.clone(), whole.clone()].concat(), "data after the end of the archive"),
        ("an end that is no block", [whole.clone(), vec![0; 3]].concat(), "not a whole number of blocks"),
        ("another padding", [whole.clone(), vec![0; 512]].concat(), "`build-gate` did not write it so"),
    ];
    for (what, bytes, cause) in cases {
        refused(what, read_bytes(&gzip(&bytes)), cause);
    }
    let mut between = whole;
    // The manifest's contents are padded with zeros.
    let at = between.windows(5).position(|five| five == b"hello").expect("its contents") + 6;
    between[at] = b'x';
    refused("something between two entries", read_bytes(&gzip(&between)), "data between two of its entries");
    let hidden = Forge::new().change(|manifest| {
        let file = manifest.files["app.php"].clone();
        manifest.files.insert("a/b.php".to_owned(), file);
    });
    let hidden = hidden.with_manifest().rest().file("a/b.php", "hello");
    refused("a folder that is not there", hidden.read(), "differs from what `build-gate` writes");
}

/// What the deployment reads and writes anew; the bytes that it would send.
fn rewritten(bytes: &[u8]) -> (Result<read::Rewritten, Failure>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, to) = (folder.path().join("bundle.tar.gz"), folder.path().join("sent.tar.gz"));
    fs::write(&path, bytes).expect("files can be written");
    let file = fs::File::create(&to).expect("files can be written");
    let read = read::rewrite_within(&path, file, &commit(), &Limits::default(), &Pace::default());
    (read, fs::read(&to).expect("it is there"))
}

#[test]
fn se2_our_own_bundles_are_sent_as_they_are() {
    let app = App::sound();
    app.executable("artisan").put(&format!("app/{0}/{0}.php", "ö".repeat(60)), "<?php").link("app/link", "../artisan");
    app.link("long", &format!("app/{0}/{0}.php", "ö".repeat(60)));
    app.run().passed();
    let whole = fs::read(app.bundle()).expect("it was written");
    let (read, sent) = rewritten(&whole);
    let read = read.expect("it is in order");
    assert_eq!((read.by, read.sent.sha256), (read::Maker::BuildGate, read.inspection.sha256));
    assert!(sent == whole, "byte by byte");
    // Another gzip around the same archive is no other archive.
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(whole.as_slice()), &mut tar).expect("it is gzip");
    let (read, sent) = rewritten(&gzip(&tar));
    assert_eq!(read.expect("it is in order").by, read::Maker::BuildGate);
    assert!(sent == whole, "compressed again, in our way");
    // One bit of the archive is.
    let at = tar.windows(7).position(|seven| seven == b"artisan").expect("its header") + 146;
    tar[at - 10] ^= 1;
    assert!(rewritten(&gzip(&tar)).0.is_err());
}

#[test]
fn se2_a_manifest_made_by_hand_allows_no_path_that_the_gate_refuses() {
    let secret = FileEntry { sha256: Sha256Digest::of("x"), size: 1, executable: false };
    for path in [".env", "public/.env", "docker/id_rsa", ".env.testing", ".npmrc"] {
        let named = || Forge::new().change(|manifest| drop(manifest.files.insert(path.to_owned(), secret.clone())));
        let ours = named().with_manifest().file(path, "x").rest();
        let plain = named().raw(EntryType::Directory, "./", None, "").with_manifest().file(path, "x").rest();
        for forge in [ours, plain] {
            let failure = rewritten(&forge.bytes()).0.expect_err(path);
            assert!(failure.cause.contains(&format!("`{path}`, which is not allowed in a release")), "{failure}");
        }
    }
}

const INSTALLED: &str = "vendor/composer/installed.json";

/// Composer took this package from a folder of the build machine.
const LOCAL: &str = r#"{"packages": [{"name": "acme/mail", "version": "1.2.0", "dist": {"type": "path"}}]}"#;

/// It is unknown where Composer took this package from.
const NO_TYPE: &str = r#"{"packages": [{"name": "acme/mail", "version": "1.2.0", "dist": {"url": "x"}}]}"#;

/// FD16, FD17, FD18: what plain tar packed of a tree is judged as `build-gate` judges the tree.
#[test]
fn fd20_of_a_plain_archive_samples_are_shipped_and_what_test_runs_left_is_not() {
    let key = private_key();
    let mut forge = Forge::new().raw(EntryType::Directory, "./", None, "");
    for (name, contents) in [
        ("artisan", "x"),
        (".env.testing", "DB_PASSWORD=x"),
        ("database/database.sqlite", "SQLite format 3"),
        (INSTALLED, r#"{"packages": [{"name": "firebase/php-jwt", "version": "6.0.0", "dist": {"type": "zip"}}]}"#),
        ("vendor/firebase/php-jwt/README.md", key.as_str()),
        ("vendor/pear/net_smtp/Net/SMTP.php", "<?php"),
    ] {
        forge = forge.file(&format!("./{name}"), contents);
    }
    let package = "./vendor/pear/net_smtp";
    forge = forge
        .link(&format!("{package}/README"), "README.rst")
        .link(&format!("{package}/README.rst"), "docs/guide.rst")
        .link(&format!("{package}/again"), "Net")
        // As `build-gate`, which finds nothing at these paths of its machine either.
        .link(&format!("{package}/absolute"), "/home/runner/work/shop/net_smtp")
        .link(&format!("{package}/outside"), "../../../../elsewhere")
        .link("./none", "docs/guide.rst");
    let (read, sent) = rewritten(&forge.bytes());
    let read = read.expect("it is in order");
    let (manifest, _) = read_bytes(&sent).expect("what is sent is in the form of build-gate");
    assert_eq!(manifest, read.manifest);
    let shipped: Vec<&str> = manifest.files.keys().chain(manifest.links.keys()).map(String::as_str).collect();
    let wanted = [
        "artisan",
        INSTALLED,
        "vendor/firebase/php-jwt/README.md",
        "vendor/pear/net_smtp/Net/SMTP.php",
        "none",
        "vendor/pear/net_smtp/again",
    ];
    assert_eq!(shipped, wanted);
    let read::Maker::TarOfATree(unchecked) = read.by else { panic!("it was tar: {:?}", read.by) };
    let left_out: Vec<&str> = unchecked.left_out.iter().map(|(path, _)| path.as_str()).collect();
    let dangling = ["README", "README.rst", "absolute", "outside"].map(|link| format!("vendor/pear/net_smtp/{link}"));
    let dangling: Vec<&str> = dangling.iter().map(String::as_str).collect();
    assert_eq!(left_out, [&[".env.testing", "database/database.sqlite"], &dangling[..]].concat());
    assert!(unchecked.key_note.expect("a note").contains("vendor/firebase/php-jwt/README.md"));
}

/// FD20: `tar -czf X -C tree .`, with the manifest of `build-gate` in the tree and without.
#[test]
fn fd20_a_bundle_that_plain_tar_made_is_written_anew() {
    for given in [true, false] {
        let app = App::sound();
        app.run().passed();
        let tree = tempfile::tempdir().expect("a folder");
        let bundle = app.bundle();
        let unpack = ["-xzf", bundle.to_str().expect("UTF-8"), "-C", tree.path().to_str().expect("UTF-8")];
        tool(Command::new("tar").args(unpack));
        if !given {
            fs::remove_file(tree.path().join(MANIFEST_PATH)).expect("it is there");
            fs::create_dir_all(tree.path().join("tests/Unit")).expect("a folder");
            fs::write(tree.path().join("tests/Unit/ATest.php"), "x").expect("a file");
        }
        let plain = tree.path().with_extension("tar.gz");
        let pack = ["-czf", plain.to_str().expect("UTF-8"), "-C", tree.path().to_str().expect("UTF-8"), "."];
        tool(Command::new("tar").args(pack));
        let bytes = fs::read(&plain).expect("it was written");
        fs::remove_file(&plain).expect("it is there");

        let (read, sent) = rewritten(&bytes);
        let read = read.expect("plain tar is read");
        assert_eq!(read.manifest, app.manifest(), "given: {given}");
        assert_eq!((&read.inspection.sha256, &read.sent.sha256), (&Sha256Digest::of(&bytes), &Sha256Digest::of(&sent)));
        let own = fs::read(app.bundle()).expect("it was written");
        let (manifest, inspection) = read_bytes(&sent).expect("what is sent is in the form of build-gate");
        let (_, known) = read_bytes(&own).expect("it is in order");
        assert_eq!((manifest, &inspection.tree), (app.manifest(), &known.tree), "the same tree in another order");
        match read.by {
            read::Maker::Tar => assert!(given),
            read::Maker::TarOfATree(unchecked) => {
                assert!(!given);
                assert_eq!(unchecked.left_out.len(), 1, "{unchecked:?}");
                assert_eq!(unchecked.left_out[0].0, "tests");
            }
            read::Maker::BuildGate => panic!("it was tar"),
        }
    }
}

#[test]
fn fd20_a_plain_archive_without_a_manifest_may_hold_no_secrets_and_nothing_twice() {
    let plain = |files: &[(&str, &str)]| {
        let forge = Forge::new().raw(EntryType::Directory, "./", None, "");
        let forge = files.iter().fold(forge, |forge, (name, contents)| forge.file(&format!("./{name}"), contents));
        rewritten(&forge.bytes()).0
    };
    let key = private_key();
    let read = plain(&[("artisan", "x"), ("composer.json", r#"{"require":{"php":"^8.2"}}"#)]).expect("in order");
    assert_eq!(read.manifest.php.required.as_deref(), Some("^8.2"));
    for (files, cause) in [
        (&[("artisan", "x"), (".env", "APP_KEY=x")][..], "`.env`, which is not allowed in a release"),
        (&[("artisan", "x"), ("docker/id_rsa", "x")], "`docker/id_rsa`, which is not allowed in a release"),
        (&[("artisan", "x"), ("config/jwt.php", &key)], "`config/jwt.php` contains a private key"),
        (&[("vendor/acme/mail/x.pem", &key), (INSTALLED, LOCAL)], "`vendor/acme/mail/x.pem` contains a private key"),
        // Composer 1's list, a place without a type, and no list at all: no package is known to be published.
        (&[("vendor/acme/mail/x.pem", &key), (INSTALLED, r#"[{"name": "acme/mail"}]"#)], "its package is unknown"),
        (&[("vendor/acme/mail/x.pem", &key), (INSTALLED, NO_TYPE)], "`vendor/acme/mail/x.pem` contains a private key"),
        (&[("vendor/acme/mail/x.pem", &key)], "vendor/composer/installed.json cannot be read"),
        (&[("artisan", "x"), ("artisan", "y")], "`artisan` twice"),
        (&[("artisan", "x"), ("artisan/x", "y")], "below `artisan`, which is not a folder"),
        (&[("../x", "y")], "`..`"),
    ] {
        let failure = plain(files).expect_err(cause);
        assert!(failure.cause.contains(cause), "{failure}");
    }
    let mut forge = Forge::new().raw(EntryType::Directory, "./", None, "");
    let json = serde_json::to_string(&forge.manifest).expect("it serialises");
    let mut odd = header(EntryType::Regular, json.len());
    odd.set_mode(0o755);
    raw_name(&mut odd, MANIFEST_PATH);
    forge.tar.append(&odd, json.as_bytes()).expect("memory takes everything");
    let failure = rewritten(&forge.rest().bytes()).0.expect_err("found by comparing with GNU tar");
    assert!(failure.cause.contains("has the mode 0755"), "{failure}");
    // A manifest that is there has to be true.
    let lying = Forge::new().raw(EntryType::Directory, "./", None, "").with_manifest().file("./app.php", "hullo");
    let failure = rewritten(&lying.link("./link", "app.php").bytes()).0.expect_err("another content");
    assert!(failure.cause.contains("`app.php` has the SHA-256"), "{failure}");
}
