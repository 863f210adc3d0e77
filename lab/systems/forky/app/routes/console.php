<?php

use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\Facades\Schedule;

Artisan::command('lab:count', function () {
    $this->info('A command that the app defines as a closure.');
});

Schedule::command('lab:count')->hourly();
