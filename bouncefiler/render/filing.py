"""What `preview` and `clean` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

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


@dataclass(slots=True)
class Overview:
    """What the plans of one run add up to; it keeps words, not messages."""

    words: Words
    scanned: int = 0
    moves: dict[MessageRef, Item] = field(default_factory=dict)
    imitations: list[Item] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    settled: Counter[Outcome] = field(default_factory=Counter)
    """Loose ends of an earlier run: they come with the first page."""
    found_out: Counter[Outcome] = field(default_factory=Counter)
    """Loose ends of this run: a last page looks at moves whose end the server did not tell."""
    pages: int = 0

    def add(self, plan: Plan) -> None:
        """Count one page in."""
        outcomes = self.found_out if self.pages else self.settled
        outcomes.update(settlement.outcome for settlement in plan.settlements)
        self.pages += 1
        self.scanned += plan.scanned
        for batch in plan.batches:
            for move in batch.moves:
                why = move.because if move.by_rule else None
                self.moves[move.judged.arrival.ref] = _item(move.judged, self.words, to=batch.to, why=why)
        for left in plan.left:
            self.left[clean_text(left.why)] += 1
            if left.judged.verdict.kind is Kind.IMITATION:
                self.imitations.append(_item(left.judged, self.words))

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of the messages that are moved was received; None when there are none."""
        return min((item.received_at for item in self.moves.values()), default=None)

    @property
    def targets(self) -> Counter[str]:
        """How many go to each folder."""
        return Counter(item.to for item in self.moves.values() if item.to is not None)


def _item(judged: Judged, words: Words, *, to: str | None = None, why: str | None = None) -> Item:
    verdict = judged.verdict
    returned = verdict.original.subject if verdict.original else ""
    return Item(
        judged.arrival.received_at,
        names_of(verdict.recipients),
        clean_text(why or reason_of(verdict, words), 40),
        clean_text(returned or judged.subject, 80),
        clean_text(judged.arrival.ref.folder, 40),
        None if to is None else clean_text(to, 40),
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


@dataclass(frozen=True, slots=True)
class View:
    """How much of an overview to show. Without `every`, more than MANY moves are grouped, and the newest shown."""

    every: bool
    zone: tzinfo | None
    """The time zone of dates; None is the machine's."""


def preview(overview: Overview, *, every: bool = True, zone: tzinfo | None = None) -> Document:
    """Show what `clean` would do; `every` and `zone` are those of View."""
    return (*_overview(overview, "Would be filed", View(every, zone)), *_would_be(overview))


def cleaned(overview: Overview, report: Report, *, every: bool = True, zone: tzinfo | None = None) -> Document:
    """Show what `clean` has done: what was planned, and what came of it; `every` and `zone` are those of View."""
    return (*_overview(overview, "Filed", View(every, zone)), *_was(overview, report))


def _overview(overview: Overview, title: str, view: View) -> Iterator[Block]:
    if overview.settled:
        yield Paragraph(_settled(overview.settled))
    if overview.moves:
        yield from _moves(title, sorted(overview.moves.values(), key=lambda item: item.received_at), view)
    if overview.left:
        rows = tuple((f"{count:,}", why) for why, count in overview.left.most_common())
        yield Table("Left where they are", (Column("messages", right=True), Column("why", 80)), rows)
    if overview.imitations:
        yield from _imitations(sorted(overview.imitations, key=lambda item: item.received_at), view)


def _moves(title: str, items: Sequence[Item], view: View) -> Iterator[Table]:
    if view.every or len(items) <= MANY:
        yield _list_of(title, items, view)
        return
    yield _groups_of(title, items, view)
    yield _list_of(f"The newest {NEWEST} of them (`--all-rows` shows all {len(items):,})", items[-NEWEST:], view)


def _list_of(title: str, items: Sequence[Item], view: View) -> Table:
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
        tuple((at_minute(i.received_at, view.zone), i.who, i.why, i.subject, i.to or "-") for i in items),
    )


def _groups_of(title: str, items: Sequence[Item], view: View) -> Table:
    groups: dict[tuple[str, str], list[datetime]] = {}
    for item in items:
        groups.setdefault((item.why, item.to or "-"), []).append(item.received_at)
    columns = (
        Column("messages", right=True),
        Column("why", 40, 10),
        Column("first", 10, 10),
        Column("last", 10, 10),
        Column("goes to", 40, 7),
    )
    rows = tuple(
        (f"{len(times):,}", why, at_minute(times[0], view.zone)[:10], at_minute(times[-1], view.zone)[:10], to)
        for (why, to), times in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    return Table(title, columns, rows)


def _imitations(items: Sequence[Item], view: View) -> Iterator[Block]:
    shown = items if view.every else items[-NEWEST:]
    yield Table(
        "Careful: made to look like a delivery failure. Open no link and no attachment in "
        + ("this message:" if len(items) == 1 else f"these {len(items):,} messages:"),
        (Column("received", 16, 16), Column("folder", 40, 8), Column("subject", 80, 10)),
        tuple((at_minute(item.received_at, view.zone), item.folder, item.subject) for item in shown),
        Tone.WARNING,
    )
    if len(shown) < len(items):
        yield Paragraph(f"These are the newest {len(shown)}; `--all-rows` shows all {len(items):,}.")


def _settled(settled: Counter[Outcome]) -> str:
    words = {
        Outcome.MOVED: "had arrived",
        Outcome.GONE: "had been taken away by somebody else",
        Outcome.VOID: "had not been moved and will be looked at again",
    }
    found = ", ".join(f"{settled[outcome]:,} {word}" for outcome, word in words.items() if settled[outcome])
    return f"An earlier run was interrupted. Of the messages it was moving, {found}."


def _would_be(overview: Overview) -> Iterator[Paragraph]:
    if overview.moves:
        count = _of(len(overview.moves), overview)
        yield Paragraph(f"{count} would be filed {_into(overview.targets)}. Nothing was changed.", Tone.GOOD)
    else:
        yield Paragraph(f"{_nothing(overview)} Nothing was changed.", Tone.GOOD)


def _was(overview: Overview, report: Report) -> Iterator[Paragraph]:
    moved = report.moved + overview.found_out[Outcome.MOVED]
    open_ = report.unsettled - overview.found_out.total()
    if moved:
        # What was planned for each folder is only said where all of it was done.
        targets = overview.targets if moved == len(overview.moves) else Counter(set(overview.targets))
        verb = "was filed" if moved == 1 else "were filed"
        yield Paragraph(f"{_of(moved, overview)} {verb} {_into(targets)}.", Tone.GOOD)
    elif not overview.moves:
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
        return "There is no new mail since the last time (`--all` looks at everything again)."
    return f"{counted(overview.scanned, 'message', 'messages')} looked at, nothing to file."
