"""What `explain` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from bouncefiler.filing.plan import Disposition, File, Leave
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict
from bouncefiler.render.harmless import clean_text
from bouncefiler.render.layout import Block, Column, Document, Paragraph, Table, Tone
from bouncefiler.render.words import Words


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
        yield Paragraph(
            "\n".join(
                words.say("explain", "advice", cause=words.label(cause), advice=words.advice(cause)) for cause in causes
            )
        )
    if facts := tuple(_facts(verdict, disposition, words)):
        yield Table(words.say("explain", "details"), (Column("", 20, 10), Column("", 120, 20)), facts)
    if verdict.evidence:
        yield _evidence(verdict, words)
    if verdict.incomplete:
        yield Paragraph(words.say("explain", "incomplete"), Tone.WARNING)


def _sentence(verdict: Verdict, words: Words) -> str:
    return words.say("kind", verdict.kind, cause=words.label(verdict.cause))


def _recipients(recipients: Sequence[Recipient], words: Words) -> Table:
    columns = (
        Column(words.head("recipient"), 60, 14),
        Column(words.head("why"), 40, 10),
        Column(words.head("status"), 10, 6),
        Column(words.head("said"), 120, 16),
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
    return Table(words.say("explain", "for-whom"), columns, rows)


def _facts(verdict: Verdict, disposition: Disposition | None, words: Words) -> Iterator[tuple[str, str]]:
    original = verdict.original
    said = (
        ("reporting-mta", verdict.reporting_mta),
        ("subject", original and original.subject),
        ("from", original and original.from_),
        ("to", original and original.to),
        ("date", original and original.date),
        ("id", original and original.message_id),
        ("layout", verdict.format),
        ("rules", ", ".join(verdict.rules)),
    )
    yield from ((words.say("explain", what), clean_text(text, 120)) for what, text in said if text)
    match disposition:
        case File(to=to, because=because):
            said_of_it = words.say("explain", "file", folder=to, because=because)
            yield (words.say("explain", "would-be"), clean_text(said_of_it, 120))
        case Leave(why=why):
            said_of_it = words.say("explain", "leave", why=words.why(why))
            yield (words.say("explain", "would-be"), clean_text(said_of_it, 120))
        case None:
            pass
        case _:
            assert_never(disposition)


def _evidence(verdict: Verdict, words: Words) -> Table:
    columns = (
        Column("#", 3, 2, right=True),
        Column(words.head("row"), 40, 12),
        Column(words.head("where"), 30, 10),
        Column(words.head("excerpt"), 120, 16),
    )
    rows = tuple(
        (str(number), clean_text(fact.rule, 60), clean_text(fact.where, 60), clean_text(fact.excerpt, 120))
        for number, fact in enumerate(verdict.evidence, 1)
    )
    return Table(words.say("explain", "evidence"), columns, rows)
