<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <title>{{ config('app.name') }}</title>
</head>
<body>
    <p>Release <code id="commit">{{ $commit }}</code></p>
</body>
</html>
