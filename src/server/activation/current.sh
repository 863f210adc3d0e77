# What `current` points to, as runs write it.
# in: CURRENT
if [ -L "$CURRENT" ]; then put current "$(link_of "$CURRENT")"; elif [ -e "$CURRENT" ]; then put not-a-link yes; fi
:
