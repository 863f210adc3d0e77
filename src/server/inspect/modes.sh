# Which files and folders of the releases are open to more accounts than .env, or than this account alone, by their mode or by an access
# list. The group bits of a mode are the most that a list gives. Reads only.
# in: BASE ENV_FILE
env_mode=
if [ -e "$ENV_FILE" ]; then
    env_mode=$(stat -L -c %a "$ENV_FILE")
    env_group=$(stat -L -c %g "$ENV_FILE")
    put env "$(printf '%o' $((0$env_mode & 0644 | 0600))) $(stat -L -c %G "$ENV_FILE")"
fi
# The account's own group has no other member.
if [ "$(id -gn)" = "$(id -un)" ]; then set -- -perm /002 -o -perm /020 ! -gid "$(id -g)"; else set -- -perm /022; fi

for folder in "$BASE" "$BASE/releases" "$BASE/shared" "$(dirname "$ENV_FILE")"; do
    [ -d "$folder/" ] || continue
    [ -z "$(find "$folder/" -maxdepth 0 \( "$@" \) ! -perm -1000)" ] || put open-folder "$folder"
    if access_list "$folder" && [ -n "$(find "$folder/" -maxdepth 0 -perm -020)" ]; then put list-folder "$folder"; fi
done
[ -d "$BASE/releases/" ] || exit 0
# The site itself compiles views in bootstrap/cache/views.
find "$BASE/releases/" -mindepth 1 -xdev -path '*/bootstrap/cache/views' -prune -o ! -type l \( "$@" \) -printf 'open=%p\0' 2>/dev/null | head -z -n 1000 >&3
find "$BASE/releases/" -mindepth 1 -xdev -path '*/bootstrap/cache/views' -prune -o ! -type l -perm -020 -exec ls -ldnq {} + 2>/dev/null |
    sed -n 's/^.\{10\}+[^/]*//p' | head -n 1000 | while IFS= read -r path; do put list-open "$path"; done
[ -n "$env_mode" ] || exit 0
for file in "$BASE"/releases/*/bootstrap/cache/config.php; do
    [ -f "$file" ] || continue
    mode=$((0$(stat -c %a "$file") & 044))
    if [ $((mode & 040)) -ne 0 ] && access_list "$file"; then put list-readable "$file"; fi
    wide=$((mode & ~0$env_mode))
    # Where every account may read .env, every account may read this.
    if [ $((0$env_mode & 04)) -eq 0 ] && [ $((mode & 040)) -ne 0 ] && [ "$(stat -c %g "$file")" != "$env_group" ]; then wide=1; fi
    [ "$wide" -eq 0 ] || put readable "$file"
done
:
