"""What a reload replaces, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import cast

import pytest

from bouncefiler.errors import ConfigError, LoginRefused, Throttled, Unreachable
from tests.service.bench import HOUR, Bench


def test_reload_replaces_the_jobs(bench: Bench) -> None:
    """After a reload the new accounts run, the old ones don't, and what those held is let go."""
    old = bench.watch("old")
    bench.start()
    bench.accounts = []
    new = bench.watch("new")

    bench.service.reload()
    bench.pass_time(HOUR)

    assert len(old.runs) == 1
    assert len(old.closed) == 1
    assert len(new.runs) > 10


def test_wrong_configuration_leaves_the_old_one_in_force(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """A reload that fails changes nothing, and says why."""
    account = bench.watch()
    bench.start()
    bench.load_error = ConfigError("config.toml: accounts.home.port: expected a number")

    bench.service.reload()
    bench.pass_time(HOUR)

    assert len(account.runs) > 10
    assert account.closed == []
    assert lines() == [
        "not reloaded, the old configuration stays in force: config.toml: accounts.home.port: expected a number"
    ]
    assert "has an error" in bench.status


def test_reload_is_told_to_systemd(bench: Bench) -> None:
    """RELOADING=1 comes with the time, and READY=1 follows, whether the new configuration is right or wrong."""
    bench.watch()
    bench.start()
    for error in (None, ConfigError("wrong")):
        bench.load_error = error
        bench.notes.clear()

        bench.service.reload()

        assert bench.notes[:3] == ["RELOADING=1", "MONOTONIC_USEC=1015000000", "READY=1"]


def test_new_job_waits_for_the_end_of_the_old_one(bench: Bench) -> None:
    """A run that is going on at a reload is asked to stop; the next one begins when it has ended and closed."""
    old, new = bench.reload_while_busy()
    bench.machine.go_on(400)
    bench.service.turn()
    assert old.tick is not None
    assert old.tick.stopping()
    assert new.runs == []

    cast("Event", old.hold).set()
    bench.machine.go_on(1)
    bench.settle()
    bench.pass_time(1)

    assert old.closed == [1_401.0]
    assert new.runs == [1_401.0]


def test_reload_during_a_reload_runs_only_the_last(bench: Bench) -> None:
    """Of two configurations that came during one long run only the second takes effect."""
    first, second = bench.reload_while_busy()
    bench.accounts = []
    third = bench.watch()
    bench.service.reload()

    cast("Event", first.hold).set()
    bench.settle()
    bench.pass_time(HOUR)

    assert second.runs == []
    assert len(third.runs) > 10


def test_reload_lets_a_refused_account_try_again(bench: Bench) -> None:
    """What was stopped for good is stopped until the reload."""
    account = bench.watch(raises=LoginRefused("wrong password"))
    bench.watch("other")
    bench.start()
    account.raises = None

    bench.service.reload()
    bench.pass_time(HOUR)

    assert len(account.runs) > 10


def test_reload_does_not_cut_short_what_the_server_asked_for(bench: Bench) -> None:
    """A throttled account stays quiet over reloads; one that was merely unreachable is tried at once."""
    throttled = bench.watch("throttled", raises=Throttled("wait", 2 * HOUR))
    unreachable = bench.watch("unreachable", raises=Unreachable("gone"))
    bench.start(HOUR)
    count = len(unreachable.runs)

    bench.service.reload()
    bench.pass_time(30)
    assert len(throttled.runs) == 1
    assert len(unreachable.runs) == count + 1
    bench.pass_time(HOUR + 0.2 * HOUR)

    assert len(throttled.runs) == 2
    assert throttled.gaps[0] >= 2 * HOUR


def test_service_without_accounts_is_a_wrong_configuration(bench: Bench) -> None:
    """A service that would watch nothing says so instead of starting; at a reload it goes on as before."""
    with pytest.raises(ConfigError, match="no account"):
        bench.service.begin()

    bench.watch()
    bench.start()
