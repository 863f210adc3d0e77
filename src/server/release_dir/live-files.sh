# The files of the live release that a bundle may hold as well, each path ended by NUL: files with the one mode, no larger than the bundle's
# largest, and with a name of one line. Laravel's caches are made on the server.
# in: LIVE LARGEST (bytes)
lf='
'
live_files() { # the mode
    cd "$LIVE" && find . -path ./bootstrap/cache -prune -o -type f -perm "$1" ! -size "+${LARGEST}c" ! -path "*$lf*" -print0
}
