//! What runs on the server, run in this machine's own shell: what the site's account can put in its way.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
    process::{Command, Stdio},
};

use gated_deploy::{
    domain::{
        Sha256Digest,
        gate::{FrontEnd, Must, gates},
    },
    server::release_dir::tree,
    transport::shell::Script,
};

use crate::support::{BINARY, give_access};

/// How a script ended.
struct Ran {
    /// Its records, one a line; the first and the last say how it began and ended.
    answer: Vec<String>,
    log: String,
}

impl Ran {
    fn get(&self, key: &str) -> Option<&str> {
        self.answer.iter().rev().find_map(|record| record.strip_prefix(key)?.strip_prefix('='))
    }

    fn all(&self, key: &str) -> Vec<&str> {
        self.answer.iter().filter_map(|record| record.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    /// A value of a refusal's text.
    fn value(&self, name: &str) -> Option<&str> {
        self.answer.iter().find_map(|record| record.strip_prefix("value=")?.strip_prefix(name)?.strip_prefix('='))
    }

    fn ended(&self) -> &str {
        self.get("end").and_then(|end| end.strip_prefix("n1:")).unwrap_or("not at all")
    }
}

/// Runs it; `tools` is looked into for programs first. A script that waits for what never comes has no end.
fn run(script: &Script, tools: &Path) -> Ran {
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").expect("PATH"));
    let mut shell = Command::new("timeout")
        .args(["60", "/bin/sh", "-s", "n1"])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    shell.stdin.take().expect("its input").write_all(script.text("n1").as_bytes()).expect("it reads");
    let output = shell.wait_with_output().expect("it ends");
    Ran {
        answer: String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn se9_what_would_stop_the_app_is_named_before_anything_changes() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    for place in ["shared/storage/logs", "shared/storage/framework", "current/bootstrap/cache"] {
        fs::create_dir_all(base.join(place)).expect("a folder");
    }
    fs::write(base.join("shared/.env"), "APP_ENV=staging\n").expect(".env");
    fifo(&base.join("shared/storage/logs/laravel.log"));
    fifo(&base.join("current/bootstrap/cache/services.php"));
    // What is advised to be removed is what was found: a name may have a line feed.
    fs::create_dir(base.join("shared/storage/logs/x\n")).expect("a folder");
    fifo(&base.join("shared/storage/logs/x\n/vmlinuz"));
    symlink("/nowhere/at/all", base.join("shared/storage/framework/views")).expect("a link");
    fs::write(base.join("shared/storage/framework/cache"), "a file").expect("a file");
    // A log that says it has a terabyte is nobody's business.
    fs::File::create(base.join("shared/storage/logs/big.log")).expect("a log").set_len(1 << 40).expect("its length");
    let look = Script::new("look", include_str!("../../src/server/survey/look.sh"))
        .var("BASE", text(base))
        .var("ENV_FILE", text(&base.join("shared/.env")))
        .var("PHP", "true")
        .list("SHARED", ["storage"]);
    let ran = run(&look, tools.path());
    assert_eq!(ran.ended(), "0", "{}", ran.log);
    let of = |key: &str| {
        let mut found: Vec<&str> = ran.all(key).into_iter().filter_map(|record| record.rsplit('/').next()).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(of("special"), ["laravel.log", "services.php", "vmlinuz"]);
    assert!(!ran.answer.iter().any(|record| record == "special=/vmlinuz"), "{:?}", ran.answer);
    assert_eq!(of("shared-dangling"), ["views"]);
    // What lies below a file cannot be there either, and is not distinguished.
    assert_eq!(of("shared-not-a-folder"), ["cache"]);
    assert!(ran.get("storage-free-kib").is_some_and(|free| free.parse::<u64>().is_ok()));
}

/// The look at who can write to these paths of a place, and to its logs.
fn access(base: &Path, paths: &[String]) -> Script {
    let at = |path: &str| text(&base.join(path)).to_owned();
    Script::new("access", include_str!("../../src/stages/shared/checks/access.sh"))
        .var("SHARED", at("shared"))
        .list("PATHS", paths.iter().cloned())
        .var("LOGS", at("shared/storage/logs"))
        .var("POOL_USER", "")
        .var("POOL_GROUP", "")
}

/// A path of the site that cannot be examined is said to be one, and costs no time.
#[test]
fn se9_where_a_link_of_the_site_leads_is_known_or_said_to_be_odd() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    fs::create_dir_all(base.join("shared/storage/logs")).expect("a folder");
    fs::create_dir(base.join("x\ny")).expect("a folder");
    symlink(base.join("x\ny"), base.join("shared/storage/framework")).expect("a link");
    let deep = base.join("d/".repeat(60));
    fs::create_dir_all(&deep).expect("folders");
    symlink(&deep, base.join("shared/storage/app")).expect("a link");
    fs::write(deep.join("f"), "").expect("a file");
    symlink(deep.join("f"), base.join("shared/storage/logs/a.log")).expect("a link");
    fs::write(base.join("shared/storage/logs/b=c.log"), "").expect("a log");
    let at = |path: &str| text(&base.join(path)).to_owned();
    let paths = ["shared/storage", "shared/storage/framework", "shared/storage/app"].map(at);
    let ran = run(&access(base, &paths), tools.path());
    assert_eq!((ran.ended(), ran.get("unread")), ("0", None), "{}", ran.log);
    let of = |key| ran.all(key);
    assert_eq!(of("odd"), [paths[1].as_str(), &paths[2]]);
    let log = at("shared/storage/logs/b=c.log");
    assert_eq!(of("log"), [log.as_str()], "a link among the logs is not followed");
    let real = base.canonicalize().expect("its path").join("shared/storage/logs/b=c.log");
    assert!(of("path").contains(&format!("{log}\n{}", text(&real)).as_str()), "{:?}", of("path"));
    assert!(of("node").iter().any(|node| node.ends_with(text(&real))), "{:?}", of("node"));
}

/// Nobody shall be advised to open the folder to which another account's link leads.
#[test]
fn se4_a_link_of_another_account_below_the_shared_folders_is_not_followed() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    for path in ["shared/storage/framework", "elsewhere/logs", "elsewhere/views"] {
        fs::create_dir_all(base.join(path)).expect("a folder");
    }
    symlink(base.join("elsewhere/logs"), base.join("shared/storage/logs")).expect("a link");
    symlink(base.join("elsewhere"), base.join("shared/storage/framework/theirs")).expect("a link");
    symlink(base.join("elsewhere"), base.join("shared/storage/app")).expect("a link");
    fs::write(base.join("elsewhere/logs/a.log"), "").expect("a log");
    let other =
        "case \"$*\" in '-c %u -- '*/app) echo 0 ;; '-c %u -- '*) echo 4711 ;; *) exec /usr/bin/stat \"$@\" ;; esac";
    program(tools.path(), "stat", other);
    let at = |path: &str| text(&base.join(path)).to_owned();
    let paths = ["storage", "storage/framework/theirs/views", "storage/app/views", "storage/logs"];
    let paths = paths.map(|path| at(&format!("shared/{path}")));
    let ran = run(&access(base, &paths), tools.path());
    assert_eq!(ran.ended(), "0", "{}", ran.log);
    let of = |key| ran.all(key);
    let found = |path: &str, link: &str, target: &str| format!("{path}\n{}\n{}", at(link), at(target));
    let foreign = [
        found(&paths[1], "shared/storage/framework/theirs", "elsewhere"),
        found(&paths[3], "shared/storage/logs", "elsewhere/logs"),
    ];
    assert_eq!(of("foreign"), foreign);
    assert!(of("log").is_empty(), "{:?}", of("log"));
    let known: Vec<&str> = of("path").into_iter().filter_map(|record| record.split('\n').next()).collect();
    assert_eq!(known, [&paths[0], &paths[2]], "a link that root made is followed");
}

#[test]
fn se9_a_full_storage_and_a_link_that_leads_nowhere_are_refusals_with_a_name() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    fs::create_dir_all(base.join("source/app")).expect("a bundle's folder");
    fs::write(base.join("source/app/a.php"), "<?php").expect("a file");
    fs::create_dir_all(base.join("shared/storage/framework")).expect("a folder");
    fs::write(base.join("shared/.env"), "APP_ENV=staging\n").expect(".env");
    let listed = concat!(
        include_str!("../../src/server/release_dir/listing.sh"),
        "tree=$(listing | sha256sum)\nput tree \"${tree%% *}\"\n"
    );
    let listed = run(&Script::new("listing", listed).var("DIR", text(&base.join("source"))), tools.path());
    let tree = listed.get("tree").expect("the digest of the tree").to_owned();
    let unpack = |name: &str| {
        let bundle = base.join("bundle.tar.gz");
        let packed = Command::new("tar").args(["-C", text(&base.join("source")), "-czf", text(&bundle), "."]).status();
        assert!(packed.expect("tar").success());
        let program = concat!(
            include_str!("../../src/server/release_dir/listing.sh"),
            include_str!("../../src/server/release_dir/unpack.sh")
        );
        Script::new("unpack", program)
            .var("BASE", text(base))
            .var("RELEASES", text(&base.join("releases")))
            .var("DIR", text(&base.join("releases").join(name)))
            .var("FILE", text(&bundle))
            .list("SHARED", ["storage"])
            .var("ENV_FILE", text(&base.join("shared/.env")))
            .var("KIB", "1")
            .var("INODES", "1")
            .var("LIVE", "")
            .var("TREE", &tree)
            .var("LOCK", "")
            .var("LOCK_NONCE", "")
    };
    program(tools.path(), "dd", "echo 'dd: error writing: Disk quota exceeded' >&2; exit 1");
    let full = run(&unpack("one"), tools.path());
    assert_eq!(full.get("refused"), Some("shared-no-room"), "{}", full.log);
    assert_eq!(full.value("path"), Some(text(&base.join("shared/storage"))), "{}", full.log);
    fs::remove_file(tools.path().join("dd")).expect("the program");

    fs::remove_dir_all(base.join("shared/storage/framework/views")).expect("the folder");
    symlink("/nowhere/at/all", base.join("shared/storage/framework/views")).expect("a link");
    let dangling = run(&unpack("two"), tools.path());
    assert_eq!(dangling.get("refused"), Some("dangling-link"), "{}", dangling.log);
    let path = dangling.value("path").unwrap_or_default();
    assert!(path.ends_with("storage/framework/views"), "{path} {}", dangling.log);

    fs::remove_file(base.join("shared/storage/framework/views")).expect("the link");
    let whole = run(&unpack("three"), tools.path());
    assert_eq!((whole.ended(), whole.get("files")), ("0", Some("1")), "{}", whole.log);
    let left: Vec<_> = fs::read_dir(base.join("shared/storage/framework"))
        .expect("the folder")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with(".gated-deploy"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Every account can fill `/tmp`, also between the first folder there and the ones in it.
#[test]
fn se9_a_private_folder_that_finds_no_room_is_a_refusal_with_a_name() {
    let (base, tools) = (folder(), folder());
    program(tools.path(), "mkdir", "case \"$*\" in */storage/*) exit 1 ;; esac\nexec /bin/mkdir \"$@\"");
    let script = Script::new("test", "private_folder \"$PLACE\"").var("PLACE", text(base.path()));
    let full = run(&script, tools.path());
    assert_eq!((full.ended(), full.get("refused")), ("10", Some("private-folder-unwritable")), "{}", full.log);
    assert_eq!(full.value("folder"), Some(text(base.path())), "{}", full.log);
    assert_eq!(fs::read_dir(base.path()).expect("the folder").count(), 0, "nothing is left");
}

#[test]
fn se9_no_file_in_the_live_release_stops_its_backup() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    let cache = base.join("live/bootstrap/cache");
    fs::create_dir_all(&cache).expect("a folder");
    fs::write(cache.join("two\nlines.php"), "<?php").expect("a file");
    fs::File::create(cache.join("big")).expect("a file").set_len(1 << 40).expect("its length");
    fifo(&cache.join("fifo"));
    let _socket = UnixListener::bind(cache.join("s")).expect("a socket");
    program(tools.path(), "php", "printf 'driver=none\\ndatabase=\\ntables=0\\nkib=0\\n' >&5");
    let backup = Script::new("backup", include_str!("../../src/server/backup/backup.sh"))
        .var("BACKUPS", text(&base.join("backups")))
        .var("DIR", text(&base.join("backups/one")))
        .var("TREE", text(&base.join("live")))
        .var("ENV_FILE", text(&base.join(".env")))
        .var("PHP", text(&tools.path().join("php")))
        .var("NGINX", "")
        .var("RELEASE", "one")
        .var("DATABASE_PHP", "");
    let ran = run(&backup, tools.path());
    assert_eq!((ran.ended(), ran.get("refused")), ("0", None), "{}", ran.log);
    assert_eq!(ran.get("file"), Some("app.tar.gz 6 entries"));
    assert!(ran.answer.iter().any(|record| record.starts_with("skipped=1 sockets in ")), "{:?}", ran.answer);
}

/// The signal is put where the app's cache of files lies; the site names that folder, and can put a link above it.
#[test]
fn the_workers_signal_follows_no_link_of_the_site_however_its_cache_is_named() {
    let (base, tools) = (folder(), folder());
    let base = base.path().canonicalize().expect("its path");
    for place in ["live", "shared/storage/framework", "cache", "victim"] {
        fs::create_dir_all(base.join(place)).expect("a folder");
    }
    symlink(base.join("shared/storage"), base.join("live/storage")).expect("the shared folder");
    symlink(base.join("victim"), base.join("shared/storage/framework/cache")).expect("a link of the site");
    let script = Script::new("workers", include_str!("../../src/server/services/workers.sh"))
        .var("DIR", text(&base.join("live")))
        .var("PHP", "php")
        .var("APP_PHP", "")
        .var("WORKERS_PHP", "");
    let signalled = |store: &Path| {
        let answer = format!(
            "cat >/dev/null; cd \"$GATED_DEPLOY_PRIVATE/storage/framework/cache/data\" && mkdir ab && echo 1 >ab/signal
            printf 'command=queue:restart\\nstatus=0\\nstore={}\\n' >&5",
            store.display()
        );
        program(tools.path(), "php", &answer);
        run(&script, tools.path())
    };
    let there = signalled(&base.join("cache"));
    assert_eq!((there.ended(), there.get("told")), ("0", Some("queue:restart")), "{}", there.log);
    assert!(base.join("cache/ab/signal").is_file());
    // Every link is another account's from here on.
    program(tools.path(), "stat", "case $* in *%u*) echo 33 ;; *) exec /usr/bin/stat \"$@\" ;; esac");
    for named in ["live/storage/framework/cache", "shared/storage/framework/cache"] {
        let refused = signalled(&base.join(named));
        assert_eq!(refused.get("refused"), Some("foreign-link"), "{named}: {}", refused.log);
        let link = base.join("shared/storage/framework/cache");
        assert_eq!(refused.value("path"), Some(text(&link)), "{named}");
        assert_eq!(fs::read_dir(base.join("victim")).expect("the folder").count(), 0, "{named}: nothing was written");
    }
}

/// Files of another account are counted by file: a name can have as many lines as its maker likes.
#[test]
fn a_foreign_file_counts_once_however_many_lines_its_name_has() {
    let (base, tools) = (folder(), folder());
    let base = base.path().canonicalize().expect("its path");
    fs::create_dir_all(base.join("releases/one")).expect("a release");
    symlink("releases/one", base.join("current")).expect("current");
    fs::write(base.join("releases/one/a\nb\nc.php"), "").expect("a file");
    // This account is another one from here on.
    program(tools.path(), "id", "echo nobody");
    let audit = Script::new("audit", include_str!("../../src/stages/audit/audit.sh"))
        .var("BASE", text(&base))
        .var("ENV_FILE", text(&base.join(".env")))
        .var("PHP", "php")
        .var("TOKEN_PHP", "");
    let ran = run(&audit, tools.path());
    // The folder of the release, and the file.
    assert_eq!((ran.ended(), ran.get("foreign-count")), ("0", Some("2")), "{}", ran.log);
    let named = ran.answer.iter().filter(|record| record.starts_with("foreign=")).count();
    assert_eq!(named, 2, "{:?}", ran.answer);
}

/// Root may write every ordinary file; a value of the kernel that nobody may change stands for such a ledger.
#[test]
fn a_ledger_that_cannot_be_written_is_refused_before_a_release_begins() {
    let (base, tools) = (folder(), folder());
    let ledger = base.path().join("ledger.jsonl");
    fs::write(&ledger, "").expect("a ledger");
    let look = |ledger: &Path| {
        let script = include_str!("../../src/server/ledger/ledger.sh");
        run(
            &Script::new("ledger", script)
                .var("LEDGER", text(ledger))
                .var("LINE", "")
                .var("LOCK", "")
                .var("LOCK_NONCE", ""),
            tools.path(),
        )
    };
    let ours = look(&ledger);
    assert_eq!((ours.ended(), ours.get("last")), ("0", Some("")), "{}", ours.log);
    let sealed = look(Path::new("/proc/sys/kernel/ostype"));
    assert_eq!(sealed.get("refused"), Some("ledger-unwritable"), "{}", sealed.log);
}

/// Runs `look.sh` on a base with one live release, and this `du`.
fn looked(base: &Path, tools: &Path, script: &'static str) -> Ran {
    fs::create_dir_all(base.join("releases/one/app")).expect("a release");
    fs::write(base.join("releases/one/app/a.php"), "x".repeat(9000)).expect("a file");
    let _ = symlink("releases/one", base.join("current"));
    let look = Script::new("look", script)
        .var("BASE", text(base))
        .var("ENV_FILE", text(&base.join(".env")))
        .var("PHP", "true")
        .list("SHARED", [""; 0]);
    run(&look, tools)
}

/// No free inode is no room; a file system that counts none has as many as it has room for.
#[test]
fn a_disk_without_a_free_inode_is_told_from_one_that_counts_none() {
    let (base, tools) = (folder(), folder());
    let look = include_str!("../../src/server/survey/look.sh");
    let df = |inodes: &str| {
        program(
            tools.path(),
            "df",
            &format!("case $1 in -Pi) echo Filesystem; echo '/dev/x {inodes} /srv' ;; *) exec /bin/df \"$@\" ;; esac"),
        );
    };
    for (told, found, counts) in
        [("500 500 0 100%", "0 500", Some(0)), ("0 0 0 -", "0 0", None), ("- - - -", "- -", None)]
    {
        df(told);
        let ran = looked(base.path(), tools.path(), look);
        assert_eq!(ran.get("free-inodes"), Some(found), "{}", ran.log);
        let records = vec![("free-inodes".to_owned(), found.to_owned())];
        let answer = gated_deploy::transport::shell::Answer::new(records);
        assert_eq!(gated_deploy::server::survey::free_inodes(&answer, "free-inodes"), counts);
    }
    // Right before it unpacks, a release looks again.
    let unpack = |name: &str| {
        let program = concat!(
            include_str!("../../src/server/release_dir/listing.sh"),
            include_str!("../../src/server/release_dir/unpack.sh")
        );
        let script = Script::new("unpack", program)
            .var("BASE", text(base.path()))
            .var("RELEASES", text(&base.path().join("releases")))
            .var("DIR", text(&base.path().join("releases").join(name)))
            .var("FILE", text(&base.path().join("no-such-bundle")))
            .list("SHARED", [""; 0])
            .var("ENV_FILE", text(&base.path().join(".env")))
            .var("KIB", "1")
            .var("INODES", "9")
            .var("TREE", "")
            .var("LOCK", "")
            .var("LOCK_NONCE", "");
        run(&script, tools.path()).get("refused").map(str::to_owned)
    };
    assert_eq!(unpack("two"), None, "it comes to the bundle, which is missing");
    df("500 500 0 100%");
    assert_eq!(unpack("three").as_deref(), Some("release-no-inodes"));
}

#[test]
fn a_size_that_du_could_not_find_is_unknown_and_not_zero() {
    let (base, tools) = (folder(), folder());
    let look = include_str!("../../src/server/survey/look.sh");
    let known = looked(base.path(), tools.path(), look);
    assert!(known.get("live-kib").and_then(|kib| kib.parse::<u64>().ok()).is_some_and(|kib| kib >= 8), "{}", known.log);
    assert_eq!(known.get("live-kib-unknown"), None);
    program(tools.path(), "du", "echo '12\tx'; echo 'du: cannot read directory' >&2; exit 1");
    let unknown = looked(base.path(), tools.path(), look);
    assert_eq!((unknown.get("live-kib"), unknown.get("live-kib-unknown")), (None, Some("yes")), "{}", unknown.log);
}

/// PHP tells its warnings at the start to whoever reads its output, if nobody says otherwise.
#[test]
fn fd45_a_warning_of_php_at_its_start_is_not_its_version() {
    let (base, tools) = (folder(), folder());
    let php = "case \"$*\" in *display_errors=stderr*) ;; *) echo 'Warning: Module \"intl\" is already loaded' ;; esac\nprintf '80415 8.4.15'";
    program(tools.path(), "php", php);
    let look = Script::new("look", include_str!("../../src/server/survey/look.sh"))
        .var("BASE", text(base.path()))
        .var("ENV_FILE", text(&base.path().join(".env")))
        .var("PHP", "php")
        .list("SHARED", [""; 0]);
    assert_eq!(run(&look, tools.path()).get("php"), Some("80415 8.4.15"));
}

/// Other makers' `mv` can do what is needed, whatever they call themselves.
#[test]
fn fd47_mv_is_asked_what_it_does_and_not_what_it_is_called() {
    let (base, tools) = (folder(), folder());
    let look = include_str!("../../src/server/survey/look.sh");
    program(tools.path(), "mv", "case $1 in --version) echo 'mv 0.0.30' ;; *) exec /bin/mv \"$@\" ;; esac");
    let other = looked(base.path(), tools.path(), look);
    let lacks = |ran: &Ran| ran.answer.iter().any(|record| record == "missing-tool=mv with -T");
    assert!(other.ended() == "0" && !lacks(&other), "{}", other.log);
    program(tools.path(), "mv", "echo \"mv: invalid option -- 'T'\" >&2; exit 1");
    let lacking = looked(base.path(), tools.path(), look);
    assert!(lacking.ended() == "0" && lacks(&lacking), "{}", lacking.log);
}

/// Pools and virtual hosts hold passwords of the sites that they serve.
/// As Rust's coreutils 0.0.30 do: it takes the folder behind a link for what is replaced.
const MV_THAT_FOLLOWS: &str = r#"for last; do :; done
[ ! -d "$last" ] || { echo "mv: cannot move: Directory not empty" >&2; exit 1; }
exec /bin/mv "$@""#;
/// Renames what it is given, in the place of PHP.
const RENAMES: &str = r#"while [ "$1" != -- ]; do shift; done
exec /bin/mv -Tf "$2" "$3""#;

#[test]
fn fd47_a_link_is_replaced_where_mv_takes_the_folder_behind_it_for_what_is_replaced() {
    let (base, tools) = (folder(), folder());
    for name in ["one", "two"] {
        fs::create_dir_all(base.path().join("releases").join(name)).expect("a release");
    }
    let current = base.path().join("current");
    symlink("releases/one", &current).expect("the live release");
    program(tools.path(), "mv", MV_THAT_FOLLOWS);
    program(tools.path(), "renames", RENAMES);
    let script = Script::new("switch", include_str!("../../src/server/activation/switch.sh"))
        .var("PHP", text(&tools.path().join("renames")))
        .var("CURRENT", text(&current))
        .var("EXPECTED", "releases/one")
        .var("TARGET", "releases/two")
        .var("NEW", text(&base.path().join(".current.two")))
        .var("JOURNAL", text(&base.path().join("journal")))
        .var("BEGINS", "begins")
        .var("ENDS", "ends")
        .var("GUARD", "")
        .var("LOCK", "")
        .var("LOCK_NONCE", "")
        .var("MINE", "")
        .var("MINE_NONCE", "")
        .var("MINE_LOCK", "")
        .var("MINE_LOCK_NONCE", "");

    let ran = run(&script, tools.path());

    assert_eq!((ran.ended(), ran.get("switched")), ("0", Some("yes")), "{}", ran.log);
    assert_eq!(fs::read_link(&current).expect("a link"), Path::new("releases/two"));
    assert!(
        !base.path().join("releases/one/.current.two").exists(),
        "nothing is moved into the folder behind the link"
    );
}

#[test]
fn of_the_services_configuration_only_what_is_used_leaves_the_server() {
    let (base, tools) = (folder(), folder());
    let etc = base.path().join("etc");
    for place in ["nginx", "php/8.2/fpm/pool.d"] {
        fs::create_dir_all(etc.join(place)).expect("a folder");
    }
    let pool = "; a password: hunter2-comment\n[shop]\nuser = shop\n group= \"www-data\"\nlisten = /run/$pool.sock ; hunter2-behind\nlisten.mode=0660\n\
                pm = static\npm.max_children = 5\ninclude=/etc/x/*.conf\nenv[DB_PASSWORD] = hunter2-env\n  env [x] = hunter2-blank\n\
                php_admin_value[sendmail_path] = \"/usr/sbin/sendmail -p hunter2-admin\"\nphp_value[session.save_path] = \"tcp://x?auth=hunter2-value\"\n\
                php_admin_value[opcache.preload] = /srv/preload.php\nprocess_control_timeout = 10s\naccess.log = /var/log/hunter2.log\n";
    fs::write(etc.join("php/8.2/fpm/pool.d/shop.conf"), pool).expect("a pool");
    let host = "server { server_name shop; root /srv/shop/current/public; set $key hunter2-set; proxy_set_header Authorization \"Basic hunter2-proxy\";\n\
                location ~ \\.php$ { fastcgi_pass unix:/run/shop.sock; fastcgi_param DB_PASSWORD hunter2-param;\n\
                fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name; } }\n";
    fs::write(etc.join("nginx/nginx.conf"), host).expect("a virtual host");
    let look = include_str!("../../src/server/survey/look.sh").replace(" /etc/", &format!(" {}/", etc.display()));
    let ran = looked(base.path(), tools.path(), Box::leak(look.into_boxed_str()));
    let sent = |key: &str| ran.get(key).and_then(|record| record.split_once('\n')).expect("what was sent").1.to_owned();
    let (pool, host) = (sent("fpm"), sent("nginx"));
    assert!(!pool.contains("hunter2") && !host.contains("hunter2"), "{pool}\n{host}");
    let kept: Vec<&str> = pool.lines().map(str::trim).collect();
    assert_eq!(
        kept,
        [
            "[shop]",
            "user = shop",
            "group= \"www-data\"",
            "listen = /run/$pool.sock",
            "listen.mode=0660",
            "pm = static",
            "pm.max_children = 5",
            "include=/etc/x/*.conf",
            "php_admin_value[opcache.preload] = /srv/preload.php",
            "process_control_timeout = 10s"
        ]
    );
    for kept in [
        "server_name shop;",
        "root /srv/shop/current/public;",
        "fastcgi_pass unix:/run/shop.sock;",
        "SCRIPT_FILENAME $realpath_root$fastcgi_script_name;",
    ] {
        assert!(host.contains(kept), "{kept}: {host}");
    }
}

/// Who may write in the folder of a link can replace it after it was looked at.
#[test]
fn a_link_that_is_replaced_while_it_is_looked_at_is_not_followed() {
    let (base, tools) = (folder(), folder());
    let base = base.path().canonicalize().expect("its path");
    for place in ["shared", "ours", "theirs"] {
        fs::create_dir(base.join(place)).expect("a folder");
    }
    symlink(base.join("ours"), base.join("shared/storage")).expect("a link");
    let swap = format!("ln -sfn '{}' '{}'", base.join("theirs").display(), base.join("shared/storage").display());
    program(tools.path(), "stat", &format!("/usr/bin/stat \"$@\"; status=$?; {swap}; exit $status"));
    let script = Script::new("test", "(enter \"$BASE/shared\" storage/logs)\nput done yes").var("BASE", text(&base));
    let ran = run(&script, tools.path());
    assert_eq!((ran.ended(), ran.get("refused")), ("10", Some("path-replaced")), "{}", ran.log);
    assert!(ran.value("path").is_some_and(|path| path.ends_with("shared/storage")), "{:?}", ran.answer);
    assert!(!base.join("theirs/logs").exists());

    // Replaced later than that: what was looked at is followed.
    fs::remove_file(tools.path().join("stat")).expect("the program");
    fs::remove_file(base.join("shared/storage")).expect("the link");
    symlink("../ours", base.join("shared/storage")).expect("a link");
    let twice = "/usr/bin/readlink \"$@\"; [ ! -e \"$0.once\" ] || ";
    program(tools.path(), "readlink", &format!("{twice}{swap}; : >\"$0.once\""));
    let ran = run(&script, tools.path());
    assert_eq!((ran.ended(), ran.get("done")), ("0", Some("yes")), "{} {:?}", ran.log, ran.answer);
    assert!(base.join("ours/logs").is_dir() && !base.join("theirs/logs").exists());
}

/// A PHP that answers with these lines, and as the filter passes everything on.
fn answering(tools: &Path, lines: &str) {
    let text =
        format!("case $1 in -n) mark=$8; exec sed -u \"/^$mark\\$/Q\" ;; esac\ncat >/dev/null\nexec >&5\n{lines}");
    program(tools, "php", &text);
}

fn backup_of(base: &Path, php: &Path, name: &str) -> Script {
    Script::new("backup", include_str!("../../src/server/backup/backup.sh"))
        .var("BACKUPS", text(&base.join("backups")))
        .var("DIR", text(&base.join("backups").join(name)))
        .var("TREE", "")
        .var("ENV_FILE", text(&base.join(".env")))
        .var("PHP", text(php))
        .var("NGINX", "")
        .var("RELEASE", name)
        .var("DATABASE_PHP", "")
        .hiding(&text(&base.join(".env")).parse().expect("a path"))
}

/// What a run that failed left, and what a release is that was live before.
#[test]
fn a_tree_that_was_packed_before_is_linked_and_one_that_was_changed_is_packed() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    let (live, backups) = (base.join("live"), base.join("backups"));
    for (path, text) in [("app/User.php", "one"), ("bootstrap/cache/config.php", "two"), ("public/index.php", "three")]
    {
        fs::create_dir_all(live.join(path).parent().expect("a folder")).expect("a folder");
        fs::write(live.join(path), text).expect("a file");
    }
    symlink("../shared", live.join("storage")).expect("a link");
    answering(tools.path(), "printf 'driver=none\\ndatabase=\\ntables=0\\nkib=0\\n'");
    let back_up = |name: &str| {
        let script = backup_of(base, &tools.path().join("php"), name).var("TREE", text(&live));
        let ran = run(&script, tools.path());
        assert_eq!((ran.ended(), ran.get("refused")), ("0", None), "{name}: {}", ran.log);
        let sums = fs::read_to_string(backups.join(name).join("SHA256SUMS")).expect("its digests");
        let digest = sums.strip_suffix("  app.tar.gz\n").expect("one line").to_owned();
        assert_eq!(ran.get("sum").and_then(|sum| sum.split(' ').next()), Some(digest.as_str()));
        let archive = fs::read(backups.join(name).join("app.tar.gz")).expect("an archive");
        assert_eq!(Sha256Digest::of(&archive).as_str(), digest);
        let left: BTreeSet<_> =
            fs::read_dir(backups.join(name)).expect("it").map(|file| file.expect("a file").file_name()).collect();
        assert_eq!(left, ["SHA256SUMS", "app.tar.gz", "manifest.json"].map(Into::into).into());
        let inode = fs::metadata(backups.join(name).join("app.tar.gz")).expect("an archive").ino();
        let manifest = fs::read_to_string(backups.join(name).join("manifest.json")).expect("its manifest");
        (ran, inode, serde_json::from_str::<serde_json::Value>(&manifest).expect("JSON"))
    };
    let (packed, first, manifest) = back_up("one");
    assert_eq!(packed.get("file"), Some("app.tar.gz 9 entries"));
    assert_eq!((manifest["verified"].as_bool(), manifest.get("app_linked_to")), (Some(true), None), "{manifest}");
    assert!(manifest["tree"].is_string(), "{manifest}");

    // What the site compiles, and times, make no other tree.
    fs::create_dir_all(live.join("bootstrap/cache/views")).expect("a folder");
    fs::write(live.join("bootstrap/cache/views/x.php"), "compiled").expect("a view");
    fs::write(live.join("app/User.php"), "one").expect("the same file");
    let (linked, second, manifest) = back_up("two");
    assert_eq!(linked.get("file"), Some("app.tar.gz 9 entries, linked to the backup one of the same tree"));
    assert_eq!((second, manifest["app_linked_to"].as_str()), (first, Some("one")), "{manifest}");
    assert!(linked.log.contains("linked instead of packed again"), "{}", linked.log);

    // A byte, a mode, a link and a cache are part of it.
    let changes: [(&str, &dyn Fn()); 4] = [
        ("byte", &|| fs::write(live.join("app/User.php"), "owe").expect("a file")),
        ("mode", &|| {
            fs::set_permissions(live.join("public/index.php"), fs::Permissions::from_mode(0o600)).expect("a mode")
        }),
        ("cache", &|| fs::write(live.join("bootstrap/cache/config.php"), "tow").expect("a file")),
        ("link", &|| {
            fs::remove_file(live.join("storage")).expect("a link");
            symlink("../shares", live.join("storage")).expect("a link");
        }),
    ];
    let mut inodes = BTreeSet::from([first]);
    for (what, change) in changes {
        change();
        let (ran, inode, manifest) = back_up(what);
        assert_eq!((ran.get("file"), manifest.get("app_linked_to")), (Some("app.tar.gz 9 entries"), None), "{what}");
        assert!(inodes.insert(inode), "{what}: it was linked");
    }
    assert_eq!(back_up("again").2["app_linked_to"].as_str(), Some("link"), "the newest state is known as well");

    // An archive that is not what it was is packed anew. The other one is a link to it.
    let archive = backups.join("again/app.tar.gz");
    let mut bytes = fs::read(&archive).expect("an archive");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&archive, bytes).expect("a broken archive");
    let (ran, inode, manifest) = back_up("whole");
    assert_eq!((ran.get("file"), manifest.get("app_linked_to")), (Some("app.tar.gz 9 entries"), None), "{}", ran.log);
    assert!(inodes.insert(inode) && ran.log.contains("is not what it was when it was verified"), "{}", ran.log);
}

