//! Code in the site tries to become the deploy user, to read what it may not, and to keep releases from going live.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use gated_deploy::transport::shell::Script;
use gated_deploy_lab::{
    app::{self, Variant},
    story::{Story, commit},
};

use crate::{
    failures::{answer, answers},
    plan::migration,
    support::{assert_ended, assert_says, give_access, output, story},
};

const BASE: &str = "/var/www/staging";

/// A folder, and files in it by their paths.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir_all(self.0.path().join(name)).expect("a folder");
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.path().join(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// A process as the kernel shows it.
    pub(crate) fn process(&self, pid: u32, parent: u32, uid: u32, name: &str) {
        self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        let escaped = name.replace('\n', "\\n");
        self.write(
            &format!("proc/{pid}/status"),
            &format!("Name:\t{escaped}\nPid:\t{pid}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n"),
        );
        let fields = "0 ".repeat(17);
        self.write(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) S {parent} {fields}{pid}000 0 0\n"));
    }
}

// Processes.

/// A service with its master and one worker, and everything else that has its name.
fn processes() -> Folder {
    let here = Folder::new();
    here.process(1, 0, 0, "init");
    here.process(100, 1, 0, "php-fpm9.9");
    here.process(101, 100, 33, "php-fpm9.9");
    here.process(110, 1, 0, "nginx");
    here.process(111, 110, 33, "nginx");
    // The site's account runs two processes of that name, one started by the other.
    here.process(200, 1, 33, "php-fpm9.9");
    here.process(201, 200, 33, "php-fpm9.9");
    here.process(202, 200, 33, "nginx) S 1 \n0 0");
    // Another master with a worker that never ends; the service's own file says which is the service's.
    here.process(300, 1, 0, "php-fpm9.9");
    here.process(301, 300, 33, "php-fpm9.9");
    here.write("run/php/php9.9-fpm.pid", "100\n");
    here
}

/// A reload; `does` is what the service does then.
fn reload(here: &Folder, does: &str) -> std::collections::BTreeMap<String, String> {
    here.write("reload", &format!("#!/bin/sh\nset -e\ncd {}\n{does}\n", here.path("proc")));
    here.mode("reload", 0o755);
    answer(
        &Script::new("reload", crate::services::RELOAD)
            .var("FPM_COMMAND", here.path("reload"))
            .var("NGINX_COMMAND", "true")
            .var("FPM_NAME", "php-fpm9.9")
            .var("NGINX_NAME", "no-such-nginx")
            .var("FPM_SERVICE", "php9.9-fpm")
            .var("NGINX_SERVICE", "no-such-nginx")
            .var("WAIT", "1")
            .var("PROC", here.path("proc"))
            .var("RUN", here.path("run"))
            .var("ETC", here.path("etc"))
            .var("CURRENT", "")
            .var("NEXT", ""),
    )
}

#[test]
fn se9_fd12_workers_are_those_of_the_services_own_master_whatever_else_has_their_name() {
    let here = processes();
    let answer = reload(
        &here,
        "sed 's/101/102/g' 101/stat >stat; rm -r 101; mkdir 102; mv stat 102/stat; printf 'php-fpm9.9\\n' >102/comm; \
         printf 'PPid:\\t100\\nUid:\\t33\\t33\\t33\\t33\\n' >102/status",
    );
    assert_eq!(answer.get("refused"), None, "{answer:?}");
    assert_eq!(answer["reloaded"], "php-fpm9.9 1 new workers");
}

#[test]
fn se9_a_process_of_the_site_is_no_new_worker() {
    let here = processes();
    let answer =
        reload(&here, "sed 's/201/203/g' 201/stat >stat; mkdir 203; mv stat 203/stat; cp 201/comm 201/status 203");
    assert_eq!(answer["refused"], "old-workers-remain");
    assert_eq!((&*answer["value.old"], &*answer["value.new"]), ("1", "0"));
}

// Folders that the site writes in.

fn enter(here: &Folder, below: &str) -> std::collections::BTreeMap<String, String> {
    let script = Script::new("enter", "(enter \"$ROOT\" \"$BELOW\"; put here \"$(pwd -P)\")");
    answer(&script.var("ROOT", here.path("shared")).var("BELOW", below))
}

