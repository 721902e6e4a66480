"""What is usual is learnt from the account, and only more than that is alarming."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from datetime import timedelta
from itertools import count as numbers
from itertools import pairwise
from typing import overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter.volume import (
    ALARM,
    WINDOWS,
    Count,
    Level,
    Rhythm,
    Singly,
    Usual,
    count,
    incomplete_beta,
    past_waves,
    surge,
    usual_at,
)
from tests.backscatter.timeline import DAY, HOUR, MINUTE, NOON, WEEK, at, evenly, merged, quiet

LONG_AGO = NOON - 400 * DAY


def summed(count: int, shape: float, chance: float) -> float:
    """P(X >= count) of a negative-binomial X, term by term."""
    term, below = math.exp(shape * math.log1p(-chance)), 0.0
    for k in range(count):
        below += term
        term *= (k + shape) / (k + 1) * chance
    return 1 - below


class TestChance:
    @pytest.mark.parametrize("past", [0, 3, 56, 224, 5_000])
    @pytest.mark.parametrize("days", [1 / 24, 0.25, 1.0, 3.0])
    def test_it_is_the_tail_of_the_negative_binomial(self, past: int, days: float) -> None:
        level = Level(past, 28)

        for counted in (0, 1, 2, 8, 40, 300):
            expected = summed(counted, 0.5 + past, days / (28.5 + days))
            assert level.chance(counted, days) == pytest.approx(expected, rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize("clump", [1.2, 3.0, 12.0])
    @pytest.mark.parametrize("past", [0, 14, 500])
    def test_of_clumps_it_is_the_tail_of_their_sum(self, past: int, clump: float) -> None:
        """Clump by clump: of n geometric sizes the sum is below k when fewer than n of k-1 trials end a clump."""
        level, days, more = Level(past, 28, clump), 1.0, 1 - 1 / clump
        shape, share = 0.5 + past / clump, days / (28.5 + days)
        for counted in (1, 2, 8, 40, 150):
            expected, chance = 0.0, math.exp(shape * math.log1p(-share))
            for n in range(1, 400):
                chance *= (n - 1 + shape) / n * share
                expected += chance * sum(
                    math.comb(counted - 1, i) * (1 - more) ** i * more ** (counted - 1 - i)
                    for i in range(min(n, counted))
                )

            assert level.chance(counted, days) == pytest.approx(expected, rel=1e-6, abs=1e-12)

    def test_where_mails_go_to_several_one_burst_is_less_strange_than_as_many_clumps(self) -> None:
        """That made the watch cry wolf: it took eight at three a time for nearly three rare events; it may be one."""
        assert Level(14, 28, 3.0).chance(8, 1 / 24) > 100 * Level(14, 28).chance(8, 1 / 24)

    @pytest.mark.parametrize("clump", [1.5, 3.0, 12.0])
    @pytest.mark.parametrize("deviations", [0, 2, 4])
    def test_where_hundreds_of_clumps_are_usual_an_approximation_takes_over_unnoticed(
        self, clump: float, deviations: int
    ) -> None:
        """Summed term by term up to 17,400 clumps in 28 days."""
        chances = []
        for clumps in (17_300, 17_500):
            mean = clumps * clump / 28.5
            counted = mean + deviations * math.sqrt(mean * (2 * clump - 1) + mean**2 / clumps)
            chances.append(Level(round(clumps * clump), 28, clump).chance(round(counted), 1.0))

        assert chances[0] == pytest.approx(chances[1], rel=0.15)

    @pytest.mark.parametrize("count", [600_000, 680_000, 720_000])
    def test_where_millions_are_usual_it_is_still_a_chance(self, count: int) -> None:
        level = Level(700_000 * 28, 28, 1.5)

        assert 0 <= level.chance(count, 1.0) <= 1
        assert (level.chance(count, 1.0) > 0.05) is (count < 700_000)

    def test_a_rhythm_makes_more_likely_what_comes_within_hours(self) -> None:
        even, uneven = Level(224, 28), Level(224, 28, 1.0, Rhythm(3.0, 1.4))

        assert uneven.chance(9, 1 / 8) > 100 * even.chance(9, 1 / 8)
        assert uneven.chance(30, 1.0) == pytest.approx(Level(224, 28).chance(30, 1.4))

    @given(
        st.integers(0, 10**7),
        st.floats(0, 28),
        st.floats(1, 12),
        st.integers(0, 10**7),
        st.sampled_from([1 / 24, 0.25, 1.0, 3.0]),
    )
    def test_any_number_of_bounces_has_a_chance(
        self, past: int, known: float, clump: float, counted: int, days: float
    ) -> None:
        level = Level(past, known, clump)

        assert 0 <= level.chance(counted + 1, days) <= level.chance(counted, days) + 1e-12 <= 1 + 1e-9

    @given(st.floats(0.001, 0.999), st.floats(0.1, 1e5), st.floats(0.1, 1e5))
    def test_the_two_sides_of_the_beta_function_add_up(self, x: float, a: float, b: float) -> None:
        assert incomplete_beta(x, a, b) + incomplete_beta(1 - x, b, a) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("past", "days", "clump", "alarming"),
    [  # in the windows of 1, 3, 8, 24 and 72 hours
        (0, 0, 1.5, [11, 14, 22, 44, 109]),
        (0, 1, 1.5, [9, 11, 14, 22, 44]),
        (0, 28, 1.5, [7, 8, 8, 10, 12]),
        (3, 28, 1.0, [5, 6, 7, 8, 10]),
        (56, 28, 1.0, [5, 6, 8, 12, 22]),
        (56, 28, 3.0, [24, 28, 32, 41, 57]),
        (224, 28, 1.0, [6, 9, 14, 25, 52]),
        (224, 28, 3.0, [29, 35, 43, 61, 101]),
    ],
)
def test_how_many_are_alarming_depends_on_what_was_usual_and_on_how_well_that_is_known(
    past: int, days: int, clump: float, alarming: list[int]
) -> None:
    """A quiet past makes the watch sharp, a short one or one with bursts makes it careful, and none makes it blind."""
    level = Level(past, days, clump)
    usual = Usual(level, level)

    found = [
        next(n for n in numbers(window.floor) if usual.chance(Count(n, n), window.seconds / DAY) < ALARM)
        for window in WINDOWS
    ]
    assert found == alarming


def alarm(times: Sequence[int], known_since: int = LONG_AGO) -> int | None:
    return surge(Singly(times), NOON, known_since)


@pytest.mark.parametrize(
    ("number", "hours", "alarming"),
    [(6, 1, False), (7, 1, True), (7, 3, False), (8, 3, True), (9, 20, False), (10, 20, True), (11, 70, False)],
)
def test_in_a_quiet_mailbox_a_handful_within_hours_is_alarming(number: int, hours: int, *, alarming: bool) -> None:
    assert (alarm(evenly(number, NOON - hours * HOUR, NOON)) is not None) is alarming


def test_one_mail_to_many_dead_addresses_is_one_spell() -> None:
    """Twenty bounces within two minutes are not twenty events: somebody wrote to a list."""
    assert alarm(evenly(20, NOON - 30 * MINUTE, NOON - 28 * MINUTE)) is None


def test_a_flood_is_seen_even_when_it_is_over_within_a_minute() -> None:
    assert alarm([NOON - HOUR // 2] * 40) is None
    assert alarm([NOON - HOUR // 2] * 80) is not None


def test_an_empty_mailbox_is_no_alarm() -> None:
    assert alarm([]) is None


@pytest.mark.parametrize("hours_ago", [25, 40, 71, 24 * 30])
def test_what_is_over_for_a_day_is_no_alarm(hours_ago: int) -> None:
    """Cleaning up old mail finds a thousand bounces, and alarms nobody."""
    flood = evenly(1_000, NOON - (hours_ago + 5) * HOUR, NOON - hours_ago * HOUR)

    assert alarm(flood) is None


def test_a_drip_is_alarming_after_a_quiet_year_and_usual_after_a_month_of_it() -> None:
    drip = evenly(45, NOON - 3 * DAY, NOON)

    assert alarm(drip) is not None
    assert alarm(quiet(40, NOON, each=15)) is None


def test_a_surge_began_where_the_unusual_hours_began() -> None:
    began = alarm(merged(quiet(60, NOON - 2 * DAY, each=0.5), evenly(480, NOON - 2 * DAY, NOON)))

    assert began is not None
    assert abs(began - (NOON - 2 * DAY)) <= 6 * HOUR


class TestUsual:
    def test_it_is_the_mean_of_the_ordinary_days(self) -> None:
        assert usual_at(Singly(quiet(60, NOON, each=2)), NOON, LONG_AGO).per_day == pytest.approx(2, rel=0.05)

    @pytest.mark.parametrize("days_ago", [5, 10, 20])
    def test_a_wave_teaches_nothing(self, days_ago: int) -> None:
        """Right after a wave the watch is as sharp as before it."""
        start = NOON - days_ago * DAY
        wave = evenly(900, start, start + 2 * DAY)
        usual = usual_at(Singly(merged(quiet(60, NOON, each=0.5), wave)), NOON, LONG_AGO)

        assert usual.per_day == pytest.approx(0.5, abs=0.2)
        assert alarm(merged(quiet(60, NOON, each=0.5), wave, evenly(8, NOON - HOUR, NOON))) is not None

    def test_what_lasts_four_weeks_is_usual(self) -> None:
        usual = usual_at(Singly(quiet(40, NOON, each=15)), NOON, LONG_AGO)

        assert usual.per_day == pytest.approx(15, rel=0.1)

    def test_a_wave_that_has_just_begun_is_not_taken_for_usual(self) -> None:
        assert usual_at(Singly(evenly(60, NOON - 4 * DAY, NOON)), NOON, LONG_AGO).per_day == 0

    def test_it_is_not_claimed_of_an_account_that_is_known_for_days_only(self) -> None:
        assert usual_at(Singly(quiet(8, NOON, each=2)), NOON, NOON - 8 * DAY).per_day is None
        assert usual_at(Singly(quiet(13, NOON, each=2)), NOON, NOON - 13 * DAY).per_day == pytest.approx(2, rel=0.2)

    def test_it_is_learnt_anew_once_a_week(self) -> None:
        """It takes milliseconds, and the watch looks every few minutes."""
        times = quiet(400, NOON, each=1.9)
        monday = NOON - NOON % WEEK + 4 * DAY  # the first of January 1970 was a Thursday

        for day in range(1, 7):
            assert usual_at(Singly(times), monday + day * DAY, LONG_AGO) == usual_at(Singly(times), monday, LONG_AGO)

    def test_of_a_new_account_it_is_learnt_every_day(self) -> None:
        learnt = [usual_at(Singly(quiet(60, NOON, each=3)), NOON - days * DAY, NOON - 40 * DAY) for days in range(20)]

        assert len({usual.bounces.days for usual in learnt[-10:]}) == 10

    def test_the_hours_in_which_a_slow_wave_began_teach_nothing_either(self) -> None:
        """Seven in an evening are no alarm yet; but a drip that begins so is not what comes in clumps of seven."""
        drip = evenly(15 * 20, NOON, NOON + 20 * DAY)
        usual = usual_at(Singly(drip), NOON + 20 * DAY, LONG_AGO)

        assert (usual.spells.count, usual.spells.clump) == (0, usual_at(Singly([]), NOON, LONG_AGO).spells.clump)

    def test_growth_is_not_taken_for_clumps(self) -> None:
        times = merged(*(quiet(28, NOON - 28 * DAY * (11 - month), each=month + 1) for month in range(12)))
        usual = usual_at(Singly(times), NOON, LONG_AGO)

        assert usual.spells.clump < 1.1
        assert max(usual.spells.rhythm) < 1.3

    def test_office_hours_are_a_rhythm_and_no_clumps(self) -> None:
        """Eight bounces on each working day, and at most two of them within the same hour."""
        mornings = [NOON - NOON % DAY - day * DAY + 8 * HOUR for day in range(400)]
        working = [morning for morning in mornings if at(morning).weekday() < 5]
        usual = usual_at(
            Singly(merged(*(evenly(8, morning, morning + 10 * HOUR) for morning in working))), NOON, LONG_AGO
        )

        assert usual.spells.clump < 1.1
        assert usual.spells.rhythm.days == pytest.approx(7 / 5, rel=0.1)
        assert usual.spells.rhythm.hours == pytest.approx(24 / 10 * 7 / 5, rel=0.1)

    def test_clumps_are_no_rhythm(self) -> None:
        starts = [NOON - day * DAY - day * 7 % 24 * HOUR for day in range(400, 1, -3)]
        usual = usual_at(Singly(merged(*(evenly(6, start, start + HOUR) for start in starts))), NOON, LONG_AGO)

        assert usual.spells.clump == pytest.approx(1 + 5 / 2, rel=0.3)
        assert usual.spells.rhythm.days < 1.2

    def test_where_bounces_come_in_clumps_a_clump_is_ordinary(self) -> None:
        """In a mailbox that writes to lists, six in an hour are less than in one where each comes for itself."""
        clumps = [NOON - day * DAY - 5 * HOUR + n * 3 * MINUTE for day in range(60, 3, -3) for n in range(6)]
        single = quiet(57, NOON - 3 * DAY, each=2)
        today = evenly(8, NOON - 40 * MINUTE, NOON)

        assert alarm(merged(clumps, today)) is None
        assert alarm(merged(single, today)) is not None

    def test_that_mailbox_still_hears_of_a_flood(self) -> None:
        clumps = [NOON - day * DAY - 5 * HOUR + n * 3 * MINUTE for day in range(60, 3, -3) for n in range(6)]

        assert alarm(merged(clumps, evenly(300, NOON - HOUR, NOON))) is not None


class Counted(Sequence[int]):
    """A flood that is too large to look at one by one; it counts how often it is asked for a bounce."""

    def __init__(self, size: int, end: int, seconds: int) -> None:
        self.size, self.start, self.seconds, self.asked = size, end - seconds, seconds, 0

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        assert isinstance(index, int)
        self.asked += 1
        return self.start + 1 + index * self.seconds // self.size


@pytest.mark.parametrize("size", [10_000, 100_000_000])
def test_a_flood_of_any_size_costs_the_same(size: int) -> None:
    """Two days of flood: it is leapt over, spell by spell."""
    flood = Counted(size, NOON, 2 * DAY)

    assert surge(Singly(flood), NOON, LONG_AGO) is not None
    assert flood.asked < 200_000


def test_counting_leaves_out_the_start_and_takes_in_the_end() -> None:
    times = array("q", [10, 20, 20, 30, 400])

    assert count(times, 10, 400) == Count(4, 2)
    assert count(times, 0, 5) == Count(0, 0)


class TestPastWaves:
    def test_an_old_wave_is_reported_with_its_days_and_its_peak(self) -> None:
        start = NOON - NOON % DAY - 200 * DAY
        wave = merged(evenly(100, start, start + DAY), evenly(240, start + DAY, start + 2 * DAY))

        (found,) = past_waves(Singly(merged(quiet(300, NOON, each=0.2), wave)), at(NOON))

        assert found.bounces == pytest.approx(340, abs=2)
        assert found.peak == pytest.approx(240, abs=2)
        assert found.peak_day == at(start + DAY).date()
        assert (found.first.date(), found.last.date()) == (at(start).date(), at(start + DAY).date())

    def test_a_wave_that_rises_slowly_is_one_from_the_day_on_that_it_is_loud(self) -> None:
        """Its own first days are not what it is measured by."""
        start = NOON - NOON % DAY - 60 * DAY
        rise = (evenly(2 * day, start + day * DAY, start + (day + 1) * DAY) for day in range(1, 8))

        (found,) = past_waves(Singly(merged(quiet(300, start, each=0.2), *rise, quiet(50, NOON, each=0.2))), at(NOON))

        assert found.bounces >= 8 + 10 + 12 + 14
        assert found.peak == 14

    def test_several_waves_come_in_their_order(self) -> None:
        starts = [NOON - days * DAY for days in (900, 500, 20)]
        times = merged(quiet(1_000, NOON, each=0.1), *(evenly(80, start, start + DAY) for start in starts))

        firsts = [wave.first for wave in past_waves(Singly(times), at(NOON))]

        assert len(firsts) == 3
        assert all(abs(first - at(start)) < timedelta(days=1) for first, start in zip(firsts, starts, strict=True))

    def test_what_is_going_on_is_not_past(self) -> None:
        assert past_waves(Singly(merged(quiet(90, NOON, each=0.1), evenly(300, NOON - 2 * DAY, NOON))), at(NOON)) == ()

    def test_a_busy_mailbox_has_no_waves(self) -> None:
        assert past_waves(Singly(quiet(300, NOON, each=20)), at(NOON)) == ()

    def test_a_new_level_is_not_a_wave(self) -> None:
        times = merged(quiet(100, NOON - 100 * DAY, each=0.5), quiet(100, NOON, each=12))

        assert past_waves(Singly(times), at(NOON)) == ()

    def test_without_bounces_there_are_none(self) -> None:
        assert past_waves(Singly([]), at(NOON)) == ()

    @given(st.lists(st.integers(NOON - 200 * DAY, NOON + WEEK), max_size=80).map(sorted))
    def test_waves_never_overlap_and_never_hold_more_than_there_is(self, times: list[int]) -> None:
        waves = past_waves(Singly(times), at(NOON))

        assert sum(wave.bounces for wave in waves) <= len(times)
        assert all(one.last < other.first for one, other in pairwise(waves))
