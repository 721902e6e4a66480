"""Commands in flight, and what comes of them (RFC 3501, 5.5): each takes the responses that it has asked for.

A FETCH response is taken as it comes, with as little work as possible for ordinary mail.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Container
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from bouncefiler.edge.imap.fetched import Fetched, internaldate
from bouncefiler.edge.imap.wire import MAX_LINE, Garbled, Wire

MAX_LEAN = 64 * 1024
"""Octets of one message's lean header fields that are looked at."""

IN_A_ROW = 32
"""Messages that are taken before the first of them is handed out."""

_MESSAGE = re.compile(
    rb"\* \d+ FETCH \("
    rb'(?:(?:UID (\d{1,10})|FLAGS \(([^()"{}\r\n]*)\)|INTERNALDATE "([^"\r\n]{1,40})"|RFC822\.SIZE (\d{1,20})) ){1,4}'
    rb"(BODY\[(?:HEADER)?\](?:<0>)?) \{(\d{1,8})\}\r\n"
).match
_CODE = re.compile(r"\[([A-Za-z-]+)[ \]]").match

T = TypeVar("T")


class Refused(Exception):
    """The server answered NO or BAD."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command ended; `lines` are the untagged responses before that, where they are kept."""

    status: str
    text: str
    lines: tuple[bytes, ...] = ()

    @property
    def code(self) -> str:
        """The response code (RFC 3501, 7.1; RFC 5530), without its brackets and arguments; empty when there is none."""
        found = _CODE(self.text)
        return found[1].upper() if found else ""

    @property
    def complete(self) -> bool:
        """Whether the answer is as good as the server can give.

        NO [EXPUNGEISSUED] (RFC 5530) means that some messages were gone, and that the others have been sent.
        """
        return self.status == "OK" or self.code == "EXPUNGEISSUED"


def ended(line: bytes) -> Reply:
    """Read how a command ended, from what follows its tag. Raises Garbled."""
    status, _, text = line.rstrip(b"\r\n").decode("utf-8", "replace").partition(" ")
    if status.upper() not in {"OK", "NO", "BAD"}:
        raise Garbled(f"an unexpected end of an answer: {status[:40]!r}")
    return Reply(status.upper(), text)


@dataclass(slots=True, eq=False)
class Command(Generic[T]):
    """A command in flight, and what has come of it so far. This one takes nothing, the others what they asked for."""

    text: bytes
    tag: bytes = field(default=b"", init=False)
    kept: deque[T] = field(default_factory=deque, init=False)
    reply: Reply | None = field(default=None, init=False)
    forgotten: bool = field(default=False, init=False)

    @property
    def octets(self) -> int:
        """How much of a literal it has a use for."""
        return 0

    def skim(self, wire: Wire, octets: int) -> list[bytes]:
        """Take, in a row, whatever can be taken without ado; return the next response."""
        return wire.response(wire.readline(), octets)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """Take the response, if it was meant for this command; `item` is what it is as a FETCH response."""
        return False

    def go_on(self) -> bool:
        """Note that the server asks to go on (RFC 3501, 7.5); return False when nobody wants to."""
        return False

    def finish(self, reply: Reply) -> None:
        """Note how the command ended."""
        self.reply = reply

    def keep(self, item: T) -> None:
        """Keep it for whoever asks."""
        if not self.forgotten:
            self.kept.append(item)

    def forget(self) -> None:
        """Nobody wants the rest of the answer."""
        self.forgotten = True
        self.kept.clear()


@dataclass(slots=True, eq=False)
class Ask(Command[bytes]):
    """A command whose whole answer is short: all untagged responses but FETCH, each as one string of octets.

    Commands that are sent in one go share what is kept, for the server may say whose it is or not.
    """

    octets: int = field(default=MAX_LEAN, init=False)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:
        """See Command."""
        if item is None:
            response = b"".join(parts)
            wire.spend(len(response))
            self.keep(response)
        return item is None


@dataclass(slots=True, eq=False)
class Leave(Command[bytes]):
    """LOGOUT, or a command sent with it: a BYE is no surprise."""


@dataclass(slots=True, eq=False)
class Number(Command[int]):
    """FETCH (UID), which gives the UIDs."""

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:
        """See Command."""
        if item is None or item.uid is None or item.body is not None:
            return False
        wire.spend(len(parts[0]))
        self.keep(item.uid)
        return True


@dataclass(slots=True, eq=False)
class Fetch(Command[Fetched]):
    """UID FETCH of one section of each of these messages; each comes once, with its first `octets` octets."""

    section: bytes
    wanted: Container[int]
    at_most: int
    octets: int = MAX_LEAN
    seen: set[int] = field(default_factory=set, init=False)

    def skim(self, wire: Wire, octets: int) -> list[bytes]:
        """Take the answer that nearly all servers give."""
        readline, literal = wire.file.readline, wire.literal
        line = readline(MAX_LINE)
        for _ in range(IN_A_ROW):
            found = _MESSAGE(line)
            if not found:
                break
            uid, flags, date, size, section, length = found.groups()
            body = literal(int(length), octets)
            end = readline(MAX_LINE)
            if end != b")\r\n" or uid is None:
                return [line, body, *wire.response(wire.checked(end), octets)]
            item = Fetched(
                int(uid),
                internaldate(date) if date else None,
                int(size) if size else None,
                None if flags is None else tuple(flags.split()),
                section,
                body,
            )
            if not self.take(wire, [], item):
                return [line, body, end]
            line = readline(MAX_LINE)
        return wire.response(wire.checked(line), octets)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """See Command."""
        if item is None or item.body is None or not item.section.startswith(self.section):
            return False
        if item.uid is None or item.uid not in self.wanted or item.uid in self.seen:
            return False
        wire.source.useful = True
        self.seen.add(item.uid)
        if len(self.seen) > self.at_most:
            raise Garbled("more messages than there are")
        self.keep(item if len(item.body) <= self.octets else replace(item, body=item.body[: self.octets]))
        return True


@dataclass(slots=True, eq=False)
class Parts(Command[Fetched]):
    """UID FETCH (UID BODY): of what parts these messages consist. One whose answer is not clear is left out."""

    wanted: Container[int]
    seen: set[int] = field(default_factory=set, init=False)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """See Command."""
        if item is None or item.parts is None or item.uid is None:
            return False
        if item.uid not in self.wanted or item.uid in self.seen:
            return False
        wire.source.useful = True
        self.seen.add(item.uid)
        self.keep(item)
        return True
