<?php
// Answers questions about the app's database, on the server, so that its password never leaves it.
//
//   place ENV TREE                 driver=, database=, and of an SQLite file there= and inside= (yes or no), one a line; nothing is opened
//   place-env ENV TREE             the same as .env says it: the app is not started
//   describe ENV TREE              the same with tables= and kib=; problem= instead, with the driver's words, if it cannot be asked
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

// The connection that the live release uses.
function gated_deploy_connection(string $tree): array
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

// An SQLite file as the app names it: its real path, whether it is there, and whether it lies in a release, which the next one does not have.
function gated_deploy_file(string $path, string $tree): array
{
    // Before the first release a path that is not absolute is one in the release that comes.
    if ($tree === '' && $path[0] !== '/') {
        return [$path, false, true];
    }
    // Laravel looks for a path that is not absolute in the release.
    $path = $path[0] === '/' ? $path : "$tree/$path";
    $there = is_file($path);
    // Where a file would be made: behind the link, if one is there.
    for ($links = 0; !$there && is_link($path) && $links < 8; $links++) {
        $to = readlink($path);
        $path = $to[0] === '/' ? $to : dirname($path) . "/$to";
    }
    // The folders above it may be missing, too.
    $above = $path;
    $below = '';
    while (($real = realpath($above)) === false && $above !== '/') {
        $below = '/' . basename($above) . $below;
        $above = dirname($above);
    }
    $path = rtrim((string) $real, '/') . $below;
    $root = $tree === '' ? false : realpath($tree);
    if ($root !== false && basename(dirname($root)) === 'releases') {
        $root = dirname($root);
    }
    return [$path, $there, $root !== false && strpos($path, "$root/") === 0];
}

// Never makes a database: a file that is not there stays so.
function gated_deploy_open(array $connection): PDO
{
    $throws = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION];
    if ($connection['driver'] === 'sqlite') {
        // Without the extension PHP knows neither name, and says that it has no driver. A reader of a file with a write-ahead log leaves
        // the log behind, as a file of this account, if it may not write.
        if (defined('PDO::SQLITE_ATTR_OPEN_FLAGS')) {
            $throws[constant('PDO::SQLITE_ATTR_OPEN_FLAGS')] = constant('PDO::SQLITE_OPEN_READWRITE');
        }
        return new PDO('sqlite:' . $connection['database'], null, null, $throws);
    }
    $where = empty($connection['unix_socket'])
        ? 'host=' . ($connection['host'] ?? '127.0.0.1') . (empty($connection['port']) ? '' : ';port=' . $connection['port'])
        : 'unix_socket=' . $connection['unix_socket'];
    return new PDO(
        'mysql:' . $where . ';dbname=' . $connection['database'],
        $connection['username'] ?? null,
        $connection['password'] ?? null,
        $throws
    );
}

try {
    $connection = $tree === '' || $mode === 'place-env' ? gated_deploy_env_database(gated_deploy_dotenv($envFile)) : gated_deploy_connection($tree);
    $driver = $connection['driver'] ?? 'none';
    $there = $inside = false;
    if ($driver === 'sqlite') {
        $connection['database'] = (string) ($connection['database'] ?? '');
        // Laravel's own file, where nothing names one.
        if ($connection['database'] === '') {
            $connection['database'] = 'database/database.sqlite';
        }
        if (preg_match('/^:memory:|[?&]mode=memory/', $connection['database'])) {
            $driver = 'memory';
        } else {
            [$connection['database'], $there, $inside] = gated_deploy_file($connection['database'], $tree);
        }
    }
    // A line feed would begin a line of its own.
    $word = fn ($text) => strtok((string) $text, "\r\n") ?: '';
    if (in_array($mode, ['place', 'place-env', 'describe'], true)) {
        gated_deploy_answer('driver=', $word($driver), "\ndatabase=", $word($connection['database'] ?? ''), "\n");
        if ($driver === 'sqlite') {
            gated_deploy_answer('there=', $there ? 'yes' : 'no', "\ninside=", $inside ? 'yes' : 'no', "\n");
        }
    }
    if ($mode === 'describe') {
        $tables = 0;
        $kib = 0;
        if ($driver === 'mysql' || $driver === 'mariadb') {
            $row = gated_deploy_open($connection)->query(
                'SELECT COUNT(*), COALESCE(CEIL(SUM(data_length + index_length) / 1024), 0) FROM information_schema.tables'
                . " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
            )->fetch(PDO::FETCH_NUM);
            [$tables, $kib] = [(int) $row[0], (int) $row[1]];
        } elseif ($driver === 'sqlite' && $there && !$inside) {
            // SQLite may write beside a file that it reads, and a release is as it was sealed.
            $tables = (int) gated_deploy_open($connection)->query("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'")->fetchColumn();
            $kib = (int) ceil((filesize($connection['database']) ?: 0) / 1024);
        }
        gated_deploy_answer("tables=$tables\nkib=$kib\n");
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
        $pdo = gated_deploy_open($connection);
        $pdo->exec('VACUUM INTO ' . $pdo->quote($target));
        $check = gated_deploy_open(['driver' => 'sqlite', 'database' => $target])->query('PRAGMA integrity_check')->fetchColumn();
        if ($check !== 'ok') {
            gated_deploy_complain("integrity_check of the copy: $check");
            exit(1);
        }
    }
} catch (Throwable $error) {
    // The message of a refused connection names user and host, never the password.
    $said = get_class($error) . ': ' . $error->getMessage();
    gated_deploy_complain($said);
    if ($mode === 'describe') {
        gated_deploy_answer('problem=', strtok($said, "\r\n"), "\n");
    }
    exit(1);
}
