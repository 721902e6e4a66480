#!/bin/sh
# Install, on Debian and as root, the programs that the tests start for themselves; anywhere else say which are missing.
# Names of further programs can follow, each in a package of its name.
# The packages' own services are not started, nothing is configured, and nothing is removed to make room.
set -u

# what must be there, and the package that brings it
wanted='
/usr/sbin/dovecot           dovecot-core
/usr/lib/dovecot/imap       dovecot-imapd
/usr/lib/dovecot/lmtp       dovecot-lmtpd
/usr/sbin/postfix           postfix
/usr/bin/systemd-analyze    systemd
/usr/bin/openssl            openssl
/usr/bin/chromium           chromium
/usr/bin/pdftotext          poppler-utils
/bin/kill                   procps
'

for more in "$@"; do # such as imapfilter, which only the benchmarks want
    wanted="$wanted/usr/bin/$more $more
"
done

missing() { echo "$wanted" | while read -r file package; do [ -z "$file" ] || [ -e "$file" ] || echo "$package"; done; }

say() { printf '\n*** %s\n\n' "$*" >&2; }

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if [ ! -e /etc/debian_version ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "NOT INSTALLED: $packages- the tests that need them are skipped. On Debian: sudo apt install --no-install-recommends $packages"
    exit 0
fi

echo "Installing the servers that the tests start: $packages..."
policy=/usr/sbin/policy-rc.d # a package asks it whether it may start its service: 101 is no
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT TERM
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true # with old lists it may work still
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections || true
for package in $packages; do # one by one, so that one refusal (another mail server is there) leaves the others
    said=$(apt-get install -qq -y --no-install-recommends --no-remove "$package" 2>&1) || echo "$said" >&2
done

packages=$(missing | tr '\n' ' ')
[ -z "$packages" ] || say "COULD NOT INSTALL: $packages- the tests that need them are skipped (with CI=true they fail)."
exit 0
