"""What `history` and `undo` show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo

from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
from bouncefiler.recognition.verdict import Verdict
from bouncefiler.render.filing import names_of, reason_of
from bouncefiler.render.harmless import clean_text
from bouncefiler.render.layout import Block, Column, Document, Paragraph, Table, Tone
from bouncefiler.render.words import Words, at_minute
from bouncefiler.sweep import Report

LATEST_RUNS = 50
"""More runs than this are only shown to those who ask for them."""


def runs(
    account: str, runs: Sequence[PastRun], words: Words, *, every: bool = True, zone: tzinfo | None = None
) -> Document:
    """List runs that moved mail, the newest first; without `every` no more than LATEST_RUNS."""
    if not runs:
        return (Paragraph(clean_text(words.say("past", "none", account=account))),)
    columns = (
        Column(words.head("run"), right=True),
        Column(words.head("when"), 16, 16),
        Column(words.head("command"), 20, 7),
        Column(words.head("messages"), right=True),
        Column(words.head("undone"), right=True),
    )
    rows = tuple(
        (
            str(run.id),
            at_minute(run.began, zone),
            clean_text(run.command, 20),
            words.number(run.moved),
            words.number(run.undone) if run.undone else "-",
        )
        for run in (runs if every else runs[:LATEST_RUNS])
    )
    table = Table(clean_text(words.say("past", "title", account=account)), columns, rows)
    if len(rows) == len(runs):
        return (table,)
    return (table, Paragraph(words.say("past", "latest", n=words.number(LATEST_RUNS))))


def run(run: int, messages: Sequence[FiledMessage], words: Words, *, zone: tzinfo | None = None) -> Document:
    """List what a run moved."""
    if not messages:
        return (Paragraph(words.say("past", "run-none", run=str(run))),)
    rows = tuple((*_told(message, words, zone), _went_to(message, words)) for message in messages)
    return (Table(words.say("past", "run", run=str(run)), _numbered("went", words), rows),)


def _went_to(message: FiledMessage, words: Words) -> str:
    folder = clean_text(message.to_folder, 40)
    return words.say("past", "put-back", folder=folder) if message.undone else folder


def _numbered(where: str, words: Words) -> tuple[Column, ...]:
    return (
        Column(words.head("number"), right=True),
        Column(words.head("received"), 16, 16),
        Column(words.head("for"), 40, 12),
        Column(words.head("why"), 40, 10),
        Column(words.head("subject"), 80, 10),
        Column(words.head(where), 40, 12),
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
        yield Table(words.count("past", "undo-title", len(rows)), _numbered("back", words), rows)
    if undo.stays:
        yield Table(
            words.say("past", "stays-title"),
            (
                Column(words.head("number"), right=True),
                Column(words.head("received"), 16, 16),
                Column(words.head("subject"), 60, 10),
                Column(words.head("because"), 80, 20),
            ),
            tuple(
                (
                    str(stays.message.id),
                    at_minute(stays.message.received_at, zone),
                    clean_text(stays.message.subject, 60),
                    clean_text(words.why(stays.why), 80),
                )
                for stays in undo.stays
            ),
        )
    if not undo.batches:
        yield Paragraph(words.say("past", "nothing"), Tone.GOOD)


def undone(report: Report, words: Words) -> Document:
    """Say what came of it."""
    return tuple(_undone(report, words))


def _undone(report: Report, words: Words) -> Iterator[Paragraph]:
    yield Paragraph(words.count("past", "undone", report.moved), Tone.GOOD)
    if report.gone:
        yield Paragraph(words.count("filing", "taken", report.gone))
    if report.unsettled:
        yield Paragraph(words.count("filing", "open", report.unsettled), Tone.WARNING)
