"""The service's work: one account's desk, kept from run to run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bouncefiler import config
from bouncefiler.desk import IDLE_SECONDS, Desk, take_desk
from bouncefiler.doorbell import Watch
from bouncefiler.edge import systemd
from bouncefiler.errors import BouncefilerError
from bouncefiler.filing.plan import Plan
from bouncefiler.sent import SentReport
from bouncefiler.settings import Account, Settings
from bouncefiler.sweep import Brake, Report, Scope

if TYPE_CHECKING:
    from bouncefiler.service import Tick

log = logging.getLogger("bouncefiler")

SENT_SECONDS = 20.0
"""How long the service reads sent mail at a time."""


def serve(path: Path | None, environ: Mapping[str, str]) -> int:
    """Work on all accounts until told to stop, and return the exit status. Raises ConfigError at the start only."""
    from bouncefiler import service  # noqa: PLC0415 - only the service needs its clock, and that takes long to load

    def load() -> list[service.Job]:
        settings = config.load(path, environ)
        return [_job(account, settings, environ) for account in settings.accounts.values()]

    def _job(account: Account, settings: Settings, environ: Mapping[str, str]) -> service.Job:
        shift = Shift(account, settings, environ)
        return service.Job(account.name, account.poll_interval, shift.work, shift.end)

    return service.run_service(load, notify=systemd.notify, watchdog_interval=systemd.watchdog_interval(environ))


@dataclass(slots=True)
class Shift:
    """The service's work on one account: the desk is taken at the first run and kept until the end."""

    account: Account
    settings: Settings
    environ: Mapping[str, str]
    desk: Desk | None = None
    hurried: bool = False
    """Whether the run before was called for at its very end."""

    def work(self, tick: Tick) -> Watch | None:
        """Do one run; return what to wait for before the next, None for the time when it is due."""
        if self.desk is None:
            self.desk = take_desk(self.account, self.settings, self.environ, "bouncefiler run")
        try:
            self._look(self.desk, tick)
        except BouncefilerError:
            self.desk.deliver(reachable=False)
            raise
        self.desk.deliver()
        return None if tick.stopping() else self._wait(self.desk)

    def _look(self, desk: Desk, tick: Tick) -> None:
        onlooker = _Onlooker(tick, Brake())
        sent_watcher = _SentOnlooker(tick, time.monotonic() + SENT_SECONDS)
        if desk.quiet():
            if desk.sent_is_due():
                desk.index_sent(sent_watcher)
            desk.inquire(onlooker.stopping)
            desk.watch()
        else:
            report = desk.sweep(Scope(self.account.folders), onlooker, "run", sent_watcher)
            if report.moved or report.settled:
                log.info("%s: filed %d of %d new messages", self.account.name, report.moved, report.scanned)

    def _wait(self, desk: Desk) -> Watch | None:
        vigil = desk.idle()
        if vigil is not None and vigil.fileno is not None:
            self.hurried = False
            return Watch(IDLE_SECONDS, vigil.fileno)
        # Something has come already. Told so twice on end, rather wait for the next tick: the server may be confused.
        self.hurried = vigil is not None and not self.hurried
        return Watch(0.0) if self.hurried else None

    def end(self) -> None:
        """Log out and let go of the state."""
        if self.desk is not None:
            self.desk.leave()
            self.desk = None


@dataclass(frozen=True, slots=True)
class _Onlooker:
    """Tells the clock that the work goes on."""

    tick: Tick
    brake: Brake

    def check(self, plan: Plan) -> None:
        self.brake.check(plan)

    def done(self, _plan: Plan, _report: Report) -> None:
        self.tick.progress()

    def stopping(self) -> bool:
        self.tick.progress()
        return self.tick.stopping()


@dataclass(slots=True)
class _SentOnlooker:
    """Tells the clock that the work goes on, and ends it when its time is up: it must not keep filing waiting."""

    tick: Tick
    until: float

    def sent_read(self, _report: SentReport) -> None:
        self.tick.progress()

    def stopping(self) -> bool:
        return self.tick.stopping() or time.monotonic() >= self.until
