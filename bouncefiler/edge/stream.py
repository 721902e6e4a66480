"""An IMAP connection read as a stream: commands in flight, their answers one at a time (RFC 3501, 5.5 and 7).

imapclient sends one command, waits, and holds the whole answer; for reading a mailbox of any size neither will do. Here
lines and literals are bounded before they are read, each command has a time limit, several commands can be on their
way, and a FETCH answer is parsed as it comes, with as little work as possible for ordinary mail.
"""

from __future__ import annotations

import io
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from itertools import count
from typing import Any, Generic, Protocol, TypeVar

MAX_LINE = 1_000_000
"""Octets in a line; imaplib has the same limit."""

MAX_LITERAL = 64 * 1024 * 1024
"""A larger literal is not even skipped."""

MAX_REPLY = 8 * 1024 * 1024
"""Octets in the whole answer to a command whose answer is kept."""

MAX_LEAN = 64 * 1024
"""Octets of one message's lean header fields that are looked at."""

PATIENCE = 120.0
"""Seconds for a command to finish, or to bring one more message that was asked for."""

_BUFFER = 128 * 1024

_LEAN = re.compile(rb"\* \d+ FETCH \(UID (\d{1,10}) BODY\[HEADER\.FIELDS \([^]]*\)\] \{(\d{1,8})\}\r\n").match
_FETCH = re.compile(rb"\* \d+ FETCH (?=\()", re.IGNORECASE).match
_LITERAL = re.compile(rb"~?\{(\d{1,12})\}\r\n$").search
_STATUS = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE).match
_BYE = re.compile(rb"\* BYE ?(.*)", re.IGNORECASE | re.DOTALL).match
_CODE = re.compile(r"\[([A-Z0-9-]+)(?: ([^\]]*))?\]").match
_TOKEN = re.compile(
    rb' *(?:(\()|(\))|"((?:[^"\\]|\\.)*)"(?=[ )\r])|(~?\{\d+\}\r\n)|(\r\n)|(BODY\[[^\]]*\](?:<\d+>)?|[^ ()\r\n]+))',
    re.IGNORECASE | re.DOTALL,
).match
_INTERNALDATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)").fullmatch
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()

T = TypeVar("T")


class Lost(Exception):
    """The connection has ended; says so in the server's words when it said BYE."""


class Garbled(Exception):
    """The server's answer breaks the protocol, or a limit that no honest answer comes near."""


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
        return found[1] if found else ""

    @property
    def complete(self) -> bool:
        """Whether the answer is as good as the server can give.

        NO [EXPUNGEISSUED] (RFC 5530) means that some messages were gone, and that the others have been sent.
        """
        return self.status == "OK" or self.code == "EXPUNGEISSUED"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One FETCH response; what it did not bring is None."""

    uid: int | None
    received_at: datetime | None
    size: int | None
    flags: tuple[bytes, ...] | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Lean:
    """What the lean header fields of one window said: how many messages there were, and which are suspects."""

    scanned: int
    suspects: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The UIDs, INTERNALDATEs and number of messages that an answer may bring; the rest of it is not for us."""

    first_uid: int
    last_uid: int
    at_most: int
    since: datetime | None = None


