<?php

namespace App\Http;

use App\Http\Middleware\RequireHealthToken;
use Illuminate\Foundation\Http\Kernel as HttpKernel;
use Illuminate\Routing\Middleware\SubstituteBindings;

class Kernel extends HttpKernel
{
    // No sessions and no cookies: every answer depends on the request and the release alone.
    protected $middlewareGroups = [
        'web' => [SubstituteBindings::class],
        'api' => [SubstituteBindings::class],
    ];

    protected $routeMiddleware = [
        'health.token' => RequireHealthToken::class,
    ];
}
