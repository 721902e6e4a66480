"""What to tell the person, in their language."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
