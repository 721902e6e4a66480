"""An IMAP connection read as a stream: commands in flight, their answers one at a time (RFC 3501, 5.5 and 7).

imapclient sends one command, waits, and holds the whole answer; for reading a mailbox of any size neither will do. Here
lines and literals are bounded before they are read, each command has a time limit, several commands can be on their
way, and a FETCH answer is parsed as it comes, with as little work as possible for ordinary mail.

An untagged response belongs to the command that asked for such a thing, not to the one whose tagged line comes next:
Dovecot answers two FETCH commands on end, and only then says that both are done.
"""

from __future__ import annotations

import io
import re
import socket
import ssl
import time
import zlib
from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from itertools import cycle, product
from typing import Any, Generic, Protocol, TypeVar

MAX_LINE = 1_000_000
"""Octets in a line; imaplib has the same limit."""

MAX_LITERAL = 64 * 1024 * 1024
"""A larger literal is not even skipped."""

MAX_REPLY = 8 * 1024 * 1024
"""Octets in the whole answer to a command whose answer is kept."""

MAX_LEAN = 64 * 1024
"""Octets of one message's lean header fields that are looked at."""

LOOKED_AT_ONCE = 32 * 1024
"""Octets of lean header fields that are put to the question together."""

IN_A_ROW = 32
"""Messages that are taken before the first of them is handed out."""

PATIENCE = 120.0
"""Seconds for a command to finish, or to bring one more message that was asked for."""

_BUFFER = 128 * 1024

_LEAN = re.compile(
    rb'\* \d+ FETCH \(UID (\d{1,10})(?: INTERNALDATE "([^"]+)")? BODY\[HEADER\.FIELDS \([^]]*\)\] \{(\d{1,8})\}\r\n'
).match
_MESSAGE = re.compile(
    rb"\* \d+ FETCH \("
    rb'(?:(?:UID (\d{1,10})|FLAGS \(([^()"{}\r\n]*)\)|INTERNALDATE "([^"\r\n]{1,40})"|RFC822\.SIZE (\d{1,20})) ){1,4}'
    rb"(BODY\[(?:HEADER)?\](?:<0>)?) \{(\d{1,8})\}\r\n"
).match
_FETCH = re.compile(rb"\* \d+ FETCH (?=\()", re.IGNORECASE).match
_STRUCTURE = re.compile(rb"\* \d+ FETCH \((?:UID \d+ )?BODY \(", re.IGNORECASE).match
_PIECE = re.compile(rb'(\()|(\))|"((?:[^"\\]|\\.)*)"|([^ ()"\r\n]+)', re.DOTALL).finditer
_LITERAL = re.compile(rb"~?\{(\d{1,12})\}\r\n$").search
_NO_LITERAL = re.compile(rb"[^*]|\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE).match
_BYE = re.compile(rb"\* BYE ?(.*)", re.IGNORECASE | re.DOTALL).match
_CODE = re.compile(r"\[([A-Za-z-]+)[ \]]").match
_TOKEN = re.compile(
    rb' *(?:(\()|(\))|"((?:[^"\\]|\\.)*)"(?=[ )\r])|(~?\{\d+\}\r\n)|(\r\n)|(BODY\[[^\]]*\](?:<\d+>)?|[^ ()\r\n]+))',
    re.IGNORECASE | re.DOTALL,
).match
_OPEN, _CLOSE, _QUOTED, _LITERAL_NEXT, _END, _ATOM = range(1, 7)
_INTERNALDATE = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)").fullmatch
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FIELDS = b"BODY[HEADER.FIELDS"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TAGS = tuple(f"B{(high + low).lstrip('0')}".encode() for high, low in product(_DIGITS, repeat=2))[1:]
"""Short ones, for they come twice in each answer; by the time that one is used again its command is long forgotten."""
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
        return found[1].upper() if found else ""

    @property
    def complete(self) -> bool:
        """Whether the answer is as good as the server can give.

        NO [EXPUNGEISSUED] (RFC 5530) means that some messages were gone, and that the others have been sent.
        """
        return self.status == "OK" or self.code == "EXPUNGEISSUED"


@dataclass(frozen=True, slots=True)
class Fetched:
    """One FETCH response; what it did not bring is None. `section` is the name of the body item, in upper case."""

    uid: int | None
    received_at: datetime | None
    size: int | None
    flags: tuple[bytes, ...] | None
    section: bytes
    body: bytes | None
    parts: tuple[str, ...] | None = None
    """Media types of the parts of a multipart, as BODY tells them."""


