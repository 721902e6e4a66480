"""When the service is ready, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import cast

import pytest

from bouncefiler.errors import LoginRefused
from tests.service.bench import HOUR, PATIENCE, Bench


def test_ready_is_said_when_every_account_has_been_tried(bench: Bench) -> None:
    """READY=1 comes once, when the first run of the last account has begun, and not before."""
    bench.watch("first")
    bench.watch("second")
    bench.begin()
    bench.settle()
    assert "READY=1" not in bench.notes

    bench.pass_time(HOUR)

    assert bench.notes[:2] == ["STATUS=Watching 2 of 2 accounts.", "WATCHDOG=1"]
    assert bench.notes.count("READY=1") == 1


def test_stop_lets_the_batch_in_hand_be_finished(bench: Bench) -> None:
    """After the request to stop, no run begins; the one that goes on hears of it, ends, and is closed."""
    busy, idle = bench.watch("busy", hold=Event()), bench.watch("idle")
    bench.begin()
    assert busy.begun.wait(PATIENCE)
    assert busy.tick is not None
    assert not busy.tick.stopping()

    bench.service.stop()
    assert busy.tick.stopping()
    assert not bench.service.over()
    cast("Event", busy.hold).set()
    bench.settle()

    assert bench.service.over()
    assert bench.service.exit_code == 0
    assert len(busy.closed) == 1
    assert len(idle.closed) == 1
    assert len(idle.runs) == 0
    assert bench.notes.count("STOPPING=1") == 1


def test_stop_during_a_reload_starts_nothing_new(bench: Bench) -> None:
    """An account whose old run is still going on when the service is stopped does not run again."""
    old, new = bench.reload_while_busy()

    bench.service.stop()
    bench.service.reload()
    cast("Event", old.hold).set()
    bench.settle()

    assert bench.service.over()
    bench.service.turn()
    bench.settle()
    assert new.runs == new.closed == []


def test_signal_does_not_hide_why_the_service_ends(bench: Bench) -> None:
    """A service that is ending because of a refused password ends with that exit code, signal or not."""
    bench.watch(raises=LoginRefused("wrong password"))
    bench.start()

    bench.service.stop()

    assert bench.service.exit_code == 77


def test_run_that_does_not_end_holds_up_the_stop_for_45_seconds(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """A hung run is left behind when the grace is over, and named."""
    hung = bench.watch(hold=Event())
    bench.begin()
    assert hung.begun.wait(PATIENCE)
    bench.service.stop()
    bench.machine.go_on(44.9)
    assert not bench.service.over()
    assert bench.service.turn() == pytest.approx(0.1)

    bench.machine.go_on(0.1)

    assert bench.service.over()
    assert lines() == ["stopping without having seen the end of: home"]
    cast("Event", hung.hold).set()


def test_trouble_in_closing_is_only_logged(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """An account that can't be closed properly does not keep the service from ending."""
    account = bench.watch()
    bench.start()
    account.closed = cast("list[float]", None)

    bench.service.stop()
    bench.settle()

    assert bench.service.over()
    assert "AttributeError" in lines()[0]
