"""What a scan of 10,000 messages costs the client: CPU per message, on a throw-away Dovecot.

python -m benchmarks.scan
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bouncefiler.edge import imap
from bouncefiler.recognition import lean
from bouncefiler.settings import Security, Server
from bouncefiler.sweep import FolderState, Span, Suspects
from tests.dovecot import PASSWORD, Mail, running

MESSAGES = 10_000
RUNS = 6
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def mails() -> Iterator[Mail]:
    """Ordinary mail: 2 KB, of which the lean fields are 250 octets."""
    hop = (
        b"Received: from mx.example.org (mx [192.0.2.7]) by mx.example.net with ESMTPS; Sun, 1 Mar 2026 12:00:00 +0000"
    )
    for n in range(MESSAGES):
        yield Mail(
            (hop + b"\r\n") * 6
            + b"From: Some Sender %d <sender%d@example.org>\r\nTo: ann@example.net\r\n" % (n, n)
            + b"Subject: Your order %d of last week has been sent\r\nMessage-ID: <%d.abcdef@example.org>\r\n" % (n, n)
            + b'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="=_%d"\r\n\r\n' % n
            + b"hello world\r\n" * 100
        )


def measure(server: Server, suspects: Suspects, span: Span) -> tuple[float, float]:
    """Return CPU microseconds per message and wall milliseconds, medians; the first run warms the server up."""
    costs = []
    for _ in range(RUNS):
        with imap.open_reader(server, PASSWORD) as reader:
            state = reader.state("INBOX")
            assert state == FolderState("INBOX", state.uidvalidity if state else 0, MESSAGES + 1, MESSAGES)  # noqa: S101
            cpu, wall = time.process_time(), time.perf_counter()
            scanned = sum(window.scanned for window in reader.scan(state, span, suspects))
            costs.append((time.process_time() - cpu, time.perf_counter() - wall))
            assert scanned == MESSAGES  # noqa: S101
    cpu, wall = (statistics.median(column) for column in zip(*costs[1:], strict=True))
    return cpu / MESSAGES * 1e6, wall * 1e3


def main() -> None:
    """Print one line for each way to scan."""
    ways: dict[str, tuple[Suspects, Span]] = {
        "reading alone": (lambda _messages: (), Span()),
        "reading alone, by date": (lambda _messages: (), Span(since=LONG_AGO)),
        "with lean.suspects": (lean.suspects, Span()),
    }
    with running() as dovecot:
        dovecot.mailbox("bench").store(mails())
        for security in (Security.PLAIN, Security.TLS):
            for name, (suspects, span) in ways.items():
                cpu, wall = measure(dovecot.server("bench", security), suspects, span)
                print(f"{security:5}  {name:24} {cpu:6.2f} us CPU/message  {wall:6.1f} ms in all")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
