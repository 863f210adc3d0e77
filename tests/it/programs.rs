//! The programs in PHP, run by the server's PHP beside an app that has what apps have.

use std::fs;

use gated_deploy::server::{database, remote};
use gated_deploy_lab::{
    Lab, Options,
    app::{self, Variant},
    story::commit,
};

use crate::{
    plan::migration,
    support::{assert_ended, assert_says, story},
};

const TREE: &str = "/var/www/staging/current";

/// Functions, classes and constants as an app's own helpers may be called.
const HELPERS: &str = "<?php
function open() {} function fromApp() {} function fromEnv() {} function dotenv() {} function dotenv_value() {} function complain() {}
function mask_sql() {} function mask_error() {} function still_open() {} function pass() {} function app_env() {} function app_key() {}
class Values {} class Output {}
";

/// Runs a program with a private folder as a script makes one. The lines that it answers with, and its log behind them.
fn asks(lab: &Lab, program: &str, cwd: &str, arguments: &str) -> String {
    asks_as(lab, "bash", program, cwd, arguments)
}

/// The same with another program that reads the script from its input.
fn asks_as(lab: &Lab, shell: &str, program: &str, cwd: &str, arguments: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("program.php"), program).expect("the program");
    lab.exec("rm -rf /tmp/programs").expect("no folder");
    lab.upload(folder.path(), "/tmp/programs").expect("uploading");
    let folders = "app logs framework/views framework/sessions framework/cache/data";
    lab.exec(&format!(
        "cat >/tmp/asks <<'ASKS'
        cd {cwd}; private=$(mktemp -d ./gated-deploy.XXXXXX); private=$PWD/${{private#./}}; for one in {folders}; do mkdir -p $private/storage/$one; done
        GATED_DEPLOY_PRIVATE=$private APP_CONFIG_CACHE=$private/none.php APP_SERVICES_CACHE=$private/services.php APP_PACKAGES_CACHE=$private/packages.php \\
        php -d display_errors=stderr -- {arguments} </tmp/programs/program.php 5>&1 2>&1; status=$?; rm -rf $private; echo ended $status
ASKS
        {shell} </tmp/asks"
    ))
    .expect("the program")
}

#[test]
fn fd27_fd28_programs_run_beside_an_apps_own_helpers_and_name_its_database_without_making_it() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let on = |script: &str| lab.exec(&format!("cd {TREE}/ && {script}")).unwrap_or_else(|e| panic!("{script}: {e}"));
    let database = |arguments: &str| asks(&lab, database::PROGRAM, "/tmp", arguments);
    let env = "/var/www/staging/shared/.env/staging.env";

    // Composer loads such helpers with the app.
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("helpers.php"), HELPERS).expect("helpers");
    lab.upload(folder.path(), "/tmp/helpers").expect("uploading");
    on("sed -i '2i require \"/tmp/helpers/helpers.php\";' vendor/autoload.php");
    let said = database(&format!("describe {env} {TREE}"));
    assert!(said.contains("driver=mysql\n") && said.contains("\ntables=") && said.ends_with("ended 0\n"), "{said}");

    // Laravel 11's configuration: SQLite in the release, unless .env says otherwise.
    on(
        "cp config/database.php /tmp/database.php; sed -i \"s~'default' => .*~'default' => 'sqlite',~\" config/database.php; \
        grep -q \"'sqlite' => \\[\" config/database.php || sed -i \"s~'connections' => \\[~&'sqlite' => ['driver' => 'sqlite', 'database' => database_path('database.sqlite')],~\" config/database.php",
    );
    let release = on("pwd -P").trim().to_owned();
    let before = lab.tree_digest(&release).expect("the digest");
    for mode in ["place", "describe"] {
        let said = database(&format!("{mode} {env} {TREE}"));
        let wanted = format!("driver=sqlite\ndatabase={release}/database/database.sqlite\nthere=no\ninside=yes\n");
        assert!(said.starts_with(&wanted) && said.ends_with("ended 0\n"), "{said}");
    }
    assert_eq!(lab.tree_digest(&release).expect("the digest"), before, "the release is as it was");
    // Behind a link it lies elsewhere.
    on("ln -s /var/www/staging/shared/storage/app/live.sqlite database/database.sqlite");
    let said = database(&format!("place {env} {TREE}"));
    assert!(said.contains("/shared/storage/app/live.sqlite\nthere=no\ninside=no\n"), "{said}");
    on("rm database/database.sqlite; cp /tmp/database.php config/database.php");

    // Before the first release, by Laravel's own rules: an address counts more than what stands beside it.
    for (lines, wanted) in [
        ("DB_URL=mysql://u:p%40ss@h:3307/shop", "driver=mysql\ndatabase=shop\n"),
        ("DB_CONNECTION=mysql\\nDB_DATABASE=a\\nDB_URL=\"postgres://h/b\"", "driver=pgsql\ndatabase=b\n"),
        ("DB_CONNECTION=sqlite", "driver=sqlite\ndatabase=database/database.sqlite\nthere=no\ninside=yes\n"),
        ("DB_URL=sqlite:////srv/x.sqlite", "driver=sqlite\ndatabase=/srv/x.sqlite\nthere=no\ninside=no\n"),
        ("DB_CONNECTION=sqlite\\nDB_DATABASE=:memory:", "driver=memory\ndatabase=:memory:\n"),
        ("APP_ENV=staging", "driver=none\ndatabase=\n"),
    ] {
        on(&format!("printf '%b\\n' '{lines}' >/tmp/case.env"));
        let said = database("place /tmp/case.env ''");
        assert_eq!(said, format!("{wanted}ended 0\n"), "{lines}");
    }
    on("echo 'DB_URL=\"mysql://u:p%40ss@h:3307/shop\"' >/tmp/case.env");
    let said = database("options /tmp/case.env ''");
    assert!(said.contains("host=\"h\"\nport=3307\nuser=\"u\"\npassword=\"p@ss\"\n"), "{said}");

    // A password that the server refuses: its own words.
    on("sed 's/^DB_PASSWORD=.*/DB_PASSWORD=another-one/' /var/www/staging/shared/.env/staging.env >/tmp/case.env");
    let said = database("describe /tmp/case.env ''");
    assert!(said.contains("\nproblem=PDOException: ") && said.contains("Access denied"), "{said}");

    // The place of the release behind a link: what the cached configuration says is the release's own.
    on(
        "sed -i '/^return /i $app->booted(fn ($app) => $app[\"config\"]->set(\"places.views\", realpath($app->storagePath() . \"/framework/views\")));' bootstrap/app.php; ln -s /var/www/staging /tmp/link",
    );
    let program = format!("{}{}", remote::APP, include_str!("../../src/server/release_dir/caches.php"));
    let cwd = format!("/tmp/link/{}", release.trim_start_matches("/var/www/staging/"));
    let said = asks(&lab, &program, &cwd, "/tmp/cached.php /tmp/own.php '' config");
    assert!(said.ends_with("ended 0\n"), "{said}");
    let views = on("php -r '$all = require \"/tmp/cached.php\"; echo $all[\"places\"][\"views\"];'");
    assert_eq!(views, format!("{release}/storage/framework/views"));
    let cached = on("cat /tmp/cached.php");
    assert!(!cached.contains("gated-deploy.") && !cached.contains("/tmp/link"), "{cached}");
}

