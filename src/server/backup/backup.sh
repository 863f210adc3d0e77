# Backs up the live release and its database into a folder that gets its name only when everything in it was verified.
# in: BACKUPS DIR TREE (empty before the first release) ENV_FILE PHP NGINX (empty: leave it out) RELEASE DATABASE_PHP
umask 077
part=$DIR.part
mkdir -p "$BACKUPS"
if [ -e "$DIR" ]; then refuse backup-exists path="$DIR"; fi
backups=$(readlink -f "$BACKUPS")
if [ -n "$TREE" ]; then
    case $backups/ in "$TREE"/*) refuse backup-inside-release path="$backups" release="$TREE" folder="$BACKUPS" ;; esac
fi
rm -rf "$part"
mkdir "$part"

private_folder "${TMPDIR:-/tmp}"
database() { live_app "$DATABASE_PHP" "$@" "$ENV_FILE" "$TREE"; }

# What is wrong with a dump: `corrupt`, `cut-off`, or the number of tables where some are missing; nothing if it is whole.
problem_of_dump() { # its file, the tables that it must hold
    if ! gzip -t "$1"; then
        echo corrupt
        return
    fi
    last=$(gzip -dc "$1" | tail -n 1)
    case $last in "-- Dump completed"*) ;; *)
        echo cut-off
        return
        ;;
    esac
    found=$(gzip -dc "$1" | grep -c '^CREATE TABLE ') || found=0
    if [ "$found" -lt "$2" ]; then echo "$found"; fi
}

# A check must be seen to fail before its yes means something: on an empty dump, on one that only says that it is complete, and on the
# beginning of this one.
check_of_dumps_can_fail() { # the dump, the tables that it must hold
    : | gzip -c >"$part/.control"
    empty=$(problem_of_dump "$part/.control" "$2")
    echo '-- Dump completed' | gzip -c >"$part/.control"
    hollow=$(problem_of_dump "$part/.control" "$2")
    size=$(wc -c <"$1")
    half=$((size / 2))
    if [ "$half" -gt 65536 ]; then half=65536; fi
    head -c "$half" "$1" >"$part/.control"
    say "the next complaint is about the beginning of a dump, on purpose"
    cut=$(problem_of_dump "$part/.control" "$2")
    rm -f "$part/.control"
    if [ -z "$empty" ] || [ -z "$hollow" ] || [ -z "$cut" ]; then
        refuse dump-check-broken accepted="$([ -n "$empty" ] || echo 'an empty dump') $([ -n "$hollow" ] || echo 'a dump of nothing') $([ -n "$cut" ] || echo 'half a dump')"
    fi
    put seen-to-fail "$1"
}

# What is there, and is there room for it? Compressed copies are smaller than this; the estimate errs on the safe side.
failed=
described=$(database describe) || failed=yes
value() { printf '%s\n' "$described" | sed -n "s/^$1=//p" | sed -n '$p'; }
number() { value "$1" | sed -n '/^[0-9][0-9]*$/p'; }
if [ -n "$failed" ]; then
    problem=$(value problem)
    [ -z "$problem" ] || refuse database-query-failed problem="$(cleaned "$problem")" env_file="$ENV_FILE"
    refuse database-settings-unreadable env_file="$ENV_FILE"
fi
driver=$(value driver)
name=$(value database)
tables=$(number tables)
database_kib=$(number kib)
tree_kib=0
if [ -n "$TREE" ]; then
    # Views that the site compiles come and go, and are made anew from what is backed up.
    size=$(du -sk --exclude="$TREE/bootstrap/cache/views" "$TREE")
    tree_kib=${size%%[!0-9]*}
fi
free_kib=$(df -Pk "$backups" | { read -r _; read -r _ _ _ free _; echo "$free"; })
need_kib=$((tree_kib + ${database_kib:-0} + 1024))
if [ "$free_kib" -lt "$need_kib" ]; then
    refuse backup-no-room needed_kib="$need_kib" free_kib="$free_kib" path="$backups"
fi

if [ -n "$TREE" ]; then
    say "backing up $TREE"
    # Counted by a letter each, because a name may have line feeds. A socket is no file, and tar leaves it out.
    views=./bootstrap/cache/views
    sockets=$(cd "$TREE" && find . -path "$views" -prune -o -type s -printf x | wc -c)
    if [ "$sockets" -ne 0 ]; then put skipped "$((sockets)) sockets in $TREE"; fi
    expected=$(cd "$TREE" && find . -path "$views" -prune -o ! -type s -printf x | wc -c)
    # Exit status 1 of tar (a file changed while it was read) is an error like any other. Holes in files are not read: a file may say
    # that it has a terabyte.
    tar -C "$TREE" --sparse --anchored --no-wildcards --exclude="$views" -czf "$part/app.tar.gz" .
    gzip -t "$part/app.tar.gz"
    tar -tzf "$part/app.tar.gz" >"$part/.list"
    found=$(wc -l <"$part/.list")
    rm -f "$part/.list"
    if [ "$found" -ne "$expected" ]; then refuse backup-incomplete path="$TREE" found="$found" expected="$expected"; fi
    put file "app.tar.gz $((expected)) entries"
else
    put skipped "the app: nothing was live before"
fi

if [ -n "$NGINX" ]; then
    if [ -d "$NGINX" ]; then
        say "backing up $NGINX"
        # Keys of certificates may be root's alone: what we may not read is left out, and said.
        above=$(dirname "$NGINX")
        folder=$(basename "$NGINX")
        # Searching a folder that we may not read fails, and has named it by then.
        if (cd "$above" && find "$folder" ! -readable ! -type l -print -prune) >"$part/.unreadable"; then :; fi
        tar -C "$above" --anchored --no-wildcards --exclude-from="$part/.unreadable" -czf "$part/nginx.tar.gz" "$folder"
        gzip -t "$part/nginx.tar.gz"
        entries=$(tar -tzf "$part/nginx.tar.gz" | wc -l)
        put file "nginx.tar.gz $((entries)) entries"
        while read -r path; do put skipped "$above/$path: only its owner may read it"; done <"$part/.unreadable"
        rm -f "$part/.unreadable"
    else
        put skipped "nginx's configuration: there is no $NGINX"
    fi
fi

checkpoint inside
case $driver in
mysql | mariadb)
    if [ "${tables:-0}" -eq 0 ]; then
        put skipped "the database $(cleaned "$name"): it has no tables yet"
    else
        say "dumping the database $name ($tables tables)"
        dump=$(command -v mariadb-dump || command -v mysqldump) || refuse dump-program-missing
        # With a password, which stands in no file.
        options=$(live_app_piped "$DATABASE_PHP" options "$ENV_FILE" "$TREE") || refuse database-settings-unreadable env_file="$ENV_FILE"
        # The password goes from PHP to the dump through this shell's memory and a pipe: no argument, no file.
        { status=0; printf '%s\n' "$options" | "$dump" --defaults-file=/dev/stdin --single-transaction --quick --routines --triggers --hex-blob --no-tablespaces "$name" || status=$?; echo "$status" >"$part/.status"; } | gzip -c >"$part/database.sql.gz"
        status=$(cat "$part/.status")
        rm -f "$part/.status"
        options=
        if [ "$status" -ne 0 ]; then refuse dump-failed database="$(cleaned "$name")" status="$status"; fi
        check_of_dumps_can_fail "$part/database.sql.gz" "$tables"
        problem=$(problem_of_dump "$part/database.sql.gz" "$tables")
        case $problem in
        '') ;;
        corrupt) refuse dump-corrupt database="$(cleaned "$name")" ;;
        cut-off) refuse dump-cut-off database="$(cleaned "$name")" ;;
        *) refuse dump-tables-missing database="$(cleaned "$name")" found="$problem" expected="$tables" ;;
        esac
        put file "database.sql.gz $((tables)) tables"
    fi
    ;;
sqlite)
    if [ "$(value there)" != yes ]; then
        put skipped "the database $(cleaned "$name"): there is no such file yet"
    elif [ "$(value inside)" = yes ]; then
        put skipped "the database $(cleaned "$name"): it is a file of the release, and is in app.tar.gz"
    elif [ "${tables:-0}" -eq 0 ]; then
        put skipped "the database $(cleaned "$name"): it has no tables yet"
    else
        say "copying the database $name"
        database copy-sqlite "$part/database.sqlite" || refuse database-copy-failed database="$(cleaned "$name")"
        gzip "$part/database.sqlite"
        gzip -t "$part/database.sqlite.gz"
        put file "database.sqlite.gz $((tables)) tables"
    fi
    ;;
memory) put skipped "the database: the app keeps it in memory" ;;
none) put skipped "a database: the app has none" ;;
*) refuse database-driver-unsupported driver="$(cleaned "$driver")" ;;
esac

cd "$part"
set -- *.gz
if [ -e "$1" ]; then
    sha256sum -- "$@" >SHA256SUMS
    sha256sum -c --quiet SHA256SUMS
    while read -r digest file; do put sum "$digest $(wc -c <"$file") $file"; done <SHA256SUMS
else
    : >SHA256SUMS
fi
printf '{"version":1,"release":"%s","verified":true}\n' "$RELEASE" >manifest.json
flush "$part"
mv -T "$part" "$DIR"
