// Asks a pool of PHP-FPM for pages of releases, as the web server would, one after the other. What to ask comes as JSON on standard input,
// because there is a token in it. `php -r` begins inside of the tags.
//
// On descriptor 3, each with a NUL behind it:
//
//   unreachable=TEXT                       no connection: the pool says nothing of the release
//   answer=NUMBER MS HOW LENGTH BASE64     headers and body of a request; HOW is whole, late, or broken
//
// On standard output, which is to pass the filter for secrets:
//
//   FOLDER TEXT                            what PHP-FPM or the app's log said meanwhile of the release in that folder, by its number, one a line

function gated_deploy_pair(string $name, string $value): string
{
    $size = function (string $text): string {
        return strlen($text) < 128 ? chr(strlen($text)) : pack('N', strlen($text) | 0x80000000);
    };
    return $size($name) . $size($value) . $name . $value;
}

// A record of FastCGI 1.0, or several where the content is long.
function gated_deploy_record(int $type, string $content): string
{
    $records = '';
    foreach ($content === '' ? [''] : str_split($content, 65535) as $part) {
        $records .= pack('CCnnCC', 1, $type, 1, strlen($part), 0, 0) . $part;
    }
    return $records;
}

// So many bytes; null where they did not come.
function gated_deploy_read($stream, int $bytes, float $until): ?string
{
    $got = '';
    while (strlen($got) < $bytes) {
        $left = $until - microtime(true);
        if ($left <= 0) {
            return null;
        }
        stream_set_timeout($stream, (int) $left, (int) (fmod($left, 1) * 1000000));
        $piece = fread($stream, $bytes - strlen($got));
        if ($piece === false || $piece === '') {
            return null;
        }
        $got .= $piece;
    }
    return $got;
}

// Of what it complains of, and of what its logs have, more is passed over: the site decides how much there is.
const gated_deploy_complaint = 65536;
const gated_deploy_most_logs = 100;

// Returns the first bytes of what PHP answered, how many there were, what it complained of, and how it ended; null where there is no connection.
function gated_deploy_fastcgi(string $address, array $params, float $seconds, int $kept, ?string &$problem): ?array
{
    $until = microtime(true) + $seconds;
    error_clear_last();
    $stream = @stream_socket_client($address, $number, $text, $seconds);
    if ($stream === false) {
        $problem = $text !== '' ? $text : (error_get_last()['message'] ?? 'no connection');
        return null;
    }
    $pairs = '';
    foreach ($params as $name => $value) {
        $pairs .= gated_deploy_pair($name, $value);
    }
    // A responder, and no connection that is kept.
    @fwrite($stream, gated_deploy_record(1, pack('nCx5', 1, 0)) . gated_deploy_record(4, $pairs) . gated_deploy_record(4, '') . gated_deploy_record(5, ''));
    [$out, $err, $length] = ['', '', 0];
    while (($head = gated_deploy_read($stream, 8, $until)) !== null) {
        $record = unpack('Cversion/Ctype/nrequest/nlength/Cpadding/Cnone', $head);
        $content = gated_deploy_read($stream, $record['length'] + $record['padding'], $until);
        if ($record['length'] + $record['padding'] > 0 && $content === null) {
            break;
        }
        $content = substr((string) $content, 0, $record['length']);
        if ($record['type'] === 6) {
            $length += strlen($content);
            $out .= substr($content, 0, max(0, $kept - strlen($out)));
        } elseif ($record['type'] === 7) {
            $err .= substr($content, 0, max(0, gated_deploy_complaint - strlen($err)));
        } elseif ($record['type'] === 3) {
            return [$out, $length, $err, 'whole'];
        }
    }
    return [$out, $length, $err, microtime(true) >= $until ? 'late' : 'broken'];
}

// The app's logs with their sizes. The site's account writes there: what is not a file by itself is not opened, nor a folder behind a link that
// neither root nor this account made.
function gated_deploy_logs(string $release): array
{
    clearstatcache();
    $folder = "$release/storage/logs";
    $logs = [];
    if (is_link($folder) && !in_array(lstat($folder)['uid'], [0, fileowner($release)], true)) {
        return $logs;
    }
    foreach (@scandir($folder) ?: [] as $name) {
        $stat = preg_match('/^laravel[A-Za-z0-9._-]*\.log$/D', $name) ? @lstat("$folder/$name") : false;
        if ($stat !== false && ($stat['mode'] & 0170000) === 0100000) {
            $logs["$folder/$name"] = $stat;
        }
        if (count($logs) === gated_deploy_most_logs) {
            break;
        }
    }
    return $logs;
}

// What was added to the logs since, at most 256 KiB of each.
function gated_deploy_added(array $before, array $now): string
{
    $added = '';
    foreach ($now as $path => $stat) {
        $since = isset($before[$path]) && $before[$path]['ino'] === $stat['ino'] ? min($before[$path]['size'], $stat['size']) : 0;
        $file = $stat['size'] > $since ? @fopen($path, 'rn') : false;
        if ($file === false) {
            continue;
        }
        // A link or a FIFO may have taken its place meanwhile; opening the latter does not wait.
        $opened = fstat($file);
        if ($opened['ino'] === $stat['ino'] && $opened['dev'] === $stat['dev'] && fseek($file, $since) === 0) {
            $added .= stream_get_contents($file, 262144) . "\n";
        }
        fclose($file);
        if (strlen($added) > 1048576) {
            break;
        }
    }
    return $added;
}

