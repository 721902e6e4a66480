"""How often does the watch cry wolf, and how soon does it see a wave? Simulated mailboxes, the real `assess`.

    python benchmarks/alarms.py [--seeds 50] [--years 1] [--waves 40] [--only WORD] [--seed 5000] [--workers 2]

Each mailbox is looked at as the service does: whenever a bounce has come, within five minutes, at midnight, and every
hour while an incident is open. Chance is the same each time for the same `--seed`. Beside our figures stand those of
what a program without a model of the mailbox would do. Exit status 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import multiprocessing
import multiprocessing.pool
import random
import statistics
import sys
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from bouncefiler.backscatter.incident import Background, Incident, Notice, assess
from bouncefiler.backscatter.volume import HISTORY, Singly, WatchPolicy, past_waves

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
YEAR = 365 * DAY
START = 1_735_689_600
"""1 January 2025."""

KNOWN = 400 * DAY
"""For how long a mailbox has been known before the simulation begins, where it is not new."""

EVERY = 5 * MINUTE
"""How soon after a bounce the service looks; its default is five minutes."""

FALSE_ALARMS = 0.1
"""The bar: so many false alarms a mailbox and year, at most."""

ALERTS = frozenset({Notice.OPENED, Notice.REOPENED})
RATES = (0.1, 0.5, 2.0, 8.0)

Bounces = list[int]
Mailbox = Callable[[random.Random, float, int, int], Bounces]
"""Makes the bounces of a stretch of time: so many a day in the mean."""


# Mailboxes in which nothing is wrong


def independent(rng: random.Random, rate: float, start: int, end: int) -> Bounces:
    """Bounces that have nothing to do with each other."""
    return [int(at) for at in moments(rng, rate, start, end)]


@dataclass(frozen=True, slots=True)
class Bursts:
    """One failed mail has several recipients, whose servers answer when they like."""

    recipients: Callable[[random.Random], int]
    lag: Callable[[random.Random], float]
    mean: float = 3.0

    def __call__(self, rng: random.Random, rate: float, start: int, end: int) -> Bounces:
        """Make as many bounces in the mean, in bursts."""
        mails = moments(rng, rate / self.mean, start - WEEK, end)
        found = (int(at + self.lag(rng)) for at in mails for _ in range(self.recipients(rng)))
        return sorted(at for at in found if start <= at < end)


def three(_rng: random.Random) -> int:
    """Always three recipients."""
    return 3


def about_three(rng: random.Random) -> int:
    """One or more recipients, geometric, three in the mean: one mail in ten has more than six."""
    return geometric(rng, 3.0)


def mixed(rng: random.Random) -> float:
    """Most at once, some after a second try, some after hours."""
    return rng.expovariate(1 / rng.choices((60, 1_800, 4 * HOUR), (7, 2, 1))[0])


def minutes(rng: random.Random) -> float:
    """Ten minutes apart or so."""
    return rng.expovariate(1 / (10 * MINUTE))


def hours(rng: random.Random) -> float:
    """Up to three hours apart, and more."""
    return rng.expovariate(1 / (3 * HOUR))


def retries(rng: random.Random) -> float:
    """Given up when the sender's queue is next worked through, after one, two or five days of trying."""
    return rng.choice((1, 2, 5)) * DAY + rng.uniform(0, HOUR)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Another mailbox's bounces, of which more come by day, and fewer at the weekend."""

    of: Mailbox
    night: float
    weekend: float

    def __call__(self, rng: random.Random, rate: float, start: int, end: int) -> Bounces:
        """Thin a busier mailbox out, to the same number in the mean."""
        mean = (10 + 14 * self.night) / 24 * (5 + 2 * self.weekend) / 7
        return [at for at in self.of(rng, rate / mean, start, end) if rng.random() < self._share(at)]

    def _share(self, at: int) -> float:
        moment = datetime.fromtimestamp(at, UTC)
        return (1.0 if 8 <= moment.hour < 18 else self.night) * (1.0 if moment.weekday() < 5 else self.weekend)


def growing(rng: random.Random, rate: float, start: int, end: int) -> Bounces:
    """Half as many in the first year, four times as many a year later."""
    found = independent(rng, 2 * rate, start, end)
    return [at for at in found if rng.random() < 0.25 * 4.0 ** min((max(at, START) - START) / YEAR, 1.0)]


