# Everything in a release's folder as sorted records that end in NUL, made like `Listing` in src/domain/bundle.rs: type and path, where a
# link leads, and the digest of each file. A file with a setuid bit is a type of its own, so it equals nothing.
# in: DIR

# The status of a command in front of a pipe is lost to the shell, so each prints a record that equals nothing when it fails.
unread() { printf 'unread %s\0' "$1"; }
types() { find . -mindepth 1 \( -type l -printf 'l %p\t%l\0' -o -type f -perm /6000 -printf 's %p\0' -o -type f -perm -100 -printf 'x %p\0' -o -printf '%y %p\0' \) || unread types; }
names() { find . -type f -print0 || unread names; }
contents() { xargs -0 -r sha256sum -z -- || unread contents; }
listing() { (
    cd "$DIR"
    { types; names | contents; } | sort -z
); }
