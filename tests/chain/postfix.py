"""A throw-away Postfix: own directories, own ports on loopback, nothing of the system's configuration read or touched.

It takes the mail of the people of garden.example on one port, and hands what is for them to an LMTP server. On another
port it is the mail exchanger of other.example, where nobody is known.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

POSTFIX = Path("/usr/sbin/postfix")

# meta_directory, in the package's own place, only lists which directories a queue has.
MAIN_CF = """\
compatibility_level = 3.6
config_directory = {root}/etc
meta_directory = /etc/postfix
queue_directory = {root}/queue
data_directory = {root}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
shlib_directory = /usr/lib/postfix
maillog_file = {root}/mail.log
maillog_file_prefixes = {root}
myhostname = smtp.garden.example
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.1/32
smtpd_relay_restrictions = permit_mynetworks, reject
relay_domains = other.example
smtp_host_lookup = native
lmtp_host_lookup = native
# For all other domains there is no way, so nothing can leave this machine.
default_transport = error:there is no way to there
transport_maps = inline:{{
  {{ garden.example = lmtp:inet:127.0.0.1:{lmtp_port} }},
  {{ other.example = smtp:[127.0.0.1]:{mx_port} }} }}
"""

MASTER_CF = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{mx_port} inet n - n - - smtpd
  -o myhostname=mx.other.example
  -o relay_recipient_maps=inline:{{someone@other.example=here}}
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
smtp      unix - - n - - smtp
lmtp      unix - - n - - lmtp
error     unix - - n - - error
retry     unix - - n - - error
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True, slots=True)
class Postfix:
    """Where it takes mail, and where it writes what it does."""

    port: int
    log: Path


def require() -> None:
    """Skip the calling test, and say so, where Postfix can't be started."""
    if not POSTFIX.exists():
        pytest.skip(f"{POSTFIX} is not installed (Debian: postfix): not tested with bounces of a real server")
    if os.geteuid() != 0:
        pytest.skip("only root can start Postfix: not tested with bounces of a real server")


@contextmanager
def running(lmtp_port: int) -> Iterator[Postfix]:
    """Run Postfix in front of this LMTP server; it ends, with its queue, when the block does."""
    # Not below pytest's own directory: Postfix's processes give up root, and could not enter that.
    root = Path(tempfile.mkdtemp(prefix="bouncefiler-postfix-"))
    try:
        port = _lay_out(root, lmtp_port)
        _postfix(root, "start")
        try:
            yield Postfix(port, root / "mail.log")
        finally:
            _postfix(root, "stop")
    finally:
        shutil.rmtree(root)


def _lay_out(root: Path, lmtp_port: int) -> int:
    root.chmod(0o755)
    for name in ("etc", "queue", "data"):
        (root / name).mkdir()
    os.chown(root / "data", pwd.getpwnam("postfix").pw_uid, 0)
    port, mx_port = _free_ports(2)
    main, master = root / "etc/main.cf", root / "etc/master.cf"
    main.write_text(MAIN_CF.format(root=root, lmtp_port=lmtp_port, mx_port=mx_port), encoding="ascii")
    master.write_text(MASTER_CF.format(port=port, mx_port=mx_port), encoding="ascii")
    return port


def _free_ports(number: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _postfix(root: Path, command: str) -> None:
    done = subprocess.run(
        [POSTFIX, "-c", root / "etc", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        log = root / "mail.log"
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise RuntimeError(f"postfix {command} failed: {done.stdout}{done.stderr}\n{said}")
