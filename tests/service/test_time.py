"""The machine's time: set by somebody, or standing still while it sleeps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bouncefiler.errors import Throttled, Unreachable
from tests.service.bench import HOUR, Bench


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0])
def test_setting_the_time_changes_no_schedule(bench: Bench, seconds: float) -> None:
    """With the wall clock set by a day, the next run still comes after its interval."""
    account = bench.watch()
    bench.start(200)

    bench.machine.set_time(seconds)
    bench.pass_time(HOUR)

    assert all(300 <= gap <= 331 for gap in account.gaps)
    assert len(account.gaps) >= 10


def test_setting_the_time_cuts_no_wait_short(bench: Bench) -> None:
    """What the server asked for is measured by a clock that nobody can set."""
    account = bench.watch(raises=Throttled("wait", 2 * HOUR))
    bench.start()

    bench.machine.set_time(86_400)
    bench.pass_time(1.9 * HOUR)

    assert len(account.runs) == 1


def test_accounts_run_soon_after_a_suspend(bench: Bench) -> None:
    """When the machine wakes up, accounts are looked at within half a minute, but for throttled ones."""
    well = bench.watch("well", interval=timedelta(hours=12))
    unreachable = bench.watch("unreachable", raises=Unreachable("gone"))
    throttled = bench.watch("throttled", raises=Throttled("wait", 9 * HOUR))
    bench.start(5 * HOUR)
    counts = len(well.runs), len(unreachable.runs), len(throttled.runs)
    assert counts[0] == 1

    bench.machine.sleep(600)
    bench.pass_time(30)
    assert (len(well.runs), len(unreachable.runs), len(throttled.runs)) == (2, counts[1] + 1, 1)

    bench.pass_time(60)
    assert len(unreachable.runs) == counts[1] + 2


def test_wait_goes_on_while_the_machine_sleeps(bench: Bench) -> None:
    """A server that asked for two hours has got them when the machine has slept for eight."""
    account = bench.watch(raises=Throttled("wait", 2 * HOUR))
    bench.start()

    bench.machine.sleep(8 * HOUR)
    bench.pass_time(60)

    assert len(account.runs) == 2