/// A default store of each of these kinds, as an app may have several.
const CACHE: &str = "<?php return ['default' => 'database', 'limiter' => 'redis', 'prefix' => 'lab', 'stores' => [
    'array' => ['driver' => 'array'],
    'database' => ['driver' => 'database', 'table' => 'cache', 'connection' => null],
    'redis' => ['driver' => 'redis', 'connection' => 'cache'],
    'own' => ['driver' => 'of-the-app']]];\n";

const SESSION: &str = "<?php return ['driver' => 'redis', 'lifetime' => 120, 'cookie' => 'lab', 'connection' => null, 'store' => null];\n";

/// Whoever reads an object of the class `Stored` leaves a file behind.
const READS_WHILE_IT_STARTS: &str = r#"<?php

namespace App\Providers;

class Stored
{
    public function __wakeup()
    {
        touch('/tmp/evil');
    }
}

// Commands are made before the one that is asked for runs.
class ReadsWhenItIsMade extends \Illuminate\Console\Command
{
    protected $signature = 'app:reads';

    public function __construct()
    {
        parent::__construct();
        app('cache')->store('database')->get('stored');
    }
}

class AppServiceProvider extends \Illuminate\Support\ServiceProvider
{
    public static $taken;

    public function boot()
    {
        $this->commands([ReadsWhenItIsMade::class]);
        self::$taken = $this->app['cache']->store();
        self::$taken->get('stored');
        $this->app['cache']->store('redis')->get('stored');
        $this->app['cache']->store('own')->get('stored');
        $this->app->make('Illuminate\Cache\RateLimiter')->attempts('stored');
        $this->app['session.store']->all();
        if (config('cache.default') !== 'database' || config('cache.stores.redis.connection') !== 'cache') {
            throw new \Exception('the configuration is another one');
        }
    }
}
"#;

