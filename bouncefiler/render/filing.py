"""What `preview` and `clean` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import NamedTuple

from bouncefiler.filing.plan import Judged, MessageRef, Outcome, Plan
from bouncefiler.recognition.verdict import Kind, Recipient, Verdict
from bouncefiler.render.harmless import clean_text
from bouncefiler.render.layout import Block, Column, Document, Paragraph, Table, Tone
from bouncefiler.render.words import Words, at_minute
from bouncefiler.sweep import Report

MANY = 50
"""On a terminal, more moves than this are first shown in groups."""

NEWEST = 20
"""So many of them are shown one by one, then."""


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a plan, in clean words. `to` is None when it stays."""

    received_at: datetime
    who: str
    why: str
    subject: str
    folder: str
    to: str | None = None


class _Row(NamedTuple):
    """A message, where it goes (None when it stays), and why in clean words."""

    judged: Judged
    to: str | None
    why: str

    @property
    def received_at(self) -> datetime:
        return self.judged.arrival.received_at


@dataclass(slots=True)
class Listing:
    """Messages that are shown one by one: all of them, or of more than MANY the newest."""

    every: bool
    count: int = 0
    items: list[Item] = field(default_factory=list)

    def add(self, rows: Iterable[_Row]) -> None:
        """Count these in, and keep what may be shown of them: words, not messages."""
        found = sorted(rows, key=lambda row: row.received_at)
        self.count += len(found)
        few = self.every or self.count <= MANY
        self.items += map(_item, found if few else found[-NEWEST:])
        if not few:
            self.items = self.in_order[-NEWEST:]

    @property
    def in_order(self) -> list[Item]:
        """What is kept, by the time when it was received."""
        return sorted(self.items, key=lambda item: item.received_at)


@dataclass(slots=True)
class Group:
    """Moves for the same reason into the same folder: how many, and when the first and the last was received."""

    count: int
    first: datetime
    last: datetime


@dataclass(slots=True)
class Overview:
    """What the plans of one run add up to, whose size does not grow with theirs unless `every` move is to be shown."""

    words: Words
    every: bool = True
    scanned: int = 0
    moves: Listing = field(init=False)
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    """By the reason in clean words, and the folder."""
    imitations: Listing = field(init=False)
    left: Counter[str] = field(default_factory=Counter)
    settled: Counter[Outcome] = field(default_factory=Counter)
    """Loose ends of an earlier run: they come with the first page."""
    found_out: Counter[Outcome] = field(default_factory=Counter)
    """Loose ends of this run: a last page looks at moves whose end the server did not tell."""
    pages: int = 0
    _loose: frozenset[MessageRef] = frozenset()
    """What the first page moves of an earlier run's loose ends: a later page may come upon it again."""

    def __post_init__(self) -> None:
        self.moves, self.imitations = Listing(self.every), Listing(self.every)

    def add(self, plan: Plan) -> None:
        """Count one page in."""
        outcomes = self.found_out if self.pages else self.settled
        outcomes.update(settlement.outcome for settlement in plan.settlements)
        self.scanned += plan.scanned
        if not (plan.settlements and self.pages):  # what the last page moves has been counted when it was first tried
            self._add_moves(plan)
        self.left.update(clean_text(self.words.why(left.why)) for left in plan.left)
        stay = (left.judged for left in plan.left if left.judged.verdict.kind is Kind.IMITATION)
        self.imitations.add(_Row(judged, None, self._reason(judged)) for judged in stay)
        if plan.settlements and not self.pages:
            self._loose = frozenset(move.judged.arrival.ref for move in plan.moves)
        self.pages += 1

    def _add_moves(self, plan: Plan) -> None:
        rows = [
            _Row(move.judged, batch.to, clean_text(move.because, 40) if move.by_rule else self._reason(move.judged))
            for batch in plan.batches
            for move in batch.moves
            if move.judged.arrival.ref not in self._loose
        ]
        for row in rows:
            self._count((row.why, clean_text(row.to or "", 40)), row.received_at)
        self.moves.add(rows)

    def _reason(self, judged: Judged) -> str:
        return clean_text(reason_of(judged.verdict, self.words), 40)

    def _count(self, key: tuple[str, str], received_at: datetime) -> None:
        group = self.groups.setdefault(key, Group(0, received_at, received_at))
        group.count += 1
        group.first, group.last = min(group.first, received_at), max(group.last, received_at)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of the messages that are moved was received; None when there are none."""
        return min((group.first for group in self.groups.values()), default=None)

    @property
    def targets(self) -> Counter[str]:
        """How many go to each folder."""
        targets = Counter[str]()
        for (_, to), group in self.groups.items():
            targets[to] += group.count
        return targets


def _item(row: _Row) -> Item:
    judged, verdict = row.judged, row.judged.verdict
    returned = verdict.original.subject if verdict.original else ""
    return Item(
        row.received_at,
        names_of(verdict.recipients),
        row.why,
        clean_text(returned or judged.subject, 80),
        clean_text(judged.arrival.ref.folder, 40),
        None if row.to is None else clean_text(row.to, 40),
    )


def names_of(recipients: Sequence[Recipient]) -> str:
    """Name the first recipient, and how many others there are; "-" when there is none."""
    if not recipients:
        return "-"
    first = clean_text(recipients[0].final_recipient, 40) or "-"
    return f"{first} +{len(recipients) - 1}" if len(recipients) > 1 else first


def reason_of(verdict: Verdict, words: Words) -> str:
    """Say in a few words why delivery failed, or is late."""
    label = words.label(verdict.cause)
    return words.delayed(label) if verdict.kind is Kind.DELAYED else label


def preview(overview: Overview, *, zone: tzinfo | None = None) -> Document:
    """Show what `clean` would do, with dates in this time zone; None is the machine's."""
    return (*_overview(overview, "would-be-title", zone), *_would_be(overview))


