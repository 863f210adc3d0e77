<?php
// Says which SQL migrations would run: each is called while its connection only notes down what it is asked, which is what
// `migrate --pretend` does. It runs in the live release, since the new one is not on the server yet; a migration that needs code of
// the new release says so instead.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
$folder = $argv[1];
require getcwd() . '/vendor/autoload.php';
$app = require getcwd() . '/bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$database = $app->make('db');
// The literals stay here: what a statement does to which table is what is asked.
$double = fn ($connection) => in_array($connection->getDriverName(), ['mysql', 'mariadb'], true);
$say = function (Throwable $error): string {
    $open = false;
    $lines = [];
    foreach (explode("\n", $error->getMessage()) as $line) {
        $lines[] = mask_error($line, $open);
    }
    return get_class($error) . ': ' . implode("\n", $lines);
};
$answer = [];
foreach (json_decode(file_get_contents("$folder/migrations.json"), true, 16, JSON_THROW_ON_ERROR) as $given) {
    $told = ['name' => $given['name'], 'sql' => [], 'problem' => null];
    $usual = $database->getDefaultConnection();
    try {
        $file = "$folder/{$given['name']}.php";
        file_put_contents($file, $given['source']);
        $migration = require $file;
        if (!is_object($migration)) {
            $class = Illuminate\Support\Str::studly(implode('_', array_slice(explode('_', $given['name']), 4)));
            $migration = new $class;
        }
        $connection = $database->connection($migration->getConnection());
        $database->setDefaultConnection($connection->getName());
        // What it asked for before it failed is worth knowing, too.
        $up = function () use ($migration, &$told, $say) {
            try {
                if (method_exists($migration, 'up')) {
                    $migration->up();
                }
            } catch (Throwable $error) {
                $told['problem'] = $say($error);
            }
        };
        foreach ($connection->pretend($up) as $query) {
            $told['sql'][] = mask_sql($query['query'], $double($connection));
        }
    } catch (Throwable $error) {
        $told['problem'] = $say($error);
    }
    $database->setDefaultConnection($usual);
    $answer[] = $told;
}
file_put_contents("$folder/answer.json", json_encode($answer, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE));
