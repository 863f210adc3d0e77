<?php

use App\Http\Controllers\HealthController;
use Illuminate\Support\Facades\Route;

Route::get('/health-check', [HealthController::class, 'shallow'])->middleware('health.token');
