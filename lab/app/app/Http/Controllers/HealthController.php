<?php

namespace App\Http\Controllers;

use Illuminate\Support\Facades\DB;
use Throwable;

class HealthController
{
    public function deep()
    {
        $database = $this->databaseAnswers();

        return response()->json([
            'status' => $database ? 'ok' : 'unhealthy',
            'commit' => config('release.commit'),
            'database' => $database,
        ], $database ? 200 : 503);
    }

    public function shallow()
    {
        return response()->json([
            'status' => 'healthy',
            'commit' => config('release.commit'),
        ]);
    }

    private function databaseAnswers(): bool
    {
        try {
            return DB::table('visitors')->count() >= 0;
        } catch (Throwable $problem) {
            report($problem);

            return false;
        }
    }
}
