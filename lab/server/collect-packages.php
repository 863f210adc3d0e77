<?php

// Turns the libraries that Debian installs under /usr/share/php into packages that Composer can install from disk.
// Debian ships neither composer.json nor the upstream layout, so both are made here: the sources go to src/, and the
// version is Debian's. Composer then writes the same vendor/ folder that it would write from a package index.
//
// Only what the app needs to boot, to migrate and to answer is collected: each file costs every test a moment, when it
// builds a release, sends it, unpacks it and backs it up.
//
// usage: php collect-packages.php TARGET

const LIBRARIES = '/usr/share/php';

// package => [source folder, namespace, Debian package, files loaded at once, packages it needs]
const PACKAGES = [
    'doctrine/inflector' => ['Doctrine/Inflector', 'Doctrine\\Inflector\\', 'php-doctrine-inflector', [], []],
    'dragonmantank/cron-expression' => ['Cron', 'Cron\\', 'php-dragonmantank-cron-expression', [], []],
    'graham-campbell/result-type' => ['GrahamCampbell/ResultType', 'GrahamCampbell\\ResultType\\', 'php-graham-campbell-result-type', [], ['phpoption/phpoption']],
    'laravel/framework' => ['Illuminate', 'Illuminate\\', 'php-laravel-framework',
        ['Collections/helpers.php', 'Events/functions.php', 'Foundation/helpers.php', 'Support/helpers.php'],
        ['doctrine/inflector', 'dragonmantank/cron-expression', 'laravel/serializable-closure', 'league/flysystem',
            'monolog/monolog', 'nesbot/carbon', 'psr/container', 'psr/log', 'psr/simple-cache', 'symfony/console',
            'symfony/error-handler', 'symfony/finder', 'symfony/http-foundation', 'symfony/http-kernel', 'symfony/process',
            'symfony/routing', 'symfony/var-dumper', 'vlucas/phpdotenv', 'voku/portable-ascii']],
    'laravel/serializable-closure' => ['Laravel/SerializableClosure', 'Laravel\\SerializableClosure\\', 'php-laravel-serializable-closure', [], []],
    'league/flysystem' => ['League/Flysystem', 'League\\Flysystem\\', 'php-league-flysystem', [], ['league/mime-type-detection']],
    'league/mime-type-detection' => ['League/MimeTypeDetection', 'League\\MimeTypeDetection\\', 'php-league-mime-type-detection', [], []],
    'monolog/monolog' => ['Monolog', 'Monolog\\', 'php-monolog', [], ['psr/log']],
    'nesbot/carbon' => ['Carbon', 'Carbon\\', 'php-nesbot-carbon', [], ['symfony/translation']],
    'phpoption/phpoption' => ['PhpOption', 'PhpOption\\', 'php-phpoption', [], []],
    'psr/container' => ['Psr/Container', 'Psr\\Container\\', 'php-psr-container', [], []],
    'psr/event-dispatcher' => ['Psr/EventDispatcher', 'Psr\\EventDispatcher\\', 'php-psr-event-dispatcher', [], []],
    'psr/log' => ['Psr/Log', 'Psr\\Log\\', 'php-psr-log', [], []],
    'psr/simple-cache' => ['Psr/SimpleCache', 'Psr\\SimpleCache\\', 'php-psr-simple-cache', [], []],
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
    'symfony/process' => ['Symfony/Component/Process', 'Symfony\\Component\\Process\\', 'php-symfony-process', [], []],
    'symfony/routing' => ['Symfony/Component/Routing', 'Symfony\\Component\\Routing\\', 'php-symfony-routing', [], ['symfony/deprecation-contracts']],
    'symfony/service-contracts' => ['Symfony/Contracts/Service', 'Symfony\\Contracts\\Service\\', 'php-symfony-service-contracts', [], ['psr/container']],
    'symfony/string' => ['Symfony/Component/String', 'Symfony\\Component\\String\\', 'php-symfony-string', ['Resources/functions.php'], []],
    'symfony/translation' => ['Symfony/Component/Translation', 'Symfony\\Component\\Translation\\', 'php-symfony-translation', ['Resources/functions.php'], ['symfony/translation-contracts']],
    'symfony/translation-contracts' => ['Symfony/Contracts/Translation', 'Symfony\\Contracts\\Translation\\', 'php-symfony-translation-contracts', [], []],
    'symfony/var-dumper' => ['Symfony/Component/VarDumper', 'Symfony\\Component\\VarDumper\\', 'php-symfony-var-dumper', ['Resources/functions/dump.php'], []],
    'vlucas/phpdotenv' => ['Dotenv', 'Dotenv\\', 'php-vlucas-phpdotenv', [], ['graham-campbell/result-type', 'phpoption/phpoption']],
    'voku/portable-ascii' => ['voku/helper', 'voku\\helper\\', 'php-voku-portable-ascii', [], []],
];

// Parts of those packages that the app never loads, and Debian's own loaders, which would load from /usr/share/php.
const UNUSED = [
    '#(^|/)autoload\.php$#',
    '#(^|/)Test/#',
    '#^Illuminate/(Broadcasting|Foundation/Testing|Mail|Redis|Support/Testing)/#',
    '#^Symfony/Component/HttpKernel/(DataCollector|DependencyInjection|Fragment|HttpCache|Profiler)/#',
    '#^Symfony/Component/Translation/(DataCollector|DependencyInjection|Dumper|Extractor|Loader|Provider|Reader|Writer)/#',
    '#^Carbon/Lang/(?!en\.php)#',
    '#^voku/helper/data/x#',
];

// "1:8.83.26+dfsg-2" is 8.83.26 upstream.
function upstream_version(string $debianPackage): string
{
    $version = trim((string) shell_exec('dpkg-query -W -f \'${Version}\' '.escapeshellarg($debianPackage)));
    if (! preg_match('/^(?:\d+:)?(\d+(?:\.\d+)*)/', $version, $found)) {
        throw new RuntimeException("Debian package $debianPackage is not installed, or its version is strange: '$version'");
    }

    return $found[1];
}

function is_unused(string $name): bool
{
    foreach (UNUSED as $pattern) {
        if (preg_match($pattern, $name)) {
            return true;
        }
    }

    return false;
}

function copy_library(string $library, string $target): void
{
    $root = LIBRARIES.'/'.$library;
    $files = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($root, FilesystemIterator::SKIP_DOTS));
    foreach ($files as $file) {
        $name = substr($file->getPathname(), strlen($root) + 1);
        if (is_unused("$library/$name")) {
            continue;
        }
        @mkdir(dirname("$target/$name"), 0755, true);
        copy($file->getPathname(), "$target/$name");
    }
}

function describe(string $package, array $entry): array
{
    [, $namespace, $debianPackage, $files, $needs] = $entry;
    $autoload = $namespace === null ? [] : ['psr-4' => [$namespace => 'src/']];
    if ($package === 'laravel/framework') {
        $autoload['psr-4']['Illuminate\\Support\\'] = ['src/Collections/', 'src/Macroable/'];
    }
    if ($files !== []) {
        $autoload['files'] = array_map(fn ($file) => "src/$file", $files);
    }

    return [
        'name' => $package,
        'version' => upstream_version($debianPackage),
        'type' => 'library',
        'require' => ['php' => '>=8.1'] + array_fill_keys($needs, '*'),
        'autoload' => $autoload,
    ];
}

$target = $argv[1];
foreach (PACKAGES as $package => $entry) {
    copy_library($entry[0], "$target/$package/src");
    file_put_contents("$target/$package/composer.json", json_encode(describe($package, $entry), JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES));
}
