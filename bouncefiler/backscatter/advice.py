"""What to tell the person, in their language. The texts are in `words/`, one file a language."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice

WIDTH = 128
"""Characters in a line of text."""

RARE = 0.1
"""Fewer a day than this are hardly ever one."""


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
    """Who is told: their address, the folder that the bounces go to, and their language ("pt_BR", "en", …)."""

    address: str
    folder: str
    language: str = "en"


def write(notice: Notice, incident: Incident, reader: Reader) -> Alert:
    """Write the alert. Portuguese for a reader of Portuguese, else English."""
    words = _words("pt" if reader.language.lower().startswith("pt") else "en")
    facts = _facts(incident, reader, words)
    paragraphs = (words["lead"][notice], *_explanation(notice, incident.diagnosis, words))
    body = "\n\n".join(_wrapped(paragraph.strip("\n").format_map(facts)) for paragraph in paragraphs)
    return Alert(
        _key(notice, incident), _level(notice, incident), words["subject"][notice].format_map(facts), body + "\n"
    )


def _wrapped(text: str) -> str:
    """Break lines that became long when names were filled in."""
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  " if line[:2] in ("- ", "  ") else "")
        for line in text.split("\n")
    )


def _explanation(notice: Notice, diagnosis: Diagnosis, words: Mapping[str, Any]) -> tuple[str, ...]:
    if notice in (Notice.CLOSED, Notice.SETTLED):
        return (words["closing"]["last"],)
    advice = words["advice"]
    steps: tuple[str, ...]
    match diagnosis:
        case Diagnosis.BACKSCATTER:
            steps = (advice["forged"], advice["hacked_if"] + advice["hacked"])
        case Diagnosis.COMPROMISED:
            steps = (advice["hacked"],)
        case Diagnosis.OWN_MAILING:
            steps = (advice["own-mailing"],)
    return (words["meaning"][diagnosis], *steps, words["closing"]["text"])


def _facts(incident: Incident, reader: Reader, words: Mapping[str, Any]) -> dict[str, str]:
    began = incident.began or incident.opened
    return {
        "address": reader.address,
        "folder": reader.folder,
        "bounces": _bounces(incident.count, words),
        "total": _bounces(incident.total, words),
        "peak": _number(incident.peak, words),
        "usual": _usual(incident.usual, words),
        "began": f"{began:%Y-%m-%d}",
    }


def _usual(rate: float | None, words: Mapping[str, Any]) -> str:
    usual = words["usual"]
    if rate is None:
        return str(usual["unknown"])
    return str(usual["rare"] if rate < RARE else usual["rate"]).format(n=_number(rate, words))


def _bounces(number: int, words: Mapping[str, Any]) -> str:
    one, many = words["bounces"]
    return str(one if number == 1 else many).format(n=_number(number, words))


def _number(number: float, words: Mapping[str, Any]) -> str:
    """Write 1234 as "1,234" or "1.234", and 0.31 as "0.3" or "0,3", as the language does."""
    text = f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:,.1f}"
    return text.translate(str.maketrans({",": words["thousands"], ".": words["decimal_point"]}))


def _level(notice: Notice, incident: Incident) -> Level:
    if notice in (Notice.CLOSED, Notice.SETTLED) or incident.diagnosis is Diagnosis.OWN_MAILING:
        return Level.INFO
    return Level.CRITICAL if incident.diagnosis is Diagnosis.COMPROMISED else Level.WARNING


def _key(notice: Notice, incident: Incident) -> str:
    """Name the news: the same look at the same incident, however often it is written down."""
    when = incident.closed or incident.notified or incident.opened
    return f"{notice} {incident.opened:%Y%m%dT%H%M%S} {when:%Y%m%dT%H%M%S}"


@cache
def _words(language: str) -> Mapping[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("words", f"{language}.toml").read_text("utf-8"))
