<?php
// Says of a .env file what may be said: no value but that of APP_ENV, and that only if it is a plain word. The second argument has names, one a
// line; those that the file lacks are told. dotenv.php comes before this file.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
$env = gated_deploy_dotenv($argv[1]);

function gated_deploy_app_env(array $env): string
{
    if (!isset($env['APP_ENV']) || $env['APP_ENV'] === '') {
        return 'unset';
    }
    return preg_match('/^[A-Za-z0-9_.-]{1,64}$/D', $env['APP_ENV']) ? 'is ' . $env['APP_ENV'] : 'odd';
}

// Laravel's ciphers want 16 or 32 bytes.
function gated_deploy_app_key(array $env): string
{
    $key = $env['APP_KEY'] ?? '';
    if ($key === '') {
        return 'unset';
    }
    $bytes = strncmp($key, 'base64:', 7) === 0 ? (string) base64_decode(substr($key, 7), true) : $key;
    return in_array(strlen($bytes), [16, 32], true) ? 'set' : 'odd';
}

$debug = in_array(strtolower($env['APP_DEBUG'] ?? ''), ['true', '(true)', '1', 'on', 'yes'], true);
$connection = gated_deploy_env_database($env);
$driver = $connection['driver'];
echo 'app-env=', gated_deploy_app_env($env), "\napp-key=", gated_deploy_app_key($env), "\napp-debug=", $debug ? 'true' : 'false', "\n";
echo 'driver=', preg_match('/^[a-z0-9_]{1,32}$/D', $driver) ? $driver : 'odd', "\n";
// Opening the file as a database could make one, or write beside it.
$size = $driver === 'sqlite' ? @filesize($connection['database'] ?? '') : false;
echo 'sqlite-kib=', $size === false ? '' : (int) ceil($size / 1024), "\n";
foreach (array_filter(explode("\n", $argv[2] ?? ''), 'strlen') as $name) {
    if (!array_key_exists($name, $env)) {
        echo "missing=$name\n";
    }
}
