"""A wave is one incident: it opens, grows, is told about now and then, closes, and may come back."""

from __future__ import annotations

from array import array
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter.incident import Background, Diagnosis, Notice, Step, assess
from bouncefiler.backscatter.volume import Singly, WatchPolicy
from tests.backscatter.timeline import DAY, HOUR, MINUTE, NOON, WEEK, Watch, at, evenly, merged, quiet

POLICY = WatchPolicy()


def flood(number: int = 1_000, hours: float = 5, start: int = NOON) -> list[int]:
    return evenly(number, start, start + hours * HOUR)


class TestTimelines:
    """What the service says that looks every five minutes, hours after the wave's first bounce."""

    @pytest.mark.parametrize(
        ("wave", "expected"),
        [
            # 200 an hour for five hours: told again when it is four times as much, over the next morning.
            (flood(), [("opened", 0.5), ("escalated", 1), ("escalated", 4), ("closed", 18.5)]),
            # One flood of ten thousand within an hour.
            (flood(10_000, 1), [("opened", 0.5), ("escalated", 1), ("closed", 18.5)]),
            # 3 an hour for a day.
            (flood(72, 24), [("opened", 2.5), ("reminder", 9), ("reminder", 18), ("closed", 42)]),
            # 12 a day for six days: told after a day, after two, after four.
            (
                flood(72, 144),
                [("opened", 19), ("reminder", 38), ("reminder", 74), ("reminder", 146), ("closed", 180)],
            ),
        ],
    )
    def test_notices_come_when_there_is_news(self, wave: list[int], expected: list[tuple[str, float]]) -> None:
        watch = Watch(wave).every(5 * MINUTE, NOON, NOON + 10 * DAY)

        assert watch.notices == [notice for notice, _ in expected]
        for (now, _), (_, hours) in zip(watch.told, expected, strict=True):
            assert (now - NOON) / HOUR <= hours

    def test_a_quiet_mailbox_is_told_nothing(self) -> None:
        watch = Watch(quiet(40, NOON + 10 * DAY, each=2)).every(HOUR, NOON, NOON + 10 * DAY)

        assert watch.incidents == []

    def test_ten_thousand_bounces_within_an_hour_are_a_handful_of_notices(self) -> None:
        """However often we look."""
        watch = Watch(flood(10_000, 1)).every(10, NOON, NOON + HOUR)

        assert 1 <= len(watch.told) <= 3

    def test_a_hundred_thousand_bounces_are_one_incident_and_a_handful_of_notices(self) -> None:
        wave = array("q", evenly(100_000, NOON, NOON + 8 * HOUR))
        watch = Watch(wave).every(15 * MINUTE, NOON, NOON + 3 * DAY)

        assert watch.notices == ["opened", "escalated", "escalated", "closed"]
        assert watch.last is not None
        assert watch.last.total == len(wave)

    def test_the_closing_notice_has_the_totals(self) -> None:
        wave = flood()
        watch = Watch(merged(quiet(60, NOON, each=0.5), wave)).every(5 * MINUTE, NOON, NOON + 2 * DAY)

        assert watch.last is not None
        assert watch.notices[-1] == "closed"
        assert watch.last.total == len(wave)
        assert watch.last.peak == len(wave)
        assert watch.last.last_seen == at(wave[-1])
        assert watch.last.usual == pytest.approx(0.5, abs=0.1)

    def test_what_was_usual_is_not_learnt_anew_from_the_wave(self) -> None:
        watch = Watch(merged(quiet(60, NOON, each=0.5), flood(400, 10 * 24))).every(HOUR, NOON, NOON + 9 * DAY)

        assert {incident.usual for incident in watch.incidents} == {watch.incidents[0].usual}

    def test_what_goes_on_for_weeks_becomes_usual(self) -> None:
        """Told, reminded ever more rarely, and then left alone, without claiming that it was over."""
        drip = evenly(15 * 60, NOON, NOON + 60 * DAY)
        watch = Watch(drip).every(HOUR, NOON, NOON + 60 * DAY)

        assert watch.notices[0] == "opened"
        assert watch.notices[-1] == "settled"
        assert set(watch.notices[1:-1]) == {"reminder"}
        assert len(watch.told) <= 10
        assert watch.last is not None
        assert watch.last.usual == pytest.approx(15, rel=0.1)

    def test_reminders_keep_the_distance_that_the_user_wants(self) -> None:
        policy = WatchPolicy(renotify=timedelta(days=2))
        watch = Watch(flood(300, 10 * 24), policy).every(HOUR, NOON, NOON + 10 * DAY)

        moments = [now for now, _ in watch.told]
        assert len(moments) > 2
        assert all(later - earlier >= 2 * DAY for earlier, later in pairwise(moments))

    def test_a_pause_that_a_slow_wave_may_well_make_is_not_its_end(self) -> None:
        """Twelve a day leave eighteen hours empty now and then."""
        slow = merged(flood(36, 72), flood(36, 72, start=NOON + 90 * HOUR))
        watch = Watch(slow).every(HOUR, NOON, NOON + 162 * HOUR)

        assert set(watch.notices) == {"opened", "reminder"}

    def test_what_is_less_than_the_user_was_told_is_no_escalation(self) -> None:
        wave = merged(flood(10_000, 5), flood(200, 48, start=NOON + 5 * HOUR), flood(1_500, 24, NOON + 53 * HOUR))
        watch = Watch(wave).every(5 * MINUTE, NOON, NOON + 77 * HOUR)

        late = [notice for now, notice in watch.told if now > NOON + 12 * HOUR]
        assert set(late) == {Notice.REMINDER}


