<?php
// Answers questions about the app's database, on the server, so that its password never leaves it.
//
//   describe ENV TREE              driver=, database=, tables=, kib= (one a line)
//   options ENV TREE               a MySQL option file with the password, for a pipe
//   copy-sqlite TARGET ENV TREE    a consistent copy of an SQLite database
//
// TREE is the live release: the app itself says which connection it uses. Before the first release there is no app
// yet, and the .env file is read instead. dotenv.php and app.php come before this file.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
$arguments = array_slice($argv, 1);
$mode = array_shift($arguments);
$target = $mode === 'copy-sqlite' ? array_shift($arguments) : null;
[$envFile, $tree] = $arguments;

function fromApp(string $tree): array
{
    $app = gated_deploy_app($tree);
    $app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
    $config = $app->make('config');
    $name = $config->get('database.default');
    $connection = $name === null ? null : $config->get("database.connections.$name");
    if (!is_array($connection)) {
        return ['driver' => 'none'];
    }
    $parser = '\Illuminate\Support\ConfigurationUrlParser';
    if (!empty($connection['url']) && class_exists($parser)) {
        $connection = (new $parser)->parseConfiguration($connection);
    }
    if (isset($connection['write']) && is_array($connection['write'])) {
        $write = array_is_list($connection['write']) && isset($connection['write'][0]) ? $connection['write'][0] : $connection['write'];
        $connection = array_merge($connection, $write);
    }
    if (isset($connection['host']) && is_array($connection['host'])) {
        $connection['host'] = $connection['host'][0] ?? null;
    }
    return $connection;
}

function fromEnv(string $file): array
{
    $env = dotenv($file);
    if (!isset($env['DB_CONNECTION']) && !isset($env['DB_DATABASE'])) {
        return ['driver' => 'none'];
    }
    return [
        'driver' => $env['DB_CONNECTION'] ?? 'mysql',
        'host' => $env['DB_HOST'] ?? '127.0.0.1',
        'port' => $env['DB_PORT'] ?? null,
        'unix_socket' => $env['DB_SOCKET'] ?? null,
        'database' => $env['DB_DATABASE'] ?? '',
        'username' => $env['DB_USERNAME'] ?? '',
        'password' => $env['DB_PASSWORD'] ?? '',
    ];
}

function open(array $connection): PDO
{
    if ($connection['driver'] === 'sqlite') {
        return new PDO('sqlite:' . $connection['database'], null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    }
    $where = empty($connection['unix_socket'])
        ? 'host=' . ($connection['host'] ?? '127.0.0.1') . (empty($connection['port']) ? '' : ';port=' . $connection['port'])
        : 'unix_socket=' . $connection['unix_socket'];
    return new PDO(
        'mysql:' . $where . ';dbname=' . $connection['database'],
        $connection['username'] ?? null,
        $connection['password'] ?? null,
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]
    );
}

try {
    $connection = $tree === '' ? fromEnv($envFile) : fromApp($tree);
    if ($mode === 'describe') {
        $driver = $connection['driver'] ?? 'none';
        $tables = 0;
        $kib = 0;
        if ($driver === 'mysql' || $driver === 'mariadb') {
            $row = open($connection)->query(
                'SELECT COUNT(*), COALESCE(CEIL(SUM(data_length + index_length) / 1024), 0) FROM information_schema.tables'
                . " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            )->fetch(PDO::FETCH_NUM);
            [$tables, $kib] = [(int) $row[0], (int) $row[1]];
        } elseif ($driver === 'sqlite') {
            $tables = (int) open($connection)->query("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'")->fetchColumn();
            $kib = (int) ceil((filesize($connection['database']) ?: 0) / 1024);
        }
        gated_deploy_answer("driver=$driver\ndatabase=", $connection['database'] ?? '', "\ntables=$tables\nkib=$kib\n");
    } elseif ($mode === 'options') {
        // Inside double quotes an option file knows backslash escapes; nothing else means anything there.
        $quote = fn ($value) => '"' . strtr((string) $value, ['\\' => '\\\\', '"' => '\\"', "\n" => '\\n']) . '"';
        gated_deploy_answer("[client]\n");
        if (!empty($connection['unix_socket'])) {
            gated_deploy_answer('socket=', $quote($connection['unix_socket']), "\n");
        } else {
            gated_deploy_answer('host=', $quote($connection['host'] ?? '127.0.0.1'), "\n");
            if (!empty($connection['port'])) {
                gated_deploy_answer('port=', (string) (int) $connection['port'], "\n");
            }
        }
        gated_deploy_answer('user=', $quote($connection['username'] ?? ''), "\npassword=", $quote($connection['password'] ?? ''), "\n");
    } elseif ($mode === 'copy-sqlite') {
        $pdo = open($connection);
        $pdo->exec('VACUUM INTO ' . $pdo->quote($target));
        $check = (new PDO('sqlite:' . $target))->query('PRAGMA integrity_check')->fetchColumn();
        if ($check !== 'ok') {
            complain("integrity_check of the copy: $check");
            exit(1);
        }
    }
} catch (Throwable $error) {
    // The message of a refused connection names user and host, never the password.
    complain(get_class($error) . ': ' . $error->getMessage());
    exit(1);
}
