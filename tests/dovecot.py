"""A throw-away Dovecot (2.3) in a directory of its own, on loopback ports of its own; tests and benchmarks start it.

Every user name is let in with the one password, and has an empty account until something is delivered to it. So tests
share a server and never an account.
"""

from __future__ import annotations

import grp
import hashlib
import imaplib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from string import Template

import pytest

from bouncefiler.settings import Security, Server

DOVECOT = Path("/usr/sbin/dovecot")
PASSWORD = "correct horse"
HOST = "127.0.0.1"

_STARTUP_SECONDS = 20.0

# The server ends with whoever has started it, even if that is killed: then the pipe closes that `read` waits on.
LEASH = '("$@"; kill -KILL 0) & read _; kill -KILL 0'
_FLAG_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}

# What Dovecot 2.3 offers after login, in its own order.
_CAPABILITIES = """
IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT
MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH
ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE
LITERAL+ NOTIFY SPECIAL-USE
"""

_CONFIG = Template("""
base_dir = $base/run
state_dir = $base/state
log_path = $base/log
protocols = imap lmtp
listen = $host
default_internal_user = $internal
default_internal_group = $internal_group
default_login_user = $login
first_valid_uid = 1
mail_location = $location
mail_fsync = never
maildir_stat_dirs = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
ssl = yes
ssl_cert = <$base/cert.pem
ssl_key = <$base/key.pem
imap_capability = $capabilities
mail_max_userip_connections = 100
$extra
passdb {
  driver = static
  args = password={PLAIN.HEX}$password
}
userdb {
  driver = static
  args = uid=$uid gid=$gid home=$base/home/%u allow_all_users=yes
}
namespace inbox {
  inbox = yes
  prefix = $prefix
  separator = $separator
  mailbox Trash {
    special_use = \\Trash
  }
  mailbox Quarantine {
    special_use = \\Junk
  }
  mailbox Sent {
    special_use = \\Sent
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  process_min_avail = 1
  service_count = 0
  inet_listener imap {
    port = $port
  }
  inet_listener imaps {
    port = $tls_port
    ssl = yes
  }
}
service imap {
  process_min_avail = 1
}
service lmtp {
  inet_listener lmtp {
    port = $lmtp_port
  }
}
service stats {
  chroot =
}
""")

_QUOTA = Template("""
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:messages=$messages
}
""")

_ACL = """
mail_plugins = acl
plugin {
  acl = vfile
}
"""


_AUTHORITY = Template("""
[ca]
default_ca = here
[here]
database = $directory/index
serial = $directory/serial
new_certs_dir = $directory
default_md = sha256
policy = anything
x509_extensions = server
[anything]
commonName = supplied
[server]
$names
[req]
distinguished_name = asked
[asked]
""")


@dataclass(frozen=True, slots=True)
class Variant:
    """What kind of server it is to be."""

    move: bool = True
    uidplus: bool = True
    prefix: str = ""
    separator: str = "/"
    quota_messages: int | None = None
    acl: bool = False
    store: str = "maildir:~/Maildir"
    password: str = PASSWORD
    without: tuple[str, ...] = ()
    """Further capabilities to keep quiet about."""
    extra: str = ""
    """More lines of configuration."""

    def capabilities(self) -> str:
        left_out = {*self.without, *([] if self.move else ["MOVE"]), *([] if self.uidplus else ["UIDPLUS"])}
        return " ".join(name for name in _CAPABILITIES.split() if name not in left_out)

    def plugins(self) -> str:
        quota = "" if self.quota_messages is None else _QUOTA.substitute(messages=self.quota_messages)
        return quota + (_ACL if self.acl else "") + self.extra


@dataclass(frozen=True, slots=True)
class Mail:
    """A message to put into a mailbox; `raw` is stored as it is."""

    raw: bytes
    received_at: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    flags: tuple[str, ...] = ()
    uid: int | None = None
    """The UID to give it; None takes the next one."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message as it is in a folder, for comparing before and after."""

    uid: int
    flags: frozenset[str]
    received_at: str
    sha256: str


Snapshot = dict[str, tuple[Held, ...]]


