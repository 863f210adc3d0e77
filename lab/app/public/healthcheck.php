<?php

// Answers without booting the framework: it tells a dead PHP-FPM from a broken app.
$release = require __DIR__.'/../config/release.php';

header('Content-Type: application/json');
echo json_encode(['status' => 'ok', 'commit' => $release['commit']]);
