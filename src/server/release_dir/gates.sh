# The nine gates, on the server, in the unpacked release. Names every one that fails.
# in: DIR FILES FOLDERS
cd "$DIR"
printf '%s\n' "$FILES" | while read -r path; do
    if [ ! -f "$path" ]; then put gate "$path=missing"; elif [ ! -s "$path" ]; then put gate "$path=empty"; elif [ ! -r "$path" ]; then put gate "$path=unreadable"; else put gate "$path="; fi
done
printf '%s\n' "$FOLDERS" | while read -r path; do
    if [ ! -d "$path" ]; then put gate "$path=missing"; else put gate "$path="; fi
done
