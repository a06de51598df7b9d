# shellcheck shell=sh
# What start_worker.sh, stop_worker.sh and check_status.sh share. Sourced with $root set to the checkout.

root=${root:?is set by whoever sources this file}
roles="paint maintenance scheduler"
python=$root/.venv/bin/python

fail() {
    echo "$1" >&2
    exit 2
}

# Sets $run_dir and $log_dir. The settings say where they are, so Python is asked.
find_folders() {
    [ -x "$python" ] || fail "There is no $python yet: run make setup first."
    folders=$(cd "$root" && "$python" -m scripts.folders) || exit 2
    run_dir=$(echo "$folders" | sed -n 1p)
    log_dir=$(echo "$folders" | sed -n 2p)
    mkdir -p "$run_dir" "$log_dir"
}

check_role() {
    case " $roles " in
        *" $1 "*) ;;
        *) fail "There is no worker called $1. Choose from: $roles." ;;
    esac
}

pid_file() {
    echo "$run_dir/$1.pid"
}

# Whether the process $2 lives and is a worker of the role $1. The system gives ids away again, so the command counts.
runs_as() {
    [ -r "/proc/$2/cmdline" ] || return 1
    case $(tr '\0' ' ' <"/proc/$2/cmdline") in
        *"worker.py $1 "*) ;;
        *) return 1 ;;
    esac
}

# Prints the process id of a role's worker when it lives.
living_pid() {
    pid=$(cat "$(pid_file "$1")" 2>/dev/null) && [ -n "$pid" ] || return 1
    runs_as "$1" "$pid" && echo "$pid"
}

# One start or stop at a time; the lock goes with the process that holds file descriptor 9.
take_lock() {
    exec 9>"$run_dir/workers.lock"
    flock 9
}
