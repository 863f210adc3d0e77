# Builds the caches of a release, inside it. Running requests always find a complete cache.
# in: DIR PHP CACHES (of: config storage-link view route event) APP_PHP CACHES_PHP
cd "$DIR"
private_folder "$DIR/bootstrap/cache"
views=$DIR/bootstrap/cache/views

# Laravel's own commands clear first and write then. So each writes to a name in a folder of the run, which is renamed over the real one.
put_in_place() { # fresh file, cache file
    [ -e "$1" ] || return 0
    # On a full disk the command reports success, and the file is empty or incomplete.
    if [ -s "$1" ] && "$PHP" -n -l "$1" 3>&-; then
        mv -fT "$1" "$2"
        return 0
    fi
    say "$2 is incomplete: check whether the disk is full"
    return 1
}

# A path as a word of a command to copy.
word() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; } # path

# Whether an account has a group, so that it may do what the group may with a file of ours. Root needs no group, and this account no right.
has_group() { # numbers of the account and of the group
    if [ "$1" = 0 ] || [ "$1" = "$(id -u)" ]; then return 0; fi
    case " $(id -G "$1") " in *" $2 "*) ;; *) return 1 ;; esac
}

# The configuration holds the secrets of .env: only the readers of .env may read it.
close_like_env() { # file
    if access_list .env; then
        say "the cached configuration cannot have the access list (ACL) of .env. As the owner of .env, run: setfacl -b $(word "$(readlink -f .env)"). Then give it a group that the site's account has"
        return 1
    fi
    mode=$(stat -L -c %a .env)
    mode=$((0$mode & 0644 | 0600))
    group=$(stat -L -c %g .env)
    if [ $((mode & 040)) -ne 0 ]; then
        if ! chgrp "$group" "$1"; then
            say "the cached configuration cannot have the group of .env. As root, run: usermod -aG $(stat -L -c %G .env) $(id -un)"
            return 1
        fi
    fi
    # The owner of .env reads the cached configuration by its group, or not at all.
    if [ $((mode & 04)) -eq 0 ] && ! has_group "$(stat -L -c %u .env)" "$group"; then
        say "the owner of .env, $(stat -L -c %U .env), could not read the cached configuration. As root, run: usermod -aG $(stat -L -c %G .env) $(stat -L -c %U .env)"
        return 1
    fi
    chmod "$(printf %o "$mode")" "$1"
}

# Compiled views are in the release and are removed with it. The site compiles there, too, so its account may write to the folder.
views_folder() {
    if [ -d "$views" ] && [ ! -L "$views" ]; then return 0; fi
    own=storage/framework/views
    if [ -L "$own" ] || [ ! -d "$own" ]; then
        say "$DIR/$own is not a folder: each view is compiled at its first request"
        return 1
    fi
    own_mode=$(stat -c %a "$own")
    if [ $((0$own_mode & 020)) -eq 0 ]; then
        say "$DIR/$own is not writable for its group: each view is compiled at its first request. As its owner, run: chmod g+ws $(word "$DIR/$own")"
        return 1
    fi
    # The release's folder is this account's, and the group is all that lets another one write there.
    if access_list "$own" || [ $((0$own_mode & 002)) -ne 0 ] || ! has_group "$(stat -c %u "$own")" "$(stat -c %g "$own")"; then
        say "the site's account may write to $DIR/$own otherwise than by its group: each view is compiled at its first request. As root, run: setfacl -b $(word "$(readlink -f "$own")"). Then chgrp it to a group of that account, and chmod 2775"
        return 1
    fi
    mkdir "$private/views"
    chgrp "$(stat -c %g "$own")" "$private/views" && chmod 2775 "$private/views" && mv -T "$private/views" "$views"
}

# Where the configuration does not name the release's folder the site compiles views as it always does.
put_views() {
    group=$(stat -c %g "$views")
    for compiled in "$private"/storage/framework/views/*; do
        [ -f "$compiled" ] || continue
        chgrp "$group" "$compiled" && chmod 664 "$compiled" && mv -fT "$compiled" "$views/${compiled##*/}" || return 1
    done
}

# What PHP has made goes where the site looks for it.
in_place() { # cache
    case $1 in
    config) close_like_env "$private/fresh.php" && put_in_place "$private/fresh.php" bootstrap/cache/config.php ;;
    view) put_views ;;
    route) put_in_place "$private/routes.php" bootstrap/cache/routes-v7.php ;;
    event) put_in_place "$private/events.php" bootstrap/cache/events.php ;;
    storage-link) : ;;
    esac
}

compiled=
case " $CACHES " in *' config '*) if views_folder; then compiled=$views; fi ;; esac

# All in one start of the app. Where PHP ends at one of them, the app is started again for those behind it.
todo=" $CACHES"
while [ -n "$todo" ]; do
    # shellcheck disable=SC2086
    answers=$(APP_CONFIG_CACHE=$private/none.php APP_ROUTES_CACHE=$private/routes.php APP_EVENTS_CACHE=$private/events.php app "$APP_PHP$CACHES_PHP" "$private/fresh.php" "$private/config.php" "$compiled" $todo) || say "PHP ended before all caches were built"
    for cache in $todo; do
        todo=${todo#" $cache"}
        case " $(printf '%s' "$answers" | tr '\n' ' ') " in
        *" done=$cache "*) if in_place "$cache"; then put built "$cache"; else put failed "$cache"; fi ;;
        *" failed=$cache "*) put failed "$cache" ;;
        *)
            put failed "$cache"
            continue 2
            ;;
        esac
    done
done
