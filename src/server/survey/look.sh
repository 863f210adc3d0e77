# Looks at the server before anything changes. Reads only.
# in: BASE ENV_FILE PHP SHARED
put user "$(id -un)"
put time "$(date +%s)"

for tool in tar gzip sha256sum find readlink mv ln df du sudo setsid; do
    command -v "$tool" >/dev/null || put missing-tool "$tool"
done
# Asked whether it knows -T, not what it is called. There is nothing to rename: nothing changes.
case $(LC_ALL=C mv -Tf /proc/self/gated-deploy.old /proc/self/gated-deploy.new 2>&1) in
*option* | *sage:*) put missing-tool "mv with -T" ;;
esac

if [ ! -d "$BASE" ]; then
    put base missing
else
    put base "$(readlink -f "$BASE")"
    [ -w "$BASE" ] || put base-read-only yes
    for path in "$BASE"/* "$BASE"/.*; do
        name=${path##*/}
        case $name in '*' | .* ) [ "$name" = .gated-deploy ] || continue ;; esac
        put entry "$name"
    done
    if [ -e "$BASE/.gated-deploy" ] && [ ! -x "$BASE/.gated-deploy" ]; then
        put state-unreadable yes
    elif [ -f "$BASE/.gated-deploy/environment" ]; then
        put marker "$(cat "$BASE/.gated-deploy/environment")"
    fi
    if [ -d "$BASE/.gated-deploy/lock" ]; then
        put lock yes
        for name in owner renewed lease kept nonce over; do
            if [ -f "$BASE/.gated-deploy/lock/$name" ]; then put "lock-$name" "$(cat "$BASE/.gated-deploy/lock/$name")"; fi
        done
        unreadable_lease "$BASE/.gated-deploy/lock"
    fi
    for path in "$BASE"/.gated-deploy/watchdog/*.armed "$BASE"/.gated-deploy/watchdog/*.reverting; do
        [ -d "$path" ] || continue
        entry=$(cat "$path/entry.json" 2>/dev/null) || entry=
        put guard "${path##*/}
$entry"
    done
    if [ -L "$BASE/current" ]; then
        put current "$(link_of "$BASE/current")"
        if [ -d "$BASE/current/" ]; then put current-is "$(readlink -f "$BASE/current")"; else put current-dangling yes; fi
    elif [ -e "$BASE/current" ]; then
        put current-not-a-link yes
    fi
    for path in "$BASE"/releases/*/; do
        [ -d "$path" ] || continue
        path=${path%/}
        put release "${path##*/}"
    done
    if [ -f "$ENV_FILE" ] && [ -r "$ENV_FILE" ]; then put env-file yes; elif [ -e "$ENV_FILE" ]; then put env-file unreadable; else put env-file missing; fi
    df -Pk "$BASE" | { read -r _; read -r _ _ _ free _; put free-kib "$free"; }
    df -Pi "$BASE" | { read -r _; read -r _ all _ free _; put free-inodes "$free $all"; }
    if [ -d "$BASE/current/" ]; then
        # It fails where a part cannot be read; then the sum is not the size.
        if size=$(du -sk "$(readlink -f "$BASE/current")" 2>/dev/null); then put live-kib "${size%%[!0-9]*}"; else put live-kib-unknown yes; fi
    fi
    printf '%s\n' "$SHARED" | while read -r path; do
        [ -n "$path" ] || continue
        if [ -L "$BASE/shared/$path" ] && [ ! -e "$BASE/shared/$path" ]; then put shared-dangling "$path"; fi
        if [ -e "$BASE/shared/$path" ] && [ ! -d "$BASE/shared/$path" ]; then put shared-not-a-folder "$path"; fi
        if [ -d "$BASE/shared/$path" ] && [ ! -w "$BASE/shared/$path" ]; then put shared-read-only "$path"; fi
        [ "$path" = storage ] || continue
        for folder in app app/public framework framework/cache framework/cache/data framework/sessions framework/views logs; do
            place=storage/$folder
            if [ -L "$BASE/shared/$place" ] && [ ! -e "$BASE/shared/$place" ]; then put shared-dangling "$place"; fi
            if [ -e "$BASE/shared/$place" ] && [ ! -d "$BASE/shared/$place" ]; then put shared-not-a-folder "$place"; fi
        done
        if [ -d "$BASE/shared/storage/" ]; then
            df -Pk "$BASE/shared/storage/" | { read -r _; read -r _ _ _ free _; put storage-free-kib "$free"; }
            df -Pi "$BASE/shared/storage/" | { read -r _; read -r _ all _ free _; put storage-free-inodes "$free $all"; }
        fi
    done
    # Files that an app opens when it starts. The site's account may have put a FIFO there: opening one waits for its other end, for good.
    for place in shared/storage/logs shared/storage/framework current/bootstrap/cache; do
        [ -d "$BASE/$place/" ] || continue
        find "$BASE/$place/" -maxdepth 2 \( -type p -o -type b -o -type c \) -printf 'special=%p\0' 2>/dev/null | head -z -n 20 >&3
    done
