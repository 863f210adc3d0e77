<?php
// Says the health token in a .env file, to the script that started it and to nobody else. dotenv.php comes before this file.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_NOTICE & ~E_WARNING);
echo dotenv($argv[1])['HEALTHCHECK_TOKEN'] ?? '';
