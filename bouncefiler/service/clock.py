"""The machine's clocks, and how long what may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

HOUR = 3_600.0
DAY = 86_400.0

JITTER = 0.1
"""By what share an interval may be longer, so that accounts of one server don't come to it all at once."""


def _boottime() -> float:
    # Where there is no such clock, a suspend is not noticed as one; the wall clock that jumped then is.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The three clocks of a machine (clock_gettime(2))."""

    monotonic: Callable[[], float] = time.monotonic
    """Never set, and stands still while the machine sleeps."""
    boottime: Callable[[], float] = _boottime
    """Never set, and runs on while the machine sleeps."""
    now: Callable[[], datetime] = _now
    """May be set by anyone at any time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long what may take, in seconds."""

    grace: float = 45.0
    """How long runs may go on after the request to stop; systemd waits for 60 s (TimeoutStopSec in the units)."""
    patience: float = 600.0
    """How long a run may show no progress, or the timetable be late, before the watchdog is told nothing any more."""
    pulse: float = 30.0
    """How often to look at the clocks when there is nothing else to do."""
    spread: float = 1.0
    """How far apart the first runs of the accounts are; all begin within ten times this."""
