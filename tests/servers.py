"""Throw-away Courier and Cyrus, each in a root directory of its own: their packages bear no mail server beside them.

`scripts/roots.sh` makes the roots (`make test-servers`); here a server is started in one by chroot, which takes root.
Mail comes into them by APPEND, not as files.
"""

from __future__ import annotations

import fcntl
import imaplib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dovecot import HOST, LEASH, PASSWORD, Dovecot, Mail, Mailbox, Variant, await_greeting, free_ports

ROOTS = Path(__file__).parent.parent / ".servers"
USERS = 3_000
"""How many users Courier knows."""
MAX_GAP = 700
"""How many messages are put in and removed again, so that one gets the UID that it is to have."""

_NOBODY = 65_534
_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child")

_COURIER = """\
set -a
. /etc/courier/authdaemonrc
mkdir -p /run/courier/authdaemon
chown -R courier:courier /run/courier
/usr/lib/courier/courier-authlib/authdaemond &
. /etc/courier/imapd-ssl
. /etc/courier/imapd
IMAP_STARTTLS=NO
IMAP_TLS_REQUIRED=0
exec /usr/sbin/couriertcpd -address=127.0.0.1 -maxprocs=200 -maxperip=200 -nodnslookup -noidentlookup "$1" \
    /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
"""
_IMAPD_CONF = """\
configdirectory: /var/lib/cyrus
defaultpartition: default
partition-default: /var/spool/cyrus/mail
admins: cyrus
allowplaintext: yes
altnamespace: no
unixhierarchysep: no
autocreate_post: no
autocreate_quota: 0
autocreate_users: anyone
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_mech_list: PLAIN
"""
_CYRUS_CONF = """\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="imapd -U 30" listen="127.0.0.1:{port}" prefork=1 maxchild=200
}}
"""
_CYRUS = """\
mkdir -p /run/cyrus/proc /run/cyrus/lock /run/cyrus/socket
chown -R cyrus:mail /run/cyrus
exec /usr/sbin/cyrmaster -p /run/cyrus/master.pid
"""


@dataclass(slots=True)
class Rooted(Dovecot):
    """A server of another make: `base` is its root directory."""

    make_user: Callable[[Path, str], None] = lambda _root, _user: None

    def new_user(self) -> str:
        """Return a user name that nobody has used yet."""
        user = f"user{next(self._users)}"
        self.make_user(self.base, user)
        return user

    def mailbox(self, user: str) -> Mailbox:
        """Return the account of this user."""
        return AppendedMailbox(self, user)

    def log(self) -> str:
        """Return what the server has said."""
        return (self.base / "server.log").read_text(errors="replace")

    def stop(self) -> None:
        """End the server; its root directory stays."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


@dataclass(frozen=True, slots=True)
class AppendedMailbox(Mailbox):
    """An account whose mail has come over IMAP."""

    @contextmanager
    def session(self, port: int | None = None) -> Iterator[imaplib.IMAP4]:
        """Log in as another client would."""
        with imaplib.IMAP4(HOST, port or self.dovecot.port, timeout=30.0) as client:
            client.login(self.user, self.dovecot.variant.password)
            yield client

    def store(self, mails: Iterable[Mail], folder: str = "INBOX", uidvalidity: int = 0) -> None:
        """Put messages into the folder, which is made if it is not there; the server chooses UIDVALIDITY."""
        del uidvalidity
        with self.session() as client:
            client.create(f'"{folder}"')  # it may be there
            reached = 0
            for mail in mails:
                for _ in range(self._gap(reached, mail.uid)):
                    reached = _append(client, folder, Mail(b"Subject: filler\r\n\r\n", flags=("\\Deleted",)))
                reached = _append(client, folder, mail)
            client.select(f'"{folder}"')
            found = client.uid("SEARCH", "SUBJECT", "filler")[1][0]
            if found:
                client.uid("EXPUNGE", found.decode().replace(" ", ","))

    def renumberable(self, folder: str) -> bool:
        """Whether the folder has its UIDVALIDITY in a file of Courier's."""
        return self._index(folder).exists()

    def renumber(self, folder: str) -> None:
        """Give the folder another UIDVALIDITY."""
        head, _, rest = self._index(folder).read_text().partition("\n")
        version, _, uidnext = head.split()
        self._index(folder).write_text(f"{version} 1800000000 {uidnext}\n{rest}")

    def _index(self, folder: str) -> Path:
        inner = "" if folder == "INBOX" else "." + folder.removeprefix(self.dovecot.variant.prefix)
        return self.dovecot.base / "home" / self.user / "Maildir" / inner / "courierimapuiddb"

    def grant(self, folder: str, rights: str) -> None:
        """Leave the owner these rights only."""
        with self.session() as client:
            client.setacl(f'"{folder}"', self.user, rights)

    def _gap(self, reached: int, uid: int | None) -> int:
        gap = (uid or reached + 1) - reached - 1
        if gap > MAX_GAP:
            pytest.skip(f"it would take {gap} messages to reach the UID {uid} on this server")
        return gap


