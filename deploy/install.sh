#!/bin/sh
# Puts the site on a Debian 12 machine, behind nginx, with MariaDB and Redis. As root, from a checkout:
#   install.sh --domain paint.example.org [--gradio-url https://…]
# Without --gradio-url the bundled painter paints. Safe to run again: what stands is left alone or brought up to date,
# settings and data are never touched. New code on an installation that runs is the business of upgrade.sh.
#   --no-packages    installs no packages: they are there already
#   --files          only writes the files of systemd and nginx anew, from this checkout; upgrade.sh calls this
# Ends with 0 when done, 2 when it could not be.
# shellcheck disable=SC2034 # Templates use names that this script itself does not.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=deploy/lib.sh
. "$source/deploy/lib.sh"
umask 022

packages="python3 python3-venv nginx mariadb-server redis-server certbot logrotate openssl curl ca-certificates"
domain="" gradio_url="" with_packages=yes only_files=no
while [ "$#" -gt 0 ]; do
    case $1 in
        --domain | --gradio-url)
            [ "$#" -gt 1 ] || fail "$1 needs a value."
            if [ "$1" = "--domain" ]; then domain=$2; else gradio_url=$2; fi
            shift
            ;;
        --no-packages) with_packages=no ;;
        --files) only_files=yes ;;
        *) fail "$1 is not known. See the first lines of $0." ;;
    esac
    shift
done

read_conf
need_root

# --- What the machine needs first ---

keep_answers() {
    if [ -n "$domain" ]; then
        case $domain in
            *[!a-z0-9.-]* | .* | -* | *.) fail "$domain is no domain in lower case, such as paint.example.org." ;;
        esac
    fi
    mkdir -p "$(dirname "$conf")"
    [ -e "$conf" ] || echo "# Where this installation lies; deploy/lib.sh has the names and their usual values." >"$conf"
    [ -z "$domain" ] || keep_answer DOMAIN "$domain"
    [ -z "$gradio_url" ] || keep_answer GRADIO_URL "$gradio_url"
    unset APP_URL
    read_conf
    [ -n "$DOMAIN" ] || fail "Which domain? $0 --domain paint.example.org"
}

keep_answer() {
    grep -vE "^$1=" "$conf" >"$conf.new" || true
    echo "$1='$2'" >>"$conf.new"
    mv -f "$conf.new" "$conf"
}

install_packages() {
    [ "$with_packages" = yes ] || return 0
    say "Packages"
    had_redis=no
    ! command -v redis-server >/dev/null || had_redis=yes
    apt-get update -qq
    # Word splitting is wanted here: one word is one package.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    # The site brings a Redis of its own. The package's first one has no password, and nobody here uses it.
    [ "$had_redis" = yes ] || systemctl disable --quiet --now redis-server.service
}

make_user_and_folders() {
    say "User and folders"
    id "$APP_USER" >/dev/null 2>&1 || useradd --system --user-group --home-dir "$APP_DIR" --shell /usr/sbin/nologin "$APP_USER"
    # nginx reads pictures by the group. The settings are for the owner alone.
    id -nG "$NGINX_USER" | grep -qw "$APP_USER" || usermod --append --groups "$APP_USER" "$NGINX_USER"
    install -d -m 0755 "$APP_DIR" "$APP_DIR/releases" "$APP_DIR/environments" "$APP_DIR/shared" "$CACHE_DIR" "$ACME_DIR"
    install -d -o "$APP_USER" -g "$APP_USER" -m 0710 "$APP_DIR/shared/instance"
    install -d -o "$APP_USER" -g "$APP_USER" -m 0750 "$APP_DIR/shared/instance/files" "$LOG_DIR"
    install -d -o "$APP_USER" -g "$APP_USER" -m 0700 "$BACKUP_DIR"
    install -d -o "$APP_USER" -g "$APP_USER" -m 0750 "$APP_DIR/shared/instance/run"
    # The monitor counts from here: backups that never work are noticed too.
    if [ ! -e "$APP_DIR/shared/instance/run/last-backup" ]; then
        echo "none yet" >"$APP_DIR/shared/instance/run/last-backup"
        chown "$APP_USER:$APP_USER" "$APP_DIR/shared/instance/run/last-backup"
    fi
    install -d -o "$REDIS_USER" -g "$REDIS_USER" -m 0750 "$REDIS_DIR"
}

secret() {
    openssl rand -hex 32
}

# Makes the settings once, and reads from them what other files need.
make_settings() {
    say "Settings"
    if [ ! -e "$env_file" ]; then
        SECRET_KEY=$(secret) ADMIN_API_KEY=$(secret) MYSQL_PASSWORD=$(secret) REDIS_PASSWORD=$(secret)
        put_template env.production "$env_file" 0600
    fi
    [ -z "$gradio_url" ] || sed -i "s|^GRADIO_URL=.*|GRADIO_URL=$gradio_url|" "$env_file"
    chown "$APP_USER:$APP_USER" "$env_file"
    MYSQL_PASSWORD=$(setting MYSQL_PASSWORD)
    REDIS_PASSWORD=$(setting REDIS_PASSWORD)
}

# --- Servers ---

set_up_redis() {
    say "Redis"
    put_template redis/ghibli.conf "$ETC_DIR/redis/redis-ghibli.conf" 0640
    chgrp "$REDIS_USER" "$ETC_DIR/redis/redis-ghibli.conf"
    systemctl enable --quiet redis-server@ghibli.service
    case $changed in
        *redis-ghibli.conf*) systemctl restart redis-server@ghibli.service ;;
        *) systemctl start redis-server@ghibli.service ;;
    esac
}

