# shellcheck shell=sh
# What install.sh, upgrade.sh and rollback.sh share: where things lie on a server, templates, releases, services.
# Sourced with $source set to the checkout that the script lies in.
# shellcheck disable=SC2034,SC2154 # Templates use names that the scripts themselves do not.
#
#   APP_DIR/releases/<name>    one release: its code, with links to the settings and to its environment
#   APP_DIR/current            a link to the release that runs; APP_DIR/previous to the one before
#   APP_DIR/environments/      virtual environments, one for each state of a requirements file
#   APP_DIR/shared/            what outlives every release: .env and instance/

source=${source:?is set by whoever sources this file}
conf=${DEPLOY_CONF:-/etc/ghibli/deploy.conf}

# Everything that a file of deploy/ may name between two @; each can be set in deploy.conf.
names="DOMAIN APP_URL APP_USER APP_DIR LOG_DIR BACKUP_DIR ETC_DIR CACHE_DIR ACME_DIR REDIS_DIR NGINX_LOG_DIR
HTTP_LISTEN HTTPS_LISTEN WEB_ADDRESS SCHEME REDIS_PORT REDIS_PASSWORD SPACE_PORT GRADIO_URL IPV6
MYSQL_PORT MYSQL_PASSWORD SECRET_KEY ADMIN_API_KEY"

workers="ghibli-worker.service ghibli-maintenance.service ghibli-scheduler.service"
releases_kept=3

say() {
    echo "==> $1"
}

fail() {
    echo "$1" >&2
    exit 2
}

# Reads deploy.conf and fills in what it leaves out.
read_conf() {
    # shellcheck source=/dev/null
    [ ! -e "$conf" ] || . "$conf"
    DOMAIN=${DOMAIN:-}
    APP_USER=${APP_USER:-ghibli}
    APP_DIR=${APP_DIR:-/srv/ghibli}
    LOG_DIR=${LOG_DIR:-/var/log/ghibli_flask}
    BACKUP_DIR=${BACKUP_DIR:-/var/backups/ghibli}
    ETC_DIR=${ETC_DIR:-/etc}
    CACHE_DIR=${CACHE_DIR:-/var/cache/ghibli}
    ACME_DIR=${ACME_DIR:-/var/www/ghibli-acme}
    REDIS_DIR=${REDIS_DIR:-/var/lib/redis/ghibli}
    NGINX_LOG_DIR=${NGINX_LOG_DIR:-/var/log/nginx}
    HTTP_LISTEN=${HTTP_LISTEN:-80}
    HTTPS_LISTEN=${HTTPS_LISTEN:-443}
    WEB_ADDRESS=${WEB_ADDRESS:-127.0.0.1:3000}
    # nginx's own word for http or https.
    # shellcheck disable=SC2016
    SCHEME='$scheme'
    REDIS_PORT=${REDIS_PORT:-6380}
    REDIS_USER=${REDIS_USER:-redis}
    NGINX_USER=${NGINX_USER:-www-data}
    MYSQL_PORT=${MYSQL_PORT:-3306}
    SPACE_PORT=${SPACE_PORT:-7860}
    GRADIO_URL=${GRADIO_URL:-http://127.0.0.1:$SPACE_PORT}
    APP_URL=${APP_URL:-https://$DOMAIN}
    # A machine without IPv6 cannot listen on it; one whose nginx listens on an address of its own need not.
    IPV6="# "
    case $HTTPS_LISTEN in *:*) ;; *) [ ! -s /proc/net/if_inet6 ] || IPV6="" ;; esac
    env_file=$APP_DIR/shared/.env
    tls=$ETC_DIR/ghibli/tls
    case $APP_DIR$LOG_DIR$BACKUP_DIR$ETC_DIR in
        *[!A-Za-z0-9/._-]*) fail "The folders in $conf may hold letters, digits and / . _ - only." ;;
    esac
}