@dataclass(frozen=True, slots=True)
class Lean:
    """What the lean header fields of one window said: how many messages there were, and which are suspects."""

    scanned: int
    suspects: tuple[int, ...]


class _Socket(Protocol):
    """What of a socket.socket is used."""

    def recv_into(self, buffer: Any, /) -> int: ...
    def sendall(self, data: bytes, /) -> None: ...
    def settimeout(self, value: float | None, /) -> None: ...
    def fileno(self) -> int: ...
    def shutdown(self, how: int, /) -> None: ...
    def close(self) -> None: ...


class _Source(io.RawIOBase):
    """The socket as io.BufferedReader wants it, with a time limit that starts anew when something useful has come."""

    def __init__(self, sock: _Socket, timeout: float, clock: Callable[[], float]) -> None:
        self.sock = sock
        self.timeout = timeout
        self.useful = True
        self.held = False
        self.waits = True
        self.ended = False
        self._clock = clock
        self._deadline = 0.0
        self._inflate: zlib._Decompress | None = None
        self._compressed = b""

    def readable(self) -> bool:
        return True

    def decompress(self, received: bytes) -> None:
        """Take what comes from now on as compressed, and also these octets, which have come already."""
        self._inflate, self._compressed = zlib.decompressobj(-zlib.MAX_WBITS), received

    def readinto(self, buffer: Any) -> int | None:
        if self.held:
            return None
        return self._receive(buffer) if self._inflate is None else self._inflated(self._inflate, buffer)

    def _receive(self, buffer: Any) -> int | None:
        now = self._clock()
        if self.useful:
            self._deadline, self.useful = now + PATIENCE, False
        if now >= self._deadline:
            raise TimeoutError(f"no end of the answer within {PATIENCE:.0f} seconds")
        self.sock.settimeout(min(self.timeout, self._deadline - now) if self.waits else 0.0)
        try:
            received = self.sock.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            if self.waits:
                raise
            return None
        self.ended = not received
        return received

    def _inflated(self, inflate: zlib._Decompress, buffer: Any) -> int | None:
        """Decompress no more than the buffer holds, however much there would be: a few octets can make gigabytes."""
        received = bytearray(_BUFFER)
        while not inflate.eof:
            try:
                octets = inflate.decompress(self._compressed, len(buffer))
            except zlib.error as exc:
                raise Garbled("compressed data that cannot be read") from exc
            self._compressed = inflate.unconsumed_tail
            if octets:
                buffer[: len(octets)] = octets
                return len(octets)
            size = self._receive(received)
            if not size:
                return size
            self._compressed = bytes(received[:size])
        return 0