class TestComingBack:
    WAVES = (flood(), flood(start=NOON + 3 * DAY))

    def test_a_wave_that_comes_back_within_a_week_is_the_same_incident(self) -> None:
        watch = Watch(merged(*self.WAVES)).every(5 * MINUTE, NOON, NOON + 6 * DAY)

        assert [notice for notice in watch.notices if notice != "escalated"] == [
            "opened",
            "closed",
            "reopened",
            "closed",
        ]
        assert watch.last is not None
        assert len({incident.opened for incident in watch.incidents}) == 1
        assert watch.last.total == 2_000

    def test_after_a_week_it_is_another_one(self) -> None:
        watch = Watch(merged(flood(), flood(start=NOON + 10 * DAY))).every(5 * MINUTE, NOON, NOON + 12 * DAY)

        assert [notice for notice in watch.notices if notice != "escalated"] == ["opened", "closed", "opened", "closed"]
        assert watch.last is not None
        assert (watch.last.total, watch.last.id) == (1_000, 0)

    def test_the_wave_that_was_closed_does_not_open_it_again(self) -> None:
        """Twelve hours after the end the last 24 hours are still full of it."""
        watch = Watch(flood()).every(5 * MINUTE, NOON, NOON + 3 * DAY)

        assert watch.notices.count("closed") == 1
        assert watch.open is None


class TestRareLooks:
    def test_a_week_late_the_end_is_found_where_it_was(self) -> None:
        often = Watch(flood()).every(5 * MINUTE, NOON, NOON + WEEK)
        rarely = Watch(flood())
        rarely.look(NOON + 4 * HOUR)
        rarely.look(NOON + WEEK)

        assert often.last is not None
        assert rarely.last is not None
        assert rarely.notices == ["opened", "closed"]
        assert (rarely.last.closed, rarely.last.total) == (often.last.closed, often.last.total)

    def test_a_wave_between_two_looks_is_no_news(self) -> None:
        watch = Watch(flood())
        watch.look(NOON - HOUR)
        watch.look(NOON + WEEK)

        assert watch.incidents == []

    def test_a_wave_that_paused_and_goes_on_is_told_of_once(self) -> None:
        watch = Watch(merged(flood(), flood(start=NOON + 6 * DAY)))
        watch.look(NOON + 4 * HOUR)
        watch.look(NOON + 6 * DAY + 4 * HOUR)

        assert watch.notices == ["opened", "reopened"]
        assert watch.open is not None

    def test_old_bounces_that_are_found_late_do_not_open_anything(self) -> None:
        """The first clean-up of five years."""
        times = merged(*(flood(start=NOON - days * DAY) for days in (1_800, 900, 30, 4)))

        assert Watch(times).look(NOON) == Step()

    def test_more_history_than_is_asked_for_changes_nothing(self) -> None:
        """Days before it are not known, which is not the same as that nothing came."""
        wave = merged(evenly(60 * 50, NOON, NOON + 50 * DAY), evenly(30, NOON + 50 * DAY, NOON + 55 * DAY))
        times = merged(quiet(150, NOON, each=6), wave)
        watch = Watch(times, WatchPolicy(threshold=30))
        for now in range(NOON, NOON + 55 * DAY, 6 * HOUR):
            so_far, background = [t for t in times if t <= now], Background(at(watch.known_since))
            whole = assess(Singly(so_far), at(now), watch.policy, watch.open, watch.last, background)

            assert watch.look(now) == whole

        assert (watch.notices[0], watch.notices[-1]) == ("opened", "closed")


