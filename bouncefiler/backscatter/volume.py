"""Is this more than usual? Counts of bounces in recent hours against what this account has known before.

What is usual is learnt from the account itself. How many come a day: from 28 ordinary days that ended four days ago or
earlier. How they come: from a year, for in some mailboxes each bounce comes for itself, in others one mail to several
people fails and they come in clumps; and at work more come by day. The question asked of a window is how likely so many
are for a mailbox with that past: clumps come at random, at a rate that is itself only known as well as the past tells
it (so their number is negative-binomial), and their sizes are geometric. `benchmarks/alarms.py` says what comes of it.
"""

from __future__ import annotations

import math
import operator
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Protocol

from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind

ALARM = 3e-6
"""A count is alarming when it, or a higher one, has less than this chance.

With this and the windows below, mailboxes of up to eight bounces a day cry wolf less than once in ten years, and three
more an hour are seen within three: `benchmarks/alarms.py` measures both, and one is bought with the other.
"""

ORDINARY = 0.05
"""A count is ordinary when it, or a higher one, has more than this chance."""

BASE_DAYS = 28
"""What is usual is learnt from so many ordinary days; what lasted as long is no wave any more but usual."""

GUARD_DAYS = 4
"""Days before today, at least, that are not learnt from: a slow wave that has begun must not be taken for usual."""

HISTORY = timedelta(days=365)
"""How far back to look. Where one comes in ten days, it takes a year to learn how many come at a time."""

LEARNT_DAYS = 50 * 7
"""… of which so many are learnt from: whole weeks, so that it has to be done but once a week."""

NEW_DAYS = 56
"""An account known for less is learnt from every day: for twice as long as it takes to know what is usual."""

SPELL = 120
"""Seconds. Bounces this close together are mostly one mail to several people, so they count as one spell."""

MANY = 50
"""From so many bounces on, a window is looked at by bounces too: a flood may be over within a spell."""

MAX_CLUMP = 12.0
"""A mean of more at a time is never learnt: it would make blind to a flood.

For bounces, which are counted within spells too, it is taken for granted: a mail to a list may go to a hundred.
"""

PRIOR_COUNT = 0.5
PRIOR_DAYS = 0.5
"""What is believed of an account that nothing is known of: one bounce a day, and 40 in one still within reason."""

PRIOR_CLUMPED = 5
"""… and that one and a half come at a time, as firmly as if five had been seen to: some mail is to two or three."""

PRIOR_EVEN = 10
"""… and that they come at any time, as firmly as if ten in each quarter of a day had: fewer show no rhythm."""

_LEAST_LOG = -600.0
"""Below, exp() is soon nothing. Then so many clumps are usual that only mean and variance of their sizes matter."""

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


class Rhythm(NamedTuple):
    """How many times more than in the mean come at the busiest time of the day, and on the busier days.

    When that is doesn't matter: whoever works in another time zone for a week is not to be alarmed.
    """

    hours: float = 1.0
    days: float = 1.0


_EVEN = Rhythm()


@dataclass(frozen=True, slots=True)
class Level:
    """So many in so many days, of which so many come at a time in the mean (1.0 when each comes for itself)."""

    count: int
    days: float
    clump: float = 1.0
    rhythm: Rhythm = _EVEN

    def chance(self, count: int, days: float) -> float:
        """Return how likely `count` or more are within `days`: P(X >= count), X predicted from this past.

        The rate of clumps is Gamma(0.5 + clumps, 0.5 + days). To 1e-15 or so, below which nothing is asked.
        """
        crowded = days * (self.rhythm.hours if days < 1 else self.rhythm.days)
        share = crowded / (PRIOR_DAYS + self.days + crowded)
        return clumped_tail(count, PRIOR_COUNT + self.count / self.clump, share, self.clump)


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


class Day(NamedTuple):
    """What came on a day, and the spells in each quarter of it; days since 1970, by UTC."""

    number: int
    bounces: int
    quarters: tuple[int, ...] = (0,) * _QUARTERS

    @property
    def spells(self) -> int:
        """How many spells there were; one that goes on into the next quarter counts in both."""
        return sum(self.quarters)


