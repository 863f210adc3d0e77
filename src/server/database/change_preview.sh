# What a release would replace, and which migrations have run. Reads only.
# in: TREE PHP ENV_FILE MANIFEST APP_PHP MIGRATIONS_PHP DATABASE_PHP
cd "$TREE"
private_folder "${TMPDIR:-/tmp}"
# A release that this program made says which files it was made of; of another one the public files are what visitors can miss.
if [ -f "$MANIFEST" ]; then put manifest "$(cat "$MANIFEST")"; elif [ -d public ]; then put public "$(find public -type f)"; fi
# What it answered before it failed counts.
answers=$(live_app "$APP_PHP$MIGRATIONS_PHP") || say "the live release did not answer everything about its migrations"
# Names only. The filter for secrets would change those in which a value of .env happens to stand.
answers() { printf '%s\n' "$answers" | sed -n "s/^$1=//p"; }
if [ -n "$(answers listed)" ]; then put ran "$(answers ran | sed -n '/^[!-~]*$/p')"; fi
if [ -n "$(answers paths)" ]; then put paths "$(answers path)"; fi
describe_database live_app "$DATABASE_PHP" describe "$ENV_FILE" "$TREE"
