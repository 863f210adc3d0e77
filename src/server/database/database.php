<?php
// Answers questions about the app's database, on the server, so that its password never leaves it.
//
//   place ENV TREE                 driver=, database=, of an SQLite file there= and inside= (yes or no), and needs= (an extension that this PHP
//                                  lacks for it), one a line; nothing is opened
//   place-env ENV TREE             the same as .env says it: the app is not started
//   describe ENV TREE              the same with tables= and kib=, what a dump must hold (see gated_deploy_objects), and connects= (see
//                                  gated_deploy_connects); problem= instead, with the driver's words, if it cannot be asked
//   options ENV TREE               how to connect, with the password, for a pipe: a MySQL option file, or libpq's variables
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
        $hazard = gated_deploy_sqlite_hazard($connection['database']);
        if ($hazard !== null) {
            throw new RuntimeException($hazard);
        }
        // Without the extension PHP knows neither name, and says that it has no driver. A file without a write-ahead log is read by a reader
        // that cannot play a journal back; one with a log needs a writer, who takes the log away again.
        if (defined('PDO::SQLITE_ATTR_OPEN_FLAGS')) {
            $writes_ahead = in_array("\x02", str_split((string) @file_get_contents($connection['database'], false, null, 18, 2)), true);
            $throws[constant('PDO::SQLITE_ATTR_OPEN_FLAGS')] = constant($writes_ahead ? 'PDO::SQLITE_OPEN_READWRITE' : 'PDO::SQLITE_OPEN_READONLY');
        }
        return new PDO('sqlite:' . $connection['database'], null, null, $throws);
    }
    if ($connection['driver'] === 'pgsql') {
        $where = '';
        foreach (gated_deploy_libpq($connection) as $name => [, $value]) {
            // In a DSN a quote and a backslash have one before them.
            $where .= in_array($name, ['user', 'password'], true) ? '' : "$name='" . addcslashes($value, "'\\") . "' ";
        }
        return new PDO('pgsql:' . trim($where), $connection['username'] ?? null, $connection['password'] ?? null, $throws);
    }
    $where = empty($connection['unix_socket'])
        ? 'host=' . ($connection['host'] ?? '127.0.0.1') . (empty($connection['port']) ? '' : ';port=' . $connection['port'])
        : 'unix_socket=' . $connection['unix_socket'];
    // The app's own options: without its certificate authority, for one, a server that demands TLS refuses the connection.
    $options = array_filter($connection['options'] ?? [], 'is_int', ARRAY_FILTER_USE_KEY);
    return new PDO(
        'mysql:' . $where . ';dbname=' . $connection['database'] . ';charset=utf8mb4',
        $connection['username'] ?? null,
        $connection['password'] ?? null,
        $throws + $options
    );
}

// The words by which a client that a person starts connects: each option, and its value. The password is none of them: the client asks for it.
function gated_deploy_connects(array $options): void
{
    foreach ($options as $option => $value) {
        if ((string) $value !== '') {
            gated_deploy_answer("connects=$option\nconnects=", strtr((string) $value, "\r\n", '??'), "\n");
        }
    }
}

// The settings of a PostgreSQL connection by libpq's keywords, each with its variable of the environment.
function gated_deploy_libpq(array $connection): array
{
    $keywords = [
        'host' => ['PGHOST', 'host'],
        'port' => ['PGPORT', 'port'],
        'dbname' => ['PGDATABASE', 'database'],
        'user' => ['PGUSER', 'username'],
        'password' => ['PGPASSWORD', 'password'],
        'sslmode' => ['PGSSLMODE', 'sslmode'],
        'sslrootcert' => ['PGSSLROOTCERT', 'sslrootcert'],
        'sslcert' => ['PGSSLCERT', 'sslcert'],
        'sslkey' => ['PGSSLKEY', 'sslkey'],
    ];
    $found = [];
    foreach ($keywords as $keyword => [$variable, $key]) {
        $value = (string) ($connection[$key] ?? '');
        if ($value !== '') {
            $found[$keyword] = [$variable, $value];
        }
    }
    return $found;
}

