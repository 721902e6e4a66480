"""What is remembered can be looked back at: what was filed, which addresses are dead, when somebody last looked."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Notice
from bouncefiler.backscatter.provenance import Attribution, Provenance, Reason
from bouncefiler.edge.store import Store, at_work, open_store
from bouncefiler.filing.plan import Method, Move, MoveBatch
from bouncefiler.recognition.verdict import Cause, Kind
from bouncefiler.report.chronicle import AtWork, DeadAddress, Filed, Told, Undelivered
from bouncefiler.sweep import FolderState, Moved, Report
from tests.report.tales import DAY, HOUR, NOON, WAVE, bounce, file

CLARA, HUGO = "clara@example.net", "hugo@example.net"
ALERT = Alert("1", Level.WARNING, "Many bounces", "Look.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "home.db", holder="clean") as opened:
        yield opened


def attribute(store: Store, provenance: Provenance, now: datetime = NOON, *, settled: bool = True) -> None:
    found = Attribution(provenance, Reason.NOTHING)
    store.attribute(((pending, found, settled) for pending in store.pending(now)), now)


def test_what_was_filed_is_counted_by_folder(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON), bounce(2, CLARA, NOON)], NOON - DAY)
    file(store, [bounce(3, CLARA, NOON)], NOON, to="Bounces/Full")

    assert store.filed_by_folder() == (Filed("Bounces", 2, NOON - DAY), Filed("Bounces/Full", 1, NOON))
    assert store.filed_count(NOON - DAY) == 3
    assert store.filed_count(NOON - HOUR) == 1


def test_what_was_put_back_is_not_counted_as_filed(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON), bounce(2, CLARA, NOON)], NOON - DAY)
    first = store.filed_last()[0]
    store.begin_run("undo", NOON)
    back = MoveBatch(
        "Bounces", 77, "INBOX", (Move(bounce(501, CLARA, NOON), Kind.FAILED, by_rule=False, undoes=first.id),)
    )
    store.intend(back, FolderState("INBOX", 9, 500, 3), Method.MOVE)
    store.settle_moved(back, Moved(9, {501: 600}))
    store.end_run(NOON, Report(moved=1))

    assert store.filed_by_folder() == (Filed("Bounces", 1, NOON - DAY),)
    assert store.filed_count(NOON - DAY) == 1


def test_a_dead_address_is_told_with_its_last_cause_and_how_often(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON - 2 * DAY), bounce(2, CLARA, NOON, Cause.MAILBOX_DISABLED)], NOON)

    assert store.dead_addresses() == (
        DeadAddress(CLARA, Cause.MAILBOX_DISABLED, NOON - 2 * DAY, NOON, 2, Provenance.UNKNOWN),
    )


def test_an_address_whose_last_failure_may_pass_is_not_dead(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON - DAY), bounce(2, CLARA, NOON, Cause.MAILBOX_FULL)], NOON)
    file(store, [bounce(3, HUGO, NOON), bounce(4, HUGO, NOON, Cause.MAILBOX_FULL)], NOON)

    assert store.dead_addresses() == ()


def test_addresses_that_the_owner_wrote_to_come_first_and_those_of_forged_mail_not_at_all(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON - DAY)], NOON)
    attribute(store, Provenance.GENUINE)
    file(store, [bounce(2, "forged@example.org", NOON)], NOON)
    attribute(store, Provenance.FORGED)
    file(store, [bounce(3, HUGO, NOON)], NOON)

    found = [(dead.address, dead.provenance) for dead in store.dead_addresses()]
    assert found == [(CLARA, Provenance.GENUINE), (HUGO, Provenance.UNKNOWN)]
    assert store.latest_dead(9, 9) == (store.dead_addresses(), 2)


def test_of_many_dead_addresses_the_latest_are_told_and_how_many_there_are(store: Store) -> None:
    for first, provenance in ((0, Provenance.GENUINE), (40, Provenance.UNKNOWN)):
        file(store, [bounce(n, f"x{n}@example.net", NOON - n % 7 * DAY) for n in range(first, first + 30)], NOON)
        attribute(store, provenance)
    every = store.dead_addresses()

    assert [dead.sent_by_you for dead in every] == [True] * 30 + [False] * 30
    assert store.latest_dead(7, 4) == ((*every[:7], *every[30:34]), 60)
    assert store.latest_dead(99, 1) == (every[:31], 60)


def test_whose_mail_failed_may_turn_out_later(store: Store) -> None:
    file(store, [bounce(1, CLARA, NOON)], NOON)
    told = []
    for days, provenance in enumerate((Provenance.FORGED, Provenance.GENUINE, Provenance.UNKNOWN)):
        attribute(store, provenance, NOON + 2 * days * DAY, settled=False)
        told.append([dead.provenance for dead in store.dead_addresses()])

    assert told == [[], [Provenance.GENUINE], [Provenance.UNKNOWN]]


def test_incidents_are_told_newest_first_with_what_was_said(store: Store) -> None:
    mailing = replace(WAVE, id=0, diagnosis=Diagnosis.OWN_MAILING, opened=NOON, closed=NOON + DAY)
    first = store.record(replace(WAVE, id=0), [], NOON, [Notice.OPENED])
    store.record(first, [], NOON + HOUR, [Notice.ESCALATED])
    store.record(mailing, [], NOON + HOUR * 2)

    assert [incident.diagnosis for incident in store.incidents(9)] == [Diagnosis.OWN_MAILING, Diagnosis.BACKSCATTER]
    assert len(store.incidents(1)) == 1
    told = store.told(9)
    assert told[0] == Told(first.id, NOON, Notice.OPENED, Diagnosis.BACKSCATTER, WAVE.count, WAVE.total)
    assert [each.notice for each in told] == [Notice.OPENED, Notice.ESCALATED]
    assert [each.notice for each in store.told(1)] == [Notice.ESCALATED]


def test_alerts_that_were_tried_in_vain_are_told_until_they_are_delivered(store: Store) -> None:
    store.record(replace(WAVE, id=0), [("inbox", ALERT), ("log", ALERT)], NOON)
    assert store.undelivered() == ()

    store.alert_failed(1, NOON + HOUR, "over quota")
    assert store.undelivered() == (Undelivered("inbox", ALERT.subject, "over quota", 1, NOON + HOUR),)

    store.alert_sent(1, NOON + HOUR)
    assert store.undelivered() == ()


def test_the_first_of_the_trouble_says_since_when_and_a_good_look_ends_it(store: Store) -> None:
    assert store.last_look().at is None

    store.looked(NOON)
    store.looked(NOON + HOUR, "the password was refused")
    store.looked(NOON + 2 * HOUR, "the password was refused again")
    look = store.last_look()
    assert (look.at, look.trouble, look.trouble_since) == (NOON, "the password was refused again", NOON + HOUR)

    store.looked(NOON + 2 * HOUR)
    look = store.last_look()
    assert (look.at, look.trouble, look.trouble_since) == (NOON + 2 * HOUR, "", None)


def test_that_all_is_still_well_is_written_down_once_an_hour(store: Store) -> None:
    store.looked(NOON)
    store.looked(NOON + HOUR / 2)
    assert store.last_look().at == NOON

    store.looked(NOON + HOUR)
    assert store.last_look().at == NOON + HOUR


def test_a_file_of_before_knows_its_last_look_by_its_last_sweep(store: Store) -> None:
    store.begin_run("run", NOON)
    store.end_run(NOON + HOUR, Report())
    store.begin_run("undo", NOON + DAY)
    store.end_run(NOON + DAY, Report())

    assert store.last_look().at == NOON + HOUR


def hold(path: Path, pipe: Connection) -> None:
    with open_store(path, holder="bouncefiler run"):
        pipe.send("held")
        pipe.recv()


def test_it_can_be_seen_who_is_at_work_and_seeing_keeps_nobody_from_it(tmp_path: Path) -> None:
    path = tmp_path / "home.db"
    assert at_work(path) is None

    context = multiprocessing.get_context("spawn")
    pipe, end = context.Pipe()
    child = context.Process(target=hold, args=(path, end))
    child.start()
    try:
        assert pipe.poll(30)
        found = at_work(path)
    finally:
        pipe.send("enough")
        child.join(30)

    assert found is not None
    assert found == AtWork("run", child.pid, found.since)
    assert at_work(path) is None
    with open_store(path, holder="clean"):
        pass
