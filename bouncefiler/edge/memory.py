"""An IMAP account in memory, for tests: it keeps the promises that `edge/imap.py` keeps, bound by the same contract."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from bouncefiler.errors import CannotMove, FolderMissing, FolderRenumbered, OverQuota
from bouncefiler.filing.plan import MessageRef, Method, MoveBatch
from bouncefiler.recognition.identity import MAX_HEADER_OCTETS
from bouncefiler.sent import Stretch
from bouncefiler.sweep import FolderState, Moved, Reading, Span, Suspects, Window

T = TypeVar("T")

_AT_HAND = re.compile(rb"(?mis)^(?:message-id|date|from|to|cc):.*?\n(?![ \t])")
_EVERY_FIELD = re.compile(
    rb"(?mis)^(?:message-id|date|from|to|cc|bcc|list-id|list-unsubscribe|precedence|dkim-signature):.*?\n(?![ \t])"
)
_LEAN = re.compile(rb"(?mis)^(?:from|subject|content-type|message-id):.*?\n(?![ \t])")
_TYPES = re.compile(rb"(?mi)^content-type:\s*([a-z0-9/_.-]+)")
_HEADER_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Stored:
    """A message at rest."""

    raw: bytes
    received_at: datetime
    flags: frozenset[str] = frozenset()


@dataclass(slots=True)
class Folder:
    """A folder: UIDs ascend and are never used twice under one UIDVALIDITY."""

    uidvalidity: int
    uidnext: int = 1
    messages: dict[int, Stored] = field(default_factory=dict)

    def add(self, message: Stored) -> int:
        """Put a message in and return its UID."""
        uid, self.uidnext = self.uidnext, self.uidnext + 1
        self.messages[uid] = message
        return uid


@dataclass(slots=True)
class MemoryAccount:
    """The account. `effect` is told each change just before and just after it is made, and may raise to play a crash.

    `can_create` and `room` stand for a server's permissions and quota; `tells` says whether it sends COPYUID.
    """

    folders: dict[str, Folder]
    native: bool = True
    can_create: bool = True
    room: int | None = None
    tells: bool = True
    window: int = 1_000
    effect: Callable[[str], None] = lambda _what: None
    targets: dict[str, FolderState] = field(default_factory=dict)
    """What `prepare` answers when it is asked again."""

    @classmethod
    def of(cls, inbox: Sequence[Stored]) -> MemoryAccount:
        """Make an account whose INBOX holds these messages."""
        account = cls({"INBOX": Folder(uidvalidity=1_000)})
        for message in inbox:
            account.folders["INBOX"].add(message)
        return account

    def state(self, folder: str) -> FolderState | None:
        """See sweep.Reader."""
        held = self.folders.get(folder)
        return FolderState(folder, held.uidvalidity, held.uidnext, len(held.messages)) if held else None

    def scan(self, state: FolderState, span: Span, suspects: Suspects) -> Iterator[Window]:
        """See sweep.Reader."""
        for first in range(span.first_uid, state.uidnext, self.window):
            last = min(first + self.window, state.uidnext) - 1
            inside = [
                (uid, held)
                for uid, held in sorted(self._same(state).messages.items())
                if first <= uid <= last and (span.since is None or held.received_at >= span.since)
            ]
            places = suspects([_lean_fields(held.raw) for _, held in inside])
            yield Window(len(inside), last, tuple(inside[place][0] for place in sorted(places)))

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        messages = self._same(state).messages
        for uid in uids:
            if uid in messages:
                yield _reading(uid, messages[uid], octets)

    def parts(self, state: FolderState, uids: Sequence[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """See sweep.Reader. It is as coarse as a fake may be: the types of all parts that say theirs, at any depth."""
        messages = self._same(state).messages
        for uid in uids:
            if uid in messages:
                types = _TYPES.findall(messages[uid].raw)
                yield uid, tuple(type_.decode("ascii").lower() for type_ in types[1:])

    def sent_folders(self) -> tuple[str, ...]:
        """See sent.SentReader."""
        return tuple(name for name in self.folders if name.lower().startswith("sent"))

    def look_at(self, folder: str) -> FolderState | None:
        """See sent.SentReader."""
        return self.state(folder)

    def header_fields(
        self, state: FolderState, stretch: Stretch, make: Callable[[bytes, datetime | None], T]
    ) -> Iterator[tuple[range, tuple[T, ...]]]:
        """See sent.SentReader."""
        fields = _EVERY_FIELD if stretch.every_field else _AT_HAND
        starts = range(stretch.uids[0], stretch.uids[-1] + 1, self.window)
        for start in reversed(starts) if stretch.newest_first else starts:
            uids = range(start, min(start + self.window, stretch.uids[-1] + 1))
            held = [message for uid, message in sorted(self._same(state).messages.items()) if uid in uids]
            self.effect(f"before reading {uids}")
            yield uids, tuple(make(_fields(fields, message.raw), message.received_at) for message in held)
            self.effect(f"after reading {uids}")

    def find_in_all_mail(self, message_ids: Sequence[str]) -> frozenset[str]:  # noqa: ARG002 - it is not Gmail
        """See sent.SentReader."""
        return frozenset()

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        """See sweep.Reader."""
        for uid, held in sorted(self._same(state).messages.items()):
            if uid >= first_uid:
                end = _HEADER_END.search(held.raw)
                yield _reading(uid, held, min(end.end() if end else len(held.raw), MAX_HEADER_OCTETS))

    @property
    def method(self) -> Method:
        """See sweep.Mover."""
        return Method.MOVE if self.native else Method.COPY

    def expect(self, folder: str) -> None:
        """See sweep.Mover."""

    def prepare(self, folder: str) -> FolderState:
        """See sweep.Mover."""
        if folder == "INBOX":
            raise CannotMove("mail is never filed in INBOX")
        if folder not in self.folders:
            if not self.can_create:
                raise FolderMissing(f"there is no folder {folder!r} and the server does not let us make it")
            self._does(f"create {folder}", lambda: self.folders.setdefault(folder, Folder(2_000 + len(self.folders))))
            self.targets.pop(folder, None)
        if folder not in self.targets or not self.native:
            state = self.state(folder)
            assert state is not None  # noqa: S101 - it has just been made
            self.targets[folder] = state
        return self.targets[folder]

    def move(self, batch: MoveBatch) -> Moved:
        """See sweep.Mover."""
        return self.begin_move(batch)()

    def begin_move(self, batch: MoveBatch) -> Callable[[], Moved]:
        """See sweep.Mover. It is done at once; only the answer waits."""
        moved = self._moved(batch)

        def answer() -> Moved:
            self.effect("before the answer")
            return moved

        return answer

    def _moved(self, batch: MoveBatch) -> Moved:
        source = self._same_as(batch.source, batch.uidvalidity)
        if batch.to not in self.folders:
            raise FolderMissing(f"there is no folder {batch.to!r}")
        target = self.folders[batch.to]
        uids = [uid for uid in batch.uids if uid in source.messages]
        if self.room is not None and len(uids) > self.room:
            raise OverQuota("the account is full")
        copied: dict[int, int] = {}
        if self.native:
            self._does("move", lambda: copied.update((uid, target.add(source.messages.pop(uid))) for uid in uids))
        else:
            self._does("copy", lambda: copied.update((uid, target.add(source.messages[uid])) for uid in uids))
            self._does("remove", lambda: _drop(source, copied))
        return Moved(target.uidvalidity, copied) if self.tells or not self.native else Moved()

    def remove(self, refs: Sequence[MessageRef]) -> None:
        """See sweep.Mover."""
        for ref in refs:
            source = self._same_as(ref.folder, ref.uidvalidity)
            self._does("remove", partial(_drop, source, (ref.uid,)))

    def renumber(self, folder: str) -> None:
        """Give the folder a new UIDVALIDITY, as a server does after it was restored."""
        old = self.folders[folder]
        self.folders[folder] = new = Folder(old.uidvalidity + 1)
        for _, message in sorted(old.messages.items()):
            new.add(message)

    def flag(self, folder: str, uid: int, flag: str) -> None:
        """Set a flag, as another client would."""
        held = self.folders[folder].messages[uid]
        self.folders[folder].messages[uid] = replace(held, flags=held.flags | {flag})

    def _does(self, what: str, change: Callable[[], object]) -> None:
        self.effect(f"before {what}")
        change()
        self.effect(f"after {what}")

    def _same(self, state: FolderState) -> Folder:
        return self._same_as(state.folder, state.uidvalidity)

    def _same_as(self, folder: str, uidvalidity: int) -> Folder:
        held = self.folders.get(folder)
        if held is None or held.uidvalidity != uidvalidity:
            raise FolderRenumbered(f"folder {folder!r} was renumbered meanwhile; the next run reads it anew")
        return held


def _drop(folder: Folder, uids: Iterable[int]) -> None:
    for uid in uids:
        folder.messages.pop(uid, None)


def _reading(uid: int, held: Stored, octets: int) -> Reading:
    return Reading(uid, held.received_at, len(held.raw), r"\Deleted" in held.flags, held.raw[:octets])


def _lean_fields(raw: bytes) -> bytes:
    return _fields(_LEAN, raw)


def _fields(wanted: re.Pattern[bytes], raw: bytes) -> bytes:
    end = _HEADER_END.search(raw)
    block = raw[: end.start()] + b"\r\n\r\n" if end else raw + b"\r\n"
    return b"".join(wanted.findall(block))
