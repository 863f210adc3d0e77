# Lets nginx judge its own configuration.
# in: COMMAND, whose words hold no blanks and nothing that means anything to a shell
set -f
say "\$ $COMMAND"
status=0
# The words are meant to be split.
# shellcheck disable=SC2086
said=$($COMMAND 2>&1) || status=$?
say "$said"
put status "$status"
put said "$said"
