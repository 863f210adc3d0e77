<?php
// Reads a .env file by the rules of its own parser (quotes, escapes, comments, interpolation), for the programs that follow this one.
function dotenv(string $file): array
{
    $text = file_get_contents($file);
    if ($text === false) {
        complain("cannot read $file");
        exit(1);
    }
    $env = [];
    $lookup = function (array $match) use (&$env): string {
        return $env[$match[1]] ?? (getenv($match[1]) === false ? '' : getenv($match[1]));
    };
    $pattern = '/^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*'
        . '(?:"((?:[^"\\\\]|\\\\.)*)"|\'([^\']*)\'|([^\r\n#]*?(?:(?<=[^ \t\r\n])#[^\r\n#]*?)*))[ \t]*(?:[ \t]#[^\r\n]*|(?<==)#[^\r\n]*)?\r?$/ms';
    preg_match_all($pattern, $text, $lines, PREG_SET_ORDER | PREG_UNMATCHED_AS_NULL);
    foreach ($lines as [, $name, $double, $single, $plain]) {
        if ($double !== null) {
            // Escaped dollars survive interpolation; the other escapes are undone after it.
            $value = str_replace('\\$', "\0", $double);
            $value = preg_replace_callback('/\$\{([A-Za-z_][A-Za-z0-9_.]*)\}/', $lookup, $value);
            $value = strtr($value, ['\\"' => '"', '\\\\' => '\\', '\\n' => "\n", '\\r' => "\r", '\\t' => "\t", "\0" => '$']);
        } elseif ($single !== null) {
            $value = $single;
        } else {
            $value = preg_replace_callback('/\$\{([A-Za-z_][A-Za-z0-9_.]*)\}/', $lookup, (string) $plain);
        }
        $env[$name] = $value;
    }
    return $env;
}

// A program that PHP reads from its standard input has no STDERR.
function complain(string $line): void
{
    file_put_contents('php://stderr', $line . "\n");
}
?>
