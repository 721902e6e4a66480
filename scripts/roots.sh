#!/bin/sh
# Make, as root on Debian, a root directory for each server whose package gets along with no other mail server:
# .servers/NAME holds a small Debian with that server in it. Nothing in it is started here; the tests do that by chroot.
set -u

roots=${1:?usage: roots.sh DIRECTORY}
suite=bookworm

say() { printf '\n*** %s\n\n' "$*" >&2; }

if [ "$(id -u)" != 0 ] || [ ! -e /etc/debian_version ]; then
    say "Cyrus and Courier are NOT TESTED: their roots are made by root on Debian"
    exit 0
fi
command -v debootstrap >/dev/null || apt-get install -qq -y --no-install-recommends debootstrap >/dev/null
command -v debootstrap >/dev/null || { say "Cyrus and Courier are NOT TESTED: there is no debootstrap"; exit 0; }

make_root() {
    name=$1 packages=$2
    [ ! -e "$roots/$name/.ready" ] || return 0
    echo "Making $roots/$name: a Debian $suite with $packages (some minutes, once)..."
    rm -rf "${roots:?}/$name"
    mkdir -p "$roots"
    if debootstrap --variant=minbase --include="$packages" $suite "$roots/$name" >"$roots/$name.log" 2>&1; then
        touch "$roots/$name/.ready"
    else
        say "COULD NOT MAKE $roots/$name (see $roots/$name.log): $name is not tested"
    fi
}

# Both packages want some mail server beside them; msmtp-mta is only a program that hands mail on.
make_root courier courier-imap,courier-authlib-userdb,msmtp-mta
make_root cyrus cyrus-imapd,sasl2-bin,libsasl2-modules,msmtp-mta
exit 0