#[test]
fn se9_a_link_that_leads_nowhere_is_named_with_the_command_that_removes_it() {
    let here = Folder::new();
    here.folder("shared/storage/framework");
    here.folder("disk/files");
    symlink("/nowhere", here.path("shared/storage/framework/views")).expect("a link");
    symlink(here.path("disk/files"), here.path("shared/storage/app")).expect("a link");

    let refused = enter(&here, "storage/framework/views");
    let views = here.path("shared/storage/framework/views");
    assert_eq!((&*refused["refused"], &refused["value.path"]), ("dangling-link", &views));
    here.write("shared/storage/logs", "a file");
    assert_eq!(enter(&here, "storage/logs")["refused"], "not-a-folder");
    // An administrator's link to another disk is followed, and what is missing behind it is made.
    assert_eq!(enter(&here, "storage/app/public of us/a")["here"], here.path("disk/files/public of us/a"));
}

// The digest.

#[test]
fn se15_only_a_one_time_file_of_ours_is_left_out_of_the_digest() {
    let here = Folder::new();
    here.write("public/index.php", "<?php");
    let digest = || {
        let script = Script::new("digest", include_str!("../../src/server/release_dir/digest.sh"));
        answer(&script.var("DIR", here.path("")))["sha256"].clone()
    };
    let before = digest();
    let name = format!("public/gated-deploy-{}.php", "0123456789abcdef".repeat(2));
    let program = "<?php header('Content-Type: application/json'); header('Cache-Control: no-store'); echo json_encode(['gated-deploy' => '20250101_000000-5eed1e55']);\n";
    here.write(&name, program);
    assert_eq!(digest(), before, "what an interrupted run left is no change");
    for (path, text) in [
        (name.as_str(), program.replace("json_encode", "system").as_str()),
        (&name, &format!("{program}<?php system('id');")),
        (&name, &program.replace("']);", "'.system('id')]);")),
        ("public/gated-deploy-x.php", program),
        ("public/gated-deploy-x/evil.php", "<?php system('id');"),
    ] {
        here.write(path, text);
        assert_ne!(digest(), before, "{path}: {text}");
        fs::remove_file(here.path(path)).expect("removing it");
        let _ = fs::remove_dir(here.path("public/gated-deploy-x"));
    }
    symlink(here.path("public/index.php"), here.path(&name)).expect("a link");
    assert_ne!(digest(), before, "a link under such a name");
}

// Modes.

/// PHP as far as the script for the caches needs it: what it is asked to write holds one line, and compiled views are two files.
const PHP: &str = r#"#!/bin/sh
case $2 in -l) exit 0 ;; esac
cat >/dev/null
while [ "$1" != -- ]; do shift; done
file=$2 own=$3 views=$4
shift 4
for cache; do
    case $cache in
    config) echo '<?php return [];' | tee "$file" >"$own"; printf '%s' "$views" >views-are-in ;;
    view)
        if [ -z "$views" ]; then echo failed=view >&5; continue; fi
        for view in one two; do echo "<?php" >"$GATED_DEPLOY_PRIVATE/storage/framework/views/$view.php"; done
        ;;
    esac
    echo "done=$cache" >&5
done
"#;

fn caches(here: &Folder, caches: &str) -> Vec<(String, String)> {
    here.write("php", PHP);
    here.mode("php", 0o755);
    let script = Script::new("cache", include_str!("../../src/server/release_dir/cache.sh"));
    let script = ["APP_PHP", "CACHES_PHP"].iter().fold(script, |script, name| script.var(name, ""));
    answers(&script.var("DIR", here.path("release")).var("PHP", here.path("php")).var("CACHES", caches))
        .into_iter()
        .filter(|(key, _)| key == "built" || key == "failed")
        .collect()
}

