<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <title>{{ config('app.name') }}</title>
    @vite('resources/js/app.js')
</head>
<body>
    <h1>{{ config('app.name') }}</h1>
    <p>Release <code id="commit">{{ $commit }}</code></p>
    <img id="mark" alt="">
</body>
</html>
