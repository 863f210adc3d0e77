<?php
// Prints the names of the migrations that have run, one a line. Nothing before the first migration.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$repository = $app->make('migration.repository');
$app->make('db')->connection()->getPdo();
echo $repository->repositoryExists() ? implode("\n", $repository->getRan()) : '';
