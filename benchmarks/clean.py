"""What does a first clean-up cost, beside what the protocol itself costs and beside other programs?

    python -m benchmarks.clean [--sizes 1000 10000] [--runs 5] [--wan RTT_MS MBIT_S] [--only NAME …] [--keep DIRECTORY]

All work on one mailbox of a throw-away Dovecot, which is put back before each run; their runs are interleaved. Wall
time is that of the whole process, from its start to its end. Compare ratios within one table only. Last come the goals
that the call can decide, each met or missed; the exit status is 0 either way, because this measures and judges nobody.
benchmarks/README.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import contestants, goals, idle
from benchmarks.contestants import Contestant, Place
from benchmarks.goals import Goal
from benchmarks.proxy import Proxy, Slowness
from benchmarks.results import Cost, Row, Series
from benchmarks.stock import BENCH, Stock, remove
from tests import dovecot
from tests.dovecot import HOST, PASSWORD, Dovecot, Variant

MANY = 50_000
"""From so many messages on, programs that take a turn for each message are run once."""

DELAY = 0.2
"""Seconds there and back, of the line that tells how many round trips are waited for."""

HUGE = 500_000
"""From so many on nobody is let run once more only to be counted."""

ENOUGH_TIMES, ENOUGH_SECONDS = 60, 30
"""A program that takes a turn for each message is ended when it has taken so many times as long as bouncefiler, and at
least so many seconds: by then it is known what there was to know."""

EMPTY_RUNS = 3

VENV = Path(tempfile.gettempdir()) / "bouncefiler-benchmark-venv"
"""A throw-away environment, for programs from PyPI. Never ours."""

STOPWATCH = Path(__file__).with_name("stopwatch.py")

COMPRESSING = Variant(
    extra=f"imap_capability = {Variant().capabilities()} COMPRESS=DEFLATE\n"
    "protocol imap {\n  mail_plugins = imap_zlib\n}\n"
    "default_vsz_limit = 4 G\n"  # a Maildir's list of a million UIDs doesn't fit in the 256 MB of the default
)


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, a mailbox on it, and how long to wait for a contestant."""

    server: Dovecot
    stock: Stock
    patience: float
    slow_patience: float | None

    def patience_with(self, contestant: Contestant, rows: Sequence[Row]) -> float:
        """Return after how many seconds the contestant is ended: one that is slow, when that much has been shown."""
        if not contestant.slow:
            return self.patience
        if self.slow_patience is not None:
            return self.slow_patience
        quick = [cost.wall for row in rows if row.name == "bouncefiler" for cost in row.done]
        return min(self.patience, max(ENOUGH_SECONDS, ENOUGH_TIMES * max(quick))) if quick else self.patience

    def run(self, row: Row, port: int, patience: float) -> Cost:
        """Put the mailbox back, run the contestant, look at what it did."""
        self.stock.restore()
        with tempfile.TemporaryDirectory(prefix="bouncefiler-bench-") as directory:
            place = Place(HOST, port, BENCH, PASSWORD, Path(directory), self.stock.oracle)
            cost = timed(row.contestant.command(place), patience)
        row.saw(self.stock.outcome())
        return cost


def timed(command: Sequence[str], patience: float) -> Cost:
    """Run a command and return what it cost."""
    stopwatch = [sys.executable, "-I", "-S", str(STOPWATCH), str(int(patience))]
    environ = {**contestants.environ(), "BENCH_PASSWORD": PASSWORD}
    done = subprocess.run(
        [*stopwatch, *command], capture_output=True, text=True, check=True, env=environ, cwd=contestants.ROOT
    )
    told = json.loads(done.stdout)
    failure = ""
    if told["status"] is None:
        failure = f"ended after {patience:.0f} s"
    elif told["status"]:
        failure = f"exit {told['status']}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1][:160]}"
    return Cost(told["wall"], told["cpu"], told["peak_kb"] / 1024, failure, ended=told["status"] is None)


