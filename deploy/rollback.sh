#!/bin/sh
# Goes back to the release before, or to the one that is named: as root, rollback.sh [RELEASE]
# The database stays as it is: migrations only add, so the release before runs on it, and no order is lost.
# Ends with 0 when that release works, 1 when it runs but the walk through the site failed, 2 when nothing was touched.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=deploy/lib.sh
. "$source/deploy/lib.sh"

read_conf
need_root
take_lock
target=$(release_of previous)
[ "$#" -eq 0 ] || target=$(readlink -e "$APP_DIR/releases/$1" || true)
if [ -z "$target" ] || [ ! -x "$target/deploy/install.sh" ]; then
    fail "There is no such release. There are: $(ls "$APP_DIR/releases")"
fi
[ "$target" != "$(release_of current)" ] || fail "That is the release that runs."

say "Workers stop; orders in hand get a minute to finish"
stop_workers
say "Switch to $target"
use_release "$target"
"$target/deploy/install.sh" --files
start_release "$(release_of previous)" "$target"
systemctl reload nginx.service
say "A walk through the site"
if ! site_works "$target"; then
    echo "It does not work: journalctl -u ghibli-web -u ghibli-worker -e" >&2
    exit 1
fi
say "Done. rollback.sh again goes forward to where you were."