// What a dump of a PostgreSQL database must hold, in the lines of gated_deploy_objects: relations and triggers as `pg_restore --list` names
// them, functions by their number. pg_dump leaves out what comes with an extension, and functions that come with a type.
function gated_deploy_pg_objects(PDO $pdo): string
{
    $rows = fn (string $sql) => $pdo->query($sql)->fetchAll(PDO::FETCH_NUM);
    $line = fn (string $text) => strtr($text, "\r\n", '  ') . "\n";
    $own = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp\\_%'";
    $alone = fn (string $catalogue, string $oid, string $with = "'e'") =>
        "NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = '$catalogue'::regclass AND d.objid = $oid AND d.deptype IN ($with))";
    $kinds = ['r' => 'TABLE', 'p' => 'TABLE', 'v' => 'VIEW', 'm' => 'MATERIALIZED VIEW', 'S' => 'SEQUENCE', 'f' => 'FOREIGN TABLE'];
    $account = (string) $rows('SELECT quote_ident(current_user)')[0][0];
    $said = '';
    $relations = $rows(
        'SELECT c.relkind, n.nspname, c.relname, pg_get_userbyid(c.relowner), quote_ident(n.nspname), quote_ident(c.relname),'
        . " has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')"
        . " ELSE c.relkind IN ('v', 'f') OR has_table_privilege(c.oid, 'SELECT') END"
        . " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE $own AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND "
        . $alone('pg_class', 'c.oid')
    );
    foreach ($relations as [$kind, $schema, $name, $owner, $quoted_schema, $quoted, $readable]) {
        $said .= $line("object={$kinds[$kind]} $schema $name $owner");
        if (!$readable) {
            $what = $kind === 'S' ? 'SEQUENCE ' : '';
            $said .= $line('unreadable=' . strtolower($kinds[$kind]) . " $quoted_schema.$quoted: this account may not read it. Run as the database's administrator:")
                . $line("unreadable=GRANT USAGE ON SCHEMA $quoted_schema TO $account;")
                . $line("unreadable=GRANT SELECT ON $what$quoted_schema.$quoted TO $account;");
        }
    }
    // A partition has the triggers of its table, too. Before version 13 they count as internal, and no column names their parent.
    $parts = (int) $rows("SELECT current_setting('server_version_num')")[0][0] >= 130000 ? ' AND t.tgparentid = 0' : '';
    $triggers = $rows(
        'SELECT n.nspname, c.relname, t.tgname, pg_get_userbyid(c.relowner) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid'
        . " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal$parts AND $own AND " . $alone('pg_class', 'c.oid')
    );
    foreach ($triggers as [$schema, $table, $name, $owner]) {
        $said .= $line("object=TRIGGER $schema $table $name $owner");
    }
    $functions = "SELECT COUNT(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE $own AND " . $alone('pg_proc', 'p.oid', "'e', 'i'");
    return $said . 'count=routine ' . $rows($functions)[0][0] . "\n";
}

