"""The service's own thread: it reacts to what has happened, has done what is due, and tells the service manager.

All state is changed here: workers and signal handlers only put a message into the inbox. This thread also feeds the
watchdog, so systemd hears that all is well from the loop that does the work, or not at all.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import NamedTuple, Protocol, TypeVar

from bouncefiler.doorbell import Doorbell, Sight, Watch
from bouncefiler.errors import BouncefilerError, ConfigError
from bouncefiler.service.account import Account, State
from bouncefiler.service.clock import Clock, Limits
from bouncefiler.service.job import Job, Tick
from bouncefiler.service.retry import Retry, Then, react
from bouncefiler.service.timetable import Message, Timetable, Workers
from bouncefiler.service.trouble import LONGEST_LINE, Hush, briefly, describe, kind, one_line

NOTICEABLE_JUMP = 1.0
NOTICEABLE_SLEEP = 120.0

BETWEEN_CALLS = 1.0
"""A run that something calls for begins no sooner than so many seconds after the last: one for a burst of news."""

AFTER_RESUME = 5.0
"""The network needs a moment, too, to wake up."""

log = logging.getLogger("bouncefiler.service")

T = TypeVar("T")


class Notify(Protocol):
    """How to reach the service manager."""

    def __call__(self, *assignments: str) -> None:
        """Tell it these `NAME=text` assignments (sd_notify(3)). Never raises."""


class _Moment(NamedTuple):
    monotonic: float
    boottime: float
    wall: float


@dataclass(slots=True, eq=False)
class Service:
    """The clock. `run` is all there is to it; the steps it is made of are there for those who bring their own time."""

    load: Callable[[], Sequence[Job]]
    notify: Notify
    watchdog_interval: float | None = None
    clock: Clock = field(default_factory=Clock)
    limits: Limits = field(default_factory=Limits)
    draw: Callable[[], float] = random.random
    exit_code: int = field(default=0, init=False)
    _inbox: SimpleQueue[Message] = field(default_factory=SimpleQueue, init=False)
    _workers: Workers = field(init=False)
    _timetable: Timetable = field(init=False)
    _doorbell: Doorbell = field(default_factory=Doorbell, init=False)
    _accounts: dict[str, Account] = field(default_factory=dict, init=False)
    _leaving: list[Account] = field(default_factory=list, init=False)
    _hush: Hush = field(default_factory=Hush, init=False)
    _moment: _Moment = field(init=False)
    _ready: bool = field(default=False, init=False)
    _rejected: bool = field(default=False, init=False)
    _status: str = field(default="", init=False)
    _next_ping: float = field(default=0.0, init=False)
    _stuck: str = field(default="", init=False)
    _deadline: float | None = field(default=None, init=False)

    def run(self) -> int:
        """Go on until told to stop, or until no account is left to run; return the exit code.

        Raises what `load` raises at the start.
        """
        self.begin()
        try:
            while not self.over():
                self.receive(self.turn())
        finally:
            self._timetable.shutdown()
            self._doorbell.close()
        return self.exit_code

    def post(self, message: Message) -> None:
        """Have the service's own thread do this. May be called from anywhere, signal handlers included."""
        # SimpleQueue.put is reentrant; Event.set is not, and can deadlock in a signal handler.
        self._inbox.put(message)

    def begin(self) -> None:
        """Load the jobs and enter them into the timetable."""
        jobs = self._load()
        self._moment = self._look()
        self._workers = Workers(self.post, self._in_hand)
        self._timetable = Timetable(self._workers, self._skipped)
        self._timetable.start()
        self._enter(jobs, {})

    def turn(self) -> float:
        """Do what is due, and tell the service manager; return for how many seconds to wait for a message then."""
        self._mind_the_clocks()
        following = self._timetable.turn()
        if not self._ready and all(account.tried for account in self._accounts.values()):
            self._ready = True
            self.notify("READY=1", self._said())
        elif self._said() != self._status:
            self.notify(self._said())
        self._status = self._said()
        self._feed_watchdog()
        return self._until(following)

    def receive(self, seconds: float) -> bool:
        """Wait for a message and do as it says; return False when none came in time."""
        try:
            message = self._inbox.get(timeout=seconds)
        except Empty:
            return False
        message()
        return True

    def over(self) -> bool:
        """Whether all has come to its end, or the time for it is over."""
        if self._deadline is None:
            return False
        if self._leaving and self.clock.monotonic() >= self._deadline:
            names = ", ".join(account.job.name for account in self._leaving)
            log.error("%s", one_line(f"stopping without having seen the end of: {names}"))
            return True
        return not self._leaving

    def stop(self, exit_code: int = 0) -> None:
        """Start no run any more, let those that are going on finish the batch in hand, then be over."""
        if self._deadline is not None:
            return
        self._deadline = self.clock.monotonic() + self.limits.grace
        self.exit_code = exit_code
        for account in self._accounts.values():
            self._retire(account)
        self.notify("STOPPING=1")

    def reload(self) -> None:
        """Replace the jobs by those that `load` gives now, or say why not and keep the old ones."""
        if self._deadline is not None:
            return
        self.notify("RELOADING=1", f"MONOTONIC_USEC={int(self.clock.monotonic() * 1_000_000)}")
        try:
            jobs = self._load()
        except BouncefilerError as error:
            self._rejected = True
            log.error("%s", one_line(f"not reloaded, the old configuration stays in force: {error}"))  # noqa: TRY400 - foreseen
        else:
            self._rejected = False
            log.info("configuration reloaded")
            self._replace(jobs)
        self._ready = True
        self._status = self._said()
        self.notify("READY=1", self._status)

    # accounts come and go

    def _load(self) -> Sequence[Job]:
        jobs = self.load()
        if not jobs:
            raise ConfigError("there is no account to watch: write one into the configuration, as [accounts.NAME]")
        return jobs

    def _replace(self, jobs: Iterable[Job]) -> None:
        old, self._accounts = self._accounts, {}
        for account in old.values():
            self._retire(account)
        self._enter(jobs, {name: account.not_before for name, account in old.items()})

    def _enter(self, jobs: Iterable[Job], not_before: dict[str, float]) -> None:
        self._accounts = {job.name: Account(job, not_before.get(job.name, 0.0)) for job in jobs}
        still_there = {account.job.name for account in self._leaving}
        for account, delay in self._spread_out():
            if account.job.name not in still_there:
                self._plan(account, delay)

    def _spread_out(self) -> Iterator[tuple[Account, float]]:
        step = self.limits.spread * min(1.0, 10 / len(self._accounts))
        for number, account in enumerate(self._accounts.values()):
            yield account, number * step

    def _plan(self, account: Account, delay: float) -> None:
        account.state = State.IDLE
        delay = max(delay, account.not_before - self.clock.boottime())
        self._timetable.plan(account, self._run, self.clock.now() + timedelta(seconds=delay))

    def _retire(self, account: Account) -> None:
        account.leaving.set()
        self._timetable.drop(account.job.name)
        if account.state in {State.IDLE, State.BUSY}:
            self._leaving.append(account)
        if account.state is State.IDLE:
            self._close(account)

    def _close(self, account: Account) -> None:
        self._in_hand(account)
        self._workers.do(partial(self._run_close, account))

    def _closed(self, account: Account, error: BaseException | None) -> None:
        account.running = False
        account.state = State.CLOSED
        if error is not None:
            self._complain(account, error)
        if account in self._leaving:
            self._leaving.remove(account)
            successor = self._accounts.get(account.job.name)
            if successor and successor.state is State.WAITING and not successor.leaving.is_set():
                self._plan(successor, 0.0)

    # one run

    def _in_hand(self, account: Account) -> None:
        account.tried = True
        account.state = State.BUSY
        if account.sight is not None:
            self._doorbell.forget(account.sight)
            account.sight = None
        account.sign_of_life = self.clock.monotonic()

    def _skipped(self, name: str) -> None:
        self._accounts[name].missed = True

    def _run(self, account: Account) -> Message:
        """In a worker's thread."""
        tick = Tick(account.leaving.is_set, partial(self._show_life, account))
        if account.leaving.is_set():
            return partial(self._ended, account, None, None)
        watch, error = self._attempt(account, partial(account.job.run, tick))
        return partial(self._ended, account, error, watch)

    def _run_close(self, account: Account) -> Message:
        """In a worker's thread."""
        _, error = self._attempt(account, account.job.close)
        return partial(self._closed, account, error)

    def _attempt(self, account: Account, work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
        self._show_life(account)
        account.running = True
        try:
            return work(), None
        except BaseException as error:  # noqa: BLE001 - the one place; and a panic in Rust is no Exception
            return None, error

    def _show_life(self, account: Account) -> None:
        account.sign_of_life = self.clock.monotonic()

    def _ended(self, account: Account, error: BaseException | None, watch: Watch | None) -> None:
        account.running = False
        account.ended = self.clock.monotonic()
        account.failures = account.failures + 1 if error else 0
        missed, account.missed = account.missed, False
        if error is None:
            self._all_well(account)
        if account.leaving.is_set():
            self._complain(account, error)
            self._close(account)
            return
        match react(error, account.failures, self.draw):
            case Then.HALT:
                self._halt(account, error)
            case Then.AS_USUAL:
                account.state = State.IDLE
                self._complain(account, error)
                if missed:
                    self._plan(account, 0.0)
                elif watch:
                    self._attend_to(account, watch)
            case Retry(after=after, demanded=demanded):
                account.not_before = self.clock.boottime() + demanded
                self._plan(account, after)
                when = (self.clock.now() + timedelta(seconds=after)).astimezone()
                self._complain(account, error, f"; next try at {when:%H:%M:%S}")

    def _attend_to(self, account: Account, watch: Watch) -> None:
        self._bring_forward(account, watch.within)
        if watch.fileno is not None:
            account.sight = sight = self._doorbell.watch(
                watch.fileno, lambda: self.post(partial(self._called, account, sight))
            )

    def _called(self, account: Account, sight: Sight) -> None:
        if account.sight is sight:  # otherwise it is run already, or has been
            account.sight = None
            self._bring_forward(account, 0.0)

    def _bring_forward(self, account: Account, seconds: float) -> None:
        """Run it in so many seconds, unless it is run before that anyway; yet not on the heels of the last run."""
        seconds = max(seconds, account.ended + BETWEEN_CALLS - self.clock.monotonic())
        self._timetable.bring_forward(account.job.name, self.clock.now() + timedelta(seconds=seconds))

    def _halt(self, account: Account, error: BaseException | None) -> None:
        self._timetable.drop(account.job.name)
        account.halted = True
        self._complain(account, error, "; not tried again until bouncefiler is reloaded or restarted", always=True)
        self._close(account)
        if all(other.halted for other in self._accounts.values()):
            self.stop(error.exit_code if isinstance(error, BouncefilerError) else BouncefilerError.exit_code)

    # what is told to whom

    def _complain(
        self, account: Account, error: BaseException | None, further: str = "", *, always: bool = False
    ) -> None:
        if error is None:
            return
        account.trouble = briefly(error) + further
        before = self._hush.may_say(account.job.name, kind(error), self.clock.boottime())
        if before is not None or always:
            account.complained = True
            level = logging.WARNING if isinstance(error, BouncefilerError) and not always else logging.ERROR
            log.log(level, "%s: %s%s%s", one_line(account.job.name), describe(error), further, before or "")

    def _all_well(self, account: Account) -> None:
        account.trouble = ""
        if account.complained:
            account.complained = False
            log.info("%s: works again", one_line(account.job.name))

    def _said(self) -> str:
        if self._deadline is not None:
            parts = ["Stopping: finishing the batch in hand."]
        else:
            watched = sum(not account.halted for account in self._accounts.values())
            parts = [f"Watching {watched} of {len(self._accounts)} accounts."]
        if self._rejected:
            parts.append("The configuration was changed and has an error: using the old one.")
        parts += [f"{name}: {account.trouble}." for name, account in self._accounts.items() if account.trouble]
        return "STATUS=" + one_line(" ".join(parts))[:LONGEST_LINE]

    def _feed_watchdog(self) -> None:
        stuck = self._what_is_stuck()
        if stuck != self._stuck:
            self._stuck = stuck
            log.error("%s", one_line(f"{stuck}; the watchdog is told nothing more")) if stuck else log.info(
                "moving again"
            )
        now = self.clock.monotonic()
        if self.watchdog_interval is not None and not stuck and now >= self._next_ping:
            self._next_ping = now + self.watchdog_interval
            self.notify("WATCHDOG=1")

    def _what_is_stuck(self) -> str:
        busy = [each for each in (*self._accounts.values(), *self._leaving) if each.state is State.BUSY]
        # Those in the queue wait for those that run. Where none runs, nothing explains the wait.
        for account in [each for each in busy if each.running] or busy:
            if self.clock.monotonic() - account.sign_of_life > self.limits.patience:
                return f"{account.job.name}: no progress for more than {self.limits.patience:.0f} s"
        if self._timetable.late(self.clock.now()) > self.limits.patience:
            return "runs are due and are not started"
        return ""

    # time

    def _look(self) -> _Moment:
        return _Moment(self.clock.monotonic(), self.clock.boottime(), self.clock.now().timestamp())

    def _mind_the_clocks(self) -> None:
        before, self._moment = self._moment, self._look()
        passed = _Moment(*(now - then for now, then in zip(self._moment, before, strict=True)))
        if abs(set_by := passed.wall - passed.boottime) > NOTICEABLE_JUMP:
            log.info("the system's time was set by %+.0f s", set_by)
            self._timetable.shift(set_by)
        if (slept := passed.boottime - passed.monotonic) > NOTICEABLE_SLEEP:
            log.info("awake again after %.0f s", slept)
            self._resume()

    def _resume(self) -> None:
        for account, delay in self._spread_out():
            account.failures = 0
            if account.state is State.IDLE:
                self._plan(account, AFTER_RESUME + delay)

    def _until(self, following: float | None) -> float:
        now = self.clock.monotonic()
        ends = [self.limits.pulse]
        if following is not None:
            ends.append(following)
        if self.watchdog_interval is not None and not self._stuck:
            ends.append(self._next_ping - now)
        if self._deadline is not None:
            ends.append(self._deadline - now)
        return max(0.0, min(ends))
