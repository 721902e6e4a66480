"""What is put back is back exactly, stays there, and is neither lost, doubled nor counted again, wherever it is cut."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bouncefiler.edge.memory import Folder, MemoryAccount
from bouncefiler.edge.store import Store
from bouncefiler.errors import FolderMissing
from bouncefiler.filing.undo import Undo
from bouncefiler.restore import of_message_id, plan_return, put_back, tie_up
from bouncefiler.sweep import Report, Scope, Task
from tests.test_sweep import NOON, TASK, CutOff, Fuse, Fused, contents, filed, mailbox, message, opened, run

EVERYTHING = Task(Scope(("INBOX",), everything=True), TASK.recogniser, TASK.policy)


def undo_last(account: Any, journal: Any) -> Report:
    """What `bouncefiler undo` does."""
    tie_up(account, journal)
    plan = plan_return(account, journal.filed_last())
    journal.begin_run("undo", NOON)
    return put_back(plan, account, journal, lambda: False)


def plan_last(account: MemoryAccount, store: Store) -> Undo:
    return plan_return(account, store.filed_last())


def in_inbox(account: MemoryAccount) -> int:
    return len(account.folders["INBOX"].messages)


@pytest.mark.parametrize("native", [True, False], ids=["MOVE", "COPY"])
@pytest.mark.parametrize("tells", [True, False], ids=["COPYUID", "silent"])
def test_everything_is_where_and_as_it_was_and_stays_there(tmp_path: Path, native: bool, tells: bool) -> None:
    account = mailbox()
    account.native, account.tells = native, tells
    with opened(tmp_path / "s") as store:
        run(account, store)
        counted = list(store.history(NOON - timedelta(days=1)))

        report = undo_last(account, store)

        assert (report.moved, report.gone, report.unsettled) == (4, 0, 0)
        assert contents(account) == contents(mailbox())
        assert (run(account, store).moved, run(account, store, EVERYTHING).moved) == (0, 0)
        assert contents(account) == contents(mailbox())
        assert list(store.history(NOON - timedelta(days=1))) == counted
        assert store.filed_last() == ()


@pytest.mark.parametrize("folder", ["INBOX", "Bounces"])
def test_it_is_put_back_and_stays_also_when_a_folder_was_numbered_anew(tmp_path: Path, folder: str) -> None:
    for after in (False, True):
        account = mailbox()
        with opened(tmp_path / f"s{after}") as store:
            run(account, store)
            if not after:
                account.renumber(folder)
            assert undo_last(account, store).moved == 4
            if after:
                account.renumber(folder)

            run(account, store)
            run(account, store, EVERYTHING)

        assert contents(account) == contents(mailbox())


@pytest.mark.parametrize("native", [True, False], ids=["MOVE", "COPY"])
@pytest.mark.parametrize("tells", [True, False], ids=["COPYUID", "silent"])
@pytest.mark.parametrize("then", ["undo", "sweep"])
def test_a_crash_at_any_step_and_another_one_in_the_recovery_loses_and_doubles_nothing(
    tmp_path: Path, native: bool, tells: bool, then: str
) -> None:
    rounds = 0
    for first in count():
        for second in count(first % 4, 4):
            rounds += 1
            with opened(tmp_path / f"{first}-{second}") as store:
                account = mailbox()
                account.native, account.tells = native, tells
                run(account, store)
                counted = list(store.history(NOON - timedelta(days=1)))
                cut = cut_off(account, store, first, undo_last)
                again = cut_off(account, store, second, undo_last if then == "undo" else run)
                assert not lost(account)
                run(account, store)
                undo_last(account, store)
                run(account, store, EVERYTHING)
                assert contents(account) == contents(mailbox())
                assert store.open_entries() == ()
                assert list(store.history(NOON - timedelta(days=1))) == counted
            if not again:
                break
        if not cut:
            break
    assert rounds > 10


def cut_off(account: MemoryAccount, store: Store, after: int, work: Any) -> bool:
    """Work until the fuse blows; whether it did."""
    account.effect = fuse = Fuse(after)
    try:
        work(account, Fused(store, fuse))
    except CutOff:
        return True
    finally:
        account.effect = lambda _what: None
    return False


def lost(account: MemoryAccount) -> bool:
    held = {held.raw for folder in account.folders.values() for held in folder.messages.values()}
    return not held >= {held.raw for held in mailbox().folders["INBOX"].messages.values()}


def test_an_interrupted_filing_is_settled_first_and_what_was_not_moved_is_filed_by_the_next_sweep(
    tmp_path: Path,
) -> None:
    for after in range(1, 12):
        account = mailbox()
        with opened(tmp_path / f"s{after}") as store:
            cut_off(account, store, after, run)
            undo_last(account, store)

            assert contents(account) == contents(mailbox())
            run(account, store)
            undone = sum(past.undone for past in store.past_runs())
            assert in_inbox(account) == 3 + undone


def test_what_the_user_took_away_meanwhile_is_named_and_left_alone(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        run(account, store)
        taken = account.folders["Bounces"].messages.pop(1)
        account.folders["Mine"] = Folder(50)
        account.folders["Mine"].add(taken)
        account.flag("Bounces", 4, r"\Deleted")

        plan = plan_last(account, store)
        report = undo_last(account, store)

    assert [stays.why for stays in plan.stays] == [
        "no longer in 'Bounces': you moved or deleted it",
        "you marked it as deleted",
    ]
    assert (report.moved, report.left) == (2, 2)
    assert len(account.folders["Mine"].messages) == len(account.folders["Bounces"].messages) == 1


def test_what_is_taken_away_between_the_plan_and_the_move_is_found_out(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        run(account, store)
        plan = plan_last(account, store)
        del account.folders["Bounces"].messages[2]
        store.begin_run("undo", NOON)

        report = put_back(plan, account, store, lambda: False)

        assert (report.moved, report.gone, report.unsettled) == (3, 1, 0)
        assert store.open_entries() == ()


def test_a_folder_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    account = mailbox()
    account.folders["Lists"] = account.folders.pop("INBOX")
    account.folders["INBOX"] = Folder(70)
    lists = Task(Scope(("Lists",)), TASK.recogniser, TASK.policy)
    with opened(tmp_path / "s") as store:
        run(account, store, lists)
        plan = plan_last(account, store)
        del account.folders["Lists"]

        with pytest.raises(FolderMissing, match="Lists"):
            put_back(plan, account, store, lambda: False)
        later = plan_last(account, store)

    assert later.batches == ()
    assert {stays.why for stays in later.stays} == {"came from 'Lists', and that folder is gone"}
    assert "Lists" not in account.folders


def test_what_an_interrupted_undo_left_where_it_was_filed_is_not_filed_anew_elsewhere(tmp_path: Path) -> None:
    """The next sweep settles it; it does not take the message for new mail, whatever is configured by then."""
    account = mailbox()
    with opened(tmp_path / "s") as store:
        run(account, store)
        assert cut_off(account, store, 2, undo_last), "intended, and not done"
        elsewhere = Task(TASK.scope, TASK.recogniser, type(TASK.policy)(bounce_folder="Elsewhere"))

        run(account, store, elsewhere)

    assert "Elsewhere" not in account.folders
    assert contents(account) == filed()


def test_a_run_that_is_told_to_stop_puts_nothing_more_back(tmp_path: Path) -> None:
    account = mailbox()
    with opened(tmp_path / "s") as store:
        run(account, store)
        store.begin_run("undo", NOON)

        assert put_back(plan_last(account, store), account, store, lambda: True).moved == 0

    assert contents(account) == filed()


def test_a_twin_that_is_filed_later_does_not_take_the_one_along_that_was_put_back(tmp_path: Path) -> None:
    account = MemoryAccount.of([message(3), message(3)])
    inbox, plain = account.folders["INBOX"], account.folders["INBOX"].messages[2]
    account.flag("INBOX", 2, r"\Deleted")
    with opened(tmp_path / "s") as store:
        assert run(account, store).moved == 1
        inbox.add(account.folders["Bounces"].messages.pop(1))
        inbox.messages[2] = plain

        assert [run(account, store, EVERYTHING).moved for _ in range(3)] == [1, 0, 0]
        assert list(inbox.messages) == [3]


def test_one_message_is_chosen_by_its_message_id(tmp_path: Path) -> None:
    account = MemoryAccount.of([message(1), message(2)])
    (first, second) = account.folders["INBOX"].messages.values()
    account.folders["INBOX"].messages[1] = type(first)(b"Message-ID:\r\n <one@x>\r\n" + first.raw, first.received_at)
    account.folders["INBOX"].messages[2] = type(second)(b"MESSAGE-ID: <one@x.y>\r\n" + second.raw, second.received_at)
    with opened(tmp_path / "s") as store:
        run(account, store)
        messages = store.filed_last()

        assert [m.ref.uid for m in of_message_id(account, messages, "<one@x>")] == [1]
        assert [m.ref.uid for m in of_message_id(account, messages, "one@x.y")] == [2]
        assert of_message_id(account, messages, "one") == ()
