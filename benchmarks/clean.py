"""What does a first clean-up cost, beside what the protocol itself costs and beside other programs?

    python -m benchmarks.clean [--sizes 1000 10000] [--runs 5] [--wan RTT_MS MBIT_S] [--only NAME …] [--seed 1]

All work on one mailbox of a throw-away Dovecot, which is put back before each run; their runs are interleaved. Wall
time is that of the whole process, from its start to its end. Compare ratios within one table only.
benchmarks/README.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import contestants, idle
from benchmarks.contestants import Contestant, Place
from benchmarks.proxy import Proxy, Slowness, Traffic
from benchmarks.stock import BENCH, Outcome, Stock
from tests import dovecot
from tests.dovecot import HOST, PASSWORD, Dovecot, Variant

MANY = 50_000
"""From so many messages on, programs that take a turn for each message are run once."""

HUGE = 500_000
"""From so many on nobody is let run once more only to be counted."""

VENV = Path(tempfile.gettempdir()) / "bouncefiler-benchmark-venv"
"""A throw-away environment, for programs from PyPI. Never ours."""

STOPWATCH = Path(__file__).with_name("stopwatch.py")

COMPRESSING = Variant(
    extra=f"imap_capability = {Variant().capabilities()} COMPRESS=DEFLATE\n"
    "protocol imap {\n  mail_plugins = imap_zlib\n}\n"
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run has cost."""

    wall: float
    cpu: float
    peak_mb: float
    failure: str = ""


