# The worker that the first release started has ended, and the next one runs the second release.
live=$(readlink current)
for _ in $(seq 300); do
    [ "$(tail -n 1 /run/lab/worker-starts)" != "$live" ] || exit 0
    sleep 0.1
done
cat /run/lab/worker-starts /run/lab/worker-log >&2
exit 1
