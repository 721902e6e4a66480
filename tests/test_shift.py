"""The service's work on one account: it waits for news where the server tells them, and bears it when that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from bouncefiler.backscatter.advice import Alert, Level
from bouncefiler.backscatter.incident import Diagnosis, Incident
from bouncefiler.desk import IDLE_SECONDS
from bouncefiler.doorbell import Watch
from bouncefiler.edge.store import open_store
from bouncefiler.errors import BouncefilerError, Throttled, Unreachable
from bouncefiler.service import Tick
from bouncefiler.settings import Account, EnvironmentVariable, Settings
from bouncefiler.shift import Shift
from tests.scripted import Answer, Part, Scripted, playing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAPABILITIES = "IMAP4rev1 UIDPLUS MOVE UNSELECT IDLE"
STATUS = "* STATUS x (UIDVALIDITY 9 UIDNEXT 4)\r\nTAG OK done"
TICK = Tick(stopping=lambda: False, progress=lambda: None)


def selected(uidnext: int) -> str:
    return f"* 0 EXISTS\r\n* OK [UIDVALIDITY 9]\r\n* OK [UIDNEXT {uidnext}]\r\nTAG OK [READ-WRITE] selected"


@contextmanager
def at_work(
    tmp_path: Path,
    answers: dict[str, Answer],
    capabilities: str = "IMAP4rev1 UIDPLUS MOVE UNSELECT IDLE",
    **how: object,
) -> Iterator[tuple[Shift, Scripted]]:
    """A shift on an account that holds nothing, at a server that plays this part."""
    part = Part(
        answers={"(SELECT|EXAMINE)": selected(4), "IDLE": "+ idling", "STATUS": STATUS, **answers},
        capabilities=capabilities,
    )
    with playing(part) as server:
        account = Account("home", server.server(), EnvironmentVariable("PW"), **how)  # type: ignore[arg-type]
        settings = Settings(tmp_path / "config.toml", {"home": account}, tmp_path, dns=False)
        shift = Shift(account, settings, {"PW": "secret"})
        try:
            yield shift, server
        finally:
            shift.end()


def idles(server: Scripted) -> int:
    return server.commands().count("IDLE")


def logins(server: Scripted) -> int:
    return sum(command.startswith(("LOGIN", "AUTHENTICATE")) for command in server.commands())


def test_it_waits_at_the_server_and_comes_back_within_nine_minutes(tmp_path: Path) -> None:
    with at_work(tmp_path, {}) as (shift, server):
        for _ in range(3):
            watch = shift.work(TICK)
            assert watch is not None
            assert watch.fileno is not None
            assert watch.within == IDLE_SECONDS < 540

        assert (idles(server), logins(server)) == (3, 1)
        assert sum(line.startswith("+ DONE") for line in server.heard) == 2


def test_the_first_folder_is_the_one_that_is_waited_for_and_all_are_looked_at(tmp_path: Path) -> None:
    with at_work(tmp_path, {}, folders=("INBOX", "Lists")) as (shift, server):
        shift.work(TICK)
        shift.work(TICK)
        commands = server.commands()

    before_idle = [commands[at - 1] for at, command in enumerate(commands) if command == "IDLE"]
    assert [c.replace('"', "") for c in before_idle] == ["SELECT INBOX"] * 2
    second = commands[commands.index("IDLE") + 1 :]
    assert [c.split()[1].strip('"') for c in second if c.startswith("STATUS")] == ["INBOX", "Lists"]


@pytest.mark.parametrize(
    ("capabilities", "idle"), [("IMAP4rev1 UIDPLUS MOVE", True), ("IMAP4rev1 UIDPLUS MOVE IDLE", False)]
)
def test_without_idle_it_comes_back_at_the_next_tick(tmp_path: Path, capabilities: str, idle: bool) -> None:
    with at_work(tmp_path, {}, capabilities, idle=idle) as (shift, server):
        assert shift.work(TICK) is None
        assert idles(server) == 0


def test_when_it_is_to_stop_it_does_not_begin_to_wait(tmp_path: Path) -> None:
    with at_work(tmp_path, {}) as (shift, server):
        assert shift.work(Tick(stopping=lambda: True, progress=lambda: None)) is None
        assert idles(server) == 0


def test_an_end_while_it_waits_says_done_and_logs_out(tmp_path: Path) -> None:
    with at_work(tmp_path, {}) as (shift, server):
        shift.work(TICK)
        shift.end()

        assert server.heard[-3].startswith("+ DONE")
        assert server.commands()[-1] == "LOGOUT"


def test_what_comes_while_it_looks_is_looked_at_at_once_but_not_for_ever(tmp_path: Path) -> None:
    """A server whose numbers never agree is confused, and looked at no more often than any other."""
    numbers = count(4)

    def confused(_command: str) -> str:
        return selected(next(numbers))

    with at_work(tmp_path, {"(SELECT|EXAMINE)": confused}) as (shift, _server):
        assert [shift.work(TICK) for _ in range(4)] == [Watch(0.0), None, Watch(0.0), None]


def test_a_server_that_ends_whoever_waits_is_asked_in_intervals_instead(tmp_path: Path) -> None:
    for name, answer in {"a": "+ idling\r\n* BYE Autologout", "b": None}.items():
        place = tmp_path / name
        with at_work(place, {"IDLE": answer}) as (shift, server):
            troubles = sum(failed(lambda: shift.work(TICK)) for _ in range(12))

            assert troubles == idles(server) == 3
            assert shift.work(TICK) is None
            assert logins(server) == 4


def test_a_connection_that_has_lasted_may_end_without_being_called_trouble(tmp_path: Path) -> None:
    with at_work(tmp_path, {"IDLE": "+ idling\r\n* BYE Autologout"}) as (shift, server):
        for _ in range(6):
            shift.work(TICK)
            assert shift.desk is not None
            shift.desk.logged_in -= 301.0

        assert logins(server) >= 5


def test_a_pause_that_the_server_asks_for_is_never_passed_over(tmp_path: Path) -> None:
    bye = "+ idling\r\n* BYE Request is throttled. Suggested Backoff Time: 9000 milliseconds"
    with at_work(tmp_path, {"IDLE": bye}) as (shift, server):
        shift.work(TICK)
        assert shift.desk is not None
        shift.desk.logged_in -= 301.0
        with pytest.raises(Throttled) as caught:
            shift.work(TICK)

        assert caught.value.retry_after == 9.0
        assert logins(server) == 1


@pytest.mark.parametrize("trouble", [{}, {"(SELECT|EXAMINE)": "TAG NO [LIMIT] Request is throttled."}])
def test_an_alert_waits_for_the_server_only_if_it_goes_there(tmp_path: Path, trouble: dict[str, Answer]) -> None:
    """Just when there is an intruder, the password may be refused, or the server throttle: a telephone rings anyway."""
    alert = Alert("key", Level.CRITICAL, "Somebody may be in your mail account", "Act now.")
    incident = Incident(Diagnosis.COMPROMISED, NOON, NOON, count=9, usual=None, total=9, peak=9, closed=NOON)
    with at_work(tmp_path, {"APPEND": "TAG OK done", **trouble}) as (shift, server):
        with open_store(tmp_path / "home.sqlite3", holder="test") as store:
            store.record(incident, [("log", alert), ("inbox", alert)], NOON)
        with pytest.raises(BouncefilerError) if trouble else nullcontext():
            shift.work(TICK)
        assert shift.desk is not None
        waiting = [(one.channel, one.attempts) for one in shift.desk.store.alerts_waiting()]
        sent = sorted(channel for channel, _ in shift.desk.store.alerts_sent(NOON))

    assert (sent, waiting) == ((["log"], [("inbox", 0)]) if trouble else (["inbox", "log"], []))
    assert logins(server) == 1


def failed(work: Callable[[], object]) -> bool:
    try:
        work()
    except Unreachable:
        return True
    return False
