#!/bin/sh
# Puts new code on an installation: as root, from a checkout of the new version, deploy/upgrade.sh
# Visitors wait for some seconds, orders in hand finish or are handed back to the queue, and none is lost. When
# anything fails after the backup, the release before is put back to work by itself; migrations only add, so it runs on
# the database as it is then, with every order that came in meanwhile.
# Ends with 0 when the new release works, 1 when it does not and the one before works again, 2 when nothing was
# touched, 3 when neither works.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=deploy/lib.sh
. "$source/deploy/lib.sh"
umask 022

[ "$#" -eq 0 ] || fail "$1 is not known. See the first lines of $0."
read_conf
need_root
take_lock
old=$(release_of current)
[ -n "$old" ] || fail "There is nothing to upgrade yet: deploy/install.sh comes first."
older=$(release_of previous)
case $source/ in "$old"/*) fail "This is the release that runs. Run the upgrade.sh of a checkout of the new one." ;; esac

# Nothing of what runs is touched up to here, so each failure simply ends it.
say "New release"
make_release
echo "    $release"
in_release "$release" .venv/bin/python -m scripts.folders >/dev/null ||
    fail "The new release refuses the settings."
say "Backup of the database"
in_release "$old" scripts/backup.sh --to "$BACKUP_DIR" --only database || fail "Without a backup there is no upgrade."

go_back() {
    code=$?
    trap - EXIT
    trap '' INT TERM
    [ "$code" -ne 0 ] || exit 0
    say "It did not work. Going back to $old" >&2
    set +e
    stop_workers
    point "$APP_DIR/current" "$old"
    point "$APP_DIR/previous" "${older:-$old}"
    "$old/deploy/install.sh" --files
    start_release "$release" "$old"
    systemctl reload nginx.service
    if site_works "$old"; then
        echo "The release before works again. The one that failed is kept in $release." >&2
        exit 1
    fi
    echo "The release before does not work either: journalctl -u ghibli-web -u ghibli-worker -e" >&2
    exit 3
}
trap go_back EXIT
trap 'exit 130' INT TERM

say "Workers stop; orders in hand get a minute to finish"
stop_workers
say "Migrations"
migrate "$release"
say "Switch"
use_release "$release"
"$release/deploy/install.sh" --files
start_release "$old" "$release"
systemctl reload nginx.service
say "A walk through the site"
site_works "$release"
trap - EXIT INT TERM
prune
say "Done. The release before is kept: deploy/rollback.sh goes back to it."