def series(bench: Bench, entrants: Sequence[Contestant], runs: int, slowness: Slowness | None) -> Series:
    """Let all run, interleaved; then each once more through a proxy that counts, and through one that only delays."""
    rows = [Row(contestant) for contestant in entrants]
    with Proxy(HOST, bench.server.port, slowness or Slowness()) as proxy:
        port = proxy.port if slowness else bench.server.port
        for number in range(runs):
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                if number and row.contestant.slow and (slowness or bench.stock.size >= MANY):
                    continue
                row.costs.append(bench.run(row, port, bench.patience_with(row.contestant, rows)))
                if slowness:
                    row.traffic = proxy.take()
    if not slowness and bench.stock.size < HUGE:
        _count(bench, rows)
    return Series(bench.stock.size, wan=slowness is not None, rows=tuple(rows))


def _count(bench: Bench, rows: Sequence[Row]) -> None:
    port = bench.server.port
    with Proxy(HOST, port) as proxy, Proxy(HOST, port, Slowness(rtt=DELAY)) as delaying:
        for row in rows:
            if row.done and not (row.contestant.slow and bench.stock.size >= MANY):
                near = bench.run(row, proxy.port, bench.patience_with(row.contestant, rows))
                row.traffic = proxy.take()
                if not row.contestant.slow:
                    far = bench.run(row, delaying.port, bench.patience)
                    row.round_trips = (far.wall - near.wall) / DELAY


def table(series: Series) -> Iterator[str]:
    """Yield the lines of a table."""
    yield (
        f"{'':23} {'wall s':>8} {'spread':>13} {'x floor':>8} {'µs CPU/msg':>11} {'peak MB':>8} "
        f"{'rtts':>7} {'turns':>7} {'MB down':>8} {'kB up':>7} {'moved':>7} {'wrongly':>8} {'missed':>7}"
    )
    for row in series.rows:
        floor = series.floor_of(row)
        costs = _costs(row, floor, series.size) if row.done else _unfinished(row, floor)
        yield f"{row.name:23} {costs}{_facts(row)}"
        for failure in sorted({cost.failure for cost in row.costs if cost.failure}):
            yield f"{'':23} !!! {failure}"
        if row.outcome and not row.outcome.safe:
            yield f"{'':23} !!! lost {row.outcome.lost}, doubled {row.outcome.doubled}"


def _unfinished(row: Row, floor: Row | None) -> str:
    ratio = f"> {row.ended / floor.median('wall'):.0f}" if row.ended and floor else "-"
    return f"{'did not end':>22} {ratio:>8}{'':21}"


def _costs(row: Row, floor: Row | None, size: int) -> str:
    walls = [cost.wall for cost in row.done]
    wall = row.median("wall")
    ratio = f"{wall / floor.median('wall'):8.2f}" if floor else f"{'-':>8}"
    spread = f"{min(walls):.2f}-{max(walls):.2f}" if len(walls) > 1 else "one run"
    return f"{wall:8.2f} {spread:>13} {ratio} {row.median('cpu') / size * 1e6:11.1f} {row.median('peak_mb'):8.1f}"


def _facts(row: Row) -> str:
    wire = f" {'-':>7}" if row.round_trips is None else f" {row.round_trips:7.1f}"
    if row.traffic is None:
        wire += f" {'-':>7} {'-':>8} {'-':>7}"
    else:
        wire += f" {row.traffic.turns:7,} {row.traffic.down / 1e6:8.2f} {row.traffic.up / 1e3:7.1f}"
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


def _of_nothing(server: Dovecot) -> Row:
    """Return what it costs to clean a mailbox in which there is nothing: what every run costs at least."""
    row = Row(contestants.bouncefiler())
    for _ in range(EMPTY_RUNS):
        with tempfile.TemporaryDirectory(prefix="bouncefiler-bench-") as directory:
            place = Place(HOST, server.port, "empty", PASSWORD, Path(directory), Path(os.devnull))
            row.costs.append(timed(row.contestant.command(place), 60))
    return row