@dataclass(frozen=True, slots=True)
class Mailings:
    """Twelve mailings of one's own a year, each to 6 to 14 dead addresses.

    `attributed`: the share of their bounces that is known to be of the owner's own mail, and so is not counted.
    """

    attributed: float

    def __call__(self, rng: random.Random, rate: float, start: int, end: int) -> Bounces:
        """Make what is counted."""
        found = independent(rng, rate, start, end)
        for sent in moments(rng, 12 / 365, start, end):
            came = [int(sent + rng.uniform(0, 600) + mixed(rng)) for _ in range(rng.randint(6, 14))]
            found += [at for at in came if rng.random() >= self.attributed]
        return sorted(at for at in found if at < end)


def returning(rng: random.Random, rate: float, start: int, end: int) -> Bounces:
    """A mailbox that had waves while nobody looked, the last one five days before the watch begins."""
    floods = [independent(rng, 300, START - days * DAY, START - (days - 2) * DAY) for days in OLD_WAVES]
    return sorted([*independent(rng, rate, start, end), *(at for flood in floods for at in flood)])


OLD_WAVES = (300, 120, 40, 7)
"""How many days before the watch begins they began."""


def dice(*name: object) -> random.Random:
    """Chance that is the same each time for the same name."""
    return random.Random("/".join(map(str, name)))  # noqa: S311 - a simulation, not a secret


def moments(rng: random.Random, rate: float, start: float, end: float) -> Iterator[float]:
    """Yield the moments of a Poisson process of so many a day."""
    at = start + rng.expovariate(rate / DAY)
    while at < end:
        yield at
        at += rng.expovariate(rate / DAY)


def geometric(rng: random.Random, mean: float) -> int:
    """Draw a size of one or more."""
    size = 1
    while rng.random() < 1 - 1 / mean:
        size += 1
    return size


@dataclass(frozen=True, slots=True)
class Quiet:
    """A sort of mailbox in which nothing is wrong. `clock`: how far ours is ahead. `barred`: has to meet the bar."""

    name: str
    mailbox: Mailbox
    known: int = KNOWN
    clock: int = 0
    rates: tuple[float, ...] = RATES
    barred: bool = True


QUIET = (
    Quiet("independent", independent),
    Quiet("independent, new account", independent, known=0),
    Quiet("bursts of ~3, mostly at once", Bursts(about_three, mixed)),
    Quiet("bursts of ~3, minutes apart", Bursts(about_three, minutes)),
    Quiet("bursts of 3, minutes apart", Bursts(three, minutes)),
    Quiet("bursts of 3, hours apart", Bursts(three, hours)),
    Quiet("bursts of 3, after days of trying", Bursts(three, retries)),
    Quiet("bursts of 3, hours, new account", Bursts(three, hours), known=0),
    Quiet("by day, few at weekends", Rhythm(independent, 0.2, 0.2)),
    Quiet("office hours only", Rhythm(independent, 0.0, 0.0)),
    Quiet("office hours, bursts of 3", Rhythm(Bursts(three, minutes), 0.0, 0.0)),
    Quiet("four times as many in a year", growing),
    Quiet("back after a year of old waves", returning, known=0, rates=(0.5, 8.0)),
    Quiet("our clock a day slow", independent, clock=-DAY, rates=(0.5, 2.0)),
    Quiet("our clock six hours fast", independent, clock=6 * HOUR, rates=(0.5, 2.0)),
    Quiet("12 own mailings, attributed", Mailings(1.0)),
    Quiet("… three in four attributed", Mailings(0.75), rates=(0.5, 2.0), barred=False),
    Quiet("… none attributed", Mailings(0.0), rates=(0.5, 2.0), barred=False),
)


# Looking at them


