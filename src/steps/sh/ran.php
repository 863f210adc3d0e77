<?php
// Prints the names of the migrations that have run, one a line. Nothing before the first migration. app.php comes before this file.
$app = gated_deploy_app(getcwd());
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$repository = $app->make('migration.repository');
$app->make('db')->connection()->getPdo();
gated_deploy_answer($repository->repositoryExists() ? implode("\n", $repository->getRan()) : '');