class History(Protocol):
    """When bounces came, in seconds since 1970: the latest are looked at one by one, of a year only the days."""

    def after(self, start: float) -> Sequence[int]:
        """Return when each bounce came that came after `start`, ascending; earlier ones may come before them."""

    def first(self, start: float, end: float) -> int | None:
        """Return when the first bounce came from `start` on, and before `end`; None when there was none."""

    def last(self, start: float, end: float) -> int | None:
        """Return when the last bounce came from `start` on, and before `end`; None when there was none."""

    def days(self, first_day: int, last_day: int) -> Iterable[Day]:
        """Count each of the days from `first_day` up to, and without, `last_day`."""

    def usual(self, first_day: int, last_day: int) -> Usual:
        """Return what is `learnt` from these days."""


@dataclass(frozen=True, slots=True)
class Singly:
    """A History of which each bounce is at hand; `times` ascend."""

    times: Sequence[int]

    def after(self, _start: float) -> Sequence[int]:
        """See History."""
        return self.times

    def first(self, start: float, end: float) -> int | None:
        """See History."""
        place = bisect_left(self.times, start)
        return self.times[place] if place < bisect_left(self.times, end) else None

    def last(self, start: float, end: float) -> int | None:
        """See History."""
        place = bisect_left(self.times, end)
        return self.times[place - 1] if place > bisect_left(self.times, start) else None

    def days(self, first_day: int, last_day: int) -> Iterable[Day]:
        """See History."""
        return days_of(self.times, first_day, last_day)

    def usual(self, first_day: int, last_day: int) -> Usual:
        """See History."""
        low, high = bisect_left(self.times, first_day * _DAY), bisect_left(self.times, last_day * _DAY)
        return _learn(array("q", self.times[low:high] if low < high else ()).tobytes(), first_day, last_day)


def bounces(times: Sequence[int], start: float, end: float) -> int:
    """Count the bounces after `start`, up to and including `end`; `times` ascend."""
    return bisect_right(times, end) - bisect_right(times, start)


def count(times: Sequence[int], start: float, end: float) -> Count:
    """Count bounces and spells after `start`, up to and including `end`; `times` ascend."""
    return _count(times, bisect_right(times, start), bisect_right(times, end))


def surge(history: History, end: int, known_since: int, after: int | None = None) -> int | None:
    """Return when it began if one of the windows that end at `end` holds an alarming number; None when all is as usual.

    Only what came after `after` counts, and nothing alarms that is over since a day.
    """
    spans = [(min(window.seconds, end - after) if after is not None else window.seconds, window) for window in WINDOWS]
    crowded = [
        (span, counted)
        for span, window in spans
        if span > 0 and (counted := _at_least(history.after(end - span), end - span, end, window.floor)) is not None
    ]
    if not crowded:
        return None
    usual = usual_at(history, end, known_since)
    for span, counted in crowded:
        if span > _DAY and usual.ordinary(count(history.after(end - _DAY), end - _DAY, end), 1.0):
            break
        if usual.chance(counted, span / _DAY) < ALARM:
            return _onset(history, end - span, usual, after)
    return None


def _at_least(times: Sequence[int], start: int, end: int, floor: int) -> Count | None:
    low, high = bisect_right(times, start), bisect_right(times, end)
    if high - low < floor:
        return None
    counted = _count(times, low, high)
    return counted if counted.spells >= floor or counted.bounces >= MANY else None


def _onset(history: History, start: int, usual: Usual, after: int | None) -> int:
    """Go back from an alarming window while the six hours before were more than ordinary; return the first bounce."""
    earliest = max(start - BASE_DAYS * _DAY, after or 0)
    while start - _QUARTER >= earliest:
        before = count(history.after(start - _QUARTER), start - _QUARTER, start)
        if usual.ordinary(before, _QUARTER / _DAY):
            break
        start -= _QUARTER
    return next_after(history, start)


def next_after(history: History, start: int) -> int:
    """Return when the first bounce came after `start`; there has to be one."""
    times = history.after(start)
    return times[bisect_right(times, start)]