class TestClocks:
    def test_a_clock_that_is_a_day_slow_still_sees_the_wave(self) -> None:
        watch = Watch(flood())

        assert watch.look(NOON + 2 * HOUR, clock=NOON + 2 * HOUR - DAY).notices == (Notice.OPENED,)

    def test_a_clock_that_jumps_ahead_and_back_costs_two_notices_and_loses_nothing(self) -> None:
        watch = Watch(evenly(2_000, NOON, NOON + 2 * DAY))
        watch.every(5 * MINUTE, NOON, NOON + 12 * HOUR)
        before = len(watch.told)
        watch.look(NOON + 12 * HOUR, clock=NOON + 36 * HOUR)
        watch.every(5 * MINUTE, NOON + 12 * HOUR, NOON + 20 * HOUR)

        assert len(watch.told) - before <= 3
        assert watch.open is not None

    def test_a_bounce_dated_years_ahead_is_not_believed(self) -> None:
        times = [*flood(20, 1), NOON + 5_000 * DAY]

        assert assess(Singly(times), at(NOON + HOUR), POLICY).notices == (Notice.OPENED,)
        assert assess(Singly([NOON + 5_000 * DAY]), at(NOON), POLICY) == Step()


class TestThreshold:
    def test_the_users_own_number_always_counts(self) -> None:
        busy = quiet(60, NOON, each=12)

        assert Watch(busy).look(NOON) == Step()
        assert Watch(busy, WatchPolicy(threshold=12)).look(NOON).notices == (Notice.OPENED,)
        assert Watch(busy, WatchPolicy(threshold=13)).look(NOON) == Step()

    def test_it_stays_open_as_long_as_the_number_is_reached(self) -> None:
        watch = Watch(quiet(90, NOON + 20 * DAY, each=12), WatchPolicy(threshold=10))
        watch.every(HOUR, NOON, NOON + 20 * DAY)

        assert watch.notices[0] == "opened"
        assert set(watch.notices[1:]) == {"reminder"}

    def test_an_incident_that_was_little_more_than_usual_still_has_its_figures(self) -> None:
        times = merged(quiet(60, NOON + 5 * DAY, each=8), [NOON])
        watch = Watch(times, WatchPolicy(threshold=9)).every(HOUR, NOON, NOON + 5 * DAY)

        assert watch.notices[0] == "opened"
        assert watch.notices[-1] == "closed"
        assert watch.last is not None
        assert watch.last.began is not None
        assert watch.last.total >= 9
        assert watch.last.last_seen >= watch.last.began


class TestDiagnosis:
    def test_a_break_in_is_told_at_once_however_few_bounces_there_are(self) -> None:
        watch = Watch(flood(1, 1))

        assert watch.look(NOON + HOUR, Diagnosis.COMPROMISED).notices == (Notice.OPENED,)
        assert watch.open is not None
        assert watch.open.diagnosis is Diagnosis.COMPROMISED

    def test_what_turns_out_to_be_the_users_own_is_closed_in_time(self) -> None:
        """Bounces are taken out of the count when it is found that the user sent what came back."""
        watch = Watch(flood(100, 5))
        watch.look(NOON + 3 * HOUR)
        watch.times = []
        watch.every(HOUR, NOON + 4 * HOUR, NOON + 3 * DAY)

        assert watch.notices == ["opened", "closed"]

    def test_worse_news_is_told_at_once_and_never_taken_back_while_it_lasts(self) -> None:
        watch = Watch(flood(100, 5))
        watch.look(NOON + HOUR)

        assert watch.look(NOON + HOUR + MINUTE, Diagnosis.COMPROMISED).notices == (Notice.ESCALATED,)
        assert watch.look(NOON + HOUR + 2 * MINUTE, Diagnosis.BACKSCATTER).notices == ()
        assert watch.open is not None
        assert watch.open.diagnosis is Diagnosis.COMPROMISED

    def test_it_is_not_told_again_for_what_has_been_closed(self) -> None:
        watch = Watch(flood(100, 5))
        for now in range(NOON, NOON + 4 * DAY, HOUR):
            watch.look(now, Diagnosis.COMPROMISED)

        assert watch.notices == ["opened", "escalated", "closed"]

    def test_what_comes_back_is_as_bad_as_it_was(self) -> None:
        watch = Watch(merged(flood(), flood(start=NOON + 3 * DAY)))
        watch.look(NOON + HOUR, Diagnosis.COMPROMISED)
        watch.every(HOUR, NOON + 2 * HOUR, NOON + 3 * DAY + 5 * HOUR)

        assert "reopened" in watch.notices
        assert {incident.diagnosis for incident in watch.incidents} == {Diagnosis.COMPROMISED}


