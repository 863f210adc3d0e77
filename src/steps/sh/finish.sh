# Goes back from a release that nobody confirmed, in a session of its own: a run that is cancelled or loses its line meanwhile must not
# cut it in half.
# in: ENTRY (path without its state) PROGRAM LOCK LOCK_NONCE
umask 077
fenced "$LOCK" "$LOCK_NONCE"
work=$ENTRY.finish
rm -rf "$work"
mkdir "$work"
printf '%s\n' "$PROGRAM" >"$work/program"
setsid sh "$work/program" </dev/null >"$work/answer" 2>"$work/log" 3>&- &
# How it ended stands in its answer.
if wait "$!"; then :; fi
cat "$work/log"
of() { tr '\0' '\n' <"$work/answer" | sed -n "s/^$1=//p" | tail -n 1; }
refused=$(of refused)
found=$(of found)
hint=$(of hint)
not_reloaded=$(of not-reloaded)
rm -rf "$work"
# `current` points back. Whether that is enough, the site says.
if [ -n "$not_reloaded" ]; then
    put found not-reloaded
    put cause "$refused"
    put advice "$hint"
    exit 0
fi
if [ -n "$refused" ]; then refuse "$refused" "$hint"; fi
[ -n "$found" ] || refuse "going back did not come to its end" "see the lines above"
put found "$found"
