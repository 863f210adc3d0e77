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

# Each byte is read once where it is written and once where it is read back: what is written gets its digest on its way to the disk, and what
# is read back on its way to the check. A step of a pipe that fails takes a mark away, because the shell hears of the last one only, and a full
# disk takes no new mark.
: >"$part/.whole"
broken() { rm -f "$part/.whole"; }
all_steps_ended_well() { [ -e "$part/.whole" ] || exit 1; }
written() { # name; takes the file from its input, and its digest is in $part/.written then
    { tee "$part/$1" || broken; } | sha256sum >"$part/.written"
}
read_back() { # file; gives it to its output, and its digest is in $part/.read then
    { tee /dev/fd/4 <"$1" | sha256sum >"$part/.read"; } 4>&1
}
digest_in() { if read -r digest _ <"$part/$1"; then printf '%s' "$digest"; fi; } # .written or .read

# Notes a file that was read back and checked.
verified() { # name
    digest=$(digest_in .read)
    if [ -z "$digest" ] || [ "$digest" != "$(digest_in .written)" ]; then refuse backup-corrupt path="$DIR" file="$1"; fi
    printf '%s  %s\n' "$digest" "$1" >>"$part/SHA256SUMS"
    put sum "$digest $(wc -c <"$part/$1") $1"
}

# How many entries an archive has, by reading all of it.
entries_of() { # archive
    read_back "$1" | { gzip -dc || broken; } | { tar -tf - || broken; } | wc -l
}
: >"$part/SHA256SUMS"

private_folder "${TMPDIR:-/tmp}"
database() { live_app "$DATABASE_PHP" "$@" "$ENV_FILE" "$TREE"; }