paints_here() {
    [ "$GRADIO_URL" = "http://127.0.0.1:$SPACE_PORT" ]
}

need_root() {
    [ "$ETC_DIR" != /etc ] || [ "$(id -u)" -eq 0 ] || fail "This needs root: sudo $0"
}

# The value of a line of .env.
setting() {
    sed -n "s/^$1=//p" "$env_file" | tail -n 1
}

# Prints a file of deploy/ with every @NAME@ filled in; a name that is left over is a mistake of ours.
render() {
    script=""
    for name in $names; do
        eval "value=\${$name:-}"
        script="$script
s|@$name@|$value|g"
    done
    rendered=$(sed "$script" "$1")
    if printf '%s' "$rendered" | grep '@[A-Z][A-Z_]*@' >&2; then
        fail "$1 names something that nobody fills in."
    fi
    printf '%s\n' "$rendered"
}

# Writes standard input to a file with a mode; says so, and notes it in $changed, when that changes it.
changed=""
put() {
    mkdir -p "$(dirname "$1")"
    cat >"$1.new"
    chmod "$2" "$1.new"
    if cmp -s "$1" "$1.new"; then
        rm -f "$1.new"
    else
        mv -f "$1.new" "$1"
        echo "    $1"
        changed="$changed $1"
    fi
}

# Renders a file of deploy/ to its place: put_template FILE PLACE MODE.
put_template() {
    whole=$(render "$source/deploy/$1") || exit 2
    # Not by a pipe, whose parts are processes of their own: $changed would be lost.
    put "$2" "$3" <<END
$whole
END
}

as_user() {
    if [ "$(id -un)" = "$APP_USER" ]; then
        "$@"
    else
        runuser -u "$APP_USER" -- "$@"
    fi
}

# One installation or upgrade at a time; the lock goes with the process that holds file descriptor 8.
take_lock() {
    mkdir -p "$APP_DIR"
    exec 8>"$APP_DIR/deploy.lock"
    flock -n 8 || fail "Another installation or upgrade is at work."
}

# --- Releases ---

# Makes an environment for a requirements file unless it stands already; prints its folder.
environment() {
    name=$(basename "$(dirname "$1")")
    [ "$name" = space ] || name=app
    folder=$APP_DIR/environments/$name-$({ cat "$1"; python3 -V; } | cksum | tr -d ' ')
    if [ ! -e "$folder.complete" ]; then
        echo "    $folder (a minute or two)" >&2
        rm -rf "$folder" "$folder.complete"
        python3 -m venv "$folder" >&2
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1" >&2
        touch "$folder.complete"
    fi
    echo "$folder"
}

# Makes a release of $source; sets $release to its folder.
make_release() {
    release=$APP_DIR/releases/$(date -u +%Y%m%dT%H%M%SZ)
    while [ -e "$release" ]; do
        sleep 1
        release=$APP_DIR/releases/$(date -u +%Y%m%dT%H%M%SZ)
    done
    rm -rf "$APP_DIR/releases/new"
    mkdir -p "$APP_DIR/releases/new"
    tar -C "$source" --exclude-vcs --exclude='__pycache__' --exclude='*_cache' --exclude='./.venv' \
        --exclude='./space/.venv' --exclude='./.state' --exclude='./.env' --exclude='./instance' \
        --exclude='./node_modules' --exclude='./tests' -cf - . | tar -C "$APP_DIR/releases/new" --no-same-owner -xf -
    ln -s "$env_file" "$APP_DIR/releases/new/.env"
    app_environment=$(environment "$source/requirements.txt")
    ln -s "$app_environment" "$APP_DIR/releases/new/.venv"
    if paints_here; then
        space_environment=$(environment "$source/space/requirements.txt")
        ln -s "$space_environment" "$APP_DIR/releases/new/space/.venv"
    fi
    mv "$APP_DIR/releases/new" "$release"
    "$release/.venv/bin/python" -m compileall -q "$release/ghibli_flask" "$release/jobs" "$release/scripts"
}

