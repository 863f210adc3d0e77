// Asks the site from its own server. Which addresses and what to ask come as JSON on standard input, because there is a token in it.
$ask = json_decode(stream_get_contents(STDIN), true);
$out = fopen('php://fd/3', 'w');
$say = function ($key, $value) use ($out) {
    fwrite($out, "$key=$value\0");
};
$until = microtime(true) + $ask['seconds'];
foreach ($ask['places'] as $place) {
    [$host, $port] = $place;
    $address = filter_var($host, FILTER_VALIDATE_IP) ? $host : gethostbyname($host);
    $loopback = $address === '::1' || strncmp($address, '127.', 4) === 0;
    // A token goes to the site alone. What answers on the loopback interface is this server, whatever name its certificate has.
    $tls = ['SNI_enabled' => true, 'peer_name' => $ask['name'], 'verify_peer' => !$loopback];
    $left = $until - microtime(true);
    if ($left <= 0) {
        break;
    }
    $at = (strpos($address, ':') === false ? $address : "[$address]") . ":$port";
    $context = stream_context_create(['ssl' => $tls]);
    error_clear_last();
    $stream = @stream_socket_client(($ask['tls'] ? 'tls' : 'tcp') . "://$at", $number, $text, $left / count($ask['places']), STREAM_CLIENT_CONNECT, $context);
    if ($stream === false) {
        if ($number === 111) {
            $say('refused', $at);
        }
        $say('failed', "$at: " . ($text !== '' ? $text : (error_get_last()['message'] ?? 'no connection')));
        continue;
    }
    fwrite($stream, $ask['request']);
    [$kept, $length] = ['', 0];
    while (!feof($stream) && ($left = $until - microtime(true)) > 0) {
        stream_set_timeout($stream, (int) $left, (int) (fmod($left, 1) * 1000000));
        $piece = fread($stream, 65536);
        if ($piece === false || ($piece === '' && stream_get_meta_data($stream)['timed_out'])) {
            break;
        }
        $length += strlen($piece);
        $kept .= substr($piece, 0, max(0, $ask['kept'] - strlen($kept)));
    }
    $say('at', $at);
    $say('whole', feof($stream) ? 'yes' : 'no');
    $say('length', $length);
    $say('answer', base64_encode($kept));
    exit;
}
