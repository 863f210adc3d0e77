<?php
// Reads a .env file by the rules of its own parser (quotes, escapes, comments, interpolation), for the programs that follow this one.
function dotenv(string $file): array
{
    $text = file_get_contents($file);
    if ($text === false) {
        complain("cannot read $file");
        exit(1);
    }
    $text = preg_replace('/\r\n?/', "\n", $text);
    $env = [];
    // What nobody set stays as it was written.
    $lookup = function (array $match) use (&$env): string {
        return $env[$match[1]] ?? (getenv($match[1]) === false ? $match[0] : getenv($match[1]));
    };
    $start = '/\G[ \t]*(?:export[ \t]+)?(["\']?)([A-Za-z0-9_.]+)\1[ \t]*=[ \t]*/';
    $end = strlen($text);
    for ($at = 0; $at < $end; $at++) {
        if (preg_match($start, $text, $match, 0, $at)) {
            $at += strlen($match[0]);
            [$value, $dollars, $at] = dotenv_value($text, $at);
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
function dotenv_value(string $text, int $at): array
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

// A program that PHP reads from its standard input has no STDERR.
function complain(string $line): void
{
    file_put_contents('php://stderr', $line . "\n");
}
?>
