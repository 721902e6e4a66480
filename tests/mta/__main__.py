# ruff: noqa: T201 - this is a command, its output is its purpose
"""Let mail servers write true bounces: python -m tests.mta [--write]

Needs root, apt-get and Linux. The packages are unpacked, not installed, and laid over /usr, /etc and /var in a mount
and a network of this process's own: no octet leaves the machine, and nothing on it changes. With --write the bounces
are put into tests/mail; else they are judged and printed in one line each.
"""

from __future__ import annotations

import os
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

from bouncefiler.recognition.classify import classify
from bouncefiler.recognition.message import read
from bouncefiler.recognition.rulebook import load
from tests.mta.sink import BAD_CONTENT, REFUSALS, SENDER, Sink, listening

PACKAGES = ("postfix", "exim4-daemon-light", "exim4-base", "libidn12", "dma", "opensmtpd")
USERS = ("postfix", "postdrop", "Debian-exim", "dma", "opensmtpd", "opensmtpq", "smtpd", "smtpq")
MAIL = Path(__file__).parents[1] / "mail"
LETTER = (
    f"From: Ana <{SENDER}>\r\nTo: friends@other.example\r\nSubject: Seeds for the spring\r\n\r\nThey have come!\r\n"
)
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """How one server is set up, started and handed a letter."""

    folder: str
    files: dict[str, str]
    start: tuple[tuple[str, ...], ...]
    submit: Callable[[tuple[str, ...]], None]
    stop: tuple[str, ...] = ()
    """Where it must give way to the next; all end with the process namespace."""


def _by_smtp(recipients: tuple[str, ...]) -> None:
    with smtplib.SMTP("127.0.0.1", 2525, timeout=PATIENCE) as client:
        client.sendmail(SENDER, list(recipients), LETTER)


def _by_command(*command: str) -> Callable[[tuple[str, ...]], None]:
    def submit(recipients: tuple[str, ...]) -> None:
        letter = LETTER.replace("\r\n", "\n").encode()
        subprocess.run((*command, *recipients), input=letter, check=False, timeout=PATIENCE)

    return submit


SERVERS = (
    Server(
        "postfix",
        {
            "/etc/postfix/main.cf": (
                "compatibility_level = 3.6\nmyhostname = mail.garden.example\nmydestination =\n"
                "relayhost = [127.0.0.2]:25\nmynetworks = 127.0.0.0/8\ninet_interfaces = 127.0.0.1\n"
                "inet_protocols = ipv4\nsmtp_host_lookup = native\nalias_maps =\nalias_database =\n"
                "maillog_file = /var/log/postfix.log\n"
            ),
            "/etc/postfix/master.cf": (
                "2525 inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n"
                "rewrite unix - - n - - trivial-rewrite\nbounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\n"
                "trace unix - - n - 0 bounce\nsmtp unix - - n - - smtp\nerror unix - - n - - error\n"
                "retry unix - - n - - error\nanvil unix - - n - 1 anvil\nproxymap unix - - n - - proxymap\n"
                "postlog unix-dgram n - n - 1 postlogd\n"
            ),
        },
        (("chown", "postfix", "/var/lib/postfix"), ("postfix", "start")),
        _by_smtp,
        ("postfix", "stop"),
    ),
    Server(
        "exim",
        {
            "/etc/exim4/exim4.conf": (
                "primary_hostname = mail.garden.example\nlog_selector = +all\nlog_file_path = /var/log/exim4/%slog\n"
                "spool_directory = /var/spool/exim4\nkeep_environment =\ntrusted_users = root\ntls_advertise_hosts =\n"
                "begin routers\nall:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n"
                "  transport = smtp\nbegin transports\nsmtp:\n  driver = smtp\n  hosts_try_fastopen =\n"
            ),
        },
        (
            ("mkdir", "-p", "/var/log/exim4", "/var/spool/exim4"),
            ("chown", "Debian-exim:Debian-exim", "/var/log/exim4", "/var/spool/exim4"),
        ),
        _by_command("exim4", "-odf", "-oi", "-f", SENDER),
    ),
    Server(
        "dragonfly",
        {
            "/etc/dma/dma.conf": "SMARTHOST 127.0.0.1\nMAILNAME mail.garden.example\n",
            "/etc/mailname": "mail.garden.example\n",
        },
        (),
        _by_command("dma", "-D", "-i", "-f", SENDER),
    ),
    Server(
        "opensmtpd",
        {
            "/etc/smtpd.conf": (
                "listen on 127.0.0.1 port 2525 hostname mail.garden.example\n"
                'action "out" relay host smtp://127.0.0.1\nmatch from any for any action "out"\n'
            ),
            "/etc/mailname": "mail.garden.example\n",
        },
        (("sh", "-c", "smtpd -F >/var/log/smtpd.log 2>&1 & sleep 1"),),
        _by_smtp,
    ),
)


