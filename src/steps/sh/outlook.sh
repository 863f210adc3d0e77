# What a release would replace, and which migrations have run. Reads only.
# in: TREE PHP ENV_FILE MANIFEST APP_PHP RAN_PHP PATHS_PHP DATABASE_PHP
cd "$TREE"
private_folder "${TMPDIR:-/tmp}"
# A release that this program made says which files it was made of; of another one the public files are what visitors can miss.
if [ -f "$MANIFEST" ]; then put manifest "$(cat "$MANIFEST")"; elif [ -d public ]; then put public "$(find public -type f)"; fi
# Names only, whatever else the app prints.
if ran=$(live_app "$APP_PHP$RAN_PHP"); then put ran "$(printf '%s\n' "$ran" | sed -n '/^[!-~]*$/p')"; fi
if paths=$(live_app "$APP_PHP$PATHS_PHP"); then put paths "$paths"; fi
if described=$(live_app "$DATABASE_PHP" describe "$ENV_FILE" "$TREE"); then put database "$described"; fi
