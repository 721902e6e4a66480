"""What `history` and `undo` show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
from bouncefiler.recognition.verdict import Verdict
from bouncefiler.render.filing import names_of, reason_of
from bouncefiler.render.harmless import clean_text
from bouncefiler.render.layout import Block, Column, Document, Paragraph, Table, Tone
from bouncefiler.render.words import Words, at_minute, counted
from bouncefiler.sweep import Report

LATEST_RUNS = 50
"""More runs than this are only shown to those who ask for them."""


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
            at_minute(run.began, zone),
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
        at_minute(message.received_at, zone),
        clean_text(message.recipients[0], 40) if message.recipients else "-",
        reason_of(verdict, words),
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
                at_minute(move.judged.arrival.received_at, zone),
                names_of(move.judged.verdict.recipients),
                reason_of(move.judged.verdict, words),
                clean_text(move.judged.subject, 80),
                clean_text(to, 40),
            )
            for move, to in undo.moves
        )
        yield Table(f"To be put back: {counted(len(rows), 'message', 'messages')}", _numbered("goes back to"), rows)
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
                    at_minute(stays.message.received_at, zone),
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
    back = counted(report.moved, "message", "messages")
    yield Paragraph(f"{back} {verb} back, and will not be filed again.", Tone.GOOD)
    if report.gone:
        yield Paragraph(
            f"{counted(report.gone, 'message', 'messages')} had been taken away by somebody else meanwhile."
        )
    if report.unsettled:
        yield Paragraph(
            f"For {counted(report.unsettled, 'message', 'messages')} the server did not say whether it was done; the "
            "next run looks, and nothing is lost meanwhile.",
            Tone.WARNING,
        )
