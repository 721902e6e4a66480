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
from bouncefiler.render.words import Words, at_minute, counted
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
        self.left.update(clean_text(left.why) for left in plan.left)
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
    return f"delayed: {label}" if verdict.kind is Kind.DELAYED else label


def preview(overview: Overview, *, zone: tzinfo | None = None) -> Document:
    """Show what `clean` would do, with dates in this time zone; None is the machine's."""
    return (*_overview(overview, "Would be filed", zone), *_would_be(overview))


def cleaned(overview: Overview, report: Report, *, zone: tzinfo | None = None) -> Document:
    """Show what `clean` has done: what was planned, and what came of it. The zone is as for `preview`."""
    return (*_overview(overview, "Filed", zone), *_was(overview, report))


def _overview(overview: Overview, title: str, zone: tzinfo | None) -> Iterator[Block]:
    if overview.settled:
        yield Paragraph(_settled(overview.settled))
    if overview.moves.count:
        yield from _moves(title, overview, zone)
    if overview.left:
        rows = tuple((f"{count:,}", why) for why, count in overview.left.most_common())
        yield Table("Left where they are", (Column("messages", right=True), Column("why", 80)), rows)
    if overview.imitations.count:
        yield from _imitations(overview.imitations, zone)


def _moves(title: str, overview: Overview, zone: tzinfo | None) -> Iterator[Table]:
    moves = overview.moves
    if len(moves.items) < moves.count:
        yield _groups_of(title, overview.groups, zone)
        title = f"The newest {NEWEST} of them (`--all-rows` shows all {moves.count:,})"
    yield _list_of(title, moves.in_order, zone)


def _list_of(title: str, items: Sequence[Item], zone: tzinfo | None) -> Table:
    columns = (
        Column("received", 16, 16),
        Column("for", 40, 12),
        Column("why", 40, 10),
        Column("subject", 80, 10),
        Column("goes to", 40, 7),
    )
    return Table(
        title,
        columns,
        tuple((at_minute(i.received_at, zone), i.who, i.why, i.subject, i.to or "-") for i in items),
    )


def _groups_of(title: str, groups: Mapping[tuple[str, str], Group], zone: tzinfo | None) -> Table:
    columns = (
        Column("messages", right=True),
        Column("why", 40, 10),
        Column("first", 10, 10),
        Column("last", 10, 10),
        Column("goes to", 40, 7),
    )
    rows = tuple(
        (f"{group.count:,}", why, at_minute(group.first, zone)[:10], at_minute(group.last, zone)[:10], to)
        for (why, to), group in sorted(groups.items(), key=lambda item: -item[1].count)
    )
    return Table(title, columns, rows)


def _imitations(imitations: Listing, zone: tzinfo | None) -> Iterator[Block]:
    count, shown = imitations.count, imitations.in_order
    yield Table(
        "Careful: made to look like a delivery failure. Open no link and no attachment in "
        + ("this message:" if count == 1 else f"these {count:,} messages:"),
        (Column("received", 16, 16), Column("folder", 40, 8), Column("subject", 80, 10)),
        tuple((at_minute(item.received_at, zone), item.folder, item.subject) for item in shown),
        Tone.WARNING,
    )
    if len(shown) < count:
        yield Paragraph(f"These are the newest {len(shown)}; `--all-rows` shows all {count:,}.")


def _settled(settled: Counter[Outcome]) -> str:
    words = {
        Outcome.MOVED: "had arrived",
        Outcome.GONE: "had been taken away by somebody else",
        Outcome.VOID: "had not been moved and will be looked at again",
    }
    found = ", ".join(f"{settled[outcome]:,} {word}" for outcome, word in words.items() if settled[outcome])
    return f"An earlier run was interrupted. Of the messages it was moving, {found}."


def _would_be(overview: Overview) -> Iterator[Paragraph]:
    if overview.moves.count:
        count = _of(overview.moves.count, overview)
        yield Paragraph(f"{count} would be filed {_into(overview.targets)}. Nothing was changed.", Tone.GOOD)
    else:
        yield Paragraph(f"{_nothing(overview)} Nothing was changed.", Tone.GOOD)


def _was(overview: Overview, report: Report) -> Iterator[Paragraph]:
    moved = report.moved + overview.found_out[Outcome.MOVED]
    open_ = report.unsettled - overview.found_out.total()
    if moved:
        # What was planned for each folder is only said where all of it was done.
        targets = overview.targets if moved == overview.moves.count else Counter(set(overview.targets))
        verb = "was filed" if moved == 1 else "were filed"
        yield Paragraph(f"{_of(moved, overview)} {verb} {_into(targets)}.", Tone.GOOD)
    elif not overview.moves.count:
        yield Paragraph(_nothing(overview), Tone.GOOD)
    if gone := overview.found_out[Outcome.GONE]:
        yield Paragraph(f"{counted(gone, 'message', 'messages')} had been taken away by somebody else meanwhile.")
    if open_ > 0:
        yield Paragraph(
            f"For {counted(open_, 'message', 'messages')} the server did not say whether the move was done; the next "
            "run looks, and nothing is lost meanwhile.",
            Tone.WARNING,
        )


def _of(number: int, overview: Overview) -> str:
    return f"{number:,} of {counted(overview.scanned, 'message', 'messages')}"


def _into(targets: Counter[str]) -> str:
    counted = len(targets) > 1 and targets.total() > len(targets)
    return "in " + ", ".join(f"{folder} ({count:,})" if counted else folder for folder, count in targets.most_common())


def _nothing(overview: Overview) -> str:
    if not overview.scanned:
        return "There is no new mail to look at (`--all` also takes what was looked at before)."
    return f"{counted(overview.scanned, 'message', 'messages')} looked at, nothing to file."