fn mode_of(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn se5_se6_fd40_caches_are_as_closed_as_env_and_compiled_views_lie_in_the_release() {
    let here = Folder::new();
    here.folder("release/bootstrap/cache");
    here.folder("release/storage/framework/views");
    here.mode("release/storage/framework/views", 0o2775);
    here.write("release/storage/framework/views/live.php", "a page of what is live");
    here.write("release/.env", "APP_KEY=x");
    let config = here.path("release/bootstrap/cache/config.php");
    for (env, cached) in [(0o600, 0o600), (0o640, 0o640), (0o660, 0o640), (0o644, 0o644), (0o666, 0o644)] {
        here.mode("release/.env", env);
        let built = caches(&here, "config view");
        assert_eq!(
            built,
            [("built", "config"), ("built", "view")].map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
        assert_eq!(mode_of(&config), cached, "of a .env that is {env:o}");
    }
    let views = here.path("release/bootstrap/cache/views");
    assert_eq!(fs::read_to_string(here.path("release/views-are-in")).expect("what the configuration says"), views);
    assert_eq!(
        fs::read_dir(here.path("release/storage/framework/views")).expect("views").count(),
        1,
        "nothing is put there"
    );
    let group = fs::metadata(here.path("release/storage/framework/views")).expect("views").gid();
    assert_eq!(
        (mode_of(&views), fs::metadata(&views).expect("views").gid()),
        (0o2775, group),
        "the site compiles there, too"
    );
    // Built again, nothing is taken away that a live page uses.
    fs::write(format!("{views}/of-a-live-page.php"), "compiled by the site").expect("a view");
    caches(&here, "config view");
    assert_eq!(fs::read_dir(&views).expect("views").count(), 3);
    let left = fs::read_dir(here.path("release/bootstrap/cache")).expect("caches").count();
    assert_eq!(left, 2, "the configuration and the views, and nothing of the run");
    // Where the site's own folder is a link that it may have made, views are compiled when they are asked for.
    fs::remove_dir_all(&views).expect("removing");
    fs::remove_dir_all(here.path("release/storage/framework/views")).expect("removing");
    symlink(here.path(""), here.path("release/storage/framework/views")).expect("a link");
    assert_eq!(caches(&here, "config view")[1], ("failed".to_owned(), "view".to_owned()));
    assert_eq!(fs::read_to_string(here.path("release/views-are-in")).expect("what the configuration says"), "");
}

/// A cache, what its right comes from, and how that is opened.
type Way = (&'static str, &'static str, fn(&Path));

/// A folder of ours has a mode only, and so has a file: an account that has its right from an access list, or as any account, would not have it there.
#[test]
fn se5_se6_the_site_loses_no_right_by_a_cache_in_the_release() {
    let ways: [Way; 3] = [
        ("view", "storage/framework/views", |path| give_access(path, 0o7)),
        ("view", "storage/framework/views", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
        }),
        ("config", ".env", |path| give_access(path, 0o4)),
    ];
    for (cache, place, open) in ways {
        let here = Folder::new();
        here.folder("release/bootstrap/cache");
        here.folder("release/storage/framework/views");
        here.mode("release/storage/framework/views", 0o2775);
        here.write("release/.env", "APP_KEY=x");
        here.mode("release/.env", 0o640);
        open(Path::new(&here.path(&format!("release/{place}"))));
        let built = caches(&here, "config view");
        assert!(built.contains(&("failed".to_owned(), cache.to_owned())), "{place}: {built:?}");
        let config = Path::new(&here.path("release/bootstrap/cache/config.php")).exists();
        assert_eq!(config, cache != "config", "{place}");
        if cache == "view" {
            let told = fs::read_to_string(here.path("release/views-are-in")).expect("what the configuration says");
            assert_eq!(told, "", "the site compiles views where it always did");
        }
    }
}

#[test]
fn se5_se6_what_is_open_is_named_in_releases_that_are_there_already() {
    let here = Folder::new();
    here.write("base/shared/.env/staging.env", "APP_KEY=x");
    here.write("base/releases/old/bootstrap/cache/config.php", "<?php");
    here.write("base/releases/old/bootstrap/cache/views/page.php", "<?php");
    here.write("base/releases/old/artisan", "<?php");
    for (path, mode) in [
        ("base", 0o755),
        ("base/shared", 0o755),
        ("base/shared/.env", 0o750),
        ("base/shared/.env/staging.env", 0o640),
        ("base/releases", 0o755),
        ("base/releases/old/bootstrap/cache/config.php", 0o640),
        ("base/releases/old/bootstrap/cache/views/page.php", 0o666),
    ] {
        here.mode(path, mode);
    }
    let look = || {
        let script = Script::new("modes", include_str!("../../src/server/inspect/modes.sh"));
        let script = script.var("BASE", here.path("base")).var("ENV_FILE", here.path("base/shared/.env/staging.env"));
        let mut found: Vec<String> = answers(&script)
            .into_iter()
            .filter(|(key, _)| ["readable", "open", "open-folder"].contains(&key.as_str()) || key.starts_with("list-"))
            .map(|(key, path)| format!("{key} {}", path.trim_start_matches(&here.path("")).trim_start_matches('/')))
            .collect();
        found.sort();
        found
    };
    assert!(look().is_empty(), "{:?}", look());
    here.mode("base/releases/old/bootstrap/cache/config.php", 0o644);
    assert_eq!(look(), ["readable base/releases/old/bootstrap/cache/config.php"]);
    here.mode("base/shared/.env/staging.env", 0o644);
    assert!(look().is_empty(), "every account reads .env");
    here.mode("base/releases/old/artisan", 0o646);
    here.mode("base/releases", 0o777);
    assert_eq!(look(), ["open base/releases/old/artisan", "open-folder base/releases"]);

    // The group is this account's own, and the group bits are what the list gives to another account.
    here.mode("base/releases/old/artisan", 0o644);
    here.mode("base/releases", 0o755);
    for (path, right) in [
        ("base/releases", 0o7),
        ("base/releases/old/artisan", 0o6),
        ("base/releases/old/bootstrap/cache/config.php", 0o4),
    ] {
        give_access(Path::new(&here.path(path)), right);
    }
    let listed: Vec<String> = look().into_iter().filter(|line| line.starts_with("list-")).collect();
    assert_eq!(
        listed,
        [
            "list-folder base/releases",
            "list-open base/releases/old/artisan",
            "list-readable base/releases/old/bootstrap/cache/config.php"
        ]
    );
}

// All of it, on a server.

/// Runs a script as the site's account.
fn as_site(story: &Story, script: &str) -> String {
    let script = format!("cd {BASE}\nset -eu\n{script}").replace('\'', "'\\''");
    story.lab.exec(&format!("su www-data -s /bin/sh -c '{script}'")).expect("what code in the site can do")
}

fn as_root(story: &Story, script: &str) -> String {
    story.lab.exec(&format!("set -eu; cd {BASE}\n{script}")).expect("a command on the server")
}

/// Where Laravel's file cache keeps the signal for queue workers: sha1 of its key.
const SIGNAL: &str = "$(printf illuminate:queue:restart | sha1sum | cut -c1-40)";

#[test]
fn se4_se5_se6_se9_se15_fd46_code_in_the_site_does_not_become_the_deploy_user() {
    let story = story();
    // As where PHP-FPM's group is given to every folder that is made below.
    as_root(
        &story,
        "chgrp www-data releases && chmod 2775 releases && sed -i s/QUEUE_CONNECTION=sync/QUEUE_CONNECTION=database/ shared/.env/staging.env",
    );
    let keys = "cat /home/deploy/.ssh/authorized_keys shared/.env/staging.env | sha256sum";
    let before = as_root(&story, keys);
    as_site(
        &story,
        &format!(
            "umask 002; rm -f shared/storage/logs/laravel.log; ln -s /home/deploy/.ssh/authorized_keys shared/storage/logs/laravel.log
             signal={SIGNAL}; store=shared/storage/framework/cache/data; two=$(echo $signal | cut -c1-2); four=$(echo $signal | cut -c3-4)
             mkdir -p $store/$two/$four; rm -f $store/$two/$four/$signal; ln -s {BASE}/shared/.env/staging.env $store/$two/$four/$signal
             cp /bin/bash /tmp/php-fpm8.2
             setsid /tmp/php-fpm8.2 -c '/tmp/php-fpm8.2 -c \"sleep 900; :\" & wait; :' </dev/null >/dev/null 2>&1 &"
        ),
    );
    let first = commit("with a line for a log");
    let tree = app::source(&first, Variant::Healthy).expect("the tree");
    let key = "Illuminate\\Support\\Facades\\Log::error(\"\\nssh-ed25519 AAAA site\\n\");";
    tree.write("database/migrations/2031_01_01_000000_log.php", migration(key)).expect("a migration");
    // PHP prints a byte order mark. What the app prints while it starts is in no answer of the next release's backup and plan.
    let queue = include_str!("../../lab/app/config/queue.php");
    tree.write("config/queue.php", format!("\u{feff}{queue}")).expect("a configuration");
    story.publish(&story.build(&first, &tree).expect("the build")).expect("the artifact");

    let finished = story.deploy(&first);

    assert_ended(&finished, 0, "live");
    assert_says(&finished.log, &["ssh-ed25519 AAAA site", "queue:restart"]);
    assert_eq!(as_root(&story, keys), before, "neither the keys nor .env were written to");
    let signal = format!("signal={SIGNAL}; cat shared/storage/framework/cache/data/*/*/$signal");
    assert_says(&as_root(&story, &signal), &["i:"]);
    let release = output(&finished, "release").to_owned();
    // Secrets.
    let closed = "test \"$(stat -c '%a %G' current/bootstrap/cache/config.php)\" = '640 www-data'";
    as_root(&story, closed);
    let open = as_root(
        &story,
        &format!("find releases/{release} -path '*/bootstrap/cache/views' -prune -o ! -type l -perm /022 -print"),
    );
    assert_eq!(open, "", "what the deploy user runs is its own");
    // The site's own log channel is in its configuration, and its views are in the release.
    assert_says(
        &as_root(&story, "cat current/bootstrap/cache/config.php"),
        &["'default' => 'single'", "/storage/logs/laravel.log", "/bootstrap/cache/views'"],
    );
    as_root(
        &story,
        "test -n \"$(ls current/bootstrap/cache/views)\" && ls -A current/bootstrap/cache >/tmp/caches && ! grep gated-deploy /tmp/caches",
    );

    // PHP in the caches of what is live runs when the site is asked, and not when a run asks the app. A folder that the site closed there.
    as_root(
        &story,
        "cd current/bootstrap/cache; cp -a config.php real.php; echo \"<?php if (PHP_SAPI === 'cli') touch('/tmp/evil'); return require __DIR__ . '/real.php';\" >config.php",
    );
    as_site(&story, "cd current/bootstrap/cache/views; mkdir closed; touch closed/page.php; chmod 500 closed");

    // PHP in a confirmed release, where it was left out of the digest.
    let second = commit("the next one");
    story.ship(&second, Variant::Healthy).expect("the build");
    assert_ended(&story.deploy(&second), 0, "live");
    let evil = "<?php touch('/tmp/evil'); return [];";
    as_root(
        &story,
        &format!(
            "mkdir releases/{release}/public/gated-deploy-x; echo \"{evil}\" | tee releases/{release}/public/gated-deploy-x/x.php \
         releases/{release}/bootstrap/cache/services.php releases/{release}/bootstrap/cache/packages.php >releases/{release}/bootstrap/cache/events.php"
        ),
    );
    let back = || {
        story
            .staging(&second)
            .input("stage", "rollback")
            .input("environment", "staging")
            .input("rollback-to", &release)
            .run_binary(story.binary())
    };
    let refused = back();
    assert_ended(&refused, 1, "refused");
    assert_says(&refused.log, &["its files changed after it was confirmed"]);
    as_root(&story, &format!("rm -r releases/{release}/public/gated-deploy-x"));
    let finished = back();
    assert_ended(&finished, 0, "live");
    assert_eq!(as_root(&story, "ls /tmp/evil 2>/dev/null || echo none").trim(), "none");
    assert_eq!(as_root(&story, "grep -l evil current/bootstrap/cache/*.php || echo none").trim(), "none");
    as_root(&story, closed);
    assert_says(&as_root(&story, "find .gated-deploy/left -name page.php"), &["/views/closed/page.php"]);
}
