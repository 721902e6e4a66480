"""What to tell the person, in their language. The texts are in `words/`, one file a language."""

from __future__ import annotations

import re
import string
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import Any

from bouncefiler.backscatter import wording
from bouncefiler.backscatter.diagnosis import Sign
from bouncefiler.backscatter.evidence import Findings, evidence_lines
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.recognition.verdict import Cause

WIDTH = 76
"""Characters in a line (RFC 5322, 2.1.1, asks for no more than 78)."""

MAX_CAUSES = 5
"""How many causes are named."""

MAX_DEAD = 20
"""How many addresses are listed."""

MAX_ADDRESS = 100

_ADDRESS = frozenset(string.ascii_letters + string.digits + "!#$%&*+-/=?^_.|~@'")
_OVER = frozenset({Notice.CLOSED, Notice.SETTLED})
_ITEM = re.compile(r"(?:\d\.|-) ")


class Level(StrEnum):
    """How loud an alert is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """A message to the account's owner: plain text in their language, nothing of it taken from mail unsanitised."""

    key: str
    """Two alerts with the same key are the same news: it is delivered once a channel."""
    level: Level
    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Who is told: their address, the folder of the bounces, their language ("pt_BR", "en", …) and time zone."""

    address: str
    folder: str
    language: str = "en"
    zone: tzinfo = UTC


def write(notice: Notice, incident: Incident, reader: Reader, findings: Findings | None = None) -> Alert:
    """Write the alert, with the evidence if given. Portuguese for a reader of Portuguese, else English."""
    words = wording.words(reader.language)
    found = findings or Findings()
    facts = _facts(incident, reader, words)
    paragraphs = (
        words["lead"][notice],
        *_causes(found.causes, words),
        *_explanation(notice, incident.diagnosis, found, words),
    )
    body = "\n\n".join(_wrapped(paragraph.strip("\n").format_map(facts)) for paragraph in paragraphs)
    subject = words["subject"][incident.diagnosis][notice].format_map(facts)
    return Alert(_key(notice, incident), _level(notice, incident), subject, body + "\n")


def _wrapped(text: str) -> str:
    """Break long lines, those of an item of a list under its text."""
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent=" " * _item(line), break_on_hyphens=False, break_long_words=False)
        for line in text.split("\n")
    )


def _item(line: str) -> int:
    """Return how far the text of an item is indented; 0 for a line that is none."""
    found = _ITEM.match(line)
    return found.end() if found else 0


def _causes(causes: Sequence[tuple[Cause, int]], words: Mapping[str, Any]) -> tuple[str, ...]:
    if not causes:
        return ()
    told = words["causes"]
    most = sorted(causes, key=lambda counted: -counted[1])[:MAX_CAUSES]
    items = (told["item"].format(cause=told[cause], n=wording.number(number, words)) for cause, number in most)
    return (told["line"].format(list="; ".join(items)),)


def _explanation(notice: Notice, diagnosis: Diagnosis, found: Findings, words: Mapping[str, Any]) -> Iterator[str]:
    advice, closing = words["advice"], words["closing"]
    if notice in _OVER:
        # That the bounces have stopped does not mean that an intruder has left.
        hacked = diagnosis is Diagnosis.COMPROMISED
        yield advice["hacked_still"] + advice["hacked"] if hacked else closing["over"]
        yield from _dead(found.dead, words)
        yield closing["last"]
        return
    shown = diagnosis is Diagnosis.BACKSCATTER and found.shown_forged
    yield words["meaning"]["backscatter-shown" if shown else diagnosis]
    yield from _evidence(found, words)
    yield from _steps(diagnosis, found, words, shown=shown)
    yield closing["last"] + closing["more"]


def _steps(diagnosis: Diagnosis, found: Findings, words: Mapping[str, Any], *, shown: bool) -> Iterator[str]:
    advice = words["advice"]
    match diagnosis:
        case Diagnosis.BACKSCATTER if shown:
            yield f"{advice['what_to_do']}\n{advice['forged']}"
            yield from _posture(found, words)
            yield advice["look_once"]
        case Diagnosis.BACKSCATTER:
            yield words["meaning"]["look"]
            yield f"{advice['only_forged']}\n{advice['forged']}"
            yield from _posture(found, words)
            yield advice["hacked_if"] + advice["hacked"]
            yield advice["mailing"]
        case Diagnosis.COMPROMISED:
            yield f"{advice['now']}\n{advice['hacked']}"
            if Sign.BURST in found.signs:
                yield advice["yours"]
        case Diagnosis.OWN_MAILING:
            yield advice["own-mailing"]
            yield from _dead(found.dead, words)


def _evidence(found: Findings, words: Mapping[str, Any]) -> Iterator[str]:
    lines = evidence_lines(found, words["evidence"], lambda number: wording.number(number, words))
    if lines:
        yield "\n".join((words["evidence"]["title"], *lines))


def _posture(found: Findings, words: Mapping[str, Any]) -> Iterator[str]:
    if found.posture:
        lines = (_literally(line) for line in found.posture)
        yield "\n".join((words["advice"]["posture"].strip("\n"), *lines))


def _dead(addresses: Sequence[str], words: Mapping[str, Any]) -> Iterator[str]:
    if not addresses:
        return
    lines = [f"   {_harmless(address)}" for address in addresses[:MAX_DEAD]]
    if len(addresses) > MAX_DEAD:
        lines.append(f"   {words['advice']['dead_more'].format(n=wording.number(len(addresses) - MAX_DEAD, words))}")
    yield "\n".join((words["advice"]["dead"].strip("\n"), *lines))


def _harmless(address: str) -> str:
    """Return an address out of a stranger's mail as what is only ever an address."""
    return _literally("".join(char if char in _ADDRESS else "?" for char in address[:MAX_ADDRESS]))


def _literally(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _facts(incident: Incident, reader: Reader, words: Mapping[str, Any]) -> dict[str, str]:
    began = min(incident.opened, incident.began or incident.opened)
    return {
        "address": reader.address,
        "folder": reader.folder,
        "bounces": wording.bounces(incident.count, words),
        "total": wording.bounces(incident.total, words),
        "peak": wording.number(incident.peak, words),
        "usual": wording.usual(incident.usual, words),
        "rate": wording.number(incident.count if incident.usual is None else incident.usual, words),
        "began": wording.date(began.astimezone(reader.zone), words),
    }


def _level(notice: Notice, incident: Incident) -> Level:
    if notice in _OVER or incident.diagnosis is Diagnosis.OWN_MAILING:
        return Level.INFO
    return Level.CRITICAL if incident.diagnosis is Diagnosis.COMPROMISED else Level.WARNING


def _key(notice: Notice, incident: Incident) -> str:
    """Name the news: the same look at the same incident, however often it is written down."""
    when = incident.closed or incident.notified or incident.opened
    apart = f"{incident.diagnosis}:" if incident.diagnosis is Diagnosis.OWN_MAILING else ""  # it may be open beside one
    return f"{notice} {apart}{_stamp(incident.opened)} {_stamp(when)}"


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%S}"
