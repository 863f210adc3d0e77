<?php

// Turns the libraries that Debian installs under /usr/share/php into packages that Composer can install from disk.
// Debian ships neither composer.json nor the upstream layout, so both are made here: the sources go to src/, and the
// version is Debian's. Composer then writes the same vendor/ folder that it would write from a package index.
//
// Only what the app needs to boot, to migrate and to answer is collected: each file costs every test a moment, when it
// builds a release, sends it, unpacks it and backs it up. Which that is depends on the version of Laravel that Debian has.
//
// usage: php collect-packages.php TARGET

const LIBRARIES = '/usr/share/php';

// package => [source folder, namespace, Debian package, files loaded at once, packages it needs]. A package that a version does
// not need is not collected.
const PACKAGES = [
    'brick/math' => ['Brick/Math', 'Brick\\Math\\', 'php-brick-math', [], []],
    'doctrine/inflector' => ['Doctrine/Inflector', 'Doctrine\\Inflector\\', 'php-doctrine-inflector', [], []],
    'dragonmantank/cron-expression' => ['Cron', 'Cron\\', 'php-dragonmantank-cron-expression', [], []],
    'fruitcake/php-cors' => ['Fruitcake/Cors', 'Fruitcake\\Cors\\', 'php-fruitcake-php-cors', [], ['symfony/http-foundation']],
    'graham-campbell/result-type' => ['GrahamCampbell/ResultType', 'GrahamCampbell\\ResultType\\', 'php-graham-campbell-result-type', [], ['phpoption/phpoption']],
    'guzzlehttp/uri-template' => ['GuzzleHttp/UriTemplate', 'GuzzleHttp\\UriTemplate\\', 'php-guzzlehttp-uri-template', [], []],
    'laravel/prompts' => ['Laravel/Prompts', 'Laravel\\Prompts\\', 'php-laravel-prompts', ['helpers.php'], ['symfony/console']],
    'laravel/serializable-closure' => ['Laravel/SerializableClosure', 'Laravel\\SerializableClosure\\', 'php-laravel-serializable-closure', [], []],
    'league/flysystem' => ['League/Flysystem', 'League\\Flysystem\\', 'php-league-flysystem', [], ['league/mime-type-detection']],
    'league/mime-type-detection' => ['League/MimeTypeDetection', 'League\\MimeTypeDetection\\', 'php-league-mime-type-detection', [], []],
    'monolog/monolog' => ['Monolog', 'Monolog\\', 'php-monolog', [], ['psr/log']],
    'nesbot/carbon' => ['Carbon', 'Carbon\\', 'php-nesbot-carbon', [], ['symfony/translation']],
    'nunomaduro/termwind' => ['Termwind', 'Termwind\\', 'php-nunomaduro-termwind', ['Functions.php'], ['symfony/console']],
    'phpoption/phpoption' => ['PhpOption', 'PhpOption\\', 'php-phpoption', [], []],
    'psr/clock' => ['Psr/Clock', 'Psr\\Clock\\', 'php-psr-clock', [], []],
    'psr/container' => ['Psr/Container', 'Psr\\Container\\', 'php-psr-container', [], []],
    'psr/event-dispatcher' => ['Psr/EventDispatcher', 'Psr\\EventDispatcher\\', 'php-psr-event-dispatcher', [], []],
    'psr/log' => ['Psr/Log', 'Psr\\Log\\', 'php-psr-log', [], []],
    'psr/simple-cache' => ['Psr/SimpleCache', 'Psr\\SimpleCache\\', 'php-psr-simple-cache', [], []],
    'ramsey/collection' => ['Ramsey/Collection', 'Ramsey\\Collection\\', 'php-ramsey-collection', [], []],
    'ramsey/uuid' => ['Ramsey/Uuid', 'Ramsey\\Uuid\\', 'php-ramsey-uuid', ['functions.php'], ['brick/math', 'ramsey/collection']],
    'symfony/clock' => ['Symfony/Component/Clock', 'Symfony\\Component\\Clock\\', 'php-symfony-clock', ['Resources/now.php'], ['psr/clock']],
    'symfony/console' => ['Symfony/Component/Console', 'Symfony\\Component\\Console\\', 'php-symfony-console', [],
        ['symfony/deprecation-contracts', 'symfony/service-contracts', 'symfony/string']],
    'symfony/deprecation-contracts' => ['Symfony/Contracts/Deprecation', null, 'php-symfony-deprecation-contracts', ['function.php'], []],
    'symfony/error-handler' => ['Symfony/Component/ErrorHandler', 'Symfony\\Component\\ErrorHandler\\', 'php-symfony-error-handler', [], ['psr/log', 'symfony/var-dumper']],
    'symfony/event-dispatcher' => ['Symfony/Component/EventDispatcher', 'Symfony\\Component\\EventDispatcher\\', 'php-symfony-event-dispatcher', [], ['symfony/event-dispatcher-contracts']],
    'symfony/event-dispatcher-contracts' => ['Symfony/Contracts/EventDispatcher', 'Symfony\\Contracts\\EventDispatcher\\', 'php-symfony-event-dispatcher-contracts', [], ['psr/event-dispatcher']],
    'symfony/finder' => ['Symfony/Component/Finder', 'Symfony\\Component\\Finder\\', 'php-symfony-finder', [], []],
    'symfony/http-foundation' => ['Symfony/Component/HttpFoundation', 'Symfony\\Component\\HttpFoundation\\', 'php-symfony-http-foundation', [], ['symfony/deprecation-contracts']],
    'symfony/http-kernel' => ['Symfony/Component/HttpKernel', 'Symfony\\Component\\HttpKernel\\', 'php-symfony-http-kernel', [],
        ['symfony/error-handler', 'symfony/event-dispatcher', 'symfony/http-foundation']],
    'symfony/mime' => ['Symfony/Component/Mime', 'Symfony\\Component\\Mime\\', 'php-symfony-mime', [], []],
    'symfony/polyfill-php85' => ['Symfony/Polyfill/Php85', 'Symfony\\Polyfill\\Php85\\', 'php-symfony-polyfill-php85', ['bootstrap.php'], []],
    'symfony/polyfill-php86' => ['Symfony/Polyfill/Php86', 'Symfony\\Polyfill\\Php86\\', 'php-symfony-polyfill-php86', ['bootstrap.php'], []],
    'symfony/process' => ['Symfony/Component/Process', 'Symfony\\Component\\Process\\', 'php-symfony-process', [], []],
    'symfony/routing' => ['Symfony/Component/Routing', 'Symfony\\Component\\Routing\\', 'php-symfony-routing', [], ['symfony/deprecation-contracts']],
    'symfony/service-contracts' => ['Symfony/Contracts/Service', 'Symfony\\Contracts\\Service\\', 'php-symfony-service-contracts', [], ['psr/container']],
    'symfony/string' => ['Symfony/Component/String', 'Symfony\\Component\\String\\', 'php-symfony-string', ['Resources/functions.php'], []],
    'symfony/translation' => ['Symfony/Component/Translation', 'Symfony\\Component\\Translation\\', 'php-symfony-translation', ['Resources/functions.php'], ['symfony/translation-contracts']],
    'symfony/translation-contracts' => ['Symfony/Contracts/Translation', 'Symfony\\Contracts\\Translation\\', 'php-symfony-translation-contracts', [], []],
    'symfony/uid' => ['Symfony/Component/Uid', 'Symfony\\Component\\Uid\\', 'php-symfony-uid', [], []],
    'symfony/var-dumper' => ['Symfony/Component/VarDumper', 'Symfony\\Component\\VarDumper\\', 'php-symfony-var-dumper', ['Resources/functions/dump.php'], []],
    'vlucas/phpdotenv' => ['Dotenv', 'Dotenv\\', 'php-vlucas-phpdotenv', [], ['graham-campbell/result-type', 'phpoption/phpoption']],
    'voku/portable-ascii' => ['voku/helper', 'voku\\helper\\', 'php-voku-portable-ascii', [], []],
];