#[test]
fn fd28_fd31_no_empty_database_is_backed_up_and_the_drivers_own_words_say_why_one_cannot_be_asked() {
    let (base, tools) = (folder(), folder());
    let php = tools.path().join("php");
    let sqlite = "printf 'driver=sqlite\\ndatabase=/srv/x.sqlite\\nthere=%s\\ninside=%s\\ntables=%s\\nkib=0\\n'";
    for (name, values, why) in [
        ("empty", "yes no 0", "it has no tables yet"),
        ("missing", "no no 0", "there is no such file yet"),
        ("inside", "yes yes 0", "it is a file of the release, and is in app.tar.gz"),
    ] {
        answering(tools.path(), &format!("case \"$*\" in *copy-sqlite*) exit 1 ;; esac\n{sqlite} {values}"));
        let ran = run(&backup_of(base.path(), &php, name), tools.path());
        assert_eq!((ran.ended(), ran.get("refused"), ran.get("file")), ("0", None, None), "{name}: {}", ran.log);
        let skipped = format!("the database /srv/x.sqlite: {why}");
        assert_eq!(ran.get("skipped").map(str::trim), Some(skipped.as_str()), "{name}");
    }
    let said = "PDOException: SQLSTATE[HY000] [1045] Access denied for user 'shop'@'localhost'";
    answering(tools.path(), &format!("echo \"problem={said}\"\nexit 1"));
    let ran = run(&backup_of(base.path(), &php, "denied"), tools.path());
    assert_eq!((ran.ended(), ran.get("refused")), ("10", Some("database-query-failed")), "{}", ran.log);
    assert_eq!(ran.value("problem").map(str::trim), Some(said), "{}", ran.log);
}

