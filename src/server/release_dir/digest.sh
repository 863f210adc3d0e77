# One SHA-256 over a release's tree: the path and type of everything in it, whether a file is executable, where a link leads, and
# what each file holds. Not times and owners, and nothing through a link. Left out: bootstrap/cache, which is deleted and built anew before
# a release is started, and the one-time files that a run puts into public/. Reads only.
# in: DIR
cd "$DIR"

# Only a plain file that says nothing but its release's name, word for word as a run writes it, under a name of the length that a run makes.
one_time() { # file
    [ -f "$1" ] && [ ! -L "$1" ] || return 1
    case ${1#public/gated-deploy-} in *[!0-9a-f.ph]*) return 1 ;; esac
    [ ${#1} -eq 56 ] && [ "$(wc -c <"$1")" -lt 300 ] && [ "$(wc -l <"$1")" -le 1 ] || return 1
    ours="<\?php header\('Content-Type: application/json'\); header\('Cache-Control: no-store'\); echo json_encode\(\['gated-deploy' => '[A-Za-z0-9._-]+'\]\);"
    grep -qxE -e "$ours" "$1" && ! grep -qvxE -e "$ours" "$1"
}

set --
for file in public/gated-deploy-*.php; do
    if one_time "$file"; then set -- "$@" -path "./$file" -prune -o; fi
done
ours() { # what is left out, what to do with the rest
    find . -path ./bootstrap/cache -prune -o "$@"
}

# The status of a command in front of a pipe is lost to the shell, so each tells its own failure.
names() { ours "$@" -type l -printf 'l %p\t%l\0' -o -type f -perm -100 -printf 'x %p\0' -o -printf '%y %p\0' || put unread names; }
files() { ours "$@" -type f -print0 || put unread files; }
contents() { xargs -0 -r sha256sum -- || put unread contents; }

digest=$({ names "$@" | sort -z; files "$@" | sort -z | contents; } | sha256sum)
put sha256 "${digest%% *}"
if [ -f .gated-deploy-manifest.json ]; then
    manifest=$(cat .gated-deploy-manifest.json)
    put manifest "$manifest"
fi
:
