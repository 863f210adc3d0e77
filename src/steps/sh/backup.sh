# Backs up the live release and its database into a folder that gets its name only when everything in it was verified.
# in: BACKUPS DIR TREE (empty before the first release) ENV_FILE PHP NGINX (empty: leave it out) RELEASE DATABASE_PHP
umask 077
part=$DIR.part
mkdir -p "$BACKUPS"
if [ -e "$DIR" ]; then refuse "$DIR exists already"; fi
backups=$(readlink -f "$BACKUPS")
if [ -n "$TREE" ]; then
    case $backups/ in "$TREE"/*) refuse "the backups in $backups lie inside the tree to back up, $TREE" "move $BACKUPS outside of the release" ;; esac
fi
rm -rf "$part"
mkdir "$part"

private_folder "${TMPDIR:-/tmp}"
database() { live_app "$DATABASE_PHP" "$@" "$ENV_FILE" "$TREE"; }

# What is wrong with a dump; nothing if it is whole.
problem_of_dump() { # its file, the tables that it must hold
    if ! gzip -t "$1"; then
        echo "is no whole gzip file"
        return
    fi
    last=$(gzip -dc "$1" | tail -n 1)
    case $last in "-- Dump completed"*) ;; *)
        echo "has no end: its last line is not '-- Dump completed'"
        return
        ;;
    esac
    found=$(gzip -dc "$1" | grep -c '^CREATE TABLE ') || found=0
    if [ "$found" -lt "$2" ]; then echo "holds $found tables, the database $2"; fi
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
        refuse "the check of the dump cannot fail on this server: it takes $([ -n "$empty" ] || echo 'an empty dump') $([ -n "$hollow" ] || echo 'a dump of nothing') $([ -n "$cut" ] || echo 'half a dump') for a whole one" "see what gzip, tail, grep and head are on the server: command -v gzip tail grep head"
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
    [ -z "$problem" ] || refuse "the database cannot be asked what it holds: $(cleaned "$problem")" "Check the DB_ settings in $ENV_FILE. If they are right, check that the database runs and accepts this account."
    refuse "the database's settings could not be read on the server" "see the lines above; the .env file is $ENV_FILE"
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
    refuse "no room for the backup: about $need_kib KiB needed, $free_kib KiB free on $backups" "free space there, or lower keep-backups and keep-releases"
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
    if [ "$found" -ne "$expected" ]; then refuse "the archive of $TREE has $found entries, the tree $expected"; fi
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
        dump=$(command -v mariadb-dump || command -v mysqldump) || refuse "neither mariadb-dump nor mysqldump is on the server" "apt-get install mariadb-client"
        # With a password, which stands in no file.
        options=$(live_app_piped "$DATABASE_PHP" options "$ENV_FILE" "$TREE") || refuse "the database's settings could not be read on the server"
        # The password goes from PHP to the dump through this shell's memory and a pipe: no argument, no file.
        { status=0; printf '%s\n' "$options" | "$dump" --defaults-file=/dev/stdin --single-transaction --quick --routines --triggers --hex-blob --no-tablespaces "$name" || status=$?; echo "$status" >"$part/.status"; } | gzip -c >"$part/database.sql.gz"
        status=$(cat "$part/.status")
        rm -f "$part/.status"
        options=
        if [ "$status" -ne 0 ]; then refuse "dumping the database $(cleaned "$name") failed with status $status" "see the lines above"; fi
        check_of_dumps_can_fail "$part/database.sql.gz" "$tables"
        problem=$(problem_of_dump "$part/database.sql.gz" "$tables")
        if [ -n "$problem" ]; then refuse "the dump of $(cleaned "$name") $problem"; fi
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
        database copy-sqlite "$part/database.sqlite" || refuse "copying the database $(cleaned "$name") failed" "see the lines above"
        gzip "$part/database.sqlite"
        gzip -t "$part/database.sqlite.gz"
        put file "database.sqlite.gz $((tables)) tables"
    fi
    ;;
memory) put skipped "the database: the app keeps it in memory" ;;
none) put skipped "a database: the app has none" ;;
*) refuse "the app's database driver is $(cleaned "$driver"); this version can back up mysql, mariadb and sqlite" ;;
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