const STORED: &str = r#"CREATE TABLE cache (`key` varchar(191) PRIMARY KEY, value mediumtext, expiration int);
INSERT INTO cache VALUES ('labone', 'i:1;', 2000000000), ('labtwo', 'i:2;', 2000000000),
    ('labstored', 'O:20:"App\\Providers\\Stored":0:{}', 2000000000);
"#;

/// Comments and backslashes, which databases read in different ways.
const MASKS: &str = r##"<?php
require __DIR__ . '/sql.php';
foreach ([
    ["update users -- don't lock\nset note = 'topsecret', name = 'bob'", true],
    ["/* it's */ insert into t values ('topsecret')", true],
    ["# it's\ninsert into t values ('topsecret')", true],
    ["insert into t values ('C:\\', 'topsecret')", false],
    ["update users set name = 'topsecret'", false],
    ["alter table `users` add 'topsecret'", true],
] as [$sql, $double]) {
    echo trim(gated_deploy_mask_sql($sql, $double)), "\n";
}
"##;

/// FD7: in cached routes a closure is text. It is a route all the same.
#[test]
fn fd7_a_closure_is_a_route_in_cached_routes_too() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let on = |script: &str| lab.exec(&format!("cd {TREE}/ && {script}")).unwrap_or_else(|e| panic!("{script}: {e}"));
    let folder = tempfile::tempdir().expect("a folder");
    let routes = "<?php\nuse Illuminate\\Support\\Facades\\Route;\n\
                  Route::get('/closure', fn () => 'ok');\n";
    fs::write(folder.path().join("web.php"), routes).expect("a file");
    lab.upload(folder.path(), "/tmp/app").expect("uploading");
    on("rm -f bootstrap/cache/*.php; cp /tmp/app/web.php routes/web.php");
    let program = format!("{}{}", remote::APP, include_str!("../../src/server/release_dir/boot.php"));
    let boot = || asks(&lab, &program, TREE, "http://localhost \"$(printf '/closure\\n/none')\"");
    let plain = boot();
    assert_says(&plain, &["\nroute=/closure=ok\n", "\nroute=/none=missing\n"]);
    on("php artisan route:cache && grep -q SerializableClosure bootstrap/cache/routes-v7.php");
    let cached = boot();
    assert_says(&cached, &["\nroute=/closure=ok\n", "\nroute=/none=missing\n"]);
}

