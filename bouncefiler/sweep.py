"""One pass over the watched folders: the one path that preview, clean and the service share.

`pages` reads and plans, and is handed nothing that could move mail; `carry_out` is the only function that changes the
account. What both need of the outside is stated here as protocols, which the modules in `edge` fulfil.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Protocol, TypeVar

from bouncefiler.errors import BrakePulled, FolderMissing
from bouncefiler.filing.plan import (
    Arrival,
    Filed,
    FilingPolicy,
    JournalEntry,
    Judged,
    LooseEnds,
    MessageRef,
    Method,
    MoveBatch,
    Outcome,
    Plan,
    Settlement,
    Watermark,
    make_plan,
)
from bouncefiler.recognition.identity import Fingerprint, fingerprint_of, header_block
from bouncefiler.recognition.verdict import Verdict

T = TypeVar("T")

FIRST_OCTETS = 8_192
"""What is read of each suspect."""

MORE_OCTETS = 262_144
"""What is read, once more, of those that the first octets left open."""

MAX_JUDGED = 2_000
"""How many suspects are judged for one plan."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which messages of the watched folders to look at: by default those that came since the last time."""

    folders: tuple[str, ...]
    since: datetime | None = None
    """Only messages with INTERNALDATE at or after this."""
    everything: bool = False
    """Also those that were looked at before."""


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder as the server describes it (RFC 3501, 6.3.1)."""

    folder: str
    uidvalidity: int
    uidnext: int
    exists: int


@dataclass(frozen=True, slots=True)
class Span:
    """Which part of a folder to scan: UIDs from `first_uid` on, INTERNALDATE at or after `since`."""

    first_uid: int = 1
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a folder whose lean header fields have been read."""

    scanned: int
    last_uid: int
    """No message with this UID or a lower one, and in the span, is still to come."""
    suspects: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """The first octets of one message, with what the server says about it."""

    uid: int
    received_at: datetime
    size: int
    deleted: bool
    raw: bytes


@dataclass(frozen=True, slots=True)
class Moved:
    """What the server said that it moved (COPYUID, RFC 4315): source UID → target UID. Empty when it said nothing."""

    to_uidvalidity: int = 0
    uids: Mapping[int, int] | None = None


class Reader(Protocol):
    """An account that can be read. Nothing here marks a message as seen, or changes anything else.

    All may raise AccountError. A UID that is no longer there is not an error: it is not among the answers.
    """

    def state(self, folder: str) -> FolderState | None:
        """Describe the folder; None when there is no such folder."""

    def scan(self, state: FolderState, span: Span, suspect: Callable[[bytes], bool]) -> Iterator[Window]:
        """Read the lean header fields of the span and yield, in ascending order, which UIDs `suspect` is true of.

        `suspect` gets the From, Subject, Content-Type and Message-ID fields as the server sent them. The last window
        reaches to `state.uidnext - 1`. Other calls may be made between two windows. Raises FolderRenumbered when
        UIDVALIDITY is not that of `state`.
        """

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """Read the first `octets` octets of these messages. Raises FolderRenumbered."""

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        """Read the header block of every message from this UID on. Raises FolderRenumbered."""


class Mover(Protocol):
    """An account whose mail can be moved."""

    @property
    def method(self) -> Method:
        """How this server moves. Raises CannotMove when it has no way that spares other people's mail."""

    def prepare(self, folder: str) -> FolderState:
        """Describe the target folder, made and subscribed first when missing. Raises FolderMissing, CannotMove."""

    def move(self, batch: MoveBatch) -> Moved:
        """Move these messages and no others; say what went. A UID that is not there is not an error.

        Raises FolderRenumbered, OverQuota, FolderMissing, Unreachable; after any of them, look before acting again.
        """

    def remove(self, refs: Sequence[MessageRef]) -> None:
        """Remove exactly these originals, all of one folder, whose copies are safe. Raises FolderRenumbered."""


