<?php

namespace App\Http\Controllers;

class HomeController
{
    public function __invoke()
    {
        $manifest = json_decode(file_get_contents(public_path('build/manifest.json')), true);

        return view('home', [
            'commit' => config('release.commit'),
            'entry' => $manifest['resources/js/app.js'],
        ]);
    }
}
