# Writes a one-time file to public/ of the new release and, where it is writable, of the live one. Each names its own release.
# in: NAME DIR TEXT LIVE (empty: none) LIVE_TEXT
mark() { # folder of a release, text, time
    # Beside it first: what another account put there, such as a link or a FIFO, is neither followed nor opened.
    new=$1/public/${NAME%.php}-new.php
    rm -f "$new"
    if ! (set -C && printf '%s\n' "$2" >"$new"); then
        # On a full disk there is a file without its text.
        rm -f "$new"
        refuse probe-file-unwritable path="$1/public/$NAME" folder="$1/public"
    fi
    # OPcache keeps no file that is younger than two seconds, and may compare times: old ones, and not the same.
    touch -d "$3" "$new"
    mv -Tf "$new" "$1/public/$NAME"
}
if [ -z "$LIVE" ]; then
    put live none
elif [ "$(readlink -f "$LIVE/public")" = "$(readlink -f "$DIR/public")" ]; then
    # One file for both could name only one of them.
    put live "both releases have one public/ folder"
elif [ -d "$LIVE/public" ] && [ -w "$LIVE/public" ]; then
    mark "$LIVE" "$LIVE_TEXT" 2000-01-01T00:00:00Z
    put live marked
else
    put live "$LIVE/public cannot be written"
fi
mark "$DIR" "$TEXT" 2001-01-01T00:00:00Z
