"""A mail exchanger that refuses some recipients, some for good, and keeps what it takes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SENDER = "ana@garden.example"
REFUSALS = {
    "nobody@other.example": "550 5.1.1 <nobody@other.example>: there is no such person here",
    "full@other.example": "552 5.2.2 <full@other.example>: mailbox full",
    "strict@other.example": (
        "550-5.7.26 This letter does not pass SPF, and the DMARC policy of\r\n"
        "550 5.7.26 garden.example says that it is not from there"
    ),
}
BAD_CONTENT = "sieve@other.example"
TOO_MUCH_LIKE_SPAM = "554 5.7.1 This letter was rejected as spam"


class _Session(socketserver.StreamRequestHandler):
    server: Sink

    def handle(self) -> None:
        recipients: list[str] = []
        self._say("220 mx.other.example ESMTP")
        while line := self.rfile.readline().decode("utf-8", "replace").strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                address = line.partition("<")[2].partition(">")[0]
                if address not in REFUSALS:
                    recipients.append(address)
                self._say(REFUSALS.get(address, "250 2.1.5 ok"))
            elif verb == "DATA":
                self._say("354 go on")
                self._take(recipients)
                recipients = []
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            else:
                self._say("250-mx.other.example\r\n250 ENHANCEDSTATUSCODES" if verb == "EHLO" else "250 2.0.0 ok")

    def _take(self, recipients: list[str]) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        if BAD_CONTENT in recipients:
            self._say(TOO_MUCH_LIKE_SPAM)
            return
        self._say("250 2.0.0 taken")
        if SENDER in recipients:
            self.server.taken.append(b"".join(lines).replace(b"\r\n", b"\n"))

    def _say(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")


class Sink(socketserver.ThreadingTCPServer):
    """Listens on port 25 of the private network; `taken` holds the letters to the sender: the bounces."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("", 25), _Session)
        self.taken: list[bytes] = []


@contextmanager
def listening() -> Iterator[Sink]:
    """Serve until the block ends."""
    with Sink() as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        yield sink
        sink.shutdown()
