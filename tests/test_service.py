"""The service as a clock: with a time of the tests' own and functions that count, and once as a real process."""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from threading import Event
from typing import IO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.doorbell import Watch
from bouncefiler.errors import (
    BouncefilerError,
    BrakePulled,
    CannotMove,
    ConfigError,
    CredentialError,
    FolderMissing,
    FolderRenumbered,
    LoginRefused,
    NoToken,
    OverQuota,
    StoreBroken,
    StoreBusy,
    Throttled,
    TokenRefused,
    Unreachable,
    Untrusted,
)
from bouncefiler.service import Job, Tick
from bouncefiler.service.clock import Clock
from bouncefiler.service.loop import Service
from bouncefiler.service.retry import Retry, Then, back_off, react
from bouncefiler.service.trouble import Hush, describe, one_line

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


# --- when runs begin


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


# --- what an error means


def middle() -> float:
    return 0.5


WAIT_A_MINUTE = (30.0, 60.0)

REACTIONS = [
    (Unreachable("no route"), WAIT_A_MINUTE),
    (Throttled("slow down"), WAIT_A_MINUTE),
    (Throttled("slow down", 900.0), (900.0, 990.0)),
    (OverQuota("full"), (HOUR, 1.1 * HOUR)),
    (StoreBusy("held by 123"), WAIT_A_MINUTE),
    (StoreBroken("disk full"), WAIT_A_MINUTE),
    (FolderRenumbered("INBOX"), (0.0, 0.0)),
    (LoginRefused("wrong password"), Then.HALT),
    (CredentialError("no keyring"), Then.HALT),
    (Untrusted("expired"), Then.HALT),
    (ConfigError("rules"), Then.HALT),
    (FolderMissing("Bounces"), Then.AS_USUAL),
    (CannotMove("no UIDPLUS"), Then.AS_USUAL),
    (BrakePulled("too many"), Then.AS_USUAL),
    (TokenRefused("expired"), (30, 60)),
    (NoToken("no network"), (30, 60)),
    (ZeroDivisionError(), Then.AS_USUAL),
    (None, Then.AS_USUAL),
]


@pytest.mark.parametrize(("error", "meant"), REACTIONS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("drawn", [0.0, 0.5, 0.999])
def test_error_decides_when_to_run_again(
    error: BaseException | None, meant: Then | tuple[float, float], drawn: float
) -> None:
    """Each error means waiting, stopping, or going on as usual."""
    reaction = react(error, 1, lambda: drawn)

    if isinstance(meant, Then):
        assert reaction is meant
    else:
        assert isinstance(reaction, Retry)
        assert meant[0] <= reaction.after <= meant[1]


def test_back_off_doubles_up_to_an_hour() -> None:
    """The wait after trouble doubles, is never more than an hour, and differs from account to account."""
    longest = [back_off(failures, lambda: 1.0) for failures in range(1, 9)]

    assert longest == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]
    assert back_off(1_000_000, lambda: 1.0) == 3_600
    assert back_off(3, lambda: 0.0) == 120


@given(st.floats(), st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_throttled_account_waits_as_long_as_the_server_asks(asked: float, failures: int, drawn: float) -> None:
    """The wait is never shorter than asked for, up to a day; nonsense counts as not asked."""
    reaction = react(Throttled("wait", asked), failures, lambda: drawn)

    assert isinstance(reaction, Retry)
    assert reaction.after >= min(asked, 86_400) if asked > 0 else reaction.after <= HOUR
    assert 0 <= reaction.demanded <= reaction.after <= 1.1 * 86_400


def test_folder_renumbered_again_and_again_is_not_chased() -> None:
    """A server that renumbers at every look is asked ever less often."""
    waits = [react(FolderRenumbered("INBOX"), failures, middle) for failures in (1, 2, 3)]

    assert waits == [Retry(0.0), Retry(90.0), Retry(180.0)]


def test_unreachable_server_is_tried_ever_less_often_until_it_answers(bench: Bench) -> None:
    """Back-off grows up to an hour; the first success brings the usual interval back."""
    account = bench.watch(raises=Unreachable("no route to host"))
    bench.start(10 * HOUR)
    grown = account.gaps
    account.raises = None
    count = len(account.runs)

    bench.pass_time(3 * HOUR)

    assert grown[:7] == pytest.approx([45, 90, 180, 360, 720, 1_440, 2_700], abs=1)
    assert all(gap <= 3_600 for gap in grown)
    assert all(300 <= gap <= 331 for gap in account.gaps[count:])
    assert len(account.gaps[count:]) > 20

    account.raises = Unreachable("no route to host")
    bench.pass_time(HOUR)
    first = next(gap for gap in account.gaps[count:] if gap < 300)
    assert first == pytest.approx(45, abs=1)


def test_renumbered_folder_is_planned_again_at_once(bench: Bench) -> None:
    """What a renumbered folder made void is done again without waiting for the interval."""
    account = bench.watch(raises=FolderRenumbered("INBOX has new numbers"), times=1)

    bench.start(60)

    assert account.runs == [1_000.0, 1_000.0]


@pytest.mark.parametrize("error", [LoginRefused("wrong password"), CredentialError("none found"), Untrusted("expired")])
def test_refused_account_stops_and_the_others_go_on(bench: Bench, error: BouncefilerError) -> None:
    """An account that must not be tried again isn't, is closed, and troubles nobody else."""
    refused, other = bench.watch("refused", raises=error), bench.watch("other")

    bench.start(6 * HOUR)

    assert len(refused.runs) == 1
    assert len(refused.closed) == 1
    assert len(other.runs) > 60
    assert not bench.service.over()
    assert bench.status.startswith("STATUS=Watching 1 of 2 accounts. refused: ")


def test_service_ends_when_no_account_is_left_to_try(bench: Bench) -> None:
    """With every account refused, the service ends by itself with the last error's exit code."""
    bench.watch("first", raises=CredentialError("none found"))
    bench.watch("second", raises=LoginRefused("wrong password"))

    bench.start()

    assert bench.service.over()
    assert bench.service.exit_code == LoginRefused.exit_code == 77
    assert "STOPPING=1" in bench.notes


class Panic(BaseException):
    """As pyo3's, which is no Exception."""


@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), Panic("at the disco"), SystemExit(3)])
def test_unforeseen_error_costs_one_run(bench: Bench, lines: Callable[[], list[str]], error: BaseException) -> None:
    """Whatever a run raises is logged as one line with the place it came from, and the next run comes at its time."""
    account = bench.watch(raises=error)

    bench.start(1_000)

    assert len(account.runs) >= 3
    (line,) = lines()
    assert line.startswith("home: unexpected ")
    assert type(error).__name__ in line
    assert str(error) in line
    assert f"at {__file__}:" in line
    assert "in run" in line


