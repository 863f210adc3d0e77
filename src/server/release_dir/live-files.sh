# The files of the live release that a bundle may hold as well, each path ended by NUL: files with the one mode, and with a name of one line.
# Laravel's caches are made on the server.
# in: LIVE
lf='
'
live_files() { # the mode
    cd "$LIVE" && find . -path ./bootstrap/cache -prune -o -type f -perm "$1" ! -path "*$lf*" -print0
}