def main(arguments: list[str]) -> int:
    """Enter the private mount and network, then let each server write."""
    if os.environ.get("BOUNCEFILER_MTA_ROOT"):
        return _inside(Path(os.environ["BOUNCEFILER_MTA_ROOT"]), write="--write" in arguments)
    root = Path(tempfile.mkdtemp(prefix="bouncefiler-mta-"))
    root.chmod(0o755)
    try:
        _unpack(root)
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "tests.mta"]
        return subprocess.run(
            [*command, *arguments], env={**os.environ, "BOUNCEFILER_MTA_ROOT": str(root)}, check=False
        ).returncode
    finally:
        shutil.rmtree(root)


def _unpack(root: Path) -> None:
    (root / "debs").mkdir()
    _run("apt-get", "-qq", "download", "-o", "APT::Sandbox::User=root", *PACKAGES, cwd=root / "debs")
    for package in (root / "debs").iterdir():
        _run("dpkg-deb", "-x", str(package), str(root / "unpacked"))


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=300, stdin=subprocess.DEVNULL)


def _inside(root: Path, *, write: bool) -> int:
    _run("mount", "-t", "tmpfs", "tmpfs", str(root / "debs"))  # what is written below never reaches a disk
    for place in ("usr", "etc", "var"):
        upper, work = root / "debs" / f"{place}-upper", root / "debs" / f"{place}-work"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir={root}/unpacked/{place}:/{place},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", layers, f"/{place}")
    _run("ip", "link", "set", "lo", "up")
    _add_users()
    Path("/etc/hosts").write_text("127.0.0.1 localhost mail.garden.example\n", encoding="ascii")
    with listening() as sink:
        silent = [server.folder for server in SERVERS if not _let_write(server, sink, write=write)]
    print(f"no bounces of: {', '.join(silent)}" if silent else "each server wrote")
    return 1 if silent else 0


def _add_users() -> None:
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    for number, user in enumerate(user for user in USERS if f"\n{user}:" not in known):
        with (
            Path("/etc/passwd").open("a", encoding="utf-8") as passwd,
            Path("/etc/group").open("a", encoding="utf-8") as group,
        ):
            passwd.write(f"{user}:x:{700 + number}:{700 + number}::/var/empty:/bin/false\n")
            group.write(f"{user}:x:{700 + number}:\n")


def _let_write(server: Server, sink: Sink, *, write: bool) -> bool:
    for name, content in server.files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="ascii")
    for command in server.start:
        _run(*command)
    sink.taken.clear()
    server.submit(tuple(REFUSALS))
    server.submit((BAD_CONTENT,))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(sink.taken) < 2:
        time.sleep(0.2)
    time.sleep(1)
    if server.stop:
        subprocess.run(server.stop, check=False, timeout=PATIENCE)
    for number, bounce in enumerate(sorted(sink.taken, key=len, reverse=True), start=1):
        _keep(server.folder, number, bounce, write=write)
    return bool(sink.taken)


def _keep(folder: str, number: int, bounce: bytes, *, write: bool) -> None:
    verdict = classify(read(bounce), load())
    said = ", ".join(f"{recipient.final_recipient} {recipient.cause}" for recipient in verdict.recipients)
    print(f"{folder} {number}: {message_from_bytes(bounce)['Subject']}: {verdict.kind}, {verdict.format}: {said}")
    if write:
        (MAIL / folder / f"true-{number}.eml").write_bytes(bounce)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