# The folder that APP_DIR/current or APP_DIR/previous leads to; nothing when there is none.
release_of() {
    readlink -e "$APP_DIR/$1" || true
}

# Points a link to a folder in one step, so that nobody ever finds it missing.
point() {
    ln -sfn "$2" "$1.new"
    mv -fT "$1.new" "$1"
}

# Has `current` be this release; the other one of the two is remembered as `previous`.
use_release() {
    before=$(release_of current)
    [ -z "$before" ] || [ "$before" = "$1" ] || point "$APP_DIR/previous" "$before"
    point "$APP_DIR/current" "$1"
}

# Removes old releases but for the newest ones and those in use, then the environments that none of the rest uses.
prune() {
    find "$APP_DIR/releases" -mindepth 1 -maxdepth 1 -type d -name '*Z' | sort | head -n -$releases_kept |
        while read -r old; do
            case $old in
                "$(release_of current)" | "$(release_of previous)") ;;
                *) rm -rf "$old" ;;
            esac
        done
    for mark in "$APP_DIR"/environments/*.complete; do
        folder=${mark%.complete}
        if ! readlink "$APP_DIR"/releases/*/.venv "$APP_DIR"/releases/*/space/.venv | grep -qxF "$folder"; then
            rm -rf "$mark" "$folder"
        fi
    done
}

in_release() {
    (cd "$1" && shift && as_user env FLASK_APP=wsgi "$@")
}

migrate() {
    in_release "$1" .venv/bin/flask db upgrade
}

# --- Services ---

# Orders in hand get a minute to finish, then they are handed back and wait in the queue. The watchdog rests, because
# it would start again what is stopped here.
stop_workers() {
    systemctl stop ghibli-monitor.timer
    # Word splitting is wanted here: one word is one unit.
    # shellcheck disable=SC2086
    systemctl stop $workers
}

# Puts the present release to work after another one: start_release OTHER PRESENT. systemd holds the port meanwhile, so
# visitors wait and nobody is refused. The painter is left alone when it is the same; else it comes first, because it
# takes the longest and is ready when its unit has started.
start_release() {
    if paints_here && ! diff -rq --exclude=.venv --exclude=__pycache__ "$1/space" "$2/space" >/dev/null; then
        systemctl restart ghibli-space.service
    fi
    systemctl restart ghibli-web.service
    # shellcheck disable=SC2086
    systemctl restart $workers
    systemctl start ghibli-monitor.timer
}

# Whether the site answers on this machine, by its name and by https, even while the name leads elsewhere yet.
site_answers() {
    tries=0
    until curl --silent --fail --max-time 5 --output /dev/null "http://$WEB_ADDRESS/health"; do
        tries=$((tries + 1))
        [ "$tries" -lt 60 ] || return 1
        sleep 0.5
    done
    certificate_authority=""
    case $(readlink "$tls" || true) in
        # Until certbot has been here nobody but this machine trusts the certificate.
        *tls-self-signed) certificate_authority=$tls/fullchain.pem ;;
    esac
    curl --silent --show-error --fail --max-time 20 --output /dev/null \
        --connect-to "::127.0.0.1:${HTTPS_LISTEN##*:}" \
        ${certificate_authority:+--cacert "$certificate_authority"} "$APP_URL/api/health"
}

# Whether it does, and a walk through it as a visitor's program works: site_works RELEASE.
site_works() {
    site_answers || return 1
    [ -e "$1/scripts/smoke.py" ] || return 0
    (
        # By the environment, because every user of the machine sees the words of a command line.
        ADMIN_API_KEY=$(setting ADMIN_API_KEY)
        export ADMIN_API_KEY
        [ -z "$certificate_authority" ] || export REQUESTS_CA_BUNDLE="$certificate_authority"
        in_release "$1" .venv/bin/python -m scripts.smoke --photo-only "${SMOKE_URL:-$APP_URL}"
    )
}
