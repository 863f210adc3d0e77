# Compares a release's files and links with those of its bundle: which are other ones, which are beside them, and which are gone. Folders are not
# compared, and nothing through a link. Reads only.
# in: DIR LIST (the records of the bundle, one a line) SKIP (paths that are no part of the bundle, one a line) MOST (so many are named of a kind)
cd "$DIR"
set -f
IFS='
'
# shellcheck disable=SC2086
set -- $SKIP
unset IFS
set +f
for path in "$@"; do
    shift
    set -- "$@" -path "./$path" -prune -o
done

# The status of a command in front of a pipe is lost to the shell, so each prints a record that equals nothing when it fails.
unread() { printf 'unread ./%s\0' "$1"; }
types() { find . -mindepth 1 "$@" \( -type l -printf 'l %p\t%l\0' -o -type f -perm -100 -printf 'x %p\0' -o -type f -printf 'f %p\0' -o ! -type d -printf '%y %p\0' \) || unread types; }
contents() { find . -mindepth 1 "$@" -type f -print0 | xargs -0 -r sha256sum -z -- || unread contents; }

# A record on one side only: `-` is in the bundle, `+` is in the folder. Behind the first slash is the path.
found=$({
    printf '%s\n' "$LIST" | sed 's/^/-/'
    { types "$@"; contents "$@"; } | tr '\n\0' '?\n' | sed 's/^/+/'
} | sort -k 1.2 | uniq -u -s 1 | awk '
    length($0) > 1 {
        path = substr($0, index($0, "./") + 2)
        tab = index(path, "\t")
        if (tab) path = substr(path, 1, tab - 1)
        if (substr($0, 1, 1) == "-") gone[path] = 1; else new[path] = 1
        all[path] = 1
    }
    END {
        for (path in all) print (path in gone ? (path in new ? "changed" : "missing") : "added") " " path
    }' | sort)
for kind in changed added missing; do
    put "$kind-count" "$(printf '%s\n' "$found" | grep -c "^$kind ")"
    printf '%s\n' "$found" | sed -n "s/^$kind //p" | head -n "$MOST" | while IFS= read -r path; do put "$kind" "$path"; done
done