#[test]
fn se9_what_cannot_be_removed_is_put_aside_and_named() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    // Stands for a folder that www-data made, in which only www-data may remove: a test may run as root.
    program(
        tools.path(),
        "rm",
        "case $* in *releases/*) echo \"rm: cannot remove 'x': Permission denied\" >&2; exit 1 ;; *) exec /bin/rm \"$@\" ;; esac",
    );
    let made = |name: &str| {
        let release = base.join("releases").join(name);
        fs::create_dir_all(release.join("bootstrap/cache/x")).expect("a release");
        release
    };
    let one = made("one");
    let remove = Script::new("remove", include_str!("../../src/server/release_dir/remove.sh"))
        .var("TARGET", text(&one))
        .var("CURRENT", text(&base.join("current")));
    let ran = run(&remove, tools.path());
    assert_eq!((ran.ended(), ran.get("found")), ("0", Some("left")), "{}", ran.log);
    let left = ran.get("left").expect("where it is now").to_owned();
    assert!(!one.exists() && Path::new(&left).exists() && left.contains("/.gated-deploy/left/one."), "{left}");

    let (two, three) = (made("two"), made("three"));
    let prune = Script::new("prune", include_str!("../../src/server/backup/prune.sh"))
        .var("RELEASES", text(&base.join("releases")))
        .var("BACKUPS", text(&base.join("backups")))
        .var("CURRENT", text(&base.join("current")))
        .list("OLD_RELEASES", ["two", "three"])
        .list("OLD_BACKUPS", ["old"])
        .var("LOCK", "")
        .var("LOCK_NONCE", "");
    fs::create_dir_all(base.join("backups/old")).expect("a backup");
    let ran = run(&prune, tools.path());
    assert_eq!((ran.ended(), ran.get("removed-backup")), ("0", Some("old")), "{}", ran.log);
    assert!(!two.exists() && !three.exists() && !base.join("backups/old").exists());
}

