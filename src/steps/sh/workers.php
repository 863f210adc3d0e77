<?php
// Says how the app's queue workers are told to restart: "workers=horizon", "workers=queue", or "workers=none" and why. The app
// may print something before it.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$kernel = $app->make(Illuminate\Contracts\Console\Kernel::class);
$kernel->bootstrap();
$commands = $kernel->all();
$connection = $app['config']->get('queue.default');
$driver = $app['config']->get("queue.connections.$connection.driver");
if (isset($commands['horizon:terminate'])) {
    echo 'workers=horizon';
} elseif ($driver === null || $driver === 'null' || $driver === 'sync') {
    echo 'workers=none the app has no queue workers (its queue connection is ' . ($connection ?? 'not set') . ')';
} elseif (!isset($commands['queue:restart'])) {
    echo 'workers=none the app has no command queue:restart';
} else {
    echo 'workers=queue';
}
