<?php
// Says the address of the site and the health token in a .env file, to the script that started it alone. dotenv.php comes before this file.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
$env = gated_deploy_dotenv($argv[1]);
// The address first: it has no line feed in it, whatever the token has.
echo strtok($env['APP_URL'] ?? '', "\n") . "\n" . ($env['HEALTHCHECK_TOKEN'] ?? '');
