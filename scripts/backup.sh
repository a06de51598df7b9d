#!/bin/sh
# Backs up database, Redis and the local store into a folder of its own below DIR, and removes the oldest ones:
#   backup.sh --to DIR [--only database|redis|files]... [--keep 14]
# Ends with 0 when all is kept, 1 when a part is missing, 2 when it could not be tried.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
exec "$root/.venv/bin/python" "$root/scripts/backup.py" "$@"
