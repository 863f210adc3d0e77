<?php
// Says how the app's queue workers are told to restart: "horizon", "queue", or why there is nobody to tell.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$kernel->bootstrap();
$commands = $kernel->all();
$connection = $app['config']->get('queue.default');
$driver = $app['config']->get("queue.connections.$connection.driver");
if (isset($commands['horizon:terminate'])) {
    echo 'horizon';
} elseif ($driver === null || $driver === 'null' || $driver === 'sync') {
    echo 'the app has no queue workers (its queue connection is ' . ($connection ?? 'not set') . ')';
} elseif (!isset($commands['queue:restart'])) {
    echo 'the app has no command queue:restart';
} else {
    echo 'queue';
}
