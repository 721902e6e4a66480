"""How often does the watch cry wolf, and how soon does it see a wave? Simulated mailboxes, the real `assess`.

    python benchmarks/alarms.py [--mailboxes 5] [--waves 10] [--every 60] [--seed 1]

Each mailbox is looked at every hour (`--every` minutes) as the service would, for a year. Beside our figures stand
those of a fixed threshold of 10 bounces in 24 hours, which is what a program without statistics would do. The default
is done in two minutes; rare events need more mailboxes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bouncefiler.backscatter.incident import Background, Incident, Notice, assess
from bouncefiler.backscatter.volume import WatchPolicy

HOUR = 3_600
DAY = 24 * HOUR
START = 1_735_689_600
"""1 January 2025."""

KNOWN = 60 * DAY
"""How long a mailbox has been known before the year begins."""

YEAR = 365 * DAY
FIXED = 10
ALERTS = frozenset({Notice.OPENED, Notice.REOPENED})

Bounces = list[int]
Mailbox = Callable[[random.Random, int, int], Bounces]
"""A mailbox makes the bounces of a stretch of time."""


def poisson(rate: float) -> Mailbox:
    """Bounces that have nothing to do with each other, so many a day."""

    def bounces(rng: random.Random, start: int, end: int) -> Bounces:
        return [int(at) for at in moments(rng, rate, start, end)]

    return bounces


def bursty(rate: float, size: float = 3.0) -> Mailbox:
    """As many, but one failed mail has several recipients: geometric, `size` in the mean."""

    def bounces(rng: random.Random, start: int, end: int) -> Bounces:
        mails = moments(rng, rate / size, start, end)
        return sorted(int(at + lag(rng)) for at in mails for _ in range(geometric(rng, size)))

    return bounces


def office(rate: float) -> Mailbox:
    """As many in the mean, but from Monday to Friday between 8 and 18 o'clock only."""

    def bounces(rng: random.Random, start: int, end: int) -> Bounces:
        busy = rate * (7 * 24) / (5 * 10)
        return [int(at) for at in moments(rng, busy, start, end) if at_work(datetime.fromtimestamp(at, UTC))]

    return bounces


def at_work(at: datetime) -> bool:
    """Whether this is in office hours."""
    return at.weekday() < 5 and 8 <= at.hour < 18


def mailings(rate: float, *, attributed: bool) -> Mailbox:
    """Twelve mailings of one's own a year, each to 6 to 14 dead addresses; not counted where they are attributed."""

    def bounces(rng: random.Random, start: int, end: int) -> Bounces:
        found = poisson(rate)(rng, start, end)
        if not attributed:
            for sent in moments(rng, 12 / 365, start, end):
                found += [int(sent + rng.uniform(0, 600) + lag(rng)) for _ in range(rng.randint(6, 14))]
        return sorted(found)

    return bounces


def dice(*name: object) -> random.Random:
    """Chance that is the same each time for the same name."""
    return random.Random("/".join(map(str, name)))  # noqa: S311 - a simulation, not a secret


def moments(rng: random.Random, rate: float, start: float, end: float) -> Iterator[float]:
    """Yield the moments of a Poisson process of so many a day."""
    at = start + rng.expovariate(rate / DAY)
    while at < end:
        yield at
        at += rng.expovariate(rate / DAY)


def lag(rng: random.Random) -> float:
    """After how many seconds a bounce comes: most at once, some after a second try, some after hours."""
    return rng.expovariate(1 / rng.choices((60, 1_800, 4 * HOUR), (7, 2, 1))[0])


def geometric(rng: random.Random, mean: float) -> int:
    """Draw a size of one or more."""
    size = 1
    while rng.random() < 1 - 1 / mean:
        size += 1
    return size


@dataclass(slots=True)
class Watch:
    """Looks at a mailbox again and again, as the service does, and keeps what it was told."""

    times: Sequence[int]
    known_since: int
    told: list[tuple[int, Notice]] = field(default_factory=list)
    open: Incident | None = None
    last: Incident | None = None

    def look(self, now: int) -> tuple[Notice, ...]:
        """Look once, with what has come so far and is not forgotten yet; return what there is to tell."""
        moment = datetime.fromtimestamp(now, UTC)
        background = Background(datetime.fromtimestamp(self.known_since, UTC))
        so_far = self.times[bisect_left(self.times, now - KNOWN) : bisect_right(self.times, now)]
        step = assess(so_far, moment, WatchPolicy(), self.open, self.last, background)
        if step.incident is not None:
            over = step.incident.closed is not None
            self.open, self.last = (None, step.incident) if over else (step.incident, self.last)
        self.told += [(now, notice) for notice in step.notices]
        return step.notices


def fixed_alerts(times: Sequence[int], looks: range) -> Iterator[int]:
    """When a fixed threshold would alert; it is quiet again after half a day below."""
    below = 12 * HOUR
    for now in looks:
        over = bisect_right(times, now) - bisect_right(times, now - DAY) >= FIXED
        if over and below >= 12 * HOUR:
            yield now
        below = 0 if over else below + looks.step


def false_alarms(mailbox: Mailbox, options: argparse.Namespace, known: int) -> tuple[float, float]:
    """Return alarms a year of a mailbox in which nothing is wrong: ours, and the fixed threshold's."""
    ours = fixed = 0
    for number in range(options.mailboxes):
        rng = dice(options.seed, number)
        times = mailbox(rng, START - KNOWN, START + YEAR)
        looks = range(START, START + YEAR, options.every * 60)
        watch = Watch(times[bisect_left(times, START - known) :], START - known)
        ours += sum(bool(ALERTS.intersection(watch.look(now))) for now in looks)
        fixed += sum(1 for _ in fixed_alerts(times, looks))
    return ours / options.mailboxes, fixed / options.mailboxes


