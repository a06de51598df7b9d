#!/bin/sh
# Stops workers warm: stop_worker.sh [paint|maintenance|scheduler ...], without names all three.
# Orders in hand get a minute to finish, then they are handed back to the queue. The watchdog leaves stopped ones alone.
# Ends with 0 when none of them runs any more, 1 when one had to be killed, 2 when it could not be tried.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=scripts/workers.sh
. "$root/scripts/workers.sh"

patience_s=90

# Word splitting is wanted here: one word is one role.
# shellcheck disable=SC2086
[ "$#" -gt 0 ] || set -- $roles
for role in "$@"; do
    check_role "$role"
done
find_folders
take_lock

asked=""
for role in "$@"; do
    if pid=$(living_pid "$role"); then
        kill -TERM "$pid"
        asked="$asked $role:$pid"
        echo "$role is asked to stop (process $pid)."
    else
        echo "$role does not run."
    fi
    rm -f "$(pid_file "$role")"
done

code=0
waited=0
for entry in $asked; do
    role=${entry%%:*}
    pid=${entry##*:}
    while runs_as "$role" "$pid" && [ "$waited" -lt $((patience_s * 5)) ]; do
        sleep 0.2
        waited=$((waited + 1))
    done
    if runs_as "$role" "$pid"; then
        # It and everything that it started: a session has the id of its first process.
        kill -KILL "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
        echo "$role did not stop within $patience_s seconds and was killed." >&2
        code=1
    else
        echo "$role stopped."
    fi
done
exit $code