class Ledger(Protocol):
    """What bouncefiler remembers of an account. Every method raises StoreBroken when it can't be read or written."""

    def open_entries(self) -> tuple[JournalEntry, ...]:
        """Return the moves that were intended and not settled."""

    def filed(self, fingerprints: Collection[Fingerprint]) -> Filed:
        """Return those of `fingerprints` that were moved before, and how far their folders were numbered then."""

    def settled_at(self, fingerprints: Collection[Fingerprint]) -> frozenset[MessageRef]:
        """Return where messages with these fingerprints went, by the moves that are settled."""

    def watermark(self, folder: str) -> Watermark | None:
        """Return how far the folder has been read, None when it never was."""


class Journal(Ledger, Protocol):
    """A ledger that can be written. A method returns when what it wrote is safely on disk."""

    def intend(self, batch: MoveBatch, target: FolderState, method: Method) -> None:
        """Write down the moves of the batch before they are tried."""

    def settle_moved(self, batch: MoveBatch, moved: Moved) -> int:
        """Settle those moves of the batch that `moved` names, and count their bounces; return how many."""

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Settle entries whose end was found out by looking."""

    def finish(self, plan: Plan) -> None:
        """Write down the watermark, and count the bounces that were left, once all else in the plan is done."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of the plans that were carried out."""

    scanned: int = 0
    moved: int = 0
    left: int = 0
    gone: int = 0
    unsettled: int = 0
    """Moves whose end the server did not tell: looked into at the end of the run, or at the start of the next."""
    settled: int = 0
    """Loose ends of an earlier run that were tied up."""

    def __add__(self, other: Report) -> Report:
        return Report(
            self.scanned + other.scanned,
            self.moved + other.moved,
            self.left + other.left,
            self.gone + other.gone,
            self.unsettled + other.unsettled,
            self.settled + other.settled,
        )


@dataclass(frozen=True, slots=True)
class Recogniser:
    """The two questions a sweep asks of recognition: is this worth a look, and what is it?"""

    suspect: Callable[[bytes], bool]
    examine: Callable[[bytes, bool], tuple[Verdict, str]]
    """`examine(raw, cut)` gives the verdict and the decoded Subject; `cut` says that `raw` is not the whole message."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a sweep is to look at, how it tells what a message is, and what the user wants done."""

    scope: Scope
    recogniser: Recogniser
    policy: FilingPolicy


def pages(reader: Reader, ledger: Ledger, task: Task) -> Iterator[Plan]:
    """Read the account and yield the plan of one window after the other; first that of loose ends, if there are any.

    Raises AccountError, StoreBroken; FolderMissing when a watched folder does not exist.
    """
    entries = ledger.open_entries()
    if entries:
        yield plan_loose_ends(reader, ledger, entries, task)
    for folder in task.scope.folders:
        yield from _folder_pages(reader, ledger, folder, task)


def _folder_pages(reader: Reader, ledger: Ledger, folder: str, task: Task) -> Iterator[Plan]:
    scope, recogniser = task.scope, task.recogniser
    state = reader.state(folder)
    if state is None:
        raise FolderMissing(
            f"there is no folder {folder!r} to watch; `bouncefiler folders` lists those that there are, "
            "`folders` in the configuration names the ones to watch"
        )
    span = Span(_first_uid(state, ledger.watermark(folder), scope), scope.since)
    for window in reader.scan(state, span, recogniser.suspect):
        for part in _parts(window):
            judged = tuple(judge(reader, state, part.suspects, recogniser))
            filed = ledger.filed({item.arrival.fingerprint for item in judged})
            yield replace(
                make_plan(judged, task.policy, filed=filed, uidnexts={folder: state.uidnext}),
                scanned=part.scanned,
                # A scan by date passes over older messages, so it cannot say how far the folder has been read.
                watermark=None if scope.since else Watermark(folder, state.uidvalidity, part.last_uid),
                done=(part.last_uid + 1 - span.first_uid) / max(1, state.uidnext - span.first_uid),
            )


