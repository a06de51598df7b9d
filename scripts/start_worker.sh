#!/bin/sh
# Starts workers in the background: start_worker.sh [--again] [paint|maintenance|scheduler ...], without names all three.
# Their process ids are kept under instance/run, what they print goes to LOG_DIR/worker-<role>.log. One that runs
# already is left alone. With --again only what was started before and not stopped is started: for the watchdog.
# Ends with 0 when all run, 1 when one did not stay up, 2 when it could not be tried.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=scripts/workers.sh
. "$root/scripts/workers.sh"

again=no
if [ "${1:-}" = "--again" ]; then
    again=yes
    shift
fi
# Word splitting is wanted here: one word is one role.
# shellcheck disable=SC2086
[ "$#" -gt 0 ] || set -- $roles
for role in "$@"; do
    check_role "$role"
done
find_folders
take_lock

started=""
for role in "$@"; do
    if pid=$(living_pid "$role"); then
        echo "$role runs already (process $pid)."
    elif [ "$again" = yes ] && [ ! -e "$(pid_file "$role")" ]; then
        echo "$role was stopped on purpose."
    else
        # A session of its own, so that it outlives this terminal; without the lock's file descriptor.
        (cd "$root" && exec setsid "$python" worker.py "$role" \
            </dev/null >>"$log_dir/worker-$role.log" 2>&1 9>&-) &
        echo "$!" >"$(pid_file "$role")"
        started="$started $role"
    fi
done

# A worker that cannot run says so and ends within a moment.
[ -z "$started" ] || sleep 1
code=0
for role in $started; do
    if pid=$(living_pid "$role"); then
        echo "$role started (process $pid)."
    else
        echo "$role did not stay up; see $log_dir/worker-$role.log." >&2
        code=1
    fi
done
exit $code