// What a dump of a MySQL or MariaDB database must hold, as lines:
//
//   object=KIND NAME       each table, view and sequence, with its name as a dump writes it
//   count=KIND NUMBER      routines, triggers and events, which a dump writes as they were typed
//   unreadable=KIND NAME: WHY. HELP      what this account sees and cannot dump; a command stands on a second line with this key
//   unseen=KINDS. HELP     what this account could not even see
//   versioned=NUMBER       tables with a history, of which a dump has what is valid now
function gated_deploy_objects(PDO $pdo): string
{
    $column = fn (string $sql) => $pdo->query($sql)->fetchAll(PDO::FETCH_NUM);
    $quoted = fn (string $name) => '`' . str_replace('`', '``', $name) . '`';
    $line = fn (string $text) => strtr($text, "\r\n", '??') . "\n";
    $schema = (string) $column('SELECT DATABASE()')[0][0];
    $version = (string) $column('SELECT VERSION()')[0][0];
    [$user, $host] = preg_split('/@(?=[^@]*$)/', (string) $column('SELECT CURRENT_USER()')[0][0]) + ['', '%'];
    $account = "'" . addslashes($user) . "'@'" . addslashes($host) . "'";
    $here = $quoted($schema) . '.*';
    $is_maria = stripos($version, 'mariadb') !== false;

    $said = '';
    $views = [];
    $versioned = 0;
    foreach ($column('SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = DATABASE()') as [$name, $type]) {
        if ($type === 'TEMPORARY' || $type === 'SYSTEM VIEW') {
            continue;
        }
        $kind = ['VIEW' => 'view', 'SEQUENCE' => 'sequence'][$type] ?? 'table';
        $versioned += $type === 'SYSTEM VERSIONED';
        if ($kind === 'view') {
            $views[] = $name;
        }
        $said .= $line("object=$kind " . $quoted($name));
    }
    foreach ($views as $name) {
        try {
            $column('SHOW FIELDS FROM ' . $quoted($name));
            $column('SHOW CREATE VIEW ' . $quoted($name));
        } catch (PDOException $error) {
            $denied = $error->errorInfo[1] === 1142;
            $help = $denied ? "Run as the database's administrator:" : 'Drop the view, or create it again with tables and a definer that exist.';
            $said .= $line('unreadable=view ' . $quoted($name) . ': ' . ($error->errorInfo[2] ?? $error->getMessage()) . ". $help");
            $said .= $denied ? $line("unreadable=GRANT SELECT, SHOW VIEW ON $here TO $account;") : '';
        }
    }
    $routines = $column('SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()');
    $said .= 'count=routine ' . count($routines) . "\n";
    $right = 'SELECT ON mysql.proc';
    if ($is_maria && preg_match('/(\d+\.\d+\.\d+)-mariadb/i', $version, $found) && version_compare($found[1], '11.3.0', '>=')) {
        $right = "SHOW CREATE ROUTINE ON $here";
    } elseif (!$is_maria && version_compare($version, '8.0.20', '>=')) {
        $right = 'SHOW_ROUTINE ON *.*';
    }
    foreach ($routines as [$type, $name]) {
        // Another account's routine has a name for this one, and no text.
        try {
            $text = $column("SHOW CREATE $type " . $quoted($name))[0][2] ?? null;
            $why = $text === null ? 'this account may not read its text' : null;
        } catch (PDOException $error) {
            $why = $error->errorInfo[2] ?? $error->getMessage();
        }
        if ($why !== null) {
            $said .= $line('unreadable=' . strtolower($type) . ' ' . $quoted($name) . ": $why. Run as the database's administrator:")
                . $line("unreadable=GRANT $right TO $account;");
        }
    }
    foreach (['trigger', 'event'] as $kind) {
        $count = $column("SELECT COUNT(*) FROM information_schema.{$kind}s WHERE {$kind}_schema = DATABASE()")[0][0];
        $said .= "count=$kind $count\n";
    }
    $unseen = gated_deploy_unseen(array_column($column('SHOW GRANTS'), 0), $schema);
    if ($unseen !== []) {
        $said .= $line('unseen=' . implode(', ', array_keys($unseen)) . ". This account cannot see whether there are any. Run as the database's administrator: GRANT " . implode(', ', $unseen)
            . " ON $here TO $account;");
    }
    return $said . "versioned=$versioned\n";
}

