#!/bin/sh
# Fills in the nginx files of deploy/ for the containers of compose.yaml: render.sh ETC, run while the image is made.
# https is the business of whatever stands before the containers.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd -P)
etc=$1
web=${WEB_ADDRESS:-web:3000}
app=${APP_DIR:-/srv/ghibli}
cache=${CACHE_DIR:-/var/cache/nginx/ghibli}

render() {
    sed "s|@ETC_DIR@|$etc|g; s|@APP_DIR@|$app|g; s|@CACHE_DIR@|$cache|g; s|@WEB_ADDRESS@|$web|g
        s|@SCHEME@|\$ghibli_scheme|g" "$1" >"$2"
}

mkdir -p "$etc/nginx/conf.d" "$etc/nginx/snippets" "$cache" "$app/current/deploy/nginx"
cp -R "$here/nginx/pages" "$app/current/deploy/nginx/"
render "$here/nginx/http.conf" "$etc/nginx/conf.d/ghibli.conf"
render "$here/nginx/locations.conf" "$etc/nginx/snippets/ghibli-locations.conf"
render "$here/nginx/proxy.conf" "$etc/nginx/snippets/ghibli-proxy.conf"
render "$here/docker/site.conf" "$etc/nginx/conf.d/site.conf"
rm -f "$etc/nginx/conf.d/default.conf"
