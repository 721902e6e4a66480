"""What is put back, and what is only named."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.filing.plan import MAX_UID_SET_CHARS, Arrival, MessageRef, uid_set
from bouncefiler.filing.undo import FiledMessage, Held, Undo, plan_undo
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def filed(number: int, fingerprint: str = "", *, home: str = "INBOX", known: bool = True) -> FiledMessage:
    """Message `number`, which went to UID 100 + number."""
    return FiledMessage(
        id=number,
        run=1,
        ref=MessageRef(home, 7, number),
        to=MessageRef("Bounces", 9, 100 + number) if known else None,
        to_folder="Bounces",
        to_uidvalidity=9,
        to_uidnext=100,
        fingerprint=Fingerprint(fingerprint or f"print {number}"),
        size=10,
        received_at=NOON,
        kind=Kind.FAILED,
        cause=Cause.MAILBOX_FULL,
        subject="Undelivered",
        recipients=("ann@example.org",),
    )


def there(uid: int, fingerprint: str = "", *, deleted: bool = False, uidvalidity: int = 9) -> Arrival:
    ref = MessageRef("Bounces", uidvalidity, uid)
    return Arrival(ref, Fingerprint(fingerprint or f"print {uid - 100}"), NOON, 10, deleted)


def bounces(*arrivals: Arrival, uidvalidity: int = 9) -> dict[str, Held]:
    return {"Bounces": Held(uidvalidity, 500, arrivals)}


def back(undo: Undo) -> list[tuple[int | None, int, str]]:
    return [(move.undoes, move.judged.arrival.ref.uid, to) for move, to in undo.moves]


def test_a_message_goes_from_where_it_is_to_where_it_came_from() -> None:
    undo = plan_undo([filed(1), filed(2, home="Lists")], bounces(there(101), there(102)), {"INBOX", "Lists"})

    assert back(undo) == [(1, 101, "INBOX"), (2, 102, "Lists")]
    assert [(batch.source, batch.uidvalidity, batch.source_uidnext) for batch in undo.batches] == [
        ("Bounces", 9, 500)
    ] * 2
    assert undo.stays == ()


@pytest.mark.parametrize(
    ("message", "held", "why"),
    [
        (filed(1), bounces(), "you moved or deleted it"),
        (filed(1), bounces(there(101, "another")), "you moved or deleted it"),
        (filed(1), bounces(there(101, deleted=True)), "you marked it as deleted"),
        (filed(1), {}, "'Bounces' is gone"),
        (filed(1, home="Lists"), bounces(there(101)), "'Lists', and that folder is gone"),
        (replace(filed(1), undone=True), bounces(there(101)), "put back already"),
        (replace(filed(1), undoes=5), bounces(there(101)), "put back already"),
        (filed(1), bounces(there(207, "print 1")), "you moved or deleted it"),
    ],
    ids=["gone", "another", "deleted", "no folder", "no home", "undone", "no filing", "taken out and in again"],
)
def test_what_cannot_be_put_back_is_named_with_the_reason(
    message: FiledMessage, held: dict[str, Held], why: str
) -> None:
    undo = plan_undo([message], held, {"INBOX"})

    assert undo.batches == ()
    assert [(stays.message, why in stays.why) for stays in undo.stays] == [(message, True)]


def test_after_the_folder_was_numbered_anew_a_message_is_known_by_its_fingerprint() -> None:
    undo = plan_undo([filed(1)], bounces(there(3, "print 1", uidvalidity=10), uidvalidity=10), {"INBOX"})

    assert back(undo) == [(1, 3, "INBOX")]


def test_without_a_known_uid_what_lay_there_before_is_not_taken() -> None:
    held = bounces(there(99, "print 1"), there(150, "print 1"))

    assert back(plan_undo([filed(1, known=False)], held, {"INBOX"})) == [(1, 150, "INBOX")]
    assert back(plan_undo([filed(1, known=False)], bounces(there(99, "print 1")), {"INBOX"})) == []


def test_of_twins_as_many_go_back_as_were_filed_each_once() -> None:
    twins = [there(uid, "twin", uidvalidity=10) for uid in (3, 4, 5)]

    undo = plan_undo([filed(1, "twin"), filed(2, "twin")], bounces(*twins, uidvalidity=10), {"INBOX"})

    assert back(undo) == [(1, 3, "INBOX"), (2, 4, "INBOX")]


def test_of_twins_the_one_that_arrived_at_that_time_is_taken() -> None:
    early, late = there(3, "twin", uidvalidity=10), there(4, "twin", uidvalidity=10)
    held = bounces(replace(early, received_at=NOON - timedelta(days=1)), late, uidvalidity=10)

    assert back(plan_undo([filed(1, "twin")], held, {"INBOX"})) == [(1, 4, "INBOX")]


def test_a_twin_whose_place_is_known_is_not_taken_for_another() -> None:
    held = bounces(there(101, "twin"), there(102, "twin"))

    undo = plan_undo([filed(1, "twin", known=False), filed(2, "twin")], held, {"INBOX"})

    assert sorted(back(undo)) == [(1, 101, "INBOX"), (2, 102, "INBOX")]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(["INBOX", "Lists", "Gone"]), st.booleans())
    ),
    st.lists(st.tuples(st.integers(95, 115), st.sampled_from("abc"), st.booleans()), unique_by=lambda a: a[0]),
    st.sampled_from([9, 10]),
)
def test_each_message_appears_once_and_nothing_is_moved_twice(
    messages: list[tuple[str, bool, str, bool]], arrivals: list[tuple[int, str, bool]], uidvalidity: int
) -> None:
    asked = [
        replace(filed(number, fingerprint, home=home, known=known), undone=undone)
        for number, (fingerprint, known, home, undone) in enumerate(messages, 1)
    ]
    lying = [there(uid, fingerprint, deleted=d, uidvalidity=uidvalidity) for uid, fingerprint, d in arrivals]

    undo = plan_undo(asked, bounces(*lying, uidvalidity=uidvalidity), {"INBOX", "Lists"})

    named = [move.undoes for move, _ in undo.moves] + [stays.message.id for stays in undo.stays]
    assert sorted(number for number in named if number) == [message.id for message in asked]
    taken = [move.judged.arrival for move, _ in undo.moves]
    assert len({arrival.ref for arrival in taken}) == len(taken)
    by_number = {message.id: message for message in asked}
    for move, to in undo.moves:
        assert move.undoes is not None
        message = by_number[move.undoes]
        assert (message.fingerprint, message.ref.folder) == (move.judged.arrival.fingerprint, to)
        assert not message.undone
        assert not move.judged.arrival.deleted


def test_each_batch_fits_one_command() -> None:
    many = range(1, 9_000, 2)

    undo = plan_undo(map(filed, many), bounces(*(there(100 + n) for n in many)), {"INBOX"})

    assert len(undo.batches) > 1
    assert all(len(uid_set(batch.uids)) <= MAX_UID_SET_CHARS for batch in undo.batches)
    assert sum(len(batch.moves) for batch in undo.batches) == len(many)
