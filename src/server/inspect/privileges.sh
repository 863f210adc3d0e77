# Asks sudo which of some commands it would run for us without a password. Reads only.
# in: COMMANDS, one a line; their words hold no blanks and nothing that means anything to a shell
set -f
printf '%s\n' "$COMMANDS" | while read -r command; do
    # The words are meant to be split. Of a command that no rule allows sudo says nothing; what it says is another reason.
    # shellcheck disable=SC2086
    if said=$(sudo -n -l $command 2>&1 >/dev/null); then
        put allowed "$command"
    else
        put denied "$command"
        [ -z "$said" ] || put said "$said"
    fi
    program=${command%% *}
    if path=$(command -v "$program"); then put path "$program=$path"; fi
done
# The list says what the question above does not: whether sudo would ask for a password first.
if rules=$(sudo -n -l 2>/dev/null); then put rules "$rules"; fi
