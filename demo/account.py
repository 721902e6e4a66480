"""Ana's account: the embedded server with her mail in it, and the configuration that finds it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from imaplib import IMAP4, Time2Internaldate
from pathlib import Path

from demo import samples, server

CONFIG = """\
dns = false           # garden.example is nowhere in the DNS

[accounts.demo]
host = "{host}"
port = {port}
security = "plain"    # allowed on this machine's own loopback only
user = "{user}"
password_from = {{ environment = "DEMO_PASSWORD" }}
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A running server and the environment in which the commands find it."""

    port: int
    password: str
    environ: dict[str, str]
    messages: int
    """How many there were at first."""

    def bouncefiler(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Run the real command, as a user would."""
        return subprocess.run(
            ["bouncefiler", *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )

    def newest(self) -> EmailMessage:
        """Return the message that came to INBOX last."""
        with _log_in(self.port, self.password) as imap:
            imap.select("INBOX", readonly=True)
            _, parts = imap.fetch("*", "(BODY.PEEK[])")
        raw = next(part[1] for part in parts if isinstance(part, tuple))
        return message_from_bytes(raw, policy=policy.default)


@contextmanager
def opened(now: datetime) -> Iterator[Account]:
    """Give Ana's account as it looks at `now`; when the block ends, all of it is gone."""
    password = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory(prefix="bouncefiler-demo-") as home, server.running(samples.ME, password) as port:
        mailbox = samples.mailbox(now)
        with _log_in(port, password) as imap:
            imap.create("Sent")
            for folder, mails in (("INBOX", mailbox), ("Sent", samples.sent(now))):
                for sample in mails:
                    flags = r"(\Seen)" if sample.seen else ""
                    imap.append(folder, flags, Time2Internaldate(sample.received_at), sample.raw)
        yield Account(port, password, _settle_in(Path(home), port, password), len(mailbox))


def _log_in(port: int, password: str) -> IMAP4:
    imap = IMAP4(server.HOST, port, timeout=60)
    imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each APPEND waits 40 ms for a delayed ACK
    imap.login(samples.ME, password)
    return imap


def _settle_in(home: Path, port: int, password: str) -> dict[str, str]:
    """Write the configuration, and return the environment in which the commands find it."""
    config = home / "config" / "bouncefiler" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(host=server.HOST, port=port, user=samples.ME), encoding="utf-8")
    return {
        **os.environ,
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "DEMO_PASSWORD": password,
    }
