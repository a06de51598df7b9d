#!/bin/sh
# Puts a backup back, with the site stopped:
#   restore.sh FOLDER --yes [--only database|redis|files]...
# The database is replaced, and what it held before is kept beside the backup; files and keys are only added.
# Ends with 0 when all is back, 1 when a part is missing, 2 when nothing was touched.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
exec "$root/.venv/bin/python" "$root/scripts/restore.py" "$@"