@dataclass(slots=True)
class Dovecot:
    """A running server."""

    base: Path
    variant: Variant
    port: int
    tls_port: int
    lmtp_port: int
    process: subprocess.Popen[bytes]
    owner: tuple[int, int]
    _users: Iterator[int] = field(default_factory=count)

    @property
    def certificate(self) -> Path:
        """The server's own certificate, for localhost and 127.0.0.1, signed by itself."""
        return self.base / "cert.pem"

    def new_user(self) -> str:
        """Return a user name that nobody has used yet."""
        return f"user{next(self._users)}"

    def server(self, user: str, security: Security = Security.PLAIN) -> Server:
        """Say how to reach the account of this user."""
        port = self.tls_port if security is Security.TLS else self.port
        ca_file = None if security is Security.PLAIN else self.certificate
        return Server(HOST, port, user, security, ca_file=ca_file, timeout=30.0)

    def mailbox(self, user: str) -> Mailbox:
        """Return the account of this user, to fill it and look at it with nothing of bouncefiler in between."""
        return Mailbox(self, user)

    def await_leave(self, user: str, seconds: float = 30.0) -> None:
        """Wait until no process of the server works for this user any more: one may go on after its client was killed.

        Raises TimeoutError.
        """
        command = ["doveadm", "-c", str(self.base / "dovecot.conf"), "who", "-1", user]
        deadline = time.monotonic() + seconds
        while user in subprocess.run(command, capture_output=True, text=True, check=False).stdout:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server has not let go of {user}")
            time.sleep(0.1)

    def log(self) -> str:
        """Return what the server has logged."""
        path = self.base / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End the server and remove its directory."""
        # Dovecot's own way out takes a second; all that was started is one process group, so it can go at once.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        shutil.rmtree(self.base, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One user's account, seen from the server's side."""

    dovecot: Dovecot
    user: str

    @contextmanager
    def session(self, port: int | None = None) -> Iterator[imaplib.IMAP4]:
        """Log in as another client would; `port` is that of a proxy, if it is to go through one."""
        secret = f"\0{self.user}\0{self.dovecot.variant.password}".encode()
        with imaplib.IMAP4(HOST, port or self.dovecot.port, timeout=30.0) as client:
            client.authenticate("PLAIN", lambda _challenge: secret)
            yield client

    def store(self, mails: Iterable[Mail], folder: str = "INBOX", uidvalidity: int = 1_700_000_000) -> None:
        """Write a folder that nobody has opened yet straight into its maildir: fast, and with UIDs of one's choice."""
        place = self._maildir(folder)
        for part in ("cur", "new", "tmp"):
            (place / part).mkdir(parents=True, exist_ok=True)
        lines, uid = [], 0
        for mail in mails:
            uid = mail.uid or uid + 1
            name = f"{int(mail.received_at.timestamp())}.M{uid}.example,S={len(mail.raw)}"
            path = place / "cur" / (name + ":2," + "".join(sorted(_FLAG_LETTERS[flag] for flag in mail.flags)))
            path.write_bytes(mail.raw)
            os.utime(path, (mail.received_at.timestamp(),) * 2)
            os.chown(path, *self.dovecot.owner)
            lines.append(f"{uid} :{name}\n")
        guid = hashlib.md5(f"{self.user} {folder}".encode(), usedforsecurity=False).hexdigest()
        (place / "dovecot-uidlist").write_text(f"3 V{uidvalidity} N{uid + 1} G{guid}\n" + "".join(lines))
        self._give_to_owner(place)

    def deliver(self, mail: Mail, folder: str = "INBOX") -> int:
        """APPEND a message, as another client would; return its UID."""
        when = imaplib.Time2Internaldate(mail.received_at)
        with self.session() as client:
            status, data = client.append(_quoted(folder), " ".join(mail.flags), when, mail.raw)
            assert status == "OK", data
            found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
            assert found, data
            return int(found[1])

    def create(self, *folders: str) -> None:
        """Make folders; names are the server's own."""
        with self.session() as client:
            for folder in folders:
                _ok(client.create(_quoted(folder)))

    def flag(self, folder: str, uids: str, flag: str) -> None:
        """Set a flag, as another client would."""
        with self.session() as client:
            _ok(client.select(_quoted(folder)))
            _ok(client.uid("STORE", uids, "+FLAGS.SILENT", f"({flag})"))

    def expunge(self, folder: str, uids: str) -> None:
        """Remove messages for good, as another client would."""
        with self.session() as client:
            _ok(client.select(_quoted(folder)))
            _ok(client.uid("STORE", uids, "+FLAGS.SILENT", "(\\Deleted)"))
            _ok(client.uid("EXPUNGE", uids))

    def renumberable(self, folder: str) -> bool:
        """Whether the folder can be given another UIDVALIDITY from outside."""
        return True

    def renumber(self, folder: str) -> None:
        """Give the folder another UIDVALIDITY, as after a restore of the server."""
        config = str(self.dovecot.base / "dovecot.conf")
        command = [
            "doveadm",
            "-c",
            config,
            "mailbox",
            "update",
            "-u",
            self.user,
            "--uid-validity",
            "1800000000",
            folder,
        ]
        subprocess.run(command, check=True, capture_output=True)

    def grant(self, folder: str, rights: str) -> None:
        """Leave the owner of the account these rights on the folder only (RFC 4314); needs a server with acl."""
        place = self._maildir(folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / "dovecot-acl").write_text(f"owner {rights}\n")
        self._give_to_owner(place)

    def snapshot(self) -> Snapshot:
        """Return all that is in the account: a dict from folder (the server's name) to its messages."""
        with self.session() as client:
            return self.look(client)

    def look(self, client: imaplib.IMAP4) -> Snapshot:
        """Take a snapshot over this session, and leave no folder open in it."""
        taken = {folder: tuple(_held(client, folder)) for folder in self.folders(client)}
        _ok(client.close())  # opened by EXAMINE, so nothing is expunged (RFC 3501, 6.4.2)
        return taken

    def subscribed(self) -> tuple[str, ...]:
        """Return the server's names of the subscribed folders."""
        with self.session() as client:
            return _listed(client.lsub())

    def folders(self, client: imaplib.IMAP4) -> tuple[str, ...]:
        """Return the server's names of the folders that can be selected."""
        return _listed(client.list())

    def _maildir(self, folder: str) -> Path:
        """Where Maildir++ keeps it: INBOX at the top, a/b in .a.b beside it."""
        assert self.dovecot.variant.store.startswith("maildir:~/Maildir"), "this server keeps no Maildir"
        top = self.dovecot.base / "home" / self.user / "Maildir"
        inner = folder.removeprefix(self.dovecot.variant.prefix)
        return top if inner == "INBOX" else top / ("." + inner.replace(self.dovecot.variant.separator, "."))

    def _give_to_owner(self, place: Path) -> None:
        """Give a folder, the way to it and what lies in it, but not its messages, to the owner of the mail."""
        homes = self.dovecot.base / "home"
        above = [path for path in place.parents if path.is_relative_to(homes / self.user)]
        for path in (*above, place, *place.iterdir()):
            os.chown(path, *self.dovecot.owner)