class _Socket(Protocol):
    """What of a socket.socket is used."""

    def recv_into(self, buffer: Any, /) -> int: ...
    def sendall(self, data: bytes, /) -> None: ...
    def settimeout(self, value: float | None, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class _Source(io.RawIOBase):
    """The socket as io.BufferedReader wants it, with a time limit that starts anew when something useful has come."""

    def __init__(self, sock: _Socket, timeout: float, clock: Callable[[], float]) -> None:
        self.sock = sock
        self.useful = True
        self.held = False
        self._timeout = timeout
        self._clock = clock
        self._deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.held:
            return None
        now = self._clock()
        if self.useful:
            self._deadline, self.useful = now + PATIENCE, False
        if now >= self._deadline:
            raise TimeoutError(f"no end of the answer within {PATIENCE:.0f} seconds")
        self.sock.settimeout(min(self._timeout, self._deadline - now))
        return self.sock.recv_into(buffer)


class Wire:
    """Lines and literals over a socket. All may raise Lost, Garbled, TimeoutError and other OSErrors."""

    def __init__(self, sock: _Socket, timeout: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = _Source(sock, timeout, clock)
        self.file = io.BufferedReader(self.source, _BUFFER)
        self._budget = MAX_REPLY

    def restart(self) -> None:
        """Begin a new command: the time limit and the allowance for kept answers start anew."""
        self.source.useful = True
        self._budget = MAX_REPLY

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.source.sock.sendall(data)

    def readline(self) -> bytes:
        """Read one line, with its CRLF."""
        return self.checked(self.file.readline(MAX_LINE))

    def checked(self, line: bytes) -> bytes:
        """Return the line, if it is a whole one."""
        if line.endswith(b"\r\n"):
            return line
        if len(line) >= MAX_LINE:
            raise Garbled(f"a line of over {MAX_LINE} octets")
        if line.endswith(b"\n"):
            raise Garbled("a line without CRLF")
        raise Lost("the connection was closed")

    def read(self, size: int) -> bytes:
        """Read exactly this many octets of an answer that is kept."""
        self.spend(size)
        return self.literal(size, size)

    def literal(self, size: int, keep: int) -> bytes:
        """Read a literal; return its first `keep` octets."""
        if size > MAX_LITERAL:
            raise Garbled(f"a literal of {size} octets")
        kept = self.file.read(min(size, keep))
        left = size - keep
        while left > 0:
            chunk = self.file.read(min(left, _BUFFER))
            if not chunk:
                break
            left -= len(chunk)
        if len(kept) < min(size, keep) or left > 0:
            raise Lost("the connection was closed in the middle of an answer")
        return kept

    def response(self, line: bytes, keep: int) -> list[bytes]:
        """Return the response that begins with this line: text, literal, …, text; `keep` octets of each literal."""
        parts = [line]
        while line.endswith(b"}\r\n") and not _STATUS(parts[0]) and (found := _LITERAL(line)):
            parts.append(self.literal(int(found[1]), keep))
            line = self.readline()
            parts.append(line)
            if len(parts) > 100:
                raise Garbled("a response of over fifty literals")
        return parts

    def spend(self, octets: int) -> None:
        """Count octets that are kept. Raises Garbled when the answer grows beyond all reason."""
        self._budget -= octets
        if self._budget < 0:
            raise Garbled(f"an answer of over {MAX_REPLY} octets")

    def unread(self) -> bool:
        """Whether octets have been received that nobody has read yet."""
        self.source.held = True
        try:
            return bool(self.file.peek(1))
        finally:
            self.source.held = False

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError):
            self.source.sock.shutdown(socket.SHUT_RDWR)
        self.source.sock.close()


Consume = Callable[[Wire, bytes], Generator[T, None, bytes]]
"""Reads the answer to the command with this tag: yields what it brings, returns the tagged line without the tag."""


@dataclass(slots=True, eq=False)
class Command(Generic[T]):
    """A command, and what has come of it so far."""

    text: bytes
    consume: Consume[T]
    kept: deque[T] = field(default_factory=deque, init=False)
    reply: Reply | None = field(default=None, init=False)
    forgotten: bool = field(default=False, init=False)

    def forget(self) -> None:
        """Nobody wants the rest of the answer."""
        self.forgotten = True
        self.kept.clear()


class Pipe:
    """Commands in flight on one wire, answered in the order in which they were sent.

    Whoever wants the answer to a later command has those to the earlier ones read first; they are kept for whoever
    asks, or dropped when nobody will. After any trouble other than Refused the connection is of no use any more.
    """

    def __init__(self, wire: Wire) -> None:
        self.broken = False
        self._wire = wire
        self._flying: deque[tuple[Command[Any], Generator[Any, None, bytes]]] = deque()
        self._numbers = count(1)

    @property
    def idle(self) -> bool:
        """Whether no answer is on its way."""
        return not self._flying

    def send(self, *commands: Command[Any]) -> None:
        """Send these commands in one go, without waiting for anything."""
        if self.broken:
            raise Lost("the connection was given up")
        lines = []
        for command in commands:
            tag = b"B%d " % next(self._numbers)
            lines.append(tag + command.text + b"\r\n")
            self._flying.append((command, command.consume(self._wire, tag)))
        with self._or_broken():
            self._wire.send(b"".join(lines))

    def answers(self, command: Command[T]) -> Generator[T]:
        """Yield what the answer to this command brings; raise Refused at its end if it was NO or BAD."""
        try:
            while command.kept or command.reply is None:
                if not command.kept:
                    self._advance()
                else:
                    yield command.kept.popleft()
        finally:
            command.forget()
        if not command.reply.complete:
            raise Refused(command.reply)

    def ask(self, *texts: bytes) -> tuple[Reply, ...]:
        """Send these commands in one go and return how each ended, with its untagged responses."""
        commands = [Command(text, whole) for text in texts]
        self.send(*commands)
        return tuple(self._reply(command) for command in commands)

    def drain(self) -> None:
        """Read all answers that are on their way."""
        while self._flying:
            self._advance()

    def _reply(self, command: Command[bytes]) -> Reply:
        while command.reply is None:
            self._advance()
        return Reply(command.reply.status, command.reply.text, tuple(command.kept))

    def _advance(self) -> None:
        """Read on until the oldest command in flight has brought one more thing, or has ended."""
        command, answers = self._flying[0]
        with self._or_broken():
            try:
                item = next(answers)
            except StopIteration as stop:
                self._flying.popleft()
                command.reply = _ended(stop.value)
            else:
                if not command.forgotten:
                    command.kept.append(item)

    def _or_broken(self) -> _Guard:
        return _Guard(self)


@dataclass(frozen=True, slots=True)
class _Guard:
    """Gives the connection up whatever goes wrong inside: nobody knows any more which answer is whose."""

    pipe: Pipe

    def __enter__(self) -> None:
        if self.pipe.broken:
            raise Lost("the connection was given up")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.pipe.broken = True


def whole(wire: Wire, tag: bytes) -> Generator[bytes, None, bytes]:
    """Yield the untagged responses, literals included, each as one string of octets."""
    wire.restart()
    while not (line := wire.readline()).startswith(tag):
        response = b"".join(wire.response(_heeded(line), MAX_REPLY))
        wire.spend(len(response))
        yield response
    return line[len(tag) :]


def farewell(wire: Wire, tag: bytes) -> Generator[bytes, None, bytes]:
    """Read the answer to LOGOUT, whose BYE is no surprise; yields nothing."""
    yield from ()
    wire.restart()
    while not (line := wire.readline()).startswith(tag):
        pass
    return line[len(tag) :]


def numbered(wire: Wire, tag: bytes) -> Generator[int, None, bytes]:
    """Yield the UIDs of FETCH (UID) answers."""
    wire.restart()
    while not (line := wire.readline()).startswith(tag):
        item = _fetch(wire, line, 0)
        if item is not None and item.uid is not None:
            wire.spend(len(line))
            yield item.uid
    return line[len(tag) :]


def fetched(wanted: Container[int], keep: int, at_most: int) -> Consume[Fetched]:
    """Yield the messages that are wanted, each once, with `keep` octets of the body."""

    def consume(wire: Wire, tag: bytes) -> Generator[Fetched, None, bytes]:
        wire.restart()
        seen: set[int | None] = {None}
        while not (line := wire.readline()).startswith(tag):
            item = _fetch(wire, line, keep)
            if item is None or item.body is None or item.uid in seen or item.uid not in wanted:
                continue
            wire.source.useful = True
            seen.add(item.uid)
            if len(seen) > at_most + 1:
                raise Garbled("more messages than there are")
            yield item
        return line[len(tag) :]

    return consume


def lean(stretch: Stretch, suspect: Callable[[bytes], bool]) -> Consume[Lean]:
    """Put each message's lean header fields to `suspect` as they come; yield one Lean at the end, none when refused."""

    def consume(wire: Wire, tag: bytes) -> Generator[Lean, None, bytes]:
        wire.restart()
        scanned, suspects = 0, []
        # Every message of a mailbox comes through here, hence the local names, and one pattern for the answer that
        # nearly all servers give. Whatever does not look like it takes the long way.
        readline, read, source = wire.file.readline, wire.file.read, wire.source
        first, last, at_most = stretch.first_uid, stretch.last_uid, stretch.at_most
        while True:
            line = readline(MAX_LINE)
            if (found := _LEAN(line)) and (size := int(found[2])) <= MAX_LEAN:
                uid, fields = int(found[1]), read(size)
                end = readline(MAX_LINE)
                if end != b")\r\n":
                    item = _long_way([line, fields, *wire.response(wire.checked(end), MAX_LEAN)], stretch)
                else:
                    item = (uid, fields) if first <= uid <= last else None
            elif wire.checked(line).startswith(tag):
                break
            else:
                item = _long_way(wire.response(_heeded(line), MAX_LEAN), stretch)
            if item is not None:
                source.useful = True
                scanned += 1
                if suspect(item[1]):
                    suspects.append(item[0])
                if scanned > at_most:
                    raise Garbled("more messages than there are")
        if _ended(line[len(tag) :]).complete:  # what is refused will be asked for again
            yield Lean(scanned, tuple(sorted(set(suspects))))
        return line[len(tag) :]

    return consume


def _long_way(parts: list[bytes], stretch: Stretch) -> tuple[int, bytes] | None:
    """Return UID and lean fields, if this is a message of the stretch."""
    item = _parsed(parts)
    if item is None or item.body is None or item.uid is None:
        return None
    if not stretch.first_uid <= item.uid <= stretch.last_uid:
        return None
    # A message without a readable date is rather looked at than missed.
    early = stretch.since and item.received_at and item.received_at < stretch.since
    return None if early else (item.uid, item.body)


def _heeded(line: bytes) -> bytes:
    """Return an untagged line. Raises Lost when it is the server's good-bye, Garbled when it is something else."""
    if bye := _BYE(line):
        raise Lost(bye[1].strip().decode("utf-8", "replace"))
    if not line.startswith(b"* "):
        raise Garbled(f"an unexpected line: {line[:40]!r}")
    return line


def _fetch(wire: Wire, line: bytes, keep: int) -> Fetched | None:
    return _parsed(wire.response(_heeded(line), keep))


def _parsed(parts: list[bytes]) -> Fetched | None:
    """Parse a response; None when it is no FETCH response."""
    if not _FETCH(parts[0]):
        return None
    found = _attributes(parts)
    flags, date = found.get(b"FLAGS"), found.get(b"INTERNALDATE")
    return Fetched(
        _number(found.get(b"UID")),
        internaldate(date) if date else None,
        _number(found.get(b"RFC822.SIZE")),
        None if flags is None else tuple(flags.split()),
        next((value for name, value in found.items() if name.startswith(b"BODY[")), None),
    )


def _attributes(parts: list[bytes]) -> dict[bytes, bytes | None]:
    """Return what the response says, by upper-case name (RFC 3501, 9: msg-att); a list as its words."""
    found: dict[bytes, bytes | None] = {}
    name: bytes | None = None
    words: list[bytes] = []
    depth = 0
    for kind, value in _tokens(parts):
        if kind is _Kind.OPEN:
            depth, words = depth + 1, words if depth > 1 else []
        elif kind is _Kind.CLOSE:
            depth -= 1
            if depth == 1 and name is not None:
                found[name], name = b" ".join(words), None
        elif depth > 1:
            words.append(value)
        elif name is None:
            name = value.upper()
        else:
            found[name], name = None if kind is _Kind.ATOM and value.upper() == b"NIL" else value, None
    return found


class _Kind(IntEnum):
    """The groups of _TOKEN."""

    OPEN = 1
    CLOSE = 2
    QUOTED = 3
    LITERAL = 4
    END = 5
    ATOM = 6


def _tokens(parts: list[bytes]) -> Iterator[tuple[_Kind, bytes]]:
    start = _FETCH(parts[0])
    at = start.end() if start else 0
    for index in range(0, len(parts), 2):
        text = parts[index]
        while at < len(text):
            token = _TOKEN(text, at)
            if token is None or token.lastindex is None:
                raise Garbled(f"a FETCH response that cannot be read: {text[at : at + 40]!r}")
            at, kind = token.end(), _Kind(token.lastindex)
            match kind:
                case _Kind.QUOTED:
                    yield kind, _ESCAPED.sub(rb"\1", token[kind])
                case _Kind.LITERAL:
                    yield kind, parts[index + 1]
                case _Kind.END:
                    pass
                case _:
                    yield kind, token[kind]
        at = 0


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) <= 20 else None


def internaldate(value: bytes) -> datetime | None:
    """Read a date-time (RFC 3501, 9), such as ` 1-Mar-2026 12:00:00 +0100`; None when it is none."""
    found = _INTERNALDATE(value)
    if not found:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    try:
        zone = timezone(-offset if sign == b"-" else offset) if offset else UTC
        number = _MONTHS.index(month.lower()) + 1
        return datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=zone)
    except ValueError:
        return None


def _ended(line: bytes) -> Reply:
    status, _, text = line.rstrip(b"\r\n").decode("utf-8", "replace").partition(" ")
    if status.upper() not in {"OK", "NO", "BAD"}:
        raise Garbled(f"an unexpected end of an answer: {status[:40]!r}")
    return Reply(status.upper(), text)