def usual_at(history: History, end: int, known_since: int) -> Usual:
    """Learn what was usual for the account before `end`.

    `known_since` is from when on `history` holds every bounce; a day without bounces counts as a quiet one only from
    there on. With less than 28 days of it, what is missing is made up for by doubt: the fewer the days, the more
    bounces it takes to alarm (with none at all, 11 spells in an hour, or 44 in a day).
    """
    known_day, last_day = -(-known_since // _DAY), end // _DAY - GUARD_DAYS
    if last_day - known_day > NEW_DAYS:
        last_day -= last_day % 7
    first_day = max(last_day - LEARNT_DAYS, known_day)
    return history.usual(first_day, last_day)


def past_waves(history: History, now: datetime, known_since: datetime | None = None) -> tuple[Wave, ...]:
    """Find the waves of bounces that were over a day before `now`, for the record: they are no reason to alarm anybody.

    `known_since` as in `usual_at`; None takes the first bounce's day. A level that lasted for four weeks or more is not
    a wave: it was usual then.
    """
    end = math.floor(now.timestamp())
    first = history.first(-math.inf, math.inf)
    if first is None:
        return ()
    first_day = math.ceil(known_since.timestamp()) // _DAY if known_since else first // _DAY
    waves = (_wave(history, days) for days in _walk(history.days(first_day, end // _DAY + 1)).waves)
    return tuple(wave for wave in waves if wave.last.timestamp() < end - _DAY)


def _wave(history: History, days: tuple[Day, ...]) -> Wave:
    start, end = days[0].number * _DAY, (days[-1].number + 1) * _DAY
    peak = max(days, key=lambda day: day.bounces)
    return Wave(
        datetime.fromtimestamp(history.first(start, end) or start, UTC),
        datetime.fromtimestamp(history.last(start, end) or start, UTC),
        sum(day.bounces for day in days),
        datetime.fromtimestamp(peak.number * _DAY, UTC).date(),
        peak.bounces,
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


def days_of(times: Sequence[int], first_day: int, last_day: int) -> Iterator[Day]:
    """Count each of the days from `first_day` up to, and without, `last_day`; `times` ascend."""
    edges = [bisect_left(times, day * _DAY) for day in range(first_day, last_day + 1)]
    for number, (low, high) in enumerate(pairwise(edges), first_day):
        if low == high:
            yield Day(number, 0)
            continue
        starts = [number * _DAY + quarter * _QUARTER for quarter in range(1, _QUARTERS)]
        cuts = [low, *(bisect_left(times, start, low, high) for start in starts), high]
        yield Day(number, high - low, tuple([_count(times, *part).spells for part in pairwise(cuts)]))


class _Walk(NamedTuple):
    """What was ordinary, and the days of each wave."""

    past: _Past
    waves: list[tuple[Day, ...]]


@lru_cache(maxsize=32)  # the base moves once a week; the windows are looked at every few minutes
def _learn(times: bytes, first_day: int, last_day: int) -> Usual:
    return learnt(tuple(days_of(array("q", times), first_day, last_day)))


def learnt(days: tuple[Day, ...]) -> Usual:
    """Return what was usual after these days, which follow one another."""
    return _walk(days).past.usual()


def _walk(days: Iterable[Day]) -> _Walk:
    """Go through the days and part the waves from what was usual at the time, so that a wave teaches nothing.

    Each day is learnt a day later, in case it is the one in whose last hours a wave began.
    """
    found, wave, yesterday = _Walk(_Past(), []), list[Day](), None
    for day in days:
        loud = _loud(day, found.past, ORDINARY if wave else ALARM)
        if yesterday and loud and yesterday.spells > 1 and _loud(yesterday, found.past, ORDINARY):
            wave.append(yesterday)
        elif yesterday:
            found.past.add(yesterday)
        if loud:
            wave.append(day)
            yesterday = None
            continue
        _finish(wave, found)
        wave, yesterday = [], day
    if yesterday:
        found.past.add(yesterday)
    _finish(wave, found)
    return found


def _finish(wave: Sequence[Day], found: _Walk) -> None:
    if len(wave) >= BASE_DAYS:
        for day in wave:
            found.past.add(day)
    elif wave:
        found.waves.append(tuple(wave))


def _loud(day: Day, past: _Past, limit: float) -> bool:
    if limit == ALARM and day.spells < _LAST_DAY.floor and day.bounces < MANY:
        return False
    return past.usual(GUARD_DAYS).chance(Count(day.bounces, day.spells), 1.0) < limit


class _Sums(NamedTuple):
    """Of all ordinary days up to one: bounces and spells, and the spells of each quarter of the day by UTC.

    From `paired` on, of those of which the day a week before was ordinary too: spells; ordered pairs of them in the
    same quarter, and on the same day; products with those in the quarter and on the day a week before; products with
    the mean of the four weeks before.
    """

    bounces: int = 0
    spells: int = 0
    night: int = 0
    morning: int = 0
    afternoon: int = 0
    evening: int = 0
    paired: int = 0
    near: int = 0
    far: int = 0
    near_week: int = 0
    far_week: int = 0
    expected: float = 0.0

    @property
    def quarters(self) -> tuple[int, ...]:
        return self.night, self.morning, self.afternoon, self.evening


class _Past:
    """The ordinary days so far, and how bounces come on them: in clumps, and by the hour and the day of the week.

    What comes at the same time of another week tells the two apart: a rhythm is there again, a clump isn't.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._sums = [_Sums()]
        self._days: dict[int, Day] = {}

    def add(self, day: Day) -> None:
        """Learn one day more."""
        week_ago = self._days.get(day.number - 7)
        self._days[day.number] = day
        before, new = self._sums[-1], self._sums[-1]
        if day.spells:
            compared = self._compared(day, week_ago) if week_ago else ()
            of_day = (day.bounces, day.spells, *day.quarters, *compared)
            new = _Sums(*map(operator.add, before, of_day), *before[len(of_day) :])
        self._sums.append(new)

    def _compared(self, day: Day, week_ago: Day) -> tuple[float, ...]:
        count, days = self._base(len(self._sums) - 1)
        return (
            day.spells,
            sum(n * (n - 1) for n in day.quarters),
            day.spells * (day.spells - 1),
            sum(map(operator.mul, day.quarters, week_ago.quarters)),
            day.spells * week_ago.spells,
            day.spells * count.spells / days,
        )

    def _base(self, end: int) -> tuple[Count, int]:
        first = max(0, end - BASE_DAYS)
        before, after = self._sums[first], self._sums[end]
        return Count(after.bounces - before.bounces, after.spells - before.spells), end - first

    def usual(self, guard: int = 0) -> Usual:
        """Return what was usual before the last `guard` days."""
        end = max(0, len(self._sums) - 1 - guard)
        base, days = self._base(end)
        clump, rhythm = _clump(self._sums[end]), _rhythm(self._sums[end])
        return Usual(Level(base.spells, days, clump, rhythm), Level(base.bounces, days, MAX_CLUMP, rhythm))


def _clump(sums: _Sums) -> float:
    """Estimate how many come at a time. Geometric sizes of the mean c have 2(c-1) pairs for each that comes.

    As many pairs as products with another week are chance or rhythm, give or take the root of three times as many.
    """
    excess = max(
        0.0,
        sums.near - sums.near_week - math.sqrt(3 * sums.near_week),
        sums.far - sums.far_week - math.sqrt(3 * sums.far_week),
    )
    return min(1.0 + (excess + PRIOR_CLUMPED) / (2 * (sums.paired + PRIOR_CLUMPED)), MAX_CLUMP)


def _rhythm(sums: _Sums) -> Rhythm:
    """Estimate how many times more than in the mean come in the busiest quarter, and on the days when some come."""
    of_quarters = (max(sums.quarters) + PRIOR_EVEN) / (sums.spells / _QUARTERS + PRIOR_EVEN)
    of_days = max(1.0, (sums.far_week + PRIOR_EVEN) / (sums.expected + PRIOR_EVEN))
    return Rhythm(of_quarters * of_days, of_days)


def clumped_tail(count: int, shape: float, share: float, clump: float) -> float:
    """P(X >= count), X being the sum of a negative-binomial number of sizes that are geometric with the mean `clump`.

    The generating function is ((1-q)(1-az)/(1-bz))^r, with a = 1 - 1/clump and b = a + q(1-a); its logarithmic
    derivative is rational, whence the terms follow from the two before.
    """
    more = 1 - 1 / clump
    log_none = shape * math.log1p(-share)
    if log_none < _LEAST_LOG:
        scale = 2 * clump - 1
        return incomplete_beta(share, count / scale, shape * clump / scale)
    again = more + share * (1 - more)
    before, term, below = 0.0, math.exp(log_none), 0.0
    for n in range(count):
        below += term
        rise = ((more + again) * n + shape * (again - more)) * term - more * again * (n - 1) * before
        before, term = term, rise / (n + 1)
        if term < before and term < 1e-18 * below:
            break
    return max(0.0, 1.0 - below)


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
