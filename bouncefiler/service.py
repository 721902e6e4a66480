"""A clock: runs one job for each account every so often, until told to stop. It knows nothing of mail.

What a job raises (`errors`) decides when it runs again. All state is changed in one thread, the one that calls
`run_service`: workers and signal handlers only put a message into its inbox. That thread also feeds the watchdog, so
systemd hears that all is well from the loop that does the work, or not at all.
"""

from __future__ import annotations

import logging
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from types import FrameType
from typing import Any, NamedTuple, Protocol, TypeVar

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.interval import IntervalTrigger

from bouncefiler.doorbell import Doorbell, Sight, Watch
from bouncefiler.errors import (
    BouncefilerError,
    ConfigError,
    CredentialError,
    FolderRenumbered,
    LoginRefused,
    OverQuota,
    StoreBroken,
    StoreBusy,
    Throttled,
    Unreachable,
    Untrusted,
)

HOUR = 3_600.0
DAY = 86_400.0

JITTER = 0.1
"""By what share an interval may be longer, so that accounts of one server don't come to it all at once."""

FIRST_RETRY = 60.0
LONGEST_RETRY = HOUR

LONGEST_DEMAND = DAY
"""The longest wait that a server can ask for; Gmail's lock-out, the longest known, takes 24 h."""

NOTICEABLE_JUMP = 1.0
NOTICEABLE_SLEEP = 120.0

BETWEEN_CALLS = 1.0
"""A run that something calls for begins no sooner than so many seconds after the last: one for a burst of news."""

AFTER_RESUME = 5.0
"""The network needs a moment, too, to wake up."""

MOST_WORKERS = 8
"""How many accounts are worked on at once."""

LONGEST_LINE = 500
LONGEST_TRACEBACK = 4_000

log = logging.getLogger(__name__)

T = TypeVar("T")

Message = Callable[[], None]
"""What the service's own thread is to do next."""


def _nothing() -> None:
    pass


# --- the words


@dataclass(frozen=True, slots=True)
class Tick:
    """What a run is handed, and may call from its thread at any time."""

    stopping: Callable[[], bool]
    """Whether to end after the batch in hand: the service stops, or the account's configuration was replaced."""
    progress: Callable[[], None]
    """Say that the work goes on. A run that is silent for `Limits.patience` seconds counts as hung."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do for one account. Its calls come from changing threads, but never two at a time."""

    name: str
    """The account's name; unique."""
    interval: timedelta
    run: Callable[[Tick], Watch | None]
    close: Callable[[], None] = _nothing
    """Let go of what the runs have kept open: called when the account is not run any more, or not until a reload."""


class Notify(Protocol):
    """How to reach the service manager."""

    def __call__(self, *assignments: str) -> None:
        """Tell it these `NAME=text` assignments (sd_notify(3)). Never raises."""


def _boottime() -> float:
    # Where there is no such clock, a suspend is not noticed as one; the wall clock that jumped then is.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """The three clocks of a machine (clock_gettime(2))."""

    monotonic: Callable[[], float] = time.monotonic
    """Never set, and stands still while the machine sleeps."""
    boottime: Callable[[], float] = _boottime
    """Never set, and runs on while the machine sleeps."""
    now: Callable[[], datetime] = _now
    """May be set by anyone at any time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long what may take, in seconds."""

    grace: float = 45.0
    """How long runs may go on after the request to stop; systemd waits for 60 s (TimeoutStopSec in the units)."""
    patience: float = 600.0
    """How long a run may show no progress, or the timetable be late, before the watchdog is told nothing any more."""
    pulse: float = 30.0
    """How often to look at the clocks when there is nothing else to do."""
    spread: float = 1.0
    """How far apart the first runs of the accounts are; all begin within ten times this."""


# --- what to do after a run


@dataclass(frozen=True, slots=True)
class Retry:
    """Run again after so many seconds, `demanded` of which not even a reload or a resume may shorten."""

    after: float
    demanded: float = 0.0


class Then(Enum):
    """The other two answers."""

    AS_USUAL = auto()
    """Run again at the next tick."""
    HALT = auto()
    """Don't run again until a person has done something about it."""


def react(error: BaseException | None, failures: int, draw: Callable[[], float]) -> Retry | Then:
    """Decide when to run again after `error`, the `failures`-th in a row; `draw` gives numbers from [0, 1)."""
    match error:
        case LoginRefused() | CredentialError() | Untrusted() | ConfigError():
            return Then.HALT
        case Throttled(retry_after=seconds):
            demanded = _demanded(seconds) * (1 + JITTER * draw())
            return Retry(max(demanded, back_off(failures, draw)), demanded)
        case OverQuota():
            return Retry(HOUR * (1 + JITTER * draw()))
        case FolderRenumbered() if failures == 1:
            return Retry(0.0)
        case Unreachable() | StoreBusy() | StoreBroken() | FolderRenumbered():
            return Retry(back_off(failures, draw))
        case _:
            return Then.AS_USUAL


