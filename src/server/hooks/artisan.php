<?php
// Runs one command of the app in the working directory, and ends with its status. app.php comes before this file.
//
//   WORD...    the command and its arguments
//
// The app's own storage path stays, as for migrations: commands of an app name files in it.
$words = array_slice($argv, 1);
$app = gated_deploy_app(getcwd(), false, $before);
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$kernel->bootstrap();
// Every command is made before the app's own caches are shared: what they read while they are made is not the site's.
$kernel->all();
gated_deploy_share_caches($app, $before);
$status = gated_deploy_artisan($kernel, ...$words);
$kernel->terminate(new Symfony\Component\Console\Input\ArgvInput(['artisan']), $status);
exit($status > 255 ? 255 : $status);
