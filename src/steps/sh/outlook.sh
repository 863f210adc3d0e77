# What a release would replace, and which migrations have run. Reads only.
# in: TREE PHP ENV_FILE MANIFEST RAN_PHP PATHS_PHP DATABASE_PHP
cd "$TREE"
# A release that this program made says which files it was made of; of another one the public files are what visitors can miss.
if [ -f "$MANIFEST" ]; then put manifest "$(cat "$MANIFEST")"; elif [ -d public ]; then put public "$(find public -type f)"; fi
if ran=$(printf '%s' "$RAN_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr --); then put ran "$(printf '%s\n' "$ran" | sed -n '/^[!-~]*$/p')"; fi
if paths=$(printf '%s' "$PATHS_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr --); then put paths "$paths"; fi
if described=$(printf '%s' "$DATABASE_PHP" | "$PHP" -d zend.exception_ignore_args=1 -d display_errors=stderr -- describe "$ENV_FILE" "$TREE"); then put database "$described"; fi
