"""What is to be done with the messages that were read: a Plan, which is a value.

A ref says where a message is, a fingerprint says which message it is: UIDs die with UIDVALIDITY, a fingerprint
survives moves. A plan's first page settles what a crash left open, by what is in the account now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType

from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Verdict

MAX_UID_SET_CHARS = 6_000
"""UID sets stay well below the 8,192 octets that RFC 7162, 4 names as a line that servers should accept."""


@dataclass(frozen=True, slots=True, order=True)
class MessageRef:
    """Where a message is (RFC 3501, 2.3.1.1: folder, UIDVALIDITY and UID together never mean another message)."""

    folder: str
    uidvalidity: int
    uid: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the server holds it; `received_at` is INTERNALDATE, aware, never the Date: header."""

    ref: MessageRef
    fingerprint: Fingerprint
    received_at: datetime
    size: int
    deleted: bool = False
    """Whether somebody has flagged it \\Deleted."""


@dataclass(frozen=True, slots=True)
class File:
    """Move it to the folder `to`; `because` is the kind, or the user's rule, that says so."""

    to: str
    because: str
    by_rule: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave it where it is."""

    why: str


Disposition = File | Leave


@dataclass(frozen=True, slots=True)
class FilingPolicy:
    """What the user wants filed, and where.

    `routes` maps the name of a user's rule to its own answer, which comes before kind and cause.
    """

    bounce_folder: str = "Bounces"
    kinds: frozenset[Kind] = frozenset({Kind.FAILED, Kind.DELAYED})
    cause_folders: Mapping[Cause, str] = field(default_factory=dict)
    routes: Mapping[str, Disposition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """A message and what it is."""

    arrival: Arrival
    verdict: Verdict
    subject: str = ""
    """The decoded Subject, for people to recognise the message by. Untrusted."""


@dataclass(frozen=True, slots=True)
class Move:
    """One message that is to go to the batch's target."""

    judged: Judged
    because: str
    by_rule: bool
    undoes: int | None = None
    """The number of the earlier move that this one takes back; None when it files the message."""


@dataclass(frozen=True, slots=True)
class MoveBatch:
    """Messages of one folder for one target: one UID MOVE."""

    source: str
    uidvalidity: int
    to: str
    moves: tuple[Move, ...]
    source_uidnext: int = 0
    """UIDNEXT of the source when it was read: what is put back there later has this UID or a higher one."""

    @property
    def uids(self) -> tuple[int, ...]:
        """The UIDs, ascending."""
        return tuple(move.judged.arrival.ref.uid for move in self.moves)


@dataclass(frozen=True, slots=True)
class Left:
    """A message that was looked at and stays, and why."""

    judged: Judged
    why: str


class Method(StrEnum):
    """How the server moves: natively (RFC 6851), or as COPY, then removal of exactly the copied UIDs (RFC 4315)."""

    MOVE = "move"
    COPY = "copy"


class Outcome(StrEnum):
    """How an intended move ended."""

    MOVED = "moved"
    GONE = "gone"
    """Neither in the source nor in the target: the user or another program took it."""
    VOID = "void"
    """It never happened; the message is where it was."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An intended move that is not settled yet.

    `to_uidnext` is the UIDNEXT that the target had at or before the intent: a copy of ours has no lower UID.
    """

    id: int
    ref: MessageRef
    fingerprint: Fingerprint
    size: int
    received_at: datetime
    to: str
    to_uidvalidity: int
    to_uidnext: int
    method: Method
    puts_back: bool = False
    """Whether it takes an earlier move back."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of a journal entry; `remove` names the original to remove where only the COPY had been done."""

    entry: JournalEntry
    outcome: Outcome
    to_ref: MessageRef | None = None
    remove: MessageRef | None = None


@dataclass(frozen=True, slots=True)
class LooseEnds:
    """Unsettled journal entries, and what the account holds now.

    `present`: the messages found at the entries' own refs. `renumbered`: source folders whose UIDVALIDITY is no longer
    the entries'. `found`: for each target folder, what it holds from the lowest `to_uidnext` on (all of it, where the
    target was renumbered).
    """

    entries: tuple[JournalEntry, ...] = ()
    present: Mapping[MessageRef, Arrival] = field(default_factory=dict)
    renumbered: frozenset[str] = frozenset()
    found: Mapping[str, tuple[Arrival, ...]] = field(default_factory=dict)
    taken: frozenset[MessageRef] = frozenset()
    """Where settled moves went: no copy that is found there belongs to an open one, twin or not."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far a folder has been read: everything up to and including `last_uid`."""

    folder: str
    uidvalidity: int
    last_uid: int