@contextmanager
def _said_how_long(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    print(f"({what}: {time.monotonic() - begun:.0f} s)\n", flush=True)


@contextmanager
def _serving(settings: Sequence[str]) -> Iterator[Dovecot]:
    """Start the server, with these further lines of configuration.

    At the end, however it comes about, the disk space is given back, and nothing interrupts that.
    """

    def end(*_: object) -> None:
        raise SystemExit(143)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    variant = replace(COMPRESSING, extra="".join((COMPRESSING.extra, *(f"{line}\n" for line in settings))))
    with dovecot.running(variant) as server:
        try:
            yield server
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            remove(server)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a first clean-up against the floor and other programs.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000], help="messages in the mailbox")
    parser.add_argument("--runs", type=int, default=5, help="of each program; medians are shown")
    parser.add_argument("--wan", type=float, nargs=2, metavar=("RTT_MS", "MBIT_S"), help="over a line as slow as this")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these (and the floor)")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds after which a program is ended")
    parser.add_argument(
        "--slow-patience",
        type=float,
        help="the same for one that takes a turn for each message; otherwise it is ended "
        f"{ENOUGH_TIMES} times as late as bouncefiler came to its end, and after {ENOUGH_SECONDS} s at the earliest",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the mailbox")
    parser.add_argument(
        "--keep", type=Path, metavar="DIRECTORY", help="look for mailboxes made earlier, and keep new ones"
    )
    parser.add_argument(
        "--setting", action="append", default=[], metavar="LINE", help="of Dovecot's configuration; can be repeated"
    )
    asked = parser.parse_args()
    if asked.keep:
        asked.keep.mkdir(parents=True, exist_ok=True)
        if asked.keep.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev:
            parser.error(f"--keep {asked.keep}: must be on the file system of {tempfile.gettempdir()} (or set TMPDIR)")
    return asked


def main() -> None:
    """Do it."""
    asked = _arguments()
    slowness = Slowness(asked.wan[0] / 1_000, asked.wan[1] * 1e6 / 8) if asked.wan else None
    line = f"over {asked.wan[0]:g} ms, {asked.wan[1]:g} Mbit/s" if asked.wan else "over loopback"
    who = entrants(asked.only, wan=bool(asked.wan))
    contestants.compile_ours()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n", flush=True)
    for setting in asked.setting:
        print(f"the server has {setting}\n")
    measured = []
    reached: list[Goal] = []
    with _serving(asked.setting) as server:
        for size in asked.sizes:
            with _said_how_long(f"making the mailbox of {size:,}"):
                stock = Stock(server, size, asked.seed, asked.keep)
            with _said_how_long("all runs"):
                bench = Bench(server, stock, asked.patience, asked.slow_patience)
                measured.append(series(bench, who, asked.runs, slowness))
                print(
                    f"{size:,} messages, {len(stock.bounces):,} of them bounces, {line}; medians of {asked.runs} runs"
                )
                print("\n".join(table(measured[-1])))
        start_up = None
        if not asked.wan:
            empty, idleness = _of_nothing(server), idle.measure(server)
            if empty.done:
                start_up, cpu = empty.median("wall"), empty.median("cpu")
                print(f"clean of an empty mailbox: {start_up:.2f} s, of these {cpu:.2f} s CPU: start-up, login, state")
            else:
                print(f"clean of an empty mailbox: !!! {empty.costs[0].failure}")
            print("\n".join(idleness.lines()))
            reached = [*goals.of_idleness(idleness)]
        print("\nGoals")
        print("\n".join(str(goal) for goal in [*goals.of_series(measured, start_up), *reached]))
        print(f"\nload after: {os.getloadavg()[0]:.1f}", flush=True)
        begun = time.monotonic()
    print(f"(giving back the disk space: {time.monotonic() - begun:.0f} s)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
