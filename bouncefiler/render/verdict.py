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
