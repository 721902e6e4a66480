"""Who sent what the bounces return: what the store keeps of it, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bouncefiler.backscatter.provenance import Attribution, Provenance, Reason
from bouncefiler.edge.store import KEPT, Store, open_store
from bouncefiler.edge.store.clues import MAX_HEADERS
from bouncefiler.filing.plan import Judged, Left, Method, Plan
from bouncefiler.inquiry import Pending
from bouncefiler.recognition.verdict import Cause, Kind, Original, Recipient
from bouncefiler.sweep import Moved, Report
from tests.edge.test_store import DAY, HOUR, NOON, TARGET, all_moved, batch_of, fingerprint, judged

FORGED = Attribution(Provenance.FORGED, Reason.HAS_ID | Reason.REFUSED_AS_FORGED)
GENUINE = Attribution(Provenance.GENUINE, Reason.HAS_ID | Reason.IN_SENT)
OPEN = Attribution(Provenance.UNKNOWN, Reason.HAS_ID)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home.db", holder="clean") as opened:
        opened.begin_run("clean", NOON)
        yield opened


def returning(number: int, kind: Kind = Kind.FAILED, signed: bytes = b"", received_at: timedelta = HOUR) -> Judged:
    item = judged(number, kind, NOON - received_at)
    original = Original(
        message_id=f"<{number}@example.org>",
        from_="Ana <ana@example.org>",
        authentication=("authentication-results: mx.example.net; spf=fail smtp.mailfrom=ana@example.org",),
        signed=signed,
    )
    recipients = (Recipient(f"r{number}@example.net", cause=Cause.USER_UNKNOWN),)
    return replace(item, verdict=replace(item.verdict, recipients=recipients, original=original))


def file_away(store: Store, *items: Judged) -> None:
    batch = batch_of(*items)
    store.intend(batch, TARGET, Method.MOVE)
    store.settle_moved(batch, all_moved(batch))


def leave(store: Store, *items: Judged) -> None:
    store.finish(Plan(left=tuple(Left(item, "as configured") for item in items)))


def newest_first(store: Store) -> list[Pending]:
    return sorted(store.pending(NOON), key=lambda pending: pending.received_at, reverse=True)


class TestClues:
    def test_what_is_filed_and_what_is_left_waits_to_be_asked_about(self, store: Store) -> None:
        file_away(store, returning(3, signed=b"DKIM-Signature: v=1\nFrom: x"))
        leave(store, returning(4, received_at=2 * HOUR))

        first, second = newest_first(store)
        assert (first.fingerprint, second.fingerprint) == (fingerprint(3), fingerprint(4))
        assert (first.received_at, first.noted) == (NOON - HOUR, NOON)
        assert first.clues.ids == ("<3@example.org>",)
        assert first.clues.results == (("mx.example.net", "spf", "fail", "example.org"),)
        assert (first.signed, second.signed) == (b"DKIM-Signature: v=1\nFrom: x", b"")

    def test_they_are_kept_before_the_move_is_tried_and_count_only_when_it_was_done(self, store: Store) -> None:
        batch = batch_of(returning(3))
        store.intend(batch, TARGET, Method.MOVE)
        assert store.pending(NOON) == ()

        store.settle_moved(batch, Moved())
        assert store.pending(NOON) == ()

        store.settle_moved(batch, all_moved(batch))
        assert len(store.pending(NOON)) == 1

    @pytest.mark.parametrize("kind", [Kind.OTHER, Kind.IMITATION, Kind.RECEIPT, Kind.DELIVERED, Kind.FEEDBACK])
    def test_a_look_alike_tells_nothing(self, store: Store, kind: Kind) -> None:
        leave(store, returning(3, kind))
        file_away(store, returning(4, kind))

        assert store.pending(NOON) == ()
        assert store.tallied(NOON - DAY, NOON) == ()

    def test_what_was_settled_is_not_asked_again_though_it_is_seen_again(self, store: Store) -> None:
        leave(store, returning(3))
        store.attribute([(store.pending(NOON)[0], FORGED, True)], NOON)
        leave(store, returning(3))

        assert store.pending(NOON + DAY) == ()
        assert store.tallied(NOON - DAY, NOON) == ((Provenance.FORGED, FORGED.reasons, 1),)

    def test_what_stays_open_is_asked_again_ever_more_rarely(self, store: Store) -> None:
        leave(store, returning(3))
        asked = []
        for hours in range(48):
            now = NOON + hours * HOUR
            for pending in store.pending(now):
                asked.append(hours)
                store.attribute([(pending, OPEN, False)], now)

        assert asked == [0, 1, 2, 4, 8, 16, 32]

    def test_a_flood_is_judged_by_its_first_header_blocks(self, store: Store) -> None:
        signed = b"DKIM-Signature: v=1\nFrom: x"
        for start in range(0, MAX_HEADERS + 500, 500):
            leave(store, *(returning(number, signed=signed) for number in range(start, start + 500)))

        assert sum(bool(pending.signed) for pending in store.pending(NOON, limit=10_000)) == MAX_HEADERS

    def test_the_next_ones_are_found_without_looking_at_all(self, store: Store) -> None:
        """Otherwise a flood would be gone through once for every five hundred of it."""
        asked: list[str] = []
        store._db.set_trace_callback(asked.append)
        store.pending(NOON)
        store._db.set_trace_callback(None)
        (plan, *_) = store._db.execute(f"EXPLAIN QUERY PLAN {asked[-1]}").fetchall()

        assert "USING INDEX clue_due" in plan[-1]

    def test_old_ones_are_dropped(self, store: Store) -> None:
        leave(store, returning(3))
        store.tidy(NOON + timedelta(days=6))
        assert len(store.pending(NOON)) == 1

        store.tidy(NOON + timedelta(days=8))
        assert store.pending(NOON) == ()


class TestHistory:
    def test_what_the_owner_sent_is_counted_apart(self, store: Store) -> None:
        leave(store, returning(3), returning(4, received_at=2 * HOUR), returning(5, received_at=3 * HOUR))
        newest, middle, oldest = newest_first(store)
        store.attribute([(newest, GENUINE, True), (middle, FORGED, True), (oldest, OPEN, False)], NOON)
        hours = [int((NOON - n * HOUR).timestamp()) for n in (3, 2, 1)]

        assert list(store.history(NOON - DAY)) == hours[:2]
        assert list(store.history(NOON - DAY, [Provenance.GENUINE])) == hours[2:]
        assert list(store.history(NOON - DAY, tuple(Provenance))) == hours

    @pytest.mark.parametrize("kind", [Kind.AUTOREPLY, Kind.CHALLENGE])
    def test_answers_count_when_what_they_answer_was_never_sent(self, store: Store, kind: Kind) -> None:
        leave(store, returning(3, kind), returning(4, kind))
        assert list(store.history(NOON - DAY)) == []

        forged, genuine = store.pending(NOON)
        store.attribute([(forged, FORGED, True), (genuine, GENUINE, True)], NOON)
        assert len(store.history(NOON - DAY)) == 1
        assert list(store.history(NOON - DAY, [Provenance.GENUINE])) == []

    def test_delays_are_no_sign_of_anything(self, store: Store) -> None:
        leave(store, returning(3, Kind.DELAYED))

        assert list(store.history(NOON - DAY, tuple(Provenance))) == []


class TestFailures:
    def test_addresses_of_the_owners_mail_are_kept(self, store: Store) -> None:
        leave(store, returning(3), returning(4))
        store.attribute([(pending, GENUINE, True) for pending in store.pending(NOON)], NOON)

        assert store.failed_for_good(NOON - DAY, 10) == ("r3@example.net", "r4@example.net")

    def test_those_of_forged_mail_are_forgotten(self, store: Store) -> None:
        leave(store, returning(3))
        store.attribute([(store.pending(NOON)[0], FORGED, True)], NOON)
        leave(store, returning(3))

        assert store._db.execute("SELECT count(*) FROM failure").fetchone() == (0,)

    def test_a_full_mailbox_is_not_dead(self, store: Store) -> None:
        item = returning(3)
        full = replace(item.verdict, recipients=(Recipient("bo@example.net", cause=Cause.MAILBOX_FULL),))
        leave(store, replace(item, verdict=full))
        store.attribute([(store.pending(NOON)[0], GENUINE, True)], NOON)

        assert store.failed_for_good(NOON - DAY, 10) == ()
        assert store._db.execute("SELECT address, permanent FROM failure").fetchall() == [("bo@example.net", 0)]

    def test_they_go_after_a_year(self, store: Store) -> None:
        leave(store, returning(3))
        store.tidy(NOON + KEPT + DAY)

        assert store._db.execute("SELECT count(*) FROM failure").fetchone() == (0,)


def test_causes_are_counted_most_often_first(store: Store) -> None:
    item = returning(9)
    full = replace(item, verdict=replace(item.verdict, cause=Cause.MAILBOX_FULL))
    leave(store, returning(3), returning(4), full)

    assert store.causes(NOON - DAY, NOON) == ((Cause.USER_UNKNOWN, 2), (Cause.MAILBOX_FULL, 1))
    assert store.causes(NOON - DAY, NOON, [Provenance.GENUINE]) == ()


def test_a_run_that_ends_leaves_the_clues(store: Store) -> None:
    leave(store, returning(3))
    store.end_run(NOON, Report())

    assert len(store.pending(NOON)) == 1