#[test]
fn se4_an_app_starts_without_what_the_site_stored_in_any_cache() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let on = |script: &str| lab.exec(&format!("cd {TREE}/ && {script}")).unwrap_or_else(|e| panic!("{script}: {e}"));
    let ask = |program: &str, arguments: &str| {
        let said = asks(&lab, &format!("{}{program}", remote::APP), TREE, arguments);
        assert!(said.ends_with("ended 0\n"), "{said}");
        assert_eq!(on("ls /tmp/evil 2>/dev/null || echo none").trim(), "none", "{said}");
        said
    };
    let boot = || ask(include_str!("../../src/server/release_dir/boot.php"), "http://localhost /");
    let caches = |list: &str| {
        let program = include_str!("../../src/server/release_dir/caches.php");
        ask(program, &format!("/tmp/cached.php /tmp/own.php '' {list}"))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let removes = migration("app('cache')->forget('one'); App\\Providers\\AppServiceProvider::$taken->forget('two');");
    for (name, text) in [
        ("cache.php", CACHE),
        ("session.php", SESSION),
        ("AppServiceProvider.php", READS_WHILE_IT_STARTS),
        ("2031_01_01_000000_removes.php", &removes),
        ("cache.sql", STORED),
        ("sql.php", include_str!("../../src/transport/sql.php")),
        ("masks.php", MASKS),
        (
            "web.php",
            "<?php use Illuminate\\Support\\Facades\\Route; class_exists('Facades\\App\\Http\\Kernel'); Route::get('/', App\\Http\\Controllers\\HomeController::class);\n",
        ),
    ] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    lab.upload(folder.path(), "/tmp/app").expect("uploading");
    on("rm -f bootstrap/cache/*.php; cp /tmp/app/cache.php /tmp/app/session.php config/; cp /tmp/app/AppServiceProvider.php app/Providers/
        sed -i 's~.*CacheServiceProvider.*~&Illuminate\\\\Session\\\\SessionServiceProvider::class,~' config/app.php
        echo \"<?php touch('/tmp/evil');\" >/tmp/facade.php");

    // What a database would read as data is not shown, whatever stands before it.
    let masked = on("php -n /tmp/app/masks.php");
    assert!(!masked.contains("topsecret"), "{masked}");
    assert_says(&masked, &["alter table `users` add '***'\n", "update users '***'\n", "insert into t '***'\n"]);

    // There is no table, no Redis, and no driver of the app's own.
    assert_says(&boot(), &["\nartisan=ok\n"]);

    // The site stores an object.
    let keys = || {
        on("mariadb -N lab_staging -e 'SELECT `key` FROM cache ORDER BY `key`'")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    on("mariadb lab_staging </tmp/app/cache.sql");
    on("php artisan --version >/dev/null 2>&1; rm /tmp/evil");
    assert_says(&boot(), &["\nartisan=ok\n"]);
    assert!(asks(&lab, database::PROGRAM, "/tmp", &format!("describe .env {TREE}")).contains("\ntables="));
    on("test ! -e /tmp/evil");
    assert_says(&ask(include_str!("../../src/server/database/migrations.php"), ""), &["\nlisted=yes\n"]);

    // The site has its own stores.
    assert_says(&caches("config route event"), &["done=config\n", "done=route\n", "done=event\n"]);
    let kept = on(
        "php -r '$all = require \"/tmp/cached.php\"; foreach ($all[\"cache\"][\"stores\"] as $store) echo $store[\"driver\"], \" \"; echo $all[\"session\"][\"driver\"];'",
    );
    assert_eq!(kept, "array database redis of-the-app redis");
    on("rm -f bootstrap/cache/*.php /tmp/own.php");

    // Where the configuration cannot be cached, a second start of the app is one of ours, too. It loads no PHP of the site either.
    on("cp /tmp/app/web.php routes/web.php; echo '<?php return [fn () => 1];' >config/closure.php
        cp /tmp/facade.php storage/framework/cache/facade-$(printf '%s' 'Facades\\App\\Http\\Kernel' | sha1sum | cut -c1-40).php");
    assert_says(&caches("config route"), &["failed=config\n", "done=route\n"]);
    // What the storage path of a run was written into leads nowhere afterwards.
    on("rm -f bootstrap/cache/*.php; echo \"Route::redirect('/where', storage_path('app'));\" >>routes/web.php");
    assert_says(&caches("route"), &["failed=route\n", "uses storage_path()"]);
    on("test ! -e bootstrap/cache/routes-v7.php; rm config/closure.php");

    // What is to write to the site's cache does.
    on("cp /tmp/app/2031_01_01_000000_removes.php database/migrations/");
    let program = format!(
        "{}{}",
        include_str!("../../src/transport/sql.php"),
        include_str!("../../src/server/database/migrate.php")
    );
    assert_says(&ask(&program, "migrate"), &["after=2031_01_01_000000_removes\n"]);
    assert_eq!(keys(), "labstored");
    on("sed -i s/QUEUE_CONNECTION=sync/QUEUE_CONNECTION=database/ .env");
    assert_says(
        &ask(include_str!("../../src/server/services/workers.php"), ""),
        &["command=queue:restart\n", "status=0\n"],
    );
    assert_eq!(keys(), "labilluminate:queue:restart labstored");
}

/// Laravel 11's configuration of databases.
const ELEVEN: &str = "<?php return ['default' => env('DB_CONNECTION', 'sqlite'), 'migrations' => 'migrations', 'connections' => [
    'sqlite' => ['driver' => 'sqlite', 'url' => env('DB_URL'), 'database' => env('DB_DATABASE', database_path('database.sqlite')), 'prefix' => '']]];\n";

