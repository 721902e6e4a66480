"""An account whose sent mail is read: which folders there are, and header fields streamed in either direction."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from bouncefiler.edge.imap.commands import MAX_LEAN, Command, Fetch, Reply
from bouncefiler.edge.imap.fetched import Fetched, internaldate
from bouncefiler.edge.imap.names import FolderInfo
from bouncefiler.edge.imap.reader import ImapReader
from bouncefiler.edge.imap.replies import fetch
from bouncefiler.edge.imap.special import all_special_folders, special_folders
from bouncefiler.edge.imap.wire import MAX_LINE, Garbled, Wire
from bouncefiler.recognition import message_id
from bouncefiler.sent import MAX_ASKED, Stretch
from bouncefiler.sweep import FolderState

SENT_WINDOW = 1_000
"""Messages in one command, and in one transaction of who keeps what they say."""

_AT_HAND = b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO CC)]"
_EVERY_FIELD = (
    b"BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM TO CC BCC LIST-ID LIST-UNSUBSCRIBE PRECEDENCE DKIM-SIGNATURE)]"
)
_ONLY_ID = b"UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
_FIELDS = b"BODY[HEADER.FIELDS"

_USUAL = re.compile(
    rb'\* \d+ FETCH \(UID (\d{1,10}) INTERNALDATE "([^"]{1,40})" BODY\[HEADER\.FIELDS \([^]]*\)\] \{(\d{1,8})\}\r\n'
).match

# What Gmail's search takes for a word of its own is left out: blanks, quotes, brackets, ":" and "|".
_ASKABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+=$~/!#&*?^'-]{0,200}@[A-Za-z0-9][A-Za-z0-9.-]{0,200}").fullmatch

_MAX_FOLDERS = 12

_MAX_HITS = 10 * MAX_ASKED

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Collect(Command[tuple[T, ...]]):
    """UID FETCH of INTERNALDATE and header fields, made into something as they come.

    Keeps one tuple at the end, in ascending order of UIDs; none if the command was refused.
    """

    uids: Sequence[int]
    at_most: int
    make: Callable[[bytes, datetime | None], T]
    octets: int = field(default=MAX_LEAN, init=False)
    made: dict[int, T] = field(default_factory=dict, init=False)

    def skim(self, wire: Wire, octets: int) -> list[bytes]:
        """Take the answer that nearly all servers give."""
        first, last = self.uids[0], self.uids[-1]
        while (found := _USUAL(line := wire.file.readline(MAX_LINE))) and (size := int(found[3])) <= octets:
            uid = int(found[1])
            if not first <= uid <= last or uid in self.made:
                break
            fields = wire.file.read(size)
            end = wire.file.readline(MAX_LINE)
            if end != b")\r\n":
                return [line, fields, *wire.response(wire.checked(end), octets)]
            self._add(wire, uid, fields, internaldate(found[2]))
        return wire.response(wire.checked(line), octets)

    def take(self, wire: Wire, parts: list[bytes], item: Fetched | None) -> bool:  # noqa: ARG002 - others do
        """See Command."""
        if item is None or item.uid is None or item.body is None or not item.section.startswith(_FIELDS):
            return False
        if not self.uids[0] <= item.uid <= self.uids[-1] or item.uid in self.made:
            return False
        self._add(wire, item.uid, item.body[:MAX_LEAN], item.received_at)
        return True

    def finish(self, reply: Reply) -> None:
        """See Command."""
        self.reply = reply
        if reply.complete:  # what is refused will be asked for again
            self.keep(tuple(self.made[uid] for uid in sorted(self.made)))
        self.made = {}

    def _add(self, wire: Wire, uid: int, fields: bytes, stored_at: datetime | None) -> None:
        wire.source.useful = True
        if len(self.made) >= self.at_most:
            raise Garbled("more messages than there are")
        self.made[uid] = self.make(fields, stored_at)


class ImapSentReader(ImapReader):
    """See sent.SentReader. Whatever the rest of the account does, these folders are opened by EXAMINE."""

    _listing: Reply | None = None
    """All folders, where they have been asked for with something else; good for one question of the same sweep."""

    def state(self, folder: str) -> FolderState | None:
        """See sweep.Reader. A sweep begins so: folders may have come and gone since the last one."""
        self._listing = None
        return super().state(folder)

    def sent_folders(self) -> tuple[str, ...]:
        """See sent.SentReader. Other people's folders, which a server may show beside the user's own, are left out."""
        return all_special_folders(self._own_folders(), "\\Sent")[:_MAX_FOLDERS]

    def look_at(self, folder: str) -> FolderState | None:
        """See sent.SentReader."""
        with self._only_looking():
            selected = self._select(folder)
            return selected.state if selected else None

    def header_fields(
        self, state: FolderState, stretch: Stretch, make: Callable[[bytes, datetime | None], T]
    ) -> Iterator[tuple[range, tuple[T, ...]]]:
        """See sent.SentReader. The next part is on its way while this one is worked on."""
        items = b"UID INTERNALDATE " + (_EVERY_FIELD if stretch.every_field else _AT_HAND)

        def send(uids: Sequence[int]) -> Command[tuple[T, ...]]:
            return self._send(Collect(fetch(uids, items), uids, min(len(uids), 4 * SENT_WINDOW), make), state)

        with self._only_looking():
            edge = stretch.uids[-1] if stretch.newest_first else stretch.uids[0] - 1
            for job, answers in self._in_turn(self._windows(state, stretch), send):
                parts = {uids[0]: made for uids, made in answers}
                made = tuple(item for first in sorted(parts) for item in parts[first])
                part = range(job[0], edge + 1) if stretch.newest_first else range(edge + 1, job[-1] + 1)
                edge = part[0] - 1 if stretch.newest_first else part[-1]
                yield part, made
            rest = range(stretch.uids[0], edge + 1) if stretch.newest_first else range(edge + 1, stretch.uids[-1] + 1)
            if rest:
                yield rest, ()

    def find_in_all_mail(self, message_ids: Sequence[str]) -> frozenset[str]:
        """See sent.SentReader. By Gmail's own search, in the folder that holds all mail.

        https://developers.google.com/workspace/gmail/imap/imap-extensions (X-GM-RAW),
        https://support.google.com/mail/answer/7190 (in:sent, rfc822msgid:).
        """
        asked = {id_: plain for id_ in message_ids[:MAX_ASKED] if _ASKABLE(plain := message_id.normal(id_))}
        if not asked or "X-GM-EXT-1" not in self._capabilities:
            return frozenset()
        found: set[str] = set()
        for folder in special_folders(self._own_folders(), "\\All"):
            with self._only_looking():
                if state := self.look_at(folder):
                    found |= self._ids_of(state, self._hits(asked.values()))
        return frozenset(id_ for id_, plain in asked.items() if plain in found)

    def _hits(self, plain_ids: Iterable[str]) -> Sequence[int]:
        replies = self._ask(*(b'UID SEARCH X-GM-RAW "in:sent rfc822msgid:%b"' % id_.encode() for id_ in plain_ids))
        for reply in replies:
            if reply.status != "OK":
                raise self._refusal("search in all mail", reply)
        lines = (line.split() for line in replies[0].lines if line[:9].upper() == b"* SEARCH ")
        return sorted({int(word) for words in lines for word in words[2:] if word.isdigit()})[:_MAX_HITS]

    def _ids_of(self, state: FolderState, uids: Sequence[int]) -> frozenset[str]:
        """Return the Message-IDs of these messages: the search takes them for words, in which more may agree."""

        def send(some: Sequence[int]) -> Command[Fetched]:
            return self._send(Fetch(fetch(some, _ONLY_ID), _FIELDS, frozenset(some), len(some)), state)

        items = self._each([uids] if uids else [], send)
        values = (item.body.partition(b":")[2].decode("utf-8", "replace") for _, item in items if item.body)
        return frozenset(map(message_id.normal, values))

    def _own_folders(self) -> tuple[FolderInfo, ...]:
        elsewhere, listing, self._listing = self._names.elsewhere, self._listing, None
        folders = self._folders_in(listing) if listing else self.folders()
        return tuple(folder for folder in folders if not folder.name.startswith(elsewhere))

    def _windows(self, state: FolderState, stretch: Stretch) -> list[Sequence[int]]:
        """Cut the stretch into parts of about SENT_WINDOW messages, in the order in which they are read."""
        first, last = stretch.uids[0], stretch.uids[-1]
        ranges = self._ranges(state, first, SENT_WINDOW)
        inside: list[Sequence[int]] = [range(part[0], min(part[-1], last) + 1) for part in ranges if part[0] <= last]
        return inside[::-1] if stretch.newest_first else inside

    @contextmanager
    def _only_looking(self) -> Iterator[None]:
        before, self._verb = self._verb, b"EXAMINE"
        try:
            yield
        finally:
            self._verb = before
