<?php
// Runs forward migrations, and answers which have run before and after, also where a migration ends PHP. Measures each one by the events
// of the framework. app.php and sql.php come before this file.
//
//   listed=yes       the list before could be read
//   before=NAME      one for each
//   status=NUMBER    of artisan; not there if PHP was ended inside
//   after=NAME       one for each
//   known=yes        the list after could be read
//   measured-name=NAME and measured=JSON, {sha256, statements, milliseconds, rows, sql}: the digest of its
//                    file, and what it made the database do
final class gated_deploy_Migrations
{
    // What is kept of one migration's statements, and of one statement's text.
    const STATEMENTS = 20;
    const LONGEST = 300;
    // What is kept of all.
    const MOST = 400;

    private $app;
    private $now = null;
    private $measured = [];
    private $kept = 0;
    private $answered = false;

    public function __construct($app)
    {
        $this->app = $app;
        $events = $app->make('events');
        $events->listen('Illuminate\Database\Events\MigrationStarted', function ($event): void {
            // The event has no name, and a class may have none either. Its file has.
            $file = (new ReflectionObject($event->migration))->getFileName();
            $this->now = $file === false ? null : basename($file, '.php');
            if ($this->now !== null) {
                $digest = hash_file('sha256', $file) ?: null;
                $this->measured[$this->now] = ['name' => $this->now, 'sha256' => $digest, 'statements' => 0, 'milliseconds' => 0.0, 'rows' => null, 'sql' => []];
            }
        });
        $events->listen('Illuminate\Database\Events\MigrationEnded', function (): void {
            $this->now = null;
        });
        $events->listen('Illuminate\Database\Events\QueryExecuted', function ($event): void {
            if ($this->now !== null) {
                $this->note($this->measured[$this->now], $event);
            }
        });
    }

    private function note(array &$measured, $event): void
    {
        $measured['statements']++;
        $measured['milliseconds'] += (float) $event->time;
        if (count($measured['sql']) < self::STATEMENTS && $this->kept++ < self::MOST) {
            $sql = gated_deploy_mask_sql((string) $event->sql, in_array($event->connection->getDriverName(), ['mysql', 'mariadb'], true));
            $sql = mb_scrub($sql, 'UTF-8');
            $measured['sql'][] = mb_strlen($sql) > self::LONGEST ? mb_substr($sql, 0, self::LONGEST) . '...' : $sql;
        }
    }

    public function ran(): array
    {
        $repository = $this->app->make('migration.repository');
        $this->app->make('db')->connection()->getPdo();
        return $repository->repositoryExists() ? $repository->getRan() : [];
    }

    // Tells what has run, and what it cost, once.
    public function answer(): void
    {
        if ($this->answered) {
            return;
        }
        $this->answered = true;
        // A migration that ended in a transaction left one open, in which more seems to have run than has.
        $this->app->make('db')->purge();
        gated_deploy_answer_names('after', $this->ran());
        gated_deploy_answer("known=yes\n");
        $rows = $this->rows();
        foreach ($this->measured as $measured) {
            foreach ($measured['sql'] as $sql) {
                foreach ($rows as $table => $count) {
                    if (preg_match('/(?<![\w$])' . preg_quote($table, '/') . '(?![\w$])/', $sql)) {
                        $measured['rows'] = max($measured['rows'] ?? 0, $count);
                    }
                }
            }
            if (!preg_match('/^[!-~]+$/D', $measured['name'])) {
                continue;
            }
            gated_deploy_answer_names('measured-name', [$measured['name']]);
            unset($measured['name']);
            gated_deploy_answer('measured=', json_encode($measured, JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE), "\n");
        }
    }

    // How many rows the database believes a table to have. An estimate is enough to tell a small table from a large one.
    private function rows(): array
    {
        $connection = $this->app->make('db')->connection();
        $tables = [];
        try {
            if ($this->measured !== [] && in_array($connection->getDriverName(), ['mysql', 'mariadb'], true)) {
                $found = $connection->getPdo()->query('SELECT table_name, table_rows FROM information_schema.tables WHERE table_schema = DATABASE()');
                foreach ($found->fetchAll(PDO::FETCH_NUM) as [$table, $count]) {
                    $tables[$table] = (int) $count;
                }
            }
        } catch (Throwable $error) {
            gated_deploy_say('the sizes of the tables could not be read: ' . get_class($error) . ': ' . $error->getMessage());
        }
        return $tables;
    }
}

// Two places in the app's own storage are named by migrations of some apps.
$app = gated_deploy_app(getcwd(), false, $before);
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$kernel->bootstrap();
$migrations = new gated_deploy_Migrations($app);
gated_deploy_answer_names('before', $migrations->ran());
gated_deploy_answer("listed=yes\n");
// A migration may remove from the cache what the site must not use any more. Until the first one runs, nothing is read of what the site stored:
// the app's commands, too, are made before that.
$app->make('events')->listen('Illuminate\Database\Events\MigrationsStarted', function () use ($app, $before): void {
    gated_deploy_share_caches($app, $before);
});

// A migration that calls exit, or that PHP dies in, ends this program.
register_shutdown_function(function () use ($migrations): void {
    ini_set('memory_limit', '-1');
    $migrations->answer();
});
$status = gated_deploy_artisan($kernel, 'migrate', '--force');
$kernel->terminate(new Symfony\Component\Console\Input\ArgvInput(['artisan']), $status);
gated_deploy_answer("status=$status\n");
$migrations->answer();
