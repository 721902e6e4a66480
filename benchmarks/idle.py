"""What it costs to do nothing: `--help`, and a poll of a mailbox to which nothing has come."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from benchmarks.contestants import ROOT
from benchmarks.proxy import Proxy
from benchmarks.stock import BENCH
from bouncefiler.edge.imap import open_account
from bouncefiler.settings import Security, Server
from tests.dovecot import HOST, PASSWORD, Dovecot

POLLS = 20
STARTS = 9


def report(server: Dovecot) -> Iterator[str]:
    """Yield lines that say so."""
    nothing, helped = starts([sys.executable, "-c", ""], [sys.executable, "-m", "bouncefiler", "--help"])
    yield f"--help: {(helped - nothing) * 1e3:.0f} ms over the {nothing * 1e3:.0f} ms of an empty interpreter"
    with Proxy(HOST, server.port) as proxy:
        account = Server(HOST, proxy.port, BENCH, Security.PLAIN)
        with open_account(account, PASSWORD) as connection:
            state = connection.state("INBOX")
            if state is None:
                return
            connection.changed(state)  # the first one leaves the folder
            opened, begun = proxy.take(), time.process_time()
            changes = sum(connection.changed(state) for _ in range(POLLS))
            spent, told = time.process_time() - begun, proxy.take()
    if changes:
        yield "!!! the unchanged mailbox was said to have changed"
    yield f"first look over a new connection: {opened.turns} turns, {opened.down + opened.up} octets"
    yield (
        f"poll of an unchanged mailbox: {told.turns / POLLS:g} turns, {(told.up + told.down) / POLLS:.0f} octets, "
        f"{spent / POLLS * 1e3:.2f} ms CPU (the proxy's included)"
    )


def starts(*commands: Sequence[str]) -> list[float]:
    """Return the median time that each command takes, run in turns."""
    taken: list[list[float]] = [[] for _ in commands]
    for _ in range(STARTS):
        for command, times in zip(commands, taken, strict=True):
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
            times.append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]
