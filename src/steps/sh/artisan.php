<?php
// Runs one artisan command of the app in the working directory, as its file `artisan` does. app.php comes before this file.
define('LARAVEL_START', microtime(true));
$_SERVER['argv'] = $argv = array_merge(['artisan'], array_slice($argv, 1));
$_SERVER['argc'] = $argc = count($argv);
// These two name places in the app's own storage.
$app = gated_deploy_app(getcwd(), !in_array($argv[1], ['migrate', 'storage:link'], true));
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$input = new Symfony\Component\Console\Input\ArgvInput($argv);
$status = $kernel->handle($input, new Symfony\Component\Console\Output\ConsoleOutput());
$kernel->terminate($input, $status);
exit($status);