// The first error of this release in what was added to the logs, as one line. The live release writes to the same ones.
function gated_deploy_logged(string $added, string $release): ?string
{
    $entries = preg_split('/^(?=\[[^\]\n]{10,40}\] [\w.-]+\.[A-Z]+: )/m', $added) ?: [];
    foreach ($entries as $entry) {
        if (strpos($entry, "/$release/") === false || !preg_match('/^\[[^\]]+\] [\w.-]+\.(ERROR|CRITICAL|ALERT|EMERGENCY): (.*)/', $entry, $line)) {
            continue;
        }
        // Without the folders that lead to the release. The text of an exception may itself have line feeds.
        $thrown = '~\[object\] \(([^\s(]+)\(code: [^)]*\): (.*?) at (?:\S*/' . preg_quote($release, '~') . '/)?(\S+:\d+)\)~s';
        $said = preg_match($thrown, $entry, $part) ? "$part[1]: $part[2] ($part[3])" : preg_replace('/ \{".*$/', '', $line[2]);
        // The log has it as JSON.
        return strtr($said, ['\\\\' => '\\', '\\"' => '"']);
    }
    return null;
}

function gated_deploy_one_line(string $text): string
{
    return substr(trim(preg_replace('/\s+/', ' ', $text)), 0, 500);
}

$ask = json_decode(stream_get_contents(STDIN), true);
$out = fopen('php://fd/3', 'w');
$say = function (string $key, string $value) use ($out) {
    fwrite($out, "$key=$value\0");
};
$chroot = $ask['chroot'] === null ? '' : rtrim((string) realpath($ask['chroot']), '/');
$logs = [];
$complaints = [];
foreach ($ask['folders'] as $number => $folder) {
    $public = realpath($folder['public']);
    if ($public === false) {
        $say('unreachable', "$folder[public] does not exist");
        exit;
    }
    if ($chroot !== '' && strncmp("$public/", "$chroot/", strlen($chroot) + 1) !== 0) {
        $say('unreachable', "the release is not below the pool's chroot $chroot");
        exit;
    }
    $ask['folders'][$number]['public'] = $public;
    $logs[$number] = gated_deploy_logs($folder['release']);
    $complaints[$number] = [];
}
foreach ($ask['requests'] as $number => $request) {
    $public = $ask['folders'][$request['folder']]['public'];
    [$path, $query] = explode('?', $request['path'], 2) + [1 => ''];
    // As `try_files` finds it.
    $name = rawurldecode($path);
    $file = strpos($name, "\0") === false ? realpath($public . $name) : false;
    $own = $file !== false && is_file($file) && strncmp($file, "$public/", strlen($public) + 1) === 0;
    $script = $own && substr($file, -4) === '.php' ? $name : '/index.php';
    $began = microtime(true);
    if ($own && $script === '/index.php' && $file !== "$public/index.php") {
        // No PHP: the web server sends the file.
        $head = "Status: 200 OK\r\n\r\n";
        $answer = [$head . file_get_contents($file, false, null, 0, $ask['kept']), strlen($head) + filesize($file), '', 'whole'];
    } else {
        $params = [
            'SCRIPT_FILENAME' => substr($public, strlen($chroot)) . $script,
            'DOCUMENT_ROOT' => substr($public, strlen($chroot)),
            'SCRIPT_NAME' => $script,
            'DOCUMENT_URI' => $script,
            'REQUEST_URI' => $request['path'],
            'QUERY_STRING' => $query,
        ];
        $answer = gated_deploy_fastcgi($ask['address'], $params + $request['params'] + $ask['params'], $ask['seconds'], $ask['kept'], $problem);
        if ($answer === null) {
            $say('unreachable', "$ask[address]: $problem");
            exit;
        }
    }
    [$text, $length, $complaint, $how] = $answer;
    $say('answer', implode(' ', [$number, (int) round((microtime(true) - $began) * 1000), $how, $length, base64_encode(substr($text, 0, $ask['kept']))]));
    $complaints[$request['folder']][] = $complaint;
    // One page that is late is enough: a worker is still busy with it.
    if ($how === 'late') {
        break;
    }
}
foreach ($ask['folders'] as $number => $folder) {
    $causes = [gated_deploy_logged(gated_deploy_added($logs[$number], gated_deploy_logs($folder['release'])), basename($folder['release']))];
    foreach ($complaints[$number] as $complaint) {
        // The trace is below the first line.
        $causes[] = preg_replace(['/^(PHP message: )+/', '/ Stack trace:.*$/'], '', gated_deploy_one_line($complaint));
    }
    foreach (array_unique(array_filter($causes)) as $cause) {
        echo $number, ' ', gated_deploy_one_line($cause), "\n";
    }
}