fi

# PHP's own warnings at its start are no answer.
if php_version=$("$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -r 'echo PHP_VERSION_ID, " ", PHP_VERSION;' 2>/dev/null 3>&-); then
    put php "$php_version"
else
    put php-missing yes
fi

# Configuration that says who serves the site. It may hold secrets, too: only what is used of it is sent.
needed_of_nginx() {
    sed -E '/SCRIPT_FILENAME|DOCUMENT_ROOT|PHP_(ADMIN_)?VALUE.*(open_basedir|auto_prepend_file|opcache\.preload)/!s/(^|[[:blank:];{])((fastcgi|uwsgi|scgi)_param|proxy_set_header|add_header|set)[[:blank:]]+([^[:blank:];]+)[^;]*;/\1\2 \4 "";/g'
}
needed_of_fpm() {
    sed -n -E -e '/^\x01/p' -e 's/;.*//' -e '/^[[:blank:]]*(\[[^]]*\][[:blank:]]*$|(include|user|group|prefix|chroot|listen(\.[a-z_]+)?|pm(\.[a-z_]+)?|process_control_timeout|(php_(admin_)?value\[)?(open_basedir|auto_prepend_file|opcache\.preload(_user)?)\]?)[[:blank:]]*=)/p'
}
# All files of a kind in one record: each begins with a line of a control character and its path, and has at most 262,144 bytes of
# whole lines. An empty file says nothing, and is left out.
show() { # kind, files
    kind=$1
    shift
    for path in "$@"; do
        shift
        if [ -f "$path" ] && [ -r "$path" ]; then set -- "$@" "$path"; fi
    done
    [ $# -gt 0 ] || return 0
    put "$kind" "$(awk '
        FNR == 1 { printf "\001%s\n", FILENAME; size = 0 }
        { size += length($0) + 1 }
        size <= 262144 { gsub(/\001/, ""); print }' "$@" | "needed_of_$kind")"
}
show nginx /etc/nginx/nginx.conf /etc/nginx/conf.d/*.conf /etc/nginx/sites-enabled/* /etc/nginx/snippets/*.conf /etc/nginx/fastcgi.conf /etc/nginx/fastcgi_params
# Of PHP's own configuration, the files that limit or add what it loads.
if inis=$(grep -lsE '^[[:blank:]]*(open_basedir|auto_prepend_file|opcache\.preload)[[:blank:]]*=' /etc/php/*/fpm/php.ini /etc/php/*/fpm/conf.d/*.ini); then :; fi
# shellcheck disable=SC2086
show fpm /etc/php/*/fpm/php-fpm.conf /etc/php/*/fpm/pool.d/*.conf $inis
[ -d /run/systemd/system ] && put systemd yes
:
