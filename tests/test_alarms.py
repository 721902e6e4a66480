"""The simulation of alarms measures what it says it does."""

from __future__ import annotations

import argparse
import multiprocessing.pool
import random
import statistics
import sys
from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from benchmarks import alarms
from benchmarks.alarms import (
    ATTACKS,
    CONTESTANTS,
    DAY,
    EVERY,
    HOUR,
    KNOWN,
    MINUTE,
    OLD_WAVES,
    QUIET,
    START,
    Attack,
    Bursts,
    Mailings,
    Outcome,
    Quiet,
    Rhythm,
    Steady,
    Tables,
    Watch,
    dice,
    episodes,
    fixed,
)
from bouncefiler.backscatter.incident import Notice

ODD = {"four times as many in a year", "back after a year of old waves"}
FLOOD = Steady(720, DAY)


def flood(began: int, number: int = 40) -> list[int]:
    """So many bounces, one a minute."""
    return [began + n * MINUTE for n in range(number)]


# --- what is made up


@pytest.mark.parametrize("quiet", [quiet for quiet in QUIET if quiet.name not in ODD], ids=lambda quiet: quiet.name)
def test_every_mailbox_has_as_many_bounces_as_it_says(quiet: Quiet) -> None:
    times = quiet.mailbox(dice("rate"), 4.0, START, START + 2_000 * DAY)
    mailings = 12 / 365 * 10 * (1 - quiet.mailbox.attributed) if isinstance(quiet.mailbox, Mailings) else 0

    assert len(times) / 2_000 == pytest.approx(4.0 + mailings, rel=0.06)
    assert all(before <= after for before, after in pairwise(times))


@pytest.mark.parametrize(
    ("lag", "within"), [(alarms.mixed, HOUR), (alarms.minutes, HOUR), (alarms.hours, 9 * HOUR), (alarms.retries, HOUR)]
)
def test_what_comes_in_bursts_comes_together(lag: Callable[[random.Random], float], within: int) -> None:
    def close(times: list[int]) -> float:
        return statistics.mean(after - before < within for before, after in pairwise(times))

    bursts = Bursts(alarms.three, lag)(dice("bursts"), 0.1, START, START + 20_000 * DAY)
    alone = alarms.independent(dice("alone"), 0.1, START, START + 20_000 * DAY)

    assert close(alone) < 0.05
    assert close(bursts) > (0.2 if lag is alarms.retries else 0.5)


@pytest.mark.parametrize(("night", "weekend"), [(0.0, 0.0), (0.2, 0.2)])
def test_by_day_more_come_than_at_night_and_at_the_weekend(night: float, weekend: float) -> None:
    times = Rhythm(alarms.independent, night, weekend)(dice("rhythm"), 8.0, START, START + 2_000 * DAY)
    moments = [datetime.fromtimestamp(at, UTC) for at in times]
    working = sum(at.weekday() < 5 for at in moments)
    by_day = sum(at.weekday() < 5 and 8 <= at.hour < 18 for at in moments)

    assert (working - by_day) / by_day == pytest.approx(night * 14 / 10, abs=0.03)
    assert (len(times) - working) / working == pytest.approx(weekend * 2 / 5, abs=0.02)


def test_one_that_grows_has_half_as_many_at_first_and_twice_as_many_after_a_year() -> None:
    times = alarms.growing(dice("rate"), 4.0, START - KNOWN, START + 800 * DAY)

    assert sum(at < START for at in times) / 400 == pytest.approx(2.0, rel=0.1)
    assert sum(at >= START + 400 * DAY for at in times) / 400 == pytest.approx(8.0, rel=0.1)


def test_one_that_is_seen_again_has_had_its_waves_by_then() -> None:
    times = alarms.returning(dice("rate"), 0.5, START - KNOWN, START + 100 * DAY)
    waves = [sum(START - days * DAY <= at < START - (days - 2) * DAY for at in times) for days in OLD_WAVES]

    assert waves == [pytest.approx(600, rel=0.15)] * 4
    assert len(times) - sum(waves) == pytest.approx(0.5 * 500, rel=0.15)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_every_wave_is_in_order_and_has_what_it_says(attack: Attack) -> None:
    wave = attack.wave(dice("wave"), START)

    assert wave == sorted(wave)
    if isinstance(attack.wave, Steady) and not attack.wave.pause and not attack.wave.night:
        assert len(wave) == pytest.approx(attack.wave.per_day * attack.wave.lasts / DAY, rel=0.3)
        assert wave[-1] - wave[0] == pytest.approx(attack.wave.lasts, rel=0.15)


def test_waves_pause_swell_and_come_back() -> None:
    rng = dice("shapes")
    paused, nights = Steady(72, 2 * DAY, pause=6 * HOUR)(rng, START), Steady(720, 3 * DAY, night=True)(rng, START)
    swelling, twice = alarms.swelling(rng, START), alarms.twice(rng, START)

    assert sum(after - before > 5 * HOUR for before, after in pairwise(paused)) == 3
    assert {datetime.fromtimestamp(at, UTC).hour for at in nights} == {23, *range(7)}
    assert sum(at < START + 12 * HOUR for at in swelling) == pytest.approx(len(swelling) / 16, rel=0.4)
    assert [after - before > 2 * DAY for before, after in pairwise(twice)].count(True) == 1
    assert len(alarms.hundred_thousand(rng, START)) == 100_000


# --- how it is looked at


def test_it_is_looked_soon_after_a_bounce_and_at_midnight() -> None:
    looks = alarms.occasions([START - 1, START + 1, START + 299, START + 2 * DAY], START, START + 2 * DAY)

    assert looks == [START, START + EVERY, START + DAY]


def test_what_is_yet_to_come_is_not_seen_and_the_end_is_looked_for_hour_by_hour() -> None:
    """The alarm comes when there have been enough, no sooner; and that it is over is told without a further bounce."""
    watch = Watch(array("q", flood(START + 9 * HOUR)), START - KNOWN)
    watch.follow(START, START + 7 * DAY)
    told = {notice: now - START - 9 * HOUR for now, notice in watch.told}

    assert 5 * MINUTE <= told[Notice.OPENED] <= 40 * MINUTE + EVERY
    assert (9 * HOUR + told[Notice.CLOSED]) % DAY != 0


@pytest.mark.parametrize(("known", "alerts"), [(KNOWN, 1), (0, 0)])
def test_that_nothing_came_is_known_since_the_watch_began(known: int, alerts: int) -> None:
    """Nine in an hour alarm who has had none for a year; of somebody new, nobody knows whether that is much."""

    def few(_rng: random.Random, _rate: float, _start: int, _end: int) -> list[int]:
        return [START + DAY + n * 6 * MINUTE for n in range(9)]

    assert alarms.cry_wolf(Quiet("few", few, known), 0.1, 0, 1).ours == alerts
    wave = Attack("few", lambda rng, _began: few(rng, 0, 0, 0), known=known)
    assert alarms.withstand(wave, 0.0, 0).opened == alerts


@pytest.mark.parametrize(("known", "alerts"), [(KNOWN, 0), (0, 1)])
def test_no_more_is_known_than_since_the_watch_began(known: int, alerts: int) -> None:
    """72 a day are usual for who has had as many for a year; of somebody new, the service cannot know that."""

    def many(_rng: random.Random, _rate: float, start: int, _end: int) -> list[int]:
        return [*range(start, START + 2 * DAY, 20 * MINUTE)]

    assert alarms.cry_wolf(Quiet("many", many, known), 72.0, 0, 1).ours == alerts
    wave = Attack("one more", lambda _rng, began: [began], base=many, known=known)
    assert alarms.withstand(wave, 72.0, 0).opened == alerts


def test_what_is_told_over_nothing_is_counted_for_everybody() -> None:
    """Two floods in a year of a bounce each third day, at noon."""

    def once(_rng: random.Random, _rate: float, start: int, end: int) -> list[int]:
        return sorted([*range(start + DAY // 2, end, 3 * DAY), *flood(START + 100 * DAY), *flood(START + 200 * DAY)])

    wolf = alarms.cry_wolf(Quiet("once", once), 0.3, 0, 1)

    assert (wolf.years, wolf.ours, wolf.theirs) == (1, 2, (2, 2, 2, 2))


def test_a_fixed_threshold_alarms_once_until_it_has_been_quiet_for_half_a_day() -> None:
    hourly = [START + n * HOUR for n in range(12)]
    again = [at + 3 * DAY for at in hourly]

    assert [*episodes(fixed(10, hourly + again, START))] == [START + 9 * HOUR, START + 3 * DAY + 9 * HOUR]


def test_a_wave_is_found_while_it_lasts_in_one_incident() -> None:
    found = alarms.withstand(Attack("flood", FLOOD), 0.5, 0)

    assert found.delay is not None
    assert 5 / 30 / 3 < found.delay < 1.0
    assert found.opened == 1
    assert None not in found.theirs
    assert found.notices >= 2
    assert alarms.withstand(Attack("twice", alarms.twice), 0.5, 0).opened == 1  # and reopened, and closed twice


def test_a_clock_that_is_days_fast_sees_nothing_of_it() -> None:
    found = alarms.withstand(Attack("flood", FLOOD, clock=2 * DAY), 0.5, 0)

    assert (found.delay, found.opened) == (None, 0)


# --- what is said of it


@pytest.mark.parametrize(("events", "low", "high"), [(0, 0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.391)])
def test_the_interval_is_that_of_a_poisson_count(events: int, low: float, high: float) -> None:
    assert alarms.interval(events) == pytest.approx((low, high), abs=0.002)


def outcome(delay: float | None = 0.5, opened: int = 1) -> Outcome:
    return Outcome(delay, (None,) * len(CONTESTANTS), opened, 2, ())


@pytest.mark.parametrize(
    ("got", "met"),
    [
        ([outcome(), outcome()], True),
        ([outcome(0.5), outcome(0.9), outcome(7.0)], True),  # the bar is the median
        ([outcome(0.5), outcome(1.1), outcome(1.1)], False),
        ([outcome(), outcome(None, 0)], False),
        ([outcome(), outcome(opened=2)], False),
    ],
)
def test_a_wave_is_to_be_found_soon_and_always_and_told_once(got: list[Outcome], *, met: bool) -> None:
    with multiprocessing.pool.ThreadPool(1) as pool:
        barred, free = Tables(argparse.Namespace(), pool), Tables(argparse.Namespace(), pool)
        barred._wave(Attack("flood", FLOOD, 1.0), 0.5, got)
        free._wave(Attack("flood", FLOOD, 1.0, barred=False), 0.5, got)

    assert barred.missed == ([] if met else ["flood at 0.5 a day"])
    assert free.missed == []


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["alarms.py", "--seeds", "2", "--waves", "2", "--workers", "1", *arguments])
    return alarms.main()


def test_it_says_when_a_bar_is_missed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--only", "six hours fast") == 0
    assert "All bars are met." in capsys.readouterr().out

    monkeypatch.setattr(alarms, "FALSE_ALARMS", -1.0)
    assert run(monkeypatch, "--only", "six hours fast") == 1
    assert "Missed: our clock six hours fast at 0.5 a day" in capsys.readouterr().out