@contextmanager
def running(variant: Variant = Variant()) -> Iterator[Dovecot]:
    """Start a server, and end it when the block is left."""
    dovecot = start(variant)
    try:
        yield dovecot
    finally:
        dovecot.stop()


def start(variant: Variant) -> Dovecot:
    """Start a server and wait until it greets."""
    base = Path(tempfile.mkdtemp(prefix="bouncefiler-dovecot-"))
    base.chmod(0o755)
    make_certificate(base / "cert.pem", base / "key.pem")
    owner, internal, login = _identities()
    (base / "home").mkdir()
    os.chown(base / "home", owner.pw_uid, owner.pw_gid)
    port, tls_port, lmtp_port = free_ports(3)
    config = base / "dovecot.conf"
    config.write_text(
        _CONFIG.substitute(
            base=base,
            host=HOST,
            internal=internal.pw_name,
            internal_group=grp.getgrgid(internal.pw_gid).gr_name,
            login=login.pw_name,
            location=variant.store,
            capabilities=variant.capabilities(),
            extra=variant.plugins(),
            password=variant.password.encode().hex(),
            uid=owner.pw_uid,
            gid=owner.pw_gid,
            prefix=variant.prefix,
            separator=variant.separator,
            port=port,
            tls_port=tls_port,
            lmtp_port=lmtp_port,
        )
    )
    command = ["sh", "-c", LEASH, "sh", str(DOVECOT), "-F", "-c", str(config)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    dovecot = Dovecot(base, variant, port, tls_port, lmtp_port, process, (owner.pw_uid, owner.pw_gid))
    try:
        await_greeting(dovecot)
    except BaseException:
        dovecot.stop()
        raise
    return dovecot


def make_certificate(certificate: Path, key: Path, *, name: str = "localhost", expired: bool = False) -> None:
    """Make a certificate for this host name, signed by itself; one for localhost is for 127.0.0.1 as well."""
    names = f"subjectAltName = DNS:{name}" + (f", IP:{HOST}" if name == "localhost" else "")
    end = "20200102000000Z" if expired else "20990101000000Z"
    with tempfile.TemporaryDirectory() as made:
        config = Path(made) / "openssl.cnf"
        (Path(made) / "index").touch()
        config.write_text(_AUTHORITY.substitute(directory=made, names=names))
        request = ["openssl", "req", "-config", str(config), "-new", "-newkey", "ec", "-nodes", "-keyout", str(key)]
        request += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}", "-out", f"{made}/request"]
        sign = ["openssl", "ca", "-config", str(config), "-batch", "-notext", "-selfsign", "-rand_serial"]
        sign += ["-keyfile", str(key), "-in", f"{made}/request", "-startdate", "20200101000000Z", "-enddate", end]
        for command in (request, [*sign, "-out", str(certificate)]):
            subprocess.run(command, check=True, capture_output=True)


