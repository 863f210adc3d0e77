# Rolls back an unconfirmed release, in a session of its own: a run that is cancelled or loses its connection meanwhile must not
# interrupt it.
# in: ENTRY (path without its state) PROGRAM LOCK LOCK_NONCE
umask 077
fenced "$LOCK" "$LOCK_NONCE"
work=$ENTRY.finish
rm -rf "$work"
mkdir "$work"
printf '%s\n' "$PROGRAM" >"$work/program"
setsid sh "$work/program" </dev/null >"$work/answer" 2>"$work/log" 3>&- &
# Its answer says how it ended.
if wait "$!"; then :; fi
cat "$work/log"
of() { tr '\0' '\n' <"$work/answer" | sed -n "s/^$1=//p" | tail -n 1; }
refused=$(of refused)
found=$(of found)
if sed -nz '/^\(found\|refused\|unrecorded\|value\|reload-refused\|reload-value\)=/p' "$work/answer" >&3; then :; fi
rm -rf "$work"
[ -z "$refused" ] || exit 10
[ -n "$found" ] || refuse recovery-incomplete