def _append(client: imaplib.IMAP4, folder: str, mail: Mail) -> int:
    when = imaplib.Time2Internaldate(mail.received_at)
    status, data = client.append(f'"{folder}"', " ".join(mail.flags), when, mail.raw)
    assert status == "OK", data
    found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
    assert found, data
    return int(found[1])


@contextmanager
def courier() -> Iterator[Dovecot]:
    """Run Courier-IMAP: no MOVE, no UNSELECT, everything below INBOX."""
    variant = Variant(move=False, prefix="INBOX.", separator=".")

    def prepare(root: Path, _port: int) -> None:
        shutil.rmtree(root / "home", ignore_errors=True)
        (root / "home").mkdir()
        secret = subprocess.run(
            ["openssl", "passwd", "-1", PASSWORD], check=True, capture_output=True, text=True
        ).stdout.strip()
        users = root / "etc/courier/userdb"
        users.write_text(
            "".join(
                f"user{n}\tuid={_NOBODY}|gid={_NOBODY}|home=/home/user{n}|mail=/home/user{n}/Maildir|imappw={secret}\n"
                for n in range(USERS)
            )
        )
        users.chmod(0o600)
        subprocess.run(["chroot", root, "makeuserdb"], check=True, capture_output=True)
        # The daemon reads this file by itself, whatever its environment says.
        settings = root / "etc/courier/authdaemonrc"
        settings.write_text(
            re.sub("(?m)^authmodulelist=.*", 'authmodulelist="authuserdb"', settings.read_text("utf-8")), "utf-8"
        )

    with _in_its_root("courier", variant, prepare, _COURIER, _make_maildir) as running:
        yield running


@contextmanager
def cyrus() -> Iterator[Dovecot]:
    """Run Cyrus IMAP with its classic names: everything below INBOX, levels parted by dots."""
    variant = Variant(prefix="INBOX.", separator=".")

    def prepare(root: Path, port: int) -> None:
        (root / "etc/imapd.conf").write_text(_IMAPD_CONF)
        (root / "etc/cyrus.conf").write_text(_CYRUS_CONF.format(port=port))
        for place in ("var/lib/cyrus", "var/spool/cyrus/mail"):
            shutil.rmtree(root / place, ignore_errors=True)
            (root / place).mkdir(parents=True)
            subprocess.run(["chroot", root, "chown", "cyrus:mail", f"/{place}"], check=True)

    with _in_its_root("cyrus", variant, prepare, _CYRUS, _make_sasl_user) as running:
        yield running


def _make_maildir(root: Path, user: str) -> None:
    for part in ("cur", "new", "tmp"):
        (root / "home" / user / "Maildir" / part).mkdir(parents=True)
    for path in (root / "home" / user, *(root / "home" / user).rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)


def _make_sasl_user(root: Path, user: str) -> None:
    command = ["chroot", str(root), "saslpasswd2", "-p", "-c", user]
    subprocess.run(command, input=PASSWORD.encode(), check=True, capture_output=True)
    subprocess.run(["chroot", root, "chown", "cyrus:mail", "/etc/sasldb2"], check=True)


OTHERS = {"courier": courier, "cyrus": cyrus}
"""The servers that are not Dovecot."""


def missing(name: str) -> str:
    """Say why this server cannot be started here; empty when it can."""
    if os.geteuid() != 0:
        return "it is started by chroot, which takes root"
    if not (ROOTS / name / ".ready").exists():
        return "it has no root directory; `make test-servers` makes one, as root on Debian"
    return ""


def require(name: str) -> None:
    """Skip the calling test, and say so, where this server cannot be started."""
    if reason := missing(name):
        pytest.skip(f"not tested on {name}: {reason}")


@contextmanager
def _in_its_root(
    name: str,
    variant: Variant,
    prepare: Callable[[Path, int], None],
    script: str,
    make_user: Callable[[Path, str], None],
) -> Iterator[Dovecot]:
    root = ROOTS / name
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time in each root
        (port,) = free_ports(1)
        prepare(root, port)
        with (root / "server.log").open("w") as log:
            process = subprocess.Popen(
                # In a process namespace of their own, as these servers leave the process group: all end with the first.
                ["sh", "-c", LEASH, "sh", *_NAMESPACE, "chroot", str(root), "sh", "-c", script, name, str(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        server = Rooted(root, variant, port, 0, 0, process, (_NOBODY, _NOBODY), make_user=make_user)
        try:
            await_greeting(server)
            yield server
        finally:
            server.stop()
