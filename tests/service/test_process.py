"""The service as a real process."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pytest

from bouncefiler.errors import ConfigError
from tests.service.bench import PATIENCE


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
            [sys.executable, "-X", "faulthandler", str(Path(__file__).with_name("child.py")), str(accounts)],
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


def test_a_signal_that_comes_to_another_thread_is_heard_at_once(start: Callable[..., Child]) -> None:
    """So is one that comes right before the main thread falls asleep: neither would wake it."""
    child = start("signalled", BOUNCEFILER_TEST_PULSE="300")

    child.wait_for("STOPPING=1")


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
