<?php

use Illuminate\Support\Facades\Route;

Route::get('/', fn () => view('home', ['commit' => config('release.commit')]));
// As Laravel 11 and later define it.
Route::get('/up', fn () => response('Application up'));
