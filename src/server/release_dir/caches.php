<?php
// Builds caches of the app in the working directory with one start of it, and answers each as soon as it was tried. Files for the site are
// written to names in a folder of the run: the script puts them in place. app.php comes before this file.
//
//   FILE OWN VIEWS CACHE...    FILE and OWN are where the configuration is written to, twice: as the app has it, and as this run has it. What
//                              this run has set is not in the first one; where compiled views lie (VIEWS) is, if that is not empty.
//                              CACHE is config, storage-link, view, route or event
//
//   done=CACHE                 it was built
//   failed=CACHE               it was not; the log says why. A cache that is not answered is one at which PHP ended
[, $file, $own, $views] = $argv;

function gated_deploy_write(string $file, array $all): void
{
    $text = '<?php return ' . var_export($all, true) . ";\n";
    if (file_put_contents($file, $text) !== strlen($text)) {
        throw new RuntimeException("$file could not be written completely");
    }
}

function gated_deploy_config($app, array $before, string $file, string $own, string $views): void
{
    $all = $app->make('config')->all();
    $mine = $all;
    foreach ($before['set'] as $section => $set) {
        $all[$section] = gated_deploy_restored((array) ($all[$section] ?? []), $set, $before['own'][$section]);
        if ($all[$section] === []) {
            unset($all[$section]);
        }
    }
    // What was worked out from the storage path after the run had set its own, also by `realpath` where a folder above is a link.
    $private = getenv('GATED_DEPLOY_PRIVATE');
    $places = ["$private/storage", realpath($private) . '/storage'];
    array_walk_recursive($all, function (&$value) use ($places, $before) {
        $value = is_string($value) ? str_replace($places, $before['storage'], $value) : $value;
    });
    if ($views !== '') {
        $all['view']['compiled'] = realpath($views) ?: $views;
    }
    gated_deploy_write($file, $all);
    require $file;
    gated_deploy_write($own, $mine);
}

// Routes are read from a second instance of the app. Laravel would start that one without what this run has set where the configuration
// is not cached, and with the app's own storage in any case, from where it loads PHP (real-time facades).
function gated_deploy_route_cache($app, $kernel): int
{
    $class = 'Illuminate\Foundation\Console\RouteCacheCommand';
    // A command of the app's own stays.
    if (get_class($app->make($app->bound('command.route.cache') ? 'command.route.cache' : $class)) === $class) {
        $kernel->registerCommand(new class($app->make('files')) extends Illuminate\Foundation\Console\RouteCacheCommand {
            protected function getFreshApplication()
            {
                $fresh = gated_deploy_app(getcwd());
                $fresh->make('Illuminate\Contracts\Console\Kernel')->bootstrap();
                return $fresh;
            }
        });
    }
    $status = gated_deploy_artisan($kernel, 'route:cache');
    $file = $app->getCachedRoutesPath();
    if ($status === 0 && is_file($file) && strpos(file_get_contents($file), basename(getenv('GATED_DEPLOY_PRIVATE'))) !== false) {
        unlink($file);
        gated_deploy_say('the routes are not cached: they contain the storage path of this run; a file of routes uses storage_path()');
        $status = 1;
    }
    return $status;
}

$app = gated_deploy_app(getcwd(), true, $before);
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$kernel->bootstrap();
foreach (array_slice($argv, 4) as $cache) {
    if ($cache === 'config') {
        try {
            gated_deploy_config($app, $before, $file, $own, $views);
            $status = 0;
        } catch (Throwable $error) {
            // A closure or another object that PHP cannot write down as text.
            gated_deploy_say('the configuration cannot be cached: ' . get_class($error) . ': ' . $error->getMessage());
            $status = 1;
        }
    } elseif ($cache === 'view' && ($views === '' || !is_file($own))) {
        // Where the configuration does not name a folder of the release, the site compiles views as it always does.
        gated_deploy_say('views are compiled when they are asked for: the cached configuration does not say where');
        $status = 1;
    } elseif ($cache === 'storage-link' && (file_exists('public/storage') || is_link('public/storage'))) {
        $status = 0;
    } else {
        // Commands start further instances of the app, which are to have the configuration of this run.
        if (is_file($own)) {
            $_ENV['APP_CONFIG_CACHE'] = $_SERVER['APP_CONFIG_CACHE'] = $own;
            putenv("APP_CONFIG_CACHE=$own");
        }
        // The link leads to the app's own storage.
        if ($cache === 'storage-link') {
            $app->useStoragePath($before['storage']);
        }
        $status = $cache === 'route'
            ? gated_deploy_route_cache($app, $kernel)
            : gated_deploy_artisan($kernel, $cache === 'storage-link' ? 'storage:link' : "$cache:cache");
        $app->useStoragePath(getenv('GATED_DEPLOY_PRIVATE') . '/storage');
    }
    gated_deploy_answer($status === 0 ? 'done=' : 'failed=', $cache, "\n");
}
$kernel->terminate(new Symfony\Component\Console\Input\ArgvInput(['artisan']), 0);