// Kinds of objects that an account without the right sees none of, with that right. Rights that come by a role are not all told: then
// none is said to be missing.
function gated_deploy_unseen(array $grants, string $schema): array
{
    $rights = [];
    foreach ($grants as $grant) {
        // The catalogue of routines itself, in MariaDB and before MySQL 8: its reader sees all of them.
        if (preg_match('/^GRANT (?:.*, *)?(?:SELECT|ALL PRIVILEGES)(?:,.*)? ON [`"]mysql[`"]\.(?:[`"]proc[`"]|\*) TO /i', $grant)) {
            $rights['SHOW_ROUTINE'] = true;
        }
        if (!preg_match('/^GRANT (.+) ON (\*|`(?:[^`]|``)*`|"(?:[^"]|"")*")\.\* TO /is', $grant, $parts)) {
            // A role has no ON. A right on one table says nothing of the others.
            if (!preg_match('/^GRANT .+ ON /is', $grant)) {
                return [];
            }
            continue;
        }
        [, $said, $where] = $parts;
        // In a grant `%` and `_` stand for anything, but behind a backslash.
        $pattern = preg_replace_callback(
            '/\\\\(.)|([%_])|([^\\\\%_]+)/s',
            fn ($part) => isset($part[3]) ? preg_quote($part[3], '/') : (isset($part[2]) && $part[2] !== '' ? ['%' => '.*', '_' => '.'][$part[2]] : preg_quote($part[1], '/')),
            str_replace(['``', '""'], ['`', '"'], trim($where, '`"'))
        );
        if ($where === '*' || preg_match("/^$pattern$/is", $schema)) {
            foreach (explode(',', preg_replace('/\([^)]*\)/', '', $said)) as $right) {
                $rights[strtoupper(trim($right)) . ($where === '*' && strcasecmp(trim($right), 'SELECT') === 0 ? ' EVERYWHERE' : '')] = true;
            }
        }
    }
    if (isset($rights['ALL PRIVILEGES']) || isset($rights['ALL'])) {
        return [];
    }
    $unseen = [];
    if (!isset($rights['TRIGGER'])) {
        $unseen['triggers'] = 'TRIGGER';
    }
    if (!isset($rights['EVENT'])) {
        $unseen['events'] = 'EVENT';
    }
    $shows = ['EXECUTE', 'CREATE ROUTINE', 'ALTER ROUTINE', 'SHOW CREATE ROUTINE', 'SHOW_ROUTINE', 'SELECT EVERYWHERE'];
    if (array_intersect_key(array_flip($shows), $rights) === []) {
        $unseen['procedures and functions'] = 'EXECUTE';
    }
    return $unseen;
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
        $needed = ['mysql' => 'pdo_mysql', 'mariadb' => 'pdo_mysql', 'pgsql' => 'pdo_pgsql', 'sqlite' => 'pdo_sqlite', 'memory' => 'pdo_sqlite'][$driver] ?? null;
        if ($needed !== null && !extension_loaded($needed)) {
            gated_deploy_answer("needs=$needed\n");
        }
    }
    if ($mode === 'describe') {
        $tables = 0;
        $kib = 0;
        if ($driver === 'mysql' || $driver === 'mariadb') {
            $pdo = gated_deploy_open($connection);
            $kib = (int) $pdo->query(
                'SELECT COALESCE(CEIL(SUM(data_length + index_length) / 1024), 0) FROM information_schema.tables WHERE table_schema = DATABASE()'
            )->fetchColumn();
            $objects = gated_deploy_objects($pdo);
            $tables = preg_match_all('/^object=table /m', $objects);
            gated_deploy_answer($objects);
            gated_deploy_connects(
                empty($connection['unix_socket'])
                    ? ['--host' => $connection['host'] ?? '127.0.0.1', '--port' => $connection['port'] ?? '', '--user' => $connection['username'] ?? '']
                    : ['--socket' => $connection['unix_socket'], '--user' => $connection['username'] ?? '']
            );
        } elseif ($driver === 'pgsql') {
            $pdo = gated_deploy_open($connection);
            $kib = (int) ceil($pdo->query('SELECT pg_database_size(current_database())')->fetchColumn() / 1024);
            $objects = gated_deploy_pg_objects($pdo);
            $tables = preg_match_all('/^object=TABLE /m', $objects);
            gated_deploy_answer($objects);
            gated_deploy_connects(['--host' => $connection['host'] ?? '', '--port' => $connection['port'] ?? '', '--username' => $connection['username'] ?? '']);
        } elseif ($driver === 'sqlite' && $there && !$inside) {
            // SQLite may write beside a file that it reads, and a release is as it was sealed.
            $tables = (int) gated_deploy_open($connection)->query("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'")->fetchColumn();
            $kib = (int) ceil((filesize($connection['database']) ?: 0) / 1024);
        }
        gated_deploy_answer("tables=$tables\nkib=$kib\n");
    } elseif ($mode === 'options' && $driver === 'pgsql') {
        foreach (gated_deploy_libpq($connection) as [$variable, $value]) {
            if (strpbrk($value, "\r\n") !== false) {
                throw new RuntimeException("the setting for $variable has several lines");
            }
            gated_deploy_answer("$variable=$value\n");
        }
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
        // As the app connects. It checks the server's certificate only where it has an authority to check it by; newer clients do always,
        // and refuse a server without TLS. A client that does not know an option with this prefix leaves it out.
        $option = fn (string $name) => defined("PDO::MYSQL_ATTR_$name") ? ($connection['options'][constant("PDO::MYSQL_ATTR_$name")] ?? null) : null;
        foreach (['SSL_CA' => 'ssl-ca', 'SSL_CAPATH' => 'ssl-capath', 'SSL_CERT' => 'ssl-cert', 'SSL_KEY' => 'ssl-key', 'SSL_CIPHER' => 'ssl-cipher'] as $name => $written) {
            if (!empty($option($name))) {
                gated_deploy_answer("$written=", $quote($option($name)), "\n");
            }
        }
        $verified = !empty($option('SSL_CA')) && ($option('SSL_VERIFY_SERVER_CERT') ?? true);
        gated_deploy_answer('loose-ssl-verify-server-cert=', $verified ? '1' : '0', "\n");
        // Oracle's client has this instead.
        if ($verified) {
            gated_deploy_answer("loose-ssl-mode=VERIFY_IDENTITY\n");
        }
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
