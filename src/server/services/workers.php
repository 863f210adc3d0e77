<?php
// Tells the app's queue workers to restart, if there is anything to tell. app.php comes before this file.
//
//   none=WHY            there is nothing to tell
//   store=FOLDER        where workers look for the signal, if that is a folder: the command writes to a folder of the run instead
//   command=NAME        the artisan command that is run
//   status=NUMBER       of that command
$app = gated_deploy_app(getcwd(), true, $before);
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$kernel->bootstrap();
$commands = $kernel->all();
$connection = $app['config']->get('queue.default');
$driver = $app['config']->get("queue.connections.$connection.driver");
if (isset($commands['horizon:terminate'])) {
    $command = 'horizon:terminate';
} elseif ($driver === null || $driver === 'null' || $driver === 'sync') {
    gated_deploy_answer('none=the app has no queue workers (its queue connection is ' . strtr($connection ?? 'not set', "\r\n", '  ') . ")\n");
    exit(0);
} elseif (!isset($commands['queue:restart'])) {
    gated_deploy_answer("none=the app has no command queue:restart\n");
    exit(0);
} else {
    $command = 'queue:restart';
}
$cache = $before['own']['cache'];
$folder = gated_deploy_cache_folder($app['config'], $cache['stores'] ?? [], $cache['default'] ?? '');
if ($folder !== null) {
    gated_deploy_answer('store=', strtr($folder, "\r\n", '  '), "\n");
}
gated_deploy_answer("command=$command\n");
// Not before every command of the app was made: what they read then is not the site's.
gated_deploy_share_caches($app, $before);
gated_deploy_answer('status=', (string) gated_deploy_artisan($kernel, $command), "\n");
$kernel->terminate(new Symfony\Component\Console\Input\ArgvInput(['artisan']), 0);
