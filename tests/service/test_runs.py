"""When runs begin, and what a run can ask for."""

from __future__ import annotations

import socket
from datetime import timedelta
from threading import Event
from typing import cast

from bouncefiler.doorbell import Watch
from tests.service.bench import HOUR, PATIENCE, Bench


def test_first_run_comes_at_once_and_the_next_after_the_interval(bench: Bench) -> None:
    """An account is looked at right at the start, then at its interval and up to a tenth later."""
    account = bench.watch()

    bench.service.begin()
    bench.pass_time(HOUR)

    assert account.runs[0] == 1_000.0
    assert len(account.runs) in {11, 12, 13}
    assert all(300 <= gap <= 331 for gap in account.gaps)


def test_accounts_do_not_begin_all_at_once(bench: Bench) -> None:
    """The first runs of many accounts are spread out, and all have begun within ten seconds."""
    accounts = [bench.watch(f"account{number}") for number in range(50)]

    bench.start(10.1)

    firsts = [account.runs[0] for account in accounts]
    assert len(set(firsts)) == 50
    assert max(firsts) <= 1_010.0


def test_late_run_is_made_up_for_once(bench: Bench) -> None:
    """A process that was stopped over several due times runs once, at once, and is not behind after that."""
    account = bench.watch()
    bench.start()

    bench.machine.go_on(2_000)
    bench.pass_time(1)

    assert account.runs == [1_000.0, 3_015.0]


def test_run_that_came_due_during_a_long_one_follows_it(bench: Bench) -> None:
    """Two runs of an account never overlap, and the one that was due meanwhile is not lost."""
    account = bench.watch(hold=Event())
    bench.begin()
    assert account.begun.wait(PATIENCE)
    bench.machine.go_on(500)
    bench.service.turn()
    assert len(account.runs) == 1
    cast("Event", account.hold).set()
    bench.settle()

    bench.service.turn()
    bench.settle()

    assert account.runs == [1_000.0, 1_500.0]


def test_one_hung_account_does_not_hold_up_another(bench: Bench) -> None:
    """Each account has its own time and its own worker."""
    hung, other = bench.watch("hung", hold=Event()), bench.watch("other")
    bench.begin()

    for _ in range(10):
        bench.machine.go_on(331)
        bench.service.turn()
        bench.settle(but=1)

    assert len(other.runs) == 10
    assert len(hung.runs) == 1
    cast("Event", hung.hold).set()
    bench.settle()


def test_a_run_can_ask_for_the_next_one_sooner(bench: Bench) -> None:
    """Never later than its interval, and not on its own heels."""
    account = bench.watch(asks=Watch(within=60.0))
    bench.start(200)

    assert account.gaps == [60.0, 60.0, 60.0]
    account.asks = Watch(within=9_999.0)
    bench.pass_time(700)
    assert max(account.gaps) <= 1.1 * 300


def test_a_run_that_asks_for_the_next_at_once_is_given_a_second(bench: Bench) -> None:
    account = bench.watch(asks=Watch(within=0.0))
    bench.start(3.5)

    assert account.gaps == [1.0, 1.0, 1.0]


def test_a_socket_that_can_be_read_calls_for_a_run(bench: Bench) -> None:
    """Long before the interval is over; and only once."""
    here, there = socket.socketpair()
    with here, there:
        account = bench.watch(asks=Watch(480.0, here.fileno()))
        bench.start(30)
        account.asks = None
        there.send(b"x")
        assert bench.service.receive(PATIENCE), "nothing called"
        bench.pass_time(30)

        assert len(account.runs) == 2
        assert account.gaps[0] <= 31.0


def test_a_call_that_comes_while_the_run_goes_on_already_starts_no_other(bench: Bench) -> None:
    here, there = socket.socketpair()
    with here, there:
        account = bench.watch(asks=Watch(480.0, here.fileno()))
        bench.start(30)
        sight = bench.service._accounts["home"].sight
        account.asks = None
        assert sight is not None
        bench.pass_time(300)  # the next run has begun by itself
        runs = len(account.runs)
        sight.wake()
        assert bench.service.receive(PATIENCE)
        bench.pass_time(30)

        assert len(account.runs) == runs == 2


def test_a_stop_closes_an_account_that_waits(bench: Bench) -> None:
    here, there = socket.socketpair()
    with here, there:
        account = bench.watch(asks=Watch(480.0, here.fileno()))
        bench.start(30)
        bench.service.stop()
        bench.settle()

        assert bench.service.over()
        assert len(account.closed) == 1


def test_a_wait_is_no_hang(bench: Bench) -> None:
    """The watchdog is fed while all accounts wait for their servers."""
    here, there = socket.socketpair()
    with here, there:
        bench.watch(asks=Watch(480.0, here.fileno()), interval=timedelta(hours=1))
        bench.start()
        bench.notes.clear()
        bench.pass_time(470)

        assert bench.notes.count("WATCHDOG=1") >= 3


def test_after_a_suspend_an_account_that_waits_is_looked_at(bench: Bench) -> None:
    """Its connection may be dead without a word."""
    here, there = socket.socketpair()
    with here, there:
        account = bench.watch(asks=Watch(480.0, here.fileno()))
        bench.start(30)
        bench.machine.sleep(HOUR)
        bench.pass_time(10)

        assert len(account.runs) == 2
