<?php

namespace App\Http\Middleware;

use Closure;
use Illuminate\Http\Request;

class RequireHealthToken
{
    public function handle(Request $request, Closure $next)
    {
        $expected = (string) config('app.health_token');

        // An unset token must lock the endpoint, not open it.
        if ($expected === '' || ! hash_equals($expected, (string) $request->bearerToken())) {
            return response()->json(['status' => 'unauthorized'], 401);
        }

        return $next($request);
    }
}