@dataclass(slots=True)
class Row:
    """What is known of one contestant."""

    contestant: Contestant
    costs: list[Cost] = field(default_factory=list)
    traffic: Traffic | None = None
    outcome: Outcome | None = None

    @property
    def done(self) -> list[Cost]:
        """The runs that came to their end."""
        return [cost for cost in self.costs if not cost.failure]

    def median(self, what: str) -> float:
        """Return the median of a figure over the runs that came to their end."""
        return float(statistics.median(getattr(cost, what) for cost in self.done))


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, a mailbox on it, and how long to wait for a contestant."""

    server: Dovecot
    stock: Stock
    patience: float

    def run(self, contestant: Contestant, port: int, row: Row) -> Cost:
        """Put the mailbox back, run the contestant, look at what it did."""
        self.stock.restore()
        with tempfile.TemporaryDirectory(prefix="bouncefiler-bench-") as directory:
            place = Place(HOST, port, BENCH, PASSWORD, Path(directory), self.stock.oracle)
            cost = timed(contestant.command(place), self.patience)
        row.outcome = _worse(row.outcome, self.stock.outcome())
        return cost


def timed(command: Sequence[str], patience: float) -> Cost:
    """Run a command and return what it cost."""
    stopwatch = [sys.executable, "-I", "-S", str(STOPWATCH), str(int(patience))]
    environ = {**os.environ, "BENCH_PASSWORD": PASSWORD}
    done = subprocess.run(
        [*stopwatch, *command], capture_output=True, text=True, check=True, env=environ, cwd=contestants.ROOT
    )
    told = json.loads(done.stdout)
    failure = ""
    if told["status"] is None:
        failure = f"ended after {patience:.0f} s"
    elif told["status"]:
        failure = f"exit {told['status']}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1][:160]}"
    return Cost(told["wall"], told["cpu"], told["peak_kb"] / 1024, failure)


def _worse(one: Outcome | None, other: Outcome) -> Outcome:
    """Return the outcome with more that went wrong: a contestant is known by its worst run."""
    if one is None:
        return other
    return max((one, other), key=lambda outcome: (not outcome.safe, outcome.wrongly, outcome.missed))


def series(bench: Bench, entrants: Sequence[Contestant], runs: int, slowness: Slowness | None) -> list[Row]:
    """Let all run, interleaved; then each once more through a proxy that counts."""
    rows = [Row(contestant) for contestant in entrants]
    with Proxy(HOST, bench.server.port, slowness or Slowness()) as proxy:
        port = proxy.port if slowness else bench.server.port
        for number in range(runs):
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                if number and row.contestant.slow and (slowness or bench.stock.size >= MANY):
                    continue
                row.costs.append(bench.run(row.contestant, port, row))
                if slowness:
                    row.traffic = proxy.take()
    if not slowness and bench.stock.size < HUGE:
        _count(bench, rows)
    return rows


def _count(bench: Bench, rows: Sequence[Row]) -> None:
    with Proxy(HOST, bench.server.port) as proxy:
        for row in rows:
            if row.done and not (row.contestant.slow and bench.stock.size >= MANY):
                bench.run(row.contestant, proxy.port, row)
                row.traffic = proxy.take()


def table(rows: Sequence[Row], size: int) -> Iterator[str]:
    """Yield the lines of a table."""
    floors = {
        row.contestant.name: row.median("wall") for row in rows if row.contestant.name.startswith("floor") and row.done
    }
    yield (
        f"{'':23} {'wall s':>8} {'spread':>13} {'x floor':>8} {'µs CPU/msg':>11} {'peak MB':>8} "
        f"{'turns':>7} {'MB down':>8} {'kB up':>7} {'moved':>7} {'wrongly':>8} {'missed':>7}"
    )
    for row in rows:
        kind = row.contestant.name.partition(",")[2]  # what compresses is measured by the floor that does
        base = floors.get(f"floor,{kind}" if kind else "floor")
        yield (
            f"{row.contestant.name:23} "
            + (_costs(row, base, size) if row.done else "did not end".rjust(52))
            + _facts(row)
        )
        for failure in sorted({cost.failure for cost in row.costs if cost.failure}):
            yield f"{'':23} !!! {failure}"
        if row.outcome and not row.outcome.safe:
            yield f"{'':23} !!! lost {row.outcome.lost}, doubled {row.outcome.doubled}"


def _costs(row: Row, base: float | None, size: int) -> str:
    walls = [cost.wall for cost in row.done]
    wall = row.median("wall")
    ratio = f"{wall / base:8.2f}" if base else f"{'-':>8}"
    spread = f"{min(walls):.2f}-{max(walls):.2f}" if len(walls) > 1 else "one run"
    return f"{wall:8.2f} {spread:>13} {ratio} {row.median('cpu') / size * 1e6:11.1f} {row.median('peak_mb'):8.1f}"


def _facts(row: Row) -> str:
    wire = f" {'-':>7} {'-':>8} {'-':>7}"
    if row.traffic:
        wire = f" {row.traffic.turns:7,} {row.traffic.down / 1e6:8.2f} {row.traffic.up / 1e3:7.1f}"
    end = row.outcome
    return wire + (f" {end.moved:7,} {end.wrongly:8,} {end.missed:7,}" if end else "")


def entrants(only: Sequence[str], *, wan: bool) -> list[Contestant]:
    """Return who takes part; say of the others why not."""
    found: list[Contestant | str] = [contestants.floor()]
    if wan:
        found.append(contestants.floor(compress=True))
    found.append(contestants.bouncefiler())
    if wan:
        found.append(contestants.bouncefiler(compress=True))
    found.append(contestants.find_imapfilter())
    if not only or "imapautofiler" in only:
        found.append(contestants.find_imapautofiler(VENV))
    for reason in found:
        if isinstance(reason, str):
            print(f"\n*** NOT MEASURED: {reason}\n", file=sys.stderr)
    present = [one for one in found if isinstance(one, Contestant)]
    return [one for one in present if not only or one.name.partition(",")[0] in {*only, "floor"}]


def _of_nothing(server: Dovecot) -> str:
    """Say what it costs to clean a mailbox in which there is nothing: what every run costs at least."""
    costs = []
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="bouncefiler-bench-") as directory:
            place = Place(HOST, server.port, "empty", PASSWORD, Path(directory), Path(os.devnull))
            costs.append(timed(contestants.bouncefiler().command(place), 60))
    wall, cpu = (statistics.median(figures) for figures in zip(*((cost.wall, cost.cpu) for cost in costs), strict=True))
    return f"clean of an empty mailbox: {wall:.2f} s, of these {cpu:.2f} s CPU: start-up, login, state"


@contextmanager
def _said_how_long(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"({what}: {time.monotonic() - begun:.0f} s)\n", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a first clean-up against the floor and other programs.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], help="messages in the mailbox")
    parser.add_argument("--runs", type=int, default=5, help="of each program; medians are shown")
    parser.add_argument("--wan", type=float, nargs=2, metavar=("RTT_MS", "MBIT_S"), help="over a line as slow as this")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these (and the floor)")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds after which a program is ended")
    parser.add_argument("--seed", type=int, default=1, help="of the mailbox")
    return parser.parse_args()


def main() -> None:
    """Do it."""
    asked = _arguments()
    slowness = Slowness(asked.wan[0] / 1_000, asked.wan[1] * 1e6 / 8) if asked.wan else None
    line = f"over {asked.wan[0]:g} ms, {asked.wan[1]:g} Mbit/s" if asked.wan else "over loopback"
    who = entrants(asked.only, wan=bool(asked.wan))
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    with dovecot.running(COMPRESSING) as server:
        for size in asked.sizes:
            with _said_how_long("making the mailbox and all runs"):
                stock = Stock(server, size, asked.seed)
                rows = series(Bench(server, stock, asked.patience), who, asked.runs, slowness)
                print(
                    f"{size:,} messages, {len(stock.bounces):,} of them bounces, {line}; medians of {asked.runs} runs"
                )
                print("\n".join(table(rows, size)))
        if not asked.wan:
            print(_of_nothing(server))
            print("\n".join(idle.report(server)))
    print(f"\nload after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
