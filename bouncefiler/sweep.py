"""One pass over the watched folders: the one path that preview, clean and the service share.

`pages` reads and plans, and is handed nothing that could move mail; `carry_out` does what a plan says. What both need
of the outside is stated here as protocols, which the modules in `edge` fulfil.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain, pairwise, starmap
from typing import Protocol, TypeVar

from bouncefiler.errors import AccountError, BrakePulled, FolderMissing
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
    outline,
)
from bouncefiler.recognition.identity import Fingerprint, fingerprint_of, header_block
from bouncefiler.recognition.verdict import Verdict

MAX_SCANNED = 20_000
"""How many messages are scanned for one plan, if few of them are suspects: so much is scanned again after a cut."""

T = TypeVar("T")

FIRST_OCTETS = 8_192
"""What is read of each suspect."""

MORE_OCTETS = 262_144
"""What is read, once more, of those that the first octets left open."""

AT_ONCE = 500
"""How many suspects are judged while as many more are on their way."""

MAX_JUDGED = 2_000
"""How many suspects are judged for one plan: while the server moves those of one, those of the next are judged.

Not fewer: for each command that moves mail Dovecot reads a Maildir anew, which takes a second at 100,000 messages.
"""


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


Suspects = Callable[[Sequence[bytes]], Iterable[int]]
"""Says which of several messages are worth reading, by their place, once each.

Each is given by its From, Subject, Content-Type and Message-ID fields, as the server sent them.
"""


def one_by_one(suspect: Callable[[bytes], bool]) -> Suspects:
    """Ask of one message at a time."""
    return lambda messages: [place for place, fields in enumerate(messages) if suspect(fields)]


class Reader(Protocol):
    """An account that can be read. Nothing here marks a message as seen, or changes anything else.

    All may raise AccountError. A UID that is no longer there is not an error: it is not among the answers.
    """

    def state(self, folder: str) -> FolderState | None:
        """Describe the folder; None when there is no such folder."""

    def scan(self, state: FolderState, span: Span, suspects: Suspects) -> Iterator[Window]:
        """Read the lean header fields of the span and yield, in ascending order, the UIDs of those that are suspects.

        The last window reaches to `state.uidnext - 1`. Other calls may be made between two windows. Raises
        FolderRenumbered when UIDVALIDITY is not that of `state`.
        """

    def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
        """Read the first `octets` octets of these messages. Raises FolderRenumbered.

        It is asked for at once, and answered while the caller does something else.
        """

    def parts(self, state: FolderState, uids: Sequence[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Say of which parts these multipart messages consist: (UID, media types in lower case). Else as `read`.

        What the server does not say clearly is left out.
        """

    def headers(self, state: FolderState, first_uid: int) -> Iterator[Reading]:
        """Read the header block of every message from this UID on. Raises FolderRenumbered."""


class Mover(Protocol):
    """An account whose mail can be moved."""

    @property
    def method(self) -> Method:
        """How this server moves. Raises CannotMove when it has no way that spares other people's mail."""

    def expect(self, folder: str) -> None:
        """Know that mail will probably go there. Nothing is done about it, but it may be asked about ahead."""

    def prepare(self, folder: str) -> FolderState:
        """Describe the target folder, made and subscribed first when missing. Raises FolderMissing, CannotMove."""

    def begin_move(self, batch: MoveBatch) -> Callable[[], Moved]:
        """Have these messages and no others moved; what comes back waits for the end, and says what went.

        A UID that is not there is not an error. Messages can be read in between; one move is begun at a time.
        Both raise FolderRenumbered, OverQuota, FolderMissing, Unreachable; after any of them, look before acting again.
        """

    def move(self, batch: MoveBatch) -> Moved:
        """Begin a move and wait for its end."""

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

    def at_once(self) -> AbstractContextManager[None]:
        """Have what is written in this context written together, when it ends; nothing of it when that raises."""


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
    """The two questions a sweep asks of recognition: which of these are worth a look, and what is this?"""

    suspects: Suspects
    examine: Callable[[bytes, bool], tuple[Verdict, str]]
    """`examine(raw, cut)` gives the verdict and the decoded Subject; `cut` says that `raw` is not the whole message."""
    prepare: Callable[[], None] = lambda: None
    """Called when there will be something to suspect, so that what `examine` needs can be got ready in the meantime."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a sweep is to look at, how it tells what a message is, and what the user wants done."""

    scope: Scope
    recogniser: Recogniser
    policy: FilingPolicy
    page: int = MAX_JUDGED
    """How many suspects are judged for one plan, give or take AT_ONCE."""


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
    if state.exists and span.first_uid < state.uidnext:
        recogniser.prepare()
    parts = (part for window in reader.scan(state, span, recogniser.suspects) for part in _parts(window))

    def planned(part: Window, judged: tuple[Judged, ...]) -> Plan:
        filed = ledger.filed({item.arrival.fingerprint for item in judged})
        return replace(
            make_plan(judged, task.policy, filed=filed, uidnexts={folder: state.uidnext}),
            scanned=part.scanned,
            # A scan by date passes over older messages, so it cannot say how far the folder has been read.
            watermark=None if scope.since else Watermark(folder, state.uidvalidity, part.last_uid),
            done=(part.last_uid + 1 - span.first_uid) / max(1, state.uidnext - span.first_uid),
        )

    # Not a loop, which would hold one page while the next is judged.
    yield from starmap(planned, _judged(reader, state, parts, recogniser, task.page))