class TestNewAccounts:
    def test_nothing_known_is_neither_wolf_nor_blindness(self) -> None:
        busy = evenly(8 * 14, NOON, NOON + 14 * DAY)

        assert Watch(busy, known_since=NOON).every(HOUR, NOON, NOON + 14 * DAY).told == []
        assert Watch(flood(50, 2), known_since=NOON).every(HOUR, NOON, NOON + DAY).notices[0] == "opened"

    def test_old_bounces_in_the_mailbox_are_knowledge_too(self) -> None:
        """The first run finds what was usual in the mailbox itself."""
        busy = quiet(50, NOON, each=8)

        assert Watch(busy, known_since=NOON).look(NOON) == Step()
        usual = Watch(merged(busy, flood()), known_since=NOON).every(HOUR, NOON, NOON + 2 * HOUR).incidents[0].usual
        assert usual == pytest.approx(8, rel=0.1)

    def test_a_mailbox_that_has_been_watched_in_vain_for_weeks_is_a_quiet_one(self) -> None:
        drip = evenly(36, NOON, NOON + 3 * DAY)

        assert Watch(drip, known_since=NOON).every(HOUR, NOON, NOON + 3 * DAY).told == []
        assert Watch(drip, known_since=NOON - 30 * DAY).every(HOUR, NOON, NOON + 3 * DAY).told != []

    def test_it_does_not_claim_to_know_what_is_usual(self) -> None:
        step = assess(Singly(flood(100, 2)), at(NOON + 2 * HOUR), POLICY)

        assert step.incident is not None
        assert step.incident.usual is None


def test_times_are_told_in_the_zone_of_the_question() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    step = assess(Singly(flood()), at(NOON + 2 * HOUR).astimezone(zone), POLICY)

    assert step.incident is not None
    assert step.incident.opened.tzinfo is zone


waves = st.lists(
    st.tuples(st.integers(0, 20 * DAY), st.integers(1, 400), st.integers(MINUTE, 6 * DAY)), min_size=1, max_size=4
)
gaps = st.lists(st.sampled_from([5 * MINUTE, HOUR, 7 * HOUR, DAY, WEEK]), min_size=5, max_size=60)


@st.composite
def watches(draw: st.DrawFn) -> tuple[Watch, list[int]]:
    """Any few waves over any base, and any moments to look at."""
    parts = [evenly(number, NOON + start, NOON + start + lasts) for start, number, lasts in draw(waves)]
    base = quiet(80, NOON + 20 * DAY, each=draw(st.sampled_from([0, 0.3, 2, 8])))
    looks = list(accumulate(draw(gaps), initial=NOON + draw(st.integers(0, DAY))))
    policy = WatchPolicy(threshold=draw(st.sampled_from([None, 10])))
    return Watch(merged(base, *parts), policy), looks


class TestAlways:
    @given(watches())
    def test_asking_twice_gives_nothing_new(self, drawn: tuple[Watch, list[int]]) -> None:
        watch, looks = drawn
        for now in looks:
            first = watch.look(now)
            again = watch.look(now)

            assert again.notices == ()
            assert again.incident in {first.incident, None}

    @given(watches())
    def test_notices_tell_one_story(self, drawn: tuple[Watch, list[int]]) -> None:
        """At most one incident is open; what was not opened is not closed, and nothing is opened twice."""
        watch, looks = drawn
        is_open = False
        for now in looks:
            step = watch.look(now)
            for notice in step.notices:
                begins = notice in {Notice.OPENED, Notice.REOPENED}
                assert is_open is not begins or notice is Notice.REOPENED
                is_open = notice not in {Notice.CLOSED, Notice.SETTLED}
            assert len(step.notices) <= 1
            assert is_open is (watch.open is not None)

    @given(watches())
    def test_the_figures_hold_together(self, drawn: tuple[Watch, list[int]]) -> None:
        watch, looks = drawn
        for now in looks:
            incident = watch.look(now).incident
            if incident is None:
                continue
            assert incident.began is not None
            assert incident.began <= incident.last_seen <= at(now)
            assert 0 < incident.total <= len(watch.times)
            assert incident.count <= incident.peak
            assert (incident.notified or at(0)) <= at(now)
            assert incident.closed is None or incident.last_seen <= incident.closed <= at(now)

    @given(watches())
    def test_no_hour_brings_more_than_three_notices(self, drawn: tuple[Watch, list[int]]) -> None:
        watch, _ = drawn
        watch.every(5 * MINUTE, NOON, NOON + DAY)

        for start in range(NOON, NOON + DAY, HOUR):
            assert sum(start <= now < start + HOUR for now, _ in watch.told) <= 3


def test_an_incident_from_an_older_file_is_followed_too() -> None:
    """`began` and `notified` may be missing."""
    watch = Watch(flood())
    watch.look(NOON + 2 * HOUR)
    assert watch.open is not None
    watch.open = replace(watch.open, began=None, notified=None)
    watch.every(5 * MINUTE, NOON + 2 * HOUR, NOON + 2 * DAY)

    assert watch.notices[-1] == "closed"


def test_the_background_may_be_left_out() -> None:
    assert assess(Singly(flood()), at(NOON + HOUR), POLICY) == assess(
        Singly(flood()), at(NOON + HOUR), POLICY, background=Background()
    )
