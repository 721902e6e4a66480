"""Incidents: a wave of bounces is one incident, however many messages it has."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Diagnosis(StrEnum):
    """What is going on."""

    BACKSCATTER = "backscatter"
    COMPROMISED = "compromised"
    OWN_MAILING = "own-mailing"


@dataclass(frozen=True, slots=True)
class Incident:
    """A wave of bounces, from when it was noticed until it has ebbed away. All times are aware."""

    diagnosis: Diagnosis
    opened: datetime
    last_seen: datetime
    """INTERNALDATE of its newest bounce."""
    count: int
    """Bounces in the 24 hours before it was last looked at."""
    usual: float
    """Bounces a day that were usual before it."""
    total: int
    """Bounces since it began."""
    peak: int
    """The highest `count` so far."""
    notified: datetime | None = None
    notified_count: int = 0
    """The `count` that the user was last told."""
    closed: datetime | None = None
    id: int = 0
    """0 until it is stored."""
