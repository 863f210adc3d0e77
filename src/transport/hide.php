<?php
// Passes on what stands on its standard input, without the values of a .env file. dotenv.php and sql.php come before this file.
//
//   ENV MARK MOST    MARK is the line that ends the input; MOST is how many lines and how many KiB may be passed on (0: all)
//
// It ends with a failure, and has passed nothing on, when the values cannot be read.
error_reporting(0);
ini_set('memory_limit', '512M');
// Bytes, whatever the text is.
ini_set('default_charset', '');

final class gated_deploy_Values
{
    // Shorter values are found in ordinary words, and are no secrets.
    const SHORTEST = 8;
    // As many characters of a value at the end of a line are hidden although the rest is not there: of a plain value and of an encoded one.
    const CUT_PLAIN = 12;
    const CUT_ENCODED = 8;
    const STARS = '***';
    // What a value of these names says stands in logs anyway, and is no secret unless another name has it, too.
    const SHOWN = '/^(?:APP_(?:NAME|ENV|URL|TIMEZONE)|ASSET_URL|LOG_STACK|MAIL_MAILER|DB_(?:HOST|DATABASE|USERNAME)|[A-Z0-9_]*_(?:CONNECTION|DRIVER|STORE|CHANNEL|DISK|LOCALE))$/D';

    // What is looked for, and how many of its first characters are enough at the end of a line.
    private $needles = [];
    public $longest = 0;

    public function __construct(array $env)
    {
        foreach ($env as $name => $value) {
            $word = preg_match('~^[A-Za-z0-9 _.,:/-]*$~D', $value);
            if (!$word || !preg_match(self::SHOWN, (string) $name)) {
                $this->learn($value);
            }
        }
        uksort($this->needles, fn ($a, $b) => strlen((string) $b) - strlen((string) $a));
        foreach ($this->needles as $needle => $_) {
            $this->longest = max($this->longest, strlen((string) $needle));
        }
    }

    // A value, and of a list (`APP_PREVIOUS_KEYS`, several addresses) each part.
    private function learn(string $value): void
    {
        $this->one($value);
        $parts = preg_split('/[\s,;]+/', $value, -1, PREG_SPLIT_NO_EMPTY);
        foreach (count($parts) > 1 ? $parts : [] as $part) {
            // A word of a sentence is no secret.
            if (preg_match('~[^A-Za-z]~', $part)) {
                $this->one($part);
            }
        }
    }

    private function one(string $value): void
    {
        $values = [$value, trim($value)];
        foreach (preg_split('/[\r\n]+/', $value) as $line) {
            $values[] = trim($line);
        }
        // A key as Laravel writes it, its bytes, and the password inside of an address.
        if (strncmp($value, 'base64:', 7) === 0) {
            $values[] = substr($value, 7);
            $values[] = (string) base64_decode(substr($value, 7), true);
        }
        $password = parse_url($value, PHP_URL_PASS);
        if (is_string($password)) {
            $values[] = $password;
            $values[] = rawurldecode($password);
        }
        foreach (array_unique($values) as $value) {
            if (strlen($value) >= self::SHORTEST) {
                $this->forms($value);
            }
        }
    }

    private function forms(string $value): void
    {
        $uri = rawurlencode($value);
        $small = fn (string $text) => preg_replace_callback('/%[0-9A-F]{2}/', fn ($match) => strtolower($match[0]), $text);
        $plain = [$value, addslashes($value), str_replace("'", "''", $value), htmlspecialchars($value, ENT_QUOTES), $uri, $small($uri), urlencode($value), $small(urlencode($value))];
        foreach ([0, JSON_UNESCAPED_SLASHES, JSON_UNESCAPED_UNICODE, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE] as $how) {
            $plain[] = substr((string) json_encode($value, $how), 1, -1);
        }
        // PHP cuts an argument in a trace after 15 bytes.
        if (strlen($value) > 15) {
            $plain[] = substr($value, 0, 15) . '...';
        }
        foreach ($plain as $form) {
            $this->needle($form, self::CUT_PLAIN);
        }
        $this->needle(bin2hex($value), self::CUT_ENCODED);
        $this->needle(strtoupper(bin2hex($value)), self::CUT_ENCODED);
        // The part of base64 text that does not depend on what stands around the value, for each place in a group of three bytes.
        for ($shift = 0; $shift < 3; $shift++) {
            $padded = str_repeat("\0", $shift) . $value;
            $first = intdiv($shift * 8 + 5, 6);
            $last = intdiv(strlen($padded) * 8, 6);
            $inside = substr(base64_encode($padded), $first, $last - $first);
            $this->needle($inside, self::CUT_ENCODED);
            $this->needle(strtr($inside, '+/', '-_'), self::CUT_ENCODED);
        }
    }

