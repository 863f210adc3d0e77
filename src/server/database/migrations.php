<?php
// Answers what the app in the working directory knows of its migrations. app.php comes before this file.
//
//   path=FOLDER-OR-FILE    where the app, and each package that asked it to, keep migrations, as seen from the app's own folder
//   paths=yes              those are all
//   ran=NAME               a migration that has run; none before the first one. What is no name of a file is left out
//   listed=yes             those are all
$app = gated_deploy_app(getcwd());
$app->make('Illuminate\Contracts\Console\Kernel')->bootstrap();
$base = realpath(getcwd()) . '/';
foreach (array_merge([$app->databasePath('migrations')], $app->make('migrator')->paths()) as $path) {
    $path = realpath($path);
    // What lies elsewhere is in no bundle.
    if ($path !== false && str_starts_with($path, $base)) {
        gated_deploy_answer_names('path', [substr($path, strlen($base))]);
    }
}
gated_deploy_answer("paths=yes\n");
// Where there is no database to ask, the error is log, and nothing is answered.
$repository = $app->make('migration.repository');
$app->make('db')->connection()->getPdo();
gated_deploy_answer_names('ran', $repository->repositoryExists() ? $repository->getRan() : []);
gated_deploy_answer("listed=yes\n");
