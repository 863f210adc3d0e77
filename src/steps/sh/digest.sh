# One SHA-256 over a release's tree: the path and type of everything in it, whether a file is executable, where a link leads, and
# what each file holds. Not times and owners, and nothing through a link. Left out: bootstrap/cache, which is written again after
# the switch, and files of ours that come and go in public/. Reads only.
# in: DIR
cd "$DIR"

ours() { find . -path ./bootstrap/cache -prune -o -path './public/gated-deploy-*' -prune -o "$@"; }

# The status of a command in front of a pipe is lost to the shell, so each tells its own failure.
names() { ours -type l -printf 'l %p\t%l\0' -o -type f -perm -100 -printf 'x %p\0' -o -printf '%y %p\0' || put unread names; }
files() { ours -type f -print0 || put unread files; }
contents() { xargs -0 -r sha256sum -- || put unread contents; }

digest=$({ names | sort -z; files | sort -z | contents; } | sha256sum)
put sha256 "${digest%% *}"
if [ -f .gated-deploy-manifest.json ]; then
    manifest=$(cat .gated-deploy-manifest.json)
    put manifest "$manifest"
fi
:
