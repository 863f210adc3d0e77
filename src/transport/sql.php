<?php
// Takes the literals out of SQL and out of messages that quote SQL, for the programs that follow this one: what a statement does to which
// table may be shown, the data in it may not.

// A statement without its strings, its long numbers and its hexadecimal values. `$double`: double quotes hold a string (MySQL), not a name.
// Databases do not agree where a comment ends, nor what a backslash means, and one quote too many turns text and data around: of a statement
// with one of these only the beginning is left.
function gated_deploy_mask_sql(string $sql, bool $double): string
{
    if (preg_match('~--|/\\*|#|\\\\~', $sql, $unclear, PREG_OFFSET_CAPTURE)) {
        $words = '/^\s*(?:insert into|replace into|update|delete from|create \w+|alter table|drop \w+|truncate(?: table)?|select|with) [`"\w.]*/i';
        preg_match($words, substr($sql, 0, $unclear[0][1]), $begins);
        return ($begins[0] ?? '') . " '***'";
    }
    $strings = "'(?:[^'\\\\]|\\\\.|'')*(?:'|\\z)"
        . ($double ? '|"(?:[^"\\\\]|\\\\.|"")*(?:"|\z)' : '')
        . '|(\$[A-Za-z0-9_]*\$).*?(?:\1|\z)|\b0x[0-9A-Fa-f]+\b|(?<![\w.])\d{6,}\b';
    $names = '`[^`]*`' . ($double ? '' : '|"[^"]*"');
    // What is no valid text for the expression is not shown.
    return preg_replace("/(?:$names)(*SKIP)(*FAIL)|$strings/s", "'***'", $sql) ?? "'***'";
}

// How many parentheses are still to close behind a line; 0 if the last one stands at its end.
function gated_deploy_still_open(string $line, int $before): int
{
    $open = $before + substr_count($line, '(') - substr_count($line, ')');
    return $open <= 0 && preg_match('/\)\s*$/D', $line) ? 0 : max(1, $open);
}

// A message without the data of the SQL that a database error quotes. Laravel writes the values into it without quotes, so of a statement
// that is no definition only its beginning is left. A statement may go on over lines: `$open` says so, from call to call, by the parentheses
// that are still to close. Data may have some, too: at the latest it ends where a trace or the next entry of a log begins.
function gated_deploy_mask_error(string $line, int &$open): string
{
    if ($open > 0) {
        if (preg_match('/^\s*(?:#\d+ |at \S+:\d+|\[\d{4}-\d\d-\d\d[T ])/', $line)) {
            $open = 0;
            return gated_deploy_mask_error($line, $open);
        }
        $open = gated_deploy_still_open($line, $open);
        return "'***'";
    }
    $at = strpos($line, 'SQL: ');
    if ($at === false) {
        return $line;
    }
    [$before, $sql] = [substr($line, 0, $at + 5), substr($line, $at + 5)];
    $open = gated_deploy_still_open($sql, 1);
    $name = '[`"\w.]+';
    if (preg_match('/^(?:create|alter|drop|rename|truncate)\s/i', $sql)) {
        return $before . gated_deploy_mask_sql($sql, true);
    }
    return $before . (preg_match("/^(?:insert into|replace into|update|delete from) $name/i", $sql, $match) ? $match[0] : '') . " '***')";
}
?>
