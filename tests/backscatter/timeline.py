"""Timelines for the tests of this room: when bounces come, and what the watch says at each look."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bouncefiler.backscatter.incident import Background, Diagnosis, Incident, Notice, Step, assess
from bouncefiler.backscatter.volume import HISTORY, Singly, WatchPolicy

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def evenly(number: int, start: float, end: float) -> list[int]:
    """So many bounces, spread evenly over a stretch of time."""
    return [int(start + (end - start) * (i + 0.5) / number) for i in range(number)]


def quiet(days: int, before: int, each: float = 0.0) -> list[int]:
    """So many ordinary days before a moment, with so many bounces each day, spread evenly."""
    number = round(days * each)
    return evenly(number, before - days * DAY, before) if number else []


@dataclass
class Watch:
    """Asks again and again, as the service does: with what has come so far, and what it knows of incidents."""

    times: Sequence[int]
    policy: WatchPolicy = field(default_factory=WatchPolicy)
    known_since: int = NOON - 400 * DAY
    open: Incident | None = None
    last: Incident | None = None
    told: list[tuple[int, Notice]] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)

    def look(self, now: int, diagnosis: Diagnosis = Diagnosis.BACKSCATTER, *, clock: int | None = None) -> Step:
        """Look at `now`; `clock` is what our clock says then, when it is wrong."""
        start, end = bisect_left(self.times, now - HISTORY.total_seconds()), bisect_right(self.times, now)
        moment = at(now if clock is None else clock)
        background = Background(at(self.known_since), diagnosis)
        step = assess(Singly(self.times[start:end]), moment, self.policy, self.open, self.last, background)
        self._remember(step)
        self.told += [(now, notice) for notice in step.notices]
        return step

    def _remember(self, step: Step) -> None:
        if step.incident is None:
            return
        self.incidents.append(step.incident)
        over = step.incident.closed is not None
        self.open, self.last = (None, step.incident) if over else (step.incident, self.last)

    def every(self, step: int, start: int, end: int) -> Watch:
        for now in range(start, end, step):
            self.look(now)
        return self

    @property
    def notices(self) -> list[str]:
        return [notice.value for _, notice in self.told]


def merged(*parts: Iterable[int]) -> list[int]:
    return sorted(time for part in parts for time in part)