def _first_uid(state: FolderState, watermark: Watermark | None, scope: Scope) -> int:
    if scope.everything or watermark is None or watermark.uidvalidity != state.uidvalidity:
        return 1
    return watermark.last_uid + 1


def _parts(window: Window) -> Iterator[Window]:
    """Cut a window with very many suspects, so that a flood of bounces is not held in memory at once."""
    rest = window.suspects
    while len(rest) > MAX_JUDGED:
        part, rest = rest[:MAX_JUDGED], rest[MAX_JUDGED:]
        yield Window(0, rest[0] - 1, part)
    yield replace(window, suspects=rest)


def judge(reader: Reader, state: FolderState, uids: Sequence[int], recogniser: Recogniser) -> Iterator[Judged]:
    """Judge these messages by their first octets; ask once more for those left open, or left out by the server."""
    decided: set[int] = set()
    for reading in reader.read(state, uids, FIRST_OCTETS):
        cut = _cut(reading, FIRST_OCTETS)
        verdict, subject = recogniser.examine(reading.raw, cut)
        if not cut or not (verdict.incomplete or header_block(reading.raw) is None):
            decided.add(reading.uid)
            yield Judged(arrival_of(state, reading), verdict, subject)
    for reading in reader.read(state, [uid for uid in uids if uid not in decided], MORE_OCTETS):
        verdict, subject = recogniser.examine(reading.raw, _cut(reading, MORE_OCTETS))
        yield Judged(arrival_of(state, reading), verdict, subject)


def _cut(reading: Reading, octets: int) -> bool:
    # RFC822.SIZE alone would not do: some servers estimate it.
    return octets <= len(reading.raw) < reading.size


def arrival_of(state: FolderState, reading: Reading) -> Arrival:
    """Return which message has been read; its header block must be whole, or longer than a fingerprint looks."""
    block = header_block(reading.raw)
    return Arrival(
        MessageRef(state.folder, state.uidvalidity, reading.uid),
        fingerprint_of(reading.raw if block is None else block),
        reading.received_at,
        reading.size,
        reading.deleted,
    )


def plan_loose_ends(reader: Reader, ledger: Ledger, entries: Sequence[JournalEntry], task: Task) -> Plan:
    """Look at what an interrupted run left open, and plan its end; what never happened is planned anew.

    Not so what was to be put back: it stays where it is, filed.
    """
    present: dict[MessageRef, Arrival] = {}
    judged: list[Judged] = []
    renumbered: set[str] = set()
    uidnexts: dict[str, int] = {}
    returning = {entry.ref for entry in entries if entry.puts_back}
    for folder, group in grouped(entries, lambda entry: entry.ref.folder):
        state = reader.state(folder)
        uids = sorted({entry.ref.uid for entry in group if state and entry.ref.uidvalidity == state.uidvalidity})
        if state is None or len(uids) < len({entry.ref.uid for entry in group}):
            renumbered.add(folder)
        if state is None or not uids:
            continue
        uidnexts[folder] = state.uidnext
        for item in judge(reader, state, uids, task.recogniser):
            present[item.arrival.ref] = item.arrival
            if item.arrival.ref not in returning:
                judged.append(item)
    taken = ledger.settled_at({entry.fingerprint for entry in entries})
    loose_ends = LooseEnds(tuple(entries), present, frozenset(renumbered), _found(reader, entries), taken)
    return make_plan(judged, task.policy, uidnexts=uidnexts, loose_ends=loose_ends)


