"""What it costs to do nothing: `--help`, and a poll of a mailbox to which nothing has come."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.contestants import ROOT, environ
from benchmarks.proxy import Proxy
from benchmarks.stock import BENCH
from bouncefiler.edge.imap import open_account
from bouncefiler.settings import Security, Server
from tests.dovecot import HOST, PASSWORD, Dovecot

POLLS = 20
STARTS = 9


@dataclass(frozen=True, slots=True)
class Idle:
    """What was measured: seconds, turns and octets (both directions); those of polls for one poll."""

    nothing: float
    """How long an empty interpreter takes."""
    helped: float
    first_turns: int
    first_octets: int
    poll_turns: float
    poll_octets: float
    poll_cpu: float
    """The proxy's included."""
    false_changes: int
    """How many polls took the unchanged mailbox for a changed one."""

    @property
    def help_over_nothing(self) -> float:
        """Seconds that `--help` takes over an empty interpreter."""
        return self.helped - self.nothing

    def lines(self) -> Iterator[str]:
        """Yield lines that say so."""
        over, nothing = self.help_over_nothing * 1e3, self.nothing * 1e3
        yield f"--help: {over:.0f} ms over the {nothing:.0f} ms of an empty interpreter"
        if self.false_changes:
            yield f"!!! the unchanged mailbox was said {self.false_changes} times to have changed"
        yield f"first look over a new connection: {self.first_turns} turns, {self.first_octets} octets"
        yield (
            f"poll of an unchanged mailbox: {self.poll_turns:g} turns, {self.poll_octets:.0f} octets, "
            f"{self.poll_cpu * 1e3:.2f} ms CPU (the proxy's included)"
        )


def measure(server: Dovecot) -> Idle:
    """Measure with the account `bench`, which must have an INBOX."""
    nothing, helped = starts([sys.executable, "-c", ""], [sys.executable, "-m", "bouncefiler", "--help"])
    with Proxy(HOST, server.port) as proxy:
        account = Server(HOST, proxy.port, BENCH, Security.PLAIN)
        with open_account(account, PASSWORD) as connection:
            state = connection.state("INBOX")
            assert state is not None  # noqa: S101
            connection.changed(state)  # the first one leaves the folder
            opened, begun = proxy.take(), time.process_time()
            changes = sum(connection.changed(state) for _ in range(POLLS))
            spent, told = time.process_time() - begun, proxy.take()
    return Idle(
        nothing,
        helped,
        opened.turns,
        opened.down + opened.up,
        told.turns / POLLS,
        (told.up + told.down) / POLLS,
        spent / POLLS,
        changes,
    )


def starts(*commands: Sequence[str]) -> list[float]:
    """Return the median time that each command takes, run in turns."""
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(STARTS):
        for command, times in zip(commands, taken, strict=True):
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environ())
            times.append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]
