<?php
// Starts an app so that it writes nothing, and runs no PHP, where another account can write, and reads no objects that another account
// stored: it logs to standard error, keeps caches and sessions in memory, and compiles views in a folder of the run. The app's own files
// decide everything else.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);

// PHP defines these only for a program in a file, and apps rely on them.
foreach (['STDIN' => 'r', 'STDOUT' => 'w', 'STDERR' => 'w'] as $name => $mode) {
    defined($name) || define($name, fopen('php://' . strtolower($name), $mode));
}

// What the app prints by itself is log, and no part of an answer: a byte order mark in one of its files would be.
$log = fopen('php://stderr', 'w');
ob_start(function (string $text) use ($log): string {
    fwrite($log, $text);
    return '';
}, 1);

// Answers the script that started this program, on a descriptor of its own: what the app writes to standard output is log.
function gated_deploy_answer(string ...$parts): void
{
    file_put_contents('php://fd/5', implode('', $parts));
}

// Answers names, each in a line of its own. They come from the app's database, where the site writes: a name with a line feed would go on as
// an answer of this program, so what no file of code is called is left out.
function gated_deploy_answer_names(string $key, array $names): void
{
    foreach ($names as $name) {
        if (preg_match('/^[!-~]+$/D', (string) $name)) {
            gated_deploy_answer("$key=$name\n");
        }
    }
}

// A message for the log.
function gated_deploy_say(string $text): void
{
    file_put_contents('php://stderr', $text . "\n");
}

// Runs one artisan command of a started app, as its file `artisan` does, and returns the command's status.
function gated_deploy_artisan($kernel, string ...$words): int
{
    $input = new Symfony\Component\Console\Input\ArgvInput(array_merge(['artisan'], $words, ['--no-interaction', '--no-ansi']));
    return $kernel->handle($input, new Symfony\Component\Console\Output\ConsoleOutput());
}

// Why an SQLite database is not opened by this account, or null. The site writes beside its database, and SQLite does to the files there
// what their owner could not: it deletes the file that a rollback journal names, and leaves a write-ahead log that the site cannot write.
function gated_deploy_sqlite_hazard(string $file): ?string
{
    foreach (['', '-journal', '-wal', '-shm'] as $end) {
        if ($end !== '' && is_link("$file$end")) {
            return "$file$end is a link, which an SQLite database never has beside it; remove the link";
        }
    }
    if (!is_file($file)) {
        return null;
    }
    // The last eight bytes of a journal say that the name of another file stands before them.
    if (is_file("$file-journal") && (string) @file_get_contents("$file-journal", false, null, max(0, filesize("$file-journal") - 8)) === "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7") {
        return "$file-journal names another file, which SQLite would delete; open the database once as the site's account, or remove the journal";
    }
    $writes_ahead = in_array("\x02", str_split((string) @file_get_contents($file, false, null, 18, 2)), true);
    if ($writes_ahead && !is_writable($file)) {
        return "$file has a write-ahead log, and this account may not write it: the log that it would leave would lock the site out; run as the file's owner: chmod g+w on it";
    }
    $folder = dirname($file);
    $shared = (fileperms($folder) & 02000) !== 0 && filegroup($folder) === filegroup($file);
    // /proc/self belongs to this process's account and group.
    if ($writes_ahead && fileowner($file) !== fileowner('/proc/self') && !$shared && filegroup($file) !== filegroup('/proc/self')) {
        return "$file has a write-ahead log, and files that this account makes beside it are not of its group; run as the folder's owner: chmod g+s $folder";
    }
    return null;
}

// Stops before an app opens an SQLite database that would do harm.
function gated_deploy_guard_sqlite(array $connections, string $tree): void
{
    foreach ($connections as $connection) {
        $file = is_array($connection) && ($connection['driver'] ?? null) === 'sqlite' ? (string) ($connection['database'] ?? '') : '';
        $hazard = $file === '' ? null : gated_deploy_sqlite_hazard($file[0] === '/' ? $file : "$tree/$file");
        if ($hazard !== null) {
            throw new RuntimeException($hazard);
        }
    }
}

// The sections of the configuration that are set, as [section => values].
function gated_deploy_settings(array $own, string $private): array
{
    $log = ['driver' => 'monolog', 'handler' => 'Monolog\Handler\StreamHandler', 'with' => ['stream' => 'php://stderr'], 'path' => 'php://stderr'];
    $none = ['driver' => 'monolog', 'handler' => 'Monolog\Handler\NullHandler'];
    $logging = $own['logging'];
    $logging['default'] = 'gated-deploy';
    $logging['deprecations'] = 'null';
    $logging['channels'] = array_fill_keys(array_keys($logging['channels'] ?? []), $log);
    $logging['channels'] = ['gated-deploy' => $log, 'emergency' => $log, 'null' => $none, 'deprecations' => $none] + $logging['channels'];
    // Every store keeps its name and its other values: an app may read them.
    $cache = $own['cache'];
    foreach ($cache['stores'] ?? [] as $name => $store) {
        $driver = $store['driver'] ?? 'null';
        if (is_array($store) && $driver !== 'array' && $driver !== 'null') {
            $cache['stores'][$name] = ['driver' => 'array'] + ($driver === 'file' ? gated_deploy_cache_files($private) : []) + $store;
        }
    }
    $settings = ['logging' => $logging, 'cache' => $cache, 'view' => ['compiled' => "$private/storage/framework/views"] + $own['view']];
    // The session of the driver redis wants a store of that driver.
    if ($own['session'] !== []) {
        $settings['session'] = ['driver' => 'array'] + $own['session'];
    }
    return $settings;
}