Filed = Mapping[Fingerprint, Collection[Watermark]]
"""Fingerprints that were filed, each with how far its folder was numbered when that was done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done about one window of one folder (or, first, about the loose ends of a crash)."""

    settlements: tuple[Settlement, ...] = ()
    batches: tuple[MoveBatch, ...] = ()
    left: tuple[Left, ...] = ()
    scanned: int = 0
    watermark: Watermark | None = None
    done: float = 0.0
    """How much of the folder has been read when this plan is carried out, 0 to 1."""

    @property
    def moves(self) -> tuple[Move, ...]:
        """All moves, in batch order."""
        return tuple(move for batch in self.batches for move in batch.moves)


_WHY_LEFT = {
    Kind.FAILED: "failed delivery: `kinds` in the configuration leaves it out",
    Kind.DELAYED: "delayed delivery: `kinds` in the configuration leaves it out",
    Kind.DELIVERED: "says that mail was delivered",
    Kind.FEEDBACK: "complaint about spam, no bounce",
    Kind.AUTOREPLY: "automatic reply, no bounce",
    Kind.RECEIPT: "receipt, no bounce",
    Kind.CHALLENGE: "asks the sender to confirm, no bounce",
    Kind.IMITATION: "imitation of a bounce: treat it as suspicious",
    Kind.OTHER: "no bounce",
}


def decide(verdict: Verdict, policy: FilingPolicy) -> Disposition:
    """Say what is to be done with a message of this verdict. The user's rules come first, in their order."""
    for name in verdict.rules:
        if name in policy.routes:
            return policy.routes[name]
    if verdict.kind is Kind.IMITATION or verdict.kind not in policy.kinds:
        return Leave(_WHY_LEFT[verdict.kind])
    folder = policy.cause_folders.get(verdict.cause, policy.bounce_folder) if verdict.cause else policy.bounce_folder
    return File(folder, verdict.kind)


def make_plan(
    judged: Iterable[Judged],
    policy: FilingPolicy,
    *,
    filed: Filed = MappingProxyType({}),
    uidnexts: Mapping[str, int] = MappingProxyType({}),
    loose_ends: LooseEnds | None = None,
) -> Plan:
    """Plan for the messages of one window.

    `filed` names the fingerprints that were filed before: such a message was put back by the user, and stays.
    `uidnexts` gives the UIDNEXT of each folder that the messages are in. Each judged message appears exactly once, in a
    batch or in `left`; messages held by an entry that is settled other than `void` are left out.
    """
    settlements = settle(loose_ends) if loose_ends else ()
    held = {s.entry.ref for s in settlements if s.outcome is not Outcome.VOID}
    moves: dict[tuple[str, int, str], list[Move]] = defaultdict(list)
    left: list[Left] = []
    for item in judged:
        ref = item.arrival.ref
        if ref in held:
            continue
        match _disposition(item, policy, filed):
            case File(to=to) if to == ref.folder:
                left.append(Left(item, "already in its folder"))
            case File(to=to, because=because, by_rule=by_rule):
                moves[ref.folder, ref.uidvalidity, to].append(Move(item, because, by_rule))
            case Leave(why=why):
                left.append(Left(item, why))
    batches = tuple(
        MoveBatch(source, uidvalidity, to, chunk, uidnexts.get(source, 0))
        for (source, uidvalidity, to), group in moves.items()
        for chunk in in_commands(sorted(group, key=lambda move: move.judged.arrival.ref.uid))
    )
    return Plan(settlements, batches, tuple(left))


def _disposition(item: Judged, policy: FilingPolicy, filed: Filed) -> Disposition:
    disposition = decide(item.verdict, policy)
    if isinstance(disposition, File):
        if _put_back(item.arrival, filed):
            return Leave("put back by you")
        if item.arrival.deleted:
            return Leave("you marked it as deleted")
    return disposition


def _put_back(arrival: Arrival, filed: Filed) -> bool:
    """Whether this is a message that was filed, rather than a twin that lay beside it when that was done."""
    marks = filed.get(arrival.fingerprint)
    if not marks:
        return False
    ref = arrival.ref
    return not any(
        (mark.folder, mark.uidvalidity) == (ref.folder, ref.uidvalidity) and ref.uid <= mark.last_uid for mark in marks
    )


