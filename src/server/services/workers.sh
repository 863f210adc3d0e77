# Tells the queue workers to end after their current job, so that their supervisor starts them with the live release.
# in: DIR (what is live) PHP APP_PHP WORKERS_PHP
cd -P "$DIR"
private_folder "${TMPDIR:-/tmp}"

# A cache of files lies where the site writes. What the command wrote for the workers is put there without following a link.
signal() { # the cache's folder
    tree=$(pwd -P)
    case $1 in
    "$tree"/storage/*) root=$(readlink -f storage) below=${1#"$tree"/storage/} ;;
    # Each part of the path is looked at: the folder above may be a link of the site.
    *) root=/ below=${1#/} ;;
    esac
    (cd "$private/storage/framework/cache/data" && find . -type f) | while read -r file; do
        folder=${file#./}
        (
            umask 002
            enter "$root" "$below/${folder%/*}"
            # With noclobber the shell makes a file or fails: it opens nothing that lies there.
            set -C
            fresh=gated-deploy.$$.$(date +%s%N)
            if cat "$private/storage/framework/cache/data/$file" >"$fresh" && mv -fT -- "$fresh" "${file##*/}"; then exit 0; fi
            refuse queue-signal-unwritable folder="$here" group="$(id -gn)"
        )
    done
}

status=0
found=$(live_app "$APP_PHP$WORKERS_PHP") || status=$?
answers() { printf '%s\n' "$found" | sed -n "s/^$1=//p"; }
none=$(answers none)
if [ -n "$none" ]; then
    put none "$(cleaned "$none")"
    exit 0
fi
command=$(answers command)
[ -n "$command" ] || refuse queue-unreadable status="$status"
store=$(answers store)
[ "$(answers status)" = 0 ] || refuse queue-restart-failed command="$command" folder="$DIR"
if [ -n "$store" ]; then signal "$store"; fi
put told "$command"