def _found(reader: Reader, entries: Sequence[JournalEntry]) -> dict[str, tuple[Arrival, ...]]:
    found: dict[str, tuple[Arrival, ...]] = {}
    for folder, group in grouped(entries, lambda entry: entry.to):
        state = reader.state(folder)
        if state is None:
            continue
        kept = all(entry.to_uidvalidity == state.uidvalidity for entry in group)
        first_uid = min(entry.to_uidnext for entry in group) if kept else 1
        wanted = {entry.fingerprint for entry in group}
        arrivals = (arrival_of(state, reading) for reading in reader.headers(state, first_uid))
        found[folder] = tuple(arrival for arrival in arrivals if arrival.fingerprint in wanted)
    return found


def grouped(items: Iterable[T], key: Callable[[T], str]) -> Iterable[tuple[str, list[T]]]:
    """Group the items, in their order, by what `key` says of each."""
    groups: dict[str, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups.items()


def carry_out(plan: Plan, mover: Mover, journal: Journal) -> Report:
    """Do what the plan says, each batch written down before it is tried. The only function that changes the account.

    Raises AccountError, StoreBroken. Whatever it raises, the next `pages` begins by settling what was left open.
    """
    _settle(plan.settlements, mover, journal)
    moved = 0
    for batch in plan.batches:
        target = mover.prepare(batch.to)
        journal.intend(batch, target, mover.method)
        moved += journal.settle_moved(batch, mover.move(batch))
    journal.finish(plan)
    outcomes = Counter(settlement.outcome for settlement in plan.settlements)
    return Report(
        scanned=plan.scanned,
        moved=moved,
        left=len(plan.left),
        gone=outcomes[Outcome.GONE],
        unsettled=len(plan.moves) - moved,
        settled=outcomes[Outcome.MOVED],
    )


def _settle(settlements: Sequence[Settlement], mover: Mover, journal: Journal) -> None:
    removals: dict[str, list[MessageRef]] = defaultdict(list)
    for settlement in settlements:
        if settlement.remove:
            removals[settlement.remove.folder].append(settlement.remove)
    for refs in removals.values():
        mover.remove(refs)
    if settlements:
        journal.settle(settlements)


class Account(Reader, Mover, Protocol):
    """An account that can be read and whose mail can be moved."""


class Watcher(Protocol):
    """Who looks on while a sweep is carried out."""

    def check(self, plan: Plan) -> None:
        """See the plan before it is carried out; whatever this raises ends the sweep, with nothing of the plan done."""

    def done(self, plan: Plan, report: Report) -> None:
        """See what came of the plan."""

    def stopping(self) -> bool:
        """Whether the sweep is to end after the plan in hand."""


def clean(account: Account, journal: Journal, task: Task, watcher: Watcher) -> Report:
    """Carry out one page after the other, then look once at moves whose end the server did not tell.

    Raises what `pages` and `carry_out` raise, and what the watcher's `check` raises.
    """
    total = Report()
    for plan in chain(pages(account, journal, task), _afterthought(account, journal, task)):
        watcher.check(plan)
        report = carry_out(plan, account, journal)
        watcher.done(plan, report)
        total += report
        if watcher.stopping():
            break
    return total


def _afterthought(reader: Reader, journal: Journal, task: Task) -> Iterator[Plan]:
    entries = journal.open_entries()
    if entries:
        yield plan_loose_ends(reader, journal, entries, task)


@dataclass(slots=True)
class Brake:
    """Stops a run in which the user's own rules alone would move too much: a rule is easily too wide."""

    share: float = 0.2
    least: int = 20
    scanned: int = 0
    moved: int = 0

    def check(self, plan: Plan) -> None:
        """Count the plan's window in; raise BrakePulled when rules would by now have moved more than the share."""
        self.scanned += plan.scanned
        self.moved += sum(move.by_rule for move in plan.moves)
        if self.moved > max(self.least, self.share * self.scanned):
            raise BrakePulled(
                f"your own rules would move {self.moved} of {self.scanned} messages; nothing of these was moved. "
                "Look at `bouncefiler preview`, and say `bouncefiler clean --yes` if that is what you want"
            )
