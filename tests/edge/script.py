"""A server that has said everything already, what it says, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from hypothesis import strategies as st

from bouncefiler.edge.imap.commands import Command, Fetch
from bouncefiler.edge.imap.pipe import Pipe
from bouncefiler.edge.imap.scan import Scan
from bouncefiler.edge.imap.wire import Wire

T = TypeVar("T")

FIELDS = b"From: a@example.org\r\nSubject: hello\r\n\r\n"
SECTION = b"BODY[HEADER.FIELDS (FROM SUBJECT CONTENT-TYPE MESSAGE-ID)]"
BODIES = st.one_of(st.binary(max_size=300), st.sampled_from([b"B1 OK done\r\n", b"* BYE\r\n", b")\r\n", b"{9}\r\n"]))


class FakeSocket:
    """A connection on which everything has been said already; `piece` octets arrive at a time."""

    def __init__(self, said: bytes, piece: int) -> None:
        self._said = memoryview(said)
        self._piece = piece
        self.heard: list[bytes] = []
        self.timeouts: list[float | None] = []

    def recv_into(self, buffer: bytearray) -> int:
        piece = self._said[: min(len(buffer), self._piece)]
        self._said = self._said[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def sendall(self, data: bytes) -> None:
        self.heard.append(data)

    def settimeout(self, value: float | None) -> None:
        self.timeouts.append(value)

    def fileno(self) -> int:
        return -1

    def shutdown(self, how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Script:
    """A server whose part is written already."""

    def __init__(self, said: bytes, piece: int = 1_000_000, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.socket = FakeSocket(said, piece)
        self.wire = Wire(self.socket, 60.0, clock)
        self.pipe = Pipe(self.wire)

    def ask(self, command: Command[T]) -> list[T]:
        self.pipe.send(command)
        return list(self.pipe.answers(command))


def answer(number: int, uid: int, fields: bytes = FIELDS) -> bytes:
    return b"* %d FETCH (UID %d %s {%d}\r\n%s)\r\n" % (number, uid, SECTION, len(fields), fields)


def lean(first: int, last: int, suspect: Callable[[bytes], bool] = bool, since: datetime | None = None) -> Scan:
    def suspects(messages: Sequence[bytes]) -> list[int]:
        return [place for place, fields in enumerate(messages) if suspect(fields)]

    return Scan(b"UID FETCH", first, last, last - first + 1, suspects, since)


def noting(seen: list[bytes]) -> Callable[[bytes], bool]:
    def suspect(fields: bytes) -> bool:
        seen.append(fields)
        return True

    return suspect


def messages(*uids: int, octets: int = 1_000) -> Fetch:
    return Fetch(b"UID FETCH", b"BODY[]", set(uids), len(uids), octets)
