"""Is this more than usual? Counts of bounces in recent hours against what this account has known before.

What is usual is learnt from the account itself: the last 28 ordinary days that ended four days ago. The question asked
of a window is how likely so many bounces are for a mailbox with that past, by the negative-binomial predictive
distribution (bounces come at random, at a rate that is itself only known as well as the past tells it).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from bouncefiler.backscatter.provenance import Provenance, Reason
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind

ALARM = 7e-6
"""A count is alarming when it, or a higher one, has less than this chance.

With this and the windows below, a mailbox of eight bounces a day cries wolf less than once in ten years.
"""

ORDINARY = 0.05
"""A count is ordinary when it, or a higher one, has more than this chance."""

BASE_DAYS = 28
"""What is usual is learnt from so many ordinary days; what lasted as long is no wave any more but usual."""

GUARD_DAYS = 4
"""Days before today that are not learnt from: a slow wave that has just begun must not be taken for usual."""

HISTORY = timedelta(days=60)
"""How far back `times` has to reach: the base, the guard, and four weeks of waves that are stepped over."""

SPELL = 120
"""Seconds. Bounces this close together are mostly one mail to several people, so they count as one spell."""

MANY = 50
"""From so many bounces on, a window is looked at by bounces too: a flood may be over within a spell."""

CLUMP = 10.0
"""How many bounces at once are then nothing special in any mailbox."""

MAX_CLUMP = 12.0

PRIOR_COUNT = 0.5
PRIOR_DAYS = 0.5
"""What is believed of an account that nothing is known of: one bounce a day, and 25 in one still within reason."""

_DAY = 86_400
_QUARTERS = 4
_QUARTER = _DAY // _QUARTERS


@dataclass(frozen=True, slots=True)
class Sighting:
    """One bounce that came; `received_at` is INTERNALDATE."""

    fingerprint: Fingerprint
    received_at: datetime
    kind: Kind
    cause: Cause
    provenance: Provenance = Provenance.UNKNOWN
    reasons: Reason = Reason.NOTHING


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """When the user wants to be told.

    `threshold`: so many bounces in 24 hours always raise an alert, whatever is usual; None leaves it to the statistics.
    """

    threshold: int | None = None
    renotify: timedelta = timedelta(hours=6)


class Window(NamedTuple):
    """How far back to look, and how few spells there are never an alarm, however quiet the mailbox."""

    seconds: int
    floor: int


_LAST_DAY = Window(_DAY, 8)
WINDOWS = (Window(3_600, 5), Window(3 * 3_600, 6), Window(8 * 3_600, 7), _LAST_DAY, Window(3 * _DAY, 10))
"""Each three times as wide: the narrow ones see a flood within the hour, the wide ones a drip within days."""


class Count(NamedTuple):
    """What came in a stretch of time."""

    bounces: int
    spells: int


_FEW = (Count(0, 0), Count(1, 1))


@dataclass(frozen=True, slots=True)
class Level:
    """So many in so many days, in clumps of so many (1.0 when each came for itself)."""

    count: int
    days: float
    clump: float = 1.0

    def chance(self, count: int, days: float) -> float:
        """Return how likely `count` or more are within `days`: P(X >= count), X predicted from this past.

        The rate is Gamma(0.5 + count, 0.5 + days); a Poisson count of such a rate is negative-binomial, and its tail a
        regularised incomplete beta function (Abramowitz and Stegun, 26.5.26). Clumps are the units where there are any.
        """
        share = days / (PRIOR_DAYS + self.days + days)
        return incomplete_beta(share, count / self.clump, PRIOR_COUNT + self.count / self.clump)


@dataclass(frozen=True, slots=True)
class Usual:
    """What an account is used to."""

    spells: Level
    bounces: Level

    @property
    def per_day(self) -> float | None:
        """Bounces a day; None before a week is known."""
        return self.bounces.count / self.bounces.days if self.bounces.days >= 7 else None

    def chance(self, count: Count, days: float) -> float:
        """Return how likely so much or more is within `days`."""
        by_spells = self.spells.chance(count.spells, days)
        return min(by_spells, self.bounces.chance(count.bounces, days)) if count.bounces >= MANY else by_spells

    def ordinary(self, count: Count, days: float) -> bool:
        """Whether so much within `days` is nothing special."""
        return self.chance(count, days) > ORDINARY


@dataclass(frozen=True, slots=True)
class Wave:
    """Days in the past with far more bounces than usual. Days are those of UTC."""

    first: datetime
    last: datetime
    bounces: int
    peak_day: date
    peak: int


def bounces(times: Sequence[int], start: float, end: float) -> int:
    """Count the bounces after `start`, up to and including `end`; `times` ascend."""
    return bisect_right(times, end) - bisect_right(times, start)


def count(times: Sequence[int], start: float, end: float) -> Count:
    """Count bounces and spells after `start`, up to and including `end`; `times` ascend."""
    return _count(times, bisect_right(times, start), bisect_right(times, end))


def surge(times: Sequence[int], end: int, known_since: int, after: int | None = None) -> int | None:
    """Return when it began if one of the windows that end at `end` holds an alarming number; None when all is as usual.

    Only what came after `after` counts, and nothing alarms that is over since a day.
    """
    spans = [(min(window.seconds, end - after) if after is not None else window.seconds, window) for window in WINDOWS]
    crowded = [
        (span, counted)
        for span, window in spans
        if span > 0 and (counted := _at_least(times, end - span, end, window.floor)) is not None
    ]
    if not crowded:
        return None
    usual = usual_at(times, end, known_since)
    for span, counted in crowded:
        if span > _DAY and usual.ordinary(count(times, end - _DAY, end), 1.0):
            break
        if usual.chance(counted, span / _DAY) < ALARM:
            return _onset(times, end - span, usual, after)
    return None


def _at_least(times: Sequence[int], start: int, end: int, floor: int) -> Count | None:
    low, high = bisect_right(times, start), bisect_right(times, end)
    if high - low < floor:
        return None
    counted = _count(times, low, high)
    return counted if counted.spells >= floor or counted.bounces >= MANY else None


def _onset(times: Sequence[int], start: int, usual: Usual, after: int | None) -> int:
    """Go back from an alarming window while the six hours before were more than ordinary; return the first bounce."""
    earliest = max(start - BASE_DAYS * _DAY, after or 0)
    while start - _QUARTER >= earliest and not usual.ordinary(count(times, start - _QUARTER, start), _QUARTER / _DAY):
        start -= _QUARTER
    return times[bisect_right(times, start)]


def usual_at(times: Sequence[int], end: int, known_since: int) -> Usual:
    """Learn what was usual for the account before `end`.

    `known_since` is when the history begins of which `times` holds every bounce; a day without bounces counts as a
    quiet one only from there on. With less than 28 days of it, what is missing is made up for by doubt: the fewer the
    days, the more bounces it takes to alarm (with none at all, 5 spells in an hour, or 26 in a day).
    """
    last_day = end // _DAY - GUARD_DAYS
    first_day = max(end // _DAY - HISTORY.days + 1, -(-known_since // _DAY))
    return _learn(_quarters(times, first_day, last_day))


def past_waves(times: Sequence[int], now: datetime, known_since: datetime | None = None) -> tuple[Wave, ...]:
    """Find the waves of bounces that were over a day before `now`, for the record: they are no reason to alarm anybody.

    `known_since` as in `usual_at`; None takes the first bounce's day. A level that lasted for four weeks or more is not
    a wave: it was usual then.
    """
    end = math.floor(now.timestamp())
    if not times:
        return ()
    first_day = math.ceil(known_since.timestamp()) // _DAY if known_since else times[0] // _DAY
    quarters = _quarters(times, first_day, end // _DAY + 1)
    waves = (_wave(times, quarters, first_day, days) for days in _walk(quarters).waves)
    return tuple(wave for wave in waves if wave.last.timestamp() < end - _DAY)


def _wave(times: Sequence[int], quarters: Sequence[Count], first_day: int, days: tuple[int, ...]) -> Wave:
    low = bisect_left(times, (first_day + days[0]) * _DAY)
    high = bisect_left(times, (first_day + days[-1] + 1) * _DAY)
    peak = max(days, key=lambda day: _day(quarters, day).bounces)
    return Wave(
        datetime.fromtimestamp(times[low], UTC),
        datetime.fromtimestamp(times[high - 1], UTC),
        high - low,
        datetime.fromtimestamp((first_day + peak) * _DAY, UTC).date(),
        _day(quarters, peak).bounces,
    )


def _count(times: Sequence[int], low: int, high: int) -> Count:
    """Count by leaps from spell to spell: the cost grows with the time looked at, not with the size of a flood."""
    if high - low < len(_FEW):
        return _FEW[high - low]
    of_all, spells = high - low, 0
    while low < high:
        spells += 1
        low = bisect_left(times, times[low] + SPELL, low + 1, high)
    return Count(of_all, spells)


def _quarters(times: Sequence[int], first_day: int, last_day: int) -> tuple[Count, ...]:
    """Count each quarter of the days from `first_day` up to, and without, `last_day` (days since 1970, UTC)."""
    edges = [bisect_left(times, i * _QUARTER) for i in range(first_day * _QUARTERS, last_day * _QUARTERS + 1)]
    return tuple([_count(times, low, high) for low, high in pairwise(edges)])


@lru_cache(maxsize=64)  # the base moves once a day; the windows are looked at every few minutes
def _learn(quarters: tuple[Count, ...]) -> Usual:
    return _usual(quarters, _walk(quarters).ordinary[-BASE_DAYS:])


class _Walk(NamedTuple):
    """Indices of the days that were ordinary, and of those of each wave."""

    ordinary: list[int]
    waves: list[tuple[int, ...]]


def _walk(quarters: Sequence[Count]) -> _Walk:
    """Go through the days and part the waves from what was usual at the time, so that a wave teaches nothing."""
    found = _Walk([], [])
    wave: list[int] = []
    for day in range(len(quarters) // _QUARTERS):
        if _loud(quarters, day, found.ordinary, ORDINARY if wave else ALARM):
            wave.append(day)
            continue
        _finish(wave, found)
        wave = []
        found.ordinary.append(day)
    _finish(wave, found)
    return found


def _finish(wave: list[int], found: _Walk) -> None:
    if len(wave) >= BASE_DAYS:
        found.ordinary.extend(wave)
    elif wave:
        found.waves.append(tuple(wave))


def _loud(quarters: Sequence[Count], day: int, ordinary: list[int], limit: float) -> bool:
    counted = _day(quarters, day)
    if limit == ALARM and counted.spells < _LAST_DAY.floor and counted.bounces < MANY:
        return False
    base = ordinary[-BASE_DAYS - GUARD_DAYS : -GUARD_DAYS]
    return _usual(quarters, base).chance(counted, 1.0) < limit


def _day(quarters: Sequence[Count], day: int) -> Count:
    of_day = quarters[day * _QUARTERS : (day + 1) * _QUARTERS]
    return Count(sum(quarter.bounces for quarter in of_day), sum(quarter.spells for quarter in of_day))


def _usual(quarters: Sequence[Count], days: Sequence[int]) -> Usual:
    base = [quarters[i] for day in days for i in range(day * _QUARTERS, (day + 1) * _QUARTERS)]
    by_spells = [quarter.spells for quarter in base]
    by_bounces = [quarter.bounces for quarter in base]
    return Usual(
        Level(sum(by_spells), len(days), _clump(by_spells)),
        Level(sum(by_bounces), len(days), max(CLUMP, _clump(by_bounces))),
    )


def _clump(counts: Sequence[int]) -> float:
    """Estimate how many come at a time, from how much more the counts vary than those of independent events do.

    For independent events the pairs within a quarter of a day number n(n-1)/m, give or take n·sqrt(2/m). What goes
    beyond is doubled: the tail of clumped counts is heavier than that of a count of clumps.
    """
    n, m = sum(counts), len(counts)
    if n < 2:
        return 1.0
    pairs = sum(c * (c - 1) for c in counts)
    excess = (pairs - n * (n - 1) / m - n * math.sqrt(2 / m)) / (n + 1)
    return min(1.0 + 2.0 * max(0.0, excess), MAX_CLUMP)


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), for 0 <= x <= 1, a >= 0 and b > 0.

    By the continued fraction of Abramowitz and Stegun, 26.5.8, evaluated from its far end inwards as Lentz does; on the
    side of the mean where it converges quickly.
    """
    if a <= 0 or x >= 1:
        return 1.0
    if x <= 0:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_tail(1 - x, b, a)
    return _beta_tail(x, a, b)


def _beta_tail(x: float, a: float, b: float) -> float:
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if log_front < -700:
        return 0.0
    return math.exp(log_front) * _beta_fraction(x, a, b) / a


def _beta_fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1) or tiny)
    value = d
    for m in range(1, 20_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = value
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d or tiny)
            c = 1.0 + term / c or tiny
            value *= c * d
        if abs(value - before) <= 1e-13 * abs(value):
            break
    return value
