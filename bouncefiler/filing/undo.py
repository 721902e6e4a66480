"""What of the mail that was filed is to be put back: an Undo, which is a value.

A message is put back from where it is now, and only if it is still where it was filed. What the user has moved
elsewhere or deleted in the meantime is named, and not searched for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bouncefiler.filing.plan import Arrival, Judged, MessageRef, Move, MoveBatch, in_commands
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict


@dataclass(frozen=True, slots=True)
class FiledMessage:
    """A message that a run moved. `subject` and `recipients` are the mail's words: untrusted, and cut short."""

    id: int
    """The number by which people name it; unique within the account."""
    run: int
    ref: MessageRef
    """Where it was."""
    to: MessageRef | None
    """Where it went, None when that is not known exactly."""
    to_folder: str
    to_uidvalidity: int
    """UIDVALIDITY of `to_folder` when the move was intended, and in `to_uidnext` its UIDNEXT at or before that."""
    to_uidnext: int
    fingerprint: Fingerprint
    size: int
    received_at: datetime
    kind: Kind
    cause: Cause | None
    subject: str
    recipients: tuple[str, ...]
    undone: bool = False
    """Whether it has been put back since."""
    undoes: int | None = None
    """The `id` of the move that this one took back; None when it was filed."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that moved mail: how many messages, and how many of them have been put back since."""

    id: int
    command: str
    began: datetime
    moved: int
    undone: int


@dataclass(frozen=True, slots=True)
class Held:
    """A folder as it is now, and those of its messages that may be the ones looked for."""

    uidvalidity: int
    uidnext: int
    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True)
class Stays:
    """A message that was asked for and cannot be put back, and why."""

    message: FiledMessage
    why: str


@dataclass(frozen=True, slots=True)
class Undo:
    """What is to be put back, folder by folder, and what is not. Each message asked for appears exactly once."""

    batches: tuple[MoveBatch, ...] = ()
    stays: tuple[Stays, ...] = ()

    @property
    def moves(self) -> tuple[tuple[Move, str], ...]:
        """All moves, in batch order, each with the folder that it goes to."""
        return tuple((move, batch.to) for batch in self.batches for move in batch.moves)


def plan_undo(messages: Iterable[FiledMessage], held: Mapping[str, Held], homes: Collection[str]) -> Undo:
    """Plan to put these messages back where they came from.

    `held` tells what the folders that they were filed in hold now; one that is gone is not in it. `homes` names those
    of the folders they came from that still exist: none is made anew.
    """
    shelves = {folder: _Shelf(what) for folder, what in held.items()}
    moves: dict[tuple[str, str], list[Move]] = defaultdict(list)
    stays: list[Stays] = []
    for message in sorted(messages, key=lambda message: (message.to is None, message.id)):
        found = _found(message, shelves.get(message.to_folder), homes)
        if isinstance(found, Arrival):
            moves[message.to_folder, message.ref.folder].append(_way_back(message, found))
        else:
            stays.append(Stays(message, found))
    batches = tuple(
        MoveBatch(source, held[source].uidvalidity, home, chunk, held[source].uidnext)
        for (source, home), group in moves.items()
        for chunk in in_commands(sorted(group, key=lambda move: move.judged.arrival.ref.uid))
    )
    return Undo(batches, tuple(sorted(stays, key=lambda stays: stays.message.id)))


def _found(message: FiledMessage, shelf: _Shelf | None, homes: Collection[str]) -> Arrival | str:
    """Return the message as it is now, or why it is not to be moved."""
    if message.undone or message.undoes is not None:
        return "has been put back already"
    if shelf is None:
        return f"the folder {message.to_folder!r} is gone"
    arrival = shelf.take(message)
    if arrival is None:
        return f"no longer in {message.to_folder!r}: you moved or deleted it"
    if arrival.deleted:
        return "you marked it as deleted"
    if message.ref.folder not in homes:
        return f"came from {message.ref.folder!r}, and that folder is gone"
    return arrival


def _way_back(message: FiledMessage, arrival: Arrival) -> Move:
    verdict = Verdict(message.kind, message.cause, tuple(map(Recipient, message.recipients)))
    return Move(Judged(arrival, verdict, message.subject), "undo", by_rule=False, undoes=message.id)


class _Shelf:
    """What a folder holds, each message to be taken once only: byte-identical twins exist."""

    def __init__(self, held: Held) -> None:
        self._uidvalidity = held.uidvalidity
        self._by_uid = {arrival.ref.uid: arrival for arrival in held.arrivals}

    def take(self, message: FiledMessage) -> Arrival | None:
        """Take the message: by its UID as long as the folder's UIDs are those of then, else by its fingerprint."""
        if message.to is not None and message.to.uidvalidity == self._uidvalidity:
            here = self._by_uid.get(message.to.uid)
            return self._by_uid.pop(message.to.uid) if here and here.fingerprint == message.fingerprint else None
        # Without COPYUID a copy of ours has at least the UIDNEXT of then; in a folder numbered anew, any UID.
        first_uid = message.to_uidnext if message.to_uidvalidity == self._uidvalidity else 1
        alike = [
            arrival
            for uid, arrival in self._by_uid.items()
            if uid >= first_uid and arrival.fingerprint == message.fingerprint
        ]
        if not alike:
            return None
        best = min(alike, key=lambda a: (a.received_at != message.received_at, a.size != message.size, a.ref.uid))
        return self._by_uid.pop(best.ref.uid)
