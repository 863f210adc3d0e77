<?php
// Says how the app's queue workers are told to restart: "workers=horizon", "workers=queue", or "workers=none" and why. The app
// may print something before it. app.php comes before this file.
$app = gated_deploy_app(getcwd(), true, $before);
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$kernel->bootstrap();
$commands = $kernel->all();
// Where workers look for the signal, if that is a folder: the command writes to a folder of the run, from where it is moved there.
$store = $before['own']['cache']['stores'][$before['own']['cache']['default'] ?? ''] ?? [];
if (($store['driver'] ?? '') === 'file') {
    gated_deploy_answer('store=', $store['path'], "\n");
}
$connection = $app['config']->get('queue.default');
$driver = $app['config']->get("queue.connections.$connection.driver");
if (isset($commands['horizon:terminate'])) {
    gated_deploy_answer('workers=horizon');
} elseif ($driver === null || $driver === 'null' || $driver === 'sync') {
    gated_deploy_answer('workers=none the app has no queue workers (its queue connection is ' . ($connection ?? 'not set') . ')');
} elseif (!isset($commands['queue:restart'])) {
    gated_deploy_answer('workers=none the app has no command queue:restart');
} else {
    gated_deploy_answer('workers=queue');
}