def _identities() -> tuple[pwd.struct_passwd, pwd.struct_passwd, pwd.struct_passwd]:
    """Who owns the mail, and who runs Dovecot's own and its login processes: as root the package's users."""
    if os.geteuid() == 0:
        return pwd.getpwnam("nobody"), pwd.getpwnam("dovecot"), pwd.getpwnam("dovenull")
    me = pwd.getpwuid(os.geteuid())
    return me, me, me


def free_ports(number: int) -> list[int]:
    """Return so many ports of this machine that nobody listens on."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def await_greeting(dovecot: Dovecot) -> None:
    """Wait until the server greets. Raises RuntimeError, with what it has logged, when it does not."""
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline and dovecot.process.poll() is None:
        with suppress(OSError), socket.create_connection((HOST, dovecot.port), 1.0) as sock:
            if sock.recv(64).startswith(b"* OK"):
                return
        time.sleep(0.01)
    raise RuntimeError(f"the server did not start:\n{dovecot.log()}")


def _held(client: imaplib.IMAP4, folder: str) -> Iterator[Held]:
    _ok(client.select(_quoted(folder), readonly=True))
    status, data = client.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    assert status == "OK", data
    for item in data:
        if isinstance(item, tuple):
            head = item[0].decode()
            yield Held(
                int(_found(r"UID (\d+)", head)),
                frozenset(_found(r"FLAGS \(([^)]*)\)", head).split()) - {"\\Recent"},
                _found(r'INTERNALDATE "([^"]*)"', head),
                hashlib.sha256(item[1]).hexdigest(),
            )


def _listed(answer: tuple[str, Sequence[object]]) -> tuple[str, ...]:
    lines = [line.decode() for line in answer[1] if isinstance(line, bytes)]
    return tuple(_unquoted(_found(r'\) "." (.*)$', line)) for line in lines if "\\Noselect" not in line)


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return found[1]


def _quoted(folder: str) -> str:
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith('"') else name


def _ok(answer: tuple[str, Sequence[object]]) -> None:
    assert answer[0] == "OK", answer


def require() -> None:
    """Skip the calling test, and say so, where there is no Dovecot."""
    if not DOVECOT.exists():
        pytest.skip(
            f"{DOVECOT} is not installed (Debian: dovecot-imapd, dovecot-lmtpd): not tested against a real server"
        )
