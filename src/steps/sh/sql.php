<?php
// Takes the literals out of SQL and out of messages that quote SQL, for the programs that follow this one: what a statement does to which
// table may be shown, the data in it may not.

// A statement without its strings, its long numbers and its hexadecimal values. `$double`: double quotes hold a string (MySQL), not a name.
function mask_sql(string $sql, bool $double): string
{
    $strings = "'(?:[^'\\\\]|\\\\.|'')*(?:'|\\z)"
        . ($double ? '|"(?:[^"\\\\]|\\\\.|"")*(?:"|\z)' : '')
        . '|(\$[A-Za-z0-9_]*\$).*?(?:\1|\z)|\b0x[0-9A-Fa-f]+\b|(?<![\w.])\d{6,}\b';
    $names = '`[^`]*`' . ($double ? '' : '|"[^"]*"');
    // What is no valid text for the expression is not shown.
    return preg_replace("/(?:$names)(*SKIP)(*FAIL)|$strings/s", "'***'", $sql) ?? "'***'";
}

// A message without the data of the SQL that a database error quotes. Laravel writes the values into it without quotes, so of a statement
// that is no definition only its beginning is left. A statement may go on over lines: `$open` says so, from call to call.
function mask_error(string $line, bool &$open): string
{
    if ($open) {
        $open = !preg_match('/\)\s*$/D', $line);
        return "'***'";
    }
    $at = strpos($line, 'SQL: ');
    if ($at === false) {
        return $line;
    }
    $open = !preg_match('/\)\s*$/D', $line);
    [$before, $sql] = [substr($line, 0, $at + 5), substr($line, $at + 5)];
    $name = '[`"\w.]+';
    if (preg_match('/^(?:create|alter|drop|rename|truncate)\s/i', $sql)) {
        return $before . mask_sql($sql, true);
    }
    return $before . (preg_match("/^(?:insert into|replace into|update|delete from) $name/i", $sql, $match) ? $match[0] : '') . " '***')";
}
?>