class Wire:
    """Lines and literals over a socket. All may raise Lost, Garbled, TimeoutError and other OSErrors."""

    def __init__(self, sock: _Socket, timeout: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = _Source(sock, timeout, clock)
        self.file = io.BufferedReader(self.source, _BUFFER)
        self._budget = MAX_REPLY
        self._deflate: zlib._Compress | None = None

    def compress(self) -> None:
        """Compress in both directions from here on (RFC 4978): the server has just said that it does."""
        self.source.held = True
        try:
            received = self.file.read(len(self.file.peek(1))) or b""
        finally:
            self.source.held = False
        self.source.decompress(received)
        self._deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def restart(self) -> None:
        """Begin a new command: the time limit and the allowance for kept answers start anew."""
        self.source.useful = True
        self._budget = MAX_REPLY

    def send(self, data: bytes) -> None:
        """Send all of it."""
        if self._deflate:
            data = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        self.source.sock.sendall(data)

    def readline(self) -> bytes:
        """Read one line, with its CRLF."""
        return self.checked(self.file.readline(MAX_LINE))

    def checked(self, line: bytes) -> bytes:
        """Return the line, if it is a whole one."""
        if line.endswith(b"\r\n"):
            return line
        if len(line) >= MAX_LINE:
            if _STRUCTURE(line):
                return b"* 0 FETCH (BODY (" + self._skipped()
            raise Garbled(f"a line of over {MAX_LINE} octets")
        if line.endswith(b"\n"):
            raise Garbled("a line without CRLF")
        raise Lost("the connection was closed")

    def _skipped(self) -> bytes:
        """Read on to the end of the line, and return that end: who writes a mail can make its structure this long."""
        for _ in range(MAX_LITERAL // MAX_LINE):
            line = self.file.readline(MAX_LINE)
            if line.endswith(b"\r\n"):
                return line[-20:]
            if not line:
                raise Lost("the connection was closed")
        raise Garbled(f"a line of over {MAX_LITERAL} octets")

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
        while line.endswith(b"}\r\n") and not _NO_LITERAL(parts[0]) and (found := _LITERAL(line)):
            parts.append(self.literal(int(found[1]), keep))
            line = self.readline()
            parts.append(line)
            if len(parts) > 100:
                if not _STRUCTURE(parts[0]):
                    raise Garbled("a response of over fifty literals")
                parts = [b"* 0 FETCH (BODY (\r\n", *parts[-2:]]
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

    def arrived(self) -> bool:
        """Whether something can be read without waiting for it. Raises Lost at the connection's end.

        It takes what there is from the socket. When this is False, nothing lies in a buffer: not in TLS, not in the
        decompressor and not here, so that the socket becomes readable when more comes.
        """
        self.source.waits = False
        try:
            there = bool(self.file.peek(1))
        finally:
            self.source.waits = True
            self.source.sock.settimeout(self.source.timeout)
        if not there and self.source.ended:
            raise Lost("the connection was closed")
        return there

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.source.sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError):
            self.source.sock.shutdown(socket.SHUT_RDWR)
        self.source.sock.close()


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


@dataclass(slots=True, eq=False)
class Scan(Command[Lean]):
    """UID FETCH of lean header fields; one Lean at the end, none if refused.

    Many messages are put to the question together, as they come: `suspects` says which of them are, by their place.
    """

    first_uid: int
    last_uid: int
    at_most: int
    suspects: Callable[[Sequence[bytes]], Iterable[int]]
    since: datetime | None = None
    octets: int = field(default=MAX_LEAN, init=False)
    seen: array[int] = field(default_factory=lambda: array("Q"), init=False)
    """The UIDs of those that have come, ascending, as they nearly always come: a set would take twenty times that."""
    found: list[int] = field(default_factory=list, init=False)
    uids: list[int] = field(default_factory=list, init=False)
    """Of the messages that have come, and were not put to the question yet."""
    fields: list[bytes] = field(default_factory=list, init=False)
    """Theirs."""
    held: int = field(default=0, init=False)

    def skim(self, wire: Wire, octets: int) -> list[bytes]:
        """Take the answer that nearly all servers give. Every message of a mailbox comes through here."""
        readline, read = wire.file.readline, wire.file.read
        while True:
            self.sift(wire)
            line = readline(MAX_LINE)
            found = _LEAN(line)
            if not found or int(found[3]) > MAX_LEAN or not self.wants(int(found[1])):
                return wire.response(wire.checked(line), octets)
            fields = read(int(found[3]))
            end = readline(MAX_LINE)
            if end != b")\r\n":
                return [line, fields, *wire.response(wire.checked(end), octets)]
            wire.source.useful = True
            if not self.early(internaldate(found[2] or b"")):
                self.add(int(found[1]), fields)

    def sift(self, wire: Wire) -> None:
        """Take all messages that have been received as a whole, in the usual form and in ascending order."""
        received = wire.file.peek()
        last, since = self.last_uid, self.since
        seen, uids, fields = self.seen, self.uids, self.fields
        before = seen[-1] if seen else self.first_uid - 1
        at = 0
        while found := _LEAN(received, at):
            number, date, size = found.groups()
            uid, start = int(number), found.end()
            end = start + int(size)
            if not before < uid <= last or end > start + MAX_LEAN or not received.startswith(b")\r\n", end):
                break
            at, before = end + 3, uid
            if since and self.early(internaldate(date or b"")):
                continue
            seen.append(uid)
            uids.append(uid)
            fields.append(received[start:end])
        if at:
            wire.source.useful = True
            wire.file.read(at)
            self.hold(at)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """See Command."""
        if item is None or item.uid is None or item.body is None or not item.section.startswith(_FIELDS):
            return False
        if not self.wants(item.uid):
            return False
        wire.source.useful = True
        if not self.early(item.received_at):
            self.add(item.uid, item.body[:MAX_LEAN])
        return True

    def finish(self, reply: Reply) -> None:
        """See Command."""
        self.reply = reply
        if reply.complete:  # what is refused will be asked for again
            self.look()
            self.keep(Lean(len(self.seen), tuple(sorted(self.found))))

    def wants(self, uid: int) -> bool:
        """Whether this message was asked for, and has not come yet."""
        place = bisect_left(self.seen, uid)
        has_come = place < len(self.seen) and self.seen[place] == uid
        return self.first_uid <= uid <= self.last_uid and not has_come

    def early(self, received_at: datetime | None) -> bool:
        """Whether it came before `since`. A message without a readable date is rather looked at than missed."""
        return self.since is not None and received_at is not None and received_at < self.since

    def add(self, uid: int, fields: bytes) -> None:
        """Note a message that has come."""
        insort(self.seen, uid)
        self.uids.append(uid)
        self.fields.append(fields)
        self.hold(len(fields))

    def hold(self, octets: int) -> None:
        """Note that so many octets more are held, and put them to the question when they are enough."""
        if len(self.seen) > self.at_most:
            raise Garbled("more messages than there are")
        self.held += octets
        if self.held >= LOOKED_AT_ONCE:
            self.look()

    def look(self) -> None:
        """Put what is held to the question."""
        uids, fields, self.uids, self.fields, self.held = self.uids, self.fields, [], [], 0
        if uids:
            self.found.extend(uids[place] for place in self.suspects(fields))


class Pipe:
    """Commands in flight on one wire.

    Whoever wants an answer has all that comes before it read too; it is kept for whoever asks, or dropped when nobody
    will. After any trouble other than Refused the connection is of no use any more.
    """

    def __init__(self, wire: Wire) -> None:
        self.broken = False
        self._wire = wire
        self._flying: deque[Command[Any]] = deque()
        self._tags = cycle(_TAGS)
        self._posted: list[Command[Any]] = []
        self._spoken_to: Command[Any] | None = None
        """Who took the last response, while an earlier command may not have ended: probably takes the next one, too."""

    @property
    def idle(self) -> bool:
        """Whether no answer is on its way."""
        return not self._flying

    def send(self, *commands: Command[Any]) -> None:
        """Send these commands in one go, without waiting for answers."""
        with self._or_broken():
            if not self._flying:
                self._wire.restart()
            together, self._posted = [*self._posted, *commands], []
            for command in together:
                command.tag = next(self._tags)
            self._flying.extend(together)
            self._wire.send(b"".join(b"%s %s\r\n" % (command.tag, command.text) for command in together))

    def post(self, command: Command[Any]) -> None:
        """Send this command in one go with the next one: it is in no hurry, and costs no turn of its own."""
        self._posted.append(command)

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
        """Send these commands in one go; return how each ended, with the untagged responses of all."""
        return self.end(self.begin(*texts))

    def begin(self, *texts: bytes) -> list[Ask]:
        """Send these commands in one go; `end` waits for their answers. No two such questions are open at a time."""
        while any(isinstance(command, Ask) for command in self._flying):
            self._advance()
        commands = [Ask(text) for text in texts]
        self.send(*commands)
        return commands

    def end(self, commands: Sequence[Ask]) -> tuple[Reply, ...]:
        """Return how these commands ended, each with the untagged responses of all."""
        replies = [self._end_of(command) for command in commands]
        lines = tuple(line for command in commands for line in command.kept)
        return tuple(replace(reply, lines=lines) for reply in replies)

    def drain(self) -> None:
        """Read all answers that are on their way."""
        while self._flying:
            self._advance()

    def _end_of(self, command: Command[Any]) -> Reply:
        while command.reply is None:
            self._advance()
        return command.reply

    def _advance(self) -> None:
        """Read one response more, or several alike, and give them to whoever asked."""
        with self._or_broken():
            octets = max(command.octets for command in self._flying)
            parts = (self._spoken_to or self._flying[0]).skim(self._wire, octets)
            if parts[0].startswith(b"* "):
                self._untagged(parts)
            elif not (parts[0].startswith(b"+") and self._flying[0].go_on()):
                self._tagged(parts[0])

    def _untagged(self, parts: list[bytes]) -> None:
        if (bye := _BYE(parts[0])) and not any(isinstance(command, Leave) for command in self._flying):
            raise Lost(bye[1].strip().decode("utf-8", "replace"))
        item = _parsed(parts)
        self._spoken_to = next((command for command in self._flying if command.take(self._wire, parts, item)), None)

    def _tagged(self, line: bytes) -> None:
        tag, _, rest = line.partition(b" ")
        command = next((command for command in self._flying if command.tag == tag), None)
        if command is None:
            raise Garbled(f"an unexpected line: {line[:40]!r}")
        self._flying.remove(command)
        self._spoken_to = None
        self._wire.restart()
        command.finish(_ended(rest))

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


def _parsed(parts: list[bytes]) -> Fetched | None:
    """Parse a response; None when it is no FETCH response."""
    if not _FETCH(parts[0]):
        return None
    if _STRUCTURE(parts[0]):
        return _structured(parts)
    found = _attributes(parts)
    flags, date = found.get(b"FLAGS"), found.get(b"INTERNALDATE")
    section = next((name for name in found if name.startswith(b"BODY[")), b"")
    return Fetched(
        _number(found.get(b"UID")),
        internaldate(date) if date else None,
        _number(found.get(b"RFC822.SIZE")),
        None if flags is None else tuple(flags.split()),
        section,
        found.get(section),
    )


def _structured(parts: list[bytes]) -> Fetched:
    """Read of a response to FETCH (UID BODY) the types of a multipart's parts (RFC 3501, 7.4.2)."""
    texts = (part.rpartition(b"{")[0] if part.endswith(b"}\r\n") else part for part in parts[::2])
    depth, uid, name = 0, None, b""
    types: list[str] = []
    words: list[bytes] = []
    for piece in _PIECE(b'""'.join(texts), parts[0].index(b"(")):
        kind, value = piece.lastindex, piece[piece.lastindex or 0]
        if kind == _OPEN:
            depth += 1
            if depth == 3:  # FETCH ( BODY ( part (
                words = []
            elif depth == 4 and not words:
                words = [b"multipart"]  # a part that begins with a part
        elif kind == _CLOSE:
            if depth == 3:
                types.append(b"/".join(words[:2]).decode("ascii", "replace").lower())
            depth -= 1
        elif depth == 3 and len(words) < 2:
            words.append(value)
        elif depth == 2 and not types:
            break  # not a multipart
        elif depth == 1:
            uid, name = _number(value) if name == b"UID" else uid, value.upper()
    return Fetched(uid, None, None, None, b"", None, None if depth else tuple(types))


def _attributes(parts: list[bytes]) -> dict[bytes, bytes | None]:
    """Return what the response says, by upper-case name (RFC 3501, 9: msg-att); a list as its words."""
    found: dict[bytes, bytes | None] = {}
    name: bytes | None = None
    words: list[bytes] = []
    depth = 0
    for kind, value in _tokens(parts):
        if kind == _OPEN:
            depth, words = depth + 1, words if depth > 1 else []
        elif kind == _CLOSE:
            depth -= 1
            if depth == 1 and name is not None:
                found[name], name = b" ".join(words), None
        elif depth > 1:
            words.append(value)
        elif name is None:
            name = value.upper()
        else:
            found[name], name = None if kind == _ATOM and value.upper() == b"NIL" else value, None
    return found


def _tokens(parts: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each token of a FETCH response with its kind, a group of _TOKEN."""
    start = _FETCH(parts[0])
    at = start.end() if start else 0
    for index in range(0, len(parts), 2):
        text = parts[index]
        while at < len(text):
            token = _TOKEN(text, at)
            if token is None:
                raise Garbled(f"a FETCH response that cannot be read: {text[at : at + 40]!r}")
            at, kind = token.end(), token.lastindex or _END
            if kind == _QUOTED:
                yield kind, _ESCAPED.sub(rb"\1", token[kind])
            elif kind != _END:
                yield kind, parts[index + 1] if kind == _LITERAL_NEXT else token[kind]
        at = 0


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) <= 20 else None


def internaldate(value: bytes) -> datetime | None:
    """Read a date-time (RFC 3501, 9), such as ` 1-Mar-2026 12:00:00 +0100`; None when it is none."""
    found = _INTERNALDATE(value)
    if not found:
        return None
    day, month, year, hour, minute, second, *zone = found.groups()
    try:
        number = _MONTHS.index(month.lower()) + 1
        return datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=_zone(*zone))
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _zone(sign: bytes, hours: bytes, minutes: bytes) -> timezone:
    """Return the zone; there are few in a mailbox. Raises ValueError."""
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == b"-" else offset) if offset else UTC


def _ended(line: bytes) -> Reply:
    status, _, text = line.rstrip(b"\r\n").decode("utf-8", "replace").partition(" ")
    if status.upper() not in {"OK", "NO", "BAD"}:
        raise Garbled(f"an unexpected end of an answer: {status[:40]!r}")
    return Reply(status.upper(), text)