#[test]
fn what_lies_where_the_one_time_file_belongs_is_neither_followed_nor_opened() {
    let (base, tools) = (folder(), folder());
    let base = base.path();
    for release in ["new/public", "live/public"] {
        fs::create_dir_all(base.join(release)).expect("a folder");
    }
    let other = base.join("authorized_keys");
    fs::write(&other, "ours").expect("a file");
    symlink(&other, base.join("new/public/gated-deploy-1.php")).expect("a link");
    symlink(&other, base.join("new/public/gated-deploy-1-new.php")).expect("a link");
    fifo(&base.join("live/public/gated-deploy-1.php"));
    fifo(&base.join("live/public/gated-deploy-1-new.php"));
    let mark = Script::new("mark", include_str!("../../src/server/health/mark.sh"))
        .var("NAME", "gated-deploy-1.php")
        .var("DIR", text(&base.join("new")))
        .var("TEXT", "new")
        .var("LIVE", text(&base.join("live")))
        .var("LIVE_TEXT", "live");
    let ran = run(&mark, tools.path());
    assert_eq!((ran.ended(), ran.get("live")), ("0", Some("marked")), "{}", ran.log);
    assert_eq!(fs::read_to_string(&other).expect("the other file"), "ours");
    for release in ["new", "live"] {
        let public = base.join(release).join("public");
        assert_eq!(fs::read_to_string(public.join("gated-deploy-1.php")).expect("the file"), format!("{release}\n"));
        assert_eq!(fs::read_dir(public).expect("the folder").count(), 1);
    }
}

