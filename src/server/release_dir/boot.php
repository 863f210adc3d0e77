<?php
// Starts the release in the working directory once, and answers each check as soon as it has passed: what is not answered failed.
// Nothing of the routes is run. app.php comes before this file.
//
//   URL PATHS    URL has no slash at its end; PATHS are health paths, one a line
//
//   autoload=ok
//   artisan=ok
//   version=WORDS
//   route=PATH=VERDICT    ok, file, missing, "broken WHAT", or unknown
[, $url, $paths] = $argv;

require getcwd() . '/vendor/autoload.php';
gated_deploy_answer("autoload=ok\n");

$app = gated_deploy_app(getcwd());
$kernel = $app->make('Illuminate\Contracts\Console\Kernel');
$output = new Symfony\Component\Console\Output\BufferedOutput();
$status = $kernel->handle(new Symfony\Component\Console\Input\ArgvInput(['artisan', '--version', '--no-ansi']), $output);
$version = trim($output->fetch());
gated_deploy_say($version);
if ($status !== 0) {
    exit(1);
}
gated_deploy_answer("artisan=ok\nversion=", strtr($version, "\r\n", '  '), "\n");

function gated_deploy_is_closure(string $action): bool
{
    $knows = ['Illuminate\Routing\RouteAction', 'containsSerializedClosure'];
    if (is_callable($knows) && $knows(['uses' => $action])) {
        return true;
    }
    // Releases of the framework that do not know. No name of a class begins like an object that was serialized.
    return preg_match('/^[CO]:\d+:"/', $action) === 1;
}

function gated_deploy_route($app, string $url): string
{
    $request = Illuminate\Http\Request::create($url, 'GET');
    $app->instance('request', $request);
    $router = $app->make('router');
    try {
        $route = $router->getRoutes()->match($request);
    } catch (Throwable $none) {
        return 'missing';
    }
    foreach ($router->gatherRouteMiddleware($route) as $middleware) {
        $class = is_string($middleware) ? explode(':', $middleware)[0] : null;
        if ($class !== null && !class_exists($class) && !$app->bound($class)) {
            return "broken middleware $class does not exist";
        }
    }
    $action = $route->getAction('uses');
    // In cached routes a closure is a string as well.
    if (is_string($action) && gated_deploy_is_closure($action)) {
        return 'ok';
    }
    if (is_string($action) && !is_callable(explode('@', $action)) && !class_exists(explode('@', $action)[0])) {
        return 'broken controller ' . explode('@', $action)[0] . ' does not exist';
    }
    return 'ok';
}

// The kernel for requests brings the middleware that routes name.
$app->make('Illuminate\Contracts\Http\Kernel')->bootstrap();
foreach (array_filter(explode("\n", $paths), 'strlen') as $path) {
    if (is_file('public' . explode('?', $path)[0])) {
        $found = 'file';
    } else {
        try {
            $found = gated_deploy_route($app, $url . $path);
        } catch (Throwable $error) {
            gated_deploy_say("$path: " . get_class($error) . ': ' . $error->getMessage());
            $found = 'unknown';
        }
    }
    gated_deploy_answer("route=$path=", strtr($found, "\r\n", '  '), "\n");
}
