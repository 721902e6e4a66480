"""What reading a folder of sent mail for the first time costs, beside a raw FETCH of the same header fields.

python -m benchmarks.sent [MESSAGES]

A throw-away Dovecot on loopback. The ratios are between rows of one table; the times are this machine's. "listed" is a
folder as a mail client leaves it, the fields of its list in the server's cache; "unlisted" one whose index is gone, so
that the server opens every message (which it finds in the page cache here: a disk would be slower).
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.clean import timed
from benchmarks.floor import Line
from benchmarks.proxy import Proxy, Traffic
from benchmarks.results import Cost
from benchmarks.stock import _LISTING
from bouncefiler import sent
from bouncefiler.edge import imap
from bouncefiler.edge.store import open_store
from bouncefiler.settings import Security, Server
from tests.dovecot import HOST, PASSWORD, Dovecot, Mail, running

RUNS = 3
USER = "bench"
NOW = datetime(2026, 11, 1, tzinfo=UTC)

_AT_HAND = b"(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO CC)])"
_EVERY_FIELD = (
    b"(UID INTERNALDATE BODY.PEEK[HEADER.FIELDS "
    b"(MESSAGE-ID DATE FROM TO CC BCC LIST-ID LIST-UNSUBSCRIBE PRECEDENCE DKIM-SIGNATURE)])"
)


def mails(messages: int) -> Iterator[Mail]:
    """Sent mail: some 20 a day, to one, two or five of 3,000 people; 900 octets of header, 700 of text."""
    for number in range(messages):
        at = NOW - timedelta(minutes=72 * (messages - number))
        people = [f"Some Person {n} <person{n}@example{n % 40}.net>" for n in _people(number)]
        raw = (
            f"MIME-Version: 1.0\r\nUser-Agent: A Mail Program 128.0\r\nContent-Language: en-GB\r\n"
            f"Message-ID: <{number * 2654435761 % 2**32:08x}-0f3a-4c5d-9e1b-{number:012x}@example.org>\r\n"
            f"Date: {at:%a, %d %b %Y %H:%M:%S +0000}\r\nFrom: Ann Example <ann@example.org>\r\n"
            f"To: {', '.join(people[:2])}\r\n"
            + (f"Cc: {','.join(f'{chr(13)}{chr(10)} {who}' for who in people[2:])}\r\n" if people[2:] else "")
            + f"Subject: Re: what we spoke of on day {number // 20}\r\nContent-Type: text/plain; charset=UTF-8\r\n"
            f"In-Reply-To: <{number}@example.net>\r\nReferences: <{number}@example.net> <{number - 1}@example.net>\r\n"
            "\r\n" + "some words in a line\r\n" * 32
        )
        yield Mail(raw.encode(), at, ("\\Seen",))


def _people(number: int) -> list[int]:
    return [(number * 7919 + n * 104_729) % 3_000 for n in range((1, 1, 2, 5)[number % 4])]


@dataclass(slots=True)
class Box:
    """The folder of sent mail, and its indexes as a mail client left them."""

    dovecot: Dovecot
    messages: int
    kept: Path

    @property
    def folder(self) -> Path:
        """Where the server keeps it."""
        return self.dovecot.base / "home" / USER / "Maildir" / ".Sent"

    def fill(self) -> None:
        """Write the mail, and open the folder as a mail client does."""
        self.dovecot.mailbox(USER).store(mails(self.messages), "Sent")
        for path in (self.folder / "cur", self.folder / "new", self.folder / "dovecot-uidlist"):
            os.utime(path, (time.time() - 3600,) * 2)
        for _ in range(2):
            with self.dovecot.mailbox(USER).session() as client:
                client.select("Sent")
                client._simple_command("FETCH", "1:*", _LISTING)  # noqa: SLF001 - unparsed
                client.untagged_responses.clear()
        time.sleep(1.0)
        for path in self.folder.glob("dovecot.index*"):
            shutil.copy2(path, self.kept / path.name)

    def restore(self, *, listed: bool) -> None:
        """Put the indexes back, or leave none."""
        time.sleep(0.5)
        for path in self.folder.glob("dovecot.index*"):
            path.unlink()
        for path in self.kept.iterdir() if listed else ():
            shutil.copy2(path, self.folder / path.name)
            os.chown(self.folder / path.name, *self.dovecot.owner)


class Quiet:
    """Looks on, and stops never."""

    def sent_read(self, _report: sent.SentReport) -> None:
        """Do nothing."""

    def stopping(self) -> bool:
        """Go on."""
        return False


def read_it(port: int, messages: int) -> None:
    """Index the folder, in a process of its own."""
    server = Server(HOST, port, USER, Security.PLAIN, timeout=60.0)
    with tempfile.TemporaryDirectory() as place, open_store(Path(place) / "a.sqlite3", holder="benchmark") as store:
        with imap.open_account(server, PASSWORD) as account:
            report = sent.index(account, store, ("Sent",), NOW, Quiet())
        size = (Path(place) / "a.sqlite3").stat().st_size
    assert (report.read, report.left) == (messages, 0), report  # noqa: S101
    print(f"state {size / 2**20:.1f} MB")


def load_only(_port: int, _messages: int) -> None:
    """Do nothing: what the start of the program costs."""


def fetch_at_hand(port: int, _messages: int) -> None:
    """Fetch what is read of old messages, and look at nothing."""
    _fetch(port, _AT_HAND)


def fetch_every_field(port: int, _messages: int) -> None:
    """Fetch what is read of the newest messages, for all."""
    _fetch(port, _EVERY_FIELD)


def _fetch(port: int, items: bytes) -> None:
    line = Line(HOST, port)
    line.greeting()
    line.say([b'LOGIN "%s" "%s"' % (USER.encode(), PASSWORD.encode())])
    line.say([b"EXAMINE Sent"])
    line.say([b"UID FETCH 1:* " + items])
    line.say([b"LOGOUT"])


ENTRANTS: dict[str, Callable[[int, int], None]] = {
    "start-up": load_only,
    "raw FETCH": fetch_at_hand,
    "raw FETCH, every field": fetch_every_field,
    "sent.index": read_it,
}


@dataclass(slots=True)
class Row:
    """What is known of one entrant."""

    costs: list[Cost] = field(default_factory=list)
    traffic: Traffic | None = None

    def median(self, what: str) -> float:
        """Return the median of one of its costs."""
        return float(statistics.median(getattr(cost, what) for cost in self.costs))


def run(name: str, port: int, messages: int) -> Cost:
    """Run one entrant in a process of its own."""
    cost = timed([sys.executable, "-m", "benchmarks.sent", "--as", name, str(port), str(messages)], 600.0)
    if cost.failure:
        sys.exit(f"{name}: {cost.failure}")
    return cost


def series(box: Box, *, listed: bool) -> dict[str, Row]:
    """Let all run, interleaved; then each once more through a proxy that counts."""
    rows = {name: Row() for name in ENTRANTS}
    for _ in range(RUNS):
        for name, row in rows.items():
            box.restore(listed=listed)
            row.costs.append(run(name, box.dovecot.port, box.messages))
    with Proxy(HOST, box.dovecot.port) as proxy:
        for name, row in rows.items():
            box.restore(listed=listed)
            run(name, proxy.port, box.messages)
            row.traffic = proxy.take()
    return rows


def show(title: str, rows: dict[str, Row], messages: int) -> None:
    """Print a table. The start-up of the program is taken off the others' times."""
    print(f"\n{title}, {messages:,} messages, median of {RUNS} (spread)")
    print(f"{'':24}{'wall s':>18}  {'x FETCH':>7}  {'us CPU/msg':>10}  {'peak MB':>7}  {'turns':>5}  {'MB down':>7}")
    start = rows["start-up"]
    for name, row in rows.items():
        off = Row() if row is start else start
        walls = [cost.wall - (off.median("wall") if off.costs else 0.0) for cost in row.costs]
        wall = f"{statistics.median(walls):.2f} ({min(walls):.2f}-{max(walls):.2f})"
        floor = rows["raw FETCH"].median("wall") - start.median("wall")
        cpu = (row.median("cpu") - (off.median("cpu") if off.costs else 0.0)) / messages * 1e6
        traffic = row.traffic or Traffic()
        print(
            f"{name:24}{wall:>18}  {statistics.median(walls) / floor:7.2f}  {cpu:10.1f}  {row.median('peak_mb'):7.0f}"
            f"  {traffic.turns:5}  {traffic.down / 1e6:7.1f}"
        )


def main(*arguments: str) -> None:
    """Measure, or be one of those who are measured."""
    if arguments[:1] == ("--as",):
        ENTRANTS[arguments[1]](int(arguments[2]), int(arguments[3]))
        return
    messages = int(arguments[0]) if arguments else 100_000
    with running() as dovecot, tempfile.TemporaryDirectory() as kept:
        box = Box(dovecot, messages, Path(kept))
        box.fill()
        for title, listed in (("listed", True), ("unlisted", False)):
            show(title, series(box, listed=listed), messages)


if __name__ == "__main__":
    main(*sys.argv[1:])
