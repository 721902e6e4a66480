"""Days that were counted once are as good as their bounces, whatever comes, turns out or is forgotten afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bouncefiler.backscatter.provenance import Attribution, Clues, Provenance, Reason
from bouncefiler.backscatter.volume import History, Sighting, Singly, past_waves, surge, usual_at
from bouncefiler.edge.store import KEPT, Store, open_store
from bouncefiler.inquiry import Pending
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind
from tests.edge.test_store import DAY, HOUR, NOON

WHOSE = ((Provenance.UNKNOWN, Provenance.FORGED), (Provenance.GENUINE,), tuple(Provenance))
KINDS = (Kind.FAILED, Kind.FAILED, Kind.FAILED, Kind.DELAYED, Kind.AUTOREPLY)
SPAN = 40 * DAY
TODAY = int(NOON.timestamp()) // 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home.db", holder="test") as opened:
        yield opened


def fingerprint(number: int) -> Fingerprint:
    return Fingerprint(hashlib.sha256(b"%d" % number).hexdigest()[:32])


def come(store: Store, moments: Sequence[datetime], first: int = 0, whose: Provenance = Provenance.UNKNOWN) -> None:
    store.remember(
        Sighting(fingerprint(n), at, KINDS[n % len(KINDS)], Cause.UNKNOWN, whose) for n, at in enumerate(moments, first)
    )


def judge(store: Store, number: int, whose: Provenance) -> None:
    pending = Pending(fingerprint(number), NOON, NOON, Clues(), b"")
    store.attribute([(pending, Attribution(whose, Reason.NOTHING), True)], NOON)


def told(history: History, since: datetime) -> list[object]:
    """Ask it everything."""
    start, end = int(since.timestamp()), int(NOON.timestamp())
    spans = [(start - 86_400, start + 1), (start, end), (end - 86_400, end + 1), (end, end + 9), (end, end - 9)]
    return [
        list(history.days(start // 86_400 - 1, TODAY + 2)),
        list(history.days(TODAY, TODAY - 3)),
        [(history.first(*span), history.last(*span)) for span in spans],
        [[time for time in history.after(early) if time > early] for early in (end, end - 90_000, start, 0)],
        [usual_at(history, moment, start) for moment in (end, end - 9 * 86_400)],
        surge(history, end, start),
        past_waves(history, NOON),
    ]


def agree(store: Store) -> None:
    for since in (NOON - SPAN, NOON - SPAN / 2 - 5 * HOUR, NOON - 25 * HOUR):
        for whose in WHOSE:
            each = told(Singly(store.history(since, whose)), since)
            assert told(store.past(since, whose), since) == each


moments = st.builds(
    lambda days, seconds: NOON - timedelta(days=days, seconds=seconds),
    st.integers(-1, SPAN.days),
    st.one_of(st.sampled_from([0, 43_200, 43_201, 43_199]), st.integers(0, 86_400)),
)
numbers = st.integers(0, 60)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.lists(moments, min_size=1, max_size=12), st.sampled_from(Provenance)),
        st.tuples(st.just("judge"), numbers, st.sampled_from(Provenance)),
        st.tuples(st.just("count"), st.integers(0, SPAN.days), st.sampled_from(WHOSE)),
        st.tuples(st.just("forget"), moments, st.none()),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_counted_days_are_those_of_the_bounces_one_by_one(steps: Sequence[tuple[str, Any, Any]]) -> None:
    with TemporaryDirectory() as place, open_store(Path(place, "home.db"), holder="test") as store:
        number = 0
        for step in steps:
            match step:
                case "come", at, whose:
                    come(store, at, number, whose)
                    number += len(at)
                case "judge", which, whose:
                    judge(store, which, whose)
                case "count", days, whose:
                    store.count_days(NOON - SPAN, NOON - days * DAY, whose)
                case "forget", before, _:
                    store.tidy(before + KEPT)
        agree(store)


def test_what_was_counted_is_not_read_again(store: Store) -> None:
    come(store, [NOON - n * HOUR for n in range(900)])
    store.count_days(NOON - SPAN, NOON - 4 * DAY, WHOSE[0])
    days = list(store.past(NOON - SPAN).days(TODAY - 30, TODAY - 5))
    store._db.execute("DELETE FROM sighting")

    assert sum(day.bounces for day in days) > 200
    assert list(store.past(NOON - SPAN).days(TODAY - 30, TODAY - 5)) == days


def test_only_the_days_that_changed_are_counted_again(store: Store) -> None:
    come(store, [NOON - n * HOUR for n in range(900)])
    store.count_days(NOON - SPAN, NOON, WHOSE[0])
    counted = store.counted_days(0, TODAY, WHOSE[0])
    come(store, [NOON - 9 * DAY], 1_000)
    judge(store, 24 * 12 + 2, Provenance.GENUINE)
    left = store.counted_days(0, TODAY, WHOSE[0])
    store.count_days(NOON - SPAN, NOON, WHOSE[0])
    again = store.counted_days(0, TODAY, WHOSE[0])

    assert len(counted) == SPAN.days - 1
    assert {day.number for day in counted} - {day.number for day in left} == {TODAY - 9, TODAY - 12}
    assert [new.bounces - old.bounces for old, new in zip(counted, again, strict=True) if new != old] == [-1, 1]


def test_counted_days_are_forgotten_with_their_bounces(store: Store) -> None:
    come(store, [NOON - n * DAY for n in range(40)])
    store.count_days(NOON - SPAN, NOON, WHOSE[0])
    store.tidy(NOON - 10 * DAY + KEPT)

    assert [day.number for day in store.counted_days(0, TODAY, WHOSE[0])] == list(range(TODAY - 9, TODAY))