    private function needle(string $form, int $cut): void
    {
        $form = implode('', array_column(self::pieces($form), 0));
        if (strlen($form) >= self::SHORTEST) {
            $this->needles[$form] = $cut;
        }
    }

    // A text without its line breaks and the blanks around them, in pieces, each with its place: a value may be wrapped over lines.
    private static function pieces(string $text): array
    {
        return preg_split('/[ \t]*[\r\n]+[ \t]*/', $text, -1, PREG_SPLIT_NO_EMPTY | PREG_SPLIT_OFFSET_CAPTURE);
    }

    // `$text` from `$from` on without values; what stands before it was passed on already.
    public function without(string $text, int $from = 0): string
    {
        $pieces = self::pieces($text);
        $joined = implode('', array_column($pieces, 0));
        $hidden = [];
        foreach ($this->needles as $needle => $cut) {
            $needle = (string) $needle;
            for ($at = 0; ($at = strpos($joined, $needle, $at)) !== false; $at++) {
                $hidden[] = [$at, $at + strlen($needle)];
            }
            // The beginning of a value at the end of a line: the rest was cut off, or is still to come.
            if (strlen($needle) > $cut) {
                $head = substr($needle, 0, $cut);
                $end = 0;
                foreach ($pieces as [$piece, $_]) {
                    $end += strlen($piece);
                    $tail = substr($piece, -(strlen($needle) - 1));
                    for ($at = 0; ($at = strpos($tail, $head, $at)) !== false; $at++) {
                        if (substr_compare($tail, substr($needle, 0, strlen($tail) - $at), $at) === 0) {
                            $hidden[] = [$end - strlen($tail) + $at, $end];
                        }
                    }
                }
            }
        }
        if ($hidden === []) {
            return substr($text, $from);
        }
        sort($hidden);
        // Each piece has its own share of what is hidden, so that no line is lost.
        $clear = '';
        $done = 0;
        $begin = 0;
        $next = 0;
        foreach ($pieces as [$piece, $place]) {
            $end = $begin + strlen($piece);
            for ($one = $next; $one < count($hidden) && $hidden[$one][0] < $end; $one++) {
                [$first, $last] = $hidden[$one];
                if ($last <= $begin) {
                    $next = $one === $next ? $next + 1 : $next;
                    continue;
                }
                $start = max($place + max($first, $begin) - $begin, $done);
                $stop = $place + min($last, $end) - $begin;
                if ($stop <= $done) {
                    continue;
                }
                if ($stop > $from) {
                    $clear .= substr($text, max($done, $from), max(0, $start - max($done, $from)));
                    // What overlaps goes together.
                    $clear .= $start === $done && substr($clear, -3) === self::STARS ? '' : self::STARS;
                }
                $done = $stop;
            }
            $begin = $end;
        }
        return $clear . substr($text, max($done, $from));
    }
}

// Passes lines on, and of too many the first and the last ones.
final class gated_deploy_Output
{
    // What is kept of the end, in lines and bytes.
    const LAST = 100;
    const KEPT = 65536;

    private $values;
    private $most;
    private $lines = 0;
    private $bytes = 0;
    // The end of what was passed on, because a value may begin in it.
    private $told = '';
    private $open = 0;
    // The end of what was not passed on, and what came before that.
    private $end = null;
    private $gone = ['lines' => 0, 'bytes' => 0];

    public function __construct(gated_deploy_Values $values, int $most)
    {
        $this->values = $values;
        $this->most = $most;
    }

