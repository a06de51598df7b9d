#!/bin/sh
# Installs what looks after an installation: the watchdog every five minutes, the log folder, and the logs' rotation.
#   monitoring_setup.sh [--cron|--systemd] [--user NAME] [--prefix DIR] [--as LINK]     install, or bring up to date
#   monitoring_setup.sh --uninstall [--prefix DIR]                          take it away; logs stay
# Without --cron or --systemd it takes systemd where that runs, else cron. With --prefix the files go below DIR and
# nothing is started. With --as they name LINK, which leads to this checkout. Safe to run twice.
# Ends with 0 when done, 2 when it could not be.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=scripts/workers.sh
. "$root/scripts/workers.sh"

way=""
user=$(stat -c %U "$root")
prefix=""
link=""
uninstall=no
while [ "$#" -gt 0 ]; do
    case $1 in
        --cron) way=cron ;;
        --systemd) way=systemd ;;
        --uninstall) uninstall=yes ;;
        --user | --prefix | --as)
            [ "$#" -gt 1 ] || fail "$1 needs a value."
            case $1 in
                --user) user=$2 ;;
                --prefix) prefix=$2 ;;
                --as) link=$2 ;;
            esac
            shift
            ;;
        *) fail "$1 is not known. See the first lines of $0." ;;
    esac
    shift
done

cron_file=$prefix/etc/cron.d/ghibli-monitor
service_file=$prefix/etc/systemd/system/ghibli-monitor.service
timer_file=$prefix/etc/systemd/system/ghibli-monitor.timer
rotation_file=$prefix/etc/logrotate.d/ghibli

if [ -z "$prefix" ] && [ "$(id -u)" -ne 0 ]; then
    fail "Writing below /etc needs root: sudo $0"
fi

# The real systemd is told of changes only when the files are really its own.
has_systemd() {
    [ -d /run/systemd/system ]
}
tell_systemd() {
    [ -n "$prefix" ] || ! has_systemd || systemctl "$@"
}

# Writes standard input to a file, and says so when that changes it.
put() {
    mkdir -p "$(dirname "$1")"
    cat >"$1.new"
    chmod 0644 "$1.new"
    if cmp -s "$1" "$1.new"; then
        rm -f "$1.new"
    else
        mv -f "$1.new" "$1"
        echo "$1 written."
    fi
}

take_away() {
    for file in "$@"; do
        if [ -e "$file" ]; then
            rm -f "$file"
            echo "$file removed."
        fi
    done
}

take_timer_away() {
    [ -e "$timer_file" ] || return 0
    tell_systemd disable --quiet --now ghibli-monitor.timer
    take_away "$timer_file" "$service_file"
    tell_systemd daemon-reload
}

if [ "$uninstall" = yes ]; then
    take_timer_away
    take_away "$cron_file" "$rotation_file"
    exit 0
fi

id "$user" >/dev/null 2>&1 || fail "There is no user $user."
group=$(id -gn "$user")
find_folders
if [ -n "$link" ]; then
    [ "$(readlink -e "$link")" = "$root" ] || fail "$link does not lead to $root."
    root=$link
    python=$link/.venv/bin/python
fi
case $root$log_dir in
    # cron ends a command at a percent sign, and these files share no way to write a blank.
    *[!A-Za-z0-9/._-]*) fail "$root or $log_dir has characters in it that cron and systemd read differently." ;;
esac
[ "$(id -u)" -ne 0 ] || chown "$user:$group" "$log_dir" "$run_dir"
chmod 0750 "$log_dir"

if [ -z "$way" ]; then
    if has_systemd; then way=systemd; else way=cron; fi
fi

if [ "$way" = cron ]; then
    take_timer_away
    put "$cron_file" <<END
# The watchdog of $root; written by scripts/monitoring_setup.sh.
*/5 * * * * $user $python $root/scripts/monitor_tasks.py >>$log_dir/watchdog.log 2>&1
END
else
    take_away "$cron_file"
    put "$service_file" <<END
# The watchdog of $root; written by scripts/monitoring_setup.sh.
[Unit]
Description=Sweep, watchdog and monitor of the painting site

[Service]
Type=oneshot
User=$user
ExecStart=$python $root/scripts/monitor_tasks.py
# 1 says that something was repaired or is not well: that is for the alerts to tell.
SuccessExitStatus=1
TimeoutStartSec=240
# Workers that the watchdog has started go on when it ends.
KillMode=process
END
    put "$timer_file" <<END
# When the watchdog of $root runs; written by scripts/monitoring_setup.sh.
[Unit]
Description=The watchdog of the painting site, every five minutes

[Timer]
OnCalendar=*:0/5
Persistent=true

[Install]
WantedBy=timers.target
END
    tell_systemd daemon-reload
    tell_systemd enable --quiet --now ghibli-monitor.timer
fi

# Processes notice that a file of the first kind was moved. What the shell opened for a process stays open, so it is
# copied and emptied instead.
put "$rotation_file" <<END
# The logs of $root; written by scripts/monitoring_setup.sh.
$log_dir/task-monitor.log $log_dir/task-processor.log $log_dir/errors.log {
    su $user $group
    daily
    maxsize 50M
    rotate 14
    compress
    delaycompress
    missingok
    notifempty
    create 0640 $user $group
}
$log_dir/worker-paint.log $log_dir/worker-maintenance.log $log_dir/worker-scheduler.log $log_dir/watchdog.log {
    su $user $group
    daily
    maxsize 50M
    rotate 14
    compress
    missingok
    notifempty
    copytruncate
}
END
echo "The watchdog runs every five minutes by $way; logs are in $log_dir."
