<?php
// Reads a .env file by the rules of its own parser (quotes, escapes, comments, interpolation), for the programs that follow this one.
function gated_deploy_dotenv(string $file): array
{
    $text = file_get_contents($file);
    if ($text === false) {
        gated_deploy_complain("cannot read $file");
        exit(1);
    }
    $text = preg_replace('/\r\n?/', "\n", $text);
    $env = [];
    // A variable that is not set stays as it was written.
    $lookup = function (array $match) use (&$env): string {
        return $env[$match[1]] ?? (getenv($match[1]) === false ? $match[0] : getenv($match[1]));
    };
    $start = '/\G[ \t]*(?:export[ \t]+)?(["\']?)([A-Za-z0-9_.]+)\1[ \t]*=[ \t]*/';
    $end = strlen($text);
    for ($at = 0; $at < $end; $at++) {
        if (preg_match($start, $text, $match, 0, $at)) {
            $at += strlen($match[0]);
            [$value, $dollars, $at] = gated_deploy_env_value($text, $at);
            // From the last to the first, so that one inside of another is read before it.
            foreach (array_reverse($dollars) as $dollar) {
                $rest = preg_replace_callback('/\A\$\{([A-Za-z0-9_.]+)\}/', $lookup, substr($value, $dollar));
                $value = substr($value, 0, $dollar) . $rest;
            }
            $env[$match[2]] = $value;
        }
        // A comment, or what the parser would not take.
        $at += strcspn($text, "\n", $at);
    }
    return $env;
}

// The value that begins here, where dollars in it may begin a variable, and where it ends. Without quotes it ends at a blank or a hash
// wherever that stands; between double quotes a backslash takes the next character, between single quotes nothing means anything.
function gated_deploy_env_value(string $text, int $at): array
{
    $quote = $text[$at] ?? '';
    if ($quote === "'") {
        $length = strcspn($text, "'\n", $at + 1);
        return [substr($text, $at + 1, $length), [], $at + 1 + $length];
    }
    if ($quote !== '"') {
        $value = substr($text, $at, strcspn($text, "# \t\v\f\n", $at));
        return [$value, array_keys(array_filter(str_split($value), fn ($letter) => $letter === '$')), $at + strlen($value)];
    }
    $escapes = ['n' => "\n", 'r' => "\r", 't' => "\t", 'f' => "\f", 'v' => "\v"];
    $value = '';
    $dollars = [];
    for ($at++; $at < strlen($text) && $text[$at] !== '"'; $at++) {
        if ($text[$at] === '\\') {
            $at++;
            $value .= $escapes[$text[$at] ?? ''] ?? $text[$at] ?? '';
            continue;
        }
        if ($text[$at] === '$') {
            $dollars[] = strlen($value);
        }
        $value .= $text[$at];
    }
    return [$value, $dollars, $at];
}

// The connection that the values of a .env file name, as Laravel's own configuration reads them: what stands in an address counts more than
// what stands beside it, its driver, too. `none` if nothing names one.
function gated_deploy_env_database(array $env): array
{
    $of = function (string $name) use ($env): ?string {
        $value = $env[$name] ?? '';
        return in_array(strtolower($value), ['', 'null', '(null)', 'empty', '(empty)'], true) ? null : $value;
    };
    $connection = [
        'driver' => $of('DB_CONNECTION'),
        'host' => $of('DB_HOST') ?? '127.0.0.1',
        'port' => $of('DB_PORT'),
        'unix_socket' => $of('DB_SOCKET'),
        'database' => $of('DB_DATABASE'),
        'username' => $of('DB_USERNAME') ?? '',
        'password' => $env['DB_PASSWORD'] ?? '',
        'sslmode' => $of('DB_SSLMODE'),
    ];
    // The one option of the driver that Laravel's own configuration reads from there.
    $authority = $of('MYSQL_ATTR_SSL_CA');
    if ($authority !== null && defined('PDO::MYSQL_ATTR_SSL_CA')) {
        $connection['options'] = [constant('PDO::MYSQL_ATTR_SSL_CA') => $authority];
    }
    // The second is Laravel 10's name.
    $url = $of('DB_URL') ?? $of('DATABASE_URL');
    if ($url !== null) {
        // An address of SQLite has no host.
        $parts = parse_url(preg_replace('~^(sqlite3?):///~', '$1://null/', $url)) ?: [];
        $parts = array_map(fn ($part) => is_string($part) ? rawurldecode($part) : $part, $parts);
        $drivers = ['mysql2' => 'mysql', 'postgres' => 'pgsql', 'postgresql' => 'pgsql', 'sqlite3' => 'sqlite', 'mssql' => 'sqlsrv'];
        $scheme = $parts['scheme'] ?? null;
        parse_str($parts['query'] ?? '', $more);
        $said = [
            'driver' => $drivers[$scheme] ?? $scheme,
            'host' => $parts['host'] ?? null,
            'port' => $parts['port'] ?? null,
            'unix_socket' => $more['unix_socket'] ?? null,
            'database' => strlen($parts['path'] ?? '') > 1 ? substr($parts['path'], 1) : null,
            'username' => $parts['user'] ?? null,
            'password' => $parts['pass'] ?? null,
        ];
        $connection = array_filter($said, fn ($value) => $value !== null) + $connection;
    }
    // A path is a file, and that is SQLite's; any other name was MySQL's before Laravel 11 wanted the driver.
    $connection['driver'] ??= $connection['database'] === null ? 'none' : ($connection['database'][0] === '/' ? 'sqlite' : 'mysql');
    return $connection;
}

// A program that PHP reads from its standard input has no STDERR.
function gated_deploy_complain(string $line): void
{
    file_put_contents('php://stderr', $line . "\n");
}
?>
