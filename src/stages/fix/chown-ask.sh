# Asks sudo whether it would let us take each of these paths, by its exact name. Reads only.
# in: PATHS, one a line; OWNER
printf '%s\n' "$PATHS" | while IFS= read -r path; do
    [ -n "$path" ] || continue
    if sudo -n -l chown -h "$OWNER" "$path" >/dev/null 2>&1; then put allowed "$path"; fi
done
put program "$(command -v chown)"
# The list says what the question above does not: whether sudo would ask for a password first.
if rules=$(sudo -n -l 2>/dev/null); then put rules "$rules"; fi
