#!/bin/sh
# Make .venv with Python 3.11 or later if it is not there, and install into it what the arguments (pip's) say.
# PYTHON names the interpreter to take; otherwise python3, or the newest of python3.x that is new enough.
set -eu

new_enough() { command -v "$1" >/dev/null && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for python in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if new_enough "$python"; then echo "$python"; return; fi
    done
}

may_install() { [ -e /etc/debian_version ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Debian cuts the venv module out of its Python: `import venv` works without it, ensurepip does not.
can_make_venv() { [ -n "$1" ] && "$1" -c 'import ensurepip, venv' 2>/dev/null; }

make_venv() {
    python=$(find_python)
    if ! can_make_venv "$python" && may_install; then
        echo "Installing python3-venv (Debian keeps it apart from python3) ..."
        apt-get update -qq || true
        export DEBIAN_FRONTEND=noninteractive
        said=$(apt-get install -qq -y --no-install-recommends python3-venv 2>&1) || echo "$said" >&2
        python=$(find_python)
    fi
    if [ -z "$python" ]; then
        echo "No Python 3.11 or later was found. Install one, or name it: make PYTHON=/path/to/python3" >&2
        exit 1
    fi
    if ! can_make_venv "$python"; then
        echo "$python cannot make a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
    echo "Making .venv with $("$python" --version) ..."
    "$python" -m venv .venv
    # --group (PEP 735) is known to pip from 25.1 on.
    .venv/bin/pip --disable-pip-version-check install -q 'pip>=25.1'
}

new_enough .venv/bin/python || { rm -rf .venv; make_venv; }
echo "Installing bouncefiler and what it needs from PyPI ..."
.venv/bin/pip --disable-pip-version-check install -q "$@"