#[test]
fn se19_no_owner_is_changed_where_another_account_could_exchange_the_path() {
    let (base, tools) = (folder(), folder());
    let base = base.path().canonicalize().expect("its path");
    program(tools.path(), "sudo", &format!("echo \"$*\" >>'{}'", base.join("calls").display()));
    fs::create_dir_all(base.join("live/docs")).expect("a folder");
    fs::write(base.join("live/docs/a.html"), "").expect("a file");
    symlink(base.join("live"), base.join("current")).expect("a link");
    let chown = |path: &Path| {
        Script::new("chown", include_str!("../../src/stages/fix/chown.sh"))
            .var("CURRENT", text(&base.join("current")))
            .var("LIVE", text(&base.join("live")))
            .var("OWNER", "deploy")
            .var("BY_ROOT", "find it")
            .list("PATHS", [text(path)])
    };
    let path = base.join("live/docs/a.html");
    let ours = run(&chown(&path), tools.path());
    assert_eq!((ours.ended(), ours.get("given")), ("0", Some(text(&path))), "{} {:?}", ours.log, ours.answer);
    let calls = || fs::read_to_string(base.join("calls")).expect("the calls").lines().count();
    assert_eq!(calls(), 1);
    for open in ["live/docs", "live"] {
        fs::set_permissions(base.join(open), fs::Permissions::from_mode(0o777)).expect("a mode");
        let refused = run(&chown(&path), tools.path());
        assert_eq!((refused.get("refused"), refused.value("by_root")), (Some("path-exchangeable"), Some("find it")));
        assert_eq!((refused.value("folder"), refused.value("path")), (Some(text(&base.join(open))), Some(text(&path))));
        assert_eq!(calls(), 1, "sudo is not called");
        fs::set_permissions(base.join(open), fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    // The group bits of a mode are the most that an access list gives, and the group is this account's own: only the list names the other one.
    give_access(&base.join("live"), 0o7);
    let refused = run(&chown(&path), tools.path());
    assert_eq!(refused.get("refused"), Some("path-exchangeable"));
    assert_eq!(refused.value("folder"), Some(text(&base.join("live"))));
    assert_eq!(calls(), 1, "sudo is not called");
}

/// As it waits for its input.
#[test]
fn se19_the_program_writes_no_core_dump() {
    let mut child = Command::new(BINARY)
        .args(["report", "show", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let limits = format!("/proc/{}/limits", child.id());
    let core = || {
        let limits = fs::read_to_string(&limits).expect("its limits");
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit").to_owned();
        line.split_whitespace().skip(4).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let began = std::time::Instant::now();
    while core() != ["0", "0"] && began.elapsed().as_secs() < 20 {
        std::thread::yield_now();
    }
    let found = core();
    drop(child.stdin.take());
    child.wait().expect("it ends");
    assert_eq!(found, ["0", "0"]);
}

#[test]
fn f10_each_of_the_nine_gates_is_asked_again_on_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let release = folder.path().join("release");
    let failed = |front_end: FrontEnd, without: Option<&str>, with: &[(&str, &str)]| -> Vec<String> {
        let _ = fs::remove_dir_all(&release);
        let needed = gates(front_end).into_iter().filter(|gate| gate.must != Must::NoVite);
        for gate in needed.filter(|gate| Some(gate.path) != without) {
            let path = release.join(gate.path);
            let above = if gate.must == Must::Folder { path.as_path() } else { path.parent().expect("a folder above") };
            fs::create_dir_all(above).expect("the folders");
            if gate.must == Must::File {
                fs::write(&path, "something").expect("a file");
            }
        }
        for (name, contents) in with {
            let path = release.join(name);
            fs::create_dir_all(path.parent().expect("a folder above")).expect("the folders");
            fs::write(path, contents).expect("a file");
        }
        let ran = run(&tree::gates_script(&release.display().to_string(), front_end), folder.path());
        assert_eq!(ran.ended(), "0", "{}", ran.log);
        let gates: Vec<&String> = ran.answer.iter().filter(|record| record.starts_with("gate=")).collect();
        assert_eq!(gates.len(), 9);
        gates.into_iter().filter(|gate| !gate.ends_with('=')).cloned().collect()
    };
    assert_eq!(failed(FrontEnd::Vite, None, &[]), [""; 0]);
    for gate in gates(FrontEnd::Vite) {
        assert_eq!(failed(FrontEnd::Vite, Some(gate.path), &[]), [format!("gate={}=missing", gate.path)]);
    }

    // FD19: an app without a front end has another fifth gate.
    let guarded = "@if (file_exists(public_path('build/manifest.json'))) @vite(['a.js']) @endif";
    let harmless = [
        ("resources/views/welcome.blade.php", guarded),
        ("resources/views/mail.blade.php", "write to info@@vite.example"),
        ("resources/views/address.blade.php", "write to info@vite.example\n@vitejs/x @vite_x"),
        ("resources/views/comment.blade.php", "{{-- @vite(['a']) --}}<p>{{--\n@viteReactRefresh\n--}}</p>"),
        ("vendor/acme/panel/resources/views/page.blade.php", "@vite('a.js')"),
    ];
    assert_eq!(failed(FrontEnd::None, None, &harmless), [""; 0]);
    assert_eq!(failed(FrontEnd::None, Some("artisan"), &[]), ["gate=artisan=missing"]);
    let refers = "gate=no-vite=the app refers to Vite: ";
    for view in [
        "<head>@vite('a.js')</head>",
        "<head>\n@viteReactRefresh",
        "{{-- a --}}@vite([])",
        "@@vite and @vite",
        "{{-- not closed\n@vite([])",
    ] {
        let path = "modules/shop/views/page.blade.php";
        assert_eq!(failed(FrontEnd::None, None, &[(path, view)]), [format!("{refers}{path} has @vite")], "{view}");
    }
    assert_eq!(failed(FrontEnd::None, None, &[("vite.config.mts", "")]), [format!("{refers}vite.config.mts is there")]);
}

/// What a migration leaves at work is not waited for, and what it cost is told by its whole name, whatever stands in `.env`.
#[test]
fn f63_a_process_that_a_migration_leaves_behind_holds_nothing() {
    let (base, tools) = (folder(), folder());
    fs::create_dir_all(base.path().join("release/bootstrap/cache")).expect("a folder");
    let lines = "setsid sleep 60 >/dev/null 2>&1 &\n\
                 printf 'before=first\\nlisted=yes\\nstatus=0\\nafter=first\\nafter=second\\nknown=yes\\nmeasured-name=second\\nmeasured={}\\n'";
    answering(tools.path(), lines);
    let migrate = |base: &Path| {
        Script::new("migrate", include_str!("../../src/server/database/migrate.sh"))
            .var("DIR", text(&base.join("release")))
            .var("PHP", text(&tools.path().join("php")))
            .var("APP_PHP", "")
            .var("SQL_PHP", "")
            .var("MIGRATE_PHP", "")
            .var("LOCK", "")
            .var("LOCK_NONCE", "")
            .hiding(&text(&base.join(".env")).parse().expect("a path"))
    };
    let began = std::time::Instant::now();
    let ran = run(&migrate(base.path()), tools.path());
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(
        (ran.ended(), ran.get("status"), ran.get("measured-name")),
        ("0", Some("0"), Some("second")),
        "{}",
        ran.log
    );
    assert_eq!((ran.get("before"), ran.get("after")), (Some("first\n"), Some("first\nsecond\n")), "{}", ran.log);

    // PHP that ends in a migration answers no status, and that is a failure whatever its own status says.
    answering(tools.path(), "printf 'before=first\\nlisted=yes\\nafter=first\\nknown=yes\\n'");
    let ran = run(&migrate(base.path()), tools.path());
    assert_eq!(ran.get("status"), Some("0 (PHP was ended by a migration)"), "{}", ran.log);
    // Without the list nothing is said to have run.
    answering(tools.path(), "exit 255");
    let ran = run(&migrate(base.path()), tools.path());
    assert_eq!(ran.get("refused"), Some("migration-list-unreadable"), "{}", ran.log);
    assert_eq!(ran.get("after"), None);
}

/// The folder of its job is removed when its run has read the answer. A run that takes over the lock afterwards finds the answer in it.
#[test]
fn fd34_what_a_migration_came_to_outlasts_the_folder_of_its_job() {
    let (base, tools) = (folder(), folder());
    fs::create_dir_all(base.path().join("release/bootstrap/cache")).expect("a folder");
    answering(
        tools.path(),
        "printf 'before=first\\nlisted=yes\\nstatus=0\\nafter=first\\nafter=second\\nknown=yes\\nmeasured-name=second\\nmeasured={}\\n'",
    );
    let at = |name: &str| text(&base.path().join(name)).to_owned();
    let lock = |nonce: &str| {
        let script = Script::new("lock", include_str!("../../src/server/lock/lock.sh"))
            .var("STATE", at("state"))
            .var("JOBS", at("state/jobs"))
            .var("LOCK", at("state/lock"))
            .var("OWNER", format!("run {nonce}"))
            .var("NONCE", nonce)
            .var("ENVIRONMENT", "staging")
            .var("LEASE", "60")
            .var("RELEASE", "release")
            .var("MAKES", "")
            .var("BEGUN", "")
            .var("OWN", "");
        run(&script, tools.path())
    };
    let migrate = |nonce: &str| {
        let script = Script::new("migrate", include_str!("../../src/server/database/migrate.sh"))
            .var("DIR", at("release"))
            .var("PHP", text(&tools.path().join("php")))
            .var("APP_PHP", "")
            .var("SQL_PHP", "")
            .var("MIGRATE_PHP", "")
            .var("LOCK", at("state/lock"))
            .var("LOCK_NONCE", nonce)
            .hiding(&at(".env").parse().expect("a path"));
        // Its answer goes to a file, as that of a script does which outlives its connection.
        let answer = base.path().join("answer");
        let mut shell = Command::new("sh");
        shell.arg("-s").stdin(Stdio::piped()).stdout(fs::File::create(&answer).expect("a file")).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("a shell");
        let mut input = shell.stdin.take().expect("its input");
        input.write_all(script.text("1").as_bytes()).expect("sending it");
        drop(input);
        shell.wait().expect("its end");
        fs::read_to_string(answer).expect("its answer")
    };
    assert_eq!(lock("one").get("taken"), Some("yes"));
    assert!(migrate("one").contains("status=0"));
    let kept = fs::read_to_string(at("state/lock/migrated")).expect("its answer");
    assert!(kept.contains("after=first\nsecond\n\u{1e}status=0\u{1e}"), "{kept:?}");
    assert!(!Path::new(&at("state/jobs")).exists(), "no folder of a job is left");

    fs::write(at("state/lock/renewed"), "1000000000\n").expect("a lease that is over");
    let taken = lock("two");
    assert_eq!(taken.get("taken"), Some("yes"), "{}", taken.log);
    let migrated = taken.get("dead-migrated").expect("what became of the migration");
    assert!(
        migrated.contains("after=first\nsecond\n\u{1e}") && migrated.contains("measured-name=second"),
        "{migrated:?}"
    );
    // Nothing is kept in the lock of another run: one that took over while the migration ran.
    answering(
        tools.path(),
        &format!(
            "echo three >'{}'\nprintf 'before=first\\nlisted=yes\\nstatus=0\\nafter=first\\nknown=yes\\n'",
            at("state/lock/nonce")
        ),
    );
    assert!(migrate("two").contains("status=0"));
    assert!(!Path::new(&at("state/lock/migrated")).exists());
}
