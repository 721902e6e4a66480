"""Verdicts, plans, reports and alerts as text for people, or as JSON for programs. Nothing is printed from here.

What is to be said is first a Document: paragraphs and tables whose text is clean. `lay_out` makes one string of it, for
a terminal (with rich, which only this module knows) or for a pipe. Whatever stems from mail or from a server passes
`clean_text` on its way into a Document, and JSON's own escapes on its way into a record.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TextIO, assert_never

from bouncefiler.backscatter import wording
from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.posture import Posture, Severity, Suggestion, sentence
from bouncefiler.backscatter.volume import Wave
from bouncefiler.filing.plan import Disposition, File, Judged, Leave, MessageRef, Outcome, Plan
from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict
from bouncefiler.sweep import Report

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, object]

MANY = 50
"""On a terminal, more moves than this are first shown in groups."""

NEWEST = 20
"""So many of them are shown one by one, then."""

LATEST_RUNS = 50
"""More runs than this are only shown to those who ask for them."""

MARKS_IN_A_ROW = 3
"""More combining marks than this on one letter are no language, but they do hide the lines above and below."""


# --- text that may be hostile ----------------------------------------------------------------------------------------


def clean_text(text: str, width: int = 200) -> str:
    """Return `text` as one harmless line of at most `width` cells, cut with "…".

    Gone are C0, C1, ESC and DEL (CWE-150), bidi and zero-width controls, lone surrogates, private and unassigned
    characters; white space of any kind becomes one blank. Letters of every script stay.
    """
    head = text[: 8 * width]
    if not (head.isascii() and head.isprintable()):
        head = "".join(_visible(head))
    line = " ".join(head.split())
    return cut(line if len(text) <= 8 * width else f"{line}…", width)


def clean_lines(text: str, width: int = 400) -> str:
    """Return text of our own that has several lines, such as an error's, each line clean and indented as it was."""
    lines = text.split("\n")
    return "\n".join(" " * min(8, len(line) - len(line.lstrip(" "))) + clean_text(line, width) for line in lines)