    public function take(string $text): void
    {
        if ($this->end === null && $this->most > 0) {
            $room = 0;
            while ($room < strlen($text) && $this->lines < $this->most) {
                $feed = strpos($text, "\n", $room);
                $after = $feed === false ? strlen($text) : $feed + 1;
                if ($this->bytes + $after - $room > $this->most * 1024) {
                    break;
                }
                $this->bytes += $after - $room;
                $this->lines++;
                $room = $after;
            }
            if ($room < strlen($text)) {
                $this->end = substr($text, $room);
                $text = substr($text, 0, $room);
            }
        } elseif ($this->end !== null) {
            $this->end .= $text;
            $text = '';
        }
        if ($this->end !== null) {
            $excess = substr($this->end, 0, max(0, strlen($this->end) - self::KEPT));
            $this->gone['lines'] += substr_count($excess, "\n");
            $this->gone['bytes'] += strlen($excess);
            $this->end = substr($this->end, strlen($excess));
        }
        $this->say($text);
    }

    public function close(): void
    {
        if ($this->end !== null) {
            // The last lines say why it ended.
            $lines = explode("\n", rtrim($this->end, "\n"));
            $first = max($this->gone['lines'] > 0 ? 1 : 0, count($lines) - self::LAST);
            $kept = implode("\n", array_slice($lines, $first));
            $gone = $this->gone['lines'] + $first;
            $bytes = $this->gone['bytes'] + strlen($this->end) - strlen($kept);
            // A value that begins in what is left out may end in what is not.
            $this->told = substr(implode("\n", array_slice($lines, 0, $first)) . "\n", -$this->reach());
            $this->open = 0;
            $this->write("... $gone lines ($bytes bytes) are left out: one script may print {$this->most} lines and {$this->most} KiB. The last lines follow.\n");
            $this->say($kept);
        }
        if ($this->told !== '' && substr($this->told, -1) !== "\n") {
            $this->write("\n");
        }
    }

    private function reach(): int
    {
        return 2 * $this->values->longest + 256;
    }

    private function say(string $text): void
    {
        if ($text === '') {
            return;
        }
        $lines = preg_split('/(?<=[\r\n])/', $this->values->without($this->told . $text, strlen($this->told)), -1, PREG_SPLIT_NO_EMPTY);
        foreach ($lines as $at => $line) {
            $length = strcspn($line, "\r\n");
            $lines[$at] = $length === 0 ? $line : gated_deploy_mask_error(substr($line, 0, $length), $this->open) . substr($line, $length);
        }
        $this->told = substr($this->told . $text, -$this->reach());
        $this->write(implode('', $lines));
    }

    private function write(string $text): void
    {
        // Where it cannot be written, nothing else can be done with it; the app goes on.
        while ($text !== '' && ($written = fwrite(STDOUT, $text)) > 0) {
            $text = substr($text, $written);
        }
    }
}

function gated_deploy_pass(string $env, string $mark, int $most): void
{
    if (!is_file($env) || !is_readable($env)) {
        exit(4);
    }
    $output = new gated_deploy_Output(new gated_deploy_Values(gated_deploy_dotenv($env)), $most);
    $mark = "\n$mark\n";
    // A line that has not ended.
    $waiting = '';
    stream_set_read_buffer(STDIN, 0);
    do {
        $piece = (string) fread(STDIN, 65536);
        $ends = $piece === '';
        $from = max(0, strlen($waiting) - strlen($mark));
        $waiting .= $piece;
        $at = strpos("\n" . $waiting, $mark, $from);
        if ($at !== false) {
            // The line feed before the mark is not the app's.
            $waiting = substr($waiting, 0, max(0, $at - 1));
            $ends = true;
        }
        $feed = max(strrpos("\n" . $waiting, "\n"), strrpos("\r" . $waiting, "\r"));
        $whole = $ends || strlen($waiting) > 65536 ? strlen($waiting) : $feed;
        $output->take(substr($waiting, 0, $whole));
        $waiting = substr($waiting, $whole);
    } while (!$ends);
    $output->close();
}

gated_deploy_pass($argv[1], $argv[2], (int) $argv[3]);