def test_traceback_shows_no_values() -> None:
    """A password in a variable of a failing function is not in the log."""
    secret = "s3cr3t!"

    def fail(password: str) -> None:
        raise ValueError(len(password))

    with pytest.raises(ValueError, match="7") as caught:
        fail(secret)

    assert "in fail" in describe(caught.value)
    assert secret not in describe(caught.value)


# --- what is said


def test_same_trouble_is_said_once_an_hour(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """A long outage costs a line an hour, and its end one line."""
    account = bench.watch(raises=FolderMissing("no folder 'INBOX'"))
    bench.start(5.5 * HOUR)
    account.raises = None

    bench.pass_time(HOUR)

    said = lines()
    assert len(said) == 7
    assert said[0] == "home: no folder 'INBOX'"
    assert "more like it" in said[1]
    assert said[-1] == "home: works again"


def test_flapping_account_does_not_flood_the_log(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Trouble that comes and goes is still said once an hour."""
    account = bench.watch()
    bench.service.begin()
    for number in range(24):
        account.raises = Unreachable("gone") if number % 2 else None
        bench.pass_time(301)

    assert len(lines()) <= 6


def test_other_trouble_is_said_at_once() -> None:
    """Only the same trouble of the same account is kept quiet."""
    hush = Hush()

    assert hush.may_say("home", "Unreachable", 0.0) == ""
    assert hush.may_say("home", "Unreachable", 3_599.0) is None
    assert hush.may_say("home", "OverQuota", 3_599.0) == ""
    assert hush.may_say("work", "Unreachable", 3_599.0) == ""
    assert hush.may_say("home", "Unreachable", 3_600.0) == " (and 1 more like it since the last time)"


def test_text_of_a_server_cannot_forge_a_line(bench: Bench, lines: Callable[[], list[str]]) -> None:
    """Line ends, escape sequences and direction marks in an error are not passed on to log or status."""
    bench.watch(raises=Unreachable("BYE\r\nREADY=1\x1b[2J\u202egnp\x00\u2028x"))

    bench.start()

    (line,) = lines()
    assert line.startswith("home: BYE | READY=1?[2J?gnp? | x; next try at ")
    assert all(note.isprintable() for note in bench.notes)


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    """Whatever the text, what comes out can be shown on a terminal."""
    assert one_line(text).isprintable()


# --- reload


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
    old = bench.watch(hold=Event())
    bench.begin()
    assert old.begun.wait(PATIENCE)
    bench.accounts = []
    new = bench.watch()
    bench.service.reload()
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
    first = bench.watch(hold=Event())
    bench.begin()
    assert first.begun.wait(PATIENCE)
    bench.accounts = []
    second = bench.watch()
    bench.service.reload()
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


# --- start and stop


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
    old = bench.watch(hold=Event())
    bench.begin()
    assert old.begun.wait(PATIENCE)
    bench.accounts = []
    new = bench.watch()
    bench.service.reload()

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


# --- the watchdog


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


# --- the machine's time


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


# --- a real process


@dataclass
class Child:
    """The service in a process of its own, with a socket in systemd's place."""

    process: subprocess.Popen[str]
    manager: socket.socket
    accounts: Path

    def reads(self, line: str) -> None:
        assert cast("IO[str]", self.process.stdout).readline() == line + "\n"

    def send(self, text: str = "\n") -> None:
        stdin = cast("IO[str]", self.process.stdin)
        stdin.write(text)
        stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, assignment: str) -> str:
        """Read what systemd would read, up to the datagram with this."""
        while assignment not in (datagram := self.manager.recv(4_096).decode()).split("\n"):
            pass
        return datagram

    def falls_silent(self, seconds: float) -> bool:
        """Whether nothing comes any more for so many seconds, once what is on its way has been read."""
        self.manager.settimeout(seconds)
        try:
            for _ in range(50):
                self.manager.recv(4_096)
        except TimeoutError:
            return True
        finally:
            self.manager.settimeout(PATIENCE)
        return False

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def begin(*names: str, **environ: str) -> Child:
        accounts = tmp_path / "accounts"
        accounts.write_text("\n".join(names), encoding="utf-8")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.settimeout(PATIENCE)
        manager.bind(str(tmp_path / "notify"))
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("service_child.py")), str(accounts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        children.append(Child(process, manager, accounts))
        return children[-1]

    yield begin
    for child in children:
        child.process.kill()
        child.process.communicate()
        child.manager.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_service_between_two_batches(start: Callable[..., Child], number: signal.Signals) -> None:
    """SIGTERM and SIGINT let the batch in hand be finished, begin no other, and the exit code is 0."""
    child = start("home")
    child.reads("home begins")
    child.reads("home batch")
    child.send()
    child.reads("home batch")

    child.signal(number)
    child.wait_for("STOPPING=1")
    child.send()

    for line in ("home ends", "home closes", "over"):
        child.reads(line)
    assert child.wait() == 0


def test_signal_ends_an_idle_service_at_once(start: Callable[..., Child]) -> None:
    """A signal does not wait for the next due time."""
    child = start("idle")
    child.wait_for("READY=1")
    before = time.monotonic()

    child.signal(signal.SIGTERM)

    assert child.wait() == 0
    assert time.monotonic() - before < PATIENCE / 2


def test_second_signal_quits_at_once(start: Callable[..., Child]) -> None:
    """Who can't wait for the batch sends the signal again."""
    child = start("home")
    child.reads("home begins")
    child.signal(signal.SIGTERM)
    child.wait_for("STOPPING=1")

    child.signal(signal.SIGTERM)

    assert child.wait() == -signal.SIGTERM


def test_hung_run_does_not_keep_the_process_alive(start: Callable[..., Child]) -> None:
    """When the service is over, the process ends even while a worker is still stuck."""
    child = start("home", BOUNCEFILER_TEST_GRACE="0.05")
    child.reads("home begins")
    child.reads("home batch")

    child.signal(signal.SIGTERM)

    child.reads("over")
    assert child.wait() == 0


def test_hangup_loads_the_new_configuration(start: Callable[..., Child]) -> None:
    """SIGHUP is told to systemd and replaces the accounts; with a wrong configuration the old ones stay."""
    child = start("idle1")
    child.reads("idle1 begins")
    child.reads("idle1 ends")
    child.wait_for("READY=1")
    child.accounts.write_text("wrong", encoding="utf-8")
    child.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC=" in child.wait_for("RELOADING=1")
    assert "has an error" in child.wait_for("READY=1")

    child.accounts.write_text("idle2", encoding="utf-8")
    child.signal(signal.SIGHUP)
    child.wait_for("RELOADING=1")
    child.wait_for("READY=1")

    assert sorted(cast("io.TextIOBase", child.process.stdout).readline() for _ in range(3)) == [
        "idle1 closes\n",
        "idle2 begins\n",
        "idle2 ends\n",
    ]


def test_wrong_configuration_at_the_start_is_raised(start: Callable[..., Child]) -> None:
    """The service does not begin with a configuration that it can't read."""
    child = start("wrong")

    assert child.wait() == ConfigError.exit_code


def test_stopped_process_feeds_no_watchdog(start: Callable[..., Child]) -> None:
    """A process that does not move sends no ping, so that systemd can restart it; moving again, it pings again."""
    child = start("idle", WATCHDOG_USEC="40000")
    for _ in range(3):
        child.wait_for("WATCHDOG=1")
    child.signal(signal.SIGSTOP)
    os.waitpid(child.process.pid, os.WUNTRACED)

    assert child.falls_silent(10 * 0.02)

    child.signal(signal.SIGCONT)
    child.wait_for("WATCHDOG=1")


def test_hung_run_of_a_real_process_feeds_no_watchdog(start: Callable[..., Child]) -> None:
    """The loop is alive, the run is not: pings cease, and come back when the run moves."""
    quick = {"BOUNCEFILER_TEST_PATIENCE": "0.1", "BOUNCEFILER_TEST_PULSE": "0.01"}
    child = start("home", WATCHDOG_USEC="40000", **quick)
    child.reads("home begins")
    child.reads("home batch")
    child.wait_for("WATCHDOG=1")

    assert child.falls_silent(0.3)

    child.manager.settimeout(0.1)
    for _ in range(100):
        child.send()
        with suppress(TimeoutError):
            child.wait_for("WATCHDOG=1")
            break
    else:
        pytest.fail("the pings did not come back")


# --- what a run asks for


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
