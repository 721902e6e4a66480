"""A sweep loses, doubles and counts nothing twice, wherever it is cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from bouncefiler.edge.memory import MemoryAccount, Stored
from bouncefiler.edge.store import Store, open_for_reading, open_store
from bouncefiler.errors import BrakePulled, FolderMissing, OverQuota
from bouncefiler.filing.plan import FilingPolicy, Leave, Plan
from bouncefiler.recognition.verdict import Cause, Kind, Verdict
from bouncefiler.sweep import (
    AT_ONCE,
    FIRST_OCTETS,
    MAX_JUDGED,
    MORE_OCTETS,
    Brake,
    FolderState,
    Reading,
    Recogniser,
    Report,
    Scope,
    Task,
    clean,
    one_by_one,
    pages,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def examine(raw: bytes, _cut: bool) -> tuple[Verdict, str]:
    bounce = b"Subject: bounce" in raw
    rules = ("mine",) if b"by-rule" in raw else ()
    return Verdict(Kind.FAILED if bounce else Kind.OTHER, Cause.USER_UNKNOWN if bounce else None, rules=rules), "s"


TASK = Task(
    Scope(("INBOX",)), Recogniser(one_by_one(lambda fields: b"bounce" in fields), examine), FilingPolicy(), page=1
)


def message(number: int, subject: str = "bounce") -> Stored:
    raw = f"Received: {number}\r\nFrom: a@example.org\r\nSubject: {subject}\r\n\r\nbody".encode()
    return Stored(raw, NOON - timedelta(hours=number), frozenset({r"\Flagged"}) if number % 2 else frozenset())


def mailbox() -> MemoryAccount:
    """Bounces (two of them twins, one that another client has marked \\Deleted) among ordinary mail."""
    account = MemoryAccount.of(
        [message(1), message(2, "hello"), message(3), message(3), message(4, "news"), message(5), message(6)]
    )
    account.flag("INBOX", 7, r"\Deleted")
    account.window = 3
    return account


@dataclass
class Onlooker:
    """Lets everything pass, and keeps what it saw."""

    plans: list[Plan]
    limit: int = 1_000_000
    keep: bool = True

    def check(self, plan: Plan) -> None:
        if self.keep:
            self.plans.append(plan)

    def done(self, plan: Plan, report: Report) -> None:
        pass

    def stopping(self) -> bool:
        return len(self.plans) >= self.limit


def run(account: Any, store: Any, task: Task = TASK) -> Report:
    store.begin_run("test", NOON)
    return clean(account, store, task, Onlooker([]))


class CutOff(Exception):
    """The program ends here."""


@dataclass
class Fuse:
    """Blows at the n-th effect."""

    left: int

    def __call__(self, _what: str) -> None:
        if self.left == 0:
            raise CutOff
        self.left -= 1


@dataclass
class Fused:
    """A journal whose every write may be the last thing that happens, before or after it reaches the disk."""

    store: Store
    fuse: Callable[[str], None]

    def __getattr__(self, name: str) -> Any:
        if name == "at_once":
            return self._at_once
        method = getattr(self.store, name)
        if name not in {"intend", "settle_moved", "settle", "finish"}:
            return method

        def fused(*args: Any) -> Any:
            self.fuse(f"before {name}")
            result = method(*args)
            self.fuse(f"after {name}")
            return result

        return fused

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        with self.store.at_once():
            yield
            self.fuse("before all of it is written")
        self.fuse("after it")


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    store = open_store(path, holder="test")
    store.begin_run("clean", NOON)
    try:
        yield store
    finally:
        store.close()


Contents = Counter[tuple[str, bytes, datetime, frozenset[str]]]


def contents(account: MemoryAccount) -> Contents:
    return Counter(
        (name, held.raw, held.received_at, held.flags)
        for name, folder in account.folders.items()
        for held in folder.messages.values()
    )


def filed() -> Contents:
    """What `mailbox` must hold when all is done."""
    account = mailbox()
    return Counter(
        ("Bounces" if b"bounce" in held.raw and r"\Deleted" not in held.flags else "INBOX", *_parts(held))
        for held in account.folders["INBOX"].messages.values()
    )


def _parts(held: Stored) -> tuple[bytes, datetime, frozenset[str]]:
    return held.raw, held.received_at, held.flags


def test_bounces_are_filed_and_the_rest_is_not_touched(tmp_path: Path) -> None:
    account = mailbox()

    with opened(tmp_path / "s") as store:
        report = run(account, store)

        assert contents(account) == filed()
        assert (report.scanned, report.moved, report.left) == (7, 4, 1)
        assert store.open_entries() == ()


def test_a_second_run_reads_only_what_is_new(tmp_path: Path) -> None:
    account = mailbox()

    with opened(tmp_path / "s") as store:
        run(account, store)
        account.folders["INBOX"].add(message(9))
        report = run(account, store)

    assert (report.scanned, report.moved) == (1, 1)


def test_preview_shows_what_clean_then_does(tmp_path: Path) -> None:
    account, twin = mailbox(), mailbox()
    previewed = list(pages(account, open_for_reading(tmp_path / "s"), TASK))
    before = contents(account)
    onlooker = Onlooker([])

    with opened(tmp_path / "s") as store:
        store.begin_run("test", NOON)
        clean(twin, store, TASK, onlooker)

    assert previewed == onlooker.plans
    assert before == contents(mailbox())


def test_a_message_that_was_put_back_stays(tmp_path: Path) -> None:
    account = MemoryAccount.of([message(1)])
    with opened(tmp_path / "s") as store:
        run(account, store)
        account.folders["INBOX"].add(account.folders["Bounces"].messages.pop(1))

        report = run(account, store)

    assert (report.moved, report.left) == (0, 1)
    assert len(account.folders["INBOX"].messages) == 1


def test_everything_looks_at_old_mail_too(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        run(account, store, replace(TASK, policy=FilingPolicy(kinds=frozenset())))

        assert run(account, store).moved == 0
        assert run(account, store, replace(TASK, scope=Scope(("INBOX",), everything=True))).moved == 4


def test_a_run_by_date_leaves_older_mail_for_a_later_run(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        since = replace(TASK, scope=Scope(("INBOX",), since=NOON - timedelta(hours=2)))

        assert run(account, store, since).moved == 1
        assert run(account, store).moved == 3


def test_a_run_that_is_told_to_stop_ends_after_the_plan_in_hand_and_resumes_there(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        store.begin_run("test", NOON)
        first = clean(account, store, TASK, Onlooker([], limit=1))
        second = run(account, store)

    assert (first.scanned, second.scanned) == (3, 4)
    assert contents(account) == filed()


@pytest.mark.parametrize("native", [True, False], ids=["MOVE", "COPY"])
@pytest.mark.parametrize("tells", [True, False], ids=["COPYUID", "silent"])
@pytest.mark.parametrize("renumbered", [None, "INBOX", "Bounces"])
def test_a_crash_at_any_step_and_another_one_in_the_recovery_loses_doubles_and_miscounts_nothing(
    tmp_path: Path, native: bool, tells: bool, renumbered: str | None
) -> None:
    rounds = 0
    for first in count():
        with opened(tmp_path / f"probe{first}") as store:
            account = mailbox()
            if not cut_off(account, store, first, native=native, tells=tells):
                break
        for second in count(first % 5, 5):
            rounds += 1
            with opened(tmp_path / f"{first}-{second}") as store:
                account = mailbox()
                cut_off(account, store, first, native=native, tells=tells)
                if renumbered in account.folders:
                    account.renumber(renumbered)
                again = cut_off(account, store, second, native=native, tells=tells)
                account.effect = lambda _what: None
                run(account, store)
                run(account, store)
                check_end(account, store, renumbered)
            if not again:
                break
    assert rounds > 20


def cut_off(account: MemoryAccount, store: Store, after: int, *, native: bool, tells: bool) -> bool:
    """Run until the fuse blows; whether it did."""
    account.native, account.tells = native, tells
    account.effect = fuse = Fuse(after)
    try:
        run(account, Fused(store, fuse))
    except CutOff:
        return True
    return False


def check_end(account: MemoryAccount, store: Store, renumbered: str | None) -> None:
    now, wanted = contents(account), filed()
    if renumbered is None or (renumbered not in account.folders):
        assert now == wanted
    elif account.native:
        assert _without_folder(now) == _without_folder(wanted)
        # After INBOX was renumbered, nothing tells a twin from a message that was put back: it may stay.
        assert {raw for folder, raw, *_ in now - wanted if folder == "INBOX"} <= {message(3).raw}
    else:
        # Only COPY, and the folder renumbered in between: nothing tells a copy of ours from a twin, so both stay.
        assert not _without_folder(wanted) - _without_folder(now)
    assert store.open_entries() == ()
    # The twins share one fingerprint, so they count as one bounce; the one marked \\Deleted was left and counts.
    assert len(store.history(NOON - timedelta(days=1))) == 4


def _without_folder(held: Contents) -> Counter[tuple[bytes, datetime, frozenset[str]]]:
    return Counter((raw, received_at, flags) for _, raw, received_at, flags in held.elements())


def test_a_full_account_ends_the_run_with_everything_in_place_and_nothing_forgotten(tmp_path: Path) -> None:
    account = mailbox()
    account.room = 0
    with opened(tmp_path / "s") as store:
        with pytest.raises(OverQuota):
            run(account, store)
        account.room = None
        run(account, store)

    assert contents(account) == filed()


def test_a_missing_folder_that_cannot_be_made_moves_nothing(tmp_path: Path) -> None:
    account = mailbox()
    account.can_create = False
    with opened(tmp_path / "s") as store, pytest.raises(FolderMissing, match="Bounces"):
        run(account, store)

    assert contents(account) == contents(mailbox())


def test_a_watched_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with opened(tmp_path / "s") as store, pytest.raises(FolderMissing, match="Posteingang"):
        run(mailbox(), store, replace(TASK, scope=Scope(("Posteingang",))))


def test_another_clients_deleted_mail_is_never_removed(tmp_path: Path) -> None:
    account = mailbox()
    account.native = False
    account.flag("INBOX", 2, r"\Deleted")
    with opened(tmp_path / "s") as store:
        run(account, store)

    assert {2, 5, 7} == set(account.folders["INBOX"].messages)


def test_a_flood_is_planned_in_parts(tmp_path: Path) -> None:
    account = MemoryAccount.of([message(n) for n in range(5_000)])
    account.window = 10_000
    onlooker = Onlooker([])
    with opened(tmp_path / "s") as store:
        store.begin_run("test", NOON)
        report = clean(account, store, replace(TASK, page=MAX_JUDGED), onlooker)

    assert report.moved == 5_000
    assert max(len(plan.moves) for plan in onlooker.plans) == MAX_JUDGED
    assert sum(plan.scanned for plan in onlooker.plans) == 5_000


def test_the_journal_waits_for_the_disk_twice_a_plan(tmp_path: Path) -> None:
    account, said = mailbox(), list[str]()
    with opened(tmp_path / "s") as store:
        store._db.set_trace_callback(said.append)
        clean(account, store, replace(TASK, page=MAX_JUDGED), Onlooker([]))

        assert said.count("COMMIT") == 2
        (intent,) = (n for n, sql in enumerate(said) if sql.startswith("INSERT INTO batch"))
        assert intent < said.index("COMMIT") < next(n for n, sql in enumerate(said) if sql.startswith("UPDATE move"))


def test_what_a_page_says_is_not_held_while_the_next_one_is_judged(tmp_path: Path) -> None:
    class Subject(str):  # of which it can be told whether somebody holds it
        __slots__ = ("__weakref__",)

    alive, most = WeakSet[Subject](), 0

    def examine_and_count(raw: bytes, cut: bool) -> tuple[Verdict, str]:
        nonlocal most
        subject = Subject(raw)
        alive.add(subject)
        most = max(most, len(alive))
        return examine(raw, cut)[0], subject

    account = MemoryAccount.of([message(n) for n in range(200)])
    account.window = 10
    task = replace(TASK, recogniser=replace(TASK.recogniser, examine=examine_and_count), page=AT_ONCE + 35)
    with opened(tmp_path / "s") as store:
        assert clean(account, store, task, Onlooker([], keep=False)).moved == 200

    assert len(alive) == 0
    assert most == 50  # a page of 40, and the window that is looked at meanwhile


class TestBrake:
    def test_a_users_rule_that_would_move_much_is_stopped_before_it_moves_anything(self) -> None:
        by_rule = replace(TASK.policy, routes={"mine": Leave("x")})
        assert by_rule.routes
        plan = _rule_plan(moves=25, scanned=100)

        with pytest.raises(BrakePulled, match="25 of 100"):
            Brake().check(plan)

    def test_a_rule_that_moves_little_passes(self) -> None:
        Brake().check(_rule_plan(moves=19, scanned=100))
        Brake().check(_rule_plan(moves=20, scanned=20))

    def test_bounces_by_our_own_tables_never_trip_it(self) -> None:
        Brake().check(_rule_plan(moves=300, scanned=300, by_rule=False))


def _rule_plan(*, moves: int, scanned: int, by_rule: bool = True) -> Plan:
    account = MemoryAccount.of([message(n) for n in range(moves)])
    account.window = 10_000
    store = open_for_reading(Path("/nonexistent/state"))
    (plan,) = pages(account, store, replace(TASK, page=MAX_JUDGED))
    batches = tuple(
        replace(batch, moves=tuple(replace(move, by_rule=by_rule) for move in batch.moves)) for batch in plan.batches
    )
    return replace(plan, batches=batches, scanned=scanned)


def test_a_suspect_that_the_server_leaves_out_is_asked_for_once_more(tmp_path: Path) -> None:
    class Forgetful(MemoryAccount):
        left_out = False

        def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
            first, self.left_out = not self.left_out, True
            return MemoryAccount.read(self, state, uids[1:] if first else uids, octets)

    account = Forgetful(mailbox().folders)
    with opened(tmp_path / "s") as store:
        run(account, store)

    assert contents(account) == filed()


def test_what_the_first_octets_leave_open_is_asked_once_a_plan(tmp_path: Path) -> None:
    """Not once for each part in which the suspects are read: on a long line each question costs a turn."""
    asked: list[tuple[Sequence[int], int]] = []

    class Noting(MemoryAccount):
        def read(self, state: FolderState, uids: Sequence[int], octets: int) -> Iterator[Reading]:
            asked.append((uids, octets))
            return MemoryAccount.read(self, state, uids, octets)

    account = Noting.of([message(n) for n in range(1_100)])
    account.window = 10_000
    with opened(tmp_path / "s") as store:
        (plan,) = pages(account, store, replace(TASK, page=MAX_JUDGED))

    first = [len(uids) for uids, octets in asked if octets == FIRST_OCTETS]
    assert first == [366, 367, 367]
    assert max(first) <= AT_ONCE
    assert sum(octets == MORE_OCTETS for _, octets in asked) <= 2, "what is open, and what is not confirmed"
    assert plan.scanned == len(plan.moves) == 1_100