def _first_uid(state: FolderState, watermark: Watermark | None, scope: Scope) -> int:
    if scope.everything or watermark is None or watermark.uidvalidity != state.uidvalidity:
        return 1
    return watermark.last_uid + 1


def _parts(window: Window) -> Iterator[Window]:
    """Cut a window with very many suspects into equal parts: a flood of bounces is not held in memory at once."""
    uids = window.suspects
    count = max(1, -(-len(uids) // AT_ONCE))
    for start, end in pairwise(len(uids) * number // count for number in range(count + 1)):
        reached = window.last_uid if end == len(uids) else uids[end] - 1
        yield Window(0 if start else window.scanned, reached, uids[start:end])


def judge(reader: Reader, state: FolderState, uids: Sequence[int], recogniser: Recogniser) -> Iterator[Judged]:
    """Judge these messages by their first octets; ask once more for those left open, or left out by the server."""
    window = Window(0, max(uids, default=0), tuple(uids))
    for _, judged in _judged(reader, state, _parts(window), recogniser, MAX_JUDGED):
        yield from judged


def _judged(
    reader: Reader, state: FolderState, windows: Iterable[Window], recogniser: Recogniser, page: int
) -> Iterator[tuple[Window, tuple[Judged, ...]]]:
    """Judge the suspects of the windows, and put together what makes one plan: about `page` of them.

    What has to be asked about some is on its way while others are judged.
    """
    asked, gathered = None, _Page(reader, state, recogniser)
    for window, readings in _one_ahead((one, reader.read(state, one.suspects, FIRST_OCTETS)) for one in windows):
        gathered.look(window, readings)
        if asked:
            yield asked.judged()
            asked = None
        if gathered.suspects > max(0, page - AT_ONCE) or gathered.scanned >= MAX_SCANNED:
            gathered.ask()
            asked, gathered = gathered, _Page(reader, state, recogniser)
    if gathered.last_uid:
        gathered.ask()
    if asked:
        yield asked.judged()
    if gathered.last_uid:
        yield gathered.judged()


def _one_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield each item when the next one has been begun."""
    held: deque[T] = deque()
    for item in items:
        held.append(item)
        if len(held) > 1:
            yield held.popleft()
    yield from held


class _Page:
    """The suspects of one plan, judged by their first octets; what these left open is asked for all at once."""

    def __init__(self, reader: Reader, state: FolderState, recogniser: Recogniser) -> None:
        self._reader, self._state, self._recogniser = reader, state, recogniser
        self.scanned = self.suspects = self.last_uid = 0
        self._decided: list[Judged] = []
        self._unless_more: dict[int, Judged] = {}
        self._open: list[int] = []
        self._more: Iterable[Reading] = ()
        self._parts: Iterable[tuple[int, tuple[str, ...]]] = ()

    def look(self, window: Window, readings: Iterable[Reading]) -> None:
        """Judge the suspects of one window more."""
        self.scanned += window.scanned
        self.suspects += len(window.suspects)
        self.last_uid = window.last_uid
        done = {reading.uid for reading in readings if self._decides(reading)}
        self._open.extend(uid for uid in window.suspects if uid not in done)

    def ask(self) -> None:
        """Ask what there is to ask; `judged` waits for the answers."""
        self._more = self._reader.read(self._state, self._open, MORE_OCTETS)
        self._parts = self._reader.parts(self._state, tuple(self._unless_more))

    def judged(self) -> tuple[Window, tuple[Judged, ...]]:
        """Hand over all that were judged, and keep none."""
        decided, unconfirmed, self._decided, self._unless_more = self._decided, self._unless_more, [], {}
        for uid, parts in self._parts:
            if uid in unconfirmed and parts == unconfirmed[uid].verdict.begun:
                decided.append(unconfirmed.pop(uid))
        for reading in chain(self._more, self._reader.read(self._state, tuple(unconfirmed), MORE_OCTETS)):
            verdict, subject = self._recogniser.examine(reading.raw, _cut(reading, MORE_OCTETS))
            decided.append(Judged(arrival_of(self._state, reading), verdict, subject))
        return Window(self.scanned, self.last_uid, ()), tuple(decided)

    def _decides(self, reading: Reading) -> bool:
        """Judge a message; return whether that is all, or all unless there are more parts than have begun."""
        cut = _cut(reading, FIRST_OCTETS)
        verdict, subject = self._recogniser.examine(reading.raw, cut)
        if not cut or not (verdict.incomplete or header_block(reading.raw) is None):
            self._decided.append(Judged(arrival_of(self._state, reading), verdict, subject))
        elif verdict.begun:
            # A part that the first octets do not show could make this real mail that is dressed as a bounce.
            complete = replace(verdict, incomplete=False)
            self._unless_more[reading.uid] = Judged(arrival_of(self._state, reading), complete, subject)
        else:
            return False
        return True


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
    """Do what the plan says, each batch written down before it is tried.

    Raises AccountError, StoreBroken. Whatever it raises, the next `pages` begins by settling what was left open.
    """
    return _begin(plan, outline(plan), mover, journal)()


def _begin(plan: Plan, rest: Plan, mover: Mover, journal: Journal) -> Callable[[], Report]:
    """Do what the plan says up to the last move, which is begun; what comes back does the rest, and must be called.

    The only function that changes the account. `rest` is the plan's outline: all that is held while the server moves.
    """
    _settle(plan.settlements, mover, journal)
    moved = 0
    last: Callable[[], Callable[[], int]] = partial(partial, int)
    for batch, bare in zip(plan.batches, rest.batches, strict=True):
        moved += last()()
        target = mover.prepare(batch.to)
        journal.intend(batch, target, mover.method)
        last = partial(_answered, journal, bare, mover.begin_move(bare))

    def end() -> Report:
        settle_last = last()
        with journal.at_once():
            done = moved + settle_last()
            journal.finish(rest)
        outcomes = Counter(settlement.outcome for settlement in rest.settlements)
        return Report(
            scanned=rest.scanned,
            moved=done,
            left=len(rest.left),
            gone=outcomes[Outcome.GONE],
            unsettled=len(rest.moves) - done,
            settled=outcomes[Outcome.MOVED],
        )

    return end


def _answered(journal: Journal, batch: MoveBatch, answer: Callable[[], Moved]) -> Callable[[], int]:
    """Wait for the server's answer; what comes back writes it down."""
    return partial(journal.settle_moved, batch, answer())


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
        """See what came of the plan, of which only the outline is left."""

    def stopping(self) -> bool:
        """Whether the sweep is to end after the plan in hand."""


def clean(account: Account, journal: Journal, task: Task, watcher: Watcher) -> Report:
    """Carry out one page after the other, then look once at moves whose end the server did not tell.

    While the server moves the messages of one page, the next one is read and judged. Raises what `pages` and
    `carry_out` raise, and what the watcher's `check` raises.
    """
    work = _UnderWay(account, journal, watcher)
    if _looks_back(journal, task.scope):
        account.expect(task.policy.bounce_folder)
    try:
        for plan in pages(account, journal, task):
            work.end()  # the journal knows one open batch at a time, and so do the server's answers
            work.begin(plan)
            del plan  # or it would be held while the next one is made
            if watcher.stopping():
                break
        work.end()
    except AccountError:
        with suppress(AccountError):  # where it is not the connection that is lost, what was begun can be settled
            work.end()
        raise
    if not watcher.stopping():
        for plan in _afterthought(account, journal, task):
            work.begin(plan)
            work.end()
    return work.report


def _looks_back(ledger: Ledger, scope: Scope) -> bool:
    """Whether there is a whole folder to go through, in which something to file must be expected."""
    return scope.everything or any(ledger.watermark(folder) is None for folder in scope.folders)


@dataclass(slots=True)
class _UnderWay:
    """The plan that is being carried out, and what came of those before it."""

    account: Account
    journal: Journal
    watcher: Watcher
    report: Report = Report()
    _plan: Plan | None = None
    _rest: Callable[[], Report] | None = None

    def begin(self, plan: Plan) -> None:
        self.watcher.check(plan)
        self._plan = outline(plan)
        self._rest = _begin(plan, self._plan, self.account, self.journal)

    def end(self) -> None:
        """Wait for the end of what was begun, if there is anything."""
        plan, rest, self._plan, self._rest = self._plan, self._rest, None, None
        if plan and rest:
            report = rest()
            self.watcher.done(plan, report)
            self.report += report


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