def cleaned(overview: Overview, report: Report, *, zone: tzinfo | None = None) -> Document:
    """Show what `clean` has done: what was planned, and what came of it. The zone is as for `preview`."""
    return (*_overview(overview, "was-title", zone), *_was(overview, report))


def _overview(overview: Overview, title: str, zone: tzinfo | None) -> Iterator[Block]:
    words = overview.words
    if overview.settled:
        yield Paragraph(_settled(overview))
    if overview.moves.count:
        yield from _moves(words.say("filing", title), overview, zone)
    if overview.left:
        rows = tuple((words.number(count), why) for why, count in overview.left.most_common())
        columns = (Column(words.head("messages"), right=True), Column(words.head("why"), 80))
        yield Table(words.say("filing", "left-title"), columns, rows)
    if overview.imitations.count:
        yield from _imitations(overview.imitations, words, zone)


def _moves(title: str, overview: Overview, zone: tzinfo | None) -> Iterator[Table]:
    moves, words = overview.moves, overview.words
    if len(moves.items) < moves.count:
        yield _groups_of(title, overview.groups, words, zone)
        title = words.say("filing", "newest", shown=words.number(NEWEST), n=words.number(moves.count))
    yield _list_of(title, moves.in_order, words, zone)


def _list_of(title: str, items: Sequence[Item], words: Words, zone: tzinfo | None) -> Table:
    columns = (
        Column(words.head("received"), 16, 16),
        Column(words.head("for"), 40, 12),
        Column(words.head("why"), 40, 10),
        Column(words.head("subject"), 80, 10),
        Column(words.head("to"), 40, 7),
    )
    return Table(
        title,
        columns,
        tuple((at_minute(i.received_at, zone), i.who, i.why, i.subject, i.to or "-") for i in items),
    )


def _groups_of(title: str, groups: Mapping[tuple[str, str], Group], words: Words, zone: tzinfo | None) -> Table:
    columns = (
        Column(words.head("messages"), right=True),
        Column(words.head("why"), 40, 10),
        Column(words.head("first"), 10, 10),
        Column(words.head("last"), 10, 10),
        Column(words.head("to"), 40, 7),
    )
    rows = tuple(
        (words.number(group.count), why, at_minute(group.first, zone)[:10], at_minute(group.last, zone)[:10], to)
        for (why, to), group in sorted(groups.items(), key=lambda item: -item[1].count)
    )
    return Table(title, columns, rows)


def _imitations(imitations: Listing, words: Words, zone: tzinfo | None) -> Iterator[Block]:
    count, shown = imitations.count, imitations.in_order
    yield Table(
        words.count("filing", "imitations", count),
        (
            Column(words.head("received"), 16, 16),
            Column(words.head("folder"), 40, 8),
            Column(words.head("subject"), 80, 10),
        ),
        tuple((at_minute(item.received_at, zone), item.folder, item.subject) for item in shown),
        Tone.WARNING,
    )
    if len(shown) < count:
        yield Paragraph(words.say("filing", "imitations-newest", shown=words.number(len(shown)), n=words.number(count)))


def _settled(overview: Overview) -> str:
    words, settled = overview.words, overview.settled
    outcomes = (outcome for outcome in (Outcome.MOVED, Outcome.GONE, Outcome.VOID) if settled[outcome])
    found = ", ".join(words.say("filing", outcome, n=words.number(settled[outcome])) for outcome in outcomes)
    return words.say("filing", "settled", found=found)


def _would_be(overview: Overview) -> Iterator[Paragraph]:
    words = overview.words
    would_be = _filed("would-be", overview.moves.count, overview.targets, overview)
    said = would_be if overview.moves.count else _nothing(overview)
    yield Paragraph(f"{said} {words.say('filing', 'unchanged')}", Tone.GOOD)


def _was(overview: Overview, report: Report) -> Iterator[Paragraph]:
    words = overview.words
    moved = report.moved + overview.found_out[Outcome.MOVED]
    open_ = report.unsettled - overview.found_out.total()
    if moved:
        # What was planned for each folder is only said where all of it was done.
        targets = overview.targets if moved == overview.moves.count else Counter(set(overview.targets))
        yield Paragraph(_filed("was", moved, targets, overview), Tone.GOOD)
    elif not overview.moves.count:
        yield Paragraph(_nothing(overview), Tone.GOOD)
    if gone := overview.found_out[Outcome.GONE]:
        yield Paragraph(words.count("filing", "taken", gone))
    if open_ > 0:
        yield Paragraph(words.count("filing", "open", open_), Tone.WARNING)


def _filed(name: str, number: int, targets: Counter[str], overview: Overview) -> str:
    words = overview.words
    return words.count(
        "filing", name, number, messages=words.messages(overview.scanned), folders=_folders(targets, words)
    )


def _folders(targets: Counter[str], words: Words) -> str:
    counted = len(targets) > 1 and targets.total() > len(targets)
    return ", ".join(
        f"{folder} ({words.number(count)})" if counted else folder for folder, count in targets.most_common()
    )


def _nothing(overview: Overview) -> str:
    if not overview.scanned:
        return overview.words.say("filing", "nothing-new")
    return overview.words.count("filing", "nothing", overview.scanned)
