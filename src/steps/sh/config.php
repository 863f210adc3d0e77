<?php
// Writes the configuration of the app in the working directory as `config:cache` does, twice: as the app has it, and as this run has it.
// What this run has set is not in the first one; where compiled views lie is, if a folder for them is given. app.php comes before this file.
//
//   FILE OWN VIEWS
[, $file, $own, $views] = $argv;

// A section as it would be if nothing had been set: what the app itself changed since stays.
function gated_deploy_restored(array $now, array $set, array $before): array
{
    foreach ($now as $key => $value) {
        if (!array_key_exists($key, $set)) {
            continue;
        }
        if ($value === $set[$key]) {
            if (array_key_exists($key, $before)) {
                $now[$key] = $before[$key];
            } else {
                unset($now[$key]);
            }
        } elseif (is_array($value) && is_array($set[$key])) {
            $now[$key] = gated_deploy_restored($value, $set[$key], (array) ($before[$key] ?? []));
        }
    }
    return $now;
}

function gated_deploy_write(string $file, array $all): void
{
    $text = '<?php return ' . var_export($all, true) . ";\n";
    if (file_put_contents($file, $text) !== strlen($text)) {
        throw new RuntimeException("$file could not be written whole");
    }
}

try {
    $app = gated_deploy_app(getcwd(), true, $before);
    $app->make('Illuminate\Contracts\Console\Kernel')->bootstrap();
    $all = $app->make('config')->all();
    $mine = $all;
    foreach ($before['set'] as $section => $set) {
        $all[$section] = gated_deploy_restored((array) ($all[$section] ?? []), $set, $before['own'][$section]);
        if ($all[$section] === []) {
            unset($all[$section]);
        }
    }
    // What was worked out from the storage path after the run had set its own.
    $private = getenv('GATED_DEPLOY_PRIVATE') . '/storage';
    array_walk_recursive($all, function (&$value) use ($private, $before) {
        $value = is_string($value) ? str_replace($private, $before['storage'], $value) : $value;
    });
    if ($views !== '') {
        $all['view']['compiled'] = $views;
    }
    gated_deploy_write($file, $all);
    require $file;
    gated_deploy_write($own, $mine);
} catch (Throwable $error) {
    // A closure or another object that PHP cannot write down as text.
    file_put_contents('php://stderr', 'the configuration cannot be cached: ' . get_class($error) . ': ' . $error->getMessage() . "\n");
    exit(1);
}
