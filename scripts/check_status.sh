#!/bin/sh
# A plain overview: the worker processes of this machine, then database, Redis, queue, sweep, engines and the rest.
# Ends with 0 when all is well, 1 when something is not, 2 when it could not look.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=scripts/workers.sh
. "$root/scripts/workers.sh"
find_folders

code=0
for role in $roles; do
    if pid=$(living_pid "$role"); then
        printf '%-19s %-9s %s\n' "process $role" well "process $pid"
    elif [ -e "$(pid_file "$role")" ]; then
        printf '%-19s %-9s %s\n' "process $role" "NOT WELL" "dead; scripts/start_worker.sh $role"
        code=1
    else
        printf '%-19s %-9s %s\n' "process $role" - "not started here by start_worker.sh"
    fi
done

cd "$root"
status=0
# What it logs meanwhile is in the log files; this is an overview.
"$python" -m flask --app wsgi monitor status 2>/dev/null || status=$?
case $status in
    0) ;;
    1) code=1 ;;
    *) fail "The overview could not be made; see $log_dir/errors.log." ;;
esac
exit $code
