"""Alerts, postures and past waves as documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from bouncefiler.backscatter import wording
from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.volume import Wave
from bouncefiler.render.harmless import clean_lines, clean_text
from bouncefiler.render.layout import Block, Column, Document, Paragraph, Table, Tone
from bouncefiler.render.words import Words

if TYPE_CHECKING:  # no other command than `posture` needs it
    from bouncefiler.backscatter.posture import Posture, Suggestion


def alert(alert: Alert) -> Document:
    """Show an alert: its subject, then its body, paragraph by paragraph."""
    tone = {Level.INFO: Tone.TITLE, Level.WARNING: Tone.WARNING, Level.CRITICAL: Tone.ALARM}[alert.level]
    paragraphs = (clean_lines(part) for part in alert.body.strip().split("\n\n"))
    return (Paragraph(clean_text(alert.subject), tone), *(Paragraph(text) for text in paragraphs if text.strip()))


_TONES = {"ok": Tone.GOOD, "note": Tone.PLAIN, "unknown": Tone.PLAIN, "weak": Tone.WARNING, "bad": Tone.ALARM}
"""By how good or bad it is: posture.Severity."""


def posture(found: Posture, language: str, *, offline: bool = False) -> Document:
    """Show what a domain publishes against forgery; `offline` says why nothing is known."""
    return tuple(_posture(found, language, offline=offline))


def _posture(found: Posture, language: str, *, offline: bool) -> Iterator[Block]:
    from bouncefiler.backscatter.posture import sentence  # noqa: PLC0415

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


def waves(found: Sequence[Wave], words: Words) -> Document:
    """Tell of waves of bounces that are over: nobody need do anything about them."""
    columns = (
        Column(words.head("first"), 10, 10),
        Column(words.head("last"), 10, 10),
        Column(words.head("bounces"), 9, 7, right=True),
        Column(words.head("peak"), 40),
    )
    rows = (
        (
            f"{wave.first:%Y-%m-%d}",
            f"{wave.last:%Y-%m-%d}",
            words.number(wave.bounces),
            words.say("waves", "peak", n=words.number(wave.peak), day=str(wave.peak_day)),
        )
        for wave in found
    )
    return (
        Table(words.say("waves", "title"), columns, tuple(rows)),
        Paragraph(words.say("waves", "over")),
    )
