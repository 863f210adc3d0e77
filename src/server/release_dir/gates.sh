# The nine gates, on the server, in the unpacked release. Names every one that fails.
# in: DIR FILES FOLDERS CONFIGS
cd "$DIR"
# FILES, FOLDERS and CONFIGS have one path a line. CONFIGS are the names of Vite's configuration, where nothing may refer to Vite.
printf '%s\n' "$FILES" | while read -r path; do
    if [ ! -f "$path" ]; then put gate "$path=missing"; elif [ ! -s "$path" ]; then put gate "$path=empty"; elif [ ! -r "$path" ]; then put gate "$path=unreadable"; else put gate "$path="; fi
done
printf '%s\n' "$FOLDERS" | while read -r path; do
    if [ ! -d "$path" ]; then put gate "$path=missing"; else put gate "$path="; fi
done
[ -n "$CONFIGS" ] || exit 0
config=$(printf '%s\n' "$CONFIGS" | while read -r path; do if [ -e "$path" ]; then printf '%s' "$path"; break; fi; done)
if [ -n "$config" ]; then put gate "no-vite=the app refers to Vite: $config is there"; exit 0; fi
# As Blade finds its directives: no letter and no second `@` before it, and the whole name; comments are none. src/bundle/vite.rs has the same
# rule.
# shellcheck disable=SC2016
directive='{ text = text $0 "\n" }
END {
    while (begin = index(text, "{{--")) {
        kept = kept substr(text, 1, begin - 1)
        rest = substr(text, begin + 4)
        end = index(rest, "--}}")
        if (!end) { kept = kept rest; text = ""; break }
        text = substr(rest, end + 4)
    }
    exit (kept text) !~ /(^|[^@A-Za-z0-9_])@vite(ReactRefresh)?([^A-Za-z0-9_]|$)/
}'
# A view that looks for the manifest itself is rendered without it, too. The views of packages are theirs.
view=$(find . \( -path ./vendor -o -path ./storage \) -prune -o -type f -name '*.blade.php' -exec awk "$directive" {} \; ! -exec grep -qF build/manifest.json {} \; -print -quit)
if [ -n "$view" ]; then put gate "no-vite=the app refers to Vite: ${view#./} has @vite"; else put gate "no-vite="; fi
