<?php

// What is not here stands in the framework's own configuration.
return [
    'name' => env('APP_NAME', 'Lab'),
    'health_token' => env('HEALTHCHECK_TOKEN'),
];
