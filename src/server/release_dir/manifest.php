<?php
// Writes the manifest of a bundle whose files lie in a folder. What stands in it around the files comes on standard input, as two lines.
//
//   FOLDER MANIFEST
[, $folder, $manifest] = $argv;
[$before, $behind] = explode("\n", stream_get_contents(STDIN));
$entries = [];
$tree = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS));
foreach ($tree as $file) {
    if ($file->isLink() || !$file->isFile()) {
        continue;
    }
    $entry = ['sha256' => hash_file('sha256', $file->getPathname()), 'size' => $file->getSize()];
    if ($file->getPerms() & 0100) {
        $entry['executable'] = true;
    }
    $entries[$tree->getSubPathname()] = $entry;
}
// As src/domain/bundle.rs writes it: sorted by the bytes of the paths.
ksort($entries, SORT_STRING);
$json = fn ($value) => json_encode($value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_LINE_TERMINATORS | JSON_THROW_ON_ERROR);
$written = [];
foreach ($entries as $path => $entry) {
    $written[] = $json((string) $path) . ':' . $json($entry);
}
file_put_contents("$folder/$manifest", $before . implode(',', $written) . $behind);
