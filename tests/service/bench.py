"""A service with a time of the tests' own, and jobs that count."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

from bouncefiler.doorbell import Watch
from bouncefiler.errors import BouncefilerError
from bouncefiler.service import Job, Tick
from bouncefiler.service.clock import Clock
from bouncefiler.service.loop import Service

HOUR = 3_600.0
FIVE_MINUTES = timedelta(minutes=5)
PATIENCE = 10.0  # how long a test waits for what must come; it is used up only where the code is wrong


@dataclass
class Machine:
    """A computer's three clocks, which pass only when told to."""

    monotonic: float = 1_000.0
    asleep: float = 500.0
    wall: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def clock(self) -> Clock:
        return Clock(lambda: self.monotonic, lambda: self.monotonic + self.asleep, lambda: self.wall)

    def go_on(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        self.asleep += seconds
        self.wall += timedelta(seconds=seconds)

    def set_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@dataclass
class Account:
    """A job that counts, and raises what it is told to."""

    name: str
    machine: Machine
    interval: timedelta = FIVE_MINUTES
    raises: BaseException | None = None
    times: int = sys.maxsize
    """How many runs raise it."""
    hold: Event | None = None
    """Until this is set, a run goes on."""
    runs: list[float] = field(default_factory=list)
    closed: list[float] = field(default_factory=list)
    asks: Watch | None = None
    tick: Tick | None = None
    begun: Event = field(default_factory=Event)

    def job(self) -> Job:
        return Job(self.name, self.interval, self.run, lambda: self.closed.append(self.machine.monotonic))

    def run(self, tick: Tick) -> Watch | None:
        self.runs.append(self.machine.monotonic)
        self.tick = tick
        self.begun.set()
        if self.hold is not None:
            assert self.hold.wait(PATIENCE)
        if self.raises is not None and len(self.runs) <= self.times:
            raise self.raises
        return self.asks

    @property
    def gaps(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.runs, self.runs[1:], strict=False)]


@dataclass
class Bench:
    """A service and the machine that it runs on."""

    machine: Machine
    accounts: list[Account] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_error: BouncefilerError | None = None
    service: Service = field(init=False)

    def __post_init__(self) -> None:
        self.service = Service(self.load, self.note, 150.0, self.machine.clock(), draw=lambda: 0.5)

    def load(self) -> Sequence[Job]:
        if self.load_error:
            raise self.load_error
        return [account.job() for account in self.accounts]

    def note(self, *assignments: str) -> None:
        self.notes += assignments

    def watch(self, name: str = "home", **how: object) -> Account:
        account = Account(name, self.machine, **how)  # type: ignore[arg-type]
        self.accounts.append(account)
        return account

    def reload_while_busy(self) -> tuple[Account, Account]:
        """Load other jobs while a run is held; return the account of that run, and the one in its place."""
        old = self.watch(hold=Event())
        self.begin()
        assert old.begun.wait(PATIENCE)
        self.accounts = []
        new = self.watch()
        self.service.reload()
        return old, new

    def begin(self) -> None:
        self.service.begin()
        self.service.turn()

    def settle(self, but: int = 0) -> None:
        """Wait for the workers to be done, but for some that hang."""
        while self.service._workers._pending > but:
            assert self.service.receive(PATIENCE)

    def pass_time(self, seconds: float) -> None:
        """Do what the service's loop does, for so many seconds."""
        end = self.machine.monotonic + seconds
        while (rest := end - self.machine.monotonic) > 0 and not self.service.over():
            pause = self.service.turn()
            if self.service._workers._pending:
                self.settle()
            else:
                self.machine.go_on(min(rest, max(pause, 0.001)))
        self.service.turn()
        self.settle()

    def start(self, seconds: float = 15.0) -> None:
        self.service.begin()
        self.pass_time(seconds)

    @property
    def status(self) -> str:
        return [note for note in self.notes if note.startswith("STATUS=")][-1]
