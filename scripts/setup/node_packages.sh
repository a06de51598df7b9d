#!/bin/sh
# Installs the packages of a folder with package.json and its lock, unless they stand in just that state.
# Called by the Makefile: node_packages.sh FOLDER
# Which registry is asked, and through which proxy, is npm's own configuration.
set -eu

folder=$1
stamp=.state/$(echo "$folder" | tr '/' '-').$(cat "$folder/package.json" "$folder/package-lock.json" | cksum | tr -d ' ')

if [ -e "$stamp" ] && [ -d "$folder/node_modules" ]; then
    exit 0
fi
command -v npm >/dev/null || { echo "npm is missing. On Debian and Ubuntu: apt-get install npm" >&2; exit 1; }
echo "Setting up $folder with npm."
(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
mkdir -p .state
rm -f .state/"$(echo "$folder" | tr '/' '-')".*
touch "$stamp"
