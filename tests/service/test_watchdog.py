"""The watchdog is fed while all is well, and only then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import cast

from tests.service.bench import PATIENCE, Bench


def pings(bench: Bench) -> int:
    return bench.notes.count("WATCHDOG=1")


def test_watchdog_is_fed_while_all_is_well(bench: Bench) -> None:
    """WATCHDOG=1 comes at the interval that was asked for, however seldom the jobs are due."""
    bench.watch(interval=timedelta(hours=2))

    bench.start(1_500)

    assert pings(bench) == 11


def test_watchdog_is_not_fed_while_a_run_shows_no_progress(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """A hung run lets the pings cease, and they come back with its next sign of life."""
    hung = bench.watch(hold=Event())
    bench.begin()
    assert hung.begun.wait(PATIENCE)
    bench.machine.go_on(600)
    bench.service.turn()
    fed = pings(bench)
    for _ in range(20):
        bench.machine.go_on(150)
        bench.service.turn()
    assert pings(bench) == fed == 2
    assert lines() == ["home: no progress for more than 600 s; the watchdog is told nothing more"]

    assert hung.tick is not None
    hung.tick.progress()
    bench.service.turn()

    assert pings(bench) == fed + 1
    cast("Event", hung.hold).set()
    bench.settle()


def test_long_run_that_makes_progress_is_not_hung(bench: Bench) -> None:
    """A run may take hours as long as it says that it goes on."""
    account = bench.watch(hold=Event())
    bench.begin()
    assert account.begun.wait(PATIENCE)
    assert account.tick is not None
    fed = pings(bench)

    for _ in range(100):
        bench.machine.go_on(150)
        account.tick.progress()
        bench.service.turn()

    assert pings(bench) == fed + 100
    cast("Event", account.hold).set()
    bench.settle()


def test_hung_run_is_noticed_during_stop_and_reload_too(bench: Bench) -> None:
    """An old run that a reload waits for is watched like any other."""
    hung = bench.watch(hold=Event())
    bench.begin()
    assert hung.begun.wait(PATIENCE)
    bench.accounts = []
    bench.watch()
    bench.service.reload()
    bench.machine.go_on(601)
    fed = pings(bench)

    bench.service.turn()

    assert pings(bench) == fed
    cast("Event", hung.hold).set()
    bench.settle()


def test_watchdog_is_not_fed_when_the_timetable_stands_still(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Runs that are due and do not start are no progress either."""
    bench.watch()
    bench.start()
    bench.service._timetable.pause()
    bench.machine.go_on(1_000)
    fed = pings(bench)

    bench.service.turn()

    assert pings(bench) == fed
    assert lines() == ["runs are due and are not started; the watchdog is told nothing more"]
