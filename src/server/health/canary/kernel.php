<?php
// Answers one request to the release in the working directory, as far as that can be done without its web server and PHP-FPM. What is asked
// stands in $gated_deploy_ask, as base64 of JSON. app.php comes before this file.
//
//   answer=MS HOW LENGTH BASE64     headers and body; HOW is whole
//   cause=TEXT                      what the app threw
$gated_deploy_ask = json_decode(base64_decode($gated_deploy_ask), true);
$gated_deploy_began = microtime(true);
$gated_deploy_reported = null;

function gated_deploy_reply(int $status, array $headers, string $body, string $cause): void
{
    global $gated_deploy_ask, $gated_deploy_began, $gated_deploy_replied;
    if ($gated_deploy_replied) {
        return;
    }
    $gated_deploy_replied = true;
    $text = "Status: $status\r\n";
    foreach ($headers as $name => $values) {
        foreach ((array) $values as $value) {
            $text .= "$name: $value\r\n";
        }
    }
    $text .= "\r\n$body";
    $ms = (int) round((microtime(true) - $gated_deploy_began) * 1000);
    gated_deploy_answer("answer=$ms whole ", strlen($text), ' ', base64_encode(substr($text, 0, $gated_deploy_ask['kept'])), "\n");
    if ($cause !== '') {
        gated_deploy_answer('cause=', substr(trim(preg_replace('/\s+/', ' ', $cause)), 0, 500), "\n");
    }
}

function gated_deploy_thrown(?Throwable $thrown): string
{
    if ($thrown === null) {
        return '';
    }
    $file = preg_replace('~^' . preg_quote(getcwd(), '~') . '/~', '', $thrown->getFile());
    return get_class($thrown) . ': ' . $thrown->getMessage() . " ($file:" . $thrown->getLine() . ')';
}

// Remembers the first error that the app reports. What it answers does not say it: a page of an error has an exception of its own.
function gated_deploy_listen($app): void
{
    $app->extend('Illuminate\Contracts\Debug\ExceptionHandler', function ($handler) {
        return new class($handler) implements Illuminate\Contracts\Debug\ExceptionHandler {
            private $handler;

            public function __construct($handler)
            {
                $this->handler = $handler;
            }

            public function report($error)
            {
                global $gated_deploy_reported;
                if ($gated_deploy_reported === null && $this->handler->shouldReport($error)) {
                    $gated_deploy_reported = $error;
                }
                return $this->handler->report($error);
            }

            public function shouldReport($error)
            {
                return $this->handler->shouldReport($error);
            }

            public function render($request, $error)
            {
                return $this->handler->render($request, $error);
            }

            public function renderForConsole($output, $error)
            {
                return $this->handler->renderForConsole($output, $error);
            }

            public function __call($name, $arguments)
            {
                return $this->handler->$name(...$arguments);
            }
        };
    });
}

// A program may end itself, or PHP may end it.
register_shutdown_function(function () {
    $error = error_get_last();
    $fatal = $error !== null && ($error['type'] & (E_ERROR | E_PARSE | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR)) !== 0;
    if ($fatal) {
        gated_deploy_reply(500, [], '', "$error[message] ($error[file]:$error[line])");
    }
    $body = '';
    while (ob_get_level() > 1) {
        $body = ob_get_clean() . $body;
    }
    gated_deploy_reply(http_response_code() ?: 200, [], $body, '');
});

// Apps look here whether a request asks, and answer a command otherwise.
foreach (['APP_RUNNING_IN_CONSOLE' => 'false'] + $gated_deploy_ask['params'] as $gated_deploy_name => $gated_deploy_value) {
    $_SERVER[$gated_deploy_name] = $gated_deploy_value;
}
$_ENV['APP_RUNNING_IN_CONSOLE'] = 'false';
putenv('APP_RUNNING_IN_CONSOLE=false');
parse_str($gated_deploy_ask['params']['QUERY_STRING'], $_GET);

$gated_deploy_public = realpath(getcwd() . '/public');
$gated_deploy_file = realpath($gated_deploy_public . rawurldecode(explode('?', $gated_deploy_ask['path'], 2)[0]));
$gated_deploy_own = $gated_deploy_file !== false && is_file($gated_deploy_file) && strncmp($gated_deploy_file, "$gated_deploy_public/", strlen($gated_deploy_public) + 1) === 0;
try {
    if ($gated_deploy_own && substr($gated_deploy_file, -4) !== '.php') {
        gated_deploy_reply(200, [], file_get_contents($gated_deploy_file), '');
    } elseif ($gated_deploy_own && $gated_deploy_file !== "$gated_deploy_public/index.php") {
        ob_start();
        require $gated_deploy_file;
        gated_deploy_reply(http_response_code() ?: 200, [], ob_get_clean(), '');
    } else {
        $gated_deploy_app = gated_deploy_app(getcwd());
        gated_deploy_listen($gated_deploy_app);
        $gated_deploy_kernel = $gated_deploy_app->make('Illuminate\Contracts\Http\Kernel');
        $gated_deploy_request = Illuminate\Http\Request::create($gated_deploy_ask['url'], 'GET', [], [], [], $gated_deploy_ask['params']);
        $gated_deploy_response = $gated_deploy_kernel->handle($gated_deploy_request);
        ob_start();
        $gated_deploy_response->sendContent();
        gated_deploy_reply($gated_deploy_response->getStatusCode(), $gated_deploy_response->headers->allPreserveCase(), ob_get_clean(), gated_deploy_thrown($gated_deploy_reported ?? $gated_deploy_response->exception ?? null));
        $gated_deploy_kernel->terminate($gated_deploy_request, $gated_deploy_response);
    }
} catch (Throwable $gated_deploy_error) {
    gated_deploy_reply(500, [], '', gated_deploy_thrown($gated_deploy_error));
}
