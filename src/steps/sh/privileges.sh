# Asks sudo which of some commands it would run for us without a password. Reads only.
# in: COMMANDS, one a line; their words hold no blanks and nothing that means anything to a shell
set -f
printf '%s\n' "$COMMANDS" | while read -r command; do
    # The words are meant to be split.
    # shellcheck disable=SC2086
    if sudo -n -l $command >/dev/null 2>&1; then put allowed "$command"; else put denied "$command"; fi
done
