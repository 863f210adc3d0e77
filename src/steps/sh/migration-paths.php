<?php
// Prints where the app, and each package that asked it to, keep migrations: a folder or a file a line, as seen from the app's own folder. app.php comes before this file.
$app = gated_deploy_app(getcwd());
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$base = realpath(getcwd()) . '/';
foreach (array_merge([$app->databasePath('migrations')], $app->make('migrator')->paths()) as $path) {
    $path = realpath($path);
    // What lies elsewhere is in no bundle.
    if ($path !== false && str_starts_with($path, $base)) {
        gated_deploy_answer('path=', substr($path, strlen($base)), "\n");
    }
}
