"""What the tests of the service share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo

import pytest

from tests.service.bench import Bench, Machine


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    machine = Machine()

    class MachineTime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return machine.wall.astimezone(tz)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", MachineTime)
    bench = Bench(machine)
    yield bench
    bench.service._timetable.shutdown()
    bench.service._doorbell.close()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "bouncefiler.service")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "bouncefiler.service"]
