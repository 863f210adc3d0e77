<?php
// Starts an app so that it writes nothing, and runs no PHP, where another account can write: it logs to standard error, keeps what a
// file cache would hold in memory or in a folder of the run, and compiles views there. The app's own files decide everything else.
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
    $cache = $own['cache'];
    foreach ($cache['stores'] ?? [] as $name => $store) {
        if (($store['driver'] ?? '') === 'file') {
            $kept = getenv('GATED_DEPLOY_KEEP_CACHE') === 'yes';
            $cache['stores'][$name] = $kept ? ['path' => "$private/storage/framework/cache/data"] + $store : ['driver' => 'array'];
        }
    }
    return ['logging' => $logging, 'cache' => $cache, 'view' => ['compiled' => "$private/storage/framework/views"] + $own['view']];
}

// $before gets the app's own sections and its own storage path. With $storage the app's storage path is the run's, too: where an app
// keeps PHP that it generates (real-time facades).
function gated_deploy_app(string $tree, bool $storage = true, ?array &$before = null)
{
    $private = getenv('GATED_DEPLOY_PRIVATE');
    require $tree . '/vendor/autoload.php';
    $app = require $tree . '/bootstrap/app.php';
    $set = function ($app) use ($private, $storage, &$before) {
        $config = $app->make('config');
        $own = [];
        foreach (['logging', 'cache', 'view'] as $section) {
            $own[$section] = (array) $config->get($section, []);
        }
        $settings = gated_deploy_settings($own, $private);
        $before = ['own' => $own, 'set' => $settings, 'storage' => $app->storagePath()];
        $config->set($settings);
        if ($storage) {
            $app->useStoragePath("$private/storage");
        }
    };
    $app->afterBootstrapping('Illuminate\Foundation\Bootstrap\LoadConfiguration', $set);
    return $app;
}
?>