set_up_database() {
    say "MariaDB"
    put_template mysql/ghibli.cnf "$ETC_DIR/mysql/mariadb.conf.d/60-ghibli.cnf" 0644
    case $changed in *60-ghibli.cnf*) systemctl restart mariadb.service ;; esac
    # root comes in by the socket, without a password. Word splitting is wanted: tests give a socket of their own.
    ${MARIADB_PROGRAM:-mariadb} <<END
CREATE DATABASE IF NOT EXISTS ghibli CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE USER IF NOT EXISTS 'ghibli'@'127.0.0.1' IDENTIFIED BY '$MYSQL_PASSWORD';
ALTER USER 'ghibli'@'127.0.0.1' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL PRIVILEGES ON ghibli.* TO 'ghibli'@'127.0.0.1';
END
}

# nginx does not start without a certificate, and certbot needs nginx: so one of our own comes first.
link_certificate() {
    if [ -e "/etc/letsencrypt/live/$DOMAIN/fullchain.pem" ]; then
        point "$tls" "/etc/letsencrypt/live/$DOMAIN"
    elif [ ! -e "$tls" ]; then
        mkdir -p "$tls-self-signed"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
            -subj "/CN=$DOMAIN" -addext "subjectAltName=DNS:$DOMAIN" \
            -keyout "$tls-self-signed/privkey.pem" -out "$tls-self-signed/fullchain.pem" 2>/dev/null
        chmod 0600 "$tls-self-signed/privkey.pem"
        point "$tls" "$tls-self-signed"
    fi
}

# --- The files of this release ---

put_files() {
    say "Files of systemd and nginx"
    for unit in "$source"/deploy/systemd/*; do
        put_template "systemd/$(basename "$unit")" "$ETC_DIR/systemd/system/$(basename "$unit")" 0644
    done
    systemctl daemon-reload
    nginx_dir=$ETC_DIR/nginx
    put_template nginx/http.conf "$nginx_dir/conf.d/ghibli.conf" 0644
    put_template nginx/proxy.conf "$nginx_dir/snippets/ghibli-proxy.conf" 0644
    put_template nginx/locations.conf "$nginx_dir/snippets/ghibli-locations.conf" 0644
    put_template nginx/site.conf "$nginx_dir/sites-available/ghibli" 0644
    mkdir -p "$nginx_dir/sites-enabled"
    point "$nginx_dir/sites-enabled/ghibli" "$nginx_dir/sites-available/ghibli"
    # The package's example, which would answer by the bare address.
    [ "$(readlink "$nginx_dir/sites-enabled/default")" != /etc/nginx/sites-available/default ] ||
        rm "$nginx_dir/sites-enabled/default"
    put "$ETC_DIR/letsencrypt/renewal-hooks/deploy/ghibli" 0755 <<END
#!/bin/sh
# nginx takes a renewed certificate into use; written by deploy/install.sh.
systemctl reload nginx.service
END
    # Word splitting is wanted: tests give nginx a main file of their own.
    ${NGINX_PROGRAM:-nginx} -t -q
}

put_monitoring() {
    at=""
    [ "$ETC_DIR" = /etc ] || at="--prefix ${ETC_DIR%/etc}"
    # Word splitting is wanted: an option and its value, or nothing.
    # shellcheck disable=SC2086
    "$source/scripts/monitoring_setup.sh" --systemd --user "$APP_USER" --as "$APP_DIR/current" $at
    systemctl daemon-reload
}

# --- The whole ---

install_release() {
    if [ -z "$(release_of current)" ]; then
        say "Release"
        make_release
        use_release "$release"
        migrate "$release"
    else
        say "There is a release already; deploy/upgrade.sh brings new code."
    fi
}

start_everything() {
    say "Start"
    ! paints_here || systemctl enable --quiet --now ghibli-space.service
    # shellcheck disable=SC2086
    systemctl enable --quiet --now ghibli-web.socket ghibli-web.service $workers \
        ghibli-backup.timer ghibli-monitor.timer
    systemctl enable --quiet nginx.service
    systemctl reload-or-restart nginx.service
}

say_what_is_left() {
    echo
    echo "The site is installed in $APP_DIR. What is left to do:"
    case $(readlink "$tls") in
        *tls-self-signed)
            echo "  1. Have the DNS names A and AAAA of $DOMAIN lead to this machine."
            echo "  2. certbot certonly --webroot -w $ACME_DIR -d $DOMAIN && $APP_DIR/current/deploy/install.sh"
            ;;
    esac
    for name in LEGAL_CONTACT_EMAIL LEGAL_JURISDICTION ADMIN_EMAILS MAIL_URL; do
        [ -n "$(setting $name)" ] || echo "  -  $name in $env_file"
    done
    echo "  -  Firewall: ufw allow OpenSSH && ufw allow 80,443/tcp && ufw enable"
    echo "  -  A copy of $BACKUP_DIR on another machine every night"
    echo "Then: $APP_DIR/current/scripts/check_status.sh   (docs/deploy.md tells the rest)"
}

if [ "$only_files" = yes ]; then
    put_files
    put_monitoring
    exit 0
fi
keep_answers
take_lock
install_packages
make_user_and_folders
make_settings
set_up_redis
set_up_database
install_release
source=$(release_of current)
link_certificate
put_files
put_monitoring
start_everything
if ! site_answers; then
    fail "The site does not work yet: journalctl -u ghibli-web -u ghibli-worker -e"
fi
say_what_is_left
