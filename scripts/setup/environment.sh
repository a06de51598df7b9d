#!/bin/sh
# Makes a virtual environment from a requirements file, unless it already stands in just that state.
# Called by the Makefile: environment.sh FOLDER REQUIREMENTS [FILES THAT IT INCLUDES...]
# Which package index is asked, and through which proxy, is pip's own configuration.
set -eu

folder=$1
requirements=$2
shift
python=${PYTHON:-python3}
packages="python3 python3-venv python3-full"

fail() {
    echo "$1" >&2
    exit 1
}

install_venv() {
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "Installing python3-venv with apt-get."
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    else
        fail "Python's venv module is missing. On Debian and Ubuntu: apt-get install $packages"
    fi
}

# The stamp's name holds a hash of everything that decides what is installed, so a change asks for a new one.
# Plain shell: this part runs at every `make run`, and starting Python would cost more than all of it.
stamp_of() {
    echo ".state/$(echo "$1" | tr '/' '-').$(cat "$@" | cksum | tr -d ' ')"
}
stamp=$(stamp_of "$@")

# The commands inside an environment name its folder, so one that was moved along with the checkout is of no use.
usable() {
    [ -x "$folder/bin/python" ] && grep -qF "$(cd "$folder" && pwd -P)" "$folder/pyvenv.cfg"
}

if [ -e "$stamp" ] && usable; then
    exit 0
fi

command -v "$python" >/dev/null || fail "Python 3.11 or newer is missing. On Debian and Ubuntu: apt-get install $packages"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1). Name another one: make PYTHON=python3.12 run"
"$python" -c 'import venv, ensurepip' 2>/dev/null || install_venv

echo "Setting up $folder from $requirements (once; the first time takes a minute or two)."
usable || "$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --requirement "$requirements" ||
    fail "Installing $requirements failed; pip's lines are above."
mkdir -p .state
rm -f .state/"$(echo "$requirements" | tr '/' '-')".*
touch "$stamp"
shift
for included in "$@"; do
    # What a file includes is installed with it: an environment for the tests is one for `make run` too.
    rm -f .state/"$(echo "$included" | tr '/' '-')".*
    touch "$(stamp_of "$included")"
done
