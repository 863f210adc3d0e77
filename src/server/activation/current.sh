# What `current` points to.
# in: CURRENT
if [ -L "$CURRENT" ]; then put current "$(readlink "$CURRENT")"; elif [ -e "$CURRENT" ]; then put not-a-link yes; fi
:
