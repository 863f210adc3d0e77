# Runs forward migrations, and says which ones ran even when a later one fails.
# in: DIR PHP APP_PHP SQL_PHP MIGRATE_PHP LOCK LOCK_NONCE
fenced "$LOCK" "$LOCK_NONCE"
cd "$DIR"
private_folder "$DIR/bootstrap/cache"

# The list before is answered before the first migration runs: if this script is interrupted, a later run knows what had run. The last
# argument names the process in the list of processes.
{ if app_piped "$APP_PHP$SQL_PHP$MIGRATE_PHP" migrate; then printf '\nended=0\n'; else printf '\nended=%s\n' "$?"; fi; } | {
    before='' after='' listed='' known='' status='' ended=0 measured='' names=''
    while IFS= read -r answer; do
        value=${answer#*=}
        # Names only.
        case $value in *[!!-~]*) case $answer in before=* | after=* | measured-name=*) continue ;; esac ;; esac
        case $answer in
        before=*) before="$before$value
" ;;
        listed=yes)
            put before "$before"
            listed=yes
            ;;
        after=*) after="$after$value
" ;;
        known=yes) known=yes ;;
        status=*) status=$value ;;
        # A process that a migration left behind may hold the pipe: what comes after this is not waited for.
        ended=*)
            ended=$value
            break
            ;;
        # The name stays as it is, whatever stands in .env.
        measured-name=*) names="$names$value
" ;;
        measured=*) measured="$measured$value
" ;;
        esac
    done
    [ -n "$listed" ] || refuse migration-list-unreadable
    if [ -z "$known" ]; then
        after=$before
        put unsure yes
    fi
    put after "$after"
    # PHP ended inside of a migration: that is a failure, whatever its own status says.
    if [ -z "$status" ]; then
        say "PHP ended with status $ended before artisan did"
        status="$ended (PHP was ended by a migration)"
    fi
    put status "$status"
    # SQL passes the filter for secrets, as the app's log does.
    if [ -n "$measured" ]; then cleaned "$measured" | while IFS= read -r cost; do [ -z "$cost" ] || put measured "$cost"; done; fi
    printf '%s' "$names" | while IFS= read -r name; do put measured-name "$name"; done
}
# The folder of this job goes when the run has read this. For the ledger of a run that takes over the lock afterwards, the answer stays in the
# lock, with another separator. The folder is entered first: under its name there may be another run's lock by then.
keep_answer() (
    cd "$LOCK" || exit
    [ "$(cat nonce)" = "$LOCK_NONCE" ] || exit 0
    tr '\0' '\036' <"/proc/$$/fd/3" >migrated.new && mv -f migrated.new migrated
)
if [ -n "$LOCK" ] && [ -f "/proc/$$/fd/3" ]; then keep_answer || say "$LOCK/migrated cannot be written: check whether the disk is full"; fi