# What a dump holds, a line each: tables, views and sequences by their names, routines, triggers and events by their number, and `whole` if its
# last line says so. The file is read once. Of a line only its beginning is looked at: a row may have a gigabyte.
objects_of_dump() { # its file
    read_back "$1" | { status=0; gzip -dc || status=$?; echo "$status" >"$part/.status"; } | LC_ALL=C cut -b 1-1024 | LC_ALL=C awk '
        function name(text,  i) {
            for (i = 2; i <= length(text); i++) if (substr(text, i, 1) == "`") {
                if (substr(text, i + 1, 1) != "`") return substr(text, 1, i)
                i++
            }
            return text
        }
        /^CREATE TABLE `/ { print "table " name(substr($0, 14)) }
        /^CREATE SEQUENCE `/ { print "sequence " name(substr($0, 17)) }
        /^\/\*!50001 VIEW `/ { print "view " name(substr($0, 15)) }
        /^CREATE (DEFINER=.* |OR REPLACE )?(AGGREGATE )?(FUNCTION|PROCEDURE|PACKAGE) / { routines++ }
        /^\/\*!50003 CREATE\*\// { triggers++ }
        /^\/\*!50106 CREATE\*\// { events++ }
        { last = $0 }
        END {
            print "routine " routines + 0; print "trigger " triggers + 0; print "event " events + 0
            if (last ~ /^-- Dump completed/) print "whole"
        }'
}

# The first ten objects that a dump lacks.
lacking() { # a file of what it holds, a file of what it must hold as `describe` says it
    LC_ALL=C awk '
        FILENAME == ARGV[1] { if (split($0, part, " ") == 2 && part[1] ~ /^(routine|trigger|event)$/) number[part[1]] = part[2]; else held[$0] = 1; next }
        sub(/^object=/, "") { if (!($0 in held)) print; next }
        sub(/^count=/, "") { split($0, part, " "); if (number[part[1]] < part[2]) print part[2] - number[part[1]] " of " part[2] " " part[1] "s" }
    ' "$1" "$2" | head -n 10
}

# What is wrong with a dump: `corrupt`, `cut-off`, or `incomplete` with what it lacks on the lines behind; nothing if it is whole.
problem_of_sql() { # its file, a file of what it must hold
    objects_of_dump "$1" >"$part/.held"
    if [ "$(cat "$part/.status")" -ne 0 ]; then
        echo corrupt
    elif ! grep -qx whole "$part/.held"; then
        echo cut-off
    else
        lacks=$(lacking "$part/.held" "$2")
        if [ -n "$lacks" ]; then printf 'incomplete\n%s\n' "$lacks"; fi
    fi
    rm -f "$part/.held" "$part/.status"
}

# The same of a dump by pg_dump. Its list stands at its beginning: only reading all of it shows where it ends.
problem_of_pg_dump() { # its file, a file of what it must hold
    if ! pg_restore --file=/dev/null "$1" || ! pg_restore --list "$1" >"$part/.list"; then
        echo corrupt
    else
        sed -n 's/^[0-9]*; [0-9]* [0-9]* //p' "$part/.list" >"$part/.held"
        echo "routine $(grep -cE '^(FUNCTION|PROCEDURE|AGGREGATE) ' "$part/.held")" >>"$part/.held"
        lacks=$(lacking "$part/.held" "$2")
        if [ -n "$lacks" ]; then printf 'incomplete\n%s\n' "$lacks"; fi
    fi
    rm -f "$part/.held" "$part/.list"
}

# The self-test of the check: it must fail on an empty dump, on one that holds nothing, and on the first half of this one.
check_of_dumps_can_fail() { # the check, the dump, what it must hold; .control is a hollow one: whole, with nothing in it
    # A hollow dump of pg_dump is refused before it is compared, so the comparison is tried by itself, too.
    : >"$part/.none"
    nothing=$(lacking "$part/.none" "$3")
    rm -f "$part/.none"
    # The messages of the tools are expected, and would alarm a reader of the log.
    hollow=$("$1" "$part/.control" "$3" 2>/dev/null)
    : >"$part/.control"
    empty=$("$1" "$part/.control" "$3" 2>/dev/null)
    size=$(wc -c <"$2")
    half=$((size / 2))
    if [ "$half" -gt 65536 ]; then half=65536; fi
    head -c "$half" "$2" >"$part/.control"
    cut=$("$1" "$part/.control" "$3" 2>/dev/null)
    rm -f "$part/.control"
    accepted=
    if [ -z "$empty" ]; then accepted='an empty dump'; fi
    if [ -z "$hollow" ] || [ -z "$nothing" ]; then accepted="${accepted:+$accepted, }a dump without tables"; fi
    if [ -z "$cut" ]; then accepted="${accepted:+$accepted, }half a dump"; fi
    if [ -n "$accepted" ]; then refuse dump-check-broken accepted="$accepted"; fi
    put seen-to-fail "$2"
}

# Refuses a dump that is not whole.
accept_dump() { # the check, the dump, what it must hold, the program that reads it
    check_of_dumps_can_fail "$1" "$2" "$3"
    problem=$("$1" "$2" "$3")
    case $problem in
    '') ;;
    corrupt) refuse dump-corrupt database="$(cleaned "$name")" program="$4" ;;
    cut-off) refuse dump-cut-off database="$(cleaned "$name")" ;;
    *) refuse dump-objects-missing database="$(cleaned "$name")" objects="$(cleaned "$(printf '%s\n' "$problem" | sed -n '2,$p' | paste -sd, - | sed 's/,/, /g')")" ;;
    esac
}

# What the dump must hold; refuses where this account sees an object that it cannot dump.
expect_of_dump() {
    printf '%s\n' "$described" | sed -n -e '/^object=/p' -e '/^count=/p' >"$part/.expected"
    unreadable=$(printf '%s\n' "$described" | sed -n 's/^unreadable=//p')
    if [ -n "$unreadable" ]; then refuse dump-object-unreadable database="$(cleaned "$name")" details="$(cleaned "$unreadable")"; fi
}

# What a person needs to restore the dump by hand: the client, the database, and the words by which the client connects. No password.
restored_by() { # client
    put database "$(cleaned "$(printf '%s\n%s\n' "$1" "$name" && printf '%s\n' "$described" | sed -n 's/^connects=//p')")"
}

# Refuses a dump whose program failed, with the first line of what it said that is more than a warning.
dumped() {
    status=$(cat "$part/.status")
    said=$(grep -v '^[^:]*: *\(Deprecated\|\[Warning\]\|warning\)' "$part/.said" | head -n 1 | cut -b 1-500)
    rm -f "$part/.status" "$part/.said"
    if [ "$status" -ne 0 ]; then refuse dump-failed database="$(cleaned "$name")" status="$status" said="$(cleaned "$said")"; fi
}

# The options of the configuration that leave rows or objects out of every dump. An option file knows `_` for `-`, and two prefixes that change
# nothing. Fails if nothing tells the configuration.
narrowing() { # the program for the dump
    # Not every package of clients has my_print_defaults. The program itself names its options behind one sentence; of a script in its place
    # that does something else only so much is read.
    if command -v my_print_defaults >/dev/null; then
        set_options=$(HOME=$private my_print_defaults client client-server client-mariadb mysqldump mariadb-dump) || return 1
    else
        set_options=$(HOME=$private "$1" --print-defaults </dev/null 2>/dev/null | head -c 65536) || return 1
        case $set_options in *'started with the following arguments'*) ;; *) return 1 ;; esac
        set_options=$(printf '%s\n' "$set_options" | tr ' ' '\n')
    fi
    printf '%s\n' "$set_options" | LC_ALL=C awk '
        !/^--/ { next }
        {
            sub(/^--/, ""); sub(/=.*/, ""); gsub(/_/, "-")
            while (sub(/^(loose|enable)-/, "")) {}
        }
        /^(where|no-data|ignore-[a-z-]*|no-create-info|databases|all-databases|tables)$/ { found = found (found ? " " : "") "--" $0 }
        END { printf "%s", found }'
}

# The size of the backup, and the free space. Compressed files are smaller than this: the estimate is on the safe side.
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

# One SHA-256 over all that an archive of the live release holds, but for times. Nothing is printed if it cannot be computed, or not soon: a file
# with holes may say that it has a terabyte.
digest_of_tree() { (
    cd "$TREE"
    ours() { find . -path "$views" -prune -o "$@"; }
    if [ -n "$(ours -type f -size +131072 -printf '%b %s\n' | LC_ALL=C awk '$1 * 512 < $2 { print "holes"; exit }')" ]; then exit 0; fi
    # Through files, and not through pipes, which hide that a command failed.
    if ours ! -type s -printf '%y %m %U:%G %p\t%l\0' >"$part/.tree" && ours -type f -print0 >"$part/.files" &&
        LC_ALL=C sort -z -o "$part/.files" "$part/.files" && xargs -0 -r sha256sum -z -- <"$part/.files" >>"$part/.tree" &&
        LC_ALL=C sort -z -o "$part/.tree" "$part/.tree" && digest=$(sha256sum <"$part/.tree"); then
        printf '%s' "${digest%% *}"
    fi
    rm -f "$part/.tree" "$part/.files"
); }
# What changes whenever anything in the tree is written, whatever it says of its times; empty if that is not known.
stamp_of_tree() {
    if (cd "$TREE" && find . -path "$views" -prune -o -printf '%p %i %s %C@\0') >"$part/.stamp" && LC_ALL=C sort -z -o "$part/.stamp" "$part/.stamp"; then
        sha256sum <"$part/.stamp"
    fi
    rm -f "$part/.stamp"
}

# Takes the archive of an earlier backup of this very tree, if there is one that is whole: a run that failed has left one, or the release was
# live before. A link takes no room, and goes with its own backup.
linked_archive() { # digest of the tree
    for path in "$BACKUPS"/*/manifest.json; do
        earlier=${path%/manifest.json}
        case $earlier in *.part) continue ;; esac
        if [ -L "$earlier" ] || [ ! -f "$earlier/app.tar.gz" ] || ! grep -qF -e "\"tree\":\"$1\"" "$path"; then continue; fi
        sed -n 's/  app\.tar\.gz$//p' "$earlier/SHA256SUMS" >"$part/.written"
        ln "$earlier/app.tar.gz" "$part/app.tar.gz" || continue
        found=$(entries_of "$part/app.tar.gz")
        if [ -e "$part/.whole" ] && [ "$found" -eq "$expected" ] && [ "$(digest_in .read)" = "$(digest_in .written)" ]; then
            linked=${earlier##*/}
            return 0
        fi
        say "$earlier/app.tar.gz is not what it was when it was verified; it is not used"
        : >"$part/.whole"
        rm -f "$part/app.tar.gz"
    done
    return 1
}

tree=''
linked=''
if [ -n "$TREE" ]; then
    # Counted by a letter each, because a name may have line feeds. A socket is no file, and tar leaves it out.
    views=./bootstrap/cache/views
    sockets=$(cd "$TREE" && find . -path "$views" -prune -o -type s -printf x | wc -c)
    if [ "$sockets" -ne 0 ]; then put skipped "$((sockets)) sockets in $TREE"; fi
    expected=$(cd "$TREE" && find . -path "$views" -prune -o ! -type s -printf x | wc -c)
    stamp=$(stamp_of_tree)
    tree=$(digest_of_tree)
    if [ -n "$tree" ] && linked_archive "$tree"; then
        say "$TREE is unchanged since the backup $linked: its archive was read again, and is linked instead of packed again"
        put file "app.tar.gz $((expected)) entries, linked to the backup $linked of the same tree"
    else
        say "backing up $TREE"
        # Exit status 1 of tar (a file changed while it was read) is an error like any other. Holes in files are not read.
        { tar -C "$TREE" --sparse --anchored --no-wildcards --exclude="$views" -cf - . || broken; } | { gzip -c || broken; } | written app.tar.gz
        all_steps_ended_well
        found=$(entries_of "$part/app.tar.gz")
        all_steps_ended_well
        if [ "$found" -ne "$expected" ]; then refuse backup-incomplete path="$TREE" found="$found" expected="$expected"; fi
        # Of a tree that was written meanwhile the digest says nothing of the archive.
        if [ -z "$stamp" ] || [ "$(stamp_of_tree)" != "$stamp" ]; then tree=; fi
        put file "app.tar.gz $((expected)) entries"
    fi
    verified app.tar.gz
else
    put skipped "the app: nothing was live before"
fi

if [ -n "$NGINX" ]; then
    if [ -d "$NGINX" ]; then
        say "backing up $NGINX"
        # Keys of certificates may belong to root alone: what this account may not read is left out, and logged.
        above=$(dirname "$NGINX")
        folder=$(basename "$NGINX")
        # `find` fails in an unreadable folder, and has named it by then.
        if (cd "$above" && find "$folder" ! -readable ! -type l -print -prune) >"$part/.unreadable"; then :; fi
        { tar -C "$above" --anchored --no-wildcards --exclude-from="$part/.unreadable" -cf - "$folder" || broken; } | { gzip -c || broken; } | written nginx.tar.gz
        all_steps_ended_well
        entries=$(entries_of "$part/nginx.tar.gz")
        all_steps_ended_well
        verified nginx.tar.gz
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
        expect_of_dump
        dump=$(command -v mariadb-dump || command -v mysqldump) || refuse dump-program-missing programs="neither mariadb-dump nor mysqldump is" package=mariadb-client
        # The configuration of this server's clients holds (an authority, a compression). What it leaves out of dumps does not: no name tells of
        # missing rows. With an account's own option file the password of that one would win.
        if ! narrows=$(narrowing "$dump"); then
            narrows=
            put unread "$dump"
            put skipped "the configuration of $dump: it could not be read, so options that leave rows out of the dump would not be noticed"
        fi
        if [ -n "$narrows" ]; then refuse dump-configuration-narrows options="$narrows" program="$dump"; fi
        # With a password, which stands in no file.
        options=$(live_app_piped "$DATABASE_PHP" options "$ENV_FILE" "$TREE") || refuse database-settings-unreadable env_file="$ENV_FILE"
        # An account without the right to events may not even ask for them.
        unseen=$(value unseen)
        events=--events
        case ${unseen%%. *} in *events*) events=--skip-events ;; esac
        # The password goes from PHP to the dump through this shell's memory and a pipe: no argument, no file.
        {
            {
                status=0
                # The names to compare come in this character set. The default of older programs has no room for all characters.
                printf '%s\n' "$options" | HOME=$private "$dump" --defaults-extra-file=/dev/stdin --default-character-set=utf8mb4 --max-allowed-packet=1G --single-transaction --quick --routines --triggers "$events" --hex-blob --no-tablespaces --comments "$name" || status=$?
                echo "$status" >"$part/.status"
            } 2>&1 >&4 | tee "$part/.said" >&2
        } 4>&1 | { gzip -c || broken; } | written database.sql.gz
        options=
        dumped
        all_steps_ended_well
        echo '-- Dump completed' | gzip -c >"$part/.control"
        accept_dump problem_of_sql "$part/database.sql.gz" "$part/.expected" gzip
        verified database.sql.gz
        rm -f "$part/.expected"
        if [ -n "$unseen" ]; then put skipped "$(cleaned "$unseen")"; fi
        case $(number versioned) in '' | 0) ;; *) put skipped "the history of $(number versioned) tables with system versioning: a dump has the rows that are valid now" ;; esac
        put file "database.sql.gz $((tables)) tables"
        client=${dump##*/}
        client=${client%dump}
        restored_by "${client%-}"
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
        { gzip -c <"$part/database.sqlite" || broken; } | written database.sqlite.gz
        rm -f "$part/database.sqlite"
        read_back "$part/database.sqlite.gz" | gzip -t
        all_steps_ended_well
        verified database.sqlite.gz
        put file "database.sqlite.gz $((tables)) tables"
        restored_by sqlite
    fi
    ;;
pgsql)
    if [ "${tables:-0}" -eq 0 ]; then
        put skipped "the database $(cleaned "$name"): it has no tables yet"
    else
        say "dumping the database $name ($tables tables)"
        expect_of_dump
        if ! command -v pg_dump >/dev/null || ! command -v pg_restore >/dev/null; then
            refuse dump-program-missing programs="pg_dump or pg_restore is not" package=postgresql-client
        fi
        options=$(live_app_piped "$DATABASE_PHP" options "$ENV_FILE" "$TREE") || refuse database-settings-unreadable env_file="$ENV_FILE"
        # libpq takes no password from a pipe: it goes to the program in its environment, which only this account and root can read.
        {
            status=0
            printf '%s\n' "$options" | {
                while IFS= read -r line; do export "${line?}"; done
                HOME=$private pg_dump --format=custom --no-password --file="$part/database.dump" </dev/null
            } || status=$?
            echo "$status" >"$part/.status"
        } 2>&1 | tee "$part/.said" >&2
        options=
        dumped
        printf PGDMP >"$part/.control"
        accept_dump problem_of_pg_dump "$part/database.dump" "$part/.expected" pg_restore
        sha256sum <"$part/database.dump" >"$part/.read"
        cp "$part/.read" "$part/.written"
        verified database.dump
        rm -f "$part/.expected"
        put file "database.dump $((tables)) tables"
        restored_by pg_restore
    fi
    ;;
memory) put skipped "the database: the app keeps it in memory" ;;
none) put skipped "a database: the app has none" ;;
*) refuse database-driver-unsupported driver="$(cleaned "$driver")" ;;
esac

rm -f "$part/.whole" "$part/.written" "$part/.read"
printf '{"version":1,"release":"%s","verified":true%s%s}\n' "$RELEASE" "${tree:+,\"tree\":\"$tree\"}" "${linked:+,\"app_linked_to\":\"$linked\"}" >"$part/manifest.json"
flush "$part"
mv -T "$part" "$DIR"