// What the app needs of every version of Laravel, and what it needs besides from a version on.
const NEEDS = [
    8 => ['doctrine/inflector', 'dragonmantank/cron-expression', 'laravel/serializable-closure', 'league/flysystem',
        'monolog/monolog', 'nesbot/carbon', 'psr/container', 'psr/log', 'psr/simple-cache', 'symfony/console',
        'symfony/error-handler', 'symfony/finder', 'symfony/http-foundation', 'symfony/http-kernel', 'symfony/process',
        'symfony/routing', 'symfony/var-dumper', 'vlucas/phpdotenv', 'voku/portable-ascii'],
    10 => ['brick/math', 'fruitcake/php-cors', 'guzzlehttp/uri-template', 'laravel/prompts', 'nunomaduro/termwind', 'psr/clock',
        'ramsey/uuid', 'symfony/mime', 'symfony/uid'],
    13 => ['symfony/clock', 'symfony/polyfill-php85', 'symfony/polyfill-php86'],
];

// Parts of those packages that the app never loads, and Debian's own loaders, which would load from /usr/share/php.
const UNUSED = [
    '#(^|/)autoload[^/]*\.php$#',
    '#(^|/)Test/#',
    '#^Illuminate/(Foundation/Testing|Support/Testing)/#',
    '#^Symfony/Component/HttpKernel/(DataCollector|DependencyInjection|Fragment|HttpCache|Profiler)/#',
    '#^Symfony/Component/Translation/(DataCollector|DependencyInjection|Dumper|Extractor|Loader|Provider|Reader|Writer)/#',
    '#^Carbon/Lang/(?!en\.php)#',
    '#^voku/helper/data/x#',
];
// The app for Laravel 8 names its providers; the later ones have all that the framework has.
const UNUSED_BY_LARAVEL_8 = '#^Illuminate/(Broadcasting|Mail|Redis)/#';