@dataclass(slots=True)
class Watch:
    """Looks at a mailbox again and again, as the service does, and keeps what it was told."""

    times: array[int]
    known_since: int
    clock: int = 0
    told: list[tuple[int, Notice]] = field(default_factory=list)
    open: Incident | None = None
    last: Incident | None = None
    cost: list[float] = field(default_factory=list)

    def look(self, now: int) -> None:
        """Look once, with what has come so far and is not forgotten yet."""
        clock = now + self.clock
        moment = datetime.fromtimestamp(clock, UTC)
        background = Background(datetime.fromtimestamp(self.known_since, UTC))
        oldest = bisect_left(self.times, clock - HISTORY.total_seconds())
        so_far = self.times[oldest : bisect_right(self.times, now)]
        began = time.perf_counter()
        step = assess(Singly(so_far), moment, WatchPolicy(), self.open, self.last, background)
        self.cost.append(time.perf_counter() - began)
        if step.incident is not None:
            over = step.incident.closed is not None
            self.open, self.last = (None, step.incident) if over else (step.incident, self.last)
        self.told += [(now, notice) for notice in step.notices]

    def follow(self, start: int, end: int) -> None:
        """Look whenever something may be new."""
        for now, until in zip(looks := occasions(self.times, start, end), [*looks[1:], end], strict=True):
            self.look(now)
            again = now + HOUR
            while self.open and again < until:
                self.look(again)
                again += HOUR