def _visible(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if (char.isprintable() and marks <= MARKS_IN_A_ROW) or char.isspace():
            yield char


def cells(text: str) -> int:
    """Return how many columns of a terminal clean text takes: East Asian wide characters take two."""
    return len(text) if text.isascii() else sum(map(_cells_of, text))


def _cells_of(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return clean text in at most `width` cells, with "…" in the place of what had to go."""
    if cells(text) <= width:
        return text
    room = width - 1
    for index, char in enumerate(text):
        room -= _cells_of(char)
        if room < 0:
            return f"{text[:index].rstrip()}…"
    return text


# --- documents -------------------------------------------------------------------------------------------------------


class Tone(StrEnum):
    """How a paragraph is meant; the value is its style on a terminal."""

    PLAIN = ""
    TITLE = "bold"
    FAINT = "dim"
    GOOD = "green"
    WARNING = "bold yellow"
    ALARM = "bold red"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some clean text."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: no wider than `most` cells, and in need narrowed down to `least`."""

    title: str
    most: int = 60
    least: int = 8
    right: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of clean cells, under a title that says what they are."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    tone: Tone = Tone.TITLE


Block = Paragraph | Table
Document = tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What the text is laid out for. `width` None is a pipe: as wide as need be."""

    width: int | None = None
    colour: bool = False
    encoding: str = "utf-8"

    @property
    def terminal(self) -> bool:
        """Whether somebody is looking."""
        return self.width is not None

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Look:
        """Look at the stream: is it a terminal, how wide, does it want colour (no-color.org)?"""
        encoding = stream.encoding or "utf-8"
        if not stream.isatty():
            return cls(encoding=encoding)
        colour = not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
        return cls(max(40, shutil.get_terminal_size().columns), colour, encoding)


def lay_out(document: Document, look: Look) -> str:
    """Make one string of the document, ending in a line break; characters that the encoding lacks become "?"."""
    text = _for_terminal(document, look) if look.width is not None else _for_pipe(document)
    return text.encode(look.encoding, "replace").decode(look.encoding)


def _for_pipe(document: Document) -> str:
    return "\n\n".join(_plain(block) for block in document) + "\n"


def _plain(block: Block) -> str:
    match block:
        case Paragraph(text=text):
            return text
        case Table(title=title, columns=columns):
            heads = tuple(column.title for column in columns)
            rows = (heads, *block.rows) if any(heads) else block.rows
            widths = _widths(block, None)
            return "\n".join((title, *(_plain_row(columns, row, widths) for row in rows)))
        case _:
            assert_never(block)


def _plain_row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = cut(cell, width)
        blank = " " * (width - cells(text))
        parts.append(blank + text if column.right else text + blank)
    return "  ".join(parts).rstrip()


def _widths(table: Table, room: int | None) -> list[int]:
    """Give each column what its cells need, then take from the widest until the table fits."""
    by_column = zip(*table.rows, strict=True) if table.rows else ((),) * len(table.columns)
    widths = [
        min(max(column.most, cells(column.title)), max(map(cells, (column.title, *column_cells))))
        for column, column_cells in zip(table.columns, by_column, strict=True)
    ]
    while room is not None and sum(widths) + 2 * (len(widths) - 1) > room:
        spare = [width - column.least for width, column in zip(widths, table.columns, strict=True)]
        if max(spare) <= 0:
            break
        widest = max(range(len(widths)), key=lambda i: (spare[i] > 0, widths[i]))
        widths[widest] -= 1
    return widths


def _for_terminal(document: Document, look: Look) -> str:
    from rich.console import Console  # noqa: PLC0415 - 60 ms, and only for those who look

    out = io.StringIO()
    console = Console(
        file=out,
        width=look.width,
        force_terminal=True,
        color_system="standard" if look.colour else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for index, block in enumerate(document):
        if index:
            console.print()
        _print(console, block)
    return re.sub(r" +$", "", out.getvalue(), flags=re.MULTILINE)  # rich fills lines up with blanks


def _print(console: Console, block: Block) -> None:
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if isinstance(block, Paragraph):
        console.print(Text(block.text, style=block.tone.value))
        return
    console.print(Text(block.title, style=block.tone.value))
    heads = any(column.title for column in block.columns)
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=heads, header_style="dim")
    widths = _widths(block, console.width)
    for column, width in zip(block.columns, widths, strict=True):
        table.add_column(column.title, justify="right" if column.right else "left", width=width, no_wrap=True)
    for row in block.rows:
        table.add_row(*(Text(cut(cell, width)) for cell, width in zip(row, widths, strict=True)))
    console.print(table)


@contextmanager
def progress(stream: TextIO, look: Look) -> Iterator[Callable[[float, str], None]]:
    """Keep a progress bar on `stream`, gone at the end; without a terminal, nothing appears.

    Gives the function that moves it: how much is done, 0 to 1, and what to say beside it.
    """
    if not look.terminal:
        yield lambda _done, _text: None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(file=stream, width=look.width, force_terminal=True, no_color=not look.colour)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda done, text: bar.update(task, completed=done, description=clean_text(text, 60))


# --- words -----------------------------------------------------------------------------------------------------------


class Wording(Protocol):
    """Who knows the words for causes: a Rulebook."""

    def label(self, cause: Cause, language: str) -> str:
        """Return what people call this cause."""

    def advice(self, cause: Cause, language: str) -> str:
        """Return what the sender can do about it."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words for causes in one language."""

    wording: Wording
    language: str = "en"

    def label(self, cause: Cause | None) -> str:
        """Return what people call this cause; "-" for none."""
        return self.wording.label(cause, self.language) if cause else "-"

    def advice(self, cause: Cause) -> str:
        """Return what the sender can do about it."""
        return self.wording.advice(cause, self.language)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _when(moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


# --- preview and clean -----------------------------------------------------------------------------------------------


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
        _who(verdict.recipients),
        clean_text(why or _why(verdict, words), 40),
        clean_text(returned or judged.subject, 80),
        clean_text(judged.arrival.ref.folder, 40),
        None if to is None else clean_text(to, 40),
    )


def _who(recipients: Sequence[Recipient]) -> str:
    if not recipients:
        return "-"
    first = clean_text(recipients[0].final_recipient, 40) or "-"
    return f"{first} +{len(recipients) - 1}" if len(recipients) > 1 else first


def _why(verdict: Verdict, words: Words) -> str:
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
        title, columns, tuple((_when(i.received_at, view.zone), i.who, i.why, i.subject, i.to or "-") for i in items)
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
        (f"{len(times):,}", why, _when(times[0], view.zone)[:10], _when(times[-1], view.zone)[:10], to)
        for (why, to), times in sorted(groups.items(), key=lambda group: -len(group[1]))
    )
    return Table(title, columns, rows)


def _imitations(items: Sequence[Item], view: View) -> Iterator[Block]:
    shown = items if view.every else items[-NEWEST:]
    yield Table(
        "Careful: made to look like a delivery failure. Open no link and no attachment in "
        + ("this message:" if len(items) == 1 else f"these {len(items):,} messages:"),
        (Column("received", 16, 16), Column("folder", 40, 8), Column("subject", 80, 10)),
        tuple((_when(item.received_at, view.zone), item.folder, item.subject) for item in shown),
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
        yield Paragraph(f"{_count(gone, 'message', 'messages')} had been taken away by somebody else meanwhile.")
    if open_ > 0:
        yield Paragraph(
            f"For {_count(open_, 'message', 'messages')} the server did not say whether the move was done; the next "
            "run looks, and nothing is lost meanwhile.",
            Tone.WARNING,
        )


def _of(number: int, overview: Overview) -> str:
    return f"{number:,} of {_count(overview.scanned, 'message', 'messages')}"


def _into(targets: Counter[str]) -> str:
    counted = len(targets) > 1 and targets.total() > len(targets)
    return "in " + ", ".join(f"{folder} ({count:,})" if counted else folder for folder, count in targets.most_common())


def _nothing(overview: Overview) -> str:
    if not overview.scanned:
        return "There is no new mail since the last time (`--all` looks at everything again)."
    return f"{_count(overview.scanned, 'message', 'messages')} looked at, nothing to file."


# --- history and undo ------------------------------------------------------------------------------------------------


def runs(account: str, runs: Sequence[PastRun], *, every: bool = True, zone: tzinfo | None = None) -> Document:
    """List runs that moved mail, the newest first; without `every` no more than LATEST_RUNS."""
    if not runs:
        return (Paragraph(clean_text(f"{account}: nothing was filed so far, or nothing in that time.")),)
    columns = (
        Column("run", right=True),
        Column("when", 16, 16),
        Column("command", 20, 7),
        Column("messages", right=True),
        Column("put back since", right=True),
    )
    rows = tuple(
        (
            str(run.id),
            _when(run.began, zone),
            clean_text(run.command, 20),
            f"{run.moved:,}",
            f"{run.undone:,}" if run.undone else "-",
        )
        for run in (runs if every else runs[:LATEST_RUNS])
    )
    table = Table(clean_text(f"{account}: what was filed"), columns, rows)
    if len(rows) == len(runs):
        return (table,)
    return (table, Paragraph(f"These are the latest {LATEST_RUNS}; `--since` shows earlier ones."))


def run(run: int, messages: Sequence[FiledMessage], words: Words, *, zone: tzinfo | None = None) -> Document:
    """List what a run moved."""
    if not messages:
        return (Paragraph(f"Run {run} moved nothing; `bouncefiler history` lists those that did."),)
    rows = tuple(
        (*_told(message, words, zone), f"{clean_text(message.to_folder, 40)}{', put back' if message.undone else ''}")
        for message in messages
    )
    return (Table(f"Run {run}", _numbered("went to"), rows),)


def _numbered(where: str) -> tuple[Column, ...]:
    return (
        Column("number", right=True),
        Column("received", 16, 16),
        Column("for", 40, 12),
        Column("why", 40, 10),
        Column("subject", 80, 10),
        Column(where, 40, 12),
    )


def _told(message: FiledMessage, words: Words, zone: tzinfo | None) -> tuple[str, ...]:
    verdict = Verdict(message.kind, message.cause)
    return (
        str(message.id),
        _when(message.received_at, zone),
        clean_text(message.recipients[0], 40) if message.recipients else "-",
        _why(verdict, words),
        clean_text(message.subject, 80),
    )


def undo(undo: Undo, words: Words, *, zone: tzinfo | None = None) -> Document:
    """Show what would be put back, and what not."""
    return tuple(_undo(undo, words, zone))


def _undo(undo: Undo, words: Words, zone: tzinfo | None) -> Iterator[Block]:
    if undo.batches:
        rows = tuple(
            (
                str(move.undoes),
                _when(move.judged.arrival.received_at, zone),
                _who(move.judged.verdict.recipients),
                _why(move.judged.verdict, words),
                clean_text(move.judged.subject, 80),
                clean_text(to, 40),
            )
            for move, to in undo.moves
        )
        yield Table(f"To be put back: {_count(len(rows), 'message', 'messages')}", _numbered("goes back to"), rows)
    if undo.stays:
        yield Table(
            "Not to be put back",
            (
                Column("number", right=True),
                Column("received", 16, 16),
                Column("subject", 60, 10),
                Column("because", 80, 20),
            ),
            tuple(
                (
                    str(stays.message.id),
                    _when(stays.message.received_at, zone),
                    clean_text(stays.message.subject, 60),
                    clean_text(stays.why, 80),
                )
                for stays in undo.stays
            ),
        )
    if not undo.batches:
        yield Paragraph("There is nothing to put back. `bouncefiler history` lists what was filed.", Tone.GOOD)


def undone(report: Report) -> Document:
    """Say what came of it."""
    return tuple(_undone(report))


def _undone(report: Report) -> Iterator[Paragraph]:
    verb = "is" if report.moved == 1 else "are"
    back = _count(report.moved, "message", "messages")
    yield Paragraph(f"{back} {verb} back, and will not be filed again.", Tone.GOOD)
    if report.gone:
        yield Paragraph(f"{_count(report.gone, 'message', 'messages')} had been taken away by somebody else meanwhile.")
    if report.unsettled:
        yield Paragraph(
            f"For {_count(report.unsettled, 'message', 'messages')} the server did not say whether it was done; the "
            "next run looks, and nothing is lost meanwhile.",
            Tone.WARNING,
        )


# --- explain ---------------------------------------------------------------------------------------------------------


def explain(
    name: str, verdict: Verdict, words: Words, *, subject: str = "", disposition: Disposition | None = None
) -> Document:
    """Say what a message is, and show the evidence in the order in which it decided."""
    return tuple(_explain(name, verdict, words, subject, disposition))


def _explain(
    name: str, verdict: Verdict, words: Words, subject: str, disposition: Disposition | None
) -> Iterator[Block]:
    yield Paragraph(": ".join(filter(None, (clean_text(name, 80), clean_text(subject, 100)))), Tone.TITLE)
    yield Paragraph(_sentence(verdict, words), Tone.WARNING if verdict.kind is Kind.IMITATION else Tone.PLAIN)
    if verdict.recipients:
        yield _recipients(verdict.recipients, words)
    if verdict.kind.is_bounce:
        causes = dict.fromkeys(recipient.cause for recipient in verdict.recipients) or {
            verdict.cause or Cause.UNKNOWN: None
        }
        yield Paragraph("\n".join(f"What to do ({words.label(cause)}): {words.advice(cause)}" for cause in causes))
    if facts := tuple(_facts(verdict, disposition)):
        yield Table("Details", (Column("", 20, 10), Column("", 120, 20)), facts)
    if verdict.evidence:
        yield _evidence(verdict)
    if verdict.incomplete:
        yield Paragraph("Only a part of the message was there to be read; the whole of it may say more.", Tone.WARNING)


_SENTENCES = {
    Kind.FAILED: "A delivery failure: {cause}.",
    Kind.DELAYED: "A delay warning, the server is still trying: {cause}.",
    Kind.DELIVERED: "Not a bounce: it reports that a message was delivered.",
    Kind.FEEDBACK: "Not a bounce: it is a complaint report (somebody marked a message as spam).",
    Kind.AUTOREPLY: "Not a bounce: it is an automatic reply, such as an out-of-office note.",
    Kind.RECEIPT: "Not a bounce: it is a read receipt.",
    Kind.CHALLENGE: "Not a bounce: a spam filter asks to confirm a message. Answer only if you wrote to that person.",
    Kind.IMITATION: (
        "Made to look like a bounce, without one sign of a real delivery attempt. Treat it as suspicious: open no link "
        "and no attachment in it."
    ),
    Kind.OTHER: "Not a bounce.",
}


def _sentence(verdict: Verdict, words: Words) -> str:
    return _SENTENCES[verdict.kind].format(cause=words.label(verdict.cause))


def _recipients(recipients: Sequence[Recipient], words: Words) -> Table:
    columns = (
        Column("recipient", 60, 14),
        Column("why", 40, 10),
        Column("status", 10, 6),
        Column("the server said", 120, 16),
    )
    rows = tuple(
        (
            clean_text(recipient.final_recipient, 60) or "-",
            words.label(recipient.cause),
            str(recipient.status or recipient.reply_code or "-"),
            clean_text(recipient.diagnostic_code, 120) or "-",
        )
        for recipient in recipients
    )
    return Table("For whom", columns, rows)


def _facts(verdict: Verdict, disposition: Disposition | None) -> Iterator[tuple[str, str]]:
    original = verdict.original
    said = (
        ("reported by", verdict.reporting_mta),
        ("returned: subject", original and original.subject),
        ("returned: from", original and original.from_),
        ("returned: to", original and original.to),
        ("returned: date", original and original.date),
        ("returned: id", original and original.message_id),
        ("layout", verdict.format),
        ("your rules", ", ".join(verdict.rules)),
    )
    yield from ((what, clean_text(text, 120)) for what, text in said if text)
    match disposition:
        case File(to=to, because=because):
            yield ("would be", clean_text(f"filed in {to} ({because})", 120))
        case Leave(why=why):
            yield ("would be", clean_text(f"left where it is ({why})", 120))
        case None:
            pass
        case _:
            assert_never(disposition)


def _evidence(verdict: Verdict) -> Table:
    columns = (
        Column("#", 3, 2, right=True),
        Column("row", 40, 12),
        Column("where", 30, 10),
        Column("what stands there", 120, 16),
    )
    rows = tuple(
        (str(number), clean_text(fact.rule, 60), clean_text(fact.where, 60), clean_text(fact.excerpt, 120))
        for number, fact in enumerate(verdict.evidence, 1)
    )
    return Table("How this is known, in the order in which it decided", columns, rows)


# --- alerts ----------------------------------------------------------------------------------------------------------


def alert(alert: Alert) -> Document:
    """Show an alert: its subject, then its body, paragraph by paragraph."""
    tone = {Level.INFO: Tone.TITLE, Level.WARNING: Tone.WARNING, Level.CRITICAL: Tone.ALARM}[alert.level]
    paragraphs = (clean_lines(part) for part in alert.body.strip().split("\n\n"))
    return (Paragraph(clean_text(alert.subject), tone), *(Paragraph(text) for text in paragraphs if text.strip()))


# --- posture ---------------------------------------------------------------------------------------------------------


_TONES = {
    Severity.OK: Tone.GOOD,
    Severity.NOTE: Tone.PLAIN,
    Severity.UNKNOWN: Tone.PLAIN,
    Severity.WEAK: Tone.WARNING,
    Severity.BAD: Tone.ALARM,
}


def posture(found: Posture, language: str, *, offline: bool = False) -> Document:
    """Show what a domain publishes against forgery; `offline` says why nothing is known."""
    return tuple(_posture(found, language, offline=offline))


def _posture(found: Posture, language: str, *, offline: bool) -> Iterator[Block]:
    texts = wording.words(language, "posture")
    page, domain = texts["page"], clean_text(found.domain)
    yield Paragraph(page["title"].format(domain=domain), Tone.TITLE)
    if found.provider:
        yield Paragraph(page["provider"].strip().format(domain=domain, provider=found.provider), Tone.GOOD)
        return
    yield Paragraph((page["off"] if offline else page["about"]).strip())
    for finding in found.findings:
        said = clean_text(sentence(finding, language), 400)
        yield Paragraph(f"[{texts['severity'][finding.severity]}] {said}", _TONES[finding.severity])
    if found.published:
        columns = (Column(page["name"], 60, 20), Column(page["record"], 200, 20))
        rows = tuple((clean_text(name, 60), clean_text(record, 200)) for name, record in found.published)
        yield Table(page["published"], columns, rows)
    if found.suggestions:
        yield Paragraph(page["suggestions"], Tone.TITLE)
        yield Paragraph(page["ask_first"].strip())
        yield from (Paragraph(_proposed(texts["suggestion"], suggestion)) for suggestion in found.suggestions)


def _proposed(steps: Mapping[str, str], suggestion: Suggestion) -> str:
    name, record = clean_text(suggestion.name), clean_text(suggestion.record, 1_200)
    return f"{steps[suggestion.step]}\n  {name}  TXT\n  {record}"


def waves(found: Sequence[Wave]) -> Document:
    """Tell of waves of bounces that are over: nobody need do anything about them."""
    columns = (
        Column("first", 10, 10),
        Column("last", 10, 10),
        Column("bounces", 9, 7, right=True),
        Column("most on a day", 40),
    )
    rows = (
        (f"{wave.first:%Y-%m-%d}", f"{wave.last:%Y-%m-%d}", f"{wave.bounces:,}", f"{wave.peak:,} on {wave.peak_day}")
        for wave in found
    )
    return (
        Table("In the past, there were far more bounces than usual", columns, tuple(rows)),
        Paragraph("That is over, and so no alarm is raised about it."),
    )


# --- JSON ------------------------------------------------------------------------------------------------------------


def to_json(record: Json) -> str:
    """Write the record as one line of printable ASCII, without lone surrogates, over which strict readers stumble."""
    return json.dumps(_sound(record), ensure_ascii=True, allow_nan=False)


def _sound(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {key: _sound(item) for key, item in value.items()}
        case list() | tuple():
            return [_sound(item) for item in value]
        case _:
            return value


def explain_json(id: str, verdict: Verdict, words: Words) -> Json:  # noqa: A002 - the field's name
    """Say all that the verdict holds; the first five fields are those that others score and count by."""
    original = verdict.original
    return {
        "id": id,
        "is_bounce": verdict.kind.is_bounce,
        "kind": verdict.kind.value,
        "cause": verdict.cause and verdict.cause.value,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "recipient_details": [_recipient_json(recipient) for recipient in verdict.recipients],
        "status": next((str(r.status) for r in verdict.recipients if r.status), None),
        "reporting_mta": verdict.reporting_mta,
        "original": original
        and {
            "message_id": original.message_id,
            "from": original.from_,
            "to": original.to,
            "subject": original.subject,
            "date": original.date,
            "received": list(original.received),
        },
        "format": verdict.format,
        "rules": list(verdict.rules),
        "evidence": [{"rule": fact.rule, "where": fact.where, "excerpt": fact.excerpt} for fact in verdict.evidence],
        "null_reverse_path": verdict.null_reverse_path,
        "incomplete": verdict.incomplete,
        "advice": words.advice(verdict.cause) if verdict.cause else None,
    }


def _recipient_json(recipient: Recipient) -> Json:
    return {
        "final_recipient": recipient.final_recipient,
        "original_recipient": recipient.original_recipient,
        "action": recipient.action,
        "status": str(recipient.status) if recipient.status else None,
        "reply_code": recipient.reply_code,
        "diagnostic_code": recipient.diagnostic_code,
        "remote_mta": recipient.remote_mta,
        "cause": recipient.cause.value,
    }


def plan_json(account: str, plan: Plan) -> Iterator[Json]:
    """Yield one object for each thing that the plan says: a settlement, a move, or a message that is left."""
    for settlement in plan.settlements:
        entry = settlement.entry
        yield {
            "what": "settlement",
            "account": account,
            "folder": entry.ref.folder,
            "uidvalidity": entry.ref.uidvalidity,
            "uid": entry.ref.uid,
            "fingerprint": entry.fingerprint,
            "to": entry.to,
            "outcome": settlement.outcome.value,
        }
    for batch in plan.batches:
        for move in batch.moves:
            yield {
                "what": "move",
                **_judged_json(account, move.judged),
                "to": batch.to,
                "because": move.because,
                "by_rule": move.by_rule,
            }
    for left in plan.left:
        yield {"what": "left", **_judged_json(account, left.judged), "why": left.why}


def _judged_json(account: str, judged: Judged) -> Json:
    arrival, verdict = judged.arrival, judged.verdict
    return {
        "account": account,
        "folder": arrival.ref.folder,
        "uidvalidity": arrival.ref.uidvalidity,
        "uid": arrival.ref.uid,
        "fingerprint": arrival.fingerprint,
        "received_at": arrival.received_at.isoformat(),
        "size": arrival.size,
        "subject": judged.subject,
        "original_subject": verdict.original.subject if verdict.original else None,
        "kind": verdict.kind.value,
        "cause": verdict.cause and verdict.cause.value,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "rules": list(verdict.rules),
    }


def preview_json(account: str, overview: Overview) -> Json:
    """Sum a preview up."""
    return {
        "what": "summary",
        "account": account,
        "scanned": overview.scanned,
        "moves": len(overview.moves),
        "to": dict(overview.targets),
        "left": dict(overview.left),
        "settlements": {outcome.value: count for outcome, count in overview.settled.items()},
    }


def report_json(account: str, report: Report) -> Json:
    """Sum up what `clean` has done."""
    return {
        "what": "report",
        "account": account,
        "scanned": report.scanned,
        "moved": report.moved,
        "left": report.left,
        "gone": report.gone,
        "unsettled": report.unsettled,
        "settled": report.settled,
    }


def waves_json(account: str, found: Sequence[Wave]) -> Json:
    """Tell of waves of bounces that are over."""
    return {
        "what": "past-waves",
        "account": account,
        "waves": [
            {
                "first": wave.first.isoformat(),
                "last": wave.last.isoformat(),
                "bounces": wave.bounces,
                "peak_day": wave.peak_day.isoformat(),
                "peak": wave.peak,
            }
            for wave in found
        ],
    }


def runs_json(account: str, runs: Iterable[PastRun]) -> Iterator[Json]:
    """Yield one object for each run."""
    for run in runs:
        yield {
            "what": "run",
            "account": account,
            "run": run.id,
            "command": run.command,
            "began": run.began.isoformat(),
            "moved": run.moved,
            "undone": run.undone,
        }


def run_json(account: str, messages: Iterable[FiledMessage]) -> Iterator[Json]:
    """Yield one object for each message that a run moved."""
    for message in messages:
        yield {"what": "moved", **_filed_json(account, message)}


def _filed_json(account: str, message: FiledMessage) -> Json:
    to = message.to
    return {
        "account": account,
        "number": message.id,
        "run": message.run,
        "folder": message.ref.folder,
        "to": message.to_folder,
        "to_uidvalidity": to and to.uidvalidity,
        "to_uid": to and to.uid,
        "fingerprint": message.fingerprint,
        "received_at": message.received_at.isoformat(),
        "size": message.size,
        "subject": message.subject,
        "kind": message.kind.value,
        "cause": message.cause and message.cause.value,
        "recipients": list(message.recipients),
        "undone": message.undone,
    }


def undo_json(account: str, undo: Undo) -> Iterator[Json]:
    """Yield one object for each message that is to be put back, or is not."""
    for move, to in undo.moves:
        yield {"what": "undo", "number": move.undoes, **_judged_json(account, move.judged), "to": to}
    for stays in undo.stays:
        yield {"what": "stays", **_filed_json(account, stays.message), "why": stays.why}


def alert_json(alert: Alert) -> Json:
    """Say what an alert says."""
    return {
        "what": "alert",
        "key": alert.key,
        "level": alert.level.value,
        "subject": alert.subject,
        "body": alert.body,
    }


def posture_json(found: Posture) -> Json:
    """Say all that the posture holds."""
    return {
        "what": "posture",
        "domain": found.domain,
        "provider": found.provider,
        "worst": found.worst.value,
        "findings": [
            {
                "code": finding.code.value,
                "severity": finding.severity.value,
                "text": finding.text,
                "number": finding.number,
            }
            for finding in found.findings
        ],
        "suggestions": [
            {"step": proposed.step.value, "name": proposed.name, "type": "TXT", "record": proposed.record}
            for proposed in found.suggestions
        ],
        "published": [{"name": name, "record": record} for name, record in found.published],
    }