@dataclass(frozen=True, slots=True)
class Attack:
    """A wave of backscatter."""

    name: str
    per_day: float
    lasts: int


ATTACKS = (
    Attack("12 a day for two weeks", 12, 14 * DAY),
    Attack("15 a day, a slow drip for 60 days", 15, 60 * DAY),
    Attack("40 a day for three days", 40, 3 * DAY),
    Attack("72 a day (3 an hour) for a day", 72, DAY),
    Attack("300 a day for two days", 300, 2 * DAY),
    Attack("720 a day (30 an hour) for a day", 720, DAY),
    Attack("3,600 an hour for five hours", 3_600 * 24, 5 * HOUR),
)


@dataclass(slots=True)
class Outcome:
    """How a series of waves went."""

    delays: list[float] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)
    missed: int = 0
    fixed_missed: int = 0
    opened: list[int] = field(default_factory=list)
    notices: list[int] = field(default_factory=list)
    closed: int = 0


def withstand(attack: Attack, rate: float, options: argparse.Namespace) -> Outcome:
    """Let the wave break over as many mailboxes of this base rate; delays count from its first bounce, in hours."""
    outcome = Outcome()
    for number in range(options.waves):
        rng = dice(options.seed, rate, attack.name, number)
        began = START + rng.randrange(DAY)
        wave = [int(at) for at in moments(rng, attack.per_day, began, began + attack.lasts)]
        quiet = poisson(rate)(rng, START - KNOWN, began + attack.lasts + 5 * DAY)
        _break_over(wave, sorted(quiet + wave), outcome, options)
    return outcome


def _break_over(wave: Bounces, times: Bounces, outcome: Outcome, options: argparse.Namespace) -> None:
    step = options.every * 60
    watch = Watch(times, START - KNOWN)
    looks = range(wave[0] - wave[0] % step + step, wave[-1] + 5 * DAY, step)
    for now in looks:
        watch.look(now)
    seen = [now for now, notice in watch.told if notice in ALERTS and now <= wave[-1] + HOUR]
    fixed = next((now for now in fixed_alerts(times, looks) if now <= wave[-1] + HOUR), None)
    outcome.delays += [(now - wave[0]) / HOUR for now in seen[:1]]
    outcome.fixed += [(fixed - wave[0]) / HOUR] if fixed else []
    outcome.missed += not seen
    outcome.fixed_missed += fixed is None
    outcome.opened.append(sum(notice in ALERTS for _, notice in watch.told))
    outcome.notices.append(len(watch.told))
    outcome.closed += watch.open is None


def hours(delays: list[float]) -> str:
    """Write the median."""
    return f"{statistics.median(delays):.1f} h" if delays else "-"


MAILBOXES: tuple[tuple[str, Callable[[float], Mailbox], int], ...] = (
    ("independent bounces", poisson, KNOWN),
    ("independent, new account", poisson, 0),
    ("office hours only", office, KNOWN),
    ("bursts: 3 at a time", bursty, KNOWN),
    ("12 own mailings, attributed", lambda rate: mailings(rate, attributed=True), KNOWN),
    ("12 own mailings, counted", lambda rate: mailings(rate, attributed=False), KNOWN),
)
RATES = (0.1, 0.5, 2.0, 8.0)


def print_false_alarms(options: argparse.Namespace) -> None:
    """Print how often nothing was wrong."""
    print(f"False alarms per mailbox and year, {options.mailboxes} mailbox-years a cell: ours (fixed {FIXED}/24 h)\n")
    print(f"{'':30}" + "".join(f"{f'{rate:g} a day':>18}" for rate in RATES))
    for name, make, known in MAILBOXES:
        print(f"{name:30}", end="", flush=True)
        for rate in RATES:
            ours, fixed = false_alarms(make(rate), options, known)
            print(f"{f'{ours:.2f} ({fixed:.1f})':>18}", end="", flush=True)
        print()


def print_waves(options: argparse.Namespace) -> None:
    """Print how soon waves were seen, and what was told of them."""
    print(f"\nWaves, {options.waves} a row; delay is the median from the wave's first bounce; (fixed {FIXED}/24 h)")
    print("alerts: opened or reopened, a wave; notices: all that the user is told, most in any wave\n")
    print(f"{'':36}{'usual':>8}{'found':>16}{'delay':>18}{'alerts':>8}{'notices':>9}{'closed':>9}")
    for attack in ATTACKS:
        for rate in RATES:
            got = withstand(attack, rate, options)
            found = f"{len(got.delays)} ({len(got.fixed)}) of {options.waves}"
            delay = f"{hours(got.delays)} ({hours(got.fixed)})"
            print(
                f"{attack.name:36}{rate:>8g}{found:>16}{delay:>18}{statistics.mean(got.opened):>8.2f}"
                f"{max(got.notices):>9}{got.closed:>9}",
                flush=True,
            )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mailboxes", type=int, default=5, help="mailbox-years for each cell of the first table")
    parser.add_argument("--waves", type=int, default=10, help="waves for each row of the second table")
    parser.add_argument("--every", type=int, default=60, metavar="MINUTES", help="how often to look")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    print_false_alarms(options)
    print_waves(options)
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