// Where a store of the driver file keeps its values and locks while a program of ours runs.
function gated_deploy_cache_files(string $private): array
{
    return ['path' => "$private/storage/framework/cache/data", 'lock_path' => "$private/storage/framework/cache/data"];
}

// A section as it would be if nothing had been set: what the app itself changed since stays.
function gated_deploy_restored(array $now, array $set, array $before): array
{
    foreach ($now as $key => $value) {
        if (!array_key_exists($key, $set)) {
            continue;
        }
        if ($value === $set[$key]) {
            if (array_key_exists($key, $before)) {
                $now[$key] = $before[$key];
            } else {
                unset($now[$key]);
            }
        } elseif (is_array($value) && is_array($set[$key])) {
            $now[$key] = gated_deploy_restored($value, $set[$key], (array) ($before[$key] ?? []));
        }
    }
    return $now;
}

// The folder on this machine where the app's own cache store of this name keeps its values; null if it keeps them elsewhere.
function gated_deploy_cache_folder($config, array $stores, string $name): ?string
{
    $store = $stores[$name] ?? [];
    unset($stores[$name]);
    $driver = $store['driver'] ?? 'null';
    if ($driver === 'file') {
        return $store['path'] ?? null;
    }
    if ($driver === 'failover') {
        foreach ($store['stores'] ?? [] as $next) {
            $folder = gated_deploy_cache_folder($config, $stores, $next);
            if ($folder !== null) {
                return $folder;
            }
        }
    }
    if ($driver !== 'storage') {
        return null;
    }
    // Laravel 13: a disk of the app, which may be a part of another one.
    $path = $store['path'] ?? '';
    $disk = $store['disk'] ?? $config->get('filesystems.default');
    do {
        $disk = is_array($disk) ? $disk : (array) $config->get("filesystems.disks.$disk", []);
        $path = trim(($disk['prefix'] ?? '') . "/$path", '/');
        $kind = $disk['driver'] ?? '';
        $root = rtrim($disk['root'] ?? '', '/');
        $disk = $disk['disk'] ?? null;
    } while ($kind === 'scoped' && $disk !== null);
    return $kind === 'local' ? rtrim("$root/$path", '/') : null;
}

// Gives a started app the cache stores that it shares with the site, for a command that writes to them. Stores that keep their values in
// files on this machine lead to a folder of the run.
function gated_deploy_share_caches($app, array $before): void
{
    if (!$app->bound('cache')) {
        return;
    }
    $config = $app->make('config');
    $files = gated_deploy_cache_files(getenv('GATED_DEPLOY_PRIVATE'));
    $config->set('filesystems.disks.gated-deploy', ['driver' => 'local', 'root' => $files['path']]);
    $own = $before['own']['cache'];
    foreach ($own['stores'] ?? [] as $name => $store) {
        $driver = $store['driver'] ?? 'null';
        if ($driver === 'file') {
            $own['stores'][$name] = $files + $store;
        } elseif ($driver === 'storage' && gated_deploy_cache_folder($config, $own['stores'], $name) !== null) {
            $own['stores'][$name] = ['disk' => 'gated-deploy', 'path' => ''] + $store;
        }
    }
    $config->set('cache', gated_deploy_restored((array) $config->get('cache', []), $before['set']['cache'], $own));
    // What the app took from the manager while it started writes to the shared store, too.
    $manager = $app->make('cache');
    foreach ((fn () => $this->stores ?? [])->call($manager) as $name => $taken) {
        if (($before['set']['cache']['stores'][$name] ?? null) === ($before['own']['cache']['stores'][$name] ?? null)) {
            continue;
        }
        $manager->forgetDriver($name);
        try {
            $store = $manager->store($name)->getStore();
        } catch (Throwable $error) {
            gated_deploy_say("what the app took from its cache store $name stays in memory: " . get_class($error) . ': ' . $error->getMessage());
            continue;
        }
        (function () use ($store) {
            $this->store = $store;
        })->call($taken);
    }
}

// Loads PHP that an app generates (real-time facades) from the storage of the run, also where a command needs the app's own storage path.
function gated_deploy_facades($app, string $storage)
{
    return new class($app, $storage) extends Illuminate\Foundation\AliasLoader {
        private $app;
        private $storage;

        public function __construct($app, string $storage)
        {
            $this->app = $app;
            $this->storage = $storage;
            $this->aliases = [];
        }

        protected function loadFacade($alias)
        {
            $own = $this->app->storagePath();
            $this->app->useStoragePath($this->storage);
            try {
                parent::loadFacade($alias);
            } finally {
                $this->app->useStoragePath($own);
            }
        }
    };
}

// $before gets the app's own sections and its own storage path. With $storage the app's storage path is the run's, too.
function gated_deploy_app(string $tree, bool $storage = true, ?array &$before = null)
{
    $private = getenv('GATED_DEPLOY_PRIVATE');
    require_once $tree . '/vendor/autoload.php';
    $app = require $tree . '/bootstrap/app.php';
    $set = function ($app) use ($private, $storage, $tree, &$before) {
        $config = $app->make('config');
        gated_deploy_guard_sqlite((array) $config->get('database.connections', []), $tree);
        $own = [];
        foreach (['logging', 'cache', 'view', 'session'] as $section) {
            $own[$section] = (array) $config->get($section, []);
        }
        $settings = gated_deploy_settings($own, $private);
        $before = ['own' => $own, 'set' => $settings, 'storage' => $app->storagePath()];
        $config->set($settings);
        if ($storage) {
            $app->useStoragePath("$private/storage");
        }
        Illuminate\Foundation\AliasLoader::setInstance(gated_deploy_facades($app, "$private/storage"));
    };
    $app->afterBootstrapping('Illuminate\Foundation\Bootstrap\LoadConfiguration', $set);
    return $app;
}
?>