def back_off(failures: int, draw: Callable[[], float]) -> float:
    """Return how many seconds to wait: twice as long each time, up to an hour, and between half and all of that."""
    longest = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 10))
    return longest * (1 + draw()) / 2


def _demanded(seconds: float) -> float:
    # NaN compares false with everything, and so ends as 0: the server did not say.
    return min(seconds, LONGEST_DEMAND) if seconds > 0 else 0.0


# --- what is said about it


def one_line(text: str) -> str:
    """Make one line of the text without any control, direction or invisible character."""
    joined = " | ".join(stripped for line in text.splitlines() if (stripped := line.strip()))
    return "".join(character if character.isprintable() else "?" for character in joined)


def describe(error: BaseException) -> str:
    """Return the line for a person; of an error that nobody has foreseen also where it came from, without values."""
    if isinstance(error, BouncefilerError):
        return one_line(str(error))[:LONGEST_LINE]
    trace = traceback.TracebackException.from_exception(error, limit=-12, lookup_lines=False)
    return "unexpected " + one_line("\n".join(_story(trace)))[:LONGEST_TRACEBACK]


def _story(trace: traceback.TracebackException) -> Iterator[str]:
    yield one_line("".join(trace.format_exception_only()))[:LONGEST_LINE]
    yield from (f"at {frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(trace.stack))
    if cause := trace.__cause__ or (None if trace.__suppress_context__ else trace.__context__):
        yield "because of"
        yield from _story(cause)


def _briefly(error: BaseException) -> str:
    return describe(error) if isinstance(error, BouncefilerError) else f"unexpected {type(error).__name__}, see the log"


def _kind(error: BaseException) -> str:
    """Return what makes two errors the same trouble; of our own the class, as texts of servers vary."""
    name = type(error).__name__
    if isinstance(error, BouncefilerError):
        return name
    places = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{name} {places[0].filename}:{places[0].lineno}" if places else name


@dataclass(slots=True)
class Hush:
    """Lets the same trouble of the same account be said once an hour, and counts in between."""

    said: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    def may_say(self, account: str, kind: str, now: float) -> str | None:
        """Return None to keep quiet, else what to add about the times that were not said."""
        self.said = {key: (at, times) for key, (at, times) in self.said.items() if now - at < 2 * HOUR}
        at, times = self.said.get((account, kind), (-HOUR, 0))
        if now - at < HOUR:
            self.said[account, kind] = (at, times + 1)
            return None
        self.said[account, kind] = (now, 0)
        return f" (and {times} more like it since the last time)" if times else ""


# --- the door to APScheduler


class _Workers(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler's executor: a few threads, and daemons, so that a hung one can't keep the process from ending."""

    def __init__(self, post: Callable[[Message], None], in_hand: Callable[[_Account], None]) -> None:
        super().__init__()
        self._post = post
        self._in_hand = in_hand
        self._tasks: SimpleQueue[tuple[Callable[[], Message], Message] | None] = SimpleQueue()
        self._threads = 0
        self._pending = 0

    def do(self, work: Callable[[], Message], before: Message = _nothing) -> None:
        """Do the work in a thread, then, in the service's own, `before` and the message that came of the work."""
        if self._threads < min(self._pending + 1, MOST_WORKERS):
            Thread(target=self._serve, name=f"worker-{self._threads}", daemon=True).start()
            self._threads += 1
        self._tasks.put((work, before))
        self._pending += 1

    def shutdown(self, wait: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - APScheduler's signature
        for _ in range(self._threads):
            self._tasks.put(None)

    def _do_submit_job(self, job: Any, run_times: object) -> None:  # noqa: ARG002 - APScheduler's signature
        self._in_hand(*job.args)
        # That a job is over is told to APScheduler in the service's own thread too, or it could start the next run
        # before it is known what came of this one.
        self.do(partial(job.func, *job.args), before=partial(self._run_job_success, job.id, ()))

    def _serve(self) -> None:
        while (task := self._tasks.get()) is not None:
            work, before = task
            self._post(partial(self._done, before, work()))

    def _done(self, before: Message, message: Message) -> None:
        self._pending -= 1
        before()
        message()


class _Timetable(BaseScheduler):  # type: ignore[misc]  # APScheduler has no types
    """APScheduler without a thread of its own: it works when it is turned.

    It goes by the wall clock, the only one it knows; `shift` undoes the harm when that is set.
    """

    def wakeup(self) -> None:
        """Do nothing: only the thread that turns it changes it."""

    def shutdown(self) -> None:
        super().shutdown(wait=False)

    def turn(self) -> float | None:
        """Start what is due; return in how many seconds to come again, None when nothing is planned."""
        seconds: float | None = self._process_jobs()
        return seconds

    def plan(self, account: _Account, run: Callable[[_Account], Message], when: datetime) -> None:
        seconds = account.job.interval.total_seconds()
        self.add_job(
            run,
            IntervalTrigger(seconds=seconds, jitter=JITTER * seconds, timezone=UTC),
            args=(account,),
            id=account.job.name,
            next_run_time=when,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,  # late is better than never, however late
        )

    def bring_forward(self, name: str, when: datetime) -> None:
        job = self.get_job(name)
        if job and when < job.next_run_time:
            job.modify(next_run_time=when)

    def drop(self, name: str) -> None:
        if self.get_job(name):
            self.remove_job(name)

    def shift(self, seconds: float) -> None:
        for job in self.get_jobs():
            job.modify(next_run_time=job.next_run_time + timedelta(seconds=seconds))

    def late(self, now: datetime) -> float:
        """Return by how many seconds the most belated job is late."""
        return max(((now - job.next_run_time).total_seconds() for job in self.get_jobs()), default=0.0)


# --- the service


class _State(Enum):
    WAITING = auto()
    """Until the account of the same name from the old configuration is closed."""
    IDLE = auto()
    """In the timetable."""
    BUSY = auto()
    """In the hands of the workers, to be run or to be closed."""
    CLOSED = auto()


@dataclass(slots=True, eq=False)
class _Account:
    job: Job
    not_before: float = 0.0
    """By `Clock.boottime`: the server has asked for peace until then."""
    state: _State = _State.WAITING
    leaving: Event = field(default_factory=Event)
    tried: bool = False
    halted: bool = False
    missed: bool = False
    """A run was due while the last one was still going on."""
    failures: int = 0
    complained: bool = False
    trouble: str = ""
    running: bool = False
    """Set by the worker that has taken it up."""
    sign_of_life: float = 0.0
    """By `Clock.monotonic`. Set by the worker."""
    ended: float = 0.0
    """When the last run did, by `Clock.monotonic`."""
    sight: Sight | None = None
    """The socket that the doorbell watches."""


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
    _workers: _Workers = field(init=False)
    _timetable: _Timetable = field(init=False)
    _doorbell: Doorbell = field(default_factory=Doorbell, init=False)
    _accounts: dict[str, _Account] = field(default_factory=dict, init=False)
    _leaving: list[_Account] = field(default_factory=list, init=False)
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
        # That a run is skipped while the last one goes on is known here and made good; nobody need read it.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._moment = self._look()
        self._workers = _Workers(self.post, self._in_hand)
        self._timetable = _Timetable(timezone=UTC, executors={"default": self._workers})
        self._timetable.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)
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
        self._accounts = {job.name: _Account(job, not_before.get(job.name, 0.0)) for job in jobs}
        still_there = {account.job.name for account in self._leaving}
        for account, delay in self._spread_out():
            if account.job.name not in still_there:
                self._plan(account, delay)

    def _spread_out(self) -> Iterator[tuple[_Account, float]]:
        step = self.limits.spread * min(1.0, 10 / len(self._accounts))
        for number, account in enumerate(self._accounts.values()):
            yield account, number * step

    def _plan(self, account: _Account, delay: float) -> None:
        account.state = _State.IDLE
        delay = max(delay, account.not_before - self.clock.boottime())
        when = self.clock.now() + timedelta(seconds=delay)
        if job := self._timetable.get_job(account.job.name):
            job.modify(next_run_time=when)
        else:
            self._timetable.plan(account, self._run, when)

    def _retire(self, account: _Account) -> None:
        account.leaving.set()
        self._timetable.drop(account.job.name)
        if account.state in {_State.IDLE, _State.BUSY}:
            self._leaving.append(account)
        if account.state is _State.IDLE:
            self._close(account)

    def _close(self, account: _Account) -> None:
        self._in_hand(account)
        self._workers.do(partial(self._run_close, account))

    def _closed(self, account: _Account, error: BaseException | None) -> None:
        account.running = False
        account.state = _State.CLOSED
        if error is not None:
            self._complain(account, error)
        if account in self._leaving:
            self._leaving.remove(account)
            successor = self._accounts.get(account.job.name)
            if successor and successor.state is _State.WAITING and not successor.leaving.is_set():
                self._plan(successor, 0.0)

    # one run

    def _in_hand(self, account: _Account) -> None:
        account.tried = True
        account.state = _State.BUSY
        if account.sight is not None:
            self._doorbell.forget(account.sight)
            account.sight = None
        account.sign_of_life = self.clock.monotonic()

    def _skipped(self, event: Any) -> None:
        self._accounts[event.job_id].missed = True

    def _run(self, account: _Account) -> Message:
        """In a worker's thread."""
        tick = Tick(account.leaving.is_set, partial(self._show_life, account))
        if account.leaving.is_set():
            return partial(self._ended, account, None, None)
        watch, error = self._attempt(account, partial(account.job.run, tick))
        return partial(self._ended, account, error, watch)

    def _run_close(self, account: _Account) -> Message:
        """In a worker's thread."""
        _, error = self._attempt(account, account.job.close)
        return partial(self._closed, account, error)

    def _attempt(self, account: _Account, work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
        self._show_life(account)
        account.running = True
        try:
            return work(), None
        except BaseException as error:  # noqa: BLE001 - the one place; and a panic in Rust is no Exception
            return None, error

    def _show_life(self, account: _Account) -> None:
        account.sign_of_life = self.clock.monotonic()

    def _ended(self, account: _Account, error: BaseException | None, watch: Watch | None) -> None:
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
                account.state = _State.IDLE
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

    def _attend_to(self, account: _Account, watch: Watch) -> None:
        self._bring_forward(account, watch.within)
        if watch.fileno is not None:
            account.sight = sight = self._doorbell.watch(
                watch.fileno, lambda: self.post(partial(self._called, account, sight))
            )

    def _called(self, account: _Account, sight: Sight) -> None:
        if account.sight is sight:  # otherwise it is run already, or has been
            account.sight = None
            self._bring_forward(account, 0.0)

    def _bring_forward(self, account: _Account, seconds: float) -> None:
        """Run it in so many seconds, unless it is run before that anyway; yet not on the heels of the last run."""
        seconds = max(seconds, account.ended + BETWEEN_CALLS - self.clock.monotonic())
        self._timetable.bring_forward(account.job.name, self.clock.now() + timedelta(seconds=seconds))

    def _halt(self, account: _Account, error: BaseException | None) -> None:
        self._timetable.drop(account.job.name)
        account.halted = True
        self._complain(account, error, "; not tried again until bouncefiler is reloaded or restarted", always=True)
        self._close(account)
        if all(other.halted for other in self._accounts.values()):
            self.stop(error.exit_code if isinstance(error, BouncefilerError) else BouncefilerError.exit_code)

    # what is told to whom

    def _complain(
        self, account: _Account, error: BaseException | None, further: str = "", *, always: bool = False
    ) -> None:
        if error is None:
            return
        account.trouble = _briefly(error) + further
        before = self._hush.may_say(account.job.name, _kind(error), self.clock.boottime())
        if before is not None or always:
            account.complained = True
            level = logging.WARNING if isinstance(error, BouncefilerError) and not always else logging.ERROR
            log.log(level, "%s: %s%s%s", one_line(account.job.name), describe(error), further, before or "")

    def _all_well(self, account: _Account) -> None:
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
        busy = [each for each in (*self._accounts.values(), *self._leaving) if each.state is _State.BUSY]
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
            if account.state is _State.IDLE:
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


def run_service(
    load: Callable[[], Sequence[Job]],
    *,
    notify: Notify,
    watchdog_interval: float | None = None,
    clock: Clock | None = None,
    limits: Limits | None = None,
) -> int:
    """Run the jobs that `load` gives until a signal says to stop; return the exit code. For the main thread only.

    SIGTERM and SIGINT let the batch in hand be finished, for at most `Limits.grace` seconds; a second one kills the
    process at once. SIGHUP loads the jobs anew. READY=1 is sent when the first run of every account has begun, or waits
    for nothing but a free worker. When no account is left that may be tried again, returns the `exit_code` of the last
    one's error. Raises what `load` raises at the start, and ConfigError when it gives no jobs.
    """
    service = Service(load, notify, watchdog_interval, clock or Clock(), limits or Limits())
    with _signals(service):
        return service.run()


@contextmanager
def _signals(service: Service) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        # The next one takes its usual course, whatever this process may be stuck in: it may be killed at any point.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        service.post(service.stop)

    def reload(_number: int, _frame: FrameType | None) -> None:
        service.post(service.reload)

    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
