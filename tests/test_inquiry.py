"""Asking about what waits: in batches, with what is learnt on the way, and again as long as it is worth it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from bouncefiler.backscatter.proof import Outcome, Proof
from bouncefiler.backscatter.provenance import Attribution, Clues, Coverage, Provenance, Reason
from bouncefiler.inquiry import AT_ONCE, MAX_ELSEWHERE, PATIENCE, Owner, Pending, Witnesses, inquire
from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.sent import MAX_ASKED

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OWNER = Owner(frozenset({"ana@example.org"}), coverage=Coverage(NOON - timedelta(days=400), NOON, complete=True))


@dataclass
class Shelf:
    """Files in memory."""

    waiting: list[Pending] = field(default_factory=list)
    sent: frozenset[str] = frozenset()
    contacts: frozenset[str] = frozenset()
    batch: int = 2
    asked: set[str] = field(default_factory=set)
    found: dict[str, tuple[Attribution, bool]] = field(default_factory=dict)
    usual: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    lessons: int = 0

    def pending(self, _now: datetime) -> Sequence[Pending]:
        return [pending for pending in self.waiting if pending.fingerprint not in self.asked][: self.batch]

    def attribute(self, found: Iterable[tuple[Pending, Attribution, bool]], _now: datetime) -> None:
        for pending, what, settled in found:
            self.asked.add(pending.fingerprint)
            self.found[pending.fingerprint] = what, settled

    def sent_known(self, message_ids: Collection[str]) -> frozenset[str]:
        return self.sent & set(message_ids)

    def written_to(self, addresses: Collection[str]) -> frozenset[str]:
        return self.contacts & set(addresses)

    def habits(self, what: str) -> Mapping[str, int]:
        return self.usual[what]

    def learn(self, what: str, values: Iterable[str], _now: datetime) -> None:
        self.usual[what].update(values)
        self.lessons += 1

    def at_once(self) -> AbstractContextManager[None]:
        return nullcontext()


def pending(number: int, clues: Clues | None = None, noted: datetime = NOON, signed: bytes = b"") -> Pending:
    told = clues or Clues(ids=(f"<{number}@example.org>",), from_="ana@example.org")
    return Pending(Fingerprint(str(number)), NOON - HOUR, noted, told, signed)


def nobody(_header: bytes, _domains: Collection[str]) -> Sequence[Proof]:
    return ()


def ask(
    shelf: Shelf,
    *,
    now: datetime = NOON,
    owner: Owner = OWNER,
    elsewhere: Collection[str] = (),
    prove: Witnesses | None = None,
) -> int:
    witnesses = prove or Witnesses(nobody, lambda ids: [id_ for id_ in ids if id_ in elsewhere], lambda _name: False)
    return inquire(shelf, owner, witnesses, now, lambda: False)


def test_all_that_waits_is_asked_about_once() -> None:
    shelf = Shelf([pending(n) for n in range(7)], frozenset({"<3@example.org>"}))

    assert ask(shelf) == 7
    assert ask(shelf) == 0
    assert [n for n, (what, _) in shelf.found.items() if what.provenance is Provenance.GENUINE] == ["3"]


def test_it_stops_when_told_to_and_the_rest_waits() -> None:
    shelf = Shelf([pending(n) for n in range(7)])
    answers = iter([False, True])
    inquire(shelf, OWNER, Witnesses(nobody, lambda _ids: (), lambda _name: False), NOON, lambda: next(answers))

    assert sorted(shelf.found) == ["0", "1"]


def test_what_the_server_knows_as_sent_elsewhere_was_sent() -> None:
    shelf = Shelf([pending(1), pending(2)])
    ask(shelf, elsewhere={"<2@example.org>"})

    assert shelf.found["2"][0].provenance is Provenance.GENUINE
    assert shelf.found["1"][0].provenance is not Provenance.GENUINE


def test_whom_the_owner_writes_to_tells_of_bounces_that_return_nothing() -> None:
    clues = Clues(recipients=("bo@example.net",))
    shelf = Shelf([pending(1, clues), pending(2, replace(clues, recipients=("x@example.net",)))])
    shelf.contacts = frozenset({"bo@example.net"})
    ask(shelf)

    assert shelf.found["1"][0].reasons is Reason.WROTE_TO
    assert shelf.found["2"][0].reasons is Reason.NEVER_WROTE


def test_the_server_is_asked_only_about_what_looks_like_the_owners() -> None:
    asked: list[Sequence[str]] = []

    def elsewhere(ids: Sequence[str]) -> Collection[str]:
        asked.append(ids)
        return ()

    foreign = Clues(ids=("<9@spam.example>",), from_="x@spam.example")
    shelf = Shelf([pending(1), pending(2, foreign)], batch=9)
    inquire(shelf, OWNER, Witnesses(nobody, elsewhere, lambda _name: False), NOON, lambda: False)

    assert asked == [["<1@example.org>"]]


@dataclass
class AllMail:
    """Knows some messages as sent, and notes how many it is asked about at a time; None of them when out of reach."""

    known: Collection[str] | None
    asked: list[int] = field(default_factory=list)

    def __call__(self, ids: Sequence[str]) -> Collection[str] | None:
        self.asked.append(len(ids))
        return None if self.known is None else set(ids) & set(self.known)


@pytest.mark.parametrize(
    ("waiting", "known", "asked"),
    [
        (30, 0, [30]),
        (700, 0, [AT_ONCE]),  # one flood: what is not known of fifty is not known of the others
        (700, 120, [AT_ONCE] * 4),  # 30 of the third fifty are not known, and all of the fourth
        (700, 700, [AT_ONCE] * (MAX_ELSEWHERE // AT_ONCE)),
        (700, None, [AT_ONCE]),
    ],
)
def test_of_a_flood_the_server_is_asked_about_so_many_as_tell_what_it_is(
    waiting: int, known: int | None, asked: list[int]
) -> None:
    """A search takes it a tenth of a second, and it keeps count of what a client asks."""
    shelf = Shelf([pending(n) for n in range(waiting)], batch=500)
    all_mail = AllMail(None if known is None else {f"<{n}@example.org>" for n in range(known)})
    inquire(shelf, OWNER, Witnesses(nobody, all_mail, lambda _name: False), NOON, lambda: False)

    assert all_mail.asked == asked
    genuine = [what for what, _ in shelf.found.values() if what.provenance is Provenance.GENUINE]
    assert len(genuine) == min(known or 0, MAX_ELSEWHERE)
    assert len(shelf.found) == waiting


def test_the_server_is_asked_about_what_comes_in_small_numbers_however_many_batches_there_are() -> None:
    shelf = Shelf([pending(n) for n in range(20)], batch=1)
    all_mail = AllMail({"<19@example.org>"})
    inquire(shelf, OWNER, Witnesses(nobody, all_mail, lambda _name: False), NOON, lambda: False)

    assert all_mail.asked == [1] * 20
    assert shelf.found["19"][0].provenance is Provenance.GENUINE


def test_the_server_takes_as_many_ids_at_once_as_it_is_asked_about() -> None:
    assert AT_ONCE <= MAX_ASKED


def test_signatures_of_the_owners_domains_are_verified_and_their_keys_remembered() -> None:
    calls: list[tuple[bytes, frozenset[str]]] = []

    def prove(header: bytes, domains: Collection[str]) -> Sequence[Proof]:
        calls.append((header, frozenset(domains)))
        return (
            Proof("example.org", "s1", Outcome.VALID, covers_from=True),
            Proof("mail.example.org", "old", Outcome.INVALID),
            Proof("esp.example", "k9", Outcome.VALID, covers_from=True),
        )

    shelf = Shelf([pending(1, signed=b"DKIM-Signature: x"), pending(2)])
    ask(shelf, prove=Witnesses(prove, lambda _ids: (), lambda _name: False))

    assert calls == [(b"DKIM-Signature: x", frozenset({"example.org"}))]
    assert Reason.SIGNED in shelf.found["1"][0].reasons
    assert shelf.usual["selector"] == Counter({"s1._domainkey.example.org": 1})


def test_aliases_are_learnt_from_sent_mail() -> None:
    alias = Clues(ids=("<1@example.org>",), from_="ana@old.example")
    shelf = Shelf([pending(1, alias)])
    ask(shelf)
    assert Reason.OTHER_SENDER in shelf.found["1"][0].reasons

    shelf = Shelf([pending(1, alias)])
    shelf.usual["from"]["ana@old.example"] = 4
    ask(shelf)
    assert Reason.OTHER_SENDER not in shelf.found["1"][0].reasons


def test_the_way_of_the_owners_mail_is_learnt_from_what_is_proved_to_be_theirs() -> None:
    def by(number: int, *hosts: str) -> Pending:
        clues = Clues((f"<{number}@example.org>",), "ana@example.org", relays=hosts, reporting="mx.example.net")
        return pending(number, clues)

    mine = [by(n, "mx.example.net", "out1.example.org") for n in range(4)]
    shelf = Shelf(
        [*mine, by(8, "out7.example.org"), by(9, "host.spam.example")],
        frozenset(f"<{n}@example.org>" for n in range(4)),
    )
    ask(shelf)

    assert shelf.usual["relay"] == Counter({"example.org": 4})
    assert shelf.usual["chain"] == Counter({"all": 4})
    assert Reason.OWN_RELAY in shelf.found["8"][0].reasons
    assert Reason.OTHER_RELAYS in shelf.found["9"][0].reasons
    assert shelf.found["9"][0].provenance is Provenance.FORGED


def test_what_a_batch_teaches_is_written_down_at_once() -> None:
    """A first clean learns from a thousand messages: one by one, it would wait for the disk two thousand times."""
    mine = [pending(n, Clues((f"<{n}@example.org>",), relays=("out1.example.org",))) for n in range(300)]
    shelf = Shelf(mine, frozenset(f"<{n}@example.org>" for n in range(300)), batch=300)
    ask(shelf)

    assert shelf.usual["relay"] == Counter({"example.org": 300})
    assert shelf.lessons == 2


class TestAskingAgain:
    FOREIGN = Clues(ids=("<9@spam.example>",), from_="x@spam.example")

    @pytest.mark.parametrize(
        ("clues", "sent", "waited", "settled"),
        [
            (None, {"<1@example.org>"}, timedelta(0), True),  # proved
            (FOREIGN, set(), timedelta(0), False),  # forged, by a miss: the copy may not have been saved yet
            (FOREIGN, set(), HOUR, True),
            (replace(FOREIGN, refused_as_forged=True, ids=()), set(), timedelta(0), True),  # forged, by more than that
            (None, set(), HOUR, False),  # unknown
            (None, set(), PATIENCE, True),
        ],
    )
    def test_as_long_as_it_may_turn_out_otherwise(
        self, clues: Clues | None, sent: set[str], waited: timedelta, *, settled: bool
    ) -> None:
        shelf = Shelf([pending(1, clues)], frozenset(sent))
        ask(
            shelf,
            now=NOON + waited,
            owner=replace(OWNER, coverage=Coverage(NOON - timedelta(days=400), NOON + waited, complete=True)),
        )

        assert shelf.found["1"][1] is settled
