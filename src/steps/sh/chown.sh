# Gives named paths of the live release to its owner, each by itself. `-h`: a link is changed itself, never what it leads to.
# in: CURRENT LIVE OWNER; PATHS, one a line
[ "$(readlink -f "$CURRENT")" = "$LIVE" ] || refuse "another release went live since the plan" "run this again"
printf '%s\n' "$PATHS" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    if [ ! -e "$path" ] && [ ! -L "$path" ]; then
        say "$path is gone"
        continue
    fi
    folder=${path%/*}
    [ "$path" = "$LIVE" ] || [ "$(readlink -f "$folder")" = "$folder" ] || refuse "$folder has become a link: $path is another file now" "look at it; somebody changes the live release by hand"
    # sudo may read what is left of the list.
    sudo -n chown -h "$OWNER" "$path" </dev/null || refuse "sudo did not run: chown -h $OWNER $path" "see the lines above"
    put given "$path"
done
