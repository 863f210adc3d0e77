<?php
// Prints where the app, and each package that asked it to, keep migrations: a folder or a file a line, as seen from the app's own folder.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$base = realpath(getcwd()) . '/';
foreach (array_merge([$app->databasePath('migrations')], $app->make('migrator')->paths()) as $path) {
    $path = realpath($path);
    // What lies elsewhere is in no bundle.
    if ($path !== false && str_starts_with($path, $base)) {
        echo "path=", substr($path, strlen($base)), "\n";
    }
}
