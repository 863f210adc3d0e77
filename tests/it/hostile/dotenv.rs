//! `.env`, read by us as Laravel reads it: both parsers get the same text.

use gated_deploy_lab::{Lab, Options};

const OURS: &str = include_str!("../../../src/transport/dotenv.php");

/// What a value may look like, from the usual to what only a test writes.
const VALUES: &[&str] = &[
    "",
    "plain",
    "with blanks",
    "  padded  ",
    "\"quoted\"",
    "'single'",
    "\"\"",
    "''",
    "\"a b\" # comment",
    "'a b' # comment",
    "plain # comment",
    "plain#hash",
    "plain #",
    "#all",
    " # all",
    "\"a#b\"",
    "'a#b'",
    "\"a\\\"b\"",
    "\"a\\\\b\"",
    "\"a\\nb\"",
    "\"a\\tb\"",
    "\"a\\rb\"",
    "\"a\\$b\"",
    "'a\\'",
    "'a\\nb'",
    "\"a'b\"",
    "'a\"b'",
    "a=b",
    "\"a=b\"",
    "'a=b'",
    "a'b",
    "a\"b",
    "$HOME",
    "\"$HOME\"",
    "${FIRST}",
    "\"${FIRST}\"",
    "'${FIRST}'",
    "\"\\${FIRST}\"",
    "${NOBODY}",
    "a${FIRST}b",
    "\"a${FIRST}b\"",
    "${FIRST}${FIRST}",
    "\"line\none\"",
    "'line\none'",
    "a\\b",
    "a\\\\b",
    "\"é ü 漢\"",
    "é",
    "p@ss:w/o?r&d%",
    "\"p@ss=\\\"w'o#rd\\$HOME x\"",
    "'p@ss=w#o\\rd \"$HOME x'",
    "base64:abc+/=",
    "true",
    "null",
    "\"${}\"",
    "\"${a b}\"",
    "`id`",
    "$(id)",
    "\"$(id)\"",
    "a;b",
    "a|b",
    "\"a\\f\\v\"",
    "{\"a\":1}",
    "[1]",
    "\t tab",
    "a\ttab",
];

/// A program that lets both read each file, and says where they differ. What phpdotenv does not take, Laravel does not start with.
const COMPARE: &str = r#"
require '/var/www/staging/current/vendor/autoload.php';
require '/dev/shm/ours.php';
$both = 0;
foreach (json_decode(file_get_contents('/dev/shm/cases.json')) as $text) {
    file_put_contents('/dev/shm/case', $text);
    try { $theirs = Dotenv\Dotenv::parse($text); } catch (Throwable $e) { continue; }
    $ours = gated_deploy_dotenv('/dev/shm/case');
    $both++;
    foreach ($theirs as $name => $value) {
        if (($ours[$name] ?? null) !== $value) { echo json_encode([$text, $name, 'laravel' => $value, 'we' => $ours[$name] ?? null], JSON_UNESCAPED_UNICODE), "\n"; }
    }
}
echo "both read $both\n";
"#;

fn compare(lab: &Lab, cases: &[String]) -> (usize, Vec<String>) {
    let put = |name: &str, text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), text).expect("a file");
        lab.exec("rm -rf /tmp/put").expect("no folder");
        lab.upload(folder.path(), "/tmp/put").expect("uploading");
        lab.exec(&format!("mv /tmp/put/{name} /dev/shm/{name}")).expect("moving");
    };
    put("ours.php", OURS);
    put("cases.json", &serde_json::to_string(cases).expect("JSON"));
    put("compare.php", &format!("<?php{COMPARE}"));
    let said = lab.exec("php /dev/shm/compare.php 2>&1").expect("both parsers");
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let last = lines.pop().expect("a last line");
    (last.strip_prefix("both read ").and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{said}")), lines)
}

#[test]
fn f41_every_quoting_of_env_is_read_as_laravel_reads_it() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let mut cases = Vec::new();
    for value in VALUES {
        for form in [
            "FIRST=one\nDB_PASSWORD={}\nLAST=end\n",
            "FIRST=one\r\nexport DB_PASSWORD={}\r\nLAST=end",
            "FIRST=one\nDB_PASSWORD = {}\n\n# LAST=no\n",
            "FIRST=one\n  DB_PASSWORD={}",
        ] {
            cases.push(form.replace("{}", value));
        }
    }
    let (both, differ) = compare(&lab, &cases);
    assert!(both > 150, "{both} of {}", cases.len());
    assert!(differ.is_empty(), "{} of {both} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Four thousand short values of the letters that quoting is about: the same in every run.
#[test]
fn f41_values_made_of_quotes_and_escapes_are_read_as_laravel_reads_them() {
    let lab = Lab::start(Options::default()).expect("the lab");
    let letters: Vec<char> = "a b\"'\\$#={}n".chars().collect();
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % limit as u64).expect("a small number")
    };
    let mut cases = Vec::new();
    for _ in 0..4000 {
        let inner: String = (0..below(9)).map(|_| letters[below(letters.len())]).collect();
        let value = match below(4) {
            0 => format!("\"{inner}\""),
            1 => format!("'{inner}'"),
            2 => format!("\"{inner}\" # {inner}"),
            _ => inner,
        };
        cases.push(format!("FIRST=one\nDB_PASSWORD={value}\nLAST=end\n"));
    }
    let (both, differ) = compare(&lab, &cases);
    assert!(both > 500, "{both} of {}", cases.len());
    assert!(differ.is_empty(), "{} of {both} differ:\n{}", differ.len(), differ[..differ.len().min(40)].join("\n"));
}
