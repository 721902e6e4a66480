"""The store keeps what it was told, whatever ends the process, and says plainly when it cannot."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.backscatter.volume import Sighting
from bouncefiler.edge.store import KEPT, MIGRATIONS, Store, StoreReader, open_for_reading, open_store, schema
from bouncefiler.errors import StoreBroken, StoreBusy
from bouncefiler.filing.plan import (
    Arrival,
    JournalEntry,
    Judged,
    Left,
    MessageRef,
    Method,
    Move,
    MoveBatch,
    Outcome,
    Plan,
    Settlement,
    Watermark,
)
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind, Recipient, Verdict
from bouncefiler.report.chronicle import DayTotal
from bouncefiler.sweep import FolderState, Journal, Ledger, Moved, Report

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TARGET = FolderState("Bounces", uidvalidity=77, uidnext=500, exists=3)
ALERT = Alert("backscatter 1", Level.WARNING, "Many bounces", "Somebody uses your address.\nYou can't stop it.")
INCIDENT = Incident(
    Diagnosis.BACKSCATTER, NOON - HOUR, NOON, count=40, usual=0.3, total=52, peak=40, began=NOON - 2 * HOUR, earlier=12
)


def fingerprint(number: int) -> Fingerprint:
    return Fingerprint(sha256(str(number).encode()).hexdigest()[:32])


def judged(uid: int, kind: Kind = Kind.FAILED, received_at: datetime = NOON, subject: str = "Undelivered") -> Judged:
    arrival = Arrival(MessageRef("INBOX", 9, uid), fingerprint(uid), received_at, size=1_000 + uid)
    cause = Cause.USER_UNKNOWN if kind.is_bounce else None
    return Judged(arrival, Verdict(kind, cause, (Recipient(f"r{uid}@example.net"),)), subject)


def batch_of(*moved: Judged) -> MoveBatch:
    return MoveBatch("INBOX", 9, "Bounces", tuple(Move(item, item.verdict.kind, by_rule=False) for item in moved))


def batch(*uids: int) -> MoveBatch:
    return batch_of(*map(judged, uids))


def all_moved(what: MoveBatch) -> Moved:
    return Moved(77, {uid: 500 + uid for uid in what.uids})


def sighting(number: int, received_at: datetime = NOON, provenance: Provenance = Provenance.UNKNOWN) -> Sighting:
    return Sighting(fingerprint(number), received_at, Kind.FAILED, Cause.MAILBOX_FULL, provenance)


def file_away(store: Store, what: MoveBatch, now: datetime = NOON) -> int:
    run = store.begin_run("clean", now)
    store.intend(what, TARGET, Method.MOVE)
    store.settle_moved(what, all_moved(what))
    store.end_run(now, Report(scanned=len(what.moves), moved=len(what.moves)))
    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "home.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with open_store(path, holder="clean") as opened:
        yield opened


@pytest.fixture
def running(store: Store) -> Store:
    """A store in whose journal moves can be intended."""
    store.begin_run("clean", NOON)
    return store


def uids(entries: tuple[JournalEntry, ...]) -> list[int]:
    return [entry.ref.uid for entry in entries]


class TestJournal:
    def test_it_is_the_journal_that_a_sweep_asks_for(self, path: Path) -> None:
        """mypy checks the protocols here."""
        with open_store(path, holder="clean") as opened:
            journal: Journal = opened
        with open_for_reading(path) as reader:
            ledger: Ledger = reader

        assert journal
        assert ledger

    def test_an_intent_is_kept_with_all_that_it_takes_to_find_out_its_end(self, running: Store) -> None:
        running.intend(batch(3), TARGET, Method.COPY)

        (entry,) = running.open_entries()
        assert entry == JournalEntry(
            entry.id, MessageRef("INBOX", 9, 3), fingerprint(3), 1_003, NOON, "Bounces", 77, 500, Method.COPY
        )

    def test_what_the_server_named_is_settled_and_the_rest_stays_open(self, running: Store) -> None:
        running.intend(batch(3, 4, 5), TARGET, Method.MOVE)

        assert running.settle_moved(batch(3, 4, 5), Moved(77, {3: 500, 5: 501})) == 2

        assert uids(running.open_entries()) == [4]
        assert running.history(NOON) == running.history(NOON - DAY)
        assert len(running.history(NOON)) == 2

    @pytest.mark.parametrize("said", [None, {}, {99: 500}], ids=["nothing", "none", "another"])
    def test_a_server_that_names_none_of_ours_settles_none(self, running: Store, said: dict[int, int] | None) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)

        assert running.settle_moved(batch(3), Moved(77, said)) == 0
        assert uids(running.open_entries()) == [3]

    def test_settling_a_batch_touches_no_other(self, running: Store) -> None:
        other = replace(batch(3), source="Junk")
        running.intend(other, TARGET, Method.MOVE)
        running.intend(batch(3), TARGET, Method.MOVE)
        running.settle_moved(batch(3), all_moved(batch(3)))

        assert [entry.ref.folder for entry in running.open_entries()] == ["Junk"]

    @pytest.mark.parametrize(
        ("outcome", "counted"), [(Outcome.MOVED, 1), (Outcome.GONE, 0), (Outcome.VOID, 0)], ids=str
    )
    def test_an_end_that_was_found_out_is_kept_and_only_a_moved_bounce_counts(
        self, running: Store, outcome: Outcome, counted: int
    ) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)
        (entry,) = running.open_entries()
        to = MessageRef("Bounces", 78, 12) if outcome is Outcome.MOVED else None

        running.settle([Settlement(entry, outcome, to)])
        run = running.begin_run("clean", NOON)

        assert running.open_entries() == ()
        assert len(running.history(NOON)) == counted
        assert len(running.filed({fingerprint(3)})) == counted
        assert [filed.to for filed in running.filed_in(run - 1)] == [to] * counted

    def test_what_is_settled_stays_as_it_is(self, running: Store) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)
        (entry,) = running.open_entries()
        running.settle_moved(batch(3), all_moved(batch(3)))
        running.settle([Settlement(entry, Outcome.VOID)])

        assert running.settle_moved(batch(3), Moved(77, {3: 999})) == 0
        (filed,) = running.filed_in(1)
        assert filed.to == MessageRef("Bounces", 77, 503)

    def test_a_message_that_was_void_can_be_intended_again(self, running: Store) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)
        running.settle(Settlement(entry, Outcome.VOID) for entry in running.open_entries())
        running.intend(batch(3), TARGET, Method.MOVE)

        assert running.settle_moved(batch(3), all_moved(batch(3))) == 1

    def test_what_is_written_at_once_is_written_whole_or_not_at_all(self, running: Store) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)
        plan = Plan(left=(Left(judged(4), "late"),), watermark=Watermark("INBOX", 9, 4))

        def interrupted() -> int:
            running.settle_moved(batch(3), all_moved(batch(3)))
            running.finish(plan)
            return 1 // 0

        with pytest.raises(ZeroDivisionError), running.at_once():
            interrupted()
        assert (uids(running.open_entries()), running.watermark("INBOX"), len(running.history(NOON))) == ([3], None, 0)

        with running.at_once():
            running.settle_moved(batch(3), all_moved(batch(3)))
            running.finish(plan)
        assert (running.open_entries(), running.watermark("INBOX")) == ((), plan.watermark)
        assert len(running.history(NOON)) == 2

    def test_a_move_outside_a_run_is_a_mistake_of_ours(self, store: Store) -> None:
        with pytest.raises(RuntimeError, match="begin_run"):
            store.intend(batch(3), TARGET, Method.MOVE)

        assert store.open_entries() == ()

    def test_other_mail_that_a_rule_files_is_journalled_but_is_no_bounce(self, running: Store) -> None:
        newsletter = batch_of(judged(3, Kind.OTHER))
        running.intend(newsletter, TARGET, Method.MOVE)
        running.settle_moved(newsletter, all_moved(newsletter))

        (filed,) = running.filed_in(1)
        assert (filed.kind, filed.cause) == (Kind.OTHER, None)
        assert running.daily(date(2026, 1, 1)) == ()


class TestFiled:
    def test_what_was_moved_is_known_with_the_last_uid_that_its_folder_had_then(self, running: Store) -> None:
        running.intend(replace(batch(3, 4), source_uidnext=20), TARGET, Method.MOVE)
        running.settle_moved(batch(3, 4), Moved(77, {3: 500}))

        assert running.filed([fingerprint(n) for n in (3, 4, 5)]) == {fingerprint(3): [Watermark("INBOX", 9, 19)]}

    def test_what_was_moved_from_several_folders_is_known_with_each(self, running: Store) -> None:
        for source, uidvalidity, uidnext in (("INBOX", 9, 20), ("INBOX", 10, 5), ("Junk", 9, 7), ("INBOX", 9, 32)):
            moved = replace(batch(3), source=source, uidvalidity=uidvalidity, source_uidnext=uidnext)
            running.intend(moved, TARGET, Method.MOVE)
            running.settle_moved(moved, all_moved(moved))

        marks = running.filed({fingerprint(3)})[fingerprint(3)]
        assert set(marks) == {Watermark("INBOX", 9, 19), Watermark("INBOX", 10, 4), Watermark("Junk", 9, 6)}

    def test_where_settled_moves_went_is_known_by_fingerprint(self, store: Store) -> None:
        file_away(store, batch(3, 4))
        store.begin_run("clean", NOON)
        store.intend(batch(5), TARGET, Method.MOVE)

        asked = {fingerprint(3), fingerprint(5), *map(fingerprint, range(1_000, 2_000))}
        assert store.settled_at(asked) == {MessageRef("Bounces", 77, 503)}

    def test_any_number_can_be_asked_for(self, store: Store) -> None:
        file_away(store, batch(*range(1, 1_700)))

        assert store.filed({fingerprint(n) for n in range(3_000)}).keys() == {fingerprint(n) for n in range(1, 1_700)}
        assert store.filed(()) == {}


class TestRuns:
    def test_a_run_is_kept_with_its_report(self, store: Store) -> None:
        report = Report(scanned=6, moved=5, left=4, gone=3, unsettled=2, settled=1)
        store.begin_run("clean --since 2026", NOON)
        store.end_run(NOON + HOUR, report)
        store.begin_run("run", NOON + DAY)

        latest, first = store.runs()
        assert (first.command, first.began, first.ended) == ("clean --since 2026", NOON, NOON + HOUR)
        assert first.report == report
        assert (latest.command, latest.ended) == ("run", None)
        assert store.runs(limit=1) == (latest,)

    def test_each_move_is_listed_with_its_run_exactly_enough_to_undo_it(self, store: Store) -> None:
        first = file_away(store, batch(3, 4))
        second = file_away(store, batch(5))

        assert [filed.ref.uid for filed in store.filed_in(first)] == [3, 4]
        (filed,) = store.filed_in(second)
        assert filed.to == MessageRef("Bounces", 77, 505)
        assert (filed.ref, filed.fingerprint) == (MessageRef("INBOX", 9, 5), fingerprint(5))
        assert (filed.received_at, filed.kind, filed.cause) == (NOON, Kind.FAILED, Cause.USER_UNKNOWN)
        assert (filed.subject, filed.recipients) == ("Undelivered", ("r5@example.net",))

    def test_hostile_words_are_kept_short_and_storable(self, running: Store) -> None:
        verdict = Verdict(Kind.FAILED, Cause.UNKNOWN, tuple(Recipient("\ud800" * 9_000) for _ in range(5_000)))
        hostile = batch_of(replace(judged(3, subject="\ud800\0\x1b]" * 9_000), verdict=verdict))
        running.intend(hostile, TARGET, Method.MOVE)
        running.settle_moved(hostile, all_moved(hostile))

        (filed,) = running.filed_in(1)
        assert len(filed.subject) == 200
        assert [len(recipient) for recipient in filed.recipients] == [100] * 3


class TestUndone:
    def test_what_is_put_back_is_no_longer_offered_and_counts_no_second_time(self, store: Store) -> None:
        run = file_away(store, batch(3, 4))
        (first, second) = store.filed_last()
        counted, known = list(store.history(NOON)), store.filed({fingerprint(3)})

        put_back(store, first.id, 3)

        assert [(filed.undone, filed.undoes) for filed in store.filed_in(run)] == [(True, None), (False, None)]
        assert [filed.id for filed in store.filed_since(NOON)] == [second.id]
        assert (list(store.history(NOON)), store.filed({fingerprint(3)})) == (counted, known)
        assert [(past.id, past.command, past.moved, past.undone) for past in store.past_runs()] == [
            (run + 1, "undo", 1, 0),
            (run, "clean", 2, 1),
        ]

    def test_the_last_run_is_the_last_one_of_which_something_is_still_filed(self, store: Store) -> None:
        file_away(store, batch(3))
        file_away(store, batch(4))
        (last,) = store.filed_last()
        put_back(store, last.id, 4)
        store.begin_run("run", NOON)

        assert [filed.ref.uid for filed in store.filed_last()] == [3]

    def test_what_was_only_intended_is_not_undone_and_says_which_way_it_was_to_go(self, store: Store) -> None:
        file_away(store, batch(3))
        (filed,) = store.filed_last()
        store.begin_run("undo", NOON)
        store.intend(way_back(filed.id, 3), FolderState("INBOX", 9, 20, 1), Method.COPY)

        assert [entry.puts_back for entry in store.open_entries()] == [True]
        assert not store.filed_as(filed.id)[0].undone

    def test_a_number_that_nothing_has_gives_nothing(self, store: Store) -> None:
        assert store.filed_as(7) == store.filed_last() == ()
        assert store.past_runs() == ()

    def test_runs_before_a_time_are_left_out(self, store: Store) -> None:
        file_away(store, batch(3), NOON - DAY)
        file_away(store, batch(4), NOON)

        assert [past.began for past in store.past_runs(NOON - HOUR)] == [NOON]
        assert [filed.ref.uid for filed in store.filed_since(NOON - HOUR)] == [4]
        assert len(store.past_runs(limit=1)) == 1


def way_back(undoes: int, uid: int) -> MoveBatch:
    arrival = Arrival(MessageRef("Bounces", 77, 500 + uid), fingerprint(uid), NOON, size=1_000 + uid)
    item = Judged(arrival, Verdict(Kind.FAILED, Cause.USER_UNKNOWN))
    return MoveBatch("Bounces", 77, "INBOX", (Move(item, "undo", by_rule=False, undoes=undoes),), 600)


def put_back(store: Store, undoes: int, uid: int) -> None:
    back = way_back(undoes, uid)
    store.begin_run("undo", NOON)
    store.intend(back, FolderState("INBOX", 9, 20, 1), Method.MOVE)
    store.settle_moved(back, Moved(9, {500 + uid: 20}))
    store.end_run(NOON, Report(moved=1))


class TestWatermark:
    def test_a_folder_that_was_never_read_has_none(self, store: Store) -> None:
        assert store.watermark("INBOX") is None

    def test_it_rises(self, store: Store) -> None:
        store.finish(Plan(watermark=Watermark("INBOX", 9, 100)))
        store.finish(Plan(watermark=Watermark("INBOX", 9, 200)))
        store.finish(Plan(watermark=Watermark("Junk", 1, 5)))
        store.finish(Plan())

        assert store.watermark("INBOX") == Watermark("INBOX", 9, 200)

    def test_it_is_never_lowered(self, store: Store) -> None:
        store.finish(Plan(watermark=Watermark("INBOX", 9, 200)))
        store.finish(Plan(watermark=Watermark("INBOX", 9, 100)))

        assert store.watermark("INBOX") == Watermark("INBOX", 9, 200)

    def test_a_renumbered_folder_begins_anew(self, store: Store) -> None:
        store.finish(Plan(watermark=Watermark("INBOX", 9, 200)))
        store.finish(Plan(watermark=Watermark("INBOX", 10, 100)))

        assert store.watermark("INBOX") == Watermark("INBOX", 10, 100)


class TestSightings:
    def test_a_bounce_counts_once_however_often_it_is_seen(self, store: Store) -> None:
        left = Plan(left=(Left(judged(3), "put back by you"), Left(judged(4, Kind.DELAYED), "late")))
        file_away(store, batch(3))
        store.finish(left)
        store.finish(left)
        store.remember([sighting(3), sighting(3)])
        file_away(store, batch(3))

        assert [total.count for total in store.daily(NOON.date())] == [1, 1]

    def test_ordinary_mail_that_was_left_is_not_counted(self, store: Store) -> None:
        store.finish(Plan(left=(Left(judged(3, Kind.AUTOREPLY), "an automatic reply"),)))

        assert store.daily(date(2020, 1, 1)) == ()
        assert list(store.history(NOON - DAY)) == []

    def test_history_is_the_failures_that_may_be_backscatter_in_order(self, store: Store) -> None:
        store.remember(
            [
                sighting(1, NOON + HOUR),
                sighting(2, NOON, Provenance.FORGED),
                sighting(3, NOON + 2 * HOUR, Provenance.GENUINE),
                sighting(4, NOON - DAY),
                replace(sighting(5), kind=Kind.DELAYED),
            ]
        )

        assert list(store.history(NOON)) == [int(NOON.timestamp()), int((NOON + HOUR).timestamp())]

    def test_history_takes_eight_octets_a_bounce(self, store: Store) -> None:
        store.remember(sighting(n, NOON + n * HOUR) for n in range(100))

        assert memoryview(store.history(NOON)).nbytes == 800

    def test_a_time_without_a_zone_is_a_mistake_of_ours(self, store: Store) -> None:
        with pytest.raises(ValueError, match="zone"):
            store.remember([sighting(1, datetime(2026, 3, 1))])  # noqa: DTZ001 - that is the point

    def test_what_a_number_in_the_file_means_never_changes(self) -> None:
        assert " ".join(schema.KINDS) == (
            "other failed delayed delivered feedback autoreply receipt challenge imitation"
        )
        assert " ".join(schema.CAUSES) == (
            "unknown mailbox-full user-unknown mailbox-disabled domain-unknown sender-blocked auth-failed "
            "content-rejected message-too-big relay-denied rate-limited unreachable policy moved loop protocol-error"
        )
        assert " ".join(schema.PROVENANCES) == "unknown forged genuine"
        assert [str(outcome) for outcome in schema.OUTCOMES] == ["None", "moved", "gone", "void"]

    def test_every_word_has_a_number(self) -> None:
        assert set(schema.KINDS) == set(Kind)
        assert set(schema.CAUSES) == set(Cause)
        assert set(schema.PROVENANCES) == set(Provenance)
        assert set(schema.OUTCOMES) == {None, *Outcome}


class TestTidy:
    def test_old_sightings_live_on_as_totals_of_their_days(self, store: Store) -> None:
        store.remember([sighting(1), sighting(2), sighting(3, NOON + DAY, Provenance.FORGED)])
        before = store.daily(date(2026, 1, 1))
        store.tidy(NOON + KEPT + 7 * DAY)

        assert store.daily(date(2026, 1, 1)) == before
        assert before == (
            DayTotal(date(2026, 3, 1), Kind.FAILED, Cause.MAILBOX_FULL, Provenance.UNKNOWN, 2),
            DayTotal(date(2026, 3, 2), Kind.FAILED, Cause.MAILBOX_FULL, Provenance.FORGED, 1),
        )
        assert len(store.history(NOON)) == 0

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 9).map(lambda day: NOON + KEPT + day * DAY))))
    def test_whatever_comes_again_after_whatever_tidying_counts_once(self, steps: list[int | datetime]) -> None:
        with tempfile.TemporaryDirectory() as place, open_store(Path(place, "s"), holder="test") as store:
            store.begin_run("clean", NOON)
            for step in steps:
                if isinstance(step, datetime):
                    store.tidy(step)
                elif step % 2:
                    store.remember([sighting(step, NOON + step * DAY)])
                else:
                    again = batch_of(judged(step, received_at=NOON + step * DAY))
                    store.intend(again, TARGET, Method.MOVE)
                    store.settle_moved(again, all_moved(again))

            seen = {step for step in steps if isinstance(step, int)}
            assert sum(total.count for total in store.daily(NOON.date())) == len(seen)

    def test_old_moves_are_dropped_and_still_known_as_filed(self, store: Store) -> None:
        old = file_away(store, batch(3), NOON)
        new = file_away(store, batch(4), NOON + KEPT)
        store.tidy(NOON + KEPT + DAY)

        assert store.filed_in(old) == ()
        assert [run.id for run in store.runs()] == [new]
        assert len(store.filed_in(new)) == 1
        assert store.filed({fingerprint(3), fingerprint(4)}).keys() == {fingerprint(3), fingerprint(4)}

    def test_mail_that_is_old_but_was_filed_lately_can_still_be_undone(self, store: Store) -> None:
        run = file_away(store, batch_of(judged(3, received_at=NOON - 2 * KEPT)))
        store.tidy(NOON + DAY)

        assert len(store.filed_in(run)) == 1

    def test_what_is_not_settled_is_kept_however_old(self, running: Store) -> None:
        running.intend(batch(3, 4), TARGET, Method.MOVE)
        running.settle_moved(batch(3, 4), Moved(77, {3: 500}))
        running.tidy(NOON + 3 * KEPT)

        assert uids(running.open_entries()) == [4]
        assert len(running.runs()) == 1

    def test_runs_that_moved_nothing_go_after_a_week_but_never_the_last_one(self, store: Store) -> None:
        filed = file_away(store, batch(3))
        for minute in range(3):
            store.begin_run("run", NOON + timedelta(minutes=minute))
            store.end_run(NOON + timedelta(minutes=minute), Report())
        store.tidy(NOON + 8 * DAY)

        assert [run.id for run in store.runs()] == [filed + 3, filed]

    def test_sent_alerts_and_old_refusals_go_and_what_is_due_stays(self, store: Store) -> None:
        store.record(INCIDENT, [("log", ALERT), ("inbox", ALERT)], NOON)
        store.alert_sent(store.alerts_waiting()[0].id, NOON)
        store.login_refused("aabbccdd", NOON)
        store.login_refused("11223344", NOON + 2 * DAY)
        store.tidy(NOON + KEPT + DAY)

        assert [due.channel for due in store.alerts_waiting()] == ["inbox"]
        assert store._db.execute("SELECT count(*) FROM outbox").fetchone() == (1,)
        assert (store.refusals("aabbccdd"), store.refusals("11223344")) == (0, 1)

    def test_the_file_gives_back_the_room(self, store: Store, path: Path) -> None:
        store.remember(sighting(n) for n in range(5_000))
        before = store._db.execute("PRAGMA page_count").fetchone()[0]
        store.tidy(NOON + KEPT + DAY)

        assert store._db.execute("PRAGMA page_count").fetchone()[0] < before
        assert store._db.execute("PRAGMA freelist_count").fetchone() == (0,)

    def test_with_nothing_to_do_it_writes_nothing(self, store: Store, path: Path) -> None:
        file_away(store, batch(3))
        log = path.with_name("home.db-wal")
        before = log.read_bytes()
        store.tidy(NOON + DAY)

        assert log.read_bytes() == before


class TestIncidents:
    def test_there_is_none_at_first(self, store: Store) -> None:
        assert store.incident() is None
        assert store.last_incident() is None

    def test_it_is_kept_as_it_was_to_the_microsecond(self, store: Store) -> None:
        odd = replace(INCIDENT, opened=NOON.replace(microsecond=123_457), notified=NOON, notified_count=40)
        kept = store.record(odd, [], NOON)

        assert kept == replace(odd, id=kept.id)
        assert store.incident() == kept
        assert store.last_incident() == kept

    def test_it_grows_and_closes_as_one(self, store: Store) -> None:
        kept = store.record(INCIDENT, [], NOON)
        store.record(replace(kept, total=90, peak=60), [], NOON)
        closed = store.record(replace(kept, total=95, closed=NOON + DAY), [], NOON + DAY)

        assert closed.id == kept.id
        assert store.incident() is None
        assert store.last_incident() == closed

    def test_the_next_wave_is_another(self, store: Store) -> None:
        closed = store.record(replace(INCIDENT, closed=NOON), [], NOON)
        open_ = store.record(INCIDENT, [], NOON + DAY)

        assert open_.id != closed.id
        assert store.incident() == store.last_incident() == open_


class TestOutbox:
    def test_an_alert_is_due_in_each_of_its_channels_until_it_is_sent(self, store: Store) -> None:
        store.record(INCIDENT, [("log", ALERT), ("inbox", ALERT)], NOON)

        first, second = store.alerts_waiting()
        assert (first.channel, first.alert, first.attempts) == ("log", ALERT, 0)
        store.alert_sent(first.id, NOON)
        assert store.alerts_waiting() == (second,)

    def test_the_same_news_is_not_told_twice(self, store: Store) -> None:
        store.record(INCIDENT, [("log", ALERT)], NOON)
        store.record(INCIDENT, [("log", replace(ALERT, body="as it were"))], NOON)
        (due,) = store.alerts_waiting()
        store.alert_sent(due.id, NOON)
        store.record(INCIDENT, [("log", ALERT)], NOON)

        assert due.alert == ALERT
        assert store.alerts_waiting() == ()

    def test_a_failed_one_is_due_again_when_it_was_said(self, store: Store) -> None:
        store.record(INCIDENT, [("inbox", ALERT)], NOON)
        (due,) = store.alerts_waiting()
        store.alert_failed(due.id, NOON + HOUR, "the account is full")

        (again,) = store.alerts_waiting()
        assert (again.id, again.due, again.attempts, again.why) == (due.id, NOON + HOUR, 1, "the account is full")

    def test_what_an_alert_made_moot_is_not_told_again(self, store: Store) -> None:
        """Not even when the same news is put there anew."""
        later = replace(ALERT, key="later")
        store.record(INCIDENT, [("log", ALERT), ("log", later)], NOON)
        first, second = store.alerts_waiting()
        store.alert_sent(second.id, NOON, instead_of=(first.id,))
        store.record(INCIDENT, [("log", ALERT)], NOON)

        assert store.alerts_waiting() == ()
        assert store.alerts_sent(NOON) == (("log", NOON),)

    def test_an_alert_that_was_sent_cannot_be_given_up(self, store: Store) -> None:
        store.record(INCIDENT, [("log", ALERT)], NOON)
        (due,) = store.alerts_waiting()
        store.alert_sent(due.id, NOON)
        store.alerts_given_up((due.id,), NOON + HOUR)

        assert store._db.execute("SELECT moot FROM outbox").fetchall() == [(None,)]

    def test_an_alert_for_several_channels_is_parted_once(self, store: Store) -> None:
        """A channel that has had it does not get it again, whatever others there are by then."""
        store.record(INCIDENT, [("notify", ALERT)], NOON)
        (whole,) = store.alerts_waiting()
        store.alert_parted(whole.id, ("notify:a", "notify:b"), NOON)
        store.alert_parted(whole.id, ("notify:a", "notify:c"), NOON)
        store.record(INCIDENT, [("notify", ALERT)], NOON)

        assert [(one.channel, one.alert) for one in store.alerts_waiting()] == [
            (f"notify:{name}", ALERT) for name in "abc"
        ]

    def test_alerts_given_up_go_as_sent_ones_do(self, store: Store) -> None:
        store.record(INCIDENT, [("log", ALERT)], NOON)
        store.alerts_given_up([one.id for one in store.alerts_waiting()], NOON)
        store.tidy(NOON + KEPT + DAY)

        assert store._db.execute("SELECT count(*) FROM outbox").fetchone() == (0,)

    def test_an_alert_that_was_being_sent_when_the_process_was_killed_is_due_again(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="run") as opened:
                opened.record(INCIDENT, [("inbox", ALERT)], NOON)
                report.send(len(opened.alerts_waiting()))
                block()

        assert killed(child) == [1]
        with open_store(path, holder="run") as opened:
            assert [due.alert for due in opened.alerts_waiting()] == [ALERT]

    def test_an_incident_and_its_alerts_are_kept_together_or_not_at_all(self, store: Store) -> None:
        def alerts() -> Any:
            yield "log", ALERT
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.record(INCIDENT, alerts(), NOON)

        assert store.incident() is None
        assert store.alerts_waiting() == ()


class TestLogins:
    def test_refusals_are_counted_for_each_credential_and_over_restarts(self, path: Path) -> None:
        with open_store(path, holder="run") as opened:
            wrong, other = opened.key_for("me\0wrong"), opened.key_for("me\0other")
            assert not opened.refused_any()
            assert [opened.login_refused(wrong, NOON), opened.login_refused(wrong, NOON)] == [1, 2]
            assert opened.refused_any()
        with open_for_reading(path) as reader:
            assert reader.key_for("me\0wrong") == wrong
            assert (reader.refusals(wrong), reader.refusals(other)) == (2, 0)

    def test_an_accepted_login_forgets_them(self, store: Store) -> None:
        store.login_refused(store.key_for("wrong"), NOON)
        store.login_accepted()

        assert store.refusals(store.key_for("wrong")) == 0
        assert not store.refused_any()

    def test_a_credential_has_another_name_in_each_store_and_is_in_none(self, store: Store, tmp_path: Path) -> None:
        key = store.key_for("correct horse")
        store.login_refused(key, NOON)
        with open_store(tmp_path / "other.db", holder="run") as other:
            assert other.key_for("correct horse") != key

        assert len(key) == 8
        assert b"horse" not in store._path.read_bytes() + store._path.with_name("home.db-wal").read_bytes()


def block() -> None:
    """Wait to be killed."""
    while True:
        os.read(os.pipe()[0], 1)


def start(child: Callable[[Connection], None]) -> tuple[multiprocessing.context.ForkProcess, Connection]:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=child, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def killed(child: Callable[[Connection], None], after: int = 1) -> list[Any]:
    """Let the child run until it has said `after` things, kill it; return all that it said."""
    process, ours = start(child)
    try:
        said = [ours.recv() for _ in range(after)]
    finally:
        process.kill()
        process.join()
    try:
        while True:
            said.append(ours.recv())
    except EOFError:
        return said


def answer(child: Callable[[], object]) -> Any:
    """What the child returns, or the error that it raises."""

    def told(report: Connection) -> None:
        try:
            report.send(child())
        except BaseException as exc:  # noqa: BLE001 - the parent looks at it
            report.send(exc)

    process, ours = start(told)
    try:
        return ours.recv()
    finally:
        process.join()


def stops_at_the_second(report: Connection, items: tuple[Any, ...]) -> Iterator[Any]:
    """Hand out the first item; at the second, say so and wait to be killed."""
    yield items[0]
    report.send("inside")
    block()


class TestKill:
    def test_within_intend_nothing_was_intended(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                moves: Any = stops_at_the_second(report, batch(3, 4).moves)
                opened.intend(replace(batch(), moves=moves), TARGET, Method.MOVE)

        assert killed(child) == ["inside"]
        with open_for_reading(path) as reader:
            assert reader.open_entries() == ()
            assert [run.ended for run in reader.runs()] == [None]

    def test_between_intend_and_settle_all_is_open(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                opened.intend(batch(3, 4), TARGET, Method.MOVE)
                report.send("intended")
                block()

        assert killed(child) == ["intended"]
        with open_for_reading(path) as reader:
            assert uids(reader.open_entries()) == [3, 4]
            assert len(reader.history(NOON)) == 0

    def test_within_settle_moved_all_is_still_open_and_nothing_counted(self, path: Path) -> None:
        def child(report: Connection) -> None:
            class Named(dict[int, int]):
                def __getitem__(self, uid: int) -> int:
                    if uid == 4:
                        report.send("inside")
                        block()
                    return super().__getitem__(uid)

            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                opened.intend(batch(3, 4), TARGET, Method.MOVE)
                opened.settle_moved(batch(3, 4), Moved(77, Named({3: 500, 4: 501})))

        assert killed(child) == ["inside"]
        with open_for_reading(path) as reader:
            assert uids(reader.open_entries()) == [3, 4]
            assert reader.filed({fingerprint(3)}) == {}
            assert len(reader.history(NOON)) == 0

    def test_after_settle_moved_all_is_settled_and_counted(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                opened.intend(batch(3, 4), TARGET, Method.MOVE)
                report.send(opened.settle_moved(batch(3, 4), all_moved(batch(3, 4))))
                block()

        assert killed(child) == [2]
        with open_for_reading(path) as reader:
            assert reader.open_entries() == ()
            assert reader.filed({fingerprint(3), fingerprint(4)}).keys() == {fingerprint(3), fingerprint(4)}
            assert len(reader.history(NOON)) == 2

    def test_within_finish_the_watermark_stays_below_what_was_not_counted(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="clean") as opened:
                left: Any = stops_at_the_second(report, (Left(judged(3), "late"), Left(judged(4), "late")))
                opened.finish(Plan(left=left, watermark=Watermark("INBOX", 9, 4)))

        assert killed(child) == ["inside"]
        with open_for_reading(path) as reader:
            assert reader.watermark("INBOX") is None
            assert len(reader.history(NOON)) == 0

    @pytest.mark.parametrize("after", [1, 2, 3, 8, 21, 60])
    def test_whenever_it_comes_what_was_said_to_be_done_is_done(self, path: Path, after: int) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                for uid in range(1, 10_000):
                    opened.intend(batch(uid), TARGET, Method.MOVE)
                    report.send(("intended", uid))
                    opened.settle_moved(batch(uid), all_moved(batch(uid)))
                    report.send(("settled", uid))

        said = killed(child, after)
        with open_for_reading(path) as reader:
            entries = uids(reader.open_entries())
            settled = {filed.ref.uid for filed in reader.filed_in(1)}
            assert settled >= {uid for word, uid in said if word == "settled"}
            assert settled | set(entries) >= {uid for _, uid in said}
            assert settled.isdisjoint(entries)
            assert len(reader.history(NOON)) == len(settled)

    def test_it_lets_go_of_the_lock(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="run"):
                report.send("open")
                block()

        killed(child)
        with open_store(path, holder="clean") as opened:
            assert opened.runs() == ()

    def test_a_commit_reaches_the_disk_before_it_returns(self, store: Store) -> None:
        """A kill cannot show it, losing the power would: FULL is 2 (https://sqlite.org/pragma.html)."""
        assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


class TestLock:
    def test_a_second_one_is_told_who_has_it_and_since_when(self, path: Path) -> None:
        def child(report: Connection) -> None:
            with open_store(path, holder="run --account home"):
                report.send("open")
                block()

        process, ours = start(child)
        ours.recv()
        try:
            with pytest.raises(StoreBusy) as busy:
                open_store(path, holder="clean")
        finally:
            process.kill()
            process.join()
        since = datetime.fromtimestamp(path.with_name("home.db.lock").stat().st_mtime, UTC).astimezone()
        assert f"`bouncefiler run --account home` (process {process.pid})" in str(busy.value)
        assert f"since {since:%Y-%m-%d %H:%M}" in str(busy.value)

    def test_one_process_cannot_have_it_twice(self, store: Store, path: Path) -> None:
        with pytest.raises(StoreBusy, match=str(os.getpid())):
            open_store(path, holder="clean")

    def test_it_names_no_former_holder(self, path: Path) -> None:
        open_store(path, holder="a former holder with much to say").close()
        with open_store(path, holder="run"), pytest.raises(StoreBusy, match=r"^`bouncefiler run` \(process"):
            open_store(path, holder="clean")

    def test_a_lock_that_does_not_say_who_still_holds(self, store: Store, path: Path) -> None:
        path.with_name("home.db.lock").write_bytes(b"\x1b[2J\xff")

        with pytest.raises(StoreBusy, match="another bouncefiler"):
            open_store(path, holder="clean")

    def test_it_is_free_once_the_store_is_closed(self, path: Path) -> None:
        open_store(path, holder="clean").close()
        open_store(path, holder="clean").close()

    def test_it_is_free_once_opening_failed(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"no database" * 100)
        for _ in range(2):
            with pytest.raises(StoreBroken):
                open_store(path, holder="clean")

    def test_a_preview_looks_in_meanwhile_and_sees_what_is_committed(self, running: Store, path: Path) -> None:
        with open_for_reading(path) as reader:
            running.intend(batch(3), TARGET, Method.MOVE)

            assert uids(reader.open_entries()) == [3]


class TestReader:
    def test_a_store_that_does_not_exist_reads_as_empty_and_is_not_made(self, tmp_path: Path) -> None:
        with open_for_reading(tmp_path / "state" / "home.db") as reader:
            assert look_at_everything(reader)

        assert list(tmp_path.iterdir()) == []

    def test_an_empty_file_reads_as_empty_and_stays_so(self, tmp_path: Path) -> None:
        (tmp_path / "home.db").touch()
        with open_for_reading(tmp_path / "home.db") as reader:
            assert reader.open_entries() == ()

        assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("home.db", 0)]

    @pytest.mark.parametrize("sql", ["DELETE FROM filed", "DROP TABLE filed", "PRAGMA user_version = 0"])
    def test_writes_are_refused(self, store: Store, path: Path, sql: str) -> None:
        with open_for_reading(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute(sql)

    def test_it_has_no_method_that_writes(self) -> None:
        writes = {name for name in vars(Store) if not name.startswith("_")}

        assert {name for name in dir(StoreReader) if not name.startswith("_")} & writes == {"close"}


def look_at_everything(reader: StoreReader) -> bool:
    reader.open_entries()
    reader.filed({fingerprint(3)})
    reader.settled_at({fingerprint(3)})
    reader.watermark("INBOX")
    reader.history(NOON - 9_000 * DAY)
    reader.daily(date(1980, 1, 1))
    for run in reader.runs():
        reader.filed_in(run.id)
    reader.past_runs()
    reader.filed_last()
    reader.filed_since(NOON)
    reader.filed_as(1)
    reader.incident()
    reader.last_incident()
    reader.alerts_waiting()
    reader.alerts_sent(NOON - DAY)
    reader.refusals(reader.key_for("secret"))
    return True


def write_everything(store: Store) -> None:
    file_away(store, batch(*range(1, 40)))
    store.begin_run("run", NOON)
    store.intend(batch(50, 51), TARGET, Method.MOVE)
    store.finish(Plan(left=(Left(judged(60), "late"),), watermark=Watermark("INBOX", 9, 60)))
    store.remember(sighting(n, NOON - 500 * DAY) for n in range(100, 130))
    store.record(INCIDENT, [("log", ALERT), ("inbox", ALERT)], NOON)
    store.login_refused(store.key_for("secret"), NOON)
    store.tidy(NOON)


LATER = (*MIGRATIONS, ("ALTER TABLE run ADD COLUMN host TEXT", "CREATE TABLE more (id INTEGER PRIMARY KEY)"))


class TestVersions:
    @pytest.mark.parametrize("version", range(len(MIGRATIONS)))
    def test_every_earlier_version_is_brought_up_to_date(self, path: Path, version: int) -> None:
        open_store(path, holder="clean", migrations=MIGRATIONS[:version]).close()
        with open_store(path, holder="clean") as opened:
            write_everything(opened)

            assert look_at_everything(opened)

    def test_what_was_remembered_is_still_there_afterwards(self, path: Path) -> None:
        with open_store(path, holder="clean") as opened:
            write_everything(opened)
            before = opened.runs(), opened.open_entries(), list(opened.history(NOON)), opened.incident()
        with open_store(path, holder="clean", migrations=LATER) as opened:
            after = opened.runs(), opened.open_entries(), list(opened.history(NOON)), opened.incident()

        assert after == before

    def test_a_preview_reads_an_earlier_version_without_changing_it(self, path: Path) -> None:
        with open_store(path, holder="clean") as opened:
            write_everything(opened)
        before = path.read_bytes()
        with open_for_reading(path, LATER) as reader:
            assert uids(reader.open_entries()) == [50, 51]
            assert reader._db.execute("SELECT count(*) FROM more").fetchone() == (0,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader._db.execute("DELETE FROM more")

        assert path.read_bytes() == before

    def test_a_migration_that_fails_half_way_changes_nothing(self, path: Path) -> None:
        open_store(path, holder="clean").close()
        with pytest.raises(StoreBroken):
            open_store(path, holder="clean", migrations=(*MIGRATIONS, (LATER[-1][0], "CREATE TABLE run (id)")))
        with open_store(path, holder="clean", migrations=LATER) as opened:
            assert opened._db.execute("SELECT host FROM run").fetchall() == []

    @pytest.mark.parametrize("opener", [open_for_reading, lambda path: open_store(path, holder="clean")])
    def test_a_later_version_is_left_alone_and_named(
        self, path: Path, opener: Callable[[Path], StoreReader], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        open_store(path, holder="clean", migrations=LATER).close()
        with sqlite3.connect(path) as db:
            db.execute("UPDATE meta SET value = '7.8.9' WHERE key = 'written_by'")
        db.close()
        before = path.read_bytes()
        with pytest.raises(StoreBroken, match=r"install bouncefiler 7\.8\.9 or later"):
            opener(path)

        assert path.read_bytes() == before

    @pytest.mark.parametrize("opener", [open_for_reading, lambda path: open_store(path, holder="clean")])
    def test_another_programs_file_is_left_alone(self, path: Path, opener: Callable[[Path], StoreReader]) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE moz_places (id INTEGER PRIMARY KEY)")
        db.close()
        before = path.read_bytes()
        with pytest.raises(StoreBroken, match="another program"):
            opener(path)

        assert path.read_bytes() == before


class TestTrouble:
    @pytest.fixture
    def sound(self, path: Path) -> bytes:
        with open_store(path, holder="clean") as opened:
            write_everything(opened)
        return path.read_bytes()

    @pytest.mark.parametrize("opener", [open_for_reading, lambda path: open_store(path, holder="clean")])
    @pytest.mark.parametrize(
        "damage",
        [
            lambda sound: b"this is not a database " * 400,
            lambda sound: sound[: len(sound) // 2],
            lambda sound: sound[:4096] + bytes(len(sound) - 4096),
            lambda sound: sound[:8192] + os.urandom(4096) + sound[12288:],
        ],
        ids=["not a database", "cut short", "zeros", "garbage"],
    )
    def test_a_damaged_file_is_named_with_the_next_step(
        self, path: Path, sound: bytes, damage: Callable[[bytes], bytes], opener: Callable[[Path], StoreReader]
    ) -> None:
        path.write_bytes(damage(sound))

        with pytest.raises(StoreBroken, match="move it away") as broken:
            opener(path)
        assert str(path) in str(broken.value)
        assert "what you had put back may be filed again" in str(broken.value)

    @pytest.mark.parametrize("seed", range(60))
    def test_octets_that_changed_anywhere_are_survived_or_reported(self, path: Path, sound: bytes, seed: int) -> None:
        """Small damage may pass for data; it never ends in an error that is not ours."""
        dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        octets = bytearray(sound)
        for _ in range(dice.randint(1, 12)):
            octets[dice.randrange(len(octets))] = dice.randrange(256)
        path.write_bytes(octets)

        with suppress(StoreBroken):
            with open_for_reading(path) as reader:
                look_at_everything(reader)
            with open_store(path, holder="clean") as opened:
                write_everything(opened)

    @pytest.mark.parametrize(
        "nonsense",
        [
            "UPDATE move SET kind = 99",
            "UPDATE move SET recipients = 'r1@example.net'",
            "UPDATE move SET received_at = 1e18",
            "UPDATE move SET fingerprint = 5",
            "UPDATE batch SET method = 'carry'",
            "UPDATE sighting SET received_at = 'yesterday'",
            "UPDATE day_total SET day = 1e12",
            "UPDATE incident SET diagnosis = 'bad luck'",
            "UPDATE outbox SET level = 'loud'",
            "UPDATE meta SET value = 5 WHERE key = 'salt'",
            "DELETE FROM meta",
        ],
    )
    def test_a_value_that_makes_no_sense_is_damage(self, path: Path, sound: bytes, nonsense: str) -> None:
        with sqlite3.connect(path) as db:
            db.execute(nonsense)
        db.close()
        with open_for_reading(path) as reader, pytest.raises(StoreBroken, match="move it away"):
            look_at_everything(reader)

    def test_damage_that_shows_only_later_is_reported_then(
        self, path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Large files are not checked whole when they are opened."""
        monkeypatch.setattr("bouncefiler.edge.store.database.CHEAP_TO_CHECK", 0)
        with sqlite3.connect(path) as db:
            (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'move'").fetchone()
        db.close()
        path.write_bytes(sound[: (root - 1) * 4096] + bytes(4096) + sound[root * 4096 :])
        with open_for_reading(path) as reader, pytest.raises(StoreBroken, match="move it away"):
            look_at_everything(reader)

    def test_once_moved_away_it_begins_anew(self, path: Path, sound: bytes) -> None:
        path.write_bytes(b"no database")
        path.with_name("home.db-wal").write_bytes(b"\0" * 9_000)
        path.rename(path.with_name("home.db.broken"))
        with open_store(path, holder="clean") as opened:
            assert opened.watermark("INBOX") is None
            write_everything(opened)

    def test_a_full_disk_stops_before_anything_is_moved(self, running: Store) -> None:
        pages = running._db.execute("PRAGMA page_count").fetchone()[0]
        running._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreBroken, match="make room"):
            running.intend(batch(*range(1, 2_000)), TARGET, Method.MOVE)
        assert running.open_entries() == ()

        running._db.execute("PRAGMA max_page_count = 1000000")
        running.intend(batch(3), TARGET, Method.MOVE)
        assert uids(running.open_entries()) == [3]

    def test_a_disk_that_refuses_to_grow_the_file_leaves_the_moves_open(self, path: Path) -> None:
        """A limit on file sizes stands in for the full disk: the log cannot take the settlement."""

        def child() -> object:
            with open_store(path, holder="clean") as opened:
                opened.begin_run("clean", NOON)
                opened.intend(batch(3, 4), TARGET, Method.MOVE)
                size = path.with_name("home.db-wal").stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                opened.settle_moved(batch(3, 4), all_moved(batch(3, 4)))
            return None

        error = answer(child)
        assert isinstance(error, StoreBroken)
        assert "is it full" in str(error)
        with open_for_reading(path) as reader:
            assert uids(reader.open_entries()) == [3, 4]
            assert len(reader.history(NOON)) == 0

    @pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "locked up"])
    def test_a_directory_that_cannot_be_written_is_named(self, mode: int) -> None:
        with tempfile.TemporaryDirectory() as top:
            place = Path(top, "state")
            place.mkdir()
            place.chmod(mode)
            Path(top).chmod(0o755)
            error = answer(lambda: as_nobody(lambda: open_store(place / "home.db", holder="clean")))
            place.chmod(0o755)

        assert isinstance(error, StoreBroken)
        assert "Permission denied" in str(error)
        assert str(place) in str(error)

    def test_a_file_that_cannot_be_written_is_refused_before_anything_is_moved(self) -> None:
        with tempfile.TemporaryDirectory() as top:
            path = Path(top, "home.db")
            open_store(path, holder="clean").close()
            path.chmod(0o444)
            path.with_name("home.db.lock").chmod(0o666)
            Path(top).chmod(0o777)
            error = answer(lambda: as_nobody(lambda: open_store(path, holder="clean")))

        assert isinstance(error, StoreBroken)
        assert "Permission denied" in str(error)

    @pytest.mark.parametrize("opener", [open_for_reading, lambda path: open_store(path, holder="clean")])
    def test_a_directory_in_its_place_is_named(self, path: Path, opener: Callable[[Path], StoreReader]) -> None:
        path.mkdir(parents=True)
        with pytest.raises(StoreBroken, match=r"home\.db"):
            opener(path)

    def test_a_file_in_the_place_of_its_directory_is_named(self, path: Path) -> None:
        path.parent.write_text("")
        with pytest.raises(StoreBroken, match=r"home\.db"):
            open_store(path, holder="clean")

    @pytest.mark.parametrize("name", ["home.db", "home.db.lock"])
    def test_a_file_that_was_removed_or_replaced_while_in_use_takes_no_more_intents(
        self, running: Store, path: Path, name: str
    ) -> None:
        path.with_name(name).unlink()
        with pytest.raises(StoreBroken, match=r"home\.db"):
            running.intend(batch(3), TARGET, Method.MOVE)
        path.with_name(name).touch()
        with pytest.raises(StoreBroken, match="replaced"):
            running.intend(batch(3), TARGET, Method.MOVE)

    def test_what_another_program_holds_is_busy_not_broken(self, store: Store, path: Path) -> None:
        store._db.execute("PRAGMA busy_timeout = 1")
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy):
                store.finish(Plan(watermark=Watermark("INBOX", 9, 1)))
        other.close()


def as_nobody(act: Callable[[], StoreReader]) -> None:
    """Do it as a user to whom permissions apply."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65_534)
        os.setuid(65_534)
    act().close()


class TestPrivacy:
    def test_the_files_and_the_directory_are_for_the_owner_alone(self, running: Store, path: Path) -> None:
        running.intend(batch(3), TARGET, Method.MOVE)

        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["home.db", "home.db-shm", "home.db-wal", "home.db.lock"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_a_file_that_others_could_read_is_closed_to_them(self, path: Path) -> None:
        open_store(path, holder="clean").close()
        path.chmod(0o644)
        open_store(path, holder="clean").close()

        assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestSpeed:
    def test_no_statement_reads_a_large_table_from_end_to_end(self, path: Path) -> None:
        """However many sightings, moves and filed messages there are."""
        statements: set[str] = set()
        with open_store(path, holder="clean") as opened:
            opened._db.set_trace_callback(statements.add)
            write_everything(opened)
            opened.settle([Settlement(entry, Outcome.MOVED) for entry in opened.open_entries()])
            look_at_everything(opened)
            opened._db.set_trace_callback(None)
            large = ("move", "sighting", "filed", "folded")
            plans = {
                sql: [row[3] for row in opened._db.execute(f"EXPLAIN QUERY PLAN {sql}")]
                for sql in statements
                if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE"))
            }

        scans = [(sql, step) for sql, steps in plans.items() for step in steps if step in {f"SCAN {t}" for t in large}]
        assert len(plans) > 30
        assert scans == []

    def test_the_history_is_read_from_its_index_in_order(self, store: Store) -> None:
        statements: list[str] = []
        store._db.set_trace_callback(statements.append)
        store.history(NOON)
        plan = [row[3] for row in store._db.execute(f"EXPLAIN QUERY PLAN {statements[0]}")]

        assert plan == ["SEARCH sighting USING COVERING INDEX sighting_received_at (received_at>?)"]


def test_since_when_the_account_is_watched_outlives_the_runs_that_are_forgotten(tmp_path: Path) -> None:
    """A quiet account must not look like one that nothing is known of."""
    path = tmp_path / "home.sqlite3"
    assert open_for_reading(path).watched_since() is None
    with open_store(path, holder="test") as store:
        for day in (0, 1, 100):
            store.begin_run("run", NOON + timedelta(days=day))
            store.end_run(NOON + timedelta(days=day), Report())
            store.tidy(NOON + timedelta(days=day))

    with open_for_reading(path) as reader:
        assert reader.watched_since() == NOON
