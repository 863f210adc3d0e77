<?php
// Says the SHA-256 of the health token in a .env file, and nothing else of it. dotenv.php comes before this file.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
$token = gated_deploy_dotenv($argv[1])['HEALTHCHECK_TOKEN'] ?? '';
echo $token === '' ? 'unset' : hash('sha256', $token);
