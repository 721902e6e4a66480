"""Words that several documents share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol

from bouncefiler.recognition.verdict import Cause


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


def counted(number: int, one: str, many: str) -> str:
    """Write a number and what it counts: "1 message", "1,200 messages"."""
    return f"{number:,} {one if number == 1 else many}"


def at_minute(moment: datetime, zone: tzinfo | None) -> str:
    """Write a moment in this time zone, to the minute; None is the machine's."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
