<?php
// Says whether the release in the working directory has a route for a URL, and whether everything on that route exists:
// "ok", "missing", or "broken <what>". The route's own code is not run. app.php comes before this file.
$app = gated_deploy_app(getcwd());
$app->make(Illuminate\Contracts\Http\Kernel::class)->bootstrap();
$request = Illuminate\Http\Request::create($argv[1], 'GET');
$app->instance('request', $request);
$router = $app->make('router');
try {
    $route = $router->getRoutes()->match($request);
} catch (Throwable $none) {
    gated_deploy_answer('missing');
    exit(0);
}
foreach ($router->gatherRouteMiddleware($route) as $middleware) {
    $class = is_string($middleware) ? explode(':', $middleware)[0] : null;
    if ($class !== null && !class_exists($class) && !$app->bound($class)) {
        gated_deploy_answer("broken middleware $class does not exist");
        exit(0);
    }
}
$action = $route->getAction('uses');
if (is_string($action) && !is_callable(explode('@', $action)) && !class_exists(explode('@', $action)[0])) {
    gated_deploy_answer('broken controller ' . explode('@', $action)[0] . ' does not exist');
    exit(0);
}
gated_deploy_answer('ok');
