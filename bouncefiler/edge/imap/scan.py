"""The scan of a mailbox: lean header fields of every message, put to the question many at a time."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bouncefiler.edge.imap.commands import MAX_LEAN, Command, Reply
from bouncefiler.edge.imap.fetched import Fetched, internaldate
from bouncefiler.edge.imap.wire import MAX_LINE, Garbled, Wire

LOOKED_AT_ONCE = 32 * 1024
"""Octets of lean header fields that are put to the question together."""

_LEAN = re.compile(
    rb'\* \d+ FETCH \(UID (\d{1,10})(?: INTERNALDATE "([^"]+)")? BODY\[HEADER\.FIELDS \([^]]*\)\] \{(\d{1,8})\}\r\n'
).match
_FIELDS = b"BODY[HEADER.FIELDS"


@dataclass(frozen=True, slots=True)
class Lean:
    """What the lean header fields of one window said: how many messages there were, and which are suspects."""

    scanned: int
    suspects: tuple[int, ...]


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
