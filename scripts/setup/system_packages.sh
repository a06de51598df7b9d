#!/bin/sh
# Sees to it that the programs which the tests drive are installed: MariaDB, Redis, Chromium, a Chinese font, logrotate,
# nginx, openssl, curl, iproute2, and promtool, which is taken out of Prometheus' package: the server itself is not wanted.
# Called by `make setup-test`. As root on Debian or Ubuntu it installs what is missing; elsewhere it says so and fails.
set -eu

# Servers live in /usr/sbin, which is not on everybody's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin

installed() {
    for program in "$@"; do
        if command -v "$program" >/dev/null; then
            return 0
        fi
    done
    return 1
}

missing=""
installed mariadbd && installed mariadb-install-db || missing="$missing mariadb-server"
installed redis-server valkey-server || missing="$missing redis-server"
installed chromium chromium-browser google-chrome || missing="$missing chromium"
installed nginx || missing="$missing nginx"
installed openssl || missing="$missing openssl"
installed curl || missing="$missing curl"
installed ip || missing="$missing iproute2"
installed systemd-analyze || missing="$missing systemd"
installed node && installed npm || missing="$missing nodejs npm"
installed logrotate || missing="$missing logrotate"
installed fc-list && [ -n "$(fc-list :lang=zh family)" ] || missing="$missing fontconfig fonts-noto-cjk"

tools=""
installed promtool || tools="prometheus"

if [ -z "$missing$tools" ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! installed apt-get; then
    echo "The tests need programs that are missing here. On Debian and Ubuntu, as root: apt-get install$missing${tools:+ $tools}" >&2
    exit 1
fi
echo "Installing with apt-get:$missing${tools:+ promtool}"
apt-get update -qq
if [ -n "$missing" ]; then
    # Word splitting is wanted here: one word is one package.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ -n "$tools" ]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # apt fetches as a user of its own.
    chmod 755 "$folder" && chown _apt "$folder"
    (cd "$folder" && apt-get download -qq "$tools" >/dev/null)
    dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C /usr/local --strip-components=2 ./usr/bin/promtool
fi
