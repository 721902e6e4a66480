"""What is told, and what is not: nobody gets a flood, and nobody misses the news."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.backscatter.advice import Level, Reader, write
from bouncefiler.backscatter.incident import Diagnosis, Incident, Notice
from bouncefiler.backscatter.outbox import DOSES, MAX_WAITING, Turn, Turns, Waiting, take_turns
from bouncefiler.backscatter.volume import WatchPolicy
from tests.backscatter import timeline

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def waits(id_: int, key: str, level: Level = Level.WARNING, channel: str = "log", due: datetime = NOON) -> Waiting:
    return Waiting(id_, channel, key, level, due)


def test_all_news_of_one_incident_is_known_as_such() -> None:
    """By the keys that `advice` writes."""
    wave = Incident(Diagnosis.BACKSCATTER, NOON, NOON, 40, 0.3, 40, 40, notified=NOON)
    later = replace(wave, notified=NOON + HOUR)
    keys = [
        write(*told, Reader("a@example.org", "B")).key for told in ((Notice.OPENED, wave), (Notice.REMINDER, later))
    ]

    turns = take_turns([waits(1, keys[0]), waits(2, keys[1])], {}, NOON)

    assert keys[0] != keys[1]
    assert turns == Turns((Turn(2, (1,)),))


def test_news_of_two_incidents_are_both_told_and_each_in_its_channel() -> None:
    queue = [waits(1, "closed 1 5"), waits(2, "opened 2 6"), waits(3, "opened 2 6", channel="inbox")]

    assert take_turns(queue, {}, NOON) == Turns((Turn(1), Turn(2), Turn(3)))


def test_that_it_is_over_does_not_replace_that_somebody_may_be_in_the_account() -> None:
    queue = [waits(1, "opened 1 1"), waits(2, "escalated 1 2", Level.CRITICAL), waits(3, "closed 1 3", Level.INFO)]

    assert take_turns(queue, {}, NOON) == Turns((Turn(2, (1,)), Turn(3, (1,))))


def test_nothing_is_told_before_it_is_due() -> None:
    assert take_turns([waits(1, "opened 1 1", due=NOON + MINUTE)], {}, NOON) == Turns()


def test_the_seventh_in_an_hour_waits_but_not_the_first_news_of_a_wave_nor_of_an_intruder() -> None:
    sent = {"log": [NOON - n * MINUTE for n in range(6)]}
    queue = [
        waits(1, "reminder 1 1"),
        waits(2, "opened 2 2"),
        waits(3, "reminder 3 3", Level.CRITICAL),
        waits(4, "reminder 1 1", channel="inbox"),
    ]

    assert [turn.id for turn in take_turns(queue, sent, NOON).now] == [2, 3, 4]
    assert [turn.id for turn in take_turns(queue, sent, NOON + HOUR).now] == [1, 2, 3, 4]


def test_what_comes_after_a_first_news_that_nobody_got_is_as_loud() -> None:
    sent = {"log": [NOON - n * MINUTE for n in range(6)]}

    assert take_turns([waits(1, "opened 1 1"), waits(2, "reminder 1 2")], sent, NOON).now == (Turn(2, (1,)),)


def test_what_a_fast_clock_has_sent_in_the_future_holds_nothing_back() -> None:
    sent = {"log": [NOON + 9 * HOUR] * 99}

    assert take_turns([waits(1, "reminder 1 1")], sent, NOON).now == (Turn(1),)


def test_the_outbox_has_an_end() -> None:
    """What is moot already goes first, then what is oldest."""
    due = NOON + HOUR
    queue = [waits(n, f"opened {n} 1", due=due) for n in range(MAX_WAITING)]
    queue += [waits(100, "reminder 7 2", due=due), waits(101, "opened 101 1", due=due)]

    assert take_turns(queue, {}, NOON) == Turns(given_up=(0, 7))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([Notice.OPENED, Notice.ESCALATED, Notice.REMINDER, Notice.CLOSED, None]),
        st.integers(0, 4),
        st.sampled_from([Level.INFO, Level.WARNING, Level.CRITICAL]),
        st.integers(0, 90),
        st.booleans(),
    ),
    max_size=40,
)


@dataclass
class Log:
    """An outbox with one channel, and what has become of all that was put into it."""

    now: datetime = NOON
    known: dict[int, Waiting] = field(default_factory=dict)
    waiting: dict[int, Waiting] = field(default_factory=dict)
    arrived: dict[int, datetime] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)

    def put(self, notice: Notice, incident: int, level: Level) -> None:
        id_ = len(self.known) + 1
        self.known[id_] = self.waiting[id_] = waits(id_, f"{notice} {incident} {id_}", level, due=self.now)

    def deliver(self, *, fails: bool) -> None:
        turns = take_turns(list(self.waiting.values()), {"log": list(self.arrived.values())}, self.now)
        assert turns.given_up == ()
        for turn in turns.now:
            if fails:
                self.waiting[turn.id] = replace(self.waiting[turn.id], due=self.now + 10 * MINUTE)
                break
            assert turn.id not in self.arrived
            self.arrived[turn.id] = self.now
            self.replaced.update(dict.fromkeys(turn.instead_of, turn.id))
            del self.waiting[turn.id]
            for moot in turn.instead_of:
                self.waiting.pop(moot, None)  # two that go out together may make the same one moot

    def loud(self) -> set[int]:
        first = {id_ for id_, one in self.known.items() if "opened" in one.key}
        intruder = {id_ for id_, one in self.known.items() if one.level is Level.CRITICAL}
        return first | intruder | {newer for id_, newer in self.replaced.items() if id_ in first}


@given(EVENTS)
def test_every_news_arrives_or_a_newer_one_of_its_incident_does_and_none_arrives_twice(
    events: list[tuple[Notice | None, int, Level, int, bool]],
) -> None:
    """Whatever happens when, and however often the channel fails; and what is not loud keeps within its doses."""
    log = Log()
    for notice, incident, level, minutes, fails in events:
        log.now += minutes * MINUTE
        if notice:
            log.put(notice, incident, level)
        log.deliver(fails=fails)
    for _ in range(60):
        log.now += HOUR
        log.deliver(fails=False)

    assert log.waiting == {}
    assert log.arrived.keys() | log.replaced.keys() == log.known.keys()
    assert not log.arrived.keys() & log.replaced.keys()
    for old, new in ((log.known[id_], log.known[newer]) for id_, newer in log.replaced.items()):
        assert new.id > old.id
        assert new.key.split()[1] == old.key.split()[1]
        assert old.level is not Level.CRITICAL or new.level is Level.CRITICAL
    quiet = [at for id_, at in log.arrived.items() if id_ not in log.loud()]
    for span, most in DOSES:
        assert all(sum(at - span < other <= at for other in quiet) <= most for at in quiet)


@pytest.mark.parametrize("threshold", [None, 25])
def test_a_bounce_of_each_alert_is_no_news(threshold: int | None) -> None:
    """An alert that is sent as mail may come back. It counts as the bounce that it is, and there is no loop."""
    begin = timeline.NOON
    wave = timeline.merged(timeline.quiet(60, begin), timeline.evenly(60, begin, begin + timeline.HOUR))
    told = {}
    for returned in (False, True):
        watch = timeline.Watch(list(wave), WatchPolicy(threshold=threshold))
        for now in range(begin, begin + 12 * timeline.DAY, 15 * timeline.MINUTE):
            watch.look(now)
            if returned and watch.told[-1:] and watch.told[-1][0] == now:
                watch.times = timeline.merged(watch.times, [now + timeline.MINUTE])
        told[returned] = watch.notices

    assert told[True] == told[False]
    assert told[True][-1] == "closed"