def occasions(times: Sequence[int], start: int, end: int) -> list[int]:
    """Return when to look: within five minutes of a bounce, and at midnight, when what is usual is learnt anew."""
    came = times[bisect_left(times, start) : bisect_left(times, end)]
    soon = {-(-at // EVERY) * EVERY for at in came}
    return sorted(soon.union(range(start, end, DAY)))


# What others do: each says at every bounce whether it is alarmed


Alarmed = Iterator[tuple[int, bool]]
Contestant = Callable[[Sequence[int], int], Alarmed]
"""Takes when bounces came, and when to begin."""


def fixed(limit: int, times: Sequence[int], start: int) -> Alarmed:
    """Raise an alarm at so many bounces in 24 hours."""
    for index in range(bisect_left(times, start), len(times)):
        yield times[index], index + 1 - bisect_right(times, times[index] - DAY) >= limit


def three_sigma(times: Sequence[int], start: int) -> Alarmed:
    """Raise an alarm at more bounces in 24 hours than the mean of 28 days and three standard deviations."""
    limits: dict[int, float] = {}
    for index in range(bisect_left(times, start), len(times)):
        at = times[index]
        today = at // DAY
        if today not in limits:
            edges = [bisect_left(times, (today - days) * DAY) for days in range(28, -1, -1)]
            daily = [after - before for before, after in itertools.pairwise(edges)]
            limits[today] = statistics.mean(daily) + 3 * statistics.pstdev(daily)
        yield at, index + 1 - bisect_right(times, at - DAY) > max(limits[today], 1)


def cusum(times: Sequence[int], start: int) -> Alarmed:
    """Raise an alarm when a day's worth more than the mean of 28 days has become exp(6) times as likely as the mean."""
    total, before = 0.0, start
    for index in range(bisect_left(times, start), len(times)):
        at = times[index]
        usual = max(index - bisect_left(times, at - 28 * DAY), 0.5) / 28
        raised = usual + 10.0
        total = max(0.0, total - (raised - usual) * (at - before) / DAY) + math.log(raised / usual)
        before = at
        yield at, total >= 6
        total = min(total, 6.0)


CONTESTANTS: tuple[tuple[str, Contestant], ...] = (
    ("5 a day", functools.partial(fixed, 5)),
    ("10 a day", functools.partial(fixed, 10)),
    ("mean+3sd", three_sigma),
    ("CUSUM", cusum),
)


def episodes(alarmed: Alarmed) -> Iterator[int]:
    """Yield when an alarm begins that comes after half a day without."""
    last = -math.inf
    for at, alarm in alarmed:
        if alarm and at - last >= 12 * HOUR:
            yield at
        last = at if alarm else last


# False alarms


@dataclass(frozen=True, slots=True)
class Wolf:
    """How often there was an alarm over nothing, in so many years."""

    years: float
    ours: int
    theirs: tuple[int, ...]
    past: int
    cost: tuple[float, ...]


def cry_wolf(quiet: Quiet, rate: float, seed: object, years: int) -> Wolf:
    """Watch one mailbox for so many years."""
    rng = dice(seed, quiet.name, rate)
    times = array("q", quiet.mailbox(rng, rate, START - KNOWN, START + years * YEAR))
    seen = times if quiet.mailbox is returning else times[bisect_left(times, START - quiet.known) :]
    watch = Watch(seen, START - quiet.known, quiet.clock)
    watch.follow(START, START + years * YEAR)
    ours = sum(notice in ALERTS for _, notice in watch.told)
    theirs = tuple(sum(1 for _ in episodes(contestant(times, START))) for _, contestant in CONTESTANTS)
    past = 0
    if quiet.mailbox is returning:
        waves = past_waves(Singly(times[: bisect_left(times, START)]), datetime.fromtimestamp(START, UTC))
        past = sum(any(abs(w.first.timestamp() - START + d * DAY) < DAY for w in waves) for d in OLD_WAVES)
    return Wolf(years, ours, theirs, past, tuple(watch.cost))


def interval(events: int) -> tuple[float, float]:
    """Return between what the mean of a Poisson count lies, with 95 % confidence (Garwood's interval)."""

    def below(mean: float, count: int) -> float:
        return sum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(count + 1))

    def solve(count: int, chance: float) -> float:
        low, high = 1e-9, events + 10 + 6 * math.sqrt(events + 1)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if below(middle, count) > chance else (low, middle)
        return low

    return solve(events - 1, 0.975) if events else 0.0, solve(events, 0.025)


# Waves


Wave = Callable[[random.Random, int], Bounces]
"""Makes the bounces of a wave that begins then."""


@dataclass(frozen=True, slots=True)
class Steady:
    """So many a day; `pause`: after six hours, for so many; `night`: only between 23 and 7 o'clock."""

    per_day: float
    lasts: int
    pause: int = 0
    night: bool = False

    def __call__(self, rng: random.Random, began: int) -> Bounces:
        """Make a wave."""
        if self.night:
            began += (23 * HOUR - began) % DAY
        return [int(at) for at in moments(rng, self.per_day, began, began + self.lasts) if self._goes_on(at, began)]

    def _goes_on(self, at: float, began: int) -> bool:
        return (at - began) % (6 * HOUR + self.pause) < 6 * HOUR and not (self.night and 7 <= at // HOUR % 24 < 23)


def swelling(rng: random.Random, began: int) -> Bounces:
    """Begin with one an hour, and double every three hours for a day."""
    found = moments(rng, 256 * 24, began, began + DAY)
    return [int(at) for at in found if rng.random() < 2.0 ** ((at - began) / (3 * HOUR)) / 256]


def twice(rng: random.Random, began: int) -> Bounces:
    """Come back after three quiet days."""
    return [*Steady(300, DAY)(rng, began), *Steady(300, DAY)(rng, began + 4 * DAY)]


def hundred_thousand(rng: random.Random, began: int) -> Bounces:
    """Bring 100,000 bounces within eight hours, at 3.5 a second."""
    return sorted(began + rng.randrange(8 * HOUR) for _ in range(100_000))


@dataclass(frozen=True, slots=True)
class Attack:
    """A sort of wave. `soon`: the bar for the median delay, in hours. `base`: the mailbox that it breaks over."""

    name: str
    wave: Wave
    soon: float | None = None
    rates: tuple[float, ...] = RATES
    base: Mailbox = independent
    known: int = KNOWN
    clock: int = 0
    barred: bool = True


_3_AN_HOUR = Steady(72, DAY)
_BURSTS = Bursts(about_three, minutes)
_OFFICE = Rhythm(independent, 0.0, 0.0)
ATTACKS = (
    Attack("12 a day for two weeks", Steady(12, 2 * WEEK)),
    Attack("15 a day for 60 days", Steady(15, 60 * DAY), rates=(0.0, *RATES)),
    Attack("40 a day for three days", Steady(40, 3 * DAY)),
    Attack("3 an hour for a day", _3_AN_HOUR, 3.0, rates=(0.0, *RATES)),
    Attack("300 a day for two days", Steady(300, 2 * DAY)),
    Attack("30 an hour for a day", Steady(720, DAY), 1.0),
    Attack("3,600 an hour for five hours", Steady(3_600 * 24, 5 * HOUR), 1.0),
    Attack("3 an hour, half of the time", Steady(72, 2 * DAY, pause=6 * HOUR), rates=(0.5, 8.0)),
    Attack("30 an hour, three nights", Steady(720, 3 * DAY, night=True), 1.0, rates=(0.5, 8.0)),
    Attack("1 an hour, doubling every three", swelling, rates=(0.5, 8.0)),
    Attack("300 a day, twice", twice, rates=(0.5, 8.0)),
    Attack("100,000 in eight hours", hundred_thousand, 1.0, rates=(0.5,)),
    Attack("3 an hour, new account", _3_AN_HOUR, rates=(0.1, 2.0), known=0),
    Attack("30 an hour, new account", Steady(720, DAY), 1.0, rates=(0.1, 2.0), known=0),
    Attack("3 an hour, clock a day slow", _3_AN_HOUR, 3.0, rates=(0.5,), clock=-DAY),
    Attack("30 an hour, clock 6 hours fast", Steady(720, DAY), rates=(0.5,), clock=6 * HOUR),
    Attack("30 an hour, clock 2 days fast", Steady(720, DAY), rates=(0.5,), clock=2 * DAY, barred=False),
    Attack("3 an hour, usual in bursts", _3_AN_HOUR, base=_BURSTS),
    Attack("30 an hour, usual in bursts", Steady(720, DAY), base=_BURSTS),
    Attack("12 a day, usual in bursts", Steady(12, 2 * WEEK), base=_BURSTS, barred=False),
    Attack("3 an hour, usual in office hours", _3_AN_HOUR, base=_OFFICE),
    Attack("12 a day, usual in office hours", Steady(12, 2 * WEEK), base=_OFFICE, barred=False),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one wave went. Delays in hours from its first bounce, None when it was not seen while it lasted."""

    delay: float | None
    theirs: tuple[float | None, ...]
    opened: int
    notices: int
    cost: tuple[float, ...]


def withstand(attack: Attack, rate: float, seed: object) -> Outcome:
    """Let the wave break over a mailbox of this base rate, and wait until it has been over for a week."""
    rng = dice(seed, attack.name, rate)
    wave = attack.wave(rng, START + rng.randrange(DAY))
    usual = attack.base(rng, rate, START - KNOWN, wave[-1] + WEEK) if rate else []
    times = array("q", sorted(usual + wave))
    watch = Watch(times[bisect_left(times, START - attack.known) :], START - attack.known, attack.clock)
    watch.follow(wave[0], wave[-1] + WEEK)

    def after(moments: Iterable[int]) -> float | None:
        return next(((now - wave[0]) / HOUR for now in moments if wave[0] <= now <= wave[-1] + EVERY), None)

    return Outcome(
        after(now for now, notice in watch.told if notice in ALERTS),
        tuple(after(episodes(contestant(times, wave[0]))) for _, contestant in CONTESTANTS),
        sum(notice is Notice.OPENED for _, notice in watch.told),
        len(watch.told),
        tuple(watch.cost),
    )


# Tables


Row = TypeVar("Row", Quiet, Attack)


@dataclass(slots=True)
class Tables:
    """Prints rows as they become known, and remembers which bars were missed and what the looks cost."""

    options: argparse.Namespace
    pool: multiprocessing.pool.Pool
    missed: list[str] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)

    def false_alarms(self) -> None:
        """Print how often nothing was wrong."""
        seeds, years = self.options.seeds, self.options.years
        print(
            f"False alarms a mailbox and year, with 95 % confidence; {seeds * years} years a row; bar {FALSE_ALARMS}\n"
        )
        print(f"{'':36}{'a day':>6}{'ours':>7}{'between':>14}" + "".join(f"{name:>10}" for name, _ in CONTESTANTS))
        for quiet in self._wanted(QUIET):
            for rate in quiet.rates:
                jobs = [(quiet, rate, self.options.seed + number, years) for number in range(seeds)]
                self._wolf(quiet, rate, self.pool.starmap(cry_wolf, jobs, chunksize=4))

    def _wolf(self, quiet: Quiet, rate: float, got: Sequence[Wolf]) -> None:
        years, ours = sum(one.years for one in got), sum(one.ours for one in got)
        low, high = interval(ours)
        theirs = (sum(one.theirs[i] for one in got) / years for i in range(len(CONTESTANTS)))
        old = len(got) * len(OLD_WAVES) if quiet.mailbox is returning else 0
        seen = sum(one.past for one in got)
        print(
            f"{quiet.name:36}{rate:>6g}{ours / years:>7.2f}{f'{low / years:.2f} to {high / years:.2f}':>14}"
            + "".join(f"{figure:>10.1f}" for figure in theirs)
            + (f"  {seen} of {old} old waves reported" if old else "")
            + self._mark(quiet, rate, missed=ours / years > FALSE_ALARMS or seen < old),
            flush=True,
        )
        self.cost += (cost for one in got for cost in one.cost)

    def waves(self) -> None:
        """Print how soon waves were seen, and what was told of them."""
        number = self.options.waves
        print(
            f"\nWaves, {number} a row: found, median and 90 % delay in hours from the first bounce; of the others the"
        )
        print("median, and how many they found unless it was all. Alerts: incidents opened for a wave, one is the bar.")
        print("Notices: all that is told of a wave, at most.\n")
        print(f"{'':36}{'usual':>6}{'found':>7}{'median':>8}{'90 %':>7}{'alerts':>8}{'notices':>9}", end="")
        print("".join(f"{name:>12}" for name, _ in CONTESTANTS))
        for attack in self._wanted(ATTACKS):
            for rate in attack.rates:
                jobs = [(attack, rate, self.options.seed + seed) for seed in range(number)]
                self._wave(attack, rate, self.pool.starmap(withstand, jobs, chunksize=2))

    def _wave(self, attack: Attack, rate: float, got: Sequence[Outcome]) -> None:
        delays = sorted(one.delay for one in got if one.delay is not None)
        late = attack.soon is not None and statistics.median(delays or [math.inf]) > attack.soon
        opened = [one.opened for one in got]
        print(
            f"{attack.name:36}{rate:>6g}{len(delays):>7}{hours_of(delays, 0.5):>8}{hours_of(delays, 0.9):>7}"
            f"{statistics.mean(opened):>8.2f}{max(one.notices for one in got):>9}"
            + "".join(f"{self._other([one.theirs[i] for one in got]):>12}" for i in range(len(CONTESTANTS)))
            + self._mark(attack, rate, missed=late or len(delays) < len(got) or max(opened) > 1),
            flush=True,
        )
        self.cost += (cost for one in got for cost in one.cost)

    def _other(self, delays: Sequence[float | None]) -> str:
        found = sorted(delay for delay in delays if delay is not None)
        return hours_of(found, 0.5) if len(found) == len(delays) else f"{len(found)}: {hours_of(found, 0.5)}"

    def _mark(self, row: Quiet | Attack, rate: float, *, missed: bool) -> str:
        if not row.barred:
            return "  (no bar)"
        if not missed:
            return ""
        self.missed.append(f"{row.name} at {rate:g} a day")
        return "  MISSED"

    def _wanted(self, rows: Sequence[Row]) -> Iterator[Row]:
        return (row for row in rows if self.options.only in row.name)


def hours_of(delays: Sequence[float], share: float) -> str:
    """Write a quantile of what is in order."""
    return f"{delays[min(int(len(delays) * share), len(delays) - 1)]:.1f}" if delays else "-"


def print_cost(looks: Sequence[float]) -> None:
    """Print what a look costs: those that were taken, and those at a mailbox that has seen 100,000 bounces."""
    inorder = sorted(looks)
    middle, most = inorder[len(inorder) // 2], inorder[int(len(inorder) * 0.999)]
    print(f"\n{len(looks):,} looks took {middle * 1e3:.2f} ms in the median, {most * 1e3:.1f} ms one in a thousand")
    for ago, name in ((30 * DAY, "a month ago"), (8 * HOUR, "in the last eight hours")):
        rng = dice("cost", ago)
        flood = hundred_thousand(rng, START - ago)
        watch = Watch(array("q", sorted(independent(rng, 8, START - KNOWN, START) + flood)), START - KNOWN)
        for _ in range(200):
            watch.look(START)
        first, *others = watch.cost
        print(f"100,000 bounces {name}: {statistics.median(others) * 1e3:.2f} ms, the first look {first * 1e3:.1f} ms")


def main() -> int:
    """Print both tables, and what a look costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50, help="mailboxes for each row of the first table")
    parser.add_argument("--years", type=int, default=1, help="for how long each is watched")
    parser.add_argument("--waves", type=int, default=40, help="waves for each row of the second table")
    parser.add_argument("--only", default="", metavar="WORD", help="rows with this in their name")
    parser.add_argument("--seed", type=int, default=5_000, help="other seeds are other mailboxes")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    with multiprocessing.Pool(options.workers) as pool:
        tables = Tables(options, pool)
        tables.false_alarms()
        tables.waves()
    print_cost(tables.cost)
    print(f"{time.monotonic() - began:.0f} s")
    print("\n".join(f"Missed: {what}" for what in tables.missed) or "All bars are met.")
    return 1 if tables.missed else 0


if __name__ == "__main__":
    sys.exit(main())
