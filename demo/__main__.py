"""The demo: a year of somebody's mail on an embedded server, and the real commands at work on it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import sysconfig
import tempfile
from datetime import UTC, datetime
from email import message_from_bytes, policy
from imaplib import IMAP4, Time2Internaldate
from pathlib import Path

from demo import samples, server

CONFIG = """\
[accounts.demo]
host = "{host}"
port = {port}
security = "plain"    # allowed on this machine's own loopback only
user = "{user}"
password_from = {{ environment = "DEMO_PASSWORD" }}
"""


def main() -> None:
    """Show preview, clean, the alert, and a second clean that finds nothing. Exits with 1 when a command fails."""
    password = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory(prefix="bouncefiler-demo-") as home, server.running(samples.ME, password) as port:
        with _log_in(port, password) as imap:
            count = _fill(imap)
        environ = _settle_in(Path(home), port, password)
        _say(f"Ana's INBOX has {count} messages: a quiet year, her friends and newsletters, and a bad day today.")
        _run(environ, "preview", "What would be filed, and why? This only looks.")
        _run(environ, "clean", "Now do it.")
        _say("The wave was noticed. This message is in her INBOX now:")
        with _log_in(port, password) as imap:
            _show_newest(imap)
        _run(environ, "clean", "And again? There is nothing left to do.")
        _say("That's all. Nothing of it is left on this machine.")


def _log_in(port: int, password: str) -> IMAP4:
    imap = IMAP4(server.HOST, port, timeout=60)
    imap.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each APPEND waits 40 ms for a delayed ACK
    imap.login(samples.ME, password)
    return imap


def _fill(imap: IMAP4) -> int:
    mailbox = samples.mailbox(datetime.now(UTC))
    for sample in mailbox:
        imap.append("INBOX", r"(\Seen)" if sample.seen else "", Time2Internaldate(sample.received_at), sample.raw)
    return len(mailbox)


def _settle_in(home: Path, port: int, password: str) -> dict[str, str]:
    """Write the configuration, and return the environment in which the commands find it."""
    config = home / "config" / "bouncefiler" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG.format(host=server.HOST, port=port, user=samples.ME), encoding="utf-8")
    scripts = sysconfig.get_path("scripts")
    return {
        **os.environ,
        "PATH": os.pathsep.join((scripts, os.environ.get("PATH", os.defpath))),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_STATE_HOME": str(home / "state"),
        "DEMO_PASSWORD": password,
    }


def _run(environ: dict[str, str], command: str, caption: str) -> None:
    _say(caption)
    print(f"$ bouncefiler {command}\n", flush=True)
    done = subprocess.run(["bouncefiler", command], env=environ, check=False)
    if done.returncode:
        sys.exit(f"bouncefiler {command} ended with {done.returncode}")


def _show_newest(imap: IMAP4) -> None:
    imap.select("INBOX", readonly=True)
    _, parts = imap.fetch("*", "(BODY.PEEK[])")
    raw = next(part[1] for part in parts if isinstance(part, tuple))
    message = message_from_bytes(raw, policy=policy.default)
    body = message.get_body(("plain",))
    print(f"    From: {message['From']}\n    Subject: {message['Subject']}\n")
    print("\n".join(f"    {line}".rstrip() for line in (body.get_content() if body else "").splitlines()), flush=True)


def _say(text: str) -> None:
    print(f"\n*** {text}\n", flush=True)


if __name__ == "__main__":
    main()