/// The site owns the folder of its SQLite database, and so all that SQLite finds beside it.
#[test]
fn se3_what_stands_beside_an_sqlite_database_makes_the_deploy_user_do_no_harm() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let on = |script: &str| lab.exec(script).unwrap_or_else(|e| panic!("{script}: {e}"));
    on("install -d -o deploy -g www-data -m 2775 /srv/data; echo kept >/srv/kept; chown deploy /srv/kept
        printf 'DB_CONNECTION=sqlite\nDB_DATABASE=/srv/data/app.sqlite\n' >/srv/env");
    let describe = |tree: &str| {
        asks_as(&lab, "su deploy -s /bin/bash", database::PROGRAM, "/tmp", &format!("describe /srv/env {tree}"))
    };
    // The header of a database: bytes 18 and 19 are 1 for a rollback journal, and 2 for a write-ahead log.
    let made = |mode: u8, file_mode: &str| {
        on(&format!(
            "cd /srv/data; rm -f *; {{ head -c 18 /dev/zero; printf '\\{mode:03o}\\{mode:03o}'; head -c 80 /dev/zero; }} >app.sqlite
            chown www-data:www-data app.sqlite; chmod {file_mode} app.sqlite"
        ))
    };
    let refused = |word: &str| {
        let said = describe("''");
        assert!(
            said.contains("problem=RuntimeException: /srv/data/app.sqlite") && said.contains(word),
            "{word}: {said}"
        );
        assert_eq!(on("cat /srv/kept; ls /srv/data | grep -c ."), on("echo kept; ls /srv/data | grep -c ."));
    };
    made(1, "664");
    on(
        "cd /srv/data; { printf '/srv/kept'; printf '\\331\\325\\005\\371\\040\\241\\143\\327'; } >app.sqlite-journal; chown www-data: app.sqlite-journal",
    );
    refused("app.sqlite-journal names another file, which SQLite would delete");
    // The app is not started either: its own connection would do the same.
    on("sed -i \"s~'default' => .*~'default' => 'sqlite',~; s~'connections' => \\[~&'sqlite' => ['driver' => 'sqlite', 'database' => '/srv/data/app.sqlite'],~\" /var/www/staging/current/config/database.php
        rm -f /var/www/staging/current/bootstrap/cache/config.php");
    let said = describe(TREE);
    assert!(said.contains("problem=RuntimeException: /srv/data/app.sqlite-journal names another file"), "{said}");
    made(1, "664");
    on("ln -s /srv/kept /srv/data/app.sqlite-wal");
    refused("app.sqlite-wal is a link");
    made(2, "644");
    refused("this account may not write it");
    made(2, "664");
    on("chmod g-s /srv/data");
    refused("files that this account makes beside it are not of its group");
    // What is as it should be is opened: this server's PHP has no driver for it.
    on("chmod 2775 /srv/data");
    for mode in [1, 2] {
        made(mode, "664");
        let said = describe("''");
        assert!(said.contains("could not find driver"), "{said}");
    }
}

/// Answers one request with 195 MB of a page and 195 MB of complaints.
const FLOOD: &str = r#"<?php
$server = stream_socket_server('unix:///tmp/canary/pool.sock');
$stream = stream_socket_accept($server, 60);
fread($stream, 8192);
$record = fn (int $type, string $content) => pack('CCnnCC', 1, $type, 1, strlen($content), 0, 0) . $content;
fwrite($stream, $record(6, "Status: 200 OK\r\n\r\n"));
for ($i = 0; $i < 3000; $i++) {
    fwrite($stream, $record(6, str_repeat('x', 65000)) . $record(7, str_repeat('e', 65000)));
}
fwrite($stream, $record(3, "\0\0\0\0\0\0\0\0"));
"#;

/// What the canary's functions make of a link of the site, of many logs, of large ones, and of a FIFO that took the place of one.
const LOGS: &str = r#"
mkdir('/tmp/canary/release/storage', 0755, true);
$logs = '/tmp/canary/release/storage/logs';
mkdir('/tmp/canary/elsewhere');
touch('/tmp/canary/elsewhere/laravel.log');
symlink('/tmp/canary/elsewhere', $logs);
echo count(gated_deploy_logs('/tmp/canary/release')), ' ';
lchown($logs, 'www-data');
echo count(gated_deploy_logs('/tmp/canary/release')), ' ';
unlink($logs);
mkdir($logs);
exec("mkfifo $logs/laravel-fifo.log");
symlink('/tmp/canary/elsewhere/laravel.log', "$logs/laravel-link.log");
echo count(gated_deploy_logs('/tmp/canary/release')), ' ';
for ($i = 0; $i < 300; $i++) {
    $file = fopen("$logs/laravel-$i.log", 'w');
    ftruncate($file, 262144);
}
$found = gated_deploy_logs('/tmp/canary/release');
echo count($found), ' ', strlen(gated_deploy_added([], $found)) < 1500000 ? 'bounded' : 'all', ' ';
exec('mkfifo /tmp/canary/fifo');
echo strlen(gated_deploy_added([], ['/tmp/canary/fifo' => ['ino' => 0, 'dev' => 0, 'size' => 9]]));
"#;

/// The site decides how much its pages and its logs have, and what lies in the place of a log.
#[test]
fn se9_what_the_site_says_before_the_switch_is_bounded_and_holds_nothing_up() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let program = include_str!("../../src/server/health/canary/fastcgi.php");
    let (functions, _) = program.split_once("$ask = json_decode(").expect("what follows the functions");
    let ask = serde_json::json!({
        "address": "unix:///tmp/canary/pool.sock", "chroot": null, "folders": [{ "release": TREE, "public": format!("{TREE}/public") }],
        "seconds": 50, "kept": 1000, "params": {}, "requests": [{ "folder": 0, "path": "/health", "params": {} }],
    });
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in
        [("program", program), ("functions", functions), ("flood.php", FLOOD), ("ask.json", &ask.to_string())]
    {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    lab.upload(folder.path(), "/tmp/canary").expect("uploading");
    let asked = lab.exec(
        "cd /tmp/canary; php flood.php & until [ -S pool.sock ]; do sleep 0.05; done
         php -d memory_limit=64M -r \"$(cat program)\" <ask.json 3>answers | awk '{ print length($0) }'
         tr '\\0' '\\n' <answers | awk '{ print $3, $4, length($5) }'",
    );
    // One line of what was complained of, behind the number of its folder; of the page its length, and as base64 the first thousand bytes.
    assert_eq!(asked.expect("the program"), "502\nwhole 195000018 1336\n");
    let logs =
        lab.exec(&format!("cd /tmp/canary; timeout 20 php -r \"$(cat functions)\"'{}'", LOGS.replace('\'', "'\\''")));
    assert_eq!(logs.expect("the functions"), "1 0 0 100 bounded 0");
}

#[test]
fn fd28_fd29_a_database_in_the_release_is_a_no_go_and_an_app_without_one_is_released() {
    let story = story();
    let on = |script: &str| story.lab.exec(&format!("cd /var/www/staging && {script}")).expect("a script");
    let env = "shared/.env/staging.env";
    on(&format!("sed -i '/^DB_/d' {env}"));
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("database.php"), ELEVEN).expect("the configuration");
    story.lab.upload(folder.path(), "/tmp/eleven").expect("uploading");
    on("cp /tmp/eleven/database.php current/config/database.php; rm -rf current/bootstrap/cache/config.php");
    let release = on("realpath current").trim().to_owned();
    let commit = commit("without a database");
    let tree = app::source(&commit, Variant::Healthy).expect("the tree");
    tree.write("config/database.php", ELEVEN).expect("the configuration");
    // An app that asks no database how it is.
    let controller = "app/Http/Controllers/HealthController.php";
    tree.replace(controller, "DB::table('visitors')->count() >= 0", "true").expect("the controller");
    story.publish(&story.build(&commit, &tree).expect("the build")).expect("the artifact");

    // Migrations would make the file. The live release says where: .env does not name it.
    let before = story.lab.tree_digest(&release).expect("the tree");
    let plan = story.staging(&commit).input("approval", "").run_binary(story.binary());
    assert_ended(&plan, 1, "refused");
    let words = "/database/database.sqlite is in the release: every release would start with an empty database";
    let line = "DB_DATABASE=/var/www/staging/shared/database/database.sqlite";
    assert_says(&plan.summary, &[words]);
    // The lab's PHP has no driver for it either: both are named at once.
    assert_says(&plan.log, &[words, line, "the extension pdo_sqlite is missing"]);
    // The pre-flight reads .env, and starts no app.
    on(&format!("echo DB_CONNECTION=sqlite >>{env}"));
    let preflight =
        story.staging(&commit).input("stage", "preflight").input("environment", "staging").input("approval", "");
    let preflight = preflight.run_binary(story.binary());
    assert_says(&preflight.summary, &[words, line, "a release reads it from the app"]);
    // What it refuses is the health of this app, whose database the test took away.
    assert_says(&preflight.log, &["2 of 3 endpoints are healthy", "the extension pdo_sqlite is missing"]);
    on(&format!("sed -i '/^DB_/d' {env}"));
    assert_eq!(story.lab.tree_digest(&release).expect("the tree"), before, "neither changed the release");

    let policy = "migrate: false\nrepair: true\nenvironments:\n  staging: {}\n";
    let live = story.staging(&commit).file(".github/gated-deploy.yml", policy);
    let live = live.run_binary(story.binary());
    assert_ended(&live, 0, "live");
    on(
        "test ! -e current/database/database.sqlite && test ! -e releases/20250101_000000-5eed1e55/database/database.sqlite",
    );
    let made = on("ls backups/*/");
    assert!(made.contains("app.tar.gz") && !made.contains("database"), "{made}");
}
