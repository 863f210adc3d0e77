<?php
// Says which variables a hook gets from a .env file, as lines for a POSIX shell. dotenv.php comes before this file.
//
//   FILE NAMES    NAMES are entries of the file, one a line
//
//   export NAME='VALUE'    one for each
//   NAME                   one for each that the file lacks; then there is no other line, and the status is 3
error_reporting(0);
[, $file, $names] = $argv;
$env = gated_deploy_dotenv($file);
$names = array_filter(explode("\n", $names), 'strlen');
$missing = array_diff($names, array_map('strval', array_keys($env)));
if ($missing !== []) {
    echo implode("\n", $missing), "\n";
    exit(3);
}
foreach ($names as $name) {
    echo "export $name='", strtr($env[$name], ["'" => "'\\''", "\0" => '']), "'\n";
}