def in_commands(moves: list[Move]) -> Iterable[tuple[Move, ...]]:
    """Cut the moves, ascending by UID, so that each chunk's UID set fits one command."""
    start, room = 0, MAX_UID_SET_CHARS
    for index, move in enumerate(moves):
        need = len(str(move.judged.arrival.ref.uid)) + 1
        if need > room:
            yield tuple(moves[start:index])
            start, room = index, MAX_UID_SET_CHARS
        room -= need
    if moves[start:]:
        yield tuple(moves[start:])


def outline(plan: Plan) -> Plan:
    """Return the plan with no more of the messages that it moves than where they are: a tenth of the memory."""
    return replace(plan, batches=tuple(map(_bare, plan.batches)))


def _bare(batch: MoveBatch) -> MoveBatch:
    return replace(
        batch,
        moves=tuple(
            Move(Judged(move.judged.arrival, _BARE), move.because, move.by_rule, move.undoes) for move in batch.moves
        ),
    )


_BARE = Verdict(Kind.OTHER)


def uid_set(uids: Iterable[int]) -> str:
    """Write ascending UIDs as an IMAP sequence-set (RFC 3501, 9): "1:3,7". Raises ValueError when there are none."""
    ordered = sorted(set(uids))
    if not ordered:
        raise ValueError("a UID set cannot be empty")
    breaks = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(ordered)) if b != a + 1), len(ordered)]
    runs = ((ordered[start], ordered[stop - 1]) for start, stop in pairwise(breaks))
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in runs)


def settle(loose_ends: LooseEnds) -> tuple[Settlement, ...]:
    """Decide how each unsettled entry ended, by looking; never by repeating.

    An original is only ever removed when the server moves by COPY, the target kept its numbering, and it holds a copy,
    INTERNALDATE included, that no other entry accounts for. In every other doubt the message stays: a duplicate can be
    mended, a loss cannot.
    """
    copies = _Copies(loose_ends.found, loose_ends.taken)
    # What has left its folder has its copy first: that copy must not be taken for one of a twin that is still there.
    entries = sorted(loose_ends.entries, key=lambda entry: (_is_there(entry, loose_ends), entry.ref))
    settlements = [_settle_one(entry, loose_ends, copies) for entry in entries]
    return tuple(sorted(settlements, key=lambda settlement: settlement.entry.ref))


def _is_there(entry: JournalEntry, loose_ends: LooseEnds) -> bool:
    here = loose_ends.present.get(entry.ref)
    return here is not None and here.fingerprint == entry.fingerprint


def _settle_one(entry: JournalEntry, loose_ends: LooseEnds, copies: _Copies) -> Settlement:
    if _is_there(entry, loose_ends):
        copy = copies.take(entry, exact=True) if entry.method is Method.COPY else None
        if copy is None or copy.uidvalidity != entry.to_uidvalidity:
            return Settlement(entry, Outcome.VOID)
        return Settlement(entry, Outcome.MOVED, copy, remove=entry.ref)
    copy = copies.take(entry, exact=True) or copies.take(entry, exact=False)
    if copy is not None:
        return Settlement(entry, Outcome.MOVED, copy)
    renumbered = entry.ref.folder in loose_ends.renumbered
    return Settlement(entry, Outcome.VOID if renumbered else Outcome.GONE)


class _Copies:
    """The target's messages, each to be taken by one entry only: byte-identical twins exist."""

    def __init__(self, found: Mapping[str, tuple[Arrival, ...]], taken: frozenset[MessageRef]) -> None:
        self._free: dict[tuple[str, Fingerprint, int], list[Arrival]] = defaultdict(list)
        for folder, arrivals in found.items():
            for arrival in sorted(arrivals, key=lambda a: a.ref):
                if arrival.ref not in taken:
                    self._free[folder, arrival.fingerprint, arrival.size].append(arrival)

    def take(self, entry: JournalEntry, *, exact: bool) -> MessageRef | None:
        """Take a copy of this entry's message; `exact` asks for its INTERNALDATE too, which not every server keeps."""
        candidates = self._free[entry.to, entry.fingerprint, entry.size]
        for arrival in candidates:
            ref = arrival.ref
            if exact and arrival.received_at != entry.received_at:
                continue
            if ref.uidvalidity != entry.to_uidvalidity or ref.uid >= entry.to_uidnext:
                candidates.remove(arrival)
                return ref
        return None