// "1:8.83.26+dfsg-2" is 8.83.26 upstream.
function upstream_version(string $debianPackage): string
{
    $version = trim((string) shell_exec('dpkg-query -W -f \'${Version}\' '.escapeshellarg($debianPackage)));
    if (! preg_match('/^(?:\d+:)?(\d+(?:\.\d+)*)/', $version, $found)) {
        throw new RuntimeException("Debian package $debianPackage is not installed, or its version is strange: '$version'");
    }

    return $found[1];
}

function is_unused(string $name, array $patterns): bool
{
    foreach ($patterns as $pattern) {
        if (preg_match($pattern, $name)) {
            return true;
        }
    }

    return false;
}

function copy_library(string $library, string $target, array $unused): void
{
    $root = LIBRARIES.'/'.$library;
    $files = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($root, FilesystemIterator::SKIP_DOTS));
    foreach ($files as $file) {
        $name = substr($file->getPathname(), strlen($root) + 1);
        if (is_unused("$library/$name", $unused)) {
            continue;
        }
        @mkdir(dirname("$target/$name"), 0755, true);
        copy($file->getPathname(), "$target/$name");
    }
}

function describe(string $package, string $debianPackage, array $autoload, array $needs): string
{
    return json_encode([
        'name' => $package,
        'version' => upstream_version($debianPackage),
        'type' => 'library',
        'require' => ['php' => '>=8.1'] + array_fill_keys($needs, '*'),
        'autoload' => $autoload,
    ], JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES);
}

// The framework has its upstream layout: from version 11 on it looks for its default configuration in the package's root.
function collect_framework(string $target, array $needs, array $unused): void
{
    $sources = "$target/src/Illuminate";
    copy_library('Illuminate', $sources, $unused);
    if (is_dir("$sources/config")) {
        rename("$sources/config", "$target/config");
    }
    $files = array_filter(
        ['Collections/functions.php', 'Collections/helpers.php', 'Events/functions.php', 'Filesystem/functions.php',
            'Foundation/helpers.php', 'Log/functions.php', 'Reflection/helpers.php', 'Support/functions.php', 'Support/helpers.php'],
        fn ($file) => is_file("$sources/$file"),
    );
    // Parts that stand beside Support, and whose classes are Support's.
    $parts = array_filter(['Collections', 'Conditionable', 'Macroable', 'Reflection'], fn ($part) => is_dir("$sources/$part"));
    file_put_contents("$target/composer.json", describe('laravel/framework', 'php-laravel-framework', [
        'psr-4' => [
            'Illuminate\\' => 'src/Illuminate/',
            'Illuminate\\Support\\' => array_map(fn ($part) => "src/Illuminate/$part/", array_values($parts)),
        ],
        'files' => array_map(fn ($file) => "src/Illuminate/$file", array_values($files)),
    ], $needs));
}

function collect(string $package, string $target, array $unused): void
{
    [$library, $namespace, $debianPackage, $files, $needs] = PACKAGES[$package];
    copy_library($library, "$target/src", $unused);
    $autoload = $namespace === null ? [] : ['psr-4' => [$namespace => 'src/']];
    if ($files !== []) {
        $autoload['files'] = array_map(fn ($file) => "src/$file", $files);
    }
    // Classes of a PHP that is not there yet have no namespace.
    if (is_dir("$target/src/Resources/stubs")) {
        $autoload['classmap'] = ['src/Resources/stubs/'];
    }
    file_put_contents("$target/composer.json", describe($package, $debianPackage, $autoload, $needs));
}

$target = $argv[1];
$laravel = (int) upstream_version('php-laravel-framework');
$needs = array_merge(...array_filter(NEEDS, fn ($since) => $since <= $laravel, ARRAY_FILTER_USE_KEY));
$unused = $laravel === 8 ? [...UNUSED, UNUSED_BY_LARAVEL_8] : UNUSED;
collect_framework("$target/laravel/framework", $needs, $unused);
$waiting = $needs;
$collected = [];
while ($waiting !== []) {
    $package = array_shift($waiting);
    if (! isset($collected[$package])) {
        $collected[$package] = true;
        collect($package, "$target/$package", $unused);
        array_push($waiting, ...PACKAGES[$package][4]);
    }
}
